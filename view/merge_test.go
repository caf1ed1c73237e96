package view_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/view"
	"penstock/view/viewtest"
)

var values = cmp.Comparer(func(a, b view.Value) bool { return a == b })

// drawCells draws what two or three writers write to one row: cells of one mutation each, without its key.
func drawCells(t *rapid.T) (a, b, c []view.Cell) {
	table := rapid.SampledFrom([]view.Table{viewtest.Kitchen, viewtest.StockTable}).Draw(t, "table")
	cells := func() []view.Cell { return view.Merge(viewtest.Mutations(t, table)[0].Cells, nil) }
	return cells(), cells(), cells()
}

func TestMergeLaws(t *testing.T) {
	equal := func(t *rapid.T, law string, a, b []view.Cell) {
		if diff := cmp.Diff(a, b, values); diff != "" {
			t.Fatalf("merge is not %s (-left +right):\n%s", law, diff)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawCells(t)
		equal(t, "commutative", view.Merge(a, b), view.Merge(b, a))
		equal(t, "associative", view.Merge(view.Merge(a, b), c), view.Merge(a, view.Merge(b, c)))
		equal(t, "idempotent", view.Merge(view.Merge(a, b), b), view.Merge(a, b))
		equal(t, "neutral to nothing", view.Merge(a, nil), a)
	})
}

func TestMergeKeepsItsArguments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, _ := drawCells(t)
		slices.Reverse(a)
		beforeA, beforeB := slices.Clone(a), slices.Clone(b)
		view.Merge(a, b)
		if diff := cmp.Diff(beforeA, a, values); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(beforeB, b, values); diff != "" {
			t.Error(diff)
		}
	})
}

func TestMergeKeepsTheWinner(t *testing.T) {
	cell := func(stamp view.Stamp, v view.Value) view.Cell { return view.Cell{Column: "c", Value: v, Stamp: stamp} }
	text, number := view.TextValue, view.IntValue
	tests := []struct {
		name         string
		winner, lost view.Cell
	}{
		{"higher stamp", cell(2, text("a")), cell(1, text("b"))},
		{"larger bytes on a tie", cell(1, text("b")), cell(1, text("a"))},
		{"longer bytes on a tie", cell(1, text("aa")), cell(1, text("a"))},
		{"anything over empty text on a tie", cell(1, text("\x00")), cell(1, text(""))},
		{"bytes are unsigned: -1 over 1 on a tie", cell(1, number(-1)), cell(1, number(1))},
		{"true over false on a tie", cell(1, view.BooleanValue(true)), cell(1, view.BooleanValue(false))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, got := range [][]view.Cell{
				view.Merge([]view.Cell{test.winner}, []view.Cell{test.lost}),
				view.Merge([]view.Cell{test.lost}, []view.Cell{test.winner}),
				view.Merge([]view.Cell{test.lost, test.winner}, nil),
			} {
				if len(got) != 1 || got[0] != test.winner {
					t.Errorf("got %v, want %v alone", got, test.winner)
				}
			}
		})
	}
}

func TestMergeSortsByColumnAndPath(t *testing.T) {
	got := view.Merge(
		[]view.Cell{{Column: "b"}, {Column: "m", Path: view.TextValue("b")}},
		[]view.Cell{{Column: "m", Path: view.TextValue("")}, {Column: "a"}, {Column: "m", Path: view.TextValue("a")}})
	want := []view.Cell{{Column: "a"}, {Column: "b"}, {Column: "m"}, {Column: "m", Path: view.TextValue("a")}, {Column: "m", Path: view.TextValue("b")}}
	if diff := cmp.Diff(want, got, values); diff != "" {
		t.Error(diff)
	}
}

func TestKeysTellRowsAndPartitionsApart(t *testing.T) {
	row := func(table string, key ...string) view.Mutation {
		m := view.Mutation{Table: table}
		for _, k := range key {
			m.Key = append(m.Key, view.TextValue(k))
		}
		return m
	}
	a, b := row("t", "ab", "c"), row("t", "a", "bc")
	if a.RowKey() == b.RowKey() {
		t.Error("the keys (ab, c) and (a, bc) are taken for one row")
	}
	if a.RowKey() == row("u", "ab", "c").RowKey() {
		t.Error("rows of two tables are taken for one")
	}
	other := row("t", "ab", "d")
	if a.PartitionKey(1) != other.PartitionKey(1) || a.RowKey() == other.RowKey() {
		t.Error("two rows of one partition: partition keys must be the same and row keys not")
	}
}

func TestSizeGrowsWithEveryByte(t *testing.T) {
	m := view.Mutation{Key: []view.Value{view.TextValue("key")}, Cells: []view.Cell{{Path: view.TextValue("p"), Value: view.TextValue("value")}}}
	if got := m.Size(); got < 9 || got > 100 {
		t.Errorf("size %d for 9 bytes", got)
	}
	before := m.Size()
	m.Cells[0].Value = view.TextValue("value+")
	if m.Size() != before+1 {
		t.Errorf("one byte more: size went from %d to %d", before, m.Size())
	}
}
