package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/view"
)

// gateWorld is a gate with requests of its own making, at a time of its own.
type gateWorld struct {
	t      testing.TB
	gate   *gate
	ring   *ring
	now    time.Time
	made   int
	tables map[string]*table
}

// newGateWorld is a gate before hosts that all replicas are on, with so many permits each.
func newGateWorld(t testing.TB, permits int, hosts ...*host) *gateWorld {
	now := time.Unix(1_700_000_003, 0)
	for _, h := range hosts {
		h.up.Store(true)
	}
	limits := adaptive.Config{Start: permits, Min: permits, Max: permits}
	return &gateWorld{t: t, gate: newGate(limits, adaptive.GovernorConfig{}, now), ring: newRing(hosts, replication{}), now: now, tables: twoTables()}
}

// put lets so many requests of a source wait, each of one small mutation of a row of its own.
func (w *gateWorld) put(from *sink.Source, n int) {
	var mutations [][]view.Mutation
	for range n {
		w.made++
		mutations = append(mutations, changeOf(fmt.Sprint(w.made), "a"))
	}
	writes, _ := writesOf(mutations)
	for i := range writes { // one by one, or they would go together
		w.gate.put(w.ring, from, plan(w.t.Context(), w.tables, w.ring, writes[i:i+1]))
	}
}

func (w *gateWorld) next() (flight, bool) {
	f, ok, _ := w.gate.next(w.ring, nil, w.now)
	return f, ok
}

func (w *gateWorld) mustNext() flight {
	w.t.Helper()
	f, ok := w.next()
	if !ok {
		w.t.Fatal("nothing may be sent")
	}
	return f
}

func (w *gateWorld) fail(f flight, o adaptive.Outcome) {
	w.gate.done(f, o, w.now)
	f.failures++
	f.failedAt = f.host
	w.gate.putLater(f.request, adaptive.Transient, w.now)
}

// pass lets time pass, with its pulses.
func (w *gateWorld) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(pulseEvery)
		w.gate.pulse(w.ring, w.now)
	}
}

func TestNoHostEverHasMoreThanItsPermits(t *testing.T) {
	a, b := &host{id: "a"}, &host{id: "b"}
	w := newGateWorld(t, 3, a, b)
	w.put(new(sink.Source), 10)
	used := map[*host]int{}
	for {
		f, ok := w.next()
		if !ok {
			break
		}
		used[f.host]++
	}
	if used[a] != 3 || used[b] != 3 {
		t.Errorf("%d and %d requests on their way, want 3 each", used[a], used[b])
	}
}

// A permit that is given back goes to what waits for that host, and what waits for both is served by whichever comes first.
func TestWhatWaitsGoesToTheHostThatHasRoomFirst(t *testing.T) {
	a, b := &host{id: "a"}, &host{id: "b"}
	w := newGateWorld(t, 1, a, b)
	w.put(new(sink.Source), 4)
	first, second := w.mustNext(), w.mustNext()
	if first.host == second.host {
		t.Fatal("both went to one host that has one permit")
	}
	if f, ok := w.next(); ok {
		t.Fatalf("%s has two requests with one permit", f.host.id)
	}
	for _, freed := range []flight{second, first} {
		w.gate.done(freed, adaptive.Success, w.now)
		f, ok, _ := w.gate.next(w.ring, freed.host, w.now)
		if !ok || f.host != freed.host {
			t.Errorf("the permit of %s was not used", freed.host.id)
		}
	}
}

func TestARepetitionGoesToAnotherHost(t *testing.T) {
	a, b := &host{id: "a"}, &host{id: "b"}
	w := newGateWorld(t, 8, a, b)
	w.put(new(sink.Source), 1)
	f := w.mustNext()
	w.fail(f, adaptive.Failed)
	w.pass(time.Second)
	again := w.mustNext()
	if again.request != f.request || again.host == f.host {
		t.Errorf("repeated at %s, where it had failed", again.host.id)
	}
	w.fail(again, adaptive.Failed)
	f.host.up.Store(false)
	w.pass(time.Second)
	if third := w.mustNext(); third.host == f.host {
		t.Error("repeated at a host that is down")
	}
}

// An outage must not be answered with more load: what is repeated is paid for out of what succeeded.
func TestRepetitionsWaitForTheBudget(t *testing.T) {
	a, b := &host{id: "a"}, &host{id: "b"}
	w := newGateWorld(t, 1000, a, b)
	source := new(sink.Source)
	w.put(source, 500)
	var failed []flight
	for f, ok := w.next(); ok; f, ok = w.next() {
		failed = append(failed, f)
	}
	for _, f := range failed {
		w.fail(f, adaptive.Ignored) // says nothing of the hosts
	}
	w.pass(time.Second)
	repeated := 0
	for _, ok := w.next(); ok; _, ok = w.next() {
		repeated++
	}
	if len(failed) != 500 || repeated < 30 || repeated > 40 { // 500 tokens at 14 each, and five a second
		t.Errorf("of %d failures %d were repeated within a second", len(failed), repeated)
	}
	w.pass(time.Minute)
	if f, ok := w.next(); !ok || f.failures != 1 {
		t.Error("nothing is repeated in the minute after")
	}
}

// When everything is out, nobody succeeds to pay for repetitions; hosts in quarantine are tried all the same.
func TestAQuarantinedHostIsTriedWithoutBeingPaidFor(t *testing.T) {
	a := &host{id: "a"}
	w := newGateWorld(t, 100, a)
	w.put(new(sink.Source), 100)
	for f, ok := w.next(); ok; f, ok = w.next() {
		w.fail(f, adaptive.Lost)
	}
	if w.gate.limiters[a].State() != adaptive.Quarantined {
		t.Fatal("a host with nothing but broken connections is not in quarantine")
	}
	for ok, _ := w.gate.budget.Take(adaptive.Transient, w.now); ok; ok, _ = w.gate.budget.Take(adaptive.Transient, w.now) {
	}
	tried := 0
	for range 1000 { // ten seconds
		w.pass(pulseEvery)
		for f, ok := w.next(); ok; f, ok = w.next() {
			tried++
			w.fail(f, adaptive.Lost)
		}
	}
	if tried < 2 || tried > 10 {
		t.Errorf("tried %d times in ten seconds", tried)
	}
	w.pass(6 * time.Second)
	for range answersUntilBack {
		w.gate.done(w.mustNext(), adaptive.Success, w.now)
		w.pass(pulseEvery)
	}
	if w.gate.limiters[a].State() != adaptive.Normal {
		t.Error("a host that answers again is still in quarantine")
	}
}

// answersUntilBack is how many single writes a quarantined host must acknowledge.
const answersUntilBack = 3

// A coordinator that finds too few replicas, while others find enough of the same, is the one that is cut off.
func TestACoordinatorThatAloneFindsNoReplicasIsQuarantined(t *testing.T) {
	for name, c := range map[string]struct {
		other adaptive.Outcome
		after time.Duration
		want  adaptive.State
	}{
		"another succeeds":          {adaptive.Success, lately / 2, adaptive.Quarantined},
		"another succeeded earlier": {adaptive.Success, 2 * lately, adaptive.Normal},
		"others fail as well":       {adaptive.Unavailable, lately / 2, adaptive.Normal},
	} {
		a, b := &host{id: "a"}, &host{id: "b"}
		w := newGateWorld(t, 1, a, b)
		w.put(new(sink.Source), 2)
		first, second := w.mustNext(), w.mustNext()
		w.gate.done(first, c.other, w.now)
		w.now = w.now.Add(c.after)
		w.gate.done(second, adaptive.Unavailable, w.now)
		if got := second.limiter.State(); got != c.want {
			t.Errorf("%s: the host is %s, want %s", name, got, c.want)
		}
	}
}

// Of 64 shards one submits a hundred times as much as each of the others; they get the same all the same (Jain's index).
func TestAHotSourceTakesNothingFromTheOthers(t *testing.T) {
	w := newGateWorld(t, 4, &host{id: "a"}, &host{id: "b"}, &host{id: "c"})
	sources := make([]sink.Source, 64)
	for i := range sources {
		n := 100
		if i == 0 {
			n = 10_000
		}
		w.put(&sources[i], n)
	}
	served := map[*sink.Source]float64{}
	for range 64 * 50 {
		f := w.mustNext()
		served[f.from] += float64(len(f.parts))
		w.gate.done(f, adaptive.Success, w.now)
	}
	var sum, squares float64
	for i := range sources[1:] {
		x := served[&sources[i+1]]
		sum += x
		squares += x * x
	}
	if jain := sum * sum / (63 * squares); jain < 0.98 {
		t.Errorf("Jain's index of the other 63 is %.3f", jain)
	}
	if hot := served[&sources[0]]; hot > 2*sum/63 {
		t.Errorf("the hot one got %.0f, the others %.0f each", hot, sum/63)
	}
}

func TestASourceThatIsFurtherBehindGetsMore(t *testing.T) {
	w := newGateWorld(t, 4, &host{id: "a"})
	var near, far sink.Source
	far.SetBehind(7 * time.Minute)
	w.put(&near, 1000)
	w.put(&far, 1000)
	served := map[*sink.Source]float64{}
	for range 400 {
		f := w.mustNext()
		served[f.from]++
		w.gate.done(f, adaptive.Success, w.now)
	}
	if ratio := served[&far] / served[&near]; math.Abs(ratio-4) > 0.2 { // 1 + log2(1 + 7)
		t.Errorf("seven minutes behind gets %.2f times as much, want 4", ratio)
	}
}

// A row that changes while it waits is written once for many changes, and rows of others are not touched by that.
func TestARowThatWaitsTakesInWhatComes(t *testing.T) {
	w := newGateWorld(t, 1, &host{id: "a"})
	source := new(sink.Source)
	w.put(source, 1)
	w.mustNext() // takes the only permit
	var mutations [][]view.Mutation
	for range 12 {
		mutations = append(mutations, changeOf("hot", "a"), changeOf("hot", "another row of the partition"))
	}
	writes, outcomes := writesOf(mutations)
	for i := range writes {
		w.gate.put(w.ring, source, plan(t.Context(), w.tables, w.ring, writes[i:i+1]))
	}
	if w.gate.waiting > 4 {
		t.Errorf("%d requests for two rows wait", w.gate.waiting)
	}
	sent := 0
	for w.gate.waiting > 0 {
		for h := range w.gate.lanesOf {
			w.gate.limiterOf(h, w.now).SetConfig(adaptive.Config{Start: 64, Min: 64, Max: 64}, w.now)
		}
		f := w.mustNext()
		sent += len(f.statements(nil))
		w.gate.done(f, adaptive.Success, w.now)
		f.settle(nil)
	}
	if sent > 4 {
		t.Errorf("24 changes of two rows became %d statements", sent)
	}
	for i, o := range outcomes {
		if o.times != 1 || o.err != nil {
			t.Errorf("record %d was settled %d times, with %v", i, o.times, o.err)
		}
	}
}

func TestWhatBelongsToAnEndedContextIsReturned(t *testing.T) {
	w := newGateWorld(t, 1, &host{id: "a"})
	var mine, others sink.Source
	ctx, cancel := context.WithCancelCause(t.Context())
	writes, _ := writesOf([][]view.Mutation{changeOf("1", "a"), changeOf("2", "a"), changeOf("3", "a")})
	for i := range writes {
		w.gate.put(w.ring, &mine, plan(ctx, w.tables, w.ring, writes[i:i+1]))
	}
	w.fail(w.mustNext(), adaptive.Failed)
	w.put(&others, 2)
	lost := errors.New("lease lost")
	cancel(lost)
	w.now = w.now.Add(sweepEvery)
	over, idle := w.gate.pulse(w.ring, w.now)
	if len(over) != 3 || idle || w.gate.waiting != 2 {
		t.Errorf("%d returned, %d still wait, idle: %t", len(over), w.gate.waiting, idle)
	}
	for _, r := range over {
		if !errors.Is(ended(r.ctx), lost) {
			t.Error("a request of another context was returned")
		}
	}
}

// A context that was ended by its clock may look alive again when its request is settled: it is settled with what was seen.
func TestWhatWasSweptKeepsItsCause(t *testing.T) {
	w := newGateWorld(t, 1, &host{id: "a"})
	lost := errors.New("lease lost")
	ctx := &reviving{Context: t.Context(), err: lost}
	writes, _ := writesOf([][]view.Mutation{changeOf("1", "a")})
	w.gate.put(w.ring, new(sink.Source), plan(ctx, w.tables, w.ring, writes))
	over, _ := w.gate.pulse(w.ring, w.now.Add(sweepEvery))
	ctx.err = nil
	if len(over) != 1 || !errors.Is(over[0].cause, lost) {
		t.Errorf("swept: %v", over)
	}
}

// reviving is a context that ends and goes on.
type reviving struct {
	context.Context
	err error
}

func (r *reviving) Err() error { return r.err }

func TestAnotherRingTakesOverWhatWaits(t *testing.T) {
	a, b := &host{id: "a"}, &host{id: "b"}
	w := newGateWorld(t, 1, a)
	w.put(new(sink.Source), 3)
	flying := w.mustNext()
	b.up.Store(true)
	w.ring = newRing([]*host{b}, replication{}) // a left, b came
	f := w.mustNext()
	if f.host != b {
		t.Errorf("what waited went to %s", f.host.id)
	}
	w.gate.done(flying, adaptive.Success, w.now)
	w.gate.done(f, adaptive.Success, w.now)
	w.gate.done(w.mustNext(), adaptive.Success, w.now)
	if _, idle := w.gate.pulse(w.ring, w.now); !idle {
		t.Error("something is left")
	}
}

// A record that is being blamed stands alone, whatever becomes of the topology meanwhile: who stood beside it would be
// parked with it.
func TestNothingJoinsWhatWasSentBefore(t *testing.T) {
	for name, again := range map[string]func(*gateWorld, flight){
		"under suspicion": func(w *gateWorld, f flight) {
			f.suspicion = errors.New("invalid")
			w.gate.putAgain(f.request)
		},
		"at its retrial": func(w *gateWorld, f flight) {
			f.retrial = true
			w.gate.putAgain(f.request)
		},
	} {
		a := &host{id: "a"}
		w := newGateWorld(t, 1, a)
		source := new(sink.Source)
		put := func() {
			writes, _ := writesOf([][]view.Mutation{changeOf("row", "a")})
			w.gate.put(w.ring, source, plan(t.Context(), w.tables, w.ring, writes))
		}
		put()
		f := w.mustNext()
		w.gate.done(f, adaptive.Ignored, w.now)
		f.attempts++
		again(w, f)
		w.ring = newRing([]*host{a}, replication{}) // the same hosts, told anew
		put()
		if got := w.mustNext(); got.request != f.request || len(got.parts) != 1 {
			t.Errorf("%s: %d mutations are sent together", name, len(got.parts))
		}
	}
}

// Whoever looked at the topology before it changed does not bring the old one back, and with it limits that are forgotten.
func TestAnOlderRingIsNotFollowed(t *testing.T) {
	a, b := &host{id: "a"}, &host{id: "b"}
	w := newGateWorld(t, 1, a)
	before := w.ring
	b.up.Store(true)
	w.ring = newRing([]*host{a, b}, replication{})
	w.ring.number = 1
	w.put(new(sink.Source), 2)
	w.mustNext()
	w.gate.put(before, new(sink.Source), nil)
	if len(w.gate.ring.hosts) != 2 {
		t.Error("an older ring was followed")
	}
}

// A host in quarantine whose turn it is comes before hosts with nothing to do, or nobody would find out that it is back.
func TestAProbeComesBeforeIdleHosts(t *testing.T) {
	a, b := &host{id: "a"}, &host{id: "b"}
	w := newGateWorld(t, 8, a, b)
	w.gate.limiterOf(b, w.now)
	l := w.gate.limiterOf(a, w.now)
	for range 3 {
		l.Done(l.Send(w.now), adaptive.Lost, w.now)
	}
	w.pass(5 * time.Second)
	w.put(new(sink.Source), 1)
	if f := w.mustNext(); f.host != a {
		t.Errorf("the write went to %s", f.host.id)
	}
}

// A repetition that cannot be paid for is not overtaken by cheaper ones for ever.
func TestRepetitionsArePaidForInTurn(t *testing.T) {
	w := newGateWorld(t, 1000, &host{id: "a"}, &host{id: "b"})
	for ok, _ := w.gate.budget.Take(adaptive.SlowDown, w.now); ok; ok, _ = w.gate.budget.Take(adaptive.SlowDown, w.now) {
	}
	w.put(new(sink.Source), 41)
	var dear *request
	for i := range 41 {
		f := w.mustNext()
		kind := adaptive.SlowDown
		if i == 0 {
			dear, kind = f.request, adaptive.Transient
		}
		w.gate.done(f, adaptive.Ignored, w.now)
		f.failures++
		w.gate.putLater(f.request, kind, w.now)
	}
	dear.due = w.now
	slices.SortFunc(w.gate.later, func(a, b *request) int { return a.due.Compare(b.due) })
	w.pass(10 * time.Second)
	for f, ok := w.next(); ok; f, ok = w.next() {
		if f.request == dear {
			return
		}
	}
	t.Error("it was not repeated within ten seconds")
}

func TestARaisedBoundServesThoseWhoWait(t *testing.T) {
	w := newGateWorld(t, 1, &host{id: "a"})
	w.put(new(sink.Source), 3)
	w.mustNext()
	if err := w.gate.setConfig(adaptive.Config{Min: 3, Max: 2}, adaptive.GovernorConfig{}, w.now); err == nil {
		t.Error("a lowest bound above the highest was taken")
	}
	if err := w.gate.setConfig(adaptive.Config{Min: 3, Max: 3}, adaptive.GovernorConfig{}, w.now); err != nil {
		t.Error(err)
	}
	w.mustNext()
	w.mustNext()
}

// Target and bounds of the hosts, budget and floor of the debt: each new value holds from then on.
func TestEveryBoundChangesWhileWriting(t *testing.T) {
	a := &host{id: "a"}
	w := newGateWorld(t, 8, a)
	w.put(new(sink.Source), 3000)
	w.gate.governor.Absent("a", w.now)
	for range 1000 {
		f := w.mustNext()
		w.now = w.now.Add(5 * time.Millisecond)
		w.gate.done(f, adaptive.Success, w.now)
	}
	w.gate.governor.Measured("a", 64<<20, w.now)
	before := w.gate.pressure(w.ring, w.now)
	if err := w.gate.setConfig(adaptive.Config{Target: 12 * time.Millisecond, Min: 2, Max: 5}, adaptive.GovernorConfig{Budget: 1 << 20, Floor: 0.5}, w.now); err != nil {
		t.Fatal(err)
	}
	after := w.gate.pressure(w.ring, w.now)
	if b, a := before.Hosts[0], after.Hosts[0]; b.Limit != 8 || a.Limit != 5 || a.Target >= b.Target || a.Target > Seconds(4*time.Millisecond) {
		t.Errorf("limit %d → %d, target %s → %s", b.Limit, a.Limit, time.Duration(b.Target), time.Duration(a.Target))
	}
	if before.Capped && before.Cap < 150 || !after.Capped || math.Abs(after.Cap-100) > 15 { // half of 200 a second
		t.Errorf("cap %.0f (%t) → %.0f (%t)", before.Cap, before.Capped, after.Cap, after.Capped)
	}
	if err := w.gate.setConfig(adaptive.Config{Min: 2, Max: 5}, adaptive.GovernorConfig{Budget: 1 << 20, Floor: 0.1}, w.now); err != nil {
		t.Fatal(err)
	}
	if p := w.gate.pressure(w.ring, w.now); math.Abs(p.Cap-20) > 3 {
		t.Errorf("cap %.0f at a floor of a tenth", p.Cap)
	}
}

// Whatever comes, fails, waits and moves, every record is settled once, and the gate is empty in the end.
func TestEveryRequestOfTheGateEndsOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ring := aRing()
		for _, h := range ring.hosts {
			h.up.Store(true)
		}
		w := newGateWorld(t, 2)
		w.ring = ring
		sources := make([]sink.Source, 3)
		var outcomes [][]outcome
		var flying []flight
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0:
				writes, o := writesOf(rapid.SliceOfN(aWrite(), 1, 6).Draw(rt, "writes"))
				outcomes = append(outcomes, o)
				from := &sources[rapid.IntRange(0, 2).Draw(rt, "source")]
				w.gate.put(w.ring, from, plan(t.Context(), w.tables, w.ring, writes))
			case 1:
				if f, ok := w.next(); ok {
					flying = append(flying, f)
				}
			case 2:
				if len(flying) > 0 {
					i := rapid.IntRange(0, len(flying)-1).Draw(rt, "which")
					f := flying[i]
					flying = slices.Delete(flying, i, i+1)
					switch rapid.IntRange(0, 2).Draw(rt, "end") {
					case 0:
						w.gate.done(f, adaptive.Success, w.now)
						f.settle(nil)
					case 1:
						w.fail(f, adaptive.Failed)
					case 2:
						w.gate.done(f, adaptive.Ignored, w.now)
						w.gate.putAgain(f.split()...)
					}
				}
			case 3:
				w.pass(time.Duration(rapid.IntRange(10, 2000).Draw(rt, "ms")) * time.Millisecond)
			case 4:
				h := ring.hosts[rapid.IntRange(0, 2).Draw(rt, "host")]
				h.up.Store(!h.up.Load())
			}
		}
		for _, h := range ring.hosts {
			h.up.Store(true)
		}
		for range 100_000 {
			for f, ok := w.next(); ok; f, ok = w.next() {
				flying = append(flying, f)
			}
			for _, f := range flying {
				w.gate.done(f, adaptive.Success, w.now)
				f.settle(nil)
			}
			flying = nil
			w.now = w.now.Add(pulseEvery)
			if _, idle := w.gate.pulse(w.ring, w.now); idle {
				break
			}
		}
		if w.gate.waiting != 0 || w.gate.inFlight != 0 || len(w.gate.later) != 0 {
			rt.Fatalf("%d wait, %d on their way, %d later", w.gate.waiting, w.gate.inFlight, len(w.gate.later))
		}
		for _, page := range outcomes {
			for i, o := range page {
				if o.times != 1 || o.err != nil {
					rt.Fatalf("record %d was settled %d times, with %v", i, o.times, o.err)
				}
			}
		}
	})
}

// BenchmarkDispatch is what it takes to find a host for a request and to take its permit back.
func BenchmarkDispatch(b *testing.B) {
	begin := func(waiting int) (w *gateWorld, sent flight) {
		w = newGateWorld(b, 1, &host{id: "a"}, &host{id: "b"}, &host{id: "c"})
		w.put(new(sink.Source), waiting)
		for range w.ring.hosts {
			sent = w.mustNext()
		}
		return w, sent
	}
	b.Run("sent", func(b *testing.B) {
		w, f := begin(3)
		b.ReportAllocs()
		for b.Loop() {
			w.gate.done(f, adaptive.Success, w.now)
			w.gate.putAgain(f.request)
			f = w.mustNext()
		}
	})
	// Repetitions that must not go to the one host with room.
	b.Run("nothing can be sent", func(b *testing.B) {
		w, f := begin(3)
		w.gate.done(f, adaptive.Ignored, w.now)
		for range repetitionsLookedAt {
			again := *f.request
			again.failedAt = f.host
			w.gate.putAgain(&again)
		}
		b.ReportAllocs()
		for b.Loop() {
			if f, ok := w.next(); ok {
				b.Fatalf("sent to %s", f.host.id)
			}
		}
	})
}
