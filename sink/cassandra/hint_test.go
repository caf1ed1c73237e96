package cassandra

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/localstack/stacktest"
	"penstock/order"
	"penstock/view"
	"penstock/view/viewtest"
)

func TestVintsAreAsLongAsCassandraMakesThem(t *testing.T) {
	for n, want := range map[uint64]int{0: 1, 127: 1, 128: 2, 1<<14 - 1: 2, 1 << 14: 3, 1<<49 - 1: 7, 1 << 49: 8, 1<<56 - 1: 8, 1 << 56: 9, 1<<64 - 1: 9} {
		if got := vintBytes(n); got != want {
			t.Errorf("%d takes %d bytes, want %d", n, got, want)
		}
	}
}

// hintTable is a table of three columns: a text, a map and a set.
func hintTable() *table {
	return newTable("ks", view.Table{
		Name: "t", Partition: []view.KeyColumn{{Name: "k", Type: view.Text}}, Clustering: []view.KeyColumn{{Name: "c", Type: view.Text}},
		Columns: []view.Column{{Name: "one", Type: view.Text}, {Name: "entries", Type: view.MapOf(view.Text, view.Text)}},
	}, 1)
}

// Counted by hand from the formats that hint.go names.
func TestHintsAreCountedAsTheyAreWritten(t *testing.T) {
	tab := hintTable()
	const stamp = view.Stamp(1_800_000_000_000_000) // 7 bytes from the epoch
	text := view.TextValue
	header := 0
	for _, c := range tab.columns {
		header += 1 + len(c.Name)
	}
	update := 16 + (1 + 3) + 1 + (7 + 1 + 1) + (1 + header) + 1 + 1 // id, key "key", flags, stats, columns, rows, end
	row := 1 + 1 + (1 + 2) + 1                                      // flags, clustering header, "cl", bitmap
	cell := func(n int) int { return 1 + 1 + 1 + n }
	key := []view.Value{text("key"), text("cl")}
	one := statement{tab, key, stamp, []view.Cell{{Column: "one", Value: text("value"), Stamp: stamp}}}
	entry := statement{tab, key, stamp, []view.Cell{
		{Column: "entries", Path: text("a"), Value: text("bc"), Stamp: stamp}, {Column: "entries", Path: text("d"), Value: text("ef"), Stamp: stamp}}}
	later := statement{tab, key, stamp + 200, []view.Cell{{Column: "one", Value: text("value"), Stamp: stamp + 200}, {Column: "one", Value: text("other"), Stamp: stamp}}}
	other := statement{tab, []view.Value{text("kez"), text("cl")}, stamp, one.cells}
	second := statement{tab, []view.Value{text("key"), text("xx")}, stamp, one.cells}
	for name, c := range map[string]struct {
		statements []statement
		batched    bool
		want       int
	}{
		"one cell":                {[]statement{one}, false, hintFrame + update + row + cell(5)},
		"entries of a collection": {[]statement{entry}, false, hintFrame + update + row + 1 + 2*(cell(1)+1+2)},
		"two stamps of one row":   {[]statement{one, later}, true, hintFrame + update + row + cell(5) + cell(5) + 1},
		"two rows of a partition": {[]statement{one, second}, true, hintFrame + update + 2*(row+cell(5))},
		"two partitions":          {[]statement{one, other}, true, 2 * (hintFrame + update + row + cell(5))},
		"one by one":              {[]statement{one, second}, false, 2 * (hintFrame + update + row + cell(5))},
		"nothing set":             {[]statement{{tab, key, stamp, nil}}, false, hintFrame + update + row},
	} {
		if got := hintBytes(c.statements, c.batched); got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, got, c.want)
		}
	}
}

// placed and cancelled are events of one order, without their ids.
const (
	placed = `{"specversion":"1.0","id":"%s","source":"/shop/orders","type":"order.placed.v1","subject":"0f9a5d1e-0000-4000-8000-000000000001","time":"2026-11-21T10:00:00.123456Z",` +
		`"data":{"order_id":"0f9a5d1e-0000-4000-8000-000000000001","customer_id":"c-81723","placed_at":"2026-11-21T10:00:00.120000Z","version":1,` +
		`"currency":"EUR","lines":[{"line_id":"1","sku":"TEA-250","name":"Green tea","quantity":2,"unit_price_minor":999}]}}`
	cancelled = `{"specversion":"1.0","id":"%s","source":"/shop/orders","type":"order.cancelled.v1","subject":"0f9a5d1e-0000-4000-8000-000000000001","time":"2026-11-21T11:00:00.123456Z",` +
		`"data":{"order_id":"0f9a5d1e-0000-4000-8000-000000000001","customer_id":"c-81723","placed_at":"2026-11-21T10:00:00.120000Z","version":2,` +
		`"cancellation_id":"c1","reason":"changed my mind"}}`
)

// orderMutations projects an event.
func orderMutations(t *testing.T, event, id string) []view.Mutation {
	arrived := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	result, err := order.View{}.Project(view.Record{Data: fmt.Appendf(nil, event, id), Arrival: arrived})
	if err != nil {
		t.Fatal(err)
	}
	return result.Mutations
}

// The commit log of a node holds every mutation in the form in which a hint has it, within the same frame of a size and two
// checksums. What is counted is held against it: for orders, and for a table with a column of every kind.
func TestHintsAreAsLongAsAServersMutations(t *testing.T) {
	stack := stacktest.Require(t)
	dir := filepath.Join(os.Getenv("DEVSTACK_DIR"), "cassandra-1", "commitlog")
	if _, err := os.Stat(dir); os.Getenv("DEVSTACK_DIR") == "" || err != nil {
		t.Skip("the stack's folder is not known")
	}
	check := func(name string, v view.View, session *Session, m view.Mutation, marker string) {
		w := newTestWriter(t, session, v)
		if errs := apply(w, t.Context(), []view.Mutation{m}); errs[0] != nil {
			t.Fatal(errs[0])
		}
		written := statements(nil, w.tables[m.Table], m.Key, m.Cells)
		counted := hintBytes(written, len(written) > 1)
		hints := 0
		for _, size := range mutationsOf(t, dir, marker) {
			hints += size + hintFrame - 1 // the frame counts the number of updates, which the mutation has too
		}
		t.Logf("%s, %d statements: counted %d, a hint takes %d", name, len(written), counted, hints)
		if off := float64(counted-hints) / float64(hints); !(off > -0.05 && off < 0.05) {
			t.Errorf("%s: counted %d bytes, a hint takes %d", name, counted, hints)
		}
	}
	marker := func() string { return fmt.Sprintf("hint-%d", time.Now().UnixNano()) }

	orders := connect(t, stack, stack.KeyspaceName(t))
	if err := orders.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, order.View{}, 1); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{placed, cancelled} {
		for i := range 2 {
			id := marker()
			m := orderMutations(t, event, id)[i]
			check(m.Table, order.View{}, orders, m, id)
		}
	}
	kitchen := connect(t, stack, stack.KeyspaceName(t))
	if err := kitchen.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, kitchenView{"1"}, 1); err != nil {
		t.Fatal(err)
	}
	generator := rapid.Custom(func(t *rapid.T) view.Mutation { return viewtest.Mutations(t, viewtest.Kitchen)[0] })
	for seed := range 10 {
		m := generator.Example(seed)
		house := marker()
		m.Key = append([]view.Value{view.TextValue(house)}, m.Key[1:]...)
		check("kitchen", kitchenView{"1"}, kitchen, m, house)
	}
}

// mutationsOf returns the sizes of the mutations in the commit log that hold a text.
func mutationsOf(t *testing.T, dir, marker string) (sizes []int) {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, name := range logs {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it was recycled
		}
		for from := 0; ; {
			at := bytes.Index(data[from:], []byte(marker))
			if at < 0 {
				break
			}
			at += from
			from = at + len(marker)
			for start := at - 8; start >= max(0, at-4096); start-- {
				size := data[start : start+4]
				if n := int(binary.BigEndian.Uint32(size)); n > at-start && n < 1<<16 && crc32.ChecksumIEEE(size) == binary.BigEndian.Uint32(data[start+4:]) {
					sizes = append(sizes, n)
					from = start + n
					break
				}
			}
		}
	}
	return sizes
}

// It is counted for every request, in the worker.
func BenchmarkHintBytes(b *testing.B) {
	t := newTable("ks", order.View{}.Tables()[0], 1)
	result, err := order.View{}.Project(view.Record{Data: fmt.Appendf(nil, placed, "7f0c"), Arrival: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		b.Fatal(err)
	}
	var request []statement
	for i := range 10 {
		key := []view.Value{view.UUIDValue([16]byte{byte(i)})}
		request = statements(request, t, key, result.Mutations[0].Cells)
	}
	b.ReportAllocs()
	for b.Loop() {
		hintBytes(request, true)
	}
}
