package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"penstock/localstack/e2e"
	"penstock/localstack/recording"
)

// rival is a bare loop and what its runs came to.
type rival struct {
	name string // of its figures
	spec bareSpec
	runs []figures
}

// compare warms up, finds the bare loops' best concurrencies, and measures all sides in alternating rounds.
func (r *rig) compare(ctx context.Context, o options) error {
	say("recording what the pipeline sends")
	rec, err := recording.Record(ctx, recording.Source{Stack: r.stack, Name: r.site.Name, Events: r.recording.Events}, filepath.Join(r.dir, "recording"))
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	r.recording = rec
	say("%d events are %d rows in %d requests: %.1f %% of %d merged", rec.Events, rec.Rows, rec.Requests, 100*rec.Merged(), rec.Unmerged)
	rivals := []*rival{{name: "bare", spec: bareSpec{rowByRow: true}}, {name: "batches"}}
	warm := time.Now()
	for time.Since(warm) < o.warmUp {
		if _, err := r.bare(ctx, bareSpec{concurrency: 64, rowByRow: true, atMost: o.warmUp - time.Since(warm)}); err != nil {
			return err
		}
	}
	for _, v := range rivals {
		var err error
		if v.spec.concurrency, err = r.bestConcurrency(ctx, v); err != nil {
			return err
		}
	}
	var drains []drain
	for round := range o.pairs {
		for _, v := range rivals {
			f, err := r.bare(ctx, v.spec)
			if err != nil {
				return err
			}
			say("round %d: %s %.0f rows/s at %.1f µs of CPU a row", round+1, v.name, f.rate(), f.cpuPerRow())
			v.runs = append(v.runs, f)
		}
		var profiles profiles
		if round == o.pairs-1 {
			profiles = o.profiles
		}
		d, err := r.drain(ctx, round, profiles)
		if err != nil {
			return err
		}
		say("round %d: pipeline %.0f rows/s at %.1f µs of CPU a row", round+1, d.rate(), d.cpuPerRow())
		drains = append(drains, d)
	}
	report(rec, rivals, drains)
	return nil
}

// bestConcurrency tries a bare loop for some seconds at each of several concurrencies, up and down again, since the
// machine is never as fast twice.
func (r *rig) bestConcurrency(ctx context.Context, v *rival) (int, error) {
	tried := []int{16, 32, 64, 128, 256}
	rates := make([]float64, len(tried))
	for i := range 2 * len(tried) {
		at := min(i, 2*len(tried)-1-i)
		spec := v.spec
		spec.concurrency, spec.atMost = tried[at], 4*time.Second
		f, err := r.bare(ctx, spec)
		if err != nil {
			return 0, err
		}
		say("%s, %d in flight: %.0f rows/s", v.name, tried[at], f.rate())
		rates[at] += f.rate()
	}
	return tried[slices.Index(rates, slices.Max(rates))], nil
}

// bare runs a bare loop as a process of its own.
func (r *rig) bare(ctx context.Context, spec bareSpec) (figures, error) {
	self, err := os.Executable()
	if err != nil {
		return figures{}, err
	}
	cmd := exec.CommandContext(ctx, self, "-bare", r.recording.File, "-host", r.stack.Cassandra()[0].Addr().String(),
		"-concurrency", strconv.Itoa(spec.concurrency), "-at-most", spec.atMost.String(), fmt.Sprintf("-row-by-row=%t", spec.rowByRow))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := r.children.Start(cmd); err != nil {
		return figures{}, err
	}
	if err := cmd.Wait(); err != nil {
		return figures{}, fmt.Errorf("bare loop: %w", err)
	}
	var f figures
	return f, json.Unmarshal(out.Bytes(), &f)
}

// drain is what a run of the pipeline came to.
type drain struct {
	figures
	events  float64 // in the measured middle
	mallocs float64 // of the whole run
	peak    int64   // bytes
}

// drain lets the real daemon drain the whole backlog, with leases of its own.
func (r *rig) drain(ctx context.Context, pair int, profiles profiles) (drain, error) {
	r.site.Set(fmt.Sprintf("PENSTOCK_APPLICATION=drain%d", pair))
	if _, err := r.site.Projector(ctx, "setup"); err != nil {
		return drain{}, err
	}
	fleet := &e2e.Fleet{Site: r.site, Shards: r.shards, Poll: 500 * time.Millisecond} // seldom: it is the daemon's work too
	defer fleet.Kill()
	d, err := fleet.Start(ctx, "pipeline")
	if err != nil {
		return drain{}, err
	}
	profiled := make(chan error, 1)
	go func() { profiled <- profiles.take(ctx, d) }()
	rowsPerEvent := float64(r.recording.Rows) / float64(r.recording.Events)
	m := newMiddle(r.recording.Rows, d.PID())
	var last e2e.Scrape
	if err := fleet.Watch(ctx, func(scrapes []e2e.Scrape) bool {
		last = scrapes[0]
		m.at(int(float64(last.Applied) * rowsPerEvent))
		return last.Applied >= int64(r.recording.Events)
	}); err != nil {
		return drain{}, err
	}
	f := m.end(r.recording.Rows)
	if err := <-profiled; err != nil {
		return drain{}, err
	}
	peak, err := peakMemory(d.PID())
	if err != nil {
		return drain{}, err
	}
	return drain{figures: f, events: f.Rows / rowsPerEvent, mallocs: float64(last.Mallocs), peak: peak}, fleet.Stop(ctx)
}

func report(rec recording.Recording, rivals []*rival, drains []drain) {
	fmt.Printf("bench: backlog %d events\n", rec.Events)
	fmt.Printf("bench: merged %.1f %%\n", 100*rec.Merged())
	fmt.Printf("bench: rows_per_request %.1f rows\n", float64(rec.Rows)/float64(rec.Requests))
	for _, v := range rivals {
		fmt.Printf("bench: %s_concurrency %d requests\n", v.name, v.spec.concurrency)
		show(v.name+"_rate", "rows/s", each(v.runs, figures.rate))
		show(v.name+"_cpu", "µs/row", each(v.runs, figures.cpuPerRow))
	}
	show("pipeline_rate", "rows/s", each(drains, drain.rate))
	show("pipeline_cpu", "µs/row", each(drains, drain.cpuPerRow))
	show("events_rate", "events/s", each(drains, func(d drain) float64 { return d.events / d.Seconds }))
	show("cpu_per_event", "µs", each(drains, func(d drain) float64 { return d.CPU / d.events * 1e6 }))
	show("allocations_per_event", "objects", each(drains, func(d drain) float64 { return d.mallocs / float64(rec.Events) }))
	show("peak_memory", "MiB", each(drains, func(d drain) float64 { return float64(d.peak) / (1 << 20) }))
	for _, v := range rivals {
		ratios := func(of func(figures) float64) []float64 {
			out := make([]float64, len(drains))
			for i := range drains {
				out[i] = of(drains[i].figures) / of(v.runs[i])
			}
			return out
		}
		show("pipeline_vs_"+v.name, "ratio", ratios(figures.rate))
		show("cpu_vs_"+v.name, "ratio", ratios(figures.cpuPerRow))
	}
}

func each[T any](runs []T, of func(T) float64) []float64 {
	out := make([]float64, len(runs))
	for i, r := range runs {
		out[i] = of(r)
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
