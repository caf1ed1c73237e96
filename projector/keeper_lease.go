package projector

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"penstock/checkpoint"
)

// lease is a shard's lease in the hands of the shard's loop, from the keeper's Acquired to Release or Finish. All its
// methods are safe for concurrent use.
type lease struct {
	keeper *keeper
	shard  string
	from   checkpoint.Sequence

	watermark atomic.Pointer[watermarker]
	trusted   atomic.Int64  // until when the lease is believed in, nanoseconds after keeper.base
	ended     atomic.Bool   // Release or Finish was called
	lost      chan struct{} // closed by the keeper, after cause was set
	cause     error
	handOver  chan struct{} // closed by the keeper
	asked     bool          // handOver is closed; owned by the keeper
}

// watermarker knows up to where everything is settled: a checkpoint.Tracker.
type watermarker interface{ Watermark() checkpoint.Sequence }

func newLease(k *keeper, shard string, from checkpoint.Sequence) *lease {
	return &lease{keeper: k, shard: shard, from: from, lost: make(chan struct{}), handOver: make(chan struct{})}
}

// Shard returns the shard's id.
func (l *lease) Shard() string { return l.shard }

// Checkpoint returns the committed position at the time the lease was taken; the zero value if there was none.
func (l *lease) Checkpoint() checkpoint.Sequence { return l.from }

// CommitFrom makes every renewal from now on commit the watermark, and the release as well. Its Watermark must return
// at once.
func (l *lease) CommitFrom(w watermarker) { l.watermark.Store(&w) }

func (l *lease) settled() checkpoint.Sequence {
	if w := l.watermark.Load(); w != nil {
		return (*w).Watermark()
	}
	return ""
}

// Valid reports whether the lease is believed in at this moment. It is exact where Lost is late: in a process that was
// stopped and goes on, Valid is false at once, before the keeper has had its turn to close Lost. From the call of
// Release or Finish on it is false as well: the row may be free before the answer comes.
func (l *lease) Valid() bool {
	select {
	case <-l.lost:
		return false
	default:
		return !l.ended.Load() && int64(time.Since(l.keeper.base)) < l.trusted.Load()
	}
}

// Lost is closed when the lease is no longer ours. No new write to what it protects may be issued from then on.
func (l *lease) Lost() <-chan struct{} { return l.lost }

// Cause returns why the lease was lost, an error that wraps [checkpoint.ErrLeaseLost]; nil before Lost is closed.
func (l *lease) Cause() error {
	select {
	case <-l.lost:
		return l.cause
	default:
		return nil
	}
}

// HandOver is closed when the shard should be drained and the lease released: a peer with fewer shards asks for it, or
// the process stops. It does not come back.
func (l *lease) HandOver() <-chan struct{} { return l.handOver }

// askFor closes handOver. The keeper calls it.
func (l *lease) askFor() {
	if !l.asked {
		l.asked = true
		close(l.handOver)
	}
}

// lose closes lost. The keeper calls it.
func (l *lease) lose(cause error) {
	l.cause = cause
	close(l.lost)
}

// Release gives the lease back with the watermark as its last commit, in one conditional write, repeated while the
// lease lasts. Its error wraps [checkpoint.ErrLeaseLost] if the lease was lost before; when ctx ends first, the keeper
// goes on trying by itself.
func (l *lease) Release(ctx context.Context) error { return l.end(ctx, "release", false) }

// Finish gives the lease back for good: the shard was read to its end and every record of it is settled. Errors are as
// of Release; the shard is then taken and finished again.
func (l *lease) Finish(ctx context.Context) error { return l.end(ctx, "finish", true) }

// ending asks the keeper to end a lease.
type ending struct {
	lease  *lease
	finish bool
	reply  chan<- error // with room for one answer; nil if nobody waits
}

func (e *ending) answer(err error) {
	if e != nil && e.reply != nil {
		e.reply <- err
	}
}

func (l *lease) end(ctx context.Context, what string, finish bool) error {
	l.ended.Store(true)
	reply := make(chan error, 1)
	select {
	case l.keeper.endings <- ending{lease: l, finish: finish, reply: reply}:
	case <-l.keeper.stopped:
		return fmt.Errorf("%s lease of shard %s: %w: the keeper has ended", what, l.shard, checkpoint.ErrLeaseLost)
	}
	select {
	case err := <-reply:
		if err != nil {
			return fmt.Errorf("%s lease of shard %s: %w", what, l.shard, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s lease of shard %s: %w", what, l.shard, context.Cause(ctx))
	}
}
