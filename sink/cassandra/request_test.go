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

// aRing is one of three hosts of which each token has two, so that there are several replica sets.
func aRing() *ring {
	return newRing([]*host{
		{id: "1", rack: "a", tokens: []string{"-6000000000000000000", "1000000000000000000"}},
		{id: "2", rack: "b", tokens: []string{"-3000000000000000000", "4000000000000000000"}},
		{id: "3", rack: "c", tokens: []string{"0", "8000000000000000000"}},
	}, replication{factor: 2})
}

// replicasOf returns the replica set of a mutation.
func replicasOf(ring *ring, p part) int32 {
	return ring.set(tokenOf(appendRoutingKey(nil, p.mutation.Key[:len(p.table.Partition)])))
}

func TestEveryMutationIsInExactlyOneRequestOfItsReplicas(t *testing.T) {
	tables, ring := twoTables(), aRing()
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
		for _, r := range plan(t.Context(), tables, ring, writes) {
			size := 0
			for _, p := range r.parts {
				got = append(got, identity(p.mutation))
				size += p.mutation.Size()
				if p.table != tables[p.mutation.Table] {
					t.Errorf("a mutation of %s stands under table %s", p.mutation.Table, p.table.name)
				}
				if got, want := replicasOf(ring, p), ring.set(r.token); got != want {
					t.Errorf("a mutation of replica set %d stands in a request to %d", got, want)
				}
				if !slices.ContainsFunc(p.job.write.Mutations, func(m view.Mutation) bool { return identity(&m) == identity(p.mutation) }) {
					t.Error("a mutation stands under another record's job")
				}
			}
			if size != r.size || len(r.parts) > 1 && size > maxRequestBytes {
				t.Errorf("%d mutations of %d bytes together, counted as %d, at most %d go as one", len(r.parts), size, r.size, maxRequestBytes)
			}
			if len(r.parts) > maxRequestMutations {
				t.Errorf("%d mutations in one request, at most %d", len(r.parts), maxRequestMutations)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("mutations in requests (-want +got):\n%s", d)
		}
	})
}

// changeOf is a small mutation.
func changeOf(warehouse, sku string) []view.Mutation {
	return []view.Mutation{{Table: "stock", Key: []view.Value{view.TextValue(warehouse), view.TextValue(sku)},
		Cells: []view.Cell{{Column: "on_hand", Value: view.IntValue(1), Stamp: 7}}}}
}

func TestMutationsOfTheSameReplicasGoTogetherWhileThereIsRoom(t *testing.T) {
	var mutations [][]view.Mutation
	for i := range 250 {
		mutations = append(mutations, changeOf(fmt.Sprint(i), "a"))
	}
	ring, sets := aRing(), map[int32][]int{}
	writes, _ := writesOf(mutations)
	for _, r := range plan(t.Context(), twoTables(), ring, writes) {
		set := ring.set(r.token)
		sets[set] = append(sets[set], len(r.parts))
	}
	if len(sets) != 3 {
		t.Errorf("requests to %d replica sets, want all three", len(sets))
	}
	for set, sizes := range sets {
		for _, n := range sizes[:len(sizes)-1] {
			if n != maxRequestMutations {
				t.Errorf("requests of %v mutations to replica set %d: all but the last should be full", sizes, set)
			}
		}
	}
}

// Those of one partition are merged only in one request, so they wait for one another, however many others come between.
func TestMutationsOfOnePartitionGoTogetherBeforeOthers(t *testing.T) {
	var mutations [][]view.Mutation
	for i := range 60 {
		mutations = append(mutations, changeOf(fmt.Sprint(i%15), "a"))
	}
	writes, _ := writesOf(mutations)
	statements := 0
	for _, r := range plan(t.Context(), twoTables(), aRing(), writes) {
		statements += len(r.statements(nil))
	}
	if statements != 15 {
		t.Errorf("%d statements for 15 rows that each came four times", statements)
	}
}

func TestEveryWriteIsSettledOnceHoweverItsRequestsEnd(t *testing.T) {
	tables := twoTables()
	failure := errors.New("refused")
	rapid.Check(t, func(t *rapid.T) {
		mutations := rapid.SliceOfN(aWrite(), 1, 15).Draw(t, "writes")
		writes, outcomes := writesOf(mutations)
		var requests []*request
		for _, r := range plan(t.Context(), tables, aRing(), writes) {
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

func TestASplitRequestHoldsOneMutationEach(t *testing.T) {
	tables, ring := twoTables(), aRing()
	rapid.Check(t, func(t *rapid.T) {
		writes, _ := writesOf(rapid.SliceOfN(aWrite(), 1, 15).Draw(t, "writes"))
		for _, r := range plan(t.Context(), tables, ring, writes) {
			var together []part
			for _, single := range r.split() {
				if len(single.parts) != 1 {
					t.Fatalf("%d mutations in one request after it was split", len(single.parts))
				}
				if p := single.parts[0]; single.ctx != r.ctx || ring.set(single.token) != replicasOf(ring, p) || single.size != p.mutation.Size() {
					t.Error("a split request goes elsewhere than the whole")
				}
				together = append(together, single.parts...)
			}
			if !slices.Equal(r.parts, together) {
				t.Errorf("after the split: %v, before: %v", together, r.parts)
			}
		}
	})
}

// What the statements of a request write, row by row, is what its mutations merge to: no more, no less, each cell once.
func TestStatementsWriteTheMergeOfTheMutations(t *testing.T) {
	tables := twoTables()
	rapid.Check(t, func(t *rapid.T) {
		table := rapid.SampledFrom([]view.Table{viewtest.Kitchen, viewtest.StockTable}).Draw(t, "table")
		r := &request{ctx: context.Background()}
		want := map[string][]view.Cell{}
		for _, m := range viewtest.Mutations(t, table) {
			if len(r.parts) == maxRequestMutations {
				break
			}
			r.parts = append(r.parts, part{mutation: &m, table: tables[table.Name]})
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
