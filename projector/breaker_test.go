package projector

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
	"penstock/sink/deadletter"
	"penstock/view"
	"penstock/view/viewtest"
)

// tight is a breaker that a small world can trip: after 20 letters in a row, or more than one in five of 100.
var tight = deadletter.BreakerConfig{SharePercent: 20, MinRecords: 100, InARow: 20}

// lift writes an operator's lift into the world's state table.
func (w *world) lift(shard string, length time.Duration) {
	w.t.Helper()
	l, err := NewLift("ann@host", "the release was rolled back", time.Now(), length)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := WriteLift(w.t.Context(), w.items, worldRole, shard, l); err != nil {
		w.t.Fatal(err)
	}
}

// blinding plants the fault: everything is poison.
func (w *world) blinding() { w.set(func() { w.blind = func(position) bool { return true } }) }

// parkedIn counts a shard's letters.
func (w *world) parkedIn(shard string) (n int) {
	w.set(func() {
		for at, f := range w.facts {
			if at.shard == shard && f.parked {
				n++
			}
		}
	})
	return n
}

// trips are those that stand in the state table.
func (w *world) trips() map[string]Trip {
	w.t.Helper()
	trips, err := ReadTrips(w.t.Context(), w.items, worldRole)
	if err != nil {
		w.t.Fatal(err)
	}
	return trips
}

// redrive applies what was parked and should not have been, as an operator does once the fault is put right. It returns
// how many that were.
func (w *world) redrive() (n int) {
	w.t.Helper()
	w.mu.Lock()
	type letter struct {
		at        position
		mutations []view.Mutation
	}
	var letters []letter
	for at, f := range w.facts {
		if !f.blinded {
			continue
		}
		result, err := viewtest.Stock{}.Project(view.Record{Data: f.data})
		if err != nil {
			w.t.Fatal(err)
		}
		letters = append(letters, letter{at, result.Mutations})
		f.kind = reformed
	}
	w.mu.Unlock()
	for _, l := range letters {
		w.apply(l.at, l.mutations)
	}
	return len(letters)
}

// A release makes every event poison. Each shard stops after a bounded number of letters, holds nothing in memory, says why
// once, and keeps its checkpoint before the record that tripped it. Once the fault is put right and the breaker lifted,
// everything is in the rows or in a letter, and the letters that need not have been are redriven.
func TestABreakerStopsAShardWithinItsBound(t *testing.T) {
	for seed := range uint64(3) {
		holds(t, inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, seed, 3)
			core, logs := observer.New(zap.InfoLevel)
			w.breaker, w.log = tight, zap.New(core)
			w.put(seed, 300, 5, 0, garbled, refused)
			d := w.join()
			w.await(w.settled, time.Minute)
			before := map[string]int{}
			for _, shard := range w.shards() {
				before[shard] = w.parkedIn(shard)
			}
			w.blinding()
			w.put(seed+10, 600, 5, 0, garbled, refused)
			if took, ok := w.await(func() bool { return len(w.trips()) == 3 }, time.Minute); !ok {
				t.Fatalf("%d of 3 shards have tripped after %s", len(w.trips()), took)
			}
			w.put(seed+20, 300, 5, 0, garbled, refused)
			time.Sleep(5 * time.Minute)
			_, bound := tight.Bound()
			for _, shard := range w.shards() {
				trip := w.trips()[shard]
				if n := w.parkedIn(shard) - before[shard]; n == 0 || n > bound {
					t.Errorf("%s: %d letters, the bound is %d", shard, n, bound)
				}
				row := w.store.Row(shard)
				if row.Owner != d.name {
					t.Errorf("%s belongs to %q", shard, row.Owner)
				}
				if row.Checkpoint.Compare(trip.Sequence) >= 0 || w.facts[position{shard, trip.Sequence}].parked {
					t.Errorf("%s: checkpoint %s, though the breaker tripped at %s", shard, row.Checkpoint, trip.Sequence)
				}
				if row.Checkpoint != w.watermark(shard) {
					t.Errorf("%s: checkpoint %s, settled up to %s", shard, row.Checkpoint, w.watermark(shard))
				}
				said := logs.FilterField(zap.String("why", trip.Sentence(shard))).FilterField(zap.String("shard", shard))
				if said.Len() != 1 {
					t.Errorf("%s: %d lines say %q", shard, said.Len(), trip.Sentence(shard))
				}
			}
			if c := d.Counts(); c.InFlight != 0 || d.budget.inUse() != 0 {
				t.Errorf("tripped, and %+v, %d bytes", c, d.budget.inUse())
			}
			if s := d.Standing(time.Now()); s.Tripped != 3 || s.TrippedWhy == "" {
				t.Errorf("it stands at %+v", s)
			}
			w.set(func() { w.blind = nil })
			w.lift(AllShards, time.Hour)
			if took, ok := w.await(w.settled, time.Minute); !ok {
				t.Errorf("not settled %s after the lift: %s", took, w.missing())
			}
			if n := logs.FilterMessage("the breaker is lifted, the shard resumes").Len(); n != 3 {
				t.Errorf("%d shards said that they resume", n)
			}
			if n := w.redrive(); n == 0 || n > 3*bound {
				t.Errorf("%d letters to redrive", n)
			}
			return w.end()
		}))
	}
}

// A trip is the shard's and not its owner's: it outlives a kill and a stop, which does not wait for the lift, and a
// process that comes later reads nothing.
func TestATripSurvivesItsOwner(t *testing.T) {
	for _, end := range []string{"kill", "quit"} {
		holds(t, inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, 7, 2)
			w.breaker = tight
			w.put(7, 400, 0, 0)
			w.blinding()
			a := w.join()
			w.await(func() bool { return len(w.trips()) == 2 }, time.Minute)
			time.Sleep(honoured)
			parked := w.parkedIn(w.shards()[0]) + w.parkedIn(w.shards()[1])
			if end == "kill" {
				w.kill(a)
			} else {
				w.quit(a, time.Minute)
				if took, ok := w.await(func() bool { return w.get(func() bool { return a.ended }) }, time.Minute); !ok || took > 5*time.Second {
					t.Errorf("it took %s to stop, ended: %t", took, ok)
				}
			}
			b := w.join()
			if took, ok := w.await(func() bool { return w.following(b) == 2 }, time.Minute); !ok {
				t.Errorf("%s: not taken over after %s", end, took)
			}
			time.Sleep(2 * time.Minute)
			if c := b.Counts(); c.Read != 0 || w.parkedIn(w.shards()[0])+w.parkedIn(w.shards()[1]) != parked {
				t.Errorf("%s: the next owner read %d records of tripped shards", end, c.Read)
			}
			if behind := b.Standing(time.Now()).Behind; behind < time.Since(w.start)-time.Second || behind > time.Since(w.start) {
				t.Errorf("%s: the view is %s behind, by events that wait for %s", end, behind, time.Since(w.start))
			}
			w.set(func() { w.blind = nil })
			w.lift(w.shards()[0], time.Hour)
			if took, ok := w.await(func() bool { return w.behind(w.shards()[0]) == 0 }, time.Minute); !ok {
				t.Errorf("%s: not settled %s after the lift", end, took)
			}
			if w.behind(w.shards()[1]) == 0 {
				t.Errorf("%s: the lift of one shard lifted the other", end)
			}
			w.lift(AllShards, MinLift)
			w.await(w.settled, time.Minute)
			w.redrive()
			return w.end()
		}))
	}
}

// While a lift lasts there is no bound. It ends, and the breaker counts anew.
func TestALiftEndsAndTheBreakerCountsAnew(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 11, 1)
		w.breaker = tight
		w.put(11, 300, 0, 0)
		shard := w.shards()[0]
		w.blinding()
		w.join()
		w.await(func() bool { return len(w.trips()) == 1 }, time.Minute)
		if n := w.parkedIn(shard); n != tight.InARow {
			t.Errorf("%d letters before the first trip, want %d", n, tight.InARow)
		}
		first := w.trips()[shard]
		w.lift(shard, 2*time.Minute)
		if took, ok := w.await(w.settled, time.Minute); !ok {
			t.Errorf("not settled %s after the lift", took)
		}
		lifted := w.parkedIn(shard)
		time.Sleep(3 * time.Minute)
		w.put(12, 300, 0, 0)
		if took, ok := w.await(func() bool { return w.trips()[shard] != first }, time.Minute); !ok {
			t.Errorf("not tripped again after %s", took)
		}
		time.Sleep(time.Minute)
		if n := w.parkedIn(shard) - lifted; n != tight.InARow {
			t.Errorf("%d letters after the lift's end, want %d", n, tight.InARow)
		}
		w.set(func() { w.blind = nil })
		w.lift(AllShards, MinLift)
		w.await(w.settled, time.Minute)
		w.redrive()
		return w.end()
	}))
}

// What one owner counted the next goes on from, so that a fleet that restarts again and again has the same bound.
func TestAHandOverDoesNotResetTheCount(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 13, 1)
		w.breaker = tight
		w.blinding()
		d := w.join()
		parked := 0
		for n := uint64(0); len(w.trips()) == 0 && n < 10; n++ {
			w.put(100+n, 7, 0, 0)
			w.await(func() bool { return w.settled() || len(w.trips()) > 0 }, time.Minute)
			parked = w.parkedIn(w.shards()[0])
			w.quit(d, time.Minute)
			<-d.done
			d.done <- nil
			d = w.join()
		}
		time.Sleep(time.Minute)
		if n := w.parkedIn(w.shards()[0]); n != tight.InARow || parked > n {
			t.Errorf("%d letters over all owners, want %d", n, tight.InARow)
		}
		w.set(func() { w.blind = nil })
		w.lift(AllShards, time.Hour)
		w.await(w.settled, time.Minute)
		w.redrive()
		return w.end()
	}))
}

// Without the state table the shard stands still all the same; its owner keeps the lease until it could leave word. A kill
// loses that, and then the next owner lets as many letters through as the breaker allows, and no more.
func TestATripHoldsWithoutTheStateTable(t *testing.T) {
	for _, end := range []string{"back", "kill", "quit"} {
		holds(t, inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, 17, 1)
			w.breaker = tight
			w.put(17, 400, 0, 0)
			shard := w.shards()[0]
			a := w.join()
			w.await(w.settled, time.Minute)
			w.set(func() { w.notes = &storetest.Fault{Fail: storetest.ErrScripted} })
			w.blinding()
			w.put(18, 400, 0, 0)
			w.await(func() bool { return w.parkedIn(shard) == tight.InARow }, time.Minute)
			time.Sleep(2 * time.Minute)
			if n := w.parkedIn(shard); n != tight.InARow || len(w.trips()) != 0 {
				t.Errorf("%s: %d letters, want %d; trips %v", end, n, tight.InARow, w.trips())
			}
			if row := w.store.Row(shard); row.Owner != a.name || row.Checkpoint != w.watermark(shard) {
				t.Errorf("%s: the row is %+v, settled up to %s", end, row, w.watermark(shard))
			}
			switch end {
			case "kill":
				w.kill(a)
				w.join()
			case "quit":
				w.quit(a, time.Minute)
				<-a.done
				a.done <- nil
				w.join()
			}
			time.Sleep(2 * time.Minute)
			if n := w.parkedIn(shard); n > 2*tight.InARow || end == "back" && n > tight.InARow {
				t.Errorf("%s: %d letters without the state table", end, n)
			}
			w.set(func() { w.notes = nil })
			if took, ok := w.await(func() bool { return len(w.trips()) == 1 }, time.Minute); !ok {
				t.Errorf("%s: the trip is not told %s after the state table is back", end, took)
			}
			w.set(func() { w.blind = nil })
			w.lift(AllShards, time.Hour)
			w.await(w.settled, time.Minute)
			w.redrive()
			return w.end()
		}))
	}
}

// What is in flight when the breaker trips is settled before the shard is let go, also where that takes long; a stop
// meanwhile waits for it and not for the lift. Other shards go on.
func TestWhatIsInFlightSettlesWhenTheBreakerTrips(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		holds(t, inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, 19, 2)
			w.breaker = tight
			w.put(19, 400, 0, 0)
			shards := w.shards()
			bad := map[position]bool{} // in one shard, from the 50th record on
			for i, at := range w.order[shards[0]] {
				bad[position{shards[0], at}] = i >= 50
			}
			w.set(func() { w.blind = func(at position) bool { return bad[at] } })
			w.lower(&w.slow)
			d := w.join()
			w.await(func() bool { return w.parkedIn(shards[0]) == tight.InARow && len(w.trips()) == 1 }, time.Minute)
			time.Sleep(time.Minute)
			if row := w.store.Row(shards[0]); row.Owner != d.name || d.Counts().InFlight == 0 {
				t.Errorf("let go with %+v: %+v", d.Counts(), row)
			}
			if stopped {
				w.quit(d, 10*time.Minute)
				time.Sleep(time.Minute)
				if w.get(func() bool { return d.ended }) {
					t.Error("stopped with records in flight")
				}
			}
			w.raise(&w.slow)
			if stopped {
				if err := <-d.done; err != nil {
					t.Error(err)
				}
				d.done <- nil
			} else if took, ok := w.await(func() bool { return w.behind(shards[1]) == 0 }, time.Minute); !ok {
				t.Errorf("the other shard is not settled after %s", took)
			}
			time.Sleep(10 * time.Second)
			var first checkpoint.Sequence // that has no outcome
			for _, at := range w.order[shards[0]] {
				if f := w.facts[position{shards[0], at}]; !f.applied && !f.parked {
					first = at
					break
				}
			}
			if trip := w.trips()[shards[0]]; trip.Sequence != first || w.parkedIn(shards[0]) != tight.InARow {
				t.Errorf("the first record without outcome is %s, tripped at %+v", first, trip)
			}
			if got := w.store.Row(shards[0]).Checkpoint; got != w.watermark(shards[0]) {
				t.Errorf("checkpoint %s, settled up to %s", got, w.watermark(shards[0]))
			}
			w.set(func() { w.blind = nil })
			w.lift(AllShards, time.Hour)
			if stopped {
				w.join()
			}
			w.await(w.settled, time.Minute)
			w.redrive()
			return w.end()
		}))
	}
}

// An owner that takes a shard the moment another let it go must not read before it knows why.
func TestAShardThatComesFromAnotherOwnerIsNotReadBeforeALook(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 29, 4)
		w.breaker = tight
		w.put(29, 800, 0, 0)
		w.blinding()
		for range 3 {
			w.join()
		}
		w.await(func() bool { return len(w.trips()) == 4 }, time.Minute)
		time.Sleep(2 * time.Minute)
		for _, shard := range w.shards() {
			if n := w.parkedIn(shard); n > tight.InARow {
				t.Errorf("%s: %d letters by a fleet of three, want %d", shard, n, tight.InARow)
			}
		}
		w.set(func() { w.blind = nil })
		w.lift(AllShards, time.Hour)
		w.await(w.settled, time.Minute)
		w.redrive()
		return w.end()
	}))
}

func TestLiftsHaveBounds(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		length time.Duration
		reason string
	}{{MinLift - 1, "why"}, {MaxLift + 1, "why"}, {time.Hour, " "}, {time.Hour, "two\nlines"}} {
		if _, err := NewLift("ann@host", c.reason, now, c.length); err == nil {
			t.Errorf("a lift for %s since %q was accepted", c.length, c.reason)
		}
	}
	l, err := NewLift("ann@host", "why", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	trip := func(after time.Duration) Trip { return Trip{At: now.Add(after)} }
	for name, c := range map[string]struct {
		lifts  Lifts
		trip   Trip
		lifted bool
	}{
		"its own":              {Lifts{"a": l}, trip(-time.Hour), true},
		"all":                  {Lifts{AllShards: l}, trip(-time.Hour), true},
		"another's":            {Lifts{"b": l}, trip(-time.Hour), false},
		"none":                 {nil, trip(-time.Hour), false},
		"tripped while it was": {Lifts{"a": l}, trip(time.Minute), true},
		"tripped after it":     {Lifts{"a": l}, trip(time.Hour), false},
	} {
		if got := c.lifts.Lifted("a", c.trip); got != c.lifted {
			t.Errorf("%s: lifted %t", name, got)
		}
	}
}

func TestNotesOfABreakerComeBackAsTheyWere(t *testing.T) {
	state := &storetest.Items{}
	ctx := context.Background()
	trip := Trip{Why: "why", Code: view.CodeBadJSON, Fingerprint: "2db68a812587aa58", Sequence: "4711", Worker: "a-1",
		Arrival: time.Date(2026, 11, 21, 10, 0, 0, 1000, time.UTC), At: time.Date(2026, 11, 21, 10, 0, 1, 2000, time.UTC)}
	if err := WriteTrip(ctx, state, worldRole, "shard-1", trip); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadTrips(ctx, state, worldRole); err != nil || len(got) != 1 || got["shard-1"] != trip {
		t.Errorf("%v, %v", got, err)
	}
	lift, err := NewLift("ann@host", "why", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteLift(ctx, state, worldRole, AllShards, lift); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadLifts(ctx, state, worldRole); err != nil || len(got) != 1 || got[AllShards] != lift {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFingerprintsAreForgottenOldestFirst(t *testing.T) {
	var f fingerprints
	for i := range maxFingerprints {
		if !f.add(fmt.Sprint(i)) || f.add(fmt.Sprint(i)) {
			t.Fatalf("fingerprint %d is not new once", i)
		}
	}
	if !f.add("one more") || f.add(fmt.Sprint(1)) || !f.add(fmt.Sprint(0)) {
		t.Error("the oldest was not the one forgotten")
	}
	if len(f.known) != maxFingerprints || len(f.queue) != maxFingerprints {
		t.Errorf("%d and %d are kept", len(f.known), len(f.queue))
	}
}
