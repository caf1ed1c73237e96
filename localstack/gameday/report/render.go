package report

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// titles of the scenarios by number; the first is 1.
var titles = []string{
	1: "healthy",
	2: "one node frozen",
	3: "one node killed and restarted",
	4: "one zone cut from the other two, not from clients",
	5: "clients' link to one node slower by 20 ± 10 ms",
	6: "servers take half their load and refuse the rest",
	7: "all three nodes frozen",
	8: "compaction on one node after another",
	9: "as 4, with a debt budget of 4 MiB",
}

// Render makes the page and the pictures of a folder anew from the results in it.
func Render(folder string) error {
	results, err := Read(filepath.Join(folder, ResultsFile))
	if err != nil {
		return err
	}
	if len(results) == 0 {
		return fmt.Errorf("render the report: there are no results in %s", folder)
	}
	files := map[string]string{"README.md": page(results)}
	for _, n := range numbers(results) {
		if drawn := of(results, n, Daemon); len(drawn) > 0 {
			files[pictureFile(n)] = picture(n, drawn, of(results, n, Naive))
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("render the report: %w", err)
		}
	}
	return nil
}

func pictureFile(scenario int) string { return fmt.Sprintf("scenario-%d.svg", scenario) }

// Title is what a scenario is called.
func Title(scenario int) string {
	if scenario < 1 || scenario >= len(titles) {
		return "?"
	}
	return titles[scenario]
}

// numbers lists the scenarios that have results.
func numbers(results []Result) []int {
	var out []int
	for _, r := range results {
		if !slices.Contains(out, r.Scenario) {
			out = append(out, r.Scenario)
		}
	}
	slices.Sort(out)
	return out
}

// of returns the results of one writer in one scenario, the oldest first.
func of(results []Result, scenario int, writer string) []Result {
	var out []Result
	for _, r := range results {
		if r.Scenario == scenario && r.Writer == writer {
			out = append(out, r)
		}
	}
	return out
}

const introduction = `# Game days: real servers broken under the daemon

This page and its pictures are written by ` + "`make prove P=gameday`" + ` from the lines of [` + ResultsFile + `](` + ResultsFile + `), one for each run; do not edit them.

Three Cassandra 5.0.9 nodes, each in a network namespace and rack of its own, replicate everything three times; writes are acknowledged by LOCAL_QUORUM. The real daemon drains a backlog of generated
orders and follows a live stream of 300 events a second. The fault begins 15 s after the daemon and lasts 30 s. Everything (three nodes, daemon, emulators, generator) shares one machine, so figures are of that machine, and ratios mean more than
figures. Rows are events by the rows that the pipeline was recorded to send for an event.

A cell is the median of all runs, with the lowest and the highest in parentheses where there are several.
`

// page is the report as Markdown.
func page(results []Result) string {
	var b strings.Builder
	b.WriteString(introduction)
	fmt.Fprintf(&b, "\nThe projector was built from %s. To begin anew, remove the file of results.\n", revisions(results))
	b.WriteString("\n## The daemon\n\n")
	table(&b, daemonColumns, results, Daemon)
	b.WriteString("\nAttempts and errors are those from the fault's beginning until 5 s after its end, in scenario 7 until 60 s after it. " +
		"A rate is steady from the first of two seconds within 20 % of where it ends. " +
		"p99 is the median of the seconds' own, interpolated in the buckets of the daemon's histogram. " +
		"Hints written are the servers' own count over the whole run; those on disk and the daemon's debt are the most there was at a time, and its debt is missing where it counted none.\n")
	b.WriteString("\n## Goals\n\n| goal | bound | median | reached |\n|---|---|---|---|\n")
	for _, g := range goals(results) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", g.name, g.bound, g.got, yes(g.reached))
	}
	b.WriteString("\n## The contrast\n\nThe driver's own token-aware routing, one limit of 64 for the whole cluster, a time-out of 3 s and three retries, sending the requests that the pipeline was recorded to send. What fails in the end is given up.\n\n")
	table(&b, naiveColumns, results, Naive)
	b.WriteString("\n## The best fixed limit for each host\n\nThe bare driver with so many workers to each host, sending the same requests, each limit through a fault of its own. A request that fails is left to whichever worker is next. Neither the daemon nor what feeds it shares the machine with it. " +
		"The best limit is the one with the most rows of those whose p99, the median of the seconds' own, is no more than 100 ms, which is what the daemon keeps to; the fastest is any.\n\n")
	b.WriteString("| scenario | best limit | rows/s at it | fastest limit | rows/s at it | by limit, median: rows/s (p99 in ms) |\n|---|---|---|---|---|---|\n")
	for _, n := range numbers(results) {
		if found := of(results, n, Fixed); len(found) > 0 {
			fmt.Fprintf(&b, "| %d %s |", n, Title(n))
			for _, choose := range []func(Result) (int, float64){Result.Best, Result.Fastest} {
				fmt.Fprintf(&b, " %s | %s |",
					spread(found, func(r Result) (float64, bool) { l, _ := choose(r); return float64(l), l > 0 }, "%.0f"),
					spread(found, func(r Result) (float64, bool) { l, g := choose(r); return g, l > 0 }, "%.0f"))
			}
			fmt.Fprintf(&b, " %s |\n", byLimit(found))
		}
	}
	b.WriteString("\n## Pictures\n")
	for _, n := range numbers(results) {
		if len(of(results, n, Daemon)) > 0 {
			fmt.Fprintf(&b, "\n![scenario %d, %s: rows a second and p99 over time](%s)\n", n, Title(n), pictureFile(n))
		}
	}
	return b.String()
}

// revisions says how many runs are of which commit, the oldest first.
func revisions(results []Result) string {
	var out []string
	runs := map[string]int{}
	for _, r := range results {
		if r.Writer == Daemon {
			if runs[r.Revision] == 0 {
				out = append(out, r.Revision)
			}
			runs[r.Revision]++
		}
	}
	for i, revision := range out {
		out[i] = fmt.Sprintf("%s (%d runs)", cmp.Or(revision, "an unknown commit"), runs[revision])
	}
	return strings.Join(out, ", ")
}

// byLimit lists the median goodput of each limit that was tried.
func byLimit(found []Result) string {
	rows, p99 := map[int][]float64{}, map[int][]float64{}
	for _, r := range found {
		for l, t := range r.Limits {
			rows[l], p99[l] = append(rows[l], t.Rows), append(p99[l], t.P99)
		}
	}
	var limits []int
	for l := range rows {
		limits = append(limits, l)
	}
	slices.Sort(limits)
	var out []string
	for _, l := range limits {
		out = append(out, fmt.Sprintf("%d: %.0f (%.0f)", l, Median(rows[l]), Median(p99[l])))
	}
	return strings.Join(out, ", ")
}

// column is a figure of each run.
type column struct {
	name   string
	of     func(Result) (float64, bool)
	format string
}

func always(of func(Result) float64) func(Result) (float64, bool) {
	return func(r Result) (float64, bool) { return of(r), true }
}

func seconds(of func(Result) (int, bool)) func(Result) (float64, bool) {
	return func(r Result) (float64, bool) { s, ok := of(r); return float64(s), ok }
}

var (
	rateColumns = []column{
		{"rows/s before", always(Result.Before), "%.0f"},
		{"rows/s in the fault", always(Result.Goodput), "%.0f"},
		{"p99 in the fault, ms", always(Result.FaultP99), "%.0f"},
		{"attempts a success", always(Result.AttemptsPerSuccess), "%.3f"},
	}
	hintColumns = []column{
		{"hints written", always(func(r Result) float64 { return r.HintsWritten }), "%.0f"},
		{"hints on disk, MiB", always(func(r Result) float64 { return float64(r.HintBytes()) / (1 << 20) }), "%.1f"},
	}
	daemonColumns = slices.Concat(rateColumns, []column{
		{"s to a steady rate in it", seconds(Result.SteadyInFault), "%.0f"},
		{"s to a steady rate after it", seconds(Result.SteadyAfter), "%.0f"},
	}, hintColumns, []column{
		{"the daemon's debt, MiB", func(r Result) (float64, bool) {
			debt, ok := r.PeakDebt()
			return debt / (1 << 20), ok
		}, "%.1f"},
		{"lost", always(func(r Result) float64 { return float64(r.Lost) }), "%.0f"},
		{"mismatched", always(func(r Result) float64 { return float64(r.Mismatched) }), "%.0f"},
		{"parked", always(func(r Result) float64 { return float64(r.Parked) }), "%.0f"},
	})
	naiveColumns = slices.Concat(rateColumns, hintColumns[1:], []column{
		{"rows given up", always(func(r Result) float64 { return r.GivenUp }), "%.0f"},
	})
)

// table has a line for each scenario in which the writer took part.
func table(b *strings.Builder, columns []column, results []Result, writer string) {
	b.WriteString("| scenario | runs |")
	for _, c := range columns {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString(" attempts that failed, of the last run |\n|---|---|" + strings.Repeat("---|", len(columns)+1) + "\n")
	for _, n := range numbers(results) {
		runs := of(results, n, writer)
		if len(runs) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %d %s | %d |", n, Title(n), len(runs))
		for _, c := range columns {
			b.WriteString(" " + spread(runs, c.of, c.format) + " |")
		}
		b.WriteString(" " + errorList(runs[len(runs)-1].Errors) + " |\n")
	}
}

func errorList(errors map[string]float64) string {
	var out []string
	for class, n := range errors {
		out = append(out, fmt.Sprintf("%s %.0f", class, n))
	}
	slices.Sort(out)
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// values are those of the runs that have one.
func values(runs []Result, of func(Result) (float64, bool)) []float64 {
	var out []float64
	for _, r := range runs {
		if v, ok := of(r); ok {
			out = append(out, v)
		}
	}
	return out
}

// spread is the median and, of several runs, the lowest and the highest.
func spread(runs []Result, of func(Result) (float64, bool), format string) string {
	got := values(runs, of)
	switch len(got) {
	case 0:
		return "–"
	case 1:
		return fmt.Sprintf(format, got[0])
	}
	return fmt.Sprintf(format+" ("+format+" to "+format+")", Median(got), slices.Min(got), slices.Max(got))
}

func yes(reached bool) string {
	if reached {
		return "yes"
	}
	return "no"
}
