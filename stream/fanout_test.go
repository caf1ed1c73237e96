package stream

import (
	"context"
	"errors"
	"maps"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/checkpoint"
	"penstock/localstack/emulator"
)

// ledger counts subscriptions.
type ledger struct {
	mu    sync.Mutex
	begun int
	ended map[Ending]int
}

func newLedger() *ledger { return &ledger{ended: map[Ending]int{}} }

func (l *ledger) Subscribed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
}

func (l *ledger) Unsubscribed(why Ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended[why]++
}

// has fails the test unless exactly these subscriptions were begun and have ended; one may be open.
func (l *ledger) has(t testing.TB, begun int, ended map[Ending]int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun != begun || !maps.Equal(l.ended, ended) {
		t.Errorf("%d subscriptions were begun and ended by %v, want %d and %v", l.begun, l.ended, begun, ended)
	}
}

// consumer registers a consumer and returns it.
func (r *rig) consumer(name string) *Consumer {
	r.Helper()
	d, err := r.Describe(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	if _, err := r.Register(r.Context(), d.ARN, name); err != nil {
		r.Fatal(err)
	}
	c, err := r.FindConsumer(r.Context(), d.ARN, name)
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// fanOut returns a reader of the only shard from its beginning, as a consumer of its own.
func (r *rig) fanOut(told Subscriptions) *FanOut {
	r.Helper()
	reader := r.FanOut(r.consumer("view"), r.only(), "", Start{}, told)
	r.Cleanup(reader.Close)
	return reader
}

// split splits the only shard in the middle.
func (r *rig) split() {
	r.Helper()
	_, err := r.client.SplitShard(r.Context(), &kinesis.SplitShardInput{StreamName: aws.String(name),
		ShardToSplit: aws.String(r.only().ID), NewStartingHashKey: aws.String(new(big.Int).Lsh(big.NewInt(1), 127).String())})
	if err != nil {
		r.Fatal(err)
	}
}

// onEvents puts a hook in front of the events of subscriptions alone.
func (r *rig) onEvents(effect func(ctx context.Context) error) {
	r.server.Intercept(func(ctx context.Context, c emulator.Call) error {
		if c.Action != "SubscribeToShardEvent" {
			return nil
		}
		return effect(ctx)
	})
	r.Cleanup(func() { r.server.Intercept(nil) })
}

func TestASubscriptionBeginsWhereItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		consumer := r.consumer("view")
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
			"a checkpoint":                                {numbers[3], Start{}, 4},
			"a checkpoint, whatever the start":            {numbers[3], Start{At: between}, 4},
			"the shard's own starting number":             {shard.Start, Start{}, 0},
			"the shard's own starting number, and a time": {shard.Start, Start{At: between}, 0},
		} {
			var g reading
			reader := r.FanOut(consumer, shard, c.after, c.start, newLedger())
			g.until(t, t.Context(), reader, 3, 20-c.from)
			reader.Close()
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

func TestAnEventTellsOfItsRecordsAndOfTheTip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		arrival := time.Now()
		r.put(7, 1, 0)
		time.Sleep(time.Second)
		var g reading
		batch := g.step(t, t.Context(), r.fanOut(newLedger()), 1)
		if len(batch.Records) != 1 || !batch.Known || batch.Behind != 0 || batch.End || batch.Failed != nil {
			t.Fatalf("got %+v", batch)
		}
		got := batch.Records[0]
		if string(got.Data) != "7" || got.PartitionKey != "k" || !got.Arrival.Equal(arrival) {
			t.Errorf("got %+v", got)
		}
	})
}

// A subscription that brings an event says nothing of when it was sent. What it shows of the present must not be too new,
// nor older than it has to be.
func TestAnIdleSubscriptionTellsHowFarTheShardWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		reader := r.fanOut(newLedger())
		var g reading
		for i := range 40 {
			batch := g.step(t, t.Context(), reader, 1)
			if batch.Pushed != (i > 0) {
				t.Errorf("event %d came by a call: %t", i, !batch.Pushed)
			}
			if age := time.Since(batch.At); age < 0 || age > inTransit+time.Second || !batch.Known || batch.Behind != 0 {
				t.Fatalf("event %d tells of %s ago: %+v", i, age, batch)
			}
		}
		// Events that wait for the reader are not of the moment at which they are read.
		waiting := time.Now()
		time.Sleep(unaskedFor - time.Millisecond)
		for range 3 {
			if batch := g.step(t, t.Context(), reader, 1); batch.At.After(waiting) {
				t.Errorf("an event tells of %s after it was sent", batch.At.Sub(waiting))
			}
			waiting = time.Now()
		}
	})
}

func TestASubscriptionIsRenewedEveryFiveMinutesWithoutLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		told := newLedger()
		reader := r.fanOut(told)
		const n = 300 // in 16 minutes
		var putting sync.WaitGroup
		defer putting.Wait()
		putting.Go(func() {
			for i := range n {
				r.put(i, 1, 0)
				time.Sleep(3200 * time.Millisecond)
			}
		})
		var g reading
		g.until(t, t.Context(), reader, 1, n)
		g.is(t, 0, n)
		told.has(t, 4, map[Ending]int{EndTurnover: 3})
	})
}

func TestAnIdleShardGoesOnFromItsContinuation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{Retention: 24 * time.Hour}, 1)
		told := newLedger()
		reader := r.fanOut(told)
		numbers := r.put(0, 1, 0)
		var g reading
		for begun := time.Now(); time.Since(begun) < 11*time.Minute; {
			g.step(t, t.Context(), reader, 1)
		}
		if reader.reached.Compare(numbers[0]) <= 0 || reader.position != numbers[0] {
			t.Errorf("goes on after %s, with %s read", reader.reached, reader.position)
		}
		r.put(1, 1, 0)
		g.until(t, t.Context(), reader, 1, 2)
		g.is(t, 0, 2)
		told.has(t, 3, map[Ending]int{EndTurnover: 2})
	})
}

// Whoever takes a shard over subscribes within the five seconds for which the former owner's subscription is guarded.
func TestASubscriptionOfAnotherIsWaitedForAndTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		r.put(0, 5, 0)
		former, told := newLedger(), newLedger()
		old := r.fanOut(former)
		var g reading
		g.until(t, t.Context(), old, 1, 5)
		var waiting sync.WaitGroup
		defer waiting.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		waiting.Go(func() {
			for old.Ready(ctx) == nil {
				if _, err := old.Next(ctx, 1); err != nil {
					return
				}
			}
		})
		young := r.FanOut(old.consumer, r.only(), g.seen[2], Start{}, told)
		defer young.Close()
		begun := time.Now()
		var h reading
		for len(h.numbers) < 2 {
			if batch := h.step(t, t.Context(), young, 1); batch.Failed != nil {
				t.Errorf("the wait was told as a failure: %v", batch.Failed)
			}
		}
		h.is(t, 3, 5)
		if waited := time.Since(begun); waited < subscriptionGuard || waited > subscriptionGuard+2*time.Second {
			t.Errorf("the shard was taken over after %s", waited)
		}
		// The former owner learns of it, and does not take it back at once.
		synctest.Wait()
		told.has(t, 1, map[Ending]int{})
		cancel()
		waiting.Wait()
		former.has(t, 1, map[Ending]int{EndTakeOver: 1})
	})
}

func TestASubscriptionThatEndsBeforeItsFirstEventIsBegunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		r.put(0, 5, 0)
		told := newLedger()
		reader := r.fanOut(told)
		r.server.Intercept(emulator.Script(emulator.Fault{Action: "SubscribeToShardEvent", Count: 3, Effect: emulator.End}))
		defer r.server.Intercept(nil)
		begun := time.Now()
		var g reading
		failed := 0
		for len(g.numbers) < 5 {
			if batch := g.step(t, t.Context(), reader, 1); batch.Failed != nil {
				failed++
			}
		}
		g.is(t, 0, 5)
		told.has(t, 4, map[Ending]int{EndError: 3})
		if took := time.Since(begun); failed != 3 || took < 3*subscriptionGuard {
			t.Errorf("%d failures were told in %s", failed, took)
		}
	})
}

func TestWhatEndsASubscriptionIsToldApart(t *testing.T) {
	refuse := func(kind emulator.ErrorType) func(context.Context) error {
		return func(context.Context) error { return &emulator.APIError{Type: kind, Message: "a test"} }
	}
	for name, c := range map[string]struct {
		effect func(context.Context) error
		why    Ending
		kind   Kind
	}{
		"internal failure": {refuse(emulator.InternalFailure), EndError, Transient},
		"kms throttles":    {refuse("KMSThrottlingException"), EndError, Throttled},
		"kms denies":       {refuse("KMSAccessDeniedException"), EndError, Fatal},
		"no such consumer": {refuse(emulator.ResourceNotFound), EndError, Fatal},
		"denied":           {refuse(emulator.AccessDenied), EndError, Fatal},
		"unknown error":    {refuse("NobodyHeardOfException"), EndError, Transient},
		"cut in a frame":   {func(context.Context) error { return emulator.ErrCut }, EndError, Transient},
		"cut":              {func(context.Context) error { return errors.New("cut") }, EndError, Transient},
		"ended":            {func(context.Context) error { return emulator.ErrEnd }, EndError, Transient},
		"silent":           {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, EndStall, Transient},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, emulator.Config{}, 1)
				told := newLedger()
				reader := r.fanOut(told)
				r.put(0, 2, 0)
				var events atomic.Int64
				r.onEvents(func(ctx context.Context) error {
					if events.Add(1) == 2 {
						return c.effect(ctx)
					}
					return nil
				})
				var g reading
				g.until(t, t.Context(), reader, 1, 2)
				r.put(2, 2, 0)
				if err := reader.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				batch, err := reader.Next(t.Context(), 1)
				failed, _ := errors.AsType[*Error](errors.Join(err, batch.Failed))
				if failed == nil || failed.Kind != c.kind || (c.kind == Fatal) != (err != nil) || len(batch.Records) > 0 || batch.Known {
					t.Fatalf("got %+v, %v", batch, err)
				}
				if !strings.Contains(failed.Error(), "subscribe view to shardId-000000000000 of orders") {
					t.Errorf("the error does not say what was tried: %v", failed)
				}
				told.has(t, 1, map[Ending]int{c.why: 1})
				if c.kind == Fatal {
					if _, again := reader.Next(t.Context(), 1); again == nil {
						t.Error("a fatal error is told only once")
					}
					return
				}
				g.until(t, t.Context(), reader, 1, 4)
				g.is(t, 0, 4)
			})
		})
	}
}

func TestARefusedSubscriptionIsRepeatedWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		reader := r.fanOut(newLedger())
		for _, kind := range []emulator.ErrorType{emulator.LimitExceeded, emulator.InternalFailure} {
			r.server.Intercept(func(context.Context, emulator.Call) error { return &emulator.APIError{Type: kind} })
			var g reading
			for n := range 8 {
				batch := g.step(t, t.Context(), reader, 1)
				failed, _ := errors.AsType[*Error](batch.Failed)
				if failed == nil || (failed.Kind == Throttled) != (kind == emulator.LimitExceeded) {
					t.Fatalf("%s: %+v", kind, batch)
				}
				if pause := time.Until(reader.next); pause > 10*time.Second || reader.failures <= n {
					t.Errorf("%s: pause of %s after %d failures", kind, pause, reader.failures)
				}
			}
		}
		r.server.Intercept(nil)
		r.put(0, 1, 0)
		var g reading
		g.until(t, t.Context(), reader, 1, 1)
		if reader.failures != 0 {
			t.Errorf("%d failures noted after a success", reader.failures)
		}
	})
}

// The shard's loop asks only when it has room. Meanwhile nothing is held but the beginning of an event.
func TestASubscriptionIsLetGoWhileNobodyTakesItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		r.put(0, 10, 1<<20-1)
		told := newLedger()
		reader := r.fanOut(told)
		ctx := t.Context()
		var g reading
		g.until(t, ctx, reader, 1, 2)
		if err := reader.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second) // it could not be begun again yet
		synctest.Wait()
		told.has(t, 1, map[Ending]int{})
		g.until(t, ctx, reader, 1, 4)
		if err := reader.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		told.has(t, 1, map[Ending]int{EndPressure: 1})

		g.next(t, ctx, reader, 1) // who has room gets an event
		if len(g.numbers) < 5 {
			t.Errorf("%d records were handed out", len(g.numbers))
		}
		told.has(t, 2, map[Ending]int{EndPressure: 1})
		g.until(t, ctx, reader, 1, 10)
		g.is(t, 0, 10)

		// Without a caller between Next and Ready, either.
		time.Sleep(10 * time.Second)
		synctest.Wait()
		told.has(t, 2, map[Ending]int{EndPressure: 2})
		ready := time.Now()
		if err := reader.Ready(ctx); err != nil || time.Since(ready) > 0 {
			t.Errorf("ready after %s, %v: there is nothing to wait for before there is room", time.Since(ready), err)
		}
		told.has(t, 2, map[Ending]int{EndPressure: 2})
	})
}

func TestTheEndOfAShardNamesItsChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		r.put(0, 3, 0)
		told := newLedger()
		reader := r.fanOut(told)
		r.split()
		var g reading
		for {
			batch := g.step(t, t.Context(), reader, 1)
			if batch.End {
				if len(batch.Children) != 2 {
					t.Errorf("the end names %q", batch.Children)
				}
				break
			}
		}
		g.is(t, 0, 3)
		told.has(t, 1, map[Ending]int{EndOfShard: 1})
	})
}

func TestTheEndOfTheContextClosesTheSubscription(t *testing.T) {
	gone := errors.New("lease lost")
	for name, ask := range map[string]func(ctx context.Context, reader *FanOut) error{
		"while an event is waited for": func(ctx context.Context, reader *FanOut) error { return reader.Ready(ctx) },
		"while another subscription is waited for": func(ctx context.Context, reader *FanOut) error {
			reader.next = time.Now().Add(time.Hour)
			reader.end(EndError)
			return reader.Ready(ctx)
		},
		"while nobody asks": func(ctx context.Context, reader *FanOut) error {
			<-ctx.Done()
			time.Sleep(time.Hour)
			return reader.Ready(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, emulator.Config{}, 1)
				r.put(0, 1, 0)
				told := newLedger()
				reader := r.fanOut(told)
				ctx, cancel := context.WithCancelCause(t.Context())
				var g reading
				g.until(t, ctx, reader, 1, 1)
				time.AfterFunc(300*time.Millisecond, func() { cancel(gone) })
				if err := ask(ctx, reader); !errors.Is(err, gone) {
					t.Errorf("got %v, want the cause", err)
				}
				if _, err := reader.Next(ctx, 1); !errors.Is(err, gone) {
					t.Errorf("next: %v, want the cause", err)
				}
				reader.Close()
				ended := 0
				for _, n := range told.ended {
					ended += n
				}
				if ended != 1 || told.ended[EndPressure] != 0 {
					t.Errorf("the subscription ended by %v", told.ended)
				}
			})
		})
	}
}
