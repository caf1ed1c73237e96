package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"penstock/replay"
	"penstock/view"
)

// Metrics are written as text files for node_exporter's textfile collector: a command has ended before anybody could ask
// it. The names are a contract, like those of the daemon.

// openMetrics are the letters that wait for somebody.
func openMetrics(s *replay.Summary) string {
	var b strings.Builder
	b.WriteString("# HELP penstock_dead_letters_open Dead letters that no outcome has closed, by the code they were parked for.\n" +
		"# TYPE penstock_dead_letters_open gauge\n")
	open := s.OpenByCode()
	for _, code := range slices.Sorted(maps.Keys(open)) {
		fmt.Fprintf(&b, "penstock_dead_letters_open{code=%q} %d\n", code, open[code])
	}
	b.WriteString("# HELP penstock_dead_letters_oldest_open_timestamp_seconds When the oldest open dead letter was written; 0 for none.\n" +
		"# TYPE penstock_dead_letters_oldest_open_timestamp_seconds gauge\n")
	var oldest int64
	if !s.OldestOpen.IsZero() {
		oldest = s.OldestOpen.Unix()
	}
	fmt.Fprintf(&b, "penstock_dead_letters_oldest_open_timestamp_seconds %d\n", oldest)
	return b.String()
}

// writeMetrics replaces a file at once, since it may be read at any moment.
func writeMetrics(file, text string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".penstock-*")
	if err != nil {
		return fmt.Errorf("write metrics to %s: %w", file, err)
	}
	defer os.Remove(f.Name()) // after the renaming there is none
	_, err = f.WriteString(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644) // for whoever collects
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write metrics to %s: %w", file, err)
	}
	return nil
}

// redriveMetrics are the letters of the last redrive, by what became of them.
func redriveMetrics(r replay.Redriven) string {
	var b strings.Builder
	b.WriteString("# HELP penstock_dead_letters_redriven Dead letters of the last redrive, by what became of them.\n" +
		"# TYPE penstock_dead_letters_redriven gauge\n")
	for _, outcome := range []struct {
		name string
		n    int
	}{{"redriven", r.Redriven}, {"failed", r.Failed}, {"unreadable", r.Unreadable}, {"unsettled", r.Unsettled}} {
		fmt.Fprintf(&b, "penstock_dead_letters_redriven{outcome=%q} %d\n", outcome.name, outcome.n)
	}
	return b.String()
}

// sortedCodes returns the keys in order.
func sortedCodes(of map[view.Code]int) []view.Code { return slices.Sorted(maps.Keys(of)) }
