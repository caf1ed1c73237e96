package stream

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"pgregory.net/rapid"

	"penstock/checkpoint"
	"penstock/localstack/emulator"
)

// reading collects what a reader hands out.
type reading struct {
	numbers []int
	seen    []checkpoint.Sequence
}

// source is a reader of either kind.
type source interface {
	Ready(ctx context.Context) error
	Next(ctx context.Context, limit int) (Batch, error)
}

// step asks once, after the reader's own pause.
func (g *reading) step(t testing.TB, ctx context.Context, r source, limit int) Batch {
	t.Helper()
	if err := r.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return g.next(t, ctx, r, limit)
}

// next asks once, without the reader's own pause.
func (g *reading) next(t testing.TB, ctx context.Context, r source, limit int) Batch {
	t.Helper()
	batch, err := r.Next(ctx, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range batch.Records {
		n, err := strconv.Atoi(strings.TrimSpace(string(record.Data)))
		if err != nil {
			t.Fatal(err)
		}
		g.numbers = append(g.numbers, n)
		g.seen = append(g.seen, record.Sequence)
	}
	return batch
}

// until reads until n records were handed out.
func (g *reading) until(t testing.TB, ctx context.Context, r source, limit, n int) {
	t.Helper()
	for begun := time.Now(); len(g.numbers) < n; {
		if time.Since(begun) > 24*time.Hour {
			t.Fatalf("%d of %d records after a day", len(g.numbers), n)
		}
		g.step(t, ctx, r, limit)
	}
}

// is fails the test unless exactly the records from … to-1 were handed out, in order.
func (g *reading) is(t testing.TB, from, to int) {
	t.Helper()
	if len(g.numbers) != to-from {
		t.Errorf("%d records were handed out, want %d", len(g.numbers), to-from)
	}
	for i, n := range g.numbers {
		if n != from+i {
			t.Fatalf("record %d was handed out in place %d of those from %d on", n, i, from)
		}
	}
}

func TestAReaderBeginsWhereItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		numbers := r.put(0, 10, 0)
		time.Sleep(time.Minute)
		between := time.Now()
		time.Sleep(time.Minute)
		numbers = append(numbers, r.put(10, 10, 0)...)
		shard := r.only()
		for name, c := range map[string]struct {
			after checkpoint.Sequence
			start Start
			from  int
		}{
			"no checkpoint, the oldest":                   {"", Start{}, 0},
			"no checkpoint, a time":                       {"", Start{At: between}, 10},
			"no checkpoint, a time before all":            {"", Start{At: between.Add(-time.Hour)}, 0},
			"a checkpoint":                                {numbers[3], Start{}, 4},
			"a checkpoint, whatever the start":            {numbers[3], Start{At: between}, 4},
			"the shard's own starting number":             {shard.Start, Start{}, 0},
			"the shard's own starting number, and a time": {shard.Start, Start{At: between}, 0},
		} {
			var g reading
			g.until(t, t.Context(), r.Reader(shard, c.after, c.start), 3, 20-c.from)
			if g.is(t, c.from, 20); t.Failed() {
				t.Fatal(name)
			}
			for i, s := range g.seen {
				if s != numbers[c.from+i] {
					t.Fatalf("%s: record %d has sequence %s, want %s", name, c.from+i, s, numbers[c.from+i])
				}
			}
		}
	})
}

func TestARecordKeepsItsKeyItsBytesAndItsArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		arrival := time.Now()
		r.put(7, 1, 0)
		time.Sleep(time.Second)
		batch, err := r.Reader(r.only(), "", Start{}).Next(t.Context(), 1)
		if err != nil || len(batch.Records) != 1 || !batch.Known || batch.Behind != 0 || batch.End {
			t.Fatalf("got %+v, %v", batch, err)
		}
		got := batch.Records[0]
		if string(got.Data) != "7" || got.PartitionKey != "k" || !got.Arrival.Equal(arrival) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestBehindIsTheAgeOfWhatWasReadLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		r.put(0, 2, 0)
		time.Sleep(time.Minute)
		var g reading
		reader := r.Reader(r.only(), "", Start{})
		if batch := g.step(t, t.Context(), reader, 1); !batch.Known || batch.Behind != time.Minute {
			t.Errorf("with one record left: %+v", batch)
		}
		if batch := g.step(t, t.Context(), reader, 1); !batch.Known || batch.Behind != 0 {
			t.Errorf("at the tip: %+v", batch)
		}
	})
}

// An iterator lives for five minutes. A shard may stand still for longer, at any place in it.
func TestAnExpiredIteratorResumesAfterTheLastRecordFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		shard := r.only()
		const stood = 5*time.Minute + time.Second
		at := time.Now()
		for name, c := range map[string]struct {
			after checkpoint.Sequence
			start Start
		}{
			"from the beginning":               {"", Start{}},
			"from a time":                      {"", Start{At: at}},
			"from the shard's starting number": {shard.Start, Start{}},
		} {
			reader := r.Reader(shard, c.after, c.start)
			var g reading
			from := len(all(t, r, shard))
			if from > 0 {
				g.until(t, t.Context(), reader, 1000, from) // what the case before left
			}
			g.step(t, t.Context(), reader, 10) // an empty shard, or its tip
			time.Sleep(stood)
			r.put(from, 9, 0)
			for want := from + 2; want <= from+8; want += 2 {
				g.until(t, t.Context(), reader, 2, want)
				time.Sleep(stood)
			}
			g.until(t, t.Context(), reader, 2, from+9)
			time.Sleep(stood)
			for range 3 {
				g.step(t, t.Context(), reader, 2)
			}
			if g.is(t, 0, from+9); t.Failed() {
				t.Fatal(name)
			}
		}
	})
}

// all reads the shard by the client alone.
func all(t *testing.T, r *rig, shard Shard) (records []types.Record) {
	t.Helper()
	it, err := r.client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String(name),
		ShardId: &shard.ID, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	return out.Records
}

func TestAnExpiredIteratorIsAnEmptyBatchAndNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		r.put(0, 2, 0)
		reader := r.Reader(r.only(), "", Start{})
		var g reading
		g.step(t, t.Context(), reader, 1)
		time.Sleep(6 * time.Minute)
		if batch := g.step(t, t.Context(), reader, 1); len(batch.Records) != 0 || batch.Known || batch.End {
			t.Errorf("got %+v, want an empty batch that says nothing of the shard", batch)
		}
		g.until(t, t.Context(), reader, 1, 2)
		g.is(t, 0, 2)
	})
}

// fault is what becomes of one call.
type fault struct {
	name string
	hook func(ctx context.Context) error
}

var faults = []fault{
	{"none", func(context.Context) error { return nil }},
	{"none", func(context.Context) error { return nil }},
	{"throttled", func(context.Context) error { return &emulator.APIError{Type: emulator.ThroughputExceeded} }},
	{"throttled by request rate", func(context.Context) error { return &emulator.APIError{Type: emulator.LimitExceeded} }},
	{"internal failure", func(context.Context) error { return &emulator.APIError{Type: emulator.InternalFailure} }},
	{"unavailable", func(context.Context) error { return &emulator.APIError{Type: emulator.ServiceUnavailable} }},
	{"unknown error", func(context.Context) error { return &emulator.APIError{Type: "NobodyHeardOfException", Status: 418} }},
	{"expired iterator", func(context.Context) error { return &emulator.APIError{Type: emulator.ExpiredIterator} }},
	{"cut", func(context.Context) error { return emulator.ErrCut }},
	{"answer lost", func(context.Context) error { return emulator.ErrLoseAnswer }},
	{"slow", func(ctx context.Context) error { return sleep(ctx, 20*time.Second) }},
	{"hang", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
}

func TestNothingIsLostNorReadTwiceWhateverBecomesOfCalls(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(rapid.SampledFrom(faults), 1, 25).Draw(rt, "faults")
		limit := rapid.IntRange(1, 5).Draw(rt, "limit")
		pauses := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 0, 0, time.Second, 6 * time.Minute}), 1, 5).Draw(rt, "pauses")
		inBubble(t, func(t *testing.T) {
			r := start(t, emulator.Config{}, 1)
			r.put(0, 30, 0)
			shard := r.only()
			var calls atomic.Int64
			r.server.Intercept(func(ctx context.Context, c emulator.Call) error {
				if n := int(calls.Add(1)); n <= len(script) {
					return script[n-1].hook(ctx)
				}
				return nil
			})
			var g reading
			reader := r.Reader(shard, "", Start{})
			for i := 0; int(calls.Load()) <= len(script) || len(g.numbers) < 30; i++ {
				time.Sleep(pauses[i%len(pauses)])
				batch := g.step(t, t.Context(), reader, limit)
				if reader.failures > 0 && (len(batch.Records) != 0 || batch.Known || batch.End) {
					t.Errorf("a failed call handed out %+v", batch)
				}
				if reader.failures > 0 && time.Until(reader.next) > 10*time.Second {
					t.Errorf("the pause after %d failures is %s", reader.failures, time.Until(reader.next))
				}
			}
			g.is(t, 0, 30)
			r.server.Intercept(nil)
		})
	})
}

// inBubble stops the check at the first failure; rapid cannot run inside a bubble.
func inBubble(t *testing.T, run func(t *testing.T)) {
	synctest.Test(t, run)
	if t.Failed() {
		t.FailNow()
	}
}

func TestTheReaderRepeatsAndTheClientDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		shard := r.only()
		calls := 0
		r.server.Intercept(func(context.Context, emulator.Call) error {
			calls++
			return &emulator.APIError{Type: emulator.ServiceUnavailable}
		})
		if _, err := r.Reader(shard, "", Start{}).Next(t.Context(), 1); err != nil || calls != 1 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}

func TestThePauseGrowsWithFailuresInARowAndIsJittered(t *testing.T) {
	for failures := 1; failures < 80; failures++ {
		bound := 10 * time.Second
		if failures < 7 {
			bound = 100 * time.Millisecond << failures
		}
		low, high := bound, time.Duration(0)
		for range 300 {
			pause := backoff(failures)
			low, high = min(low, pause), max(high, pause)
		}
		if low < 0 || high >= bound || high < bound*3/4 || low > bound/4 {
			t.Errorf("after %d failures: %s to %s, want all of 0 to %s", failures, low, high, bound)
		}
	}
}

func TestASuccessEndsTheRowOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		reader := r.Reader(r.only(), "", Start{})
		var g reading
		r.server.Intercept(func(context.Context, emulator.Call) error { return emulator.ErrCut })
		for range 12 {
			g.step(t, t.Context(), reader, 1)
		}
		if reader.failures != 12 {
			t.Errorf("%d failures noted, want 12", reader.failures)
		}
		r.server.Intercept(nil)
		g.step(t, t.Context(), reader, 1)
		if reader.failures != 0 {
			t.Errorf("%d failures noted after a success", reader.failures)
		}
	})
}

func TestTheCauseOfTheContextsEndIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		shard := r.only()
		gone := errors.New("lease lost")
		r.server.Intercept(func(ctx context.Context, _ emulator.Call) error { <-ctx.Done(); return ctx.Err() })
		defer r.server.Intercept(nil)
		reader := r.Reader(shard, "", Start{})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if _, err := reader.Next(ctx, 1); !errors.Is(err, gone) {
			t.Errorf("next: %v, want the cause", err)
		}
		if err := reader.Ready(ctx); !errors.Is(err, gone) {
			t.Errorf("ready: %v, want the cause", err)
		}
		waiting, stop := context.WithCancelCause(t.Context())
		reader.next = time.Now().Add(time.Hour)
		begun := time.Now()
		time.AfterFunc(time.Second, func() { stop(gone) })
		if err := reader.Ready(waiting); !errors.Is(err, gone) || time.Since(begun) != time.Second {
			t.Errorf("ready after %s: %v, want the cause after 1s", time.Since(begun), err)
		}
	})
}
