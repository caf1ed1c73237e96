package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/checkpoint"
)

// Backend is a store under test.
type Backend interface {
	checkpoint.Store
	// Plant puts a row as it is, without a condition, with its empty and wrong attributes. Of the latter the type does
	// not matter as long as it is not text.
	Plant(ctx context.Context, row checkpoint.Row) error
}

const (
	shard  = "shardId-000000000007"
	parent = "shardId-000000000003"
	low    = checkpoint.Sequence("49590338271490256608559692538361571095921575989136588898")
	high   = checkpoint.Sequence("49590338271490256608559692540925702759324208523137515618")
	longer = checkpoint.Sequence("149590338271490256608559692540925702759324208523137515618")
)

// Run holds a store to the contract. newStore returns an empty store; the suite asks for one per case.
func Run(t *testing.T, newStore func(*testing.T) Backend) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			if c.row.Shard != "" {
				if err := s.Plant(t.Context(), c.row); err != nil {
					t.Fatal(err)
				}
			}
			err := s.Apply(t.Context(), c.change)
			want := c.want
			if want.Shard == "" {
				want = c.row
				refusal, ok := errors.AsType[*checkpoint.Refused](err)
				if !ok {
					t.Fatalf("got %v, want a refusal", err)
				}
				if diff := cmp.Diff(&checkpoint.Refused{Op: c.change.Op, Current: c.row}, refusal); diff != "" {
					t.Error("refusal:", diff)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if want == gone {
				want = checkpoint.Row{}
			}
			if diff := cmp.Diff(want, theRow(t, s)); diff != "" {
				t.Error("row:", diff)
			}
		})
	}
	t.Run("rows of a table of many pages are all read", func(t *testing.T) { manyRows(t, newStore(t)) })
	t.Run("a call whose context has ended returns an error that is no refusal", func(t *testing.T) { ended(t, newStore(t)) })
	t.Run("of two takings of one row one succeeds", func(t *testing.T) { race(t, newStore(t)) })
	t.Run("any sequence of changes leaves what the model says", func(t *testing.T) { model(t, newStore(t)) })
}

func theRow(t *testing.T, s checkpoint.Store) checkpoint.Row {
	t.Helper()
	rows, err := s.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	switch len(rows) {
	case 0:
		return checkpoint.Row{}
	case 1:
		return rows[0]
	}
	t.Fatalf("%d rows in a table of one", len(rows))
	return checkpoint.Row{}
}

// Timeouts of four writes.
var (
	end = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	t1  = checkpoint.Timeout("a", end, 11)
	t2  = checkpoint.Timeout("a", end, 22)
	t3  = checkpoint.Timeout("b", end, 33)
)

var (
	held    = checkpoint.Row{Shard: shard, Owner: "a", Timeout: t1, Checkpoint: low, Parent: parent, Claim: "c"}
	free    = checkpoint.Row{Shard: shard, Timeout: t1, Checkpoint: low, Parent: parent, Claim: "c"}
	done    = checkpoint.Row{Shard: shard, Timeout: t1, Checkpoint: checkpoint.ShardEnd, Parent: parent}
	reopen  = checkpoint.Row{Shard: shard, Owner: "a", Timeout: t1, Checkpoint: checkpoint.ShardEnd}
	asA     = checkpoint.Pair{Owner: "a", Timeout: t1}
	asAnext = checkpoint.Pair{Owner: "a", Timeout: t2}
	asB     = checkpoint.Pair{Owner: "b", Timeout: t3}
)

func acquire(seen checkpoint.Row) checkpoint.Change {
	return checkpoint.Change{Op: checkpoint.Acquire, Shard: shard, Seen: seen, Next: asB}
}

func renew(commit checkpoint.Sequence) checkpoint.Change {
	return checkpoint.Change{Op: checkpoint.Renew, Shard: shard, Held: asA, Next: asAnext, Commit: commit}
}

func release(commit checkpoint.Sequence) checkpoint.Change {
	return checkpoint.Change{Op: checkpoint.Release, Shard: shard, Held: asA, Commit: commit}
}

// with returns a changed copy of a row.
func with(row checkpoint.Row, change func(*checkpoint.Row)) checkpoint.Row {
	change(&row)
	return row
}

func at(s checkpoint.Sequence) func(*checkpoint.Row) {
	return func(r *checkpoint.Row) { r.Checkpoint = s }
}

func ownedByB(row checkpoint.Row) checkpoint.Row {
	return with(row, func(r *checkpoint.Row) {
		r.Owner, r.Timeout = "b", t3
		r.Empty &^= checkpoint.OwnerAttribute | checkpoint.TimeoutAttribute
		r.Wrong &^= checkpoint.OwnerAttribute | checkpoint.TimeoutAttribute
	})
}

func renewed(row checkpoint.Row) checkpoint.Row {
	return with(row, func(r *checkpoint.Row) { r.Timeout = t2 })
}

// A case is one change of one row. Without a want the change is refused, shows the row, and leaves it as it is.
type suiteCase struct {
	name   string
	row    checkpoint.Row
	change checkpoint.Change
	want   checkpoint.Row
}

// gone is the want of a change that removes the row.
var gone = checkpoint.Row{Shard: "gone"}

var cases = slices.Concat(createCases, acquireCases, wedgeCases, renewCases, releaseCases, seekCases, healCases, deleteCases)

var createCases = []suiteCase{
	{"create makes a row", checkpoint.Row{},
		checkpoint.Change{Op: checkpoint.Create, Shard: shard, Parent: parent}, checkpoint.Row{Shard: shard, Parent: parent}},
	{"create of a shard without parent makes a row", checkpoint.Row{},
		checkpoint.Change{Op: checkpoint.Create, Shard: shard}, checkpoint.Row{Shard: shard}},
	{"create makes a row with a position", checkpoint.Row{},
		checkpoint.Change{Op: checkpoint.Create, Shard: shard, Commit: low}, checkpoint.Row{Shard: shard, Checkpoint: low}},
	{"create leaves a row that is there", held,
		checkpoint.Change{Op: checkpoint.Create, Shard: shard, Parent: parent}, checkpoint.Row{}},
}

var acquireCases = []suiteCase{
	{"acquire takes a new row", checkpoint.Row{Shard: shard}, acquire(checkpoint.Row{Shard: shard}), checkpoint.Row{Shard: shard, Owner: "b", Timeout: t3}},
	{"acquire takes a free row and leaves checkpoint, parent and claim", free, acquire(free), ownedByB(free)},
	{"acquire takes a free row though its timeout is another", free,
		acquire(with(free, func(r *checkpoint.Row) { r.Timeout = t2 })), ownedByB(free)},
	{"acquire of a free row is refused when its position is another", free, acquire(with(free, at(high))), checkpoint.Row{}},
	{"acquire of a free row is refused when it has a position by now", free, acquire(with(free, at(""))), checkpoint.Row{}},
	{"acquire takes a row that is as it was seen", held, acquire(held), ownedByB(held)},
	{"acquire is refused when the checkpoint moved", with(held, at(high)), acquire(held), checkpoint.Row{}},
	{"acquire removes its own claim", with(held, func(r *checkpoint.Row) { r.Claim = "b" }),
		acquire(with(held, func(r *checkpoint.Row) { r.Claim = "b" })), ownedByB(with(held, func(r *checkpoint.Row) { r.Claim = "" }))},
	{"acquire notes the parent where there is none", checkpoint.Row{Shard: shard},
		with2(acquire(checkpoint.Row{Shard: shard}), func(c *checkpoint.Change) { c.Parent = parent }),
		checkpoint.Row{Shard: shard, Parent: parent, Owner: "b", Timeout: t3}},
	{"acquire is refused when the owner renewed", renewed(held), acquire(held), checkpoint.Row{}},
	{"acquire is refused when another owner came", with(held, func(r *checkpoint.Row) { r.Owner = "c" }), acquire(held), checkpoint.Row{}},
	{"acquire is refused when the row was freed", free, acquire(held), checkpoint.Row{}},
	{"acquire of a free row is refused when it was taken", held, acquire(free), checkpoint.Row{}},
	{"acquire is refused when the shard is finished", done, acquire(free), checkpoint.Row{}},
	{"acquire is refused when the shard is finished and owned", reopen, acquire(reopen), checkpoint.Row{}},
	{"acquire does not make a row", checkpoint.Row{}, acquire(checkpoint.Row{Shard: shard}), checkpoint.Row{}},
}

func with2(c checkpoint.Change, change func(*checkpoint.Change)) checkpoint.Change {
	change(&c)
	return c
}

var wedgeCases = []suiteCase{
	heals("an owner without a timeout", checkpoint.Row{Shard: shard, Owner: "a", Checkpoint: low}, nil),
	heals("an empty owner", checkpoint.Row{Shard: shard, Timeout: t1, Empty: checkpoint.OwnerAttribute}, nil),
	heals("an empty owner without a timeout", checkpoint.Row{Shard: shard, Empty: checkpoint.OwnerAttribute}, nil),
	heals("an empty timeout", checkpoint.Row{Shard: shard, Owner: "a", Empty: checkpoint.TimeoutAttribute}, nil),
	heals("an unparsable timeout", checkpoint.Row{Shard: shard, Owner: "a", Timeout: "tomorrow"}, nil),
	heals("a timeout in another spelling", checkpoint.Row{Shard: shard, Owner: "a", Timeout: "2026-11-23T10:00:00.000+00:00"}, nil),
	heals("an owner of another type", checkpoint.Row{Shard: shard, Timeout: t1, Wrong: checkpoint.OwnerAttribute}, nil),
	heals("a timeout of another type", checkpoint.Row{Shard: shard, Owner: "a", Wrong: checkpoint.TimeoutAttribute}, nil),
	heals("an empty checkpoint", checkpoint.Row{Shard: shard, Empty: checkpoint.CheckpointAttribute}, nil),
	heals("a checkpoint of another type", checkpoint.Row{Shard: shard, Owner: "a", Timeout: t1, Wrong: checkpoint.CheckpointAttribute},
		func(r *checkpoint.Row) { r.Wrong = 0 }),
	heals("a checkpoint that is no position", checkpoint.Row{Shard: shard, Checkpoint: "LATEST"}, at("")),
	heals("a parent and a claim of another type", checkpoint.Row{Shard: shard, Wrong: checkpoint.ParentAttribute | checkpoint.ClaimAttribute},
		func(r *checkpoint.Row) { r.Wrong = 0 }),
	{"acquire leaves a checkpoint that has become sound", checkpoint.Row{Shard: shard, Checkpoint: low},
		acquire(checkpoint.Row{Shard: shard, Wrong: checkpoint.CheckpointAttribute}), checkpoint.Row{}},
	{"acquire is refused when a checkpoint of another type became an empty one",
		checkpoint.Row{Shard: shard, Owner: "a", Timeout: t1, Empty: checkpoint.CheckpointAttribute, Wrong: checkpoint.ClaimAttribute},
		acquire(checkpoint.Row{Shard: shard, Owner: "a", Timeout: t1, Wrong: checkpoint.CheckpointAttribute | checkpoint.ClaimAttribute}), checkpoint.Row{}},
	{"acquire of an owner of another type is refused when there is a sound one", held,
		acquire(checkpoint.Row{Shard: shard, Timeout: t1, Wrong: checkpoint.OwnerAttribute}), checkpoint.Row{}},
}

// heals is a row that its writers cannot leave by themselves, which a taking makes sound.
func heals(name string, row checkpoint.Row, change func(*checkpoint.Row)) suiteCase {
	want := ownedByB(row)
	if change != nil {
		change(&want)
	}
	return suiteCase{"acquire heals " + name, row, acquire(row), want}
}

var renewCases = []suiteCase{
	{"renew writes the next timeout and nothing else", held, renew(""), renewed(held)},
	{"renew commits", held, renew(high), renewed(with(held, at(high)))},
	{"renew commits a longer number over a shorter", with(held, at(high)), renew(longer), renewed(with(held, at(longer)))},
	{"renew commits where there was none", with(held, at("")), renew(low), renewed(held)},
	{"renew commits over an empty checkpoint", with(held, func(r *checkpoint.Row) { r.Checkpoint, r.Empty = "", checkpoint.CheckpointAttribute }),
		renew(low), renewed(held)},
	{"renew commits what is committed already", held, renew(low), renewed(held)},
	{"renew is refused when it would go back", with(held, at(high)), renew(low), checkpoint.Row{}},
	{"renew is refused when it would go back to a shorter number", with(held, at(longer)), renew(high), checkpoint.Row{}},
	{"renew is refused for an old pair", renewed(held), renew(""), checkpoint.Row{}},
	{"renew is refused for another owner", with(held, func(r *checkpoint.Row) { r.Owner = "b" }), renew(high), checkpoint.Row{}},
	{"renew is refused after a release", free, renew(high), checkpoint.Row{}},
	{"renew is refused when the shard is finished", reopen, renew(""), checkpoint.Row{}},
	{"renew with a commit is refused when the shard is finished", reopen, renew(high), checkpoint.Row{}},
	{"renew does not make a row", checkpoint.Row{}, renew(high), checkpoint.Row{}},
}

var releaseCases = []suiteCase{
	{"release removes the owner and leaves the rest", held, release(""), free},
	{"release commits", held, release(high), with(free, at(high))},
	{"release is refused when it would go back", with(held, at(high)), release(low), checkpoint.Row{}},
	{"release is refused for an old pair", renewed(held), release(high), checkpoint.Row{}},
	{"release is refused after a release", free, release(high), checkpoint.Row{}},
	{"finish ends the shard", held, checkpoint.Change{Op: checkpoint.Finish, Shard: shard, Held: asA}, with(free, at(checkpoint.ShardEnd))},
	{"finish is refused for an old pair", renewed(held), checkpoint.Change{Op: checkpoint.Finish, Shard: shard, Held: asA}, checkpoint.Row{}},
	{"finish is refused when the shard is finished", reopen, checkpoint.Change{Op: checkpoint.Finish, Shard: shard, Held: asA}, checkpoint.Row{}},
}
