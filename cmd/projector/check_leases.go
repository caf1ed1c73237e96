package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/config"
	"penstock/diagnosis"
	"penstock/projector"
	"penstock/stream"
	"penstock/view"
)

// foreignLeases holds the rows of the lease table against the stream's shards. All streams name their shards alike, so
// rows of another stream often fit by name; they show by shards that this one never had, by positions that lie before a
// shard begins, since sequence numbers grow with time, or by an end of a shard that has none.
func foreignLeases(table string, rows []checkpoint.Row, shards []stream.Shard) diagnosis.Finding {
	f := diagnosis.Finding{System: "dynamodb", Item: "leases", Name: table, Level: diagnosis.OK}
	starts := map[string]checkpoint.Sequence{}
	open := map[string]bool{}
	for _, s := range shards {
		starts[s.ID] = s.Start
	}
	for _, s := range openShards(shards) {
		open[s.ID] = true
	}
	var unlisted, unfinished, before, over []string
	for _, r := range rows {
		start, listed := starts[r.Shard]
		switch {
		case listed && r.Finished():
			if open[r.Shard] {
				over = append(over, r.Shard)
			}
		case listed && r.Position() != "" && r.Position().Compare(start) < 0:
			before = append(before, r.Shard)
		case !listed:
			unlisted = append(unlisted, r.Shard)
			if !r.Finished() {
				unfinished = append(unfinished, r.Shard)
			}
		}
	}
	const other = "choose another application name, or correct kinesis.stream"
	switch {
	case len(rows) == 0:
		f.Found = "there are none yet"
	case len(before) > 0:
		f.Level, f.Do = diagnosis.Refused, other
		f.Found = fmt.Sprintf("hold positions from before their shards began, so they are of another stream or an earlier one of this name: %s", some(before))
	case len(over) > 0: // nobody would ever read them
		f.Level, f.Do = diagnosis.Refused, other
		f.Found = fmt.Sprintf("say of shards that still take records that they are read to the end, so they are of another stream or an earlier one of this name: %s", some(over))
	case len(unlisted) == len(rows):
		f.Level, f.Do = diagnosis.Refused, other
		f.Found = fmt.Sprintf("none of %d is of a shard that the stream has, so they are of another stream: %s", len(rows), some(unlisted))
	case len(unfinished) > 0:
		f.Level = diagnosis.Warn
		f.Found = fmt.Sprintf("%d of %d are of shards that the stream does not list, and not read to the end: %s", len(unfinished), len(rows), some(unfinished))
		f.Do = "find out whether another application uses this table, or whether these shards expired before they were read"
	default:
		f.Found = fmt.Sprintf("%d, all of this stream", len(rows))
	}
	return f
}

// sameStream says whether the stream is the one that the fleet noted; told is false if it could not be described, or if
// there are no leases yet, with which the note begins.
func sameStream(leases leaseTables, described stream.Description) (f diagnosis.Finding, told bool) {
	if described.ARN == "" || len(leases.rows) == 0 {
		return f, false
	}
	f = diagnosis.Finding{System: "kinesis", Item: "identity", Name: leases.name, Level: diagnosis.OK, Found: "the leases are of this very stream"}
	if !leases.known {
		f.Level = diagnosis.Warn
		f.Found = "the leases do not say of which stream they are, so one that was deleted and created anew would not be recognised"
		f.Do = "start a daemon, which notes it, once you know that this stream is the one they are of"
	} else if err := projector.SameStream(leases.noted, described); err != nil {
		f.Level, f.Found = diagnosis.Refused, err.Error()
		f.Do = "see docs/operating.md, \"A stream that was created anew\""
	}
	return f, true
}

// some shows a few of many names.
func some(names []string) string {
	const shown = 3
	slices.Sort(names)
	if len(names) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
	}
	return strings.Join(names, ", ")
}

// otherReaders returns the other roles of the application that read the stream at present: archive, and the generations
// next to the checked one. They are known by the signs of life in the state table that all roles share.
func otherReaders(ctx context.Context, state *leasetable.State, conf *config.Config) ([]string, error) {
	generation := conf.View.Generation
	roles := map[string]string{"archive": "archive"}
	for _, g := range []int{generation - 1, generation + 1} {
		if g > 0 {
			roles[fmt.Sprintf("generation %d", g)] = projector.Role(view.Generation(g))
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		workers, err := projector.Workers(ctx, state, roles[name], time.Now())
		if err != nil {
			return nil, err
		}
		if len(workers) > 0 {
			out = append(out, name)
		}
	}
	return out, nil
}

// What Kinesis grants the readers of one shard together, unless they use fan-out
// (https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html).
const (
	callsPerShard     = 5
	megabytesPerShard = 2
)

// readBudget says what there is to read with, and who is known to share it. Readers outside this application are not
// known of: they show only as throttled calls.
func readBudget(name, reader string, shards []stream.Shard, others []string) diagnosis.Finding {
	f := diagnosis.Finding{System: "kinesis", Item: "read_budget", Name: name, Level: diagnosis.OK}
	if reader == config.ReaderFanOut {
		f.Found = fmt.Sprintf("%d open shards, each with %d MB a second for this consumer alone", len(openShards(shards)), megabytesPerShard)
		return f
	}
	f.Found = fmt.Sprintf("%d open shards, each with %d calls and %d MB a second for all its readers without fan-out",
		len(openShards(shards)), callsPerShard, megabytesPerShard)
	if len(others) > 0 {
		f.Level = diagnosis.Warn
		f.Found += "; this application's " + strings.Join(others, ", ") + " read too at present"
		f.Do = fmt.Sprintf("expect to catch up at %d MB a second and shard divided by %d", megabytesPerShard, len(others)+1)
	}
	return f
}

// openShards returns the shards that take records: those that are nobody's parent.
func openShards(shards []stream.Shard) []stream.Shard {
	parents := map[string]bool{}
	for _, s := range shards {
		for _, p := range s.Parents {
			parents[p] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(shards), func(s stream.Shard) bool { return parents[s.ID] })
}
