package stream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"

	"penstock/checkpoint"
)

// unaskedFor is how long a subscription is kept open while nobody asks for what it brings. One that could not be begun
// again yet, by the service's guard, is kept for as long as that.
const unaskedFor = time.Second

// Ending is why a subscription ended.
type Ending string

// The closed set of endings.
const (
	EndTurnover Ending = "turnover"   // its five minutes were over
	EndStall    Ending = "stall"      // it fell silent
	EndPressure Ending = "pressure"   // nobody took what it brought
	EndTakeOver Ending = "taken_over" // somebody subscribed as the same consumer
	EndError    Ending = "error"      // it was broken off, or brought what makes no sense
	EndOfShard  Ending = "shard_end"  // the shard was read to its end
	EndClosed   Ending = "closed"     // the reader was closed
)

// Endings returns the set of them.
func Endings() []Ending {
	return []Ending{EndTurnover, EndStall, EndPressure, EndTakeOver, EndError, EndOfShard, EndClosed}
}

// Subscriptions is told of every subscription that begins or ends, from any goroutine.
type Subscriptions interface {
	Subscribed()
	Unsubscribed(why Ending)
}

// FanOut reads one shard by enhanced fan-out: the service pushes events to a subscription, which lasts five minutes at
// most, and with it the consumer has 2 MB a second of the shard for itself.
//
// It keeps the promise of [Reader]. Where the next subscription begins is known from what was handed out and from nothing
// else, so one may end at any moment, by whatever cause, and is begun again.
//
// It holds nothing back: of an event that waits only the beginning is read, and the rest is left with the connection.
// When an event is not taken for about a second, since there is no room for it, the subscription is let go. It is begun
// again when the caller comes back to ask, who then has room.
//
// It belongs to one goroutine, and starts none. Ready and Next are called with one and the same context, or with one
// that ends earlier: a subscription ends with the context that it was begun under.
type FanOut struct {
	stream   *Stream
	consumer *Consumer
	shard    string
	hashes   HashRange
	start    Start
	told     Subscriptions

	position checkpoint.Sequence // the last record handed out, or the checkpoint
	fresh    bool                // position is where the shard begins: nothing of it was read yet
	reached  checkpoint.Sequence // behind all events handed out; empty before the first

	sub      *subscription  // nil for none
	away     *time.Timer    // lets the subscription go while the caller is away; nil while he is not
	pressed  bool           // the last one was let go for that, and is begun again by Next
	next     time.Time      // no call before it
	call     *time.Duration // how long it took to begin the subscription; nil once that is told
	failed   *Batch         // what Next has to tell
	fatal    error          // what Next returns
	failures int            // in a row
	refused  int            // calls in a row that were refused since another subscription is too young
}

// FanOut returns a reader as a registered consumer, which begins as [Stream.Reader] does.
func (s *Stream) FanOut(consumer *Consumer, shard Shard, after checkpoint.Sequence, start Start, told Subscriptions) *FanOut {
	return &FanOut{
		stream: s, consumer: consumer, shard: shard.ID, hashes: shard.Hashes, start: start, told: told,
		position: after,
		fresh:    after != "" && after == shard.Start,
	}
}

// Ready waits until an event has come, or the subscription has failed. After one that was let go, it waits only until
// another may be begun. The error is the cause of ctx's end.
func (r *FanOut) Ready(ctx context.Context) error {
	r.back()
	defer r.leave()
	for r.failed == nil && r.fatal == nil {
		if r.sub == nil {
			if err := sleep(ctx, time.Until(r.next)); err != nil {
				return err
			}
			if r.pressed {
				return nil
			}
			r.subscribe(ctx)
		} else if err := r.sub.await(stalledAfter); err != nil {
			r.ended(ctx, err)
		} else {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// Next returns the event that Ready waited for, whole, whatever the limit: it has 2 MiB, or one record. After a
// subscription that was let go it begins another and waits for its first event, so that a caller for whom there is
// seldom room gets one each time. The batch is empty when there is none, as that of [Reader.Next]. The error is the
// cause of ctx's end or a fatal [*Error].
func (r *FanOut) Next(ctx context.Context, _ int) (Batch, error) {
	r.back()
	defer r.leave()
	if r.pressed && time.Until(r.next) <= 0 {
		r.subscribe(ctx)
	}
	r.pressed = false
	if r.sub != nil {
		batch, err := r.take()
		if err == nil {
			return batch, nil
		}
		r.ended(ctx, err)
	}
	return r.excuse(ctx)
}

// excuse returns what there is to say in place of an event.
func (r *FanOut) excuse(ctx context.Context) (Batch, error) {
	switch failed := r.failed; {
	case ctx.Err() != nil:
		return Batch{}, context.Cause(ctx)
	case r.fatal != nil:
		return Batch{}, r.fatal
	case failed != nil:
		r.failed = nil
		return *failed, nil
	}
	return Batch{Failed: r.error(Rewind, errAway)}, nil
}

// Close ends the subscription.
func (r *FanOut) Close() {
	r.back()
	if r.sub != nil {
		r.end(EndClosed)
	}
}

// take reads the event that has come, and moves on behind it.
func (r *FanOut) take() (Batch, error) {
	if err := r.sub.await(promptly); err != nil {
		return Batch{}, err
	}
	event, err := r.sub.read()
	if err != nil {
		return Batch{}, err
	}
	batch := event.batch()
	batch.At = r.sub.at()
	r.tellCall(&batch)
	batch.Records, batch.Foreign = deaggregate(batch.Records, r.hashes)
	if n := len(batch.Records); n > 0 {
		r.position, r.fresh = batch.Records[n-1].Sequence, false
	}
	r.reached = checkpoint.Sequence(event.next)
	r.failures, r.refused = 0, 0
	if batch.End {
		r.end(EndOfShard)
	}
	return batch, nil
}

// tellCall says of the first event of a subscription how long the call took.
func (r *FanOut) tellCall(b *Batch) {
	if r.call == nil {
		b.Pushed = true
		return
	}
	b.Took, r.call = *r.call, nil
}

// subscribe begins a subscription, or says when to try again.
func (r *FanOut) subscribe(ctx context.Context) {
	asked := time.Now()
	sub, err := r.stream.subscribe(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: &r.consumer.ARN, ShardId: &r.shard, StartingPosition: r.from(),
	})
	switch _, inUse := errors.AsType[*types.ResourceInUseException](err); {
	case err == nil:
		r.sub, r.call = sub, new(sub.opened.Sub(asked))
		r.next = sub.opened.Add(subscriptionGuard + rand.N(subscriptionGuard/10))
		r.told.Subscribed()
	case ctx.Err() != nil: // the caller sees it
	case inUse:
		// Whoever had the shard before us subscribed less than five seconds ago. Nobody knows when that was: it is
		// tried as often as the service allows.
		r.next = time.Now().Add(time.Second + rand.N(time.Second))
		if r.refused++; r.refused%complainEvery == 0 {
			r.stream.log.Warn("kinesis does not let the consumer subscribe, repeating: see whether another fleet has the same kinesis.consumer",
				zap.String("shard", r.shard), zap.String("consumer", r.consumer.Name), zap.Int("refused", r.refused), zap.Error(err))
		}
	default:
		r.fail(asked, err)
	}
}

// from is where the next subscription begins: behind all that was handed out.
func (r *FanOut) from() *types.StartingPosition {
	switch {
	case r.reached.Compare(r.position) > 0:
		return startingAfter(string(r.reached))
	case r.fresh || r.position == "" && r.start.At.IsZero():
		return &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	case r.position == "":
		return &types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(r.start.At)}
	}
	return startingAfter(string(r.position))
}

// ended takes note of why the subscription ended.
func (r *FanOut) ended(ctx context.Context, err error) {
	_, taken := errors.AsType[*types.ResourceInUseException](err)
	old := time.Since(r.sub.opened) > subscriptionLife*9/10
	asked := time.Now()
	switch {
	case ctx.Err() != nil:
		r.end(EndClosed)
	case errors.Is(err, errStalled):
		r.end(EndStall)
		r.fail(asked, err)
	case errors.Is(err, io.EOF) && old:
		r.end(EndTurnover)
	case taken:
		r.end(EndTakeOver)
		r.next = later(r.next, time.Now().Add(subscriptionGuard+rand.N(subscriptionGuard)))
		r.stream.log.Warn("somebody else subscribed as our consumer", zap.String("shard", r.shard), zap.String("consumer", r.consumer.Name))
	case errors.Is(err, io.EOF):
		r.end(EndError)
		r.fail(asked, errCutShort)
	default:
		r.end(EndError)
		r.fail(asked, err)
	}
}

// fail keeps an error for Next to tell, and puts the next call off.
func (r *FanOut) fail(asked time.Time, err error) {
	failed := r.error(classify(err), err)
	if failed.Kind == Fatal {
		r.fatal = failed
		return
	}
	r.failures++
	r.next = later(r.next, time.Now().Add(backoff(r.failures)))
	r.failed = &Batch{Took: time.Since(asked), Failed: failed}
	if r.failures%complainEvery == 0 {
		r.stream.log.Warn("kinesis does not answer, repeating", zap.String("shard", r.shard), zap.Int("failures", r.failures), zap.Error(err))
	}
}

func (r *FanOut) error(kind Kind, err error) *Error {
	return &Error{Kind: kind, Stream: r.stream.name, Op: "subscribe " + r.consumer.Name + " to " + r.shard + " of", Err: err}
}

// end closes the subscription.
func (r *FanOut) end(why Ending) {
	r.sub.close(errLeft)
	r.sub = nil
	r.told.Unsubscribed(why)
}

// leave lets the subscription go unless the caller comes back in time.
func (r *FanOut) leave() {
	if r.sub == nil {
		return
	}
	if r.sub.cause() != nil { // with the caller's context
		r.end(EndClosed)
		return
	}
	sub, told := r.sub, r.told
	r.away = time.AfterFunc(max(unaskedFor, time.Until(r.next)), func() {
		if sub.letGo() {
			told.Unsubscribed(EndPressure)
		}
	})
}

// back takes note that the caller asks again.
func (r *FanOut) back() {
	if r.away == nil || r.away.Stop() {
		r.away = nil
		return
	}
	r.away = nil
	if !r.sub.letGo() {
		r.end(EndClosed)
		return
	}
	r.sub.close(errAway)
	r.sub, r.pressed = nil, true
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
