package stream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"pgregory.net/rapid"

	"penstock/localstack/emulator"
)

// watch notes when GetRecords is called.
func watch(r *rig) *[]time.Time {
	calls := &[]time.Time{}
	r.server.Intercept(func(_ context.Context, c emulator.Call) error {
		if c.Action == "GetRecords" {
			*calls = append(*calls, time.Now()) // the reader makes one at a time
		}
		return nil
	})
	return calls
}

// A shard that is caught up with as fast as its quotas allow is never refused a call.
func TestTheQuotasAreUsedAndKept(t *testing.T) {
	for _, c := range []struct {
		name            string
		records, size   int
		limit           int
		atLeast, atMost time.Duration
	}{
		{"calls bound small pages", 300, 100, 1, 59 * time.Second, 61 * time.Second},
		{"bytes bound full pages", 170, 64 << 10, MaxReplyRecords, 5 * time.Second, 6 * time.Second},
		{"records of 1 MiB make pages full early", 12, 1<<20 - 1, MaxReplyRecords, 5 * time.Second, 6 * time.Second},
		{"pages of a fraction of a second's bytes", 60, 100 << 10, 5, 2500 * time.Millisecond, 3500 * time.Millisecond},
		{"pages of a second's bytes and more", 80, 100 << 10, 33, 3 * time.Second, 4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota}, 1)
				r.put(0, c.records, c.size)
				reader := r.Reader(r.only(), "", Start{})
				time.Sleep(time.Minute) // whatever could be saved up is
				calls := watch(r)
				var g reading
				begun := time.Now()
				for len(g.numbers) < c.records {
					g.step(t, t.Context(), reader, c.limit)
					if reader.failures > 0 {
						t.Fatalf("call %d was refused after %s", len(*calls), time.Since(begun))
					}
				}
				took := time.Since(begun)
				g.is(t, 0, c.records)
				t.Logf("%d calls, %s", len(*calls), took)
				if took < c.atLeast || took > c.atMost {
					t.Errorf("took %s", took)
				}
				for i, at := range *calls {
					if i >= 5 && at.Sub((*calls)[i-5]) < time.Second {
						t.Errorf("calls %d to %d within %s", i-5, i, at.Sub((*calls)[i-5]))
					}
				}
			})
		})
	}
}

func TestAReplyIsPaidForAtTheQuotasRate(t *testing.T) {
	now := time.Now()
	if got := nextCall(now, now.Add(time.Second), newQuota().pays(4_000_000), 4_000_000); !got.Equal(now.Add(2 * time.Second)) {
		t.Errorf("4 MB are paid for after %s", got.Sub(now))
	}
}

// Five seconds after a full reply the service answers again, and not before.
func TestAFullReplyIsFollowedByFiveSecondsOfRest(t *testing.T) {
	asked := time.Now()
	answered := asked.Add(300 * time.Millisecond)
	for _, size := range []int{MaxReplyBytes - 1<<20 + 1, MaxReplyBytes} {
		if got := nextCall(asked, answered, newQuota().pays(size), size); got.Before(answered.Add(5 * time.Second)) {
			t.Errorf("after %d bytes: %s of rest", size, got.Sub(answered))
		}
	}
}

func TestAnIdleShardIsAskedWithHalfItsCallsAndThenOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota}, 1)
		reader := r.Reader(r.only(), "", Start{})
		calls := watch(r)
		var g reading
		asked := func(during time.Duration) int {
			before := len(*calls)
			for begun := time.Now(); time.Since(begun) < during; {
				g.step(t, t.Context(), reader, 100)
			}
			return len(*calls) - before
		}
		for round := range 2 {
			if n := asked(12 * time.Second); n < 29 || n > 31 {
				t.Errorf("%d calls in twelve seconds, want one every %s", n, idlePoll)
			}
			if n := asked(time.Minute); n < 59 || n > 62 {
				t.Errorf("%d calls in the minute after it, want one every %s", n, restfulPoll)
			}
			r.put(0, 1, 0)
			began := time.Now()
			for len(g.numbers) == round {
				g.step(t, t.Context(), reader, 100)
			}
			if took := time.Since(began); took > restfulPoll {
				t.Errorf("the next record was read after %s", took)
			}
		}
	})
}

// An event every ten seconds on a shard that is quiet otherwise is handed out well within a second.
func TestARareEventIsReadSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota}, 1)
		reader := r.Reader(r.only(), "", Start{})
		put := make(chan time.Time, 1)
		const events = 200
		go func() {
			for i := range events {
				time.Sleep(10*time.Second + time.Duration(i*37%500)*time.Millisecond) // at any moment between two calls
				put <- time.Now()
				r.put(i, 1, 0)
			}
		}()
		var took []time.Duration
		for len(took) < events {
			if err := reader.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			batch, err := reader.Next(t.Context(), 10)
			if err != nil || len(batch.Records) > 1 {
				t.Fatalf("%d records, %v", len(batch.Records), err)
			}
			if len(batch.Records) == 1 {
				took = append(took, time.Since(<-put))
			}
		}
		slices.Sort(took)
		if slowest := took[events*99/100]; slowest > time.Second/2 {
			t.Errorf("one in a hundred took %s or more", slowest)
		}
	})
}

// Somebody else who uses up a shard's calls leaves a reader what he misses by chance, here for longer than an iterator
// lives. The reader waits, makes few calls, says why, and hands out every record once.
func TestCallsThatOthersUseUpAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota}, 1)
		r.put(0, 20, 0)
		shard := r.only()
		greedy, stop := context.WithCancel(t.Context())
		used := make(chan int)
		go func() { used <- r.useUp(greedy, shard, callsPerSecond) }()
		time.Sleep(time.Second) // from here on nothing is left
		var g reading
		reader := r.Reader(shard, "", Start{})
		failures := map[Kind]int{}
		begun, calls := time.Now(), 0
		for ; time.Since(begun) < 6*time.Minute; calls++ {
			failed, ok := errors.AsType[*Error](g.step(t, t.Context(), reader, 1).Failed)
			if !ok {
				continue
			}
			failures[failed.Kind]++
			if !strings.Contains(failed.Error(), name) {
				t.Errorf("%v does not say of which stream", failed)
			}
		}
		took := time.Since(begun)
		stop()
		others := <-used
		t.Logf("%d calls in %s, failed by kind %v, %d records; the other had %d calls", calls, took, failures, len(g.numbers), others)
		if failures[Throttled] == 0 || failures[Transient] > 0 || others < 4*int(took.Seconds()) {
			t.Errorf("failures by kind %v, and the other had %d calls in %s: he did not use them up", failures, others, took)
		}
		if calls > int(took.Seconds()) {
			t.Errorf("%d calls in %s: the reader does not back off", calls, took)
		}
		alone := time.Now()
		g.until(t, t.Context(), reader, 1, 20)
		g.is(t, 0, 20)
		if took := time.Since(alone); took > 30*time.Second {
			t.Errorf("alone again the reader took %s", took)
		}
	})
}

// Of a shard that another application reads with four of its five calls a second, a reader takes what is left, and few of
// its calls are refused.
func TestWhatOthersLeaveIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota}, 1)
		r.put(0, 1000, 0)
		shard := r.only()
		sharing, stop := context.WithCancel(t.Context())
		used := make(chan int)
		go func() { used <- r.useUp(sharing, shard, callsPerSecond-1) }()
		reader := r.Reader(shard, "", Start{})
		refused, answered := 0, 0
		begun := time.Now()
		for time.Since(begun) < 5*time.Minute {
			if err := reader.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			batch, err := reader.Next(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if batch.Failed != nil {
				refused++
			} else {
				answered++
			}
		}
		stop()
		seconds := int(time.Since(begun).Seconds())
		others := <-used
		t.Logf("%d calls answered and %d refused in %d s; the other had %d", answered, refused, seconds, others)
		if answered < seconds*6/10 || refused > answered/2 || others < seconds*3 {
			t.Errorf("%d answered, %d refused in %d s, the other had %d: the shard is not shared", answered, refused, seconds, others)
		}
		for range 200 { // alone again
			if err := reader.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := reader.Next(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		if reader.quota.part != 1 {
			t.Errorf("two hundred calls later the reader still keeps to %v of the shard's quotas", reader.quota.part)
		}
	})
}

func TestTheQuotasPartStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, now := newQuota(), time.Now()
		for range rapid.IntRange(1, 50).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			before := q.part
			if rapid.Bool().Draw(t, "throttled") {
				q.throttled(now)
				if q.part > before || q.part < leastPart {
					t.Fatalf("throttled at %v: %v", before, q.part)
				}
				continue
			}
			q.answered(now)
			if q.part < before || q.part > 1 {
				t.Fatalf("answered at %v: %v", before, q.part)
			}
		}
		if size := rapid.IntRange(0, MaxReplyBytes).Draw(t, "size"); q.pays(size) < newQuota().pays(size) {
			t.Fatalf("with %v of the quotas %d bytes are paid for in %v", q.part, size, q.pays(size))
		}
	})
}

// useUp makes some calls of GetRecords a second until ctx ends, and returns how many were answered.
func (r *rig) useUp(ctx context.Context, shard Shard, perSecond int) (answered int) {
	once := func(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} } // this loop repeats
	out, err := r.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &r.name, ShardId: &shard.ID, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		r.Error(err)
		return 0
	}
	iterator := out.ShardIterator
	for ctx.Err() == nil {
		if out, err := r.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator}, once); err == nil {
			iterator = out.NextShardIterator
			answered++
		}
		time.Sleep(time.Second / time.Duration(perSecond))
	}
	return answered
}
