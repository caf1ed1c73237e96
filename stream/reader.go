package stream

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"

	"penstock/checkpoint"
)

const (
	// MaxReplyBytes is the most that one GetRecords call returns.
	MaxReplyBytes = 10 << 20
	// MaxReplyRecords is the largest limit GetRecords takes.
	MaxReplyRecords = 10_000

	// idlePoll is the pause after a reply that says there is nothing more: an event waits half of it on average, and
	// half of the shard's calls are left to other consumers. After restfulAfter such replies in a row, twelve seconds, it is restfulPoll.
	idlePoll     = 400 * time.Millisecond
	restfulAfter = 30
	restfulPoll  = time.Second

	// After a reply of 10 MiB the service refuses calls for five seconds. A reply may be full although it is smaller,
	// by the size of the record that did not fit.
	fullReply          = MaxReplyBytes - 1<<20
	pauseAfterFullness = 5 * time.Second
)

// Start is where a shard is read from when there is no checkpoint.
type Start struct {
	At time.Time // records that arrived at or after it; the zero time means the oldest record there is
}

// Record is a record as it was put: one of the stream, or one of several that a producer put together as one.
type Record struct {
	Sequence     checkpoint.Sequence // of the stream's record
	SubSequence  int64               // index within an aggregate, 0 otherwise
	More         bool                // the next record has the same sequence number
	PartitionKey string              // may be empty
	Data         []byte
	Arrival      time.Time
	Fault        error // why it cannot be told what was put; Data is then what the stream has of it
}

// Batch is what one call returned.
type Batch struct {
	Records []Record
	Behind  time.Duration // how far the end of the batch is behind the tip of the shard
	Known   bool          // whether Behind is known
	End     bool          // the shard is closed and this was the last of it

	Children []string      // ids of the shards that follow on this one, as far as the service named them; at the End only
	Took     time.Duration // from asking to the answer, or to the failure
	Pushed   bool          // it came without a call of its own: Took is 0
	// At is a moment by the service's own clock, to the second, that is not after the batch was read; zero if the
	// answer bears no date.
	At      time.Time
	Foreign int   // records of aggregates whose key belongs to another shard
	Failed  error // why there is no answer: an [*Error] that passes by itself; nil if there is one
}

// Reader reads one shard by polling. It belongs to one goroutine.
type Reader struct {
	stream   *Stream
	shard    string
	hashes   HashRange
	start    Start
	position checkpoint.Sequence // the last record handed out, or the checkpoint
	fresh    bool                // position is where the shard begins: nothing of it was read yet
	iterator *string             // nil: get one
	quota    *quota
	next     time.Time // no call before it
	failures int       // in a row
	empty    int       // replies in a row that said there is nothing more
}

// Reader returns a reader that begins after the checkpoint, or at start when there is none. A checkpoint that is the
// shard's own starting sequence number means its beginning.
func (s *Stream) Reader(shard Shard, after checkpoint.Sequence, start Start) *Reader {
	return &Reader{
		stream:   s,
		shard:    shard.ID,
		hashes:   shard.Hashes,
		start:    start,
		position: after,
		fresh:    after != "" && after == shard.Start,
		quota:    newQuota(),
	}
}

// Ready waits until the shard's quotas, and the pause after a failure or an empty reply, allow the next call. The error
// is the cause of ctx's end.
func (r *Reader) Ready(ctx context.Context) error {
	if err := sleep(ctx, time.Until(r.next)); err != nil {
		return err
	}
	return r.quota.wait(ctx)
}

// Next asks once for the next batch, of at most limit records. The batch may be empty: because there is nothing more,
// or because the service did not answer, throttled, or let the iterator expire. Then Ready waits longer, and a new
// iterator goes on after the last record handed out. The error is the cause of ctx's end or a fatal [*Error].
func (r *Reader) Next(ctx context.Context, limit int) (Batch, error) {
	asked := time.Now()
	batch, err := r.ask(ctx, limit)
	if err == nil {
		r.failures = 0
		return batch, nil
	}
	if ctx.Err() != nil {
		return Batch{}, context.Cause(ctx)
	}
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Kind == Fatal {
		return Batch{}, err
	}
	switch failed.Kind {
	case Rewind:
		r.iterator = nil
	case Throttled:
		r.quota.throttled(time.Now())
	}
	r.failures++
	r.next = time.Now().Add(backoff(r.failures))
	if r.failures%complainEvery == 0 {
		r.stream.log.Warn("kinesis does not answer, repeating", zap.String("shard", r.shard), zap.Int("failures", r.failures), zap.Error(err))
	}
	return Batch{Took: time.Since(asked), Failed: failed}, nil
}

// Close does nothing: an iterator ends by itself.
func (r *Reader) Close() {}

// complainEvery is how many failures in a row pass between two lines in the log.
const complainEvery = 5

func (r *Reader) ask(ctx context.Context, limit int) (Batch, error) {
	if r.iterator == nil {
		if err := r.seek(ctx); err != nil {
			return Batch{}, err
		}
	}
	asked := time.Now()
	out, err := r.getRecords(ctx, limit)
	if err != nil {
		return Batch{}, r.stream.wrap("get records of "+r.shard+" in", err)
	}
	batch := out.batch()
	batch.Took = time.Since(asked)
	batch.Records, batch.Foreign = deaggregate(batch.Records, r.hashes)
	if !out.date.IsZero() {
		batch.At = out.date.Add(-batch.Took)
	}
	if n := len(batch.Records); n > 0 {
		r.position, r.fresh = batch.Records[n-1].Sequence, false
	}
	r.iterator = &out.next
	r.quota.answered(time.Now())
	r.next = nextCall(asked, time.Now(), r.quota.pays(out.size), out.size)
	if len(batch.Records) > 0 || !batch.Known || batch.Behind > 0 {
		r.empty = 0
		return batch, nil
	}
	r.empty++
	pause := idlePoll
	if r.empty > restfulAfter {
		pause = restfulPoll
	}
	r.next = time.Now().Add(pause)
	return batch, nil
}

// nextCall returns when a reply of size bytes, which the shard's bytes per second pay for in the time pays, is paid for. A
// reply may be several times what a second allows.
func nextCall(asked, answered time.Time, pays time.Duration, size int) time.Time {
	paid := asked.Add(pays)
	if rested := answered.Add(pauseAfterFullness); size > fullReply && rested.After(paid) {
		return rested
	}
	return paid
}

func (r *Reader) getRecords(ctx context.Context, limit int) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	limit = max(1, min(limit, MaxReplyRecords))
	out := &reply{}
	answer, err := r.stream.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: r.iterator, Limit: aws.Int32(int32(limit))},
		func(o *kinesis.Options) { o.APIOptions = append(o.APIOptions, out.intercept) })
	if err == nil {
		out.date, _ = awsmiddleware.GetServerTime(answer.ResultMetadata)
	}
	return out, err
}

// seek gets an iterator for the reader's position.
func (r *Reader) seek(ctx context.Context) error {
	in := &kinesis.GetShardIteratorInput{StreamName: &r.stream.name, ShardId: &r.shard}
	switch {
	case r.fresh || (r.position == "" && r.start.At.IsZero()):
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	case r.position == "":
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, &r.start.At
	default:
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, aws.String(string(r.position))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := r.stream.client.GetShardIterator(ctx, in)
	if err != nil {
		return r.stream.wrap("get an iterator of "+r.shard+" in", err)
	}
	if out.ShardIterator == nil {
		return r.stream.wrap("get an iterator of "+r.shard+" in", errIncomplete)
	}
	r.iterator = out.ShardIterator
	return nil
}

// backoff is full jitter, doubling from 200 ms after the first failure up to 10 s.
func backoff(failures int) time.Duration {
	return rand.N(min(100*time.Millisecond<<min(failures, 10), 10*time.Second))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
