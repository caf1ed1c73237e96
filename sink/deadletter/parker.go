package deadletter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"penstock/objects"
)

// Store is where letters are kept: [objects.Store], with its errors. Every call must end within a bounded time.
type Store interface {
	PutOnce(ctx context.Context, key string, body []byte, contentType string) error
	Get(ctx context.Context, key string) ([]byte, error)
}

// Config of a [Parker]. The zero value works.
type Config struct {
	// Log gets a line when letters cannot be written, at most one a minute and kind of failure, and one when a letter
	// that waited is durable. Nil for none.
	Log *zap.Logger
	// Failed is told of every failed attempt to write a letter, with one of the errors of package objects or a
	// [*ConflictError]. It is called by the goroutine that parks and must not block. Nil for none.
	Failed func(error)
}

// Back-off between attempts is drawn from zero to a bound that doubles from baseBackoff to maxBackoff (full jitter,
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
const (
	baseBackoff = 100 * time.Millisecond
	maxBackoff  = 20 * time.Second
)

const reportEvery = time.Minute

// Parker writes letters. It is safe for concurrent use: every shard parks through one.
type Parker struct {
	store    Store
	log      *zap.Logger
	failed   func(error)
	waiting  reporter // storage does not answer or is overloaded
	stopping reporter // storage refuses until somebody changes something
}

// New makes a parker that writes to store. It should try each request once: retrying is the parker's.
func New(c Config, store Store) *Parker {
	p := &Parker{store: store, log: c.Log, failed: c.Failed}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	if p.failed == nil {
		p.failed = func(error) {}
	}
	return p
}

// ConflictError says that another payload is stored under a letter's key. No repetition helps: two records claim one
// position of one stream, or a stored letter is damaged, and somebody has to look.
type ConflictError struct {
	Key string
	Err error // what is wrong with the stored letter
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("park letter %s: the key holds another letter: %v", e.Key, e.Err)
}

func (e *ConflictError) Unwrap() error { return e.Err }

// Park returns nil once the letter is durable, whether it was written now or before. As long as storage fails, for
// whatever reason, it tries again: the record must not be lost and the checkpoint must not pass it, so its shard waits.
// It gives up when ctx ends, with ctx's cause and the last failure, and for good on a [*ConflictError] or on a letter
// that [Letter.Check] refuses.
func (p *Parker) Park(ctx context.Context, l Letter) error {
	if err := l.Check(); err != nil {
		return fmt.Errorf("park: %w", err)
	}
	if l.ParkedAt.IsZero() {
		l.ParkedAt = time.Now().UTC()
	}
	key := l.Key()
	body, err := l.Encode()
	if err != nil {
		return fmt.Errorf("park: %w", err)
	}
	start := time.Now()
	reported := false
	for bound := baseBackoff; ; bound = min(2*bound, maxBackoff) {
		err := p.write(ctx, l, key, body)
		if err == nil {
			if reported {
				p.log.Info("dead letter written after waiting", zap.String("key", key), zap.Duration("waited", time.Since(start)))
			}
			return nil
		}
		if _, ok := errors.AsType[*ConflictError](err); ok {
			p.failed(err)
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("park letter %s: %w: %w", key, context.Cause(ctx), err)
		}
		p.failed(err)
		reported = p.report(key, start, err) || reported
		select {
		case <-ctx.Done():
			return fmt.Errorf("park letter %s: %w: %w", key, context.Cause(ctx), err)
		case <-time.After(rand.N(bound)):
		}
	}
}

// write tries once. A key that is taken is success if it holds this payload: an earlier attempt that seemed to fail, an
// earlier life of this process, or another owner of the shard wrote the letter.
func (p *Parker) write(ctx context.Context, l Letter, key string, body []byte) error {
	err := p.store.PutOnce(ctx, key, body, ContentType)
	if _, ok := errors.AsType[*objects.ExistsError](err); !ok {
		return err
	}
	stored, err := p.store.Get(ctx, key)
	if err != nil {
		return err
	}
	other, err := storedPayload(stored)
	if err != nil {
		return &ConflictError{Key: key, Err: err}
	}
	if theirs, ours := checksumOf(other), checksumOf(l.Payload); theirs != ours {
		return &ConflictError{Key: key, Err: fmt.Errorf("stored payload has %d bytes and CRC32C %s, this one %d and %s",
			theirs.Bytes, theirs.CRC32C, ours.Bytes, ours.CRC32C)}
	}
	return nil
}

// report logs a failure unless one of its kind was logged less than a minute ago, and tells whether it did.
func (p *Parker) report(key string, start time.Time, err error) bool {
	fields := []zap.Field{zap.String("key", key), zap.Duration("waited", time.Since(start)), zap.Error(err)}
	switch objects.ClassOf(err) {
	case objects.Transient, objects.Overload:
		if p.waiting.due(time.Now()) {
			p.log.Warn("dead letters cannot be written: storage does not answer, the shard waits", fields...)
			return true
		}
	case objects.Fatal, objects.Unknown:
		if p.stopping.due(time.Now()) {
			p.log.Error("dead letters cannot be written: the shard waits until this is put right", fields...)
			return true
		}
	}
	return false
}

// reporter lets one report pass a minute, over all goroutines.
type reporter struct {
	mu   sync.Mutex
	last time.Time
}

func (r *reporter) due(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) < reportEvery {
		return false
	}
	r.last = now
	return true
}
