package pressure

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/sink/adaptive"
)

// Each scenario with brief phases: the bounds are wider than the goals, which make prove P=pressure shows.
func TestTheLawStaysWithinWhatHolds(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for i, v := range figuresOf(play(s, theLaw.make(1, s), 1, brief)) {
				if g := goals[i]; !g.reached(v, g.holds) {
					t.Errorf("%s: %.3f, must be %g at worst", g.name, v, g.holds)
				}
			}
		})
	}
}

func TestARunIsAFunctionOfItsSeed(t *testing.T) {
	t.Parallel()
	s := scenarioOf("az-flap")
	of := func(seed uint64) span {
		return play(s, theLaw.make(seed, s), seed, phases{time.Second, 3 * time.Second, 0}).during
	}
	if a, b := of(7), of(7); a != b {
		t.Errorf("one seed, two runs:\n%+v\n%+v", a, b)
	}
	if a, b := of(7), of(8); a == b {
		t.Error("two seeds make the same run: nothing is drawn from them")
	}
}

// One limit for the whole cluster ends behind the dead coordinator, whatever the law: scope is worth more than anything else.
func TestOneLimitForTheClusterStarvesBehindADeadHost(t *testing.T) {
	t.Parallel()
	s := scenarioOf("part1of3")
	for name, law := range map[string]rival{"fixed": fixedOf(21, true), "ours": newClusterWide(1, s)} {
		if r := play(s, law, 1, phases{2 * time.Second, 8 * time.Second, 0}); r.during.goodput > 0.2*twoOfThree {
			t.Errorf("%s: %.0f writes/s: the plant does not show what it is built to show", name, r.during.goodput)
		}
	}
}

// Baseline drift, and lonely probes: three times as slow for a minute. The law's limit stays, and the limit of a law that learns what
// is normal under load, or drains each host by itself, goes up without end.
func TestDriftAndLonelyProbesRaiseTheLimitOfALawWithoutTheirCure(t *testing.T) {
	s := scenarioOf("drift")
	for _, c := range []struct {
		name string
		v    adaptive.Variant
		goes bool
	}{
		{"the law", adaptive.Variant{}, false},
		{"baseline drift", adaptive.Variant{NoDrain: true, LoadedBase: true}, true},
		{"lonely probes", adaptive.Variant{LonelyDrain: true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := play(s, newOurs(1, adaptive.Config{Variant: c.v}), 1, phases{4 * time.Second, 60 * time.Second, 0})
			// The law's own limit is 6.4 here.
			if limit := r.client.span(r.over-10*time.Second, r.over).limit / nodes; limit > 9 != c.goes {
				t.Errorf("after a minute the limit is %.1f", limit)
			}
		})
	}
}

func TestTheGovernorKeepsTheDebtWithinItsBudget(t *testing.T) {
	t.Parallel()
	owed := func(floor float64, budget int64) (mutations, goodput float64) {
		s := scenarioOf("debt")
		s.govern = &adaptive.GovernorConfig{Budget: budget * mutationBytes, Floor: floor}
		r := play(s, theLaw.make(1, s), 1, phases{3 * time.Second, 15 * time.Second, 0})
		return float64(r.client.lost[2]), r.during.goodput
	}
	if free, _ := owed(0, debtBudget); free > debtBudget {
		t.Errorf("%.0f mutations owed with a budget of %d", free, debtBudget)
	}
	// A floor of a half and so small a budget exclude each other, and the floor wins: it owes half of what the quorum takes.
	if _, rate := owed(0.5, debtBudget); rate < 0.9*0.5*twoOfThree {
		t.Errorf("%.0f writes/s is below a floor of a half", rate)
	}
	// A budget that the partition does not reach costs nothing.
	if _, rate := owed(0.5, 100*debtBudget); rate < 0.95*twoOfThree {
		t.Errorf("%.0f writes/s within a large budget", rate)
	}
}

// The library reads the time package, and the simulation has a clock of its own: in a bubble one follows the other.
func TestTheLibraryRunsOnTheSimulationsClock(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		f := newFailsafe().(*failsafe)
		before := time.Now()
		ticket := f.sent(start.Add(time.Second))
		f.done(ticket, adaptive.Success, 0, start.Add(3*time.Second))
		if passed := time.Since(before); passed != 3*time.Second {
			t.Errorf("%s passed in the bubble, 3s in the simulation", passed)
		}
		if f.theirs.Inflight() != 0 {
			t.Errorf("%d in flight", f.theirs.Inflight())
		}
	})
}

func TestAPictureIsXMLWithALineForEachLaw(t *testing.T) {
	s := scenarioOf("step4x")
	r := play(s, theLaw.make(1, s), 1, phases{time.Second, time.Second, time.Second})
	a, b := lineOf(r), lineOf(r)
	a.law, b.law = theLaw.name, "Gradient2, per cluster"
	drawn := picture(s, []line{a, b})
	for d := xml.NewDecoder(strings.NewReader(drawn)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(drawn, `stroke-linejoin="round"`); n != 2*panels {
		t.Errorf("%d lines of two laws in %d panels", n, panels)
	}
}
