package projector

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"penstock/checkpoint"
	"penstock/localstack/emulator"
	"penstock/sink"
	"penstock/stream"
	"penstock/view/viewtest"
)

// worldStep is one thing that happens to a world.
type worldStep struct {
	wait time.Duration
	what string
	who  int
}

func aWorldHistory() *rapid.Generator[[]worldStep] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) worldStep {
		return worldStep{
			wait: time.Duration(rapid.IntRange(10, 6_000).Draw(t, "wait ms")) * time.Millisecond,
			what: rapid.SampledFrom([]string{"join", "kill", "quit", "put", "slow", "fast", "s3 down", "s3 up", "tables down", "tables up",
				"kinesis sick", "kinesis well", "pause", "resume"}).Draw(t, "what"),
			who: rapid.IntRange(0, 3).Draw(t, "who"),
		}
	}), 1, 10)
}

// live plays a history.
func (w *world) live(seed uint64, history []worldStep) {
	w.put(seed, 80, 12, 0, garbled, refused, panics)
	w.join()
	for i, step := range history {
		time.Sleep(step.wait)
		d := w.daemons[step.who%len(w.daemons)] // only this goroutine adds to them
		switch step.what {
		case "join":
			if len(w.daemons) < 4 {
				w.join()
			}
		case "kill":
			w.kill(d)
		case "quit":
			w.quit(d, 5*time.Second)
		case "put":
			w.put(seed+1+uint64(i), 30, 10, 0, garbled, refused, panics)
		case "slow":
			w.lower(&w.slow)
		case "fast":
			w.raise(&w.slow)
		case "s3 down":
			w.lower(&w.s3)
		case "s3 up":
			w.raise(&w.s3)
		case "tables down":
			w.set(func() { w.tables = errors.New("connection reset") })
		case "tables up":
			w.set(func() { w.tables = nil })
		case "kinesis sick":
			w.server.Intercept(w.sicken)
		case "kinesis well":
			w.server.Intercept(nil)
		case "pause":
			w.pause(AllShards, MinPause)
		case "resume":
			w.resume(AllShards)
		}
	}
}

// sicken makes half of the reads fail in some way.
func (w *world) sicken(ctx context.Context, c emulator.Call) error {
	if w.reader != nil {
		return w.sickenSubscriptions(ctx, c)
	}
	switch c.Action {
	case "GetRecords", "GetShardIterator", "ListShards":
	default:
		return nil
	}
	switch w.intN(12) {
	case 0:
		return &emulator.APIError{Type: emulator.ThroughputExceeded}
	case 1:
		return &emulator.APIError{Type: emulator.InternalFailure}
	case 2:
		return &emulator.APIError{Type: emulator.ExpiredIterator}
	case 3:
		return emulator.ErrCut
	case 4:
		return emulator.ErrLoseAnswer
	case 5:
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func TestEveryRecordEndsInTheRowsOrInALetter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed, history := rapid.Uint64Range(0, 1<<32).Draw(rt, "seed"), aWorldHistory().Draw(rt, "history")
		broken := inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, seed, 3)
			w.live(seed, history)
			return w.end()
		})
		if len(broken) > 0 {
			rt.Fatalf("%d breaches, first: %s", len(broken), broken[0])
		}
	})
}

// A check that cannot fail proves nothing: each of these faults is found.
func TestFaultsPlantedAroundAProjectorAreFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plant plant
		want  string
	}{
		"the newest record fetched is the watermark": {newestAsWatermark, "which has no outcome"},
		"letters are acknowledged and forgotten":     {lettersForgotten, "has no letter"},
		"writes are settled before they are applied": {settledBeforeApplied, "which has no outcome"},
		"writes are settled and forgotten":           {writesForgotten, "the rows are not the fold"},
		"an overload is taken for poison":            {overloadIsPoison, "of kind 0, was parked"},
		"what is read is published as settled":       {nowAsProgress, "as settled beyond record"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := inBubble(t, func(t *testing.T) []string {
				w := newWorld(t, 1, 2)
				w.plant = c.plant
				w.put(1, 200, 10, 0, garbled, refused)
				w.lower(&w.slow)
				w.join()
				time.Sleep(8 * time.Second) // renewals come and go while writes wait
				w.raise(&w.slow)
				return w.end()
			})
			if !strings.Contains(strings.Join(broken, "\n"), c.want) {
				t.Errorf("not found; breaches: %q", broken)
			}
		})
	}
}

func TestTheSurvivorTakesOverAfterACrash(t *testing.T) {
	for seed := range uint64(10) {
		holds(t, inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, seed, 4)
			a, b := w.join(), w.join()
			both := func() bool { return w.following(a) == 2 && w.following(b) == 2 }
			if _, ok := w.await(both, time.Minute); !ok {
				t.Errorf("not shared evenly: %d and %d", w.following(a), w.following(b))
			}
			w.put(seed, 300, 5, 0, garbled, refused)
			time.Sleep(time.Duration(seed) * 50 * time.Millisecond)
			w.kill(a)
			took, ok := w.await(func() bool { return w.following(b) == 4 }, time.Minute)
			if !ok || took > failover+2*time.Second {
				t.Errorf("taken over after %s", took)
			}
			return w.end()
		}))
	}
}

// following returns how many shards a daemon follows.
func (w *world) following(d *daemon) int {
	d.metrics.mu.Lock()
	defer d.metrics.mu.Unlock()
	return d.metrics.shards
}

func TestARestartRepeatsAndNeverLoses(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 3, 2)
		w.put(3, 400, 5, 0, garbled, refused, panics)
		first := w.join()
		w.await(func() bool { return first.Counts().Applied > 100 }, time.Minute)
		w.kill(first)
		second := w.join()
		w.await(w.settled, time.Minute)
		broken := w.end()
		if n := second.Counts().Read; n < 300 {
			t.Errorf("the second read %d records only", n)
		}
		return broken
	}))
}

func TestAFatalErrorOfTheWriterEndsRunAndKeepsTheCheckpoint(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 4, 3)
		w.put(4, 100, 0, 0)
		d := w.join()
		w.await(w.settled, time.Minute)
		w.await(w.allCommitted, time.Minute)
		gone := &sink.Error{Disposition: sink.Fatal, Op: "write stock", Err: errors.New("table is missing")}
		w.set(func() { w.refusal, d.idle = gone, true })
		before := map[string]string{}
		for _, shard := range w.shards() {
			before[shard] = string(w.store.Row(shard).Checkpoint)
		}
		w.put(5, 60, 0, 0)
		select {
		case err := <-d.done:
			if !errors.Is(err, gone) {
				t.Errorf("run returned %v, want the writer's error", err)
			}
			d.done <- nil
		case <-time.After(time.Minute):
			t.Error("run goes on")
		}
		for shard, checkpoint := range before {
			if row := w.store.Row(shard); row.Owner != "" || string(row.Checkpoint) != checkpoint {
				t.Errorf("%s has owner %q and checkpoint %s, was %s", shard, row.Owner, row.Checkpoint, checkpoint)
			}
		}
		if c := d.Counts(); c.Abandoned == 0 || c.InFlight != 0 {
			t.Errorf("counts %+v", c)
		}
		return w.end()
	}))
}

// An error that is not poison says that the view is broken. Going round with it for ever would hide that.
func TestAFaultOfTheViewEndsRun(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 6, 1)
		w.put(6, 50, 100, 0, faulty)
		d := w.join()
		select {
		case err := <-d.done:
			if sink.DispositionOf(err) != sink.Fatal || !strings.Contains(err.Error(), "no such thing as a result") {
				t.Errorf("run returned %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("run goes on")
			w.kill(d)
		}
		close(w.over)
		w.running.Wait()
		w.balance(d)
		return w.broken
	}))
}

func TestAStreamThatGoesAwayEndsRunAndIsNamed(t *testing.T) {
	for _, action := range []string{"ListShards", "GetShardIterator", "GetRecords"} {
		holds(t, inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, 7, 2)
			w.put(7, 20, 0, 0)
			w.server.Intercept(func(_ context.Context, c emulator.Call) error {
				if c.Action == action {
					return &emulator.APIError{Type: emulator.ResourceNotFound, Message: "no such stream"}
				}
				return nil
			})
			d := w.join()
			err := <-d.done
			failed, ok := errors.AsType[*stream.Error](err)
			if !ok || failed.Kind != stream.Fatal || !strings.Contains(err.Error(), "stock") {
				t.Errorf("%s: run returned %v", action, err)
			}
			close(w.over)
			w.running.Wait()
			return w.broken
		}))
	}
}

func TestAListingThatFailsForAWhileIsRepeated(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 8, 2)
		w.put(8, 20, 0, 0)
		var calls atomic.Int64
		w.server.Intercept(func(_ context.Context, c emulator.Call) error {
			if c.Action == "ListShards" && calls.Add(1) < 10 {
				return &emulator.APIError{Type: emulator.ServiceUnavailable}
			}
			return nil
		})
		w.join()
		if took, ok := w.await(w.settled, 3*time.Minute); !ok {
			t.Errorf("nothing after %s and %d listings", took, calls.Load())
		}
		return w.end()
	}))
}

func TestAHalfBuiltProjectorIsRefused(t *testing.T) {
	metrics, err := NewMetrics(noop.NewMeterProvider().Meter(""))
	if err != nil {
		t.Fatal(err)
	}
	d := Dependencies{Stream: &stream.Stream{}, Metrics: metrics}
	for want, c := range map[string]Config{
		"in flight": {View: viewtest.Stock{}, InFlight: 1<<20 - 1, Log: zap.NewNop()},
		"revision":  {View: withoutRevision{}, InFlight: 1 << 20, Log: zap.NewNop()},
	} {
		if _, err := New(c, d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about the %s", err, want)
		}
	}
}

type withoutRevision struct{ viewtest.Stock }

func (withoutRevision) Revision() string { return "" }

func TestASilentSupervisorIsNotAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 11, 1)
		d := w.join() // the world expects it to be alive as long as it runs
		time.Sleep(2 * stalled)
		if err := d.Live(); err != nil {
			t.Error(err)
		}
		holds(t, w.end())
		time.Sleep(stalled + time.Second)
		if err := d.Live(); err == nil {
			t.Error("nothing turns any more, and it is alive")
		}
	})
}

// What a scrape sees is of one moment, and a shard that is no longer followed has no lag.
func TestAScrapeShowsTheCountsTheBudgetAndTheLag(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 12, 2)
		reader := sdk.NewManualReader()
		provider := sdk.NewMeterProvider(sdk.WithReader(reader))
		w.meter = provider.Meter("test")
		scrape := func() map[string]int64 {
			var all metricdata.ResourceMetrics
			if err := reader.Collect(t.Context(), &all); err != nil {
				t.Fatal(err)
			}
			got := map[string]int64{}
			for _, scope := range all.ScopeMetrics {
				for _, m := range scope.Metrics {
					switch data := m.Data.(type) {
					case metricdata.Sum[int64]:
						got[m.Name] = data.DataPoints[0].Value
					case metricdata.Gauge[int64]:
						got[m.Name] = data.DataPoints[0].Value
						got["series of "+m.Name] = int64(len(data.DataPoints))
					case metricdata.Gauge[float64]:
						got[m.Name] = int64(data.DataPoints[0].Value)
					}
				}
			}
			return got
		}
		w.clock = func() checkpoint.Clock { return checkpoint.Clock{Known: true, Ahead: 90 * time.Second} }
		w.put(12, 200, 10, 0, garbled, refused)
		d := w.join()
		for range 40 {
			time.Sleep(50 * time.Millisecond)
			got := scrape()
			if got["penstock.records.read"] != got["penstock.records.applied"]+got["penstock.records.parked"]+
				got["penstock.records.in_flight"]+got["penstock.records.abandoned"] {
				t.Errorf("the counts of a scrape do not balance: %v", got)
			}
		}
		w.await(w.settled, time.Minute)
		got := scrape()
		if c := d.Counts(); got["penstock.records.read"] != c.Read || got["penstock.records.parked"] != c.Parked || c.Parked == 0 {
			t.Errorf("got %v, want %+v", got, c)
		}
		if got["penstock.budget.limit"] != w.inFlight || got["aws.kinesis.client.current_leases"] != 2 || got["series of aws.kinesis.client.consumer.lag.duration"] != 2 {
			t.Errorf("got %v", got)
		}
		if got["penstock.clock.offset"] != 90 || got["penstock.ring.coverage"] != 1 {
			t.Errorf("got %v", got)
		}
		broken := w.end()
		got = scrape()
		if got["aws.kinesis.client.current_leases"] != 0 || got["series of aws.kinesis.client.consumer.lag.duration"] != 0 || got["penstock.budget.in_use"] != 0 {
			t.Errorf("at the end %v", got)
		}
		return broken
	}))
}
