package storetest

import "penstock/checkpoint"

// The changes that operators make.

func seek(seen checkpoint.Row, to checkpoint.Sequence) checkpoint.Change {
	return checkpoint.Change{Op: checkpoint.Seek, Shard: shard, Seen: seen, Commit: to}
}

func reopened(seen checkpoint.Row, to checkpoint.Sequence) checkpoint.Change {
	return checkpoint.Change{Op: checkpoint.Reopen, Shard: shard, Seen: seen, Commit: to}
}

func heal(seen checkpoint.Row) checkpoint.Change {
	return checkpoint.Change{Op: checkpoint.Heal, Shard: shard, Seen: seen}
}

func remove(seen checkpoint.Row) checkpoint.Change {
	return checkpoint.Change{Op: checkpoint.Delete, Shard: shard, Seen: seen}
}

var seekCases = []suiteCase{
	{name: "seek goes back and removes the owner", row: with(held, at(high)), change: seek(with(held, at(high)), low), want: free},
	{name: "seek goes back to a shorter number", row: with(held, at(longer)), change: seek(with(held, at(longer)), low), want: free},
	{name: "seek goes forward", row: held, change: seek(held, high), want: with(free, at(high))},
	{name: "seek of a free row", row: with(free, at(high)), change: seek(with(free, at(high)), low), want: free},
	{name: "seek where there was no position", row: checkpoint.Row{Shard: shard}, change: seek(checkpoint.Row{Shard: shard}, low),
		want: checkpoint.Row{Shard: shard, Checkpoint: low}},
	{name: "seek over an owner and a position of another type",
		row:    checkpoint.Row{Shard: shard, Timeout: t1, Wrong: checkpoint.OwnerAttribute | checkpoint.CheckpointAttribute},
		change: seek(checkpoint.Row{Shard: shard, Timeout: t1, Wrong: checkpoint.OwnerAttribute | checkpoint.CheckpointAttribute}, low),
		want:   checkpoint.Row{Shard: shard, Timeout: t1, Checkpoint: low}},
	{name: "seek is refused when the owner renewed", row: renewed(held), change: seek(held, high)},
	{name: "seek is refused when the row was freed", row: free, change: seek(held, high)},
	{name: "seek is refused when the row was taken", row: held, change: seek(free, high)},
	{name: "seek is refused when the checkpoint moved", row: with(held, at(high)), change: seek(held, low)},
	{name: "seek of a free row is refused when it was used since", row: with(free, func(r *checkpoint.Row) { r.Timeout = t2 }), change: seek(free, high)},
	{name: "seek is refused when the shard is finished", row: done, change: seek(done, low)},
	{name: "seek does not make a row", change: seek(checkpoint.Row{Shard: shard}, low)},
	{name: "reopen gives a finished shard a position", row: done, change: reopened(done, low), want: with(done, at(low))},
	{name: "reopen frees a finished shard that is owned", row: reopen, change: reopened(reopen, low), want: checkpoint.Row{Shard: shard, Timeout: t1, Checkpoint: low}},
	{name: "reopen is refused when the shard is not finished", row: held, change: reopened(held, low)},
	{name: "reopen is refused when the row was taken", row: reopen, change: reopened(with(reopen, func(r *checkpoint.Row) { r.Owner = "" }), low)},
	{name: "reopen does not make a row", change: reopened(done, low)},
}

var healCases = []suiteCase{
	healed("an owner without a timeout", checkpoint.Row{Shard: shard, Owner: "a", Checkpoint: low, Parent: parent, Claim: "c"},
		checkpoint.Row{Shard: shard, Checkpoint: low, Parent: parent, Claim: "c"}),
	healed("an empty owner", checkpoint.Row{Shard: shard, Timeout: t1, Empty: checkpoint.OwnerAttribute}, checkpoint.Row{Shard: shard, Timeout: t1}),
	healed("an unparsable timeout", checkpoint.Row{Shard: shard, Owner: "a", Timeout: "tomorrow", Checkpoint: low}, checkpoint.Row{Shard: shard, Checkpoint: low}),
	healed("everything empty", checkpoint.Row{Shard: shard, Empty: all}, checkpoint.Row{Shard: shard}),
	healed("everything of another type", checkpoint.Row{Shard: shard, Wrong: all}, checkpoint.Row{Shard: shard}),
	healed("a position that is none", checkpoint.Row{Shard: shard, Checkpoint: "LATEST"}, checkpoint.Row{Shard: shard}),
	healed("a finished row with an empty owner", checkpoint.Row{Shard: shard, Timeout: t1, Checkpoint: checkpoint.ShardEnd, Empty: checkpoint.OwnerAttribute},
		checkpoint.Row{Shard: shard, Timeout: t1, Checkpoint: checkpoint.ShardEnd}),
	{name: "heal is refused when the row changed", row: renewed(held), change: heal(held)},
	{name: "heal is refused when the claim changed", row: with(held, func(r *checkpoint.Row) { r.Claim = "d" }), change: heal(held)},
	{name: "heal is refused when an empty owner is gone", row: checkpoint.Row{Shard: shard},
		change: heal(checkpoint.Row{Shard: shard, Empty: checkpoint.OwnerAttribute})},
	{name: "heal is refused when what was of another type is text", row: held,
		change: heal(with(held, func(r *checkpoint.Row) { r.Owner, r.Wrong = "", checkpoint.OwnerAttribute }))},
	{name: "heal does not make a row", change: heal(checkpoint.Row{Shard: shard})},
}

const all = checkpoint.OwnerAttribute | checkpoint.TimeoutAttribute | checkpoint.CheckpointAttribute | checkpoint.ParentAttribute | checkpoint.ClaimAttribute

func healed(name string, row, want checkpoint.Row) suiteCase {
	return suiteCase{name: "heal repairs " + name, row: row, change: heal(row), want: want}
}

var deleteCases = []suiteCase{
	{name: "delete removes a row", row: done, change: remove(done), want: gone},
	{name: "delete removes a row of which nothing can be read", row: checkpoint.Row{Shard: shard, Wrong: all},
		change: remove(checkpoint.Row{Shard: shard, Wrong: all}), want: gone},
	{name: "delete is refused when the row changed", row: with(done, at(low)), change: remove(done)},
	{name: "delete is refused when the row was taken", row: held, change: remove(free)},
	{name: "delete is refused when there is no row", change: remove(checkpoint.Row{Shard: shard})},
}
