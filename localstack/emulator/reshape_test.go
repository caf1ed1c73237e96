package emulator

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBoundsShareTheHashKeysEvenly(t *testing.T) {
	beyond := uint192{0, 0, 1}
	for _, n := range []int{1, 2, 3, 5, 7, 64, 1000, 9999, 10_000} {
		width, _ := beyond.dividedBy(uint64(n))
		for k := range n {
			from, to := bound(k, n), bound(k+1, n)
			if wide := from.plus(width); to != wide && to != wide.plus(uint192{1}) {
				t.Fatalf("part %d of %d is from %s to %s, not %s wide", k, n, from, to, width)
			}
			if from != bound(2*k, 2*n) {
				t.Fatalf("part %d of %d begins at %s and not where %d of %d does", k, n, from, 2*k, 2*n)
			}
		}
		if bound(0, n) != (uint192{}) || bound(n, n) != beyond {
			t.Errorf("%d parts are from %s to %s", n, bound(0, n), bound(n, n))
		}
	}
}

func TestReshapesOneByOne(t *testing.T) {
	key := func(k uint64) uint192 { return uint192{k} }
	last := uint192{0, 0, 1}.decrement()
	for _, c := range []struct {
		name   string
		change func(*reshape)
		starts []uint192 // of the open shards
		shards int       // all there have been
		epoch  uint64    // of the last of them
	}{
		{"nothing", func(*reshape) {}, []uint192{{}, bound(1, 2)}, 2, 10},
		{"split low", func(r *reshape) { r.split(0, key(1)) }, []uint192{{}, key(1), bound(1, 2)}, 4, 20},
		{"split high", func(r *reshape) { r.split(1, last) }, []uint192{{}, bound(1, 2), last}, 4, 20},
		{"split a child", func(r *reshape) { r.split(0, key(5)); r.split(0, key(3)) }, []uint192{{}, key(3), key(5), bound(1, 2)}, 6, 21},
		{"merge", func(r *reshape) { r.merge(0) }, []uint192{{}}, 3, 20},
		{"split and merge", func(r *reshape) { r.split(0, key(5)); r.merge(1) }, []uint192{{}, key(5)}, 5, 21},
		{"merge and split", func(r *reshape) { r.merge(0); r.split(0, key(5)) }, []uint192{{}, key(5)}, 5, 21},
		{"spread 2 to 2", func(r *reshape) { r.spread(2) }, []uint192{{}, bound(1, 2)}, 2, 10},
		{"spread 2 to 3", func(r *reshape) { r.spread(3) }, []uint192{{}, bound(1, 3), bound(2, 3)}, 7, 21},
		{"spread 2 to 1", func(r *reshape) { r.spread(1) }, []uint192{{}}, 3, 20},
		{"spread what is uneven", func(r *reshape) { r.split(0, key(5)); r.spread(2) }, []uint192{{}, bound(1, 2)}, 5, 21},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.UnixMilli(20_000)
			r := &reshape{now: now, epoch: 20, shards: divide(2, 10, now)}
			r.open = slices.Clone(r.shards)
			c.change(r)
			if len(r.open) != len(c.starts) || len(r.shards) != c.shards || r.shards[len(r.shards)-1].epoch != c.epoch {
				t.Fatalf("%d open of %d shards, the last of epoch %d", len(r.open), len(r.shards), r.shards[len(r.shards)-1].epoch)
			}
			for i, sh := range r.open {
				if sh.from != c.starts[i] {
					t.Errorf("open shard %d begins at %s, want %s", i, sh.from, c.starts[i])
				}
			}
			checkLineage(t, r)
		})
	}
}

// A record that was on its way to a shard when that closed goes to the shard that has its hash key since, past any that closed too.
func TestARecordFollowsItsHashKeyIntoTheChildren(t *testing.T) {
	s := New(Config{})
	if err := s.add("s", &state{retention: time.Hour, maxRecord: minRecordKiB << 10}, 1); err != nil {
		t.Fatal(err)
	}
	st := s.streams["s"]
	var puts []put
	for _, key := range []string{`"a"`, `"b"`, `"c"`, `"d"`, `"e"`, `"f"`} {
		puts = append(puts, put{key: []byte(key), data: []byte(`"eA=="`)}, put{key: []byte(key), data: []byte(`"eA=="`), hash: []byte(`"7"`)})
	}
	if err := st.prepare(puts); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{3, 5, 2} {
		if err := s.Scale("s", n); err != nil {
			t.Fatal(err)
		}
	}
	taken := map[string]int{}
	for i := range puts {
		p := &puts[i]
		hash, err := p.route(p.bytes[:p.keyLen])
		if err != nil {
			t.Fatal(err)
		}
		want := st.route(st.current.Load(), hash)
		if _, refused := s.store(st, p, time.Now()); refused != nil || p.shard != want || want.next != uint64(taken[want.id])+2 {
			t.Errorf("record %d went to %s, want %s: %v", i, p.shard.id, want.id, refused)
		}
		taken[want.id]++
	}
	if len(taken) != 2 {
		t.Errorf("records went to %v, so the test has not shown much", taken)
	}
}

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkLineage holds all shards of a layout against what any reshape must leave.
func checkLineage(t fataler, r *reshape) {
	t.Helper()
	next := uint192{}
	for _, sh := range r.open {
		if sh.from != next || sh.to.compare(sh.from) < 0 || sh.children != nil {
			t.Fatalf("open shard %s is from %s to %s, after %s, with %d children", sh.id, sh.from, sh.to, next, len(sh.children))
		}
		next = sh.to.plus(uint192{1})
	}
	if next != (uint192{0, 0, 1}) {
		t.Fatalf("open shards end before %s", next)
	}
	open := 0
	for i, sh := range r.shards {
		if int(sh.index) != i {
			t.Fatalf("shard %d has the index %d", i, sh.index)
		}
		if sh.children == nil {
			open++
		}
		for _, child := range sh.children {
			if child.epoch <= sh.epoch || child.index <= sh.index || child.opened < sh.closed {
				t.Fatalf("%s of epoch %d, closed at %d, has the child %s of epoch %d, opened at %d", sh.id, sh.epoch, sh.closed, child.id, child.epoch, child.opened)
			}
			if sh.to.compare(child.from) < 0 || child.to.compare(sh.from) < 0 {
				t.Fatalf("%s and its child %s share no hash key", sh.id, child.id)
			}
		}
	}
	if open != len(r.open) {
		t.Fatalf("%d shards have no children, %d are open", open, len(r.open))
	}
}

func TestAnyReshapeLeavesALineage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.UnixMilli(20_000)
		r := &reshape{now: now, epoch: 20, shards: divide(rapid.IntRange(1, 9).Draw(t, "shards"), 10, now)}
		r.open = slices.Clone(r.shards)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			i := rapid.IntRange(0, len(r.open)-1).Draw(t, "which")
			switch rapid.SampledFrom([]string{"split", "merge", "spread"}).Draw(t, "step") {
			case "split":
				sh := r.open[i]
				if at := (uint192{rapid.Uint64().Draw(t, "low"), rapid.Uint64().Draw(t, "high"), 0}); sh.from.compare(at) < 0 && at.compare(sh.to) <= 0 {
					r.split(i, at)
				}
			case "merge":
				if i+1 < len(r.open) {
					r.merge(i)
				}
			case "spread":
				n := rapid.IntRange(1, 40).Draw(t, "n")
				r.spread(n)
				if len(r.open) != n {
					t.Fatalf("%d open shards, want %d", len(r.open), n)
				}
			}
			checkLineage(t, r)
		}
	})
}
