package adaptive

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var origin = time.Unix(1_700_000_003, 0)

func newTest(c Config) *Limiter { return NewLimiter(c, origin, rand.New(rand.NewPCG(1, 2)), nil) }

// load keeps a limiter full with attempts of one latency, from a time until another, and returns that.
func load(l *Limiter, now time.Time, d, latency time.Duration, o Outcome) time.Time {
	type sent struct {
		p  Permit
		at time.Time
	}
	var flying []sent
	for end := now.Add(d); now.Before(end); now = now.Add(time.Millisecond) {
		for len(flying) > 0 && now.Sub(flying[0].at) >= latency {
			l.Done(flying[0].p, o, now)
			flying = flying[1:]
		}
		l.Tick(now)
		for l.Room() > 0 {
			flying = append(flying, sent{l.Send(now), now})
		}
	}
	for _, f := range flying {
		l.Done(f.p, o, now)
	}
	return now
}

func TestAnyHistoryKeepsBoundsAndBalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Config{Min: rapid.IntRange(1, 20).Draw(t, "min")}
		c.Max = rapid.IntRange(c.Min, 200).Draw(t, "max")
		c.Start = rapid.IntRange(c.Min, c.Max).Draw(t, "start")
		l := newTest(c)
		now := origin
		var flying []Permit
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-5, 400).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				for range rapid.IntRange(0, max(0, l.Room())).Draw(t, "send") {
					flying = append(flying, l.Send(now))
				}
			case 2:
				for range rapid.IntRange(0, len(flying)).Draw(t, "done") {
					i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
					l.Done(flying[i], Outcome(rapid.IntRange(0, int(Ignored)).Draw(t, "outcome")), now)
					flying[i] = flying[len(flying)-1]
					flying = flying[:len(flying)-1]
				}
			case 3:
				l.Tick(now)
			}
			if l.InFlight() != len(flying) {
				t.Fatalf("in flight %d, want %d", l.InFlight(), len(flying))
			}
			if l.limit < float64(c.Min) || l.limit > float64(c.Max) {
				t.Fatalf("limit %g is outside %d to %d", l.limit, c.Min, c.Max)
			}
			if room := l.HeadRoom(); room < 0 || room > 2 || room > 1 && l.State() != Quarantined || (l.Room() == 0) != (room == 0) {
				t.Fatalf("head-room %g with room for %d", room, l.Room())
			}
			if d, ok := l.LastDecision(); ok {
				if d.Reason <= Unused {
					if want := clamp(d.From*d.Factor+d.Added, float64(c.Min), float64(c.Max)); math.Abs(want-d.To) > 1e-9 {
						t.Fatalf("decision to %g is not explained by %+v", want, d)
					}
				}
				if (d.To > d.From) != (d.Direction == Up) || (d.To < d.From) != (d.Direction == Down) {
					t.Fatalf("wrong direction: %+v", d)
				}
			}
		}
	})
}

func TestAnUnusedLimitDoesNotGrow(t *testing.T) {
	l := newTest(Config{Start: 50, Max: 100})
	now := origin
	for range 2000 { // one at a time, fast
		p := l.Send(now)
		now = now.Add(time.Millisecond)
		l.Done(p, Success, now)
		l.Tick(now)
		if l.Limit() > 50 {
			t.Fatalf("limit grew to %d with one in flight", l.Limit())
		}
	}
	if load(l, now, 900*time.Millisecond, time.Millisecond, Success); l.Limit() <= 50 {
		t.Errorf("limit %d did not grow when it was used", l.Limit())
	}
}

// Survivor bias: who looks at the answers of those who survived sees a fast host while all others time out.
func TestSurvivorBiasTimeOutsCutTheLimit(t *testing.T) {
	for _, biased := range []bool{false, true} {
		l := newTest(Config{Max: 64, Start: 64, Variant: Variant{OnlySurvivors: biased, NoCensored: biased, NoDrain: true}})
		now := load(l, origin, time.Second, time.Millisecond, Success)
		before := l.Limit()
		load(l, now, 300*time.Millisecond, 30*time.Millisecond, Failed)
		if cut := l.Limit() <= before/2; cut == biased {
			t.Errorf("only survivors count %t: limit went from %d to %d while all failed", biased, before, l.Limit())
		}
	}
}

func TestAStallIsSeenBeforeAnythingTimesOut(t *testing.T) {
	for _, blind := range []bool{false, true} {
		l := newTest(Config{Max: 64, Start: 64, Variant: Variant{NoCensored: blind, NoDrain: true}})
		now := load(l, origin, time.Second, time.Millisecond, Success)
		before := l.Limit()
		for l.Room() > 0 {
			l.Send(now)
		}
		for range 20 {
			now = now.Add(10 * time.Millisecond)
			l.Tick(now)
		}
		if cut := l.Limit() < before; cut == blind {
			t.Errorf("blind %t: limit went from %d to %d in 200 ms of silence", blind, before, l.Limit())
		}
	}
}

// Stale samples: what was sent under the old limit causes a second cut, and a third.
func TestStaleSamplesAfterACutCauseNoSecond(t *testing.T) {
	for _, old := range []bool{false, true} {
		l := newTest(Config{Max: 100, Start: 100, Variant: Variant{NoEpochs: old, NoDrain: true}})
		now := load(l, origin, time.Second, time.Millisecond, Success)
		now = now.Add(30 * time.Millisecond)
		l.Tick(now) // closes the window
		var first, second []Permit
		for range 40 {
			first, second = append(first, l.Send(now)), append(second, l.Send(now))
		}
		now = now.Add(30 * time.Millisecond)
		for _, p := range first {
			l.Done(p, Success, now)
		}
		cut := l.Limit()
		now = now.Add(30 * time.Millisecond)
		for _, p := range second {
			l.Done(p, Success, now)
		}
		l.Tick(now)
		if again := l.Limit() < cut; again != old {
			t.Errorf("old samples count %t: limit went from %d to %d by them", old, cut, l.Limit())
		}
	}
}

// Baseline drift: an overload that lasts becomes what is normal. The pressure package shows what the limit makes of it.
func TestBaselineDriftUnderLoad(t *testing.T) {
	for _, loaded := range []bool{false, true} {
		l := newTest(Config{Variant: Variant{NoDrain: true, LoadedBase: loaded}})
		now := load(l, origin, time.Second, 2*time.Millisecond, Success)
		before := l.base
		load(l, now, 60*time.Second, 40*time.Millisecond, Success)
		if drifted := l.base > before*5/4; drifted != loaded {
			t.Errorf("learnt from loaded latencies %t: idle latency went from %s to %s in a minute of overload", loaded, before, l.base)
		}
	}
}

func TestHostsDrainAtTheSameTimes(t *testing.T) {
	limiters := []*Limiter{newTest(Config{Max: 20}), NewLimiter(Config{Max: 20}, origin.Add(777*time.Millisecond), rand.New(rand.NewPCG(5, 5)), nil)}
	var due []time.Time
	for _, l := range limiters {
		load(l, l.origin, 25*time.Second, 2*time.Millisecond, Success)
		due = append(due, l.origin.Add(time.Duration(l.drain.due)))
	}
	if !due[0].Equal(due[1]) || due[0].UnixNano()%int64(drainEvery) != 0 {
		t.Errorf("drains are due at %s and %s", due[0], due[1])
	}
}

func TestADrainBeginsWhenItIsDueAndNotATickLater(t *testing.T) {
	l := newTest(Config{})
	l.Send(origin)
	for now := origin; l.State() == Normal; {
		next := l.Next(now)
		if due := l.origin.Add(time.Duration(l.drain.due)); next.After(due) {
			t.Fatalf("the next tick is due at %s, the drain at %s", next, due)
		}
		now = next
		l.Tick(now)
		if now.Sub(origin) > time.Second {
			t.Fatal("no drain began")
		}
	}
}

// A host that takes three times as long from one moment on is known anew within seconds, and one that is as fast as before too.
func TestADrainFollowsAHostThatChanges(t *testing.T) {
	l := newTest(Config{Max: 20})
	now := load(l, origin, 12*time.Second, 2*time.Millisecond, Success)
	for _, latency := range []time.Duration{6 * time.Millisecond, 2 * time.Millisecond} {
		now = load(l, now, 15*time.Second, latency, Success)
		if off := float64(l.base) / float64(latency); off < 0.8 || off > 1.3 {
			t.Errorf("idle latency %s of a host that takes %s", l.base, latency)
		}
	}
}

// Less alone is the doing of hosts beside this one, and so is longer alone.
func TestOnlyAHostThatDoesLessAndTakesLongerIsDrainedEarly(t *testing.T) {
	for _, c := range []struct {
		rate    float64
		latency time.Duration
		early   bool
	}{
		{1000, 4 * time.Millisecond, false}, {500, 4 * time.Millisecond, false},
		{1000, 8 * time.Millisecond, false}, {500, 6 * time.Millisecond, true},
	} {
		l := newTest(Config{})
		l.now = int64(8 * time.Second) // long after the first drains; the next of the usual ones is at 17 s
		l.planDrain()
		usual := l.drain.due
		l.p50 = 4 * time.Millisecond
		for range paceWindows {
			l.compare(1000)
		}
		l.p50 = c.latency
		for range 20 {
			l.compare(c.rate)
		}
		if early := l.drain.due < usual && l.drain.due-l.now <= int64(drainEveryFirst); early != c.early {
			t.Errorf("%g writes/s in %s each: drained early %t, want %t", c.rate, c.latency, early, c.early)
		}
	}
}

func TestTheKeptLatenciesAreTheLatest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Int64Range(1, 1000), 1, 3*idleKept).Draw(t, "all")
		keep := rapid.IntRange(0, idleKept).Draw(t, "keep")
		var s latencies
		for _, v := range all {
			s.add(v)
		}
		s.keep(keep)
		last := slices.Sorted(slices.Values(all[max(0, len(all)-keep):]))
		want := time.Duration(0)
		if len(last) > 0 {
			want = time.Duration(last[len(last)/2])
		}
		if got := s.median(); got != want {
			t.Fatalf("median %d of the last %d, want %d", got, keep, want)
		}
	})
}

// The same total of latency is steered by, but one window's chance moves the limit by less.
func TestChanceInAWindowMovesALimitLittle(t *testing.T) {
	variation := func(v Variant) float64 {
		v.NoDrain = true
		l := newTest(Config{Variant: v})
		random := rand.New(rand.NewPCG(3, 3))
		l.base = 2 * time.Millisecond
		l.limit = 10
		now := origin
		var sum, squares, n float64
		for i := range 20_000 {
			p := l.Send(now)
			for range 9 {
				l.Done(l.Send(now), Ignored, now)
			}
			l.Done(p, Success, now.Add(time.Duration(4.2e5*l.limit*math.Exp(0.35*random.NormFloat64()))))
			now = now.Add(500 * time.Microsecond)
			l.peak = int(l.limit)
			if i > 5000 {
				sum, squares, n = sum+l.limit, squares+l.limit*l.limit, n+1
			}
		}
		mean := sum / n
		return math.Sqrt(squares/n-mean*mean) / mean
	}
	if with, without := variation(Variant{}), variation(Variant{NoMemory: true}); with > 0.05 || without < 1.5*with {
		t.Errorf("variation %.3f, and %.3f without a memory", with, without)
	}
}

func TestASilentHostIsQuarantinedAndComesBack(t *testing.T) {
	l := newTest(Config{})
	now := load(l, origin, 3*time.Second, 2*time.Millisecond, Success)
	var stuck []Permit
	for l.Room() > 0 {
		stuck = append(stuck, l.Send(now))
	}
	for range 60 {
		now = now.Add(10 * time.Millisecond)
		l.Tick(now)
	}
	if l.State() != Quarantined || l.Limit() != 0 {
		t.Fatalf("after 600 ms of silence the state is %s with limit %d", l.State(), l.Limit())
	}
	sent := 0
	for range 1000 { // ten seconds of single writes that fail
		now = now.Add(10 * time.Millisecond)
		l.Tick(now)
		if l.Room() > 0 {
			l.Done(l.Send(now), Failed, now)
			sent++
		}
	}
	if sent < 3 || sent > 9 {
		t.Errorf("%d single writes in ten seconds, want 3 to 9", sent)
	}
	for _, p := range stuck {
		l.Done(p, Failed, now)
	}
	now = now.Add(longestPause)
	for range answersToLeave {
		l.Tick(now)
		if l.Room() != 1 {
			t.Fatal("no single write is due")
		}
		p := l.Send(now)
		now = now.Add(3 * time.Millisecond)
		l.Done(p, Success, now)
	}
	if l.State() != Normal || l.Limit() < leastReturn {
		t.Errorf("after three answers the state is %s with limit %d", l.State(), l.Limit())
	}
}

// A host that fails fast has room all the time, and would draw to itself whatever waits.
func TestAHostThatOnlyFailsIsQuarantinedHoweverFast(t *testing.T) {
	for _, o := range []Outcome{Failed, Overloaded, Unavailable} {
		l := newTest(Config{})
		now := load(l, origin, 3*time.Second, 2*time.Millisecond, Success)
		now = load(l, now, silence/2, time.Millisecond, o)
		if l.State() == Quarantined {
			t.Errorf("%s: quarantined after %s", o, silence/2)
		}
		load(l, now, 8*l.target()+2*silence, time.Millisecond, o)
		if l.State() != Quarantined {
			t.Errorf("%s: a host that acknowledged nothing for %s is %s", o, 2*silence, l.State())
		}
	}
}

// Single writes of an earlier quarantine that are still out count in the next.
func TestProbesOfAnEarlierQuarantineCount(t *testing.T) {
	l := newTest(Config{})
	now := origin
	quarantine := func() {
		for range lostInARow {
			l.Done(l.Send(now), Lost, now)
		}
	}
	quarantine()
	probe := func() Permit {
		for l.Room() == 0 {
			now = now.Add(10 * time.Millisecond)
			l.Tick(now)
		}
		return l.Send(now)
	}
	hanging := []Permit{probe(), probe()}
	for range answersToLeave {
		l.Done(probe(), Success, now)
	}
	if l.State() != Normal {
		t.Fatal("it answers and is still in quarantine")
	}
	quarantine()
	for _, p := range hanging {
		l.Done(p, Failed, now)
	}
	sent := 0
	for range 6000 {
		now = now.Add(10 * time.Millisecond)
		l.Tick(now)
		for l.Room() > 0 && sent < 20 {
			l.Send(now)
			sent++
		}
	}
	if sent != probesAtOnce {
		t.Errorf("%d single writes are out at once, at most %d", sent, probesAtOnce)
	}
}

func TestOnlyBlameOfTheHostQuarantinesIt(t *testing.T) {
	for _, c := range []struct {
		o     Outcome
		times int
		want  State
	}{
		{Isolated, 1, Quarantined}, {Unavailable, 20, Normal}, {Overloaded, 20, Normal},
		{Lost, 2, Normal}, {Lost, 3, Quarantined}, {Ignored, 20, Normal}, {Warned, 20, Normal},
	} {
		l := newTest(Config{})
		now := origin
		for range c.times {
			now = now.Add(time.Millisecond)
			l.Done(l.Send(now), c.o, now)
		}
		if l.State() != c.want {
			t.Errorf("%d times %s: %s, want %s", c.times, c.o, l.State(), c.want)
		}
	}
}

func TestRefusalsAndWarningsCut(t *testing.T) {
	for _, o := range []Outcome{Overloaded, Unavailable, Warned} {
		l := newTest(Config{Start: 100, Max: 100})
		load(l, origin, 200*time.Millisecond, time.Millisecond, o)
		if l.Limit() >= 100 {
			t.Errorf("%s: limit %d did not shrink", o, l.Limit())
		}
	}
}

func TestAPermitEndsOnce(t *testing.T) {
	l := newTest(Config{})
	p := l.Send(origin)
	l.Done(p, Success, origin)
	defer func() {
		if recover() == nil {
			t.Error("a permit was given back twice without a panic")
		}
	}()
	l.Done(p, Success, origin)
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Target: time.Millisecond}, "target 1ms: must be 5ms to 1s"},
		{Config{Min: -1}, "min -1: must be 1 to 16384 attempts"},
		{Config{Min: 9, Max: 8}, "max 8: must be min (9) to 16384 attempts"},
		{Config{Start: 5000}, "start 5000: must be min (1) to max (4096)"},
		{Config{Variant: Variant{Gamma: math.NaN()}}, "variant gamma NaN: must be 0.05 to 1, or 0 for the default"},
	} {
		if err := c.config.Validate(); err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v, want %s", c.config, err, c.want)
		}
	}
	l := newTest(Config{})
	if err := l.SetConfig(Config{Min: 20}, origin); err != nil || l.Limit() != 20 {
		t.Errorf("limit %d after a new lower bound of 20: %v", l.Limit(), err)
	}
}

func TestQuantilesAreOffByASixteenthAtMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64Range(1<<lowestBit, 1<<highestBit-1).Draw(t, "latency")
		var h histogram
		h.add(v)
		if got := float64(h.quantile(rapid.Float64Range(0.01, 1).Draw(t, "q"))); math.Abs(got-float64(v)) > float64(v)/16+1 {
			t.Fatalf("%g for %d", got, v)
		}
	})
}

// drive sends and ends one attempt with others in flight.
func drive(l *Limiter) func() {
	now := origin
	var ring [16]Permit
	for i := range ring {
		ring[i] = l.Send(now)
	}
	i := 0
	return func() {
		now = now.Add(100 * time.Microsecond)
		l.Done(ring[i%16], Success, now)
		ring[i%16] = l.Send(now)
		if i%100 == 0 {
			l.Tick(now)
		}
		i++
	}
}

func TestACompletionAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100_000, drive(newTest(Config{}))); n != 0 {
		t.Errorf("%g allocations per completion", n)
	}
}

func BenchmarkCompletion(b *testing.B) {
	b.ReportAllocs()
	step := drive(newTest(Config{}))
	for b.Loop() {
		step()
	}
}
