package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/checkpoint"
)

// manyRows fills more than one page of a DynamoDB scan, which ends at 1 MiB.
func manyRows(t *testing.T, s Backend) {
	const n = 24
	long := strings.Repeat("w", 60_000)
	want := map[string]bool{}
	for i := range n {
		id := fmt.Sprintf("shardId-%012d", i)
		want[id] = true
		if err := s.Plant(t.Context(), checkpoint.Row{Shard: id, Owner: long, Timeout: t1}); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := s.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Owner != long || !want[r.Shard] {
			t.Errorf("row of shard %q read twice or changed", r.Shard)
		}
		delete(want, r.Shard)
	}
	if len(want) > 0 {
		t.Errorf("rows not read: %v", want)
	}
}

func ended(t *testing.T, s Backend) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Rows(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("rows: got %v, want the context's error", err)
	}
	err := s.Apply(ctx, checkpoint.Change{Op: checkpoint.Create, Shard: shard})
	if _, refused := errors.AsType[*checkpoint.Refused](err); refused || !errors.Is(err, context.Canceled) {
		t.Errorf("apply: got %v, want the context's error", err)
	}
}

func race(t *testing.T, s Backend) {
	if err := s.Plant(t.Context(), free); err != nil {
		t.Fatal(err)
	}
	const takers = 8
	errs := make([]error, takers)
	var wg sync.WaitGroup
	for i := range takers {
		wg.Go(func() {
			owner := fmt.Sprint("w", i)
			errs[i] = s.Apply(t.Context(), checkpoint.Change{Op: checkpoint.Acquire, Shard: shard, Seen: free,
				Next: checkpoint.Pair{Owner: owner, Timeout: checkpoint.Timeout(owner, end, 1)}})
		})
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			if got := theRow(t, s).Owner; got != fmt.Sprint("w", i) {
				t.Errorf("taker %d was told it won, the row names %q", i, got)
			}
		} else if _, ok := errors.AsType[*checkpoint.Refused](err); !ok {
			t.Errorf("taker %d: %v", i, err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d takers won", won, takers)
	}
}

// model applies random changes to the store and to a Memory and compares answers and rows. On a Memory it shows that
// the suite itself is sound.
func model(t *testing.T, s Backend) {
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		id := fmt.Sprintf("shardId-model-%06d", round)
		var m Memory
		start := aRow().Draw(rt, "row")
		if start.Shard != "" {
			start.Shard = id
			_ = m.Plant(t.Context(), start) // never fails
			if err := s.Plant(t.Context(), start); err != nil {
				rt.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 6).Draw(rt, "changes") {
			c := aChange(m.Row(id)).Draw(rt, "change")
			c.Shard = id
			want, got := m.Apply(t.Context(), c), s.Apply(t.Context(), c)
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("answer to %+v: %s", c, diff)
			}
		}
		var got checkpoint.Row
		rows, err := s.Rows(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		for _, r := range rows {
			if r.Shard == id {
				got = r
			}
		}
		if diff := cmp.Diff(m.Row(id), got); diff != "" {
			rt.Fatalf("row: %s", diff)
		}
	})
}

var (
	owners    = []string{"", "", "a", "b", "foreign"}
	timeouts  = []string{"", t1, t2, t3, "2026-11-23T10:00:00Z", "soon"}
	positions = []checkpoint.Sequence{"", "", low, high, longer, checkpoint.ShardEnd, "LATEST", "0"}
)

func aRow() *rapid.Generator[checkpoint.Row] {
	return rapid.Custom(func(t *rapid.T) checkpoint.Row {
		if rapid.IntRange(0, 9).Draw(t, "no row") == 0 {
			return checkpoint.Row{}
		}
		r := checkpoint.Row{
			Shard:      shard,
			Owner:      rapid.SampledFrom(owners).Draw(t, "owner"),
			Timeout:    rapid.SampledFrom(timeouts).Draw(t, "timeout"),
			Checkpoint: rapid.SampledFrom(positions).Draw(t, "checkpoint"),
			Parent:     rapid.SampledFrom([]string{"", parent}).Draw(t, "parent"),
			Claim:      rapid.SampledFrom([]string{"", "b", "c"}).Draw(t, "claim"),
		}
		texts := map[checkpoint.Attributes]string{
			checkpoint.OwnerAttribute: r.Owner, checkpoint.TimeoutAttribute: r.Timeout,
			checkpoint.CheckpointAttribute: string(r.Checkpoint), checkpoint.ParentAttribute: r.Parent, checkpoint.ClaimAttribute: r.Claim,
		}
		for a := checkpoint.OwnerAttribute; a <= checkpoint.ClaimAttribute; a <<= 1 {
			if texts[a] != "" {
				continue
			}
			switch rapid.IntRange(0, 5).Draw(t, "odd") {
			case 0:
				r.Empty |= a
			case 1:
				r.Wrong |= a
			}
		}
		return r
	})
}

// aChange draws changes that often fit the row as it is.
func aChange(row checkpoint.Row) *rapid.Generator[checkpoint.Change] {
	return rapid.Custom(func(t *rapid.T) checkpoint.Change {
		pair := func(label string) checkpoint.Pair {
			owner := rapid.SampledFrom([]string{"a", "b"}).Draw(t, label+" owner")
			return checkpoint.Pair{Owner: owner, Timeout: checkpoint.Timeout(owner, end, rapid.Uint32Range(0, 50).Draw(t, label+" nonce"))}
		}
		seen, held := row, row.Pair()
		if rapid.IntRange(0, 3).Draw(t, "stale") == 0 {
			seen, held = aRow().Draw(t, "seen"), pair("held")
		}
		if held.Owner == "" || held.Timeout == "" {
			held = pair("held")
		}
		seen.Shard = shard
		commit := rapid.SampledFrom([]checkpoint.Sequence{"", low, high, longer}).Draw(t, "commit")
		switch op := rapid.SampledFrom([]checkpoint.Op{checkpoint.Create, checkpoint.Acquire, checkpoint.Renew, checkpoint.Release, checkpoint.Finish,
			checkpoint.Seek, checkpoint.Reopen, checkpoint.Heal, checkpoint.Delete}).Draw(t, "op"); op {
		case checkpoint.Create:
			return checkpoint.Change{Op: op, Parent: row.Parent, Commit: commit}
		case checkpoint.Seek, checkpoint.Reopen:
			return checkpoint.Change{Op: op, Seen: seen, Commit: rapid.SampledFrom([]checkpoint.Sequence{low, high, longer}).Draw(t, "to")}
		case checkpoint.Heal, checkpoint.Delete:
			return checkpoint.Change{Op: op, Seen: seen}
		case checkpoint.Acquire:
			return checkpoint.Change{Op: op, Seen: seen, Next: pair("next"), Parent: rapid.SampledFrom([]string{"", parent}).Draw(t, "known parent")}
		case checkpoint.Renew:
			next := pair("next")
			next.Owner = held.Owner
			return checkpoint.Change{Op: op, Held: held, Next: next, Commit: commit}
		case checkpoint.Release:
			return checkpoint.Change{Op: op, Held: held, Commit: commit}
		default:
			return checkpoint.Change{Op: op, Held: held}
		}
	})
}
