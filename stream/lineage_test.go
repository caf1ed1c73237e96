package stream

import (
	"fmt"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// ringShard is a shard of the ring's part from part/parts to before (part+1)/parts.
func ringShard(id string, part, parts int64, parents ...string) Shard {
	at := func(part int64) *big.Int {
		ring := new(big.Int).Lsh(big.NewInt(1), 128)
		return ring.Div(ring.Mul(ring, big.NewInt(part)), big.NewInt(parts))
	}
	s := Shard{ID: id, Parents: parents, Start: "1"}
	at(part).FillBytes(s.Hashes.From[:])
	last := at(part + 1)
	last.Sub(last, big.NewInt(1)).FillBytes(s.Hashes.To[:])
	return s
}

func ids(shards []Shard) (out []string) {
	for _, s := range shards {
		out = append(out, s.ID)
	}
	return out
}

func TestAShardIsGoneOnlyAfterSeveralListings(t *testing.T) {
	a, b := ringShard("a", 0, 2), ringShard("b", 1, 2)
	var l Lineage
	l.See([]Shard{a, b}, nil, nil)
	for i := 1; i < goneAfter; i++ {
		if gone := l.See([]Shard{b}, nil, nil); len(gone) > 0 || !slices.Equal(ids(l.Shards()), []string{"a", "b"}) {
			t.Fatalf("after %d listings without it: gone %v, there are %v", i, gone, ids(l.Shards()))
		}
	}
	l.See([]Shard{b, a}, nil, nil) // it was there all the time
	for i := range goneAfter {
		gone := l.See([]Shard{b}, nil, nil)
		if last := i == goneAfter-1; last != slices.Equal(ids(gone), []string{"a"}) || last != slices.Equal(ids(l.Shards()), []string{"b"}) {
			t.Errorf("after %d listings without it: gone %v, there are %v", i+1, ids(gone), ids(l.Shards()))
		}
	}
	if gone := l.See([]Shard{b}, nil, nil); len(gone) > 0 {
		t.Errorf("%v is gone twice", ids(gone))
	}
}

// A parent that no listing has shown yet is waited for, for as many listings as one that was listed and no longer; but not
// one that nobody began to read where its child is being read.
func TestAParentThatWasBegunIsMissed(t *testing.T) {
	child := ringShard("child", 0, 1, "parent", "expired")
	parent := map[string]bool{"parent": true}
	for name, c := range map[string]struct {
		begun, read map[string]bool
		missing     []string
		gone        []string // of these, what is told
	}{
		"of two, one was begun":                {parent, map[string]bool{"child": true}, []string{"parent"}, []string{"parent"}},
		"one was begun, the child was not":     {parent, nil, []string{"expired", "parent"}, []string{"parent"}},
		"nothing is known to have been begun":  {nil, nil, []string{"expired", "parent"}, nil},
		"the child was begun, neither of both": {nil, map[string]bool{"child": true}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var l Lineage
			see := func(missing, gone []string) {
				t.Helper()
				if got := ids(l.See([]Shard{child}, c.begun, c.read)); !slices.Equal(got, gone) {
					t.Errorf("gone are %v, not %v", got, gone)
				}
				if got := l.Missing(); !slices.Equal(got, missing) || !slices.Equal(ids(l.Shards()), []string{"child"}) {
					t.Errorf("missing are %v, not %v, and there are %v", got, missing, ids(l.Shards()))
				}
				if holes := l.Holes(nil); len(holes) > 0 {
					t.Errorf("holes %v", holes)
				}
			}
			for range goneAfter - 1 {
				see(c.missing, nil)
			}
			see(nil, c.gone)
			for range 2 * goneAfter { // for good, although a row stays
				see(nil, nil)
			}
		})
	}
	var l Lineage
	l.See([]Shard{child}, parent, map[string]bool{"child": true})
	late := ringShard("parent", 0, 1)
	if gone := l.See([]Shard{child, late}, parent, nil); slices.Contains(ids(gone), "parent") || slices.Contains(l.Missing(), "parent") || l.Shards()[1].Hashes != late.Hashes {
		t.Errorf("once it is listed: gone %v, missing %v, %+v", ids(gone), l.Missing(), l.Shards())
	}
}

func TestHoles(t *testing.T) {
	parent := ringShard("parent", 0, 1)
	left, right := ringShard("left", 0, 2, "parent"), ringShard("right", 1, 2, "parent")
	merged := ringShard("merged", 0, 1, "left", "right")
	unknown := Shard{ID: "unknown"}
	for name, c := range map[string]struct {
		shards   []Shard
		finished []string
		want     []HashRange
	}{
		"one open shard":                         {shards: []Shard{parent}},
		"an open shard that is called finished":  {shards: []Shard{parent}, finished: []string{"parent"}, want: []HashRange{parent.Hashes}},
		"a split":                                {shards: []Shard{parent, left, right}, finished: []string{"parent"}},
		"a split whose parent is still read":     {shards: []Shard{parent, left, right}},
		"a split of which a child is not listed": {shards: []Shard{parent, left}, want: []HashRange{right.Hashes}},
		"the first child is not listed":          {shards: []Shard{parent, right}, want: []HashRange{left.Hashes}},
		"a merge":                                {shards: []Shard{left, right, merged}, finished: []string{"left", "right"}},
		"a merge that is not listed":             {shards: []Shard{left, right}, finished: []string{"left", "right"}, want: []HashRange{parent.Hashes}},
		"one of two is called finished":          {shards: []Shard{left, right}, finished: []string{"right"}, want: []HashRange{right.Hashes}},
		"a shard without a range":                {shards: []Shard{left, unknown}},
		"nothing":                                {want: []HashRange{parent.Hashes}},
	} {
		t.Run(name, func(t *testing.T) {
			var l Lineage
			l.See(c.shards, nil, nil)
			finished := map[string]bool{}
			for _, id := range c.finished {
				finished[id] = true
			}
			if got := l.Holes(finished); !slices.Equal(got, c.want) {
				t.Errorf("holes are %v, not %v", got, c.want)
			}
		})
	}
}

// Whatever shards cover of a ring cut into parts, the holes are the parts that none has.
func TestHolesAreWhatNoShardHas(t *testing.T) {
	const parts = 16
	rapid.Check(t, func(t *rapid.T) {
		var l Lineage
		var listing []Shard
		var has [parts]bool
		for i := range rapid.IntRange(0, 8).Draw(t, "shards") {
			from := rapid.IntRange(0, parts-1).Draw(t, "from")
			to := rapid.IntRange(from, parts-1).Draw(t, "to")
			s := ringShard(fmt.Sprint(i), int64(from), parts)
			s.Hashes.To = ringShard("", int64(to), parts).Hashes.To
			listing = append(listing, s)
			for p := from; p <= to; p++ {
				has[p] = true
			}
		}
		l.See(listing, nil, nil)
		holes := l.Holes(nil)
		missing := 0
		for p, covered := range has {
			one := ringShard("", int64(p), parts).Hashes
			in := slices.ContainsFunc(holes, func(h HashRange) bool { return h.holds(one.From) && h.holds(one.To) })
			if in == covered {
				t.Fatalf("part %d is in a hole: %v; covered: %v", p, in, covered)
			}
			if !covered {
				missing++
			}
		}
		if got, want := Coverage(holes), 1-float64(missing)/parts; got != want {
			t.Fatalf("coverage is %v, not %v", got, want)
		}
	})
}
