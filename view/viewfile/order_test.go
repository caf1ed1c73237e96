package viewfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/order"
	"penstock/view"
)

// loadExample loads the file of an example, which must have nothing to say of.
func loadExample(t testing.TB, name string) *View {
	t.Helper()
	file := filepath.Join("examples", name, "view.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v, warnings, err := Load(file, text)
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	for _, w := range warnings {
		t.Error(w)
	}
	return v
}

var goldenArrival = time.Date(2026, 11, 21, 10, 0, 1, 0, time.UTC)

// goldenOrders returns the events that the order view in Go is held against.
func goldenOrders(t testing.TB) map[string][]byte {
	files, err := filepath.Glob("../../order/testdata/events/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden events: %v", err)
	}
	events := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		events[strings.TrimSuffix(filepath.Base(file), ".json")] = data
	}
	return events
}

// describe spells a result out, keys and values in hexadecimal as Cassandra stores them.
func describe(result view.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "event %+v\n", result.Event)
	for _, m := range result.Mutations {
		fmt.Fprintf(&b, "mutation %s", m.Table)
		for _, v := range m.Key {
			fmt.Fprintf(&b, " %x", v.Bytes())
		}
		b.WriteByte('\n')
		for _, c := range view.Merge(m.Cells, nil) {
			fmt.Fprintf(&b, "  %s[%x] = %x @%d\n", c.Column, c.Path.Bytes(), c.Value.Bytes(), c.Stamp)
		}
	}
	return b.String()
}

func TestTheOrderFileWritesWhatTheGoViewWrites(t *testing.T) {
	v := loadExample(t, "order")
	for name, data := range goldenOrders(t) {
		record := view.Record{Data: data, Arrival: goldenArrival}
		want, err := order.View{}.Project(record)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Project(record)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if describe(got) != describe(want) {
			t.Errorf("%s: got:\n%s\nwant:\n%s", name, describe(got), describe(want))
		}
	}
}

func BenchmarkFileViewAgainstGo(b *testing.B) {
	views := []struct {
		name string
		view view.View
	}{{"go", order.View{}}, {"file", loadExample(b, "order")}}
	events := goldenOrders(b)
	for _, name := range []string{"placed", "placed_v2", "paid", "shipped", "delivered"} {
		var compact bytes.Buffer
		if err := json.Compact(&compact, events[name]); err != nil {
			b.Fatal(err)
		}
		record := view.Record{Data: compact.Bytes(), Arrival: goldenArrival}
		for _, v := range views {
			b.Run(name+"/"+v.name, func(b *testing.B) {
				b.SetBytes(int64(len(record.Data)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.view.Project(record); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
