package report

import (
	"fmt"
	"math"
	"slices"
)

// goal is what is asked of the daemon, and what it came to.
type goal struct {
	name, bound, got string
	reached          bool
}

// The bounds.
const (
	mostAttempts  = 1.10
	leastOfBest   = 0.9
	leastContrast = 10.0
	mostDebtError = 0.25
)

// goals judges medians, but for what must not happen once.
func goals(results []Result) []goal {
	var out []goal
	wrong, runs, worst := 0, 0, 0.0
	for _, r := range results {
		if r.Writer != Daemon {
			continue
		}
		runs++
		if !r.Right() {
			wrong++
		}
	}
	for _, n := range numbers(results) {
		if got := values(of(results, n, Daemon), always(Result.AttemptsPerSuccess)); len(got) > 0 {
			worst = max(worst, Median(got))
		}
	}
	out = append(out,
		goal{"nothing lost, mismatched or parked, in any run", "0 runs", fmt.Sprintf("%d of %d runs", wrong, runs), wrong == 0},
		goal{"attempts a success, worst scenario", fmt.Sprintf("≤ %.2f", mostAttempts), fmt.Sprintf("%.3f", worst), worst <= mostAttempts})
	for _, n := range []int{1, 2, 4} {
		daemon, best := of(results, n, Daemon), of(results, n, Fixed)
		if len(daemon) == 0 || len(best) == 0 {
			continue
		}
		name, bound := "goodput of the best fixed limit that keeps p99 under 100 ms, "+Title(n), fmt.Sprintf("≥ %.1f", leastOfBest)
		kept := values(best, func(r Result) (float64, bool) { l, g := r.Best(); return g, l > 0 })
		if len(kept) == 0 {
			out = append(out, goal{name, bound, "no limit does", false})
			continue
		}
		ratio := goodput(daemon) / Median(kept)
		out = append(out, goal{name, bound, fmt.Sprintf("%.2f", ratio), ratio >= leastOfBest})
	}
	if daemon, naive := of(results, 2, Daemon), of(results, 2, Naive); len(daemon) > 0 && len(naive) > 0 {
		ratio := goodput(daemon) / goodput(naive)
		out = append(out, goal{"times the goodput of the contrast, " + Title(2), fmt.Sprintf("≥ %.0f", leastContrast), fmt.Sprintf("%.1f", ratio), ratio >= leastContrast})
	}
	if off, ok := debtError(results); ok {
		out = append(out, goal{"debt beside hints written, worst scenario", fmt.Sprintf("within %.0f %%", 100*mostDebtError), fmt.Sprintf("off by %.0f %%", 100*off), off <= mostDebtError})
	} else {
		out = append(out, goal{"debt beside hints written", fmt.Sprintf("within %.0f %%", 100*mostDebtError), "the daemon counts no debt", false})
	}
	return out
}

func goodput(runs []Result) float64 { return Median(values(runs, always(Result.Goodput))) }

// Scenarios with few hints say nothing about how well they are foretold.
const fewHints = 1 << 20 // bytes

// debtError is by what share the daemon's debt was off, in the worst of the scenarios in which servers wrote hints.
func debtError(results []Result) (float64, bool) {
	var worst []float64
	for _, n := range numbers(results) {
		off := values(of(results, n, Daemon), func(r Result) (float64, bool) {
			debt, ok := r.PeakDebt()
			hints := float64(r.HintBytes())
			return math.Abs(debt-hints) / hints, ok && hints >= fewHints
		})
		if len(off) > 0 {
			worst = append(worst, Median(off))
		}
	}
	if len(worst) == 0 {
		return 0, false
	}
	return slices.Max(worst), true
}
