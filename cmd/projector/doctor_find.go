package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock/checkpoint"
	"penstock/stream"
)

// ailment is a kind of what can be wrong with a lease table.
type ailment string

// The closed set of ailments.
const (
	ailOrphan       ailment = "orphan"
	ailWedged       ailment = "wedged"
	ailFinishedOpen ailment = "finished-open"
	ailNoRow        ailment = "no-row"
	ailChildAhead   ailment = "child-ahead"
	ailSkewedClock  ailment = "skewed-clock"
	ailForeign      ailment = "foreign"
)

// exam is what stands in stream and table at two times.
type exam struct {
	table         string
	failover      time.Duration
	retention     time.Duration
	now           time.Time // of the second reading, by the service's clock
	watched       bool      // a failover time passed between the two
	shards        []stream.Shard
	listedBefore  map[string]bool
	before, after map[string]checkpoint.Row
}

// examine reads everything twice and returns what is wrong.
func (d *doctor) examine(ctx context.Context) (doctorReport, error) {
	x := exam{table: d.table, failover: d.failover, retention: d.description.Retention, listedBefore: map[string]bool{}}
	shards, err := d.stream.Shards(ctx)
	if err != nil {
		return doctorReport{}, d.failed(err)
	}
	for _, s := range shards {
		x.listedBefore[s.ID] = true
	}
	if x.before, err = d.rows(ctx); err != nil {
		return doctorReport{}, err
	}
	if x.watched = x.held(d.now()); x.watched {
		wait := d.failover + clockTolerance
		fmt.Fprintf(d.messages, "some leases are held: watching them for %s\n", wait)
		if err := sleepFor(ctx, wait); err != nil {
			return doctorReport{}, d.failed(err)
		}
	}
	if x.after, err = d.rows(ctx); err != nil {
		return doctorReport{}, err
	}
	if x.shards, err = d.stream.Shards(ctx); err != nil {
		return doctorReport{}, d.failed(err)
	}
	x.now = d.now()
	return doctorReport{Version: doctorReportVersion, Table: d.table, Rows: len(x.after), Shards: len(x.shards),
		At: x.now.UTC().Truncate(time.Millisecond), Findings: x.findings()}, nil
}

func (d *doctor) rows(ctx context.Context) (map[string]checkpoint.Row, error) {
	rows, err := d.leases.Rows(ctx)
	if err != nil {
		return nil, d.failed(fmt.Errorf("read the leases: %w", err))
	}
	found := make(map[string]checkpoint.Row, len(rows))
	for _, r := range rows {
		found[r.Shard] = r
	}
	return found, nil
}

func sleepFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// held reports whether some row names an owner whose lease may still be live.
func (x exam) held(now time.Time) bool {
	for _, r := range x.before {
		end, err := time.Parse(time.RFC3339Nano, r.Timeout)
		if !r.Free() && (err != nil || now.Before(end.Add(clockTolerance))) {
			return true
		}
	}
	return false
}

// findings returns what is wrong, by shard.
func (x exam) findings() []finding {
	out := []finding{}
	listed := map[string]stream.Shard{}
	for _, s := range x.shards {
		listed[s.ID] = s
	}
	open := map[string]bool{}
	for _, s := range openShards(x.shards) {
		open[s.ID] = true
	}
	strangers := x.strangers()
	for id, row := range x.after {
		shard, isListed := listed[id]
		switch {
		case !isListed && !x.listedBefore[id]:
			out = append(out, x.orphan(row, strangers))
		case row.Finished() && isListed && open[id]:
			out = append(out, x.finishedOpen(row, shard, strangers))
		}
		if why := wedge(row); why != "" {
			out = append(out, x.wedged(row, why))
		}
		if f, ok := x.skewed(row); ok {
			out = append(out, f)
		}
		if x.live(row) && !checkpoint.Stamped(row.Owner, row.Timeout) {
			out = append(out, finding{Shard: id, Kind: ailForeign, Found: fmt.Sprintf("%s, a worker of another make, holds the lease until %s", row.Owner, row.Timeout),
				Remedy: "stop that fleet before this one is started: the two do not share a table at one time"})
		}
		if f, ok := x.childAhead(row, shard, listed); ok {
			out = append(out, f)
		}
	}
	for _, s := range x.shards {
		if _, ok := x.after[s.ID]; !ok && x.listedBefore[s.ID] && len(x.after) > 0 {
			out = append(out, noRow(s))
		}
	}
	slices.SortFunc(out, func(a, b finding) int {
		return cmp.Or(strings.Compare(a.Shard, b.Shard), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return out
}

// strangers reports whether the table seems to be of another stream: none of its rows is of a shard that this one has.
func (x exam) strangers() bool {
	for id := range x.after {
		if x.listedBefore[id] {
			return false
		}
	}
	return true
}

// live reports whether somebody may hold a row's lease at present: it changed while it was watched, or says so and does
// not lie too far ahead to be believed. A row that was not watched and names an owner without a readable end is counted
// as live too.
func (x exam) live(row checkpoint.Row) bool {
	if row.Free() {
		return false
	}
	if x.before[row.Shard].Pair() != row.Pair() {
		return true
	}
	end, err := time.Parse(time.RFC3339Nano, row.Timeout)
	switch {
	case err != nil:
		return !x.watched
	case x.far(end):
		return !x.watched
	}
	return x.now.Before(end.Add(clockTolerance))
}

// far reports whether a lease's end lies further ahead than any sound clock puts it.
func (x exam) far(end time.Time) bool { return end.After(x.now.Add(3*x.failover + clockTolerance)) }

const leftAlone = "nothing while the lease is held"

// can sets what --repair does about a finding, unless the row's lease is live.
func (x exam) can(f finding, row checkpoint.Row, remedy string, c checkpoint.Change) finding {
	if x.live(row) {
		f.Remedy = leftAlone
		return f
	}
	c.Shard, c.Seen = row.Shard, row
	f.Remedy, f.Can, f.change = remedy, true, c
	return f
}

func (x exam) orphan(row checkpoint.Row, strangers bool) finding {
	f := finding{Shard: row.Shard, Kind: ailOrphan, Found: "the stream does not list this shard; the row stands at " + orDash(string(row.Checkpoint))}
	end, err := time.Parse(time.RFC3339Nano, row.Timeout)
	past := err == nil && end.Add(x.retention).Before(x.now)
	switch {
	case strangers:
		f.Found = "neither this nor any other row is of a shard that the stream has: the table seems to be of another stream"
		f.Remedy = "give the table of this stream, or correct kinesis.stream"
	case row.Finished():
		return x.can(f, row, "delete the row, which says that the shard was read to its end", checkpoint.Change{Op: checkpoint.Delete})
	case past:
		f.Found += fmt.Sprintf(", and was last held until %s, longer ago than the stream keeps records: what was not read is gone", row.Timeout)
		return x.can(f, row, "delete the row", checkpoint.Change{Op: checkpoint.Delete})
	default:
		f.Remedy = "nothing before the row is older than the stream's retention: find out whether another application uses this table"
	}
	return f
}

func (x exam) finishedOpen(row checkpoint.Row, shard stream.Shard, strangers bool) finding {
	f := finding{Shard: row.Shard, Kind: ailFinishedOpen, Found: "the row says that the shard was read to its end, but it takes records: nobody reads them"}
	if strangers || shard.Start == "" {
		f.Remedy = "the table seems to be of another stream"
		return f
	}
	return x.can(f, row, "read the shard from its beginning, which repeats what was read; projector shards seek --reopen sets another position",
		checkpoint.Change{Op: checkpoint.Reopen, Commit: shard.Start})
}

// wedge says what is wrong with the row itself; "" for nothing.
func wedge(row checkpoint.Row) string {
	var why []string
	names := []struct {
		a    checkpoint.Attributes
		name string
	}{
		{checkpoint.OwnerAttribute, "AssignedTo"}, {checkpoint.TimeoutAttribute, "LeaseTimeout"}, {checkpoint.CheckpointAttribute, "Checkpoint"},
		{checkpoint.ParentAttribute, "ParentShardId"}, {checkpoint.ClaimAttribute, "ClaimRequest"},
	}
	for _, n := range names {
		if row.Wrong.Has(n.a) {
			why = append(why, n.name+" is not text, which ends every process of vmware-go-kcl-v2 that reads it")
		}
	}
	end, err := time.Parse(time.RFC3339Nano, row.Timeout)
	switch {
	case row.Empty.Has(checkpoint.OwnerAttribute):
		why = append(why, "AssignedTo is empty, which is no owner and not none")
	case row.Owner != "" && row.Timeout == "" && !row.Wrong.Has(checkpoint.TimeoutAttribute):
		why = append(why, "AssignedTo without LeaseTimeout, which vmware-go-kcl-v2 never takes over")
	}
	switch {
	case row.Timeout != "" && err != nil:
		why = append(why, fmt.Sprintf("LeaseTimeout %q is no time", row.Timeout))
	case row.Owner != "" && err == nil && end.UTC().Format(time.RFC3339Nano) != row.Timeout:
		why = append(why, fmt.Sprintf("LeaseTimeout %q is not spelled as vmware-go-kcl-v2 compares it", row.Timeout))
	}
	switch {
	case row.Empty.Has(checkpoint.CheckpointAttribute):
		why = append(why, "Checkpoint is empty")
	case row.Unreadable() && !row.Wrong.Has(checkpoint.CheckpointAttribute):
		why = append(why, fmt.Sprintf("Checkpoint %q is no position", row.Checkpoint))
	}
	return strings.Join(why, "; ")
}

func (x exam) wedged(row checkpoint.Row, why string) finding {
	f := finding{Shard: row.Shard, Kind: ailWedged, Found: why}
	remedy := "remove the owner and what cannot be read"
	if row.Unreadable() {
		remedy += "; without a position the shard is read from its beginning"
	}
	return x.can(f, row, remedy, checkpoint.Change{Op: checkpoint.Heal})
}

func (x exam) skewed(row checkpoint.Row) (finding, bool) {
	f := finding{Shard: row.Shard, Kind: ailSkewedClock}
	end, err := time.Parse(time.RFC3339Nano, row.Timeout)
	if err != nil || row.Free() || row.Owner == "" || checkpoint.Stamped(row.Owner, row.Timeout) {
		return f, false
	}
	ahead := end.Sub(x.now).Round(time.Second)
	if x.before[row.Shard].Pair() != row.Pair() {
		off := end.Before(x.now.Add(-clockTolerance)) || end.After(x.now.Add(2*x.failover+clockTolerance))
		f.Found = fmt.Sprintf("%s has just renewed the lease until %s, which is %s from now: its clock is off, or its failover time is not %s",
			row.Owner, row.Timeout, ahead, x.failover)
		f.Remedy = "set the clock of that host"
		return f, off
	}
	f.Found = fmt.Sprintf("%s no longer renews the lease, and gave it an end %s from now: until then vmware-go-kcl-v2 does not take it over", row.Owner, ahead)
	return x.can(f, row, "remove the owner", checkpoint.Change{Op: checkpoint.Heal}), x.far(end)
}

func (x exam) childAhead(row checkpoint.Row, shard stream.Shard, listed map[string]stream.Shard) (finding, bool) {
	begun := row.Position() != "" && row.Position() != shard.Start
	if !begun && row.Free() {
		return finding{}, false
	}
	var waits []string
	for _, p := range shard.Parents {
		if _, there := listed[p]; there && !x.after[p].Finished() {
			waits = append(waits, p)
		}
	}
	return finding{Shard: row.Shard, Kind: ailChildAhead, Found: "is read or held though these parents are not read to their end: " + strings.Join(waits, ", "),
		Remedy: "nothing: the parents are read all the same, and the rows are the same in any order"}, len(waits) > 0
}

func noRow(s stream.Shard) finding {
	f := finding{Shard: s.ID, Kind: ailNoRow, Found: "the stream lists the shard, and the table has no row of it", Remedy: "nothing: a daemon makes the row"}
	if len(s.Parents) == 0 || s.Start == "" {
		return f
	}
	f.Remedy = "make the row, at the shard's beginning, so that vmware-go-kcl-v2 begins there too and not at its own initial position"
	f.Can, f.change = true, checkpoint.Change{Op: checkpoint.Create, Shard: s.ID, Parent: s.Parents[0], Commit: s.Start}
	return f
}

// treat makes the repairs of a report, once that is agreed to.
func (d *doctor) treat(ctx context.Context, r *doctorReport) error {
	can := 0
	for _, f := range r.Findings {
		if f.Can {
			can++
		}
	}
	if can == 0 {
		return nil
	}
	if !d.agreed(fmt.Sprintf("make %d repairs in %s?", can, d.table)) {
		fmt.Fprintln(d.messages, "nothing was changed: give --yes to make the repairs")
		return nil
	}
	healed := map[string]bool{}
	for i := range r.Findings {
		f := &r.Findings[i]
		if !f.Can {
			continue
		}
		if key := f.Shard + "/" + f.change.Op.String(); healed[key] {
			f.Repaired = true // by the same write, for another reason
			continue
		}
		err := d.leases.Apply(ctx, f.change)
		if _, refused := errors.AsType[*checkpoint.Refused](err); refused {
			f.Error = "left alone, since the row is no longer as it was seen"
			continue
		}
		if err != nil {
			return d.failed(fmt.Errorf("repair the row of %s: %w", f.Shard, err))
		}
		f.Repaired = true
		healed[f.Shard+"/"+f.change.Op.String()] = true
	}
	return nil
}
