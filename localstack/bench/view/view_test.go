// Package view_test compares what projecting costs: the order view written in Go, and the same view from a file, on the
// same generated events, in one process.
//
// Both are first held to make the same mutations of every event, so that both do the same work. Then they take turns,
// since the machine is never as fast twice, and each turn begins with a collected heap, so that each pays for its own
// garbage. Processor time is the process's own, from the kernel, and so has the collector's share in it.
//
// It prints one line "bench: NAME VALUE UNIT" a figure, with the lowest and the highest in parentheses behind the median.
package view_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/localstack/shop"
	"penstock/order"
	"penstock/view"
	"penstock/view/viewfile"
)

const (
	file   = "../../../view/viewfile/examples/order/view.yaml"
	orders = 2500 // about 10,000 events
	passes = 10   // over the events in a turn
	rounds = 21   // of a turn each
)

// BenchmarkViews is for -benchtime 1x: it does its own repeating.
func BenchmarkViews(b *testing.B) {
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	fromFile, _, err := viewfile.Load(file, text)
	if err != nil {
		b.Fatal(err)
	}
	records := generate(b)
	inGo := order.View{}
	same(b, inGo, fromFile, records)

	var sides [2][]cost // Go, file
	for round := range 1 + rounds {
		for turn := range sides {
			side := (round + turn) % 2 // who begins changes
			c := measure(b, []view.View{inGo, fromFile}[side], records)
			if round > 0 { // the first warms up
				sides[side] = append(sides[side], c)
			}
		}
	}
	ratios := make([]float64, rounds)
	for i := range ratios {
		ratios[i] = sides[1][i].cpu / sides[0][i].cpu
	}
	fmt.Printf("bench: events %d events\n", len(records))
	for i, name := range []string{"go_view", "file_view"} {
		show(name+"_cpu", "µs/event", each(sides[i], func(c cost) float64 { return c.cpu }))
		show(name+"_allocations", "objects/event", each(sides[i], func(c cost) float64 { return c.objects }))
		show(name+"_allocated", "bytes/event", each(sides[i], func(c cost) float64 { return c.bytes }))
	}
	show("file_view_vs_go", "ratio", ratios)
	large(b)
	lint(b)
	b.ReportMetric(0, "ns/op") // the figures above are what there is to tell
}

// generate returns sound events of orders that live side by side.
func generate(b *testing.B) []view.Record {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	generator, err := shop.New(shop.Config{Seed: 1, Orders: orders, Now: now})
	if err != nil {
		b.Fatal(err)
	}
	var records []view.Record
	for e := range generator.Events() {
		records = append(records, view.Record{Data: e.Payload, Arrival: now})
	}
	return records
}

// same makes sure that two views make the same mutations of every event.
func same(b *testing.B, one, other view.View, records []view.Record) {
	for _, r := range records {
		want, err := one.Project(r)
		if err != nil {
			b.Fatalf("%v: %s", err, r.Data)
		}
		got, err := other.Project(r)
		if err != nil {
			b.Fatalf("%v: %s", err, r.Data)
		}
		if diff := cmp.Diff(sorted(want.Mutations), sorted(got.Mutations), cmp.Comparer(func(a, b view.Value) bool { return a == b })); diff != "" {
			b.Fatalf("the views differ (-%s +%s) for %s:\n%s", one.Revision(), other.Revision(), r.Data, diff)
		}
	}
}

// sorted brings mutations and cells into one order: theirs means nothing.
func sorted(mutations []view.Mutation) []view.Mutation {
	out := slices.Clone(mutations)
	for i := range out {
		out[i].Cells = view.Merge(nil, out[i].Cells)
	}
	slices.SortFunc(out, func(a, b view.Mutation) int { return strings.Compare(a.Table, b.Table) })
	return out
}

// cost is what one event costs.
type cost struct {
	cpu     float64 // µs, user and system
	objects float64
	bytes   float64
}

// measure lets a view take its turn.
func measure(b *testing.B, v view.View, records []view.Record) cost {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := processorTime(b)
	for range passes {
		for _, r := range records {
			if _, err := v.Project(r); err != nil {
				b.Fatal(err)
			}
		}
	}
	took := processorTime(b) - begin
	runtime.ReadMemStats(&after)
	n := float64(passes * len(records))
	return cost{
		cpu:     float64(took.Nanoseconds()) / 1e3 / n,
		objects: float64(after.Mallocs-before.Mallocs) / n,
		bytes:   float64(after.TotalAlloc-before.TotalAlloc) / n,
	}
}

// processorTime is what this process has had, user and system.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// repeat measures something that takes milliseconds, by the processor's time.
func repeat(b *testing.B, name string, do func() error) {
	var took []float64
	for round := range 1 + rounds {
		runtime.GC()
		begin := processorTime(b)
		if err := do(); err != nil {
			b.Fatal(err)
		}
		if round > 0 {
			took = append(took, float64((processorTime(b)-begin).Microseconds())/1e3)
		}
	}
	show(name, "ms", took)
}

func each(costs []cost, of func(cost) float64) []float64 {
	out := make([]float64, len(costs))
	for i, c := range costs {
		out[i] = of(c)
	}
	return out
}

// show prints the median, and the spread in parentheses.
func show(name, unit string, values []float64) {
	slices.Sort(values)
	n := len(values)
	median := (values[(n-1)/2] + values[n/2]) / 2
	fmt.Printf("bench: %s %.3g %s (%.3g to %.3g)\n", name, median, unit, values[0], values[n-1])
}
