package viewtest_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock/order"
	"penstock/view"
	"penstock/view/viewtest"
)

func tables() []view.Table {
	return append([]view.Table{viewtest.Kitchen, viewtest.StockTable}, order.View{}.Tables()...)
}

func TestMutationsConform(t *testing.T) {
	for _, table := range tables() {
		rapid.Check(t, func(t *rapid.T) {
			for _, m := range viewtest.Mutations(t, table) {
				if err := viewtest.Conform([]view.Table{table}, m); err != nil {
					t.Fatal(err)
				}
				if len(table.Partition) == 1 && m.Key[0].Len() == 0 {
					t.Fatal("an empty partition key, which Cassandra refuses")
				}
			}
		})
	}
}

func TestMutationsCollide(t *testing.T) {
	for _, table := range tables() {
		met, ties, same := 0, 0, 0
		rapid.Check(t, func(t *rapid.T) {
			seen := map[string]view.Cell{}
			for _, m := range viewtest.Mutations(t, table) {
				for _, c := range m.Cells {
					place := m.RowKey() + c.Column + "\x00" + c.Path.Text()
					other, ok := seen[place]
					seen[place] = c
					switch {
					case !ok:
					case other.Stamp != c.Stamp:
						met++
					case other.Value != c.Value:
						ties++
					default:
						same++
					}
				}
			}
		})
		if met == 0 || ties == 0 || same == 0 {
			t.Errorf("table %s: cells met %d times with other stamps, %d times tied, %d times equal: all must happen",
				table.Name, met, ties, same)
		}
	}
}

func TestKitchenHasEveryKindInBothClasses(t *testing.T) {
	seen := map[view.Kind]map[view.Class]bool{}
	for _, c := range viewtest.Kitchen.Columns {
		if seen[c.Type.Kind()] == nil {
			seen[c.Type.Kind()] = map[view.Class]bool{}
		}
		seen[c.Type.Kind()][c.Class] = true
	}
	for kind := view.KindBoolean; kind <= view.KindMap; kind++ {
		if kind == view.KindTuple {
			continue // stands within other types only
		}
		if !seen[kind][view.WriteOnce] || !seen[kind][view.Revisable] {
			t.Errorf("kind %d is not there in both classes", kind)
		}
	}
}

func TestConformFindsEveryFault(t *testing.T) {
	text, number := view.TextValue, view.IntValue
	table := view.Table{
		Name:      "t",
		Partition: []view.KeyColumn{{Name: "k", Type: view.Text}},
		Columns: []view.Column{
			{Name: "n", Type: view.Int, Class: view.WriteOnce},
			{Name: "s", Type: view.Text, Class: view.WriteOnce},
			{Name: "set", Type: view.SetOf(view.Text), Class: view.WriteOnce},
			{Name: "map", Type: view.MapOf(view.Text, view.TupleOf(view.Int)), Class: view.WriteOnce},
		},
		Provenance: view.ProvenanceLast,
	}
	tests := []struct {
		name  string
		cells []view.Cell
		want  string
	}{
		{"sound", []view.Cell{{Column: "n", Value: number(1), Stamp: 1}}, ""},
		{"no cells", nil, "no cells"},
		{"unknown column", []view.Cell{{Column: "x", Value: number(1), Stamp: 1}}, `column "x": no such column`},
		{"no stamp", []view.Cell{{Column: "n", Value: number(1)}}, "column n: stamp 0"},
		{"wrong length", []view.Cell{{Column: "n", Value: text("abc"), Stamp: 1}}, "column n: decode int"},
		{"not UTF-8", []view.Cell{{Column: "s", Value: text("\xff"), Stamp: 1}}, "column s: text is not valid UTF-8"},
		{"path of a scalar", []view.Cell{{Column: "n", Path: text("p"), Value: number(1), Stamp: 1}}, "column n: a int cannot have a path"},
		{"value of a set's element", []view.Cell{{Column: "set", Path: text("p"), Value: text("v"), Stamp: 1}}, "column set: an element"},
		{"field of a map's value", []view.Cell{{Column: "map", Path: text("p"), Value: view.TupleValue(text("v")), Stamp: 1}}, "column map: field 0"},
		{"cell twice", []view.Cell{{Column: "n", Value: number(1), Stamp: 1}, {Column: "n", Value: number(2), Stamp: 1}}, "stands twice"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := viewtest.Conform([]view.Table{table}, view.Mutation{Table: "t", Key: []view.Value{text("k")}, Cells: test.cells})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
	if err := viewtest.Conform([]view.Table{table}, view.Mutation{Table: "u"}); err == nil {
		t.Error("a mutation of another table conforms")
	}
	if err := viewtest.Conform([]view.Table{table}, view.Mutation{Table: "t"}); err == nil {
		t.Error("a mutation without a key conforms")
	}
}
