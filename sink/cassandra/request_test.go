package cassandra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/sink"
	"penstock/view"
	"penstock/view/viewtest"
)

// twoTables are what the tests of requests write to: partition keys of one and of two columns.
func twoTables() map[string]*table {
	return map[string]*table{
		viewtest.StockTable.Name: newTable("ks", viewtest.StockTable, 1),
		viewtest.Kitchen.Name:    newTable("ks", viewtest.Kitchen, 1),
	}
}

// aWrite draws the mutations of one record: of few partitions, so that records meet, with at most two stamps each as
// views have it, and now and then larger than a request may be.
func aWrite() *rapid.Generator[[]view.Mutation] {
	mutation := rapid.Custom(func(t *rapid.T) view.Mutation {
		padding := rapid.SampledFrom([]int{0, 10, 700, 2000, maxRequestBytes - 100, maxRequestBytes + 1}).Draw(t, "padding")
		stamp := view.Stamp(rapid.IntRange(1, 4).Draw(t, "stamp"))
		text := view.TextValue(strings.Repeat("x", padding))
		if rapid.Bool().Draw(t, "stock") {
			return view.Mutation{
				Table: viewtest.StockTable.Name,
				Key: []view.Value{
					view.TextValue(rapid.SampledFrom([]string{"W1", "W2"}).Draw(t, "warehouse")),
					view.TextValue(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "sku")),
				},
				Cells: []view.Cell{
					{Column: "on_hand", Value: view.IntValue(rapid.Int32Range(0, 3).Draw(t, "on hand")), Stamp: stamp},
					{Column: view.LastEventColumn, Value: text, Stamp: stamp + 1},
				},
			}
		}
		return view.Mutation{
			Table: viewtest.Kitchen.Name,
			Key: append([]view.Value{view.TextValue("W1"), view.BigintValue(rapid.Int64Range(1, 2).Draw(t, "room"))},
				view.BigintValue(0), view.UUIDValue([16]byte{}), view.IntValue(rapid.Int32Range(0, 1).Draw(t, "floor")), view.BooleanValue(true)),
			Cells: []view.Cell{
				{Column: "once_set_of_text", Path: view.TextValue(rapid.SampledFrom([]string{"p", "q"}).Draw(t, "path")), Stamp: stamp},
				{Column: "revised_text", Value: text, Stamp: stamp},
			},
		}
	})
	return rapid.SliceOfN(mutation, 0, 4)
}

// outcome is how often a write was settled, and with what.
type outcome struct {
	times int
	err   error
}

// Settle implements sink.Settler.
func (o *outcome) Settle(err error) {
	o.times++
	o.err = err
}

func writesOf(mutations [][]view.Mutation) ([]sink.Write, []outcome) {
	outcomes := make([]outcome, len(mutations))
	writes := make([]sink.Write, len(mutations))
	for i, m := range mutations {
		writes[i] = sink.Write{Mutations: m, Record: &outcomes[i]}
	}
	return writes, outcomes
}

// identity says which mutation of which record a part is.
func identity(m *view.Mutation) string { return fmt.Sprintf("%p", m.Cells) }

func TestEveryMutationIsInExactlyOneRequestOfItsPartition(t *testing.T) {
	tables := twoTables()
	rapid.Check(t, func(t *rapid.T) {
		mutations := rapid.SliceOfN(aWrite(), 1, 15).Draw(t, "writes")
		writes, _ := writesOf(mutations)
		var want []string
		for _, w := range writes {
			for i := range w.Mutations {
				want = append(want, identity(&w.Mutations[i]))
			}
		}
		var got []string
		for _, r := range plan(t.Context(), tables, writes) {
			size := 0
			for _, p := range r.parts {
				got = append(got, identity(p.mutation))
				size += p.mutation.Size()
				if p.mutation.Table != r.table.Table.Name ||
					!slices.Equal(p.mutation.Key[:len(r.table.Partition)], r.partition) {
					t.Errorf("a mutation of %s, %v stands in a request to %s, %v", p.mutation.Table, p.mutation.Key, r.table.name, r.partition)
				}
				if !slices.ContainsFunc(p.job.write.Mutations, func(m view.Mutation) bool { return identity(&m) == identity(p.mutation) }) {
					t.Error("a mutation stands under another record's job")
				}
			}
			if len(r.parts) > 1 && size > maxRequestBytes {
				t.Errorf("%d mutations of %d bytes together, at most %d go as one", len(r.parts), size, maxRequestBytes)
			}
			if n := len(r.statements(nil)); n > maxRequestStatements {
				t.Errorf("%d statements in one request, at most %d", n, maxRequestStatements)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("mutations in requests (-want +got):\n%s", d)
		}
	})
}

func TestMutationsOfOnePartitionGoTogetherWhileThereIsRoom(t *testing.T) {
	small := func(sku string) view.Mutation {
		return view.Mutation{Table: "stock", Key: []view.Value{view.TextValue("W1"), view.TextValue(sku)},
			Cells: []view.Cell{{Column: "on_hand", Value: view.IntValue(1), Stamp: 7}}}
	}
	var mutations [][]view.Mutation
	for i := range 25 {
		mutations = append(mutations, []view.Mutation{small(fmt.Sprint(i))})
	}
	writes, _ := writesOf(mutations)
	var sizes []int
	for _, r := range plan(t.Context(), twoTables(), writes) {
		sizes = append(sizes, len(r.parts))
	}
	if want := []int{10, 10, 5}; !slices.Equal(sizes, want) {
		t.Errorf("requests of %v mutations, want %v", sizes, want)
	}
}

func TestEveryWriteIsSettledOnceHoweverItsRequestsEnd(t *testing.T) {
	tables := twoTables()
	failure := errors.New("refused")
	rapid.Check(t, func(t *rapid.T) {
		mutations := rapid.SliceOfN(aWrite(), 1, 15).Draw(t, "writes")
		writes, outcomes := writesOf(mutations)
		var requests []*request
		for _, r := range plan(t.Context(), tables, writes) {
			requests = append(requests, &r)
		}
		for i, o := range outcomes {
			if early := len(mutations[i]) == 0; (o.times == 1) != early || o.err != nil {
				t.Errorf("record %d with %d mutations was settled %d times before anything was sent", i, len(mutations[i]), o.times)
			}
		}
		if len(requests) == 0 {
			return
		}
		guilty := map[*sink.Write]bool{}
		for _, r := range rapid.Permutation(requests).Draw(t, "order") {
			if rapid.Bool().Draw(t, "split") {
				for _, single := range r.split() {
					settleOne(t, single, failure, guilty)
				}
				continue
			}
			settleOne(t, r, failure, guilty)
		}
		for i, o := range outcomes {
			want := error(nil)
			if guilty[&writes[i]] {
				want = failure
			}
			if o.times != 1 || o.err != want {
				t.Errorf("record %d was settled %d times, last with %v, want once with %v", i, o.times, o.err, want)
			}
		}
	})
}

func settleOne(t *rapid.T, r *request, failure error, guilty map[*sink.Write]bool) {
	if !rapid.Bool().Draw(t, "fails") {
		r.settle(nil)
		return
	}
	for _, p := range r.parts {
		guilty[p.job.write] = true
	}
	r.settle(failure)
}

func TestASplitRequestHoldsOneRecordEach(t *testing.T) {
	tables := twoTables()
	rapid.Check(t, func(t *rapid.T) {
		writes, _ := writesOf(rapid.SliceOfN(aWrite(), 1, 15).Draw(t, "writes"))
		for _, r := range plan(t.Context(), tables, writes) {
			var together []string
			seen := map[*job]bool{}
			for _, single := range r.split() {
				j := single.parts[0].job
				if seen[j] {
					t.Error("one record stands in two of the requests it was split into")
				}
				seen[j] = true
				for _, p := range single.parts {
					if p.job != j {
						t.Error("two records stand in one request after it was split")
					}
					together = append(together, identity(p.mutation))
				}
				if single.table != r.table || single.ctx != r.ctx || !slices.Equal(single.partition, r.partition) {
					t.Error("a split request goes elsewhere than the whole")
				}
			}
			var whole []string
			for _, p := range r.parts {
				whole = append(whole, identity(p.mutation))
			}
			if !slices.Equal(whole, together) {
				t.Errorf("after the split: %v, before: %v", together, whole)
			}
		}
	})
}

// What the statements of a request write, row by row, is what its mutations merge to: no more, no less, each cell once.
func TestStatementsWriteTheMergeOfTheMutations(t *testing.T) {
	tables := twoTables()
	rapid.Check(t, func(t *rapid.T) {
		table := rapid.SampledFrom([]view.Table{viewtest.Kitchen, viewtest.StockTable}).Draw(t, "table")
		r := &request{ctx: context.Background(), table: tables[table.Name]}
		want := map[string][]view.Cell{}
		for _, m := range viewtest.Mutations(t, table) {
			r.parts = append(r.parts, part{mutation: &m})
			want[m.RowKey()] = view.Merge(want[m.RowKey()], m.Cells)
		}
		got := map[string][]view.Cell{}
		type rowStamp struct {
			row   string
			stamp view.Stamp
		}
		seen := map[rowStamp]bool{}
		for _, s := range r.statements(nil) {
			row := view.Mutation{Table: table.Name, Key: s.key}.RowKey()
			if seen[rowStamp{row, s.stamp}] {
				t.Errorf("two statements for one row with stamp %d", s.stamp)
			}
			seen[rowStamp{row, s.stamp}] = true
			got[row] = append(got[row], withStamp(s)...)
		}
		for row, cells := range got {
			got[row] = view.Merge(cells, nil)
			if len(got[row]) != len(cells) {
				t.Error("a cell is sent twice")
			}
		}
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b view.Value) bool { return a == b })); d != "" {
			t.Errorf("cells sent (-merge +statements):\n%s", d)
		}
	})
}

// withStamp returns the cells that a statement sets.
func withStamp(s statement) (cells []view.Cell) {
	for _, c := range s.cells {
		if c.Stamp == s.stamp {
			cells = append(cells, c)
		}
	}
	return cells
}

func TestBackoffIsJitteredAndBounded(t *testing.T) {
	for _, c := range []struct {
		disposition sink.Disposition
		first       int64 // bound of the first wait, ms
	}{{sink.Transient, 50}, {sink.Unknown, 50}, {sink.Overload, 500}} {
		for attempt := range 70 {
			bound := int64(10_000)
			if attempt < 8 {
				bound = min(bound, c.first<<attempt)
			}
			low, high := int64(1<<62), int64(0)
			for range 200 {
				wait := backoff(c.disposition, attempt).Milliseconds()
				low, high = min(low, wait), max(high, wait)
			}
			if low < 0 || high > bound || high < bound/2 || low > bound/4 {
				t.Errorf("%s, attempt %d: between %d and %d ms, want all of 0 to %d", c.disposition, attempt, low, high, bound)
			}
		}
	}
}
