package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/cmd/internal/cli"
	"penstock/stream"
)

// kclTable reads the lease table of the Kinesis Client Library.
type kclTable interface {
	KCLLeases(ctx context.Context, table string) ([]leasetable.KCLLease, error)
}

// runImport makes rows from another table, once what it would do is agreed to.
func (d *doctor) runImport(ctx context.Context, c *cobra.Command, s *cli.Settings, source string) error {
	report, err := d.planImport(ctx, source)
	if err != nil {
		return err
	}
	if s.Output == "text" {
		if err := s.Print(c, report.text(), report); err != nil {
			return err
		}
	}
	news := report.count(func(i imported) bool { return i.change.Op != 0 })
	switch {
	case news == 0:
	case !d.agreed(fmt.Sprintf("make %d rows in %s?", news, d.table)):
		fmt.Fprintln(d.messages, "nothing was changed: give --yes to make the rows")
	default:
		if err := d.apply(ctx, &report); err != nil {
			return err
		}
	}
	if s.Output == "json" {
		if err := s.Print(c, "", report); err != nil {
			return err
		}
	} else if made := report.count(func(i imported) bool { return i.Made }); made > 0 {
		if err := s.Print(c, fmt.Sprintf("%d rows made in %s", made, d.table), nil); err != nil {
			return err
		}
	}
	return report.verdict()
}

// planImport reads the other table twice, refuses one that is in use, and says which rows would be made.
func (d *doctor) planImport(ctx context.Context, source string) (importReport, error) {
	r := importReport{Version: importReportVersion, Table: d.table, From: source, Leases: []imported{}}
	refused := func(format string, args ...any) (importReport, error) {
		return r, cli.Exit(cli.ExitRefused, fmt.Errorf(format, args...))
	}
	before, err := d.kcl.KCLLeases(ctx, source)
	if err != nil {
		return r, d.failed(err)
	}
	if len(before) == 0 || slices.IndexFunc(before, func(l leasetable.KCLLease) bool { return l.Key != "" }) < 0 {
		return refused("table %s has no leases of the Kinesis Client Library", source)
	}
	if i := slices.IndexFunc(before, func(l leasetable.KCLLease) bool { return l.MultiStream }); i >= 0 {
		return refused("lease %s of table %s is one of several streams in one table: only a table of one stream can be imported", before[i].Key, source)
	}
	if slices.ContainsFunc(before, func(l leasetable.KCLLease) bool { return l.Owner != "" }) {
		wait := d.failover + clockTolerance
		fmt.Fprintf(d.messages, "some leases of %s name an owner: watching them for %s\n", source, wait)
		if err := sleepFor(ctx, wait); err != nil {
			return r, d.failed(err)
		}
	}
	after, err := d.kcl.KCLLeases(ctx, source)
	if err != nil {
		return r, d.failed(err)
	}
	if alive := moved(before, after); len(alive) > 0 {
		return refused("workers of the Kinesis Client Library are alive, by the leases of %s: stop that fleet first", some(alive))
	}
	rows, err := d.rows(ctx)
	if err != nil {
		return r, err
	}
	shards, err := d.stream.Shards(ctx)
	if err != nil {
		return r, d.failed(err)
	}
	slices.SortFunc(after, func(a, b leasetable.KCLLease) int { return strings.Compare(a.Key, b.Key) })
	for _, l := range after {
		i, err := d.plan(ctx, l, shards, rows)
		if err != nil {
			return r, err
		}
		r.Leases = append(r.Leases, i)
	}
	if r.count(func(i imported) bool { return i.Found != noSuchShard }) == 0 {
		return refused("no lease of table %s is of a shard that the stream has: it is of another stream", source)
	}
	return r, nil
}

// moved returns the leases whose counter moved, and those that came or went.
func moved(before, after []leasetable.KCLLease) []string {
	counters := map[string]int64{}
	for _, l := range before {
		counters[l.Key] = l.Counter
	}
	var keys []string
	for _, l := range after {
		if n, ok := counters[l.Key]; !ok || n != l.Counter {
			keys = append(keys, l.Key)
		}
		delete(counters, l.Key)
	}
	for key := range counters {
		keys = append(keys, key)
	}
	return keys
}

// What is said of leases of which no row is made.
const (
	noSuchShard  = "the stream does not list this shard"
	alreadyThere = "the table has a row of it already"
)

// plan says what becomes of one lease.
func (d *doctor) plan(ctx context.Context, l leasetable.KCLLease, shards []stream.Shard, rows map[string]checkpoint.Row) (imported, error) {
	i := imported{Shard: l.Key, From: string(l.Checkpoint), SubSequence: l.SubSequence}
	at := slices.IndexFunc(shards, func(s stream.Shard) bool { return s.ID == l.Key })
	if at < 0 {
		i.Found = noSuchShard
		return i, nil
	}
	if _, there := rows[l.Key]; there {
		i.Found = alreadyThere
		return i, nil
	}
	shard := shards[at]
	to, found, err := d.positionOf(ctx, l, shard, shards)
	if err != nil {
		return i, err
	}
	i.To, i.Found = string(to), found
	if to == "" {
		i.Error = found
		return i, nil
	}
	i.change = checkpoint.Change{Op: checkpoint.Create, Shard: shard.ID, Commit: to}
	if len(shard.Parents) > 0 {
		i.change.Parent = shard.Parents[0]
	}
	return i, nil
}

// positionOf returns the checkpoint that continues a lease of the library, and why it is that; "" if there is none.
func (d *doctor) positionOf(ctx context.Context, l leasetable.KCLLease, shard stream.Shard, shards []stream.Shard) (to checkpoint.Sequence, why string, err error) {
	switch l.Checkpoint {
	case checkpoint.ShardEnd:
		if slices.ContainsFunc(openShards(shards), func(s stream.Shard) bool { return s.ID == shard.ID }) {
			return shard.Start, "says that it was read to its end, but takes records: from its beginning", nil
		}
		return checkpoint.ShardEnd, "read to its end", nil
	case "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP":
		return shard.Start, "nothing was read: from its beginning", nil
	}
	if row := (checkpoint.Row{Checkpoint: l.Checkpoint}); row.Position() == "" {
		return "", fmt.Sprintf("checkpoint %q is no position", l.Checkpoint), nil
	}
	place, err := d.stream.PlaceOf(ctx, shard, l.Checkpoint)
	if errors.Is(err, stream.ErrNotOfShard) {
		return "", fmt.Sprintf("checkpoint %s is not of this shard: the lease is of another stream", l.Checkpoint), nil
	}
	if err != nil {
		return "", "", d.failed(err)
	}
	if l.SubSequence == 0 && !place.Part {
		return place.After, "after the same record", nil
	}
	// The library was within an aggregate, and here positions stand between aggregates: all of it is read again.
	place, err = d.stream.PlacePreceding(ctx, shard, l.Checkpoint)
	if err != nil {
		return "", "", d.failed(err)
	}
	return place.After, fmt.Sprintf("within an aggregate, after its member %d: all of the aggregate is read again", l.SubSequence), nil
}

// apply makes the rows.
func (d *doctor) apply(ctx context.Context, r *importReport) error {
	for at := range r.Leases {
		i := &r.Leases[at]
		if i.change.Op == 0 {
			continue
		}
		err := d.leases.Apply(ctx, i.change)
		refused, ok := errors.AsType[*checkpoint.Refused](err)
		switch {
		case err == nil, ok && refused.Current == checkpoint.Row{Shard: i.Shard, Checkpoint: i.change.Commit, Parent: i.change.Parent}:
			i.Made = true // now, or by a delivery of this very request whose answer was lost
		case ok:
			i.Found = alreadyThere
		default:
			return d.failed(fmt.Errorf("make the row of %s: %w", i.Shard, err))
		}
	}
	return nil
}

// importReport is what doctor --import prints as JSON. Scripts read it: a field may be added, and what changes the
// meaning of one changes Version.
type importReport struct {
	Version int        `json:"version"`
	Table   string     `json:"table"`
	From    string     `json:"from"`
	Leases  []imported `json:"leases"`
}

const importReportVersion = 1

// imported is what becomes of one lease.
type imported struct {
	Shard       string `json:"shard"`
	From        string `json:"from"` // checkpoint in the other table
	SubSequence int64  `json:"sub_sequence"`
	To          string `json:"to"` // and in ours; empty if no row is made
	Found       string `json:"found"`
	Made        bool   `json:"made"`
	Error       string `json:"error"` // why no row can be made although there should be one

	change checkpoint.Change
}

func (r importReport) count(is func(imported) bool) int {
	n := 0
	for _, i := range r.Leases {
		if is(i) {
			n++
		}
	}
	return n
}

func (r importReport) text() string {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "SHARD\tFROM\tTO\tNOTE")
	for _, i := range r.Leases {
		from := i.From
		if i.SubSequence > 0 {
			from += fmt.Sprintf(" (%d)", i.SubSequence)
		}
		fmt.Fprintf(w, "\n%s\t%s\t%s\t%s", i.Shard, cmp.Or(from, "-"), orDash(i.To), i.Found)
	}
	_ = w.Flush() // to memory
	return table.String()
}

// verdict is the error of a command that ends with this report.
func (r importReport) verdict() error {
	if n := r.count(func(i imported) bool { return i.Error != "" }); n > 0 {
		return cli.Exit(cli.ExitPartly, fmt.Errorf("%d leases were not imported: see the note of each", n))
	}
	if n := r.count(func(i imported) bool { return i.change.Op != 0 && !i.Made && i.Found != alreadyThere }); n > 0 {
		return cli.Exit(cli.ExitDifferent, fmt.Errorf("%d rows are to be made", n))
	}
	return nil
}
