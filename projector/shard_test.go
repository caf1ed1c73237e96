package projector

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"penstock/checkpoint"
	"penstock/localstack/emulator"
	"penstock/sink/deadletter"
	"penstock/view"
)

func TestAPanicIsParkedWithItsStackAndTheShardGoesOn(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 1, 1)
		w.put(1, 100, 3, 0, panics) // what the letter holds is the world's to check
		d := w.join()
		w.await(w.settled, time.Minute)
		if c := d.Counts(); c.Parked == 0 || c.Applied == 0 {
			t.Errorf("counts %+v", c)
		}
		return w.end()
	}))
}

func TestAShardWaitsForItsLetterWhileOthersGoOn(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 2, 4)
		w.lower(&w.s3)
		w.put(2, 2, 100, 0, garbled) // in some of the shards
		poisoned := map[string]bool{}
		for _, shard := range w.shards() {
			poisoned[shard] = true
		}
		w.join()
		time.Sleep(time.Second)
		w.put(3, 200, 0, 0)
		time.Sleep(time.Minute)
		waiting, others := 0, 0
		for _, shard := range w.shards() {
			if poisoned[shard] {
				waiting++
				if n := len(w.order[shard]); w.behind(shard) == 0 || w.store.Row(shard).Checkpoint != "" {
					t.Errorf("%s with a poison record has %d of %d records left and checkpoint %q", shard, w.behind(shard), n, w.store.Row(shard).Checkpoint)
				}
				continue
			}
			others++
			if n := w.behind(shard); n != 0 {
				t.Errorf("%s without one has %d records left", shard, n)
			}
		}
		if waiting == 0 || others == 0 {
			t.Errorf("%d shards wait, %d go on: this seed shows nothing", waiting, others)
		}
		return w.end()
	}))
}

// The writes of a shard stand still for longer than its iterator lives.
func TestAWriterThatStandsStillParksNothingAndLosesNothing(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 4, 2)
		w.lower(&w.slow)
		w.put(4, 1500, 0, 0)
		d := w.join()
		time.Sleep(time.Minute)
		var calls atomic.Int64
		w.server.Intercept(func(_ context.Context, c emulator.Call) error {
			if c.Action == "GetRecords" {
				calls.Add(1)
			}
			return nil
		})
		held := d.Counts()
		time.Sleep(10 * time.Minute)
		if c := d.Counts(); c != held || c.Read >= 1500 || c.InFlight == 0 || c.Applied+c.Parked+c.Abandoned > 0 {
			t.Errorf("after a minute %+v, after eleven %+v", held, c)
		}
		if n := calls.Load(); n > 0 {
			t.Errorf("%d calls of GetRecords without room for a reply", n)
		}
		w.raise(&w.slow)
		if took, ok := w.await(w.settled, 2*time.Minute); !ok {
			t.Errorf("not caught up after %s: %s", took, w.missing())
		}
		if c := d.Counts(); c.Parked != 0 || c.Abandoned != 0 || c.Applied != c.Read {
			t.Errorf("counts %+v", c)
		}
		return w.end()
	}))
}

// Replies turn out larger than the room that was reserved, and one shard stands still with its own.
func TestLargeRecordsOverdrawTheBudgetByPartOfAReply(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 5, 3)
		w.debt = 2 * 64 * (20 << 10) // at first 64 records go into the room of one reply
		w.put(5, 300, 2, 16<<10, garbled)
		w.lower(&w.slow)
		d := w.join()
		time.Sleep(20 * time.Second)
		if c := d.Counts(); c.InFlight > 200 {
			t.Errorf("%d records of 16 KiB in flight with 1 MiB of room", c.InFlight)
		}
		w.raise(&w.slow)
		return w.end()
	}))
}

func TestAStopDrainsASlowWriterAndThenReleases(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 6, 3)
		w.latency = 5 * time.Second
		w.put(6, 300, 0, 0)
		d := w.join()
		w.await(func() bool { return d.Counts().InFlight > 50 }, time.Minute)
		w.quit(d, time.Minute)
		begun := time.Now()
		if err := <-d.done; err != nil {
			t.Errorf("run returned %v", err)
		}
		d.done <- nil
		took := time.Since(begun)
		if c := d.Counts(); c.InFlight != 0 || c.Abandoned != 0 || took < time.Second || took > 8*time.Second {
			t.Errorf("drained in %s: %+v", took, c)
		}
		for _, shard := range w.shards() {
			row := w.store.Row(shard)
			if want := w.watermark(shard); row.Owner != "" || row.Checkpoint != want {
				t.Errorf("%s has owner %q and checkpoint %q, settled is %q", shard, row.Owner, row.Checkpoint, want)
			}
		}
		return w.end()
	}))
}

func TestADrainThatIsCutAbandonsTheRestAndStillReleases(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 7, 3)
		w.put(7, 100, 5, 0, garbled, refused)
		d := w.join()
		w.await(w.settled, time.Minute)
		w.lower(&w.slow)
		w.lower(&w.s3)
		w.put(8, 100, 5, 0, garbled, refused)
		if _, ok := w.await(func() bool { return d.Counts().InFlight > 50 }, time.Minute); !ok {
			t.Errorf("counts %+v", d.Counts())
		}
		w.quit(d, 10*time.Second)
		begun := time.Now()
		if err := <-d.done; err != nil {
			t.Errorf("run returned %v", err)
		}
		d.done <- nil
		if took := time.Since(begun); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("run returned %s after the stop, want the drain's 10s", took)
		}
		if c := d.Counts(); c.InFlight != 0 || c.Abandoned < 50 {
			t.Errorf("counts %+v", c)
		}
		for _, shard := range w.shards() {
			row := w.store.Row(shard)
			if want := w.watermark(shard); row.Owner != "" || row.Checkpoint != want {
				t.Errorf("%s has owner %q and checkpoint %q, settled is %q", shard, row.Owner, row.Checkpoint, want)
			}
		}
		return w.end()
	}))
}

// watermark returns the last record of a shard before which all have their outcome.
func (w *world) watermark(shard string) (last checkpoint.Sequence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, sequence := range w.order[shard] {
		if f := w.facts[position{shard, sequence}]; !f.applied && !f.parked {
			break
		}
		last = sequence
	}
	return last
}

// The tables are away for longer than a lease lives: every loop stops at the fence, gives its records up, and they are
// read again.
func TestALeaseThatIsLostEndsTheShardAndNothingElse(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 9, 3)
		d := w.join()
		w.await(func() bool { return w.following(d) == 3 }, time.Minute)
		w.set(func() { w.tables = context.DeadlineExceeded })
		w.lower(&w.slow)
		w.put(9, 200, 5, 0, garbled, refused)
		if _, ok := w.await(func() bool { return w.following(d) == 0 }, failover+time.Second); !ok {
			t.Errorf("%d shards are followed without a lease", w.following(d))
		}
		if c := d.Counts(); c.Abandoned == 0 || c.InFlight != 0 {
			t.Errorf("counts %+v", c)
		}
		w.calm()
		if took, ok := w.await(w.settled, time.Minute); !ok {
			t.Errorf("not recovered after %s: %s", took, w.missing())
		}
		return w.end()
	}))
}

func TestAJoinerGetsItsShareAndNothingIsAbandoned(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 10, 4)
		w.put(10, 400, 5, 0, garbled, refused)
		a := w.join()
		w.await(func() bool { return a.Counts().Read > 50 }, time.Minute)
		b := w.join()
		if took, ok := w.await(func() bool { return w.following(a) == 2 && w.following(b) == 2 }, time.Minute); !ok {
			t.Errorf("after %s %d and %d shards", took, w.following(a), w.following(b))
		}
		broken := w.end()
		if n := a.Counts().Abandoned + b.Counts().Abandoned; n != 0 {
			t.Errorf("%d records were abandoned", n)
		}
		return broken
	}))
}

// A writer asks the context before it sends and settles with the context's cause. In a process that was stopped and
// goes on, the lease may be over before anybody has cancelled anything; nil would then mean that the record is applied.
func TestWorkUnderALeaseThatIsOverHasEndedAndSaysWhy(t *testing.T) {
	taken := fmt.Errorf("%w: taken by another", checkpoint.ErrLeaseLost)
	for name, c := range map[string]struct {
		lost error // that the keeper has told and nobody has heard
		with func(context.Context) context.Context
		want error
	}{
		"the fence has passed": {nil, func(ctx context.Context) context.Context { return ctx }, checkpoint.ErrFenced},
		"with a value":         {nil, func(ctx context.Context) context.Context { return context.WithValue(ctx, t, t) }, checkpoint.ErrFenced},
		"it was lost":          {taken, func(ctx context.Context) context.Context { return ctx }, taken},
	} {
		t.Run(name, func(t *testing.T) {
			work, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			l := newLease(&keeper{base: time.Now()}, "shardId-0", "") // never trusted
			if c.lost != nil {
				l.lose(c.lost)
			}
			ctx := c.with(leased{work, l, cancel})
			if ctx.Err() == nil || !errors.Is(context.Cause(ctx), c.want) {
				t.Errorf("error %v, cause %v, want %v", ctx.Err(), context.Cause(ctx), c.want)
			}
		})
	}
}

// Some of the work was given up when it ended: that the rest goes on when a late answer brings the trust back would leave
// a shard that waits for outcomes nobody will tell it.
func TestWorkUnderALeaseThatWasOverStaysEnded(t *testing.T) {
	work, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	l := newLease(&keeper{base: time.Now()}, "shardId-0", "")
	ctx := leased{work, l, cancel}
	l.trusted.Store(int64(time.Hour))
	if err := ctx.Err(); err != nil {
		t.Fatalf("while the lease is trusted: %v", err)
	}
	l.trusted.Store(0)
	over := ctx.Err()
	l.trusted.Store(int64(time.Hour))
	if again := ctx.Err(); over == nil || again != over || !errors.Is(context.Cause(ctx), checkpoint.ErrFenced) {
		t.Errorf("it had ended with %v, and once trust is back with %v, cause %v", over, again, context.Cause(ctx))
	}
	select {
	case <-ctx.Done():
	default:
		t.Error("who waits for its end is not told")
	}
}

// parkerFunc is a parker of one function.
type parkerFunc func(context.Context) error

func (f parkerFunc) Park(ctx context.Context, _ deadletter.Letter) error { return f(ctx) }

// A letter that is still on its way when the lease is lost stands in nobody's way; one that is refused for good does.
func TestOnlyALetterThatIsRefusedIsToldAsAStandstill(t *testing.T) {
	waits := func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	refuses := func(context.Context) error { return errors.New("no such bucket") }
	for name, c := range map[string]struct {
		parker parkerFunc
		told   int
	}{"on its way": {waits, 0}, "refused": {refuses, 2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logged := observer.New(zap.ErrorLevel)
				s := &shard{budget: newBudget(1 << 20), parker: c.parker, log: zap.New(core)}
				work, end := context.WithCancelCause(t.Context())
				time.AfterFunc(standstill+time.Second, func() { end(checkpoint.ErrFenced) })
				err := s.park(work, refusal{&record{shard: s}, &view.Poison{Code: view.CodeBadJSON, Err: errors.New("bad")}, time.Now()})
				if !errors.Is(err, checkpoint.ErrFenced) || logged.Len() != c.told {
					t.Errorf("park ended with %v, and told %v", err, logged.All())
				}
			})
		})
	}
}
