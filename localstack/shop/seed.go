package shop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"golang.org/x/time/rate"
)

// The limits of one PutRecords call, partition keys counted, as the Kinesis Data Streams API reference gave them for
// the longest time; the service takes more today.
const (
	maxPutRecords = 500
	maxPutBytes   = 5 << 20
)

// The wait before records are sent again: full jitter up to a bound that doubles from the first to the last.
const (
	firstBackOff    = 50 * time.Millisecond
	lastBackOff     = 5 * time.Second
	defaultAttempts = 10
)

// callsPerSecond is how a rate limit is cut into calls, so that a slow rate is a trickle and not a burst now and then.
const callsPerSecond = 10

// Options says how [Seed] writes.
type Options struct {
	// Rate is the most events sent in a second, the first time each; 0 means as fast as the stream takes them.
	Rate float64
	// Attempts is how many calls in a row may fail to place a single record before Seed gives up; 0 means 10.
	Attempts int
	// Progress is called after each PutRecords call, in the goroutine of Seed. May be nil.
	Progress func(Progress)
}

// Progress is how far a seeding has come.
type Progress struct {
	Records  int // acknowledged, repetitions of an event counted
	Events   int // distinct events acknowledged
	Refused  int // records refused and sent again
	Failures int // calls that failed as a whole
}

// Seeded is what a seeding has left in the stream.
type Seeded struct {
	Progress
	ids    map[string]struct{}
	unsure map[string]struct{}
}

// Acknowledged reports whether Kinesis has acknowledged the event with this id at least once.
func (s Seeded) Acknowledged(id string) bool {
	_, ok := s.ids[id]
	return ok
}

// IDs yields the ids of the acknowledged events, in no order.
func (s Seeded) IDs() iter.Seq[string] { return keys(s.ids) }

// Unsure yields the ids of events that were in a call whose outcome is unknown and were never acknowledged: they may be
// in the stream or not. A seeding that ends without an error has none.
func (s Seeded) Unsure() iter.Seq[string] { return keys(s.unsure) }

func keys(set map[string]struct{}) iter.Seq[string] {
	return func(yield func(string) bool) {
		for id := range set {
			if !yield(id) {
				return
			}
		}
	}
}

// Seed writes the events to a stream by PutRecords, each under its order's id as partition key, and sends what is
// refused again until it is accepted. An answer that never came means unknown: the same records are sent again, so an
// event may be in the stream more often than [Progress] counts.
//
// The result is meaningful also with an error. Seed ends early when ctx does, when the request itself is wrong (no such
// stream, no access), or when Options.Attempts calls in a row placed nothing.
func Seed(ctx context.Context, client *kinesis.Client, stream string, events iter.Seq[Event], opts Options) (Seeded, error) {
	s := &seeder{
		client: client, stream: stream, opts: opts, most: maxPutRecords,
		done: Seeded{ids: make(map[string]struct{}), unsure: make(map[string]struct{})},
	}
	if opts.Rate > 0 {
		s.most = min(max(int(opts.Rate/callsPerSecond), 1), maxPutRecords)
		s.limit = rate.NewLimiter(rate.Limit(opts.Rate), s.most)
	}
	if s.opts.Attempts == 0 {
		s.opts.Attempts = defaultAttempts
	}

	var batch []Event
	size := 0
	for event := range events {
		weight := len(event.Payload) + len(event.OrderID)
		if len(batch) == s.most || size+weight > maxPutBytes {
			if err := s.put(ctx, batch); err != nil {
				return s.done, fmt.Errorf("seed stream %s: %w", stream, err)
			}
			batch, size = batch[:0], 0
		}
		batch = append(batch, event)
		size += weight
	}
	if err := s.put(ctx, batch); err != nil {
		return s.done, fmt.Errorf("seed stream %s: %w", stream, err)
	}
	return s.done, nil
}

type seeder struct {
	client *kinesis.Client
	stream string
	opts   Options
	most   int           // records in a call
	limit  *rate.Limiter // nil: none
	done   Seeded
}

// put writes one batch whole, in as many calls as it takes.
func (s *seeder) put(ctx context.Context, batch []Event) error {
	if len(batch) == 0 {
		return nil
	}
	if s.limit != nil {
		if err := s.limit.WaitN(ctx, len(batch)); err != nil {
			return fmt.Errorf("wait for the rate limit: %w", err)
		}
	}
	for fruitless := 0; ; {
		refused, err := s.call(ctx, batch)
		if s.opts.Progress != nil {
			s.opts.Progress(s.done.Progress)
		}
		if err == nil && len(refused) == 0 {
			return nil
		}
		if final(ctx, err) {
			return err
		}
		fruitless++
		if err == nil && len(refused) < len(batch) {
			fruitless = 0
			batch = refused
		}
		if fruitless >= s.opts.Attempts {
			return fmt.Errorf("%d calls in a row placed none of %d records: %w", fruitless, len(batch), cmp.Or(err, errRefused))
		}
		if err := pause(ctx, fruitless); err != nil {
			return err
		}
	}
}

// errRefused is the cause when Kinesis answers well and accepts nothing.
var errRefused = errors.New("each record was refused")

// call makes one PutRecords call and returns the events it did not place.
func (s *seeder) call(ctx context.Context, batch []Event) ([]Event, error) {
	entries := make([]types.PutRecordsRequestEntry, 0, len(batch))
	for _, e := range batch {
		entries = append(entries, types.PutRecordsRequestEntry{Data: e.Payload, PartitionKey: new(e.OrderID)})
	}
	answer, err := s.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &s.stream, Records: entries})
	if err == nil && len(answer.Records) != len(batch) {
		err = fmt.Errorf("%d results for %d records", len(answer.Records), len(batch))
	}
	if err != nil {
		s.done.Failures++
		for _, e := range batch {
			if !s.done.Acknowledged(e.ID) {
				s.done.unsure[e.ID] = struct{}{}
			}
		}
		return nil, fmt.Errorf("put %d records: %w", len(batch), err)
	}

	var refused []Event
	for i, result := range answer.Records {
		if result.ErrorCode != nil {
			s.done.Refused++
			refused = append(refused, batch[i])
			continue
		}
		s.done.Records++
		s.done.ids[batch[i].ID] = struct{}{}
		delete(s.done.unsure, batch[i].ID)
	}
	s.done.Events = len(s.done.ids)
	return refused, nil
}

// final reports whether sending the same again is pointless.
func final(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	if ctx.Err() != nil {
		return true
	}
	if _, throttled := errors.AsType[*types.ProvisionedThroughputExceededException](err); throttled {
		return false
	}
	if _, throttled := errors.AsType[*types.LimitExceededException](err); throttled {
		return false
	}
	answer, ok := errors.AsType[smithy.APIError](err)
	return ok && answer.ErrorFault() == smithy.FaultClient
}

// pause waits a random time below the bound for the attempt, or until ctx ends.
func pause(ctx context.Context, attempt int) error {
	bound := min(firstBackOff<<min(attempt, 16), lastBackOff)
	timer := time.NewTimer(rand.N(bound))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait before sending again: %w", context.Cause(ctx))
	case <-timer.C:
		return nil
	}
}
