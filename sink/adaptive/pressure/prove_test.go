package pressure

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/sink/adaptive"
)

// contestant is a law with a name.
type contestant struct {
	name   string
	make   func(seed uint64, s scenario) rival
	bubble bool // it reads the time package
	ours   bool
}

// scoped is a law in both scopes.
func scoped(name string, bubble bool, make func() limiter) []contestant {
	return []contestant{
		{name: name + ", per host", bubble: bubble, make: func(uint64, scenario) rival { return newPerHost(func(int) limiter { return make() }) }},
		{name: name + ", per cluster", bubble: bubble, make: func(uint64, scenario) rival { return perCluster{make()} }},
	}
}

func variant(name string, v adaptive.Variant) contestant {
	return contestant{name: name, ours: true, make: func(seed uint64, _ scenario) rival { return newOurs(seed, adaptive.Config{Variant: v}) }}
}

var theLaw = variant("the law", adaptive.Variant{})

func newClusterWide(seed uint64, _ scenario) rival {
	return perCluster{ours{adaptive.NewLimiter(adaptive.Config{}, start, rand.New(rand.NewPCG(seed, 0)), nil)}}
}

// ablations are the law without each of its parts.
var ablations = []contestant{
	theLaw,
	{name: "one limit for the cluster", ours: true, make: newClusterWide},
	variant("γ = 0.25", adaptive.Variant{Gamma: 0.25}),
	variant("γ = 0.5", adaptive.Variant{Gamma: 0.5}),
	variant("γ = 1", adaptive.Variant{Gamma: 1}),
	variant("median", adaptive.Variant{Percentile: 0.5}),
	variant("90th percentile", adaptive.Variant{Percentile: 0.9}),
	variant("half the queue", adaptive.Variant{Queue: 0.5}),
	variant("twice the queue", adaptive.Variant{Queue: 2}),
	variant("queue regardless of the limit", adaptive.Variant{SteepQueue: true}),
	variant("no memory of windows", adaptive.Variant{NoMemory: true}),
	variant("only survivors", adaptive.Variant{OnlySurvivors: true, NoCensored: true}),
	variant("no overdue attempts", adaptive.Variant{NoCensored: true}),
	variant("no epochs", adaptive.Variant{NoEpochs: true}),
	variant("no drains", adaptive.Variant{NoDrain: true}),
	variant("lonely drains", adaptive.Variant{LonelyDrain: true}),
	variant("lonely alarms", adaptive.Variant{LonelyAlarm: true}),
	variant("base learnt under load", adaptive.Variant{LoadedBase: true}),
}

// ablated are the scenarios that the law's parts are for.
var ablated = []string{"step4x", "part1of3", "pause", "rttshift", "lossy1of3"}

// grid is what the best fixed limit is searched in, per host.
var grid = []int{5, 7, 10, 14, 20, 32, 64, 256}

// best is the smallest fixed limit whose goodput during a fault is within a hundredth of the best one's that keeps the 99th percentile under
// 100 ms, or of the best one's of all if none does.
func best(s scenario, together bool) int {
	type tried struct {
		most         int
		goodput, p99 float64
	}
	var all, kept []tried
	for _, most := range grid {
		r := play(s, fixedOf(most, together), 1, phases{time.Second, 10 * time.Second, 0})
		one := tried{most, r.during.goodput, r.during.p99}
		all = append(all, one)
		if one.p99 <= 100 {
			kept = append(kept, one)
		}
	}
	if len(kept) == 0 {
		kept = all
	}
	highest := slices.MaxFunc(kept, func(a, b tried) int { return int(a.goodput - b.goodput) }).goodput
	return kept[slices.IndexFunc(kept, func(t tried) bool { return t.goodput >= 0.99*highest })].most
}

func fixedOf(most int, together bool) rival {
	if together {
		return perCluster{fixed(nodes * most)}
	}
	return newPerHost(func(int) limiter { return fixed(most) })
}

// rivals are the laws of others, and the best fixed limit for each scenario, which somebody who knew the fault beforehand would set.
func rivals() []contestant {
	bests := func(together bool) func(uint64, scenario) rival {
		return func(_ uint64, s scenario) rival { return fixedOf(best(s, together), together) }
	}
	return slices.Concat(
		[]contestant{{name: "best fixed, per host", make: bests(false)}, {name: "best fixed, per cluster", make: bests(true)}},
		scoped("Gradient2", false, func() limiter { return &gradient2{window: window{most: rivalStart}, opened: start} }),
		scoped("failsafe-go", true, newFailsafe),
		scoped("AIMD 50 ms", false, func() limiter { return &aimd{window{most: rivalStart}, 50 * time.Millisecond} }),
	)
}

// result is what is kept of a run.
type result struct {
	scenario string
	law      string
	figures  map[int]float64
	line     line
	during   span
	steady   float64 // variation of the healthy limit
}

// league plays many runs at once, as many as there are processors.
type league struct {
	t       *testing.T
	jobs    []func()
	mu      sync.Mutex
	results []result
}

func (l *league) add(c contestant, s scenario, seed uint64, p phases, drawn bool) {
	if !c.ours {
		s.govern = nil
	}
	l.jobs = append(l.jobs, func() {
		one := func() {
			r := play(s, c.make(seed, s), seed, p)
			res := result{scenario: s.name, law: c.name, figures: figuresOf(r), during: r.during, steady: r.healthy.variation}
			if drawn {
				res.line = lineOf(r)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.results = append(l.results, res)
		}
		if c.bubble {
			synctest.Test(l.t, func(*testing.T) { one() })
		} else {
			one()
		}
	})
}

func (l *league) play(workers int) {
	jobs := make(chan func())
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for job := range jobs {
				job()
			}
		})
	}
	for i, job := range l.jobs {
		if i%50 == 0 {
			fmt.Printf("%s  %d of %d runs begun\n", time.Now().Format(time.TimeOnly), i, len(l.jobs))
		}
		jobs <- job
	}
	close(jobs)
	all.Wait()
	l.jobs = nil
}

// of are the figures of a goal that a law has, sorted.
func (l *league) of(law string, g int) []float64 {
	var values []float64
	for _, r := range l.results {
		if v, ok := r.figures[g]; ok && r.law == law {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	return values
}

// goalTable is the table of goals, with the best of the rivals.
func (l *league) goalTable(others []contestant) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| goal | bound | median | worst seed | reached | best rival |\n|---|---|---|---|---|---|\n")
	for i, g := range goals {
		values := l.of(theLaw.name, i)
		if len(values) == 0 {
			continue
		}
		worst, sign, reached := values[len(values)-1], "≤", "yes"
		if g.least {
			worst, sign = values[0], "≥"
		}
		if !g.reached(worst, g.bound) {
			reached = fmt.Sprintf("**no**, off by %.1f %%", 100*max(worst/g.bound-1, 1-worst/g.bound))
		}
		rival := ""
		var closest float64
		for _, c := range others {
			theirs := l.of(c.name, i)
			if len(theirs) == 0 {
				continue
			}
			v := theirs[len(theirs)/2]
			if g.scenario == "" { // of all scenarios, the worst
				if v = theirs[len(theirs)-1]; g.least {
					v = theirs[0]
				}
			}
			if rival == "" || g.better(v, closest) {
				rival, closest = c.name, v
			}
		}
		if rival != "" {
			rival = figure(closest) + ", " + rival
		}
		fmt.Fprintf(&b, "| %s | %s %g | %s | %s | %s | %s |\n", g.name, sign, g.bound, figure(values[len(values)/2]), figure(worst), reached, rival)
	}
	return b.String()
}

func figure(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// faultTable is goodput and p99 of each law during each fault.
func (l *league) faultTable(laws []contestant, of []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| |")
	for _, s := range of {
		fmt.Fprintf(&b, " %s |", s)
	}
	fmt.Fprintf(&b, "\n|---|%s\n", strings.Repeat("---|", len(of)))
	for _, c := range laws {
		fmt.Fprintf(&b, "| %s |", c.name)
		for _, name := range of {
			var goodputs, p99s []float64
			for _, r := range l.results {
				if r.law == c.name && r.scenario == name {
					goodputs, p99s = append(goodputs, r.during.goodput/scenarioOf(name).oracle), append(p99s, r.during.p99)
				}
			}
			slices.Sort(goodputs)
			slices.Sort(p99s)
			if len(goodputs) == 0 {
				fmt.Fprintf(&b, " |")
				continue
			}
			fmt.Fprintf(&b, " %.3f · %s ms |", goodputs[len(goodputs)/2], figure(p99s[len(p99s)/2]))
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// TestProve is the long proof: RUNS seeds from SEED on; of rivals and ablations a twentieth as many. It writes its tables and pictures into
// docs/pressure.
func TestProve(t *testing.T) {
	switch proof := os.Getenv("PROVE"); proof {
	case "":
		t.Skip("a long proof: run through make prove P=pressure RUNS=20")
	case "pressure":
	default:
		t.Fatalf("PROVE=%s: there is no such proof here; there is pressure", proof)
	}
	number := func(name string, otherwise uint64) uint64 {
		if os.Getenv(name) == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(os.Getenv(name), 10, 16)
		if err != nil || n == 0 {
			t.Fatalf("%s=%s: must be a number from 1 to 65535", name, os.Getenv(name))
		}
		return n
	}
	first, runs := number("SEED", 1), number("RUNS", 20)
	compared := (runs + 19) / 20

	others := rivals()
	l, without := &league{t: t}, &league{t: t}
	began := time.Now()
	const workers = 2
	play := func(in *league, laws []contestant, of []scenario, seeds uint64) {
		t.Helper()
		for seed := first; seed < first+seeds; seed++ {
			for _, s := range of {
				for _, c := range laws {
					in.add(c, s, seed, whole, in == l && seed == first)
				}
			}
		}
		in.play(workers)
		if err := writeFigures(l, without, others, first, runs, compared); err != nil {
			t.Fatal(err)
		}
	}
	play(l, []contestant{theLaw}, scenarios, runs)
	play(l, others, scenarios, compared)
	var some []scenario
	for _, name := range ablated {
		some = append(some, scenarioOf(name))
	}
	play(without, ablations, some, compared)
	for i, g := range goals {
		for _, v := range l.of(theLaw.name, i) {
			if !g.reached(v, g.bound) {
				t.Errorf("%s: %.3f, must be %g", g.name, v, g.bound)
				break
			}
		}
	}
	t.Logf("in %s\n%s", time.Since(began).Round(time.Second), l.goalTable(others))
}

// writeFigures writes what is known so far, so that a proof which is broken off leaves that much.
func writeFigures(l, without *league, others []contestant, first, runs, compared uint64) error {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	b := &strings.Builder{}
	fmt.Fprintf(b, "# Figures of the proof\n\nWritten by `make prove P=pressure RUNS=%d SEED=%d`; README.md says how to read them.\n", runs, first)
	fmt.Fprintf(b, "\n## Goals\n\nThe law over seeds %d to %d; rivals over %d. Of a goal about any scenario, each scenario is a figure.\n\n", first, first+runs-1, compared)
	b.WriteString(l.goalTable(others))
	fmt.Fprintf(b, "\n## Goodput to oracle, and p99, during each fault\n\nMedians.\n\n")
	b.WriteString(l.faultTable(append([]contestant{theLaw}, others...), names))
	fmt.Fprintf(b, "\n## Ablations\n\nThe same for the law without each of its parts, over %d, and how much the healthy limit of step4x varies.\n\n", compared)
	b.WriteString(without.ablationTable())
	folder := filepath.Join("..", "..", "..", "docs", "pressure")
	if err := os.WriteFile(filepath.Join(folder, "figures.md"), []byte(b.String()), 0o644); err != nil {
		return err
	}
	for _, s := range scenarios {
		var lines []line
		for _, r := range l.results {
			if r.scenario == s.name && r.line.points != nil {
				r.line.law = r.law
				lines = append(lines, r.line)
			}
		}
		if err := os.WriteFile(filepath.Join(folder, s.name+".svg"), []byte(picture(s, lines)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ablationTable is the faults' table with the variation of the healthy limit.
func (l *league) ablationTable() string {
	rows := strings.Split(strings.TrimSpace(l.faultTable(ablations, ablated)), "\n")
	rows[0] += " variation |"
	rows[1] += "---|"
	for i, c := range ablations {
		for _, r := range l.results {
			if r.law == c.name && r.scenario == "step4x" {
				rows[2+i] += fmt.Sprintf(" %.3f |", r.steady)
				break
			}
		}
	}
	return strings.Join(rows, "\n") + "\n"
}
