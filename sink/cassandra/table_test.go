package cassandra

import (
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/sink"
	"penstock/view"
	"penstock/view/viewtest"
)

// markers finds what each question mark of an UPDATE after the stamp's stands for.
var markers = regexp.MustCompile(`"?(\w+)"? = (?:"?(\w+)"? (\+) )?\?`)

func TestTheUpdateOfATable(t *testing.T) {
	got := strings.ReplaceAll(newTable("ks", viewtest.StockTable, 3).updateCQL, `"`, "")
	want := "UPDATE ks.stock_g3 USING TIMESTAMP ? SET on_hand = ?, reserved = ?, location = ?, discontinued = ?, last_event = ?" +
		" WHERE warehouse = ? AND sku = ?"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStampsAreReadOfEveryColumnThatIsNoCollection(t *testing.T) {
	got := strings.ReplaceAll(newTable("ks", viewtest.StockTable, 3).stampedCQL(), `"`, "")
	want := "SELECT on_hand, reserved, location, discontinued, last_event, WRITETIME(on_hand), WRITETIME(reserved), WRITETIME(location), " +
		"WRITETIME(discontinued), WRITETIME(last_event) FROM ks.stock_g3 WHERE warehouse = ? AND sku = ?"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	kitchen := newTable("ks", viewtest.Kitchen, 1)
	for _, c := range kitchen.columns {
		if strings.Contains(kitchen.stampedCQL(), "WRITETIME("+quote(c.Name)+")") == c.Type.IsCollection() {
			t.Errorf("column %s of type %s: %s", c.Name, c.Type, kitchen.stampedCQL())
		}
	}
}

func TestCollectionsAreAddedToAndNeverReplaced(t *testing.T) {
	k := newTable("ks", viewtest.Kitchen, 1)
	found := markers.FindAllStringSubmatch(k.updateCQL, -1)
	if len(found) != len(k.columns)+len(k.keys) {
		t.Fatalf("%d markers for %d columns and %d keys", len(found), len(k.columns), len(k.keys))
	}
	for i, c := range k.columns {
		adds := found[i][3] == "+" && found[i][2] == c.Name
		if found[i][1] != c.Name || adds != c.Type.IsCollection() {
			t.Errorf("column %s, %s, is set by %s", c.Name, c.Type, found[i][0])
		}
	}
}

// Every value of a statement stands at the marker of its column, what the statement does not set is unset, and no null
// is ever bound.
func TestEveryValueIsBoundToItsOwnMarker(t *testing.T) {
	table := newTable("ks", viewtest.Kitchen, 1)
	names := markers.FindAllStringSubmatch(table.updateCQL, -1)
	var bound binder // one for all: what was bound before leaves no trace
	rapid.Check(t, func(t *rapid.T) {
		bound.reset()
		for _, m := range viewtest.Mutations(t, viewtest.Kitchen) {
			for _, s := range statements(nil, table, m.Key, m.Cells) {
				args, err := bound.bind(s)
				if err != nil {
					t.Fatal(err)
				}
				if len(args) != 1+len(names) || args[0] != int64(s.stamp) {
					t.Fatalf("%d values for %d markers, the first %v, want stamp %d", len(args), 1+len(names), args[0], s.stamp)
				}
				for i, c := range table.columns {
					var want []view.Cell
					for _, cell := range withStamp(s) {
						if cell.Column == names[i][1] {
							want = append(want, cell)
						}
					}
					checkColumn(t, c, args[1+i], want)
				}
				for i, k := range table.keys {
					bound := marshal(t, args[1+len(table.columns)+i])
					if at := names[len(table.columns)+i][1]; at != k.Name || bound == nil || view.EncodedValue(bound) != s.key[i] {
						t.Errorf("key %s at marker %s: bound %v, want %v", k.Name, at, bound, s.key[i].Bytes())
					}
				}
			}
		}
	})
}

func checkColumn(t *rapid.T, c view.Column, arg any, want []view.Cell) {
	if len(want) == 0 {
		if arg != gocql.UnsetValue {
			t.Errorf("column %s is not set by the statement, but bound to %v", c.Name, arg)
		}
		return
	}
	bound := marshal(t, arg)
	if bound == nil {
		t.Errorf("column %s is bound to %v", c.Name, arg)
		return
	}
	got, err := decodeColumn(c, bound)
	if err != nil {
		t.Error(err)
	}
	want = slices.Clone(want)
	for i := range want {
		want[i].Stamp = 0
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b view.Value) bool { return a == b })); d != "" {
		t.Errorf("column %s (-want +bound):\n%s", c.Name, d)
	}
}

// marshal returns the bytes that the driver gets for a bound value, nil for null.
func marshal(t *rapid.T, arg any) []byte {
	m, ok := arg.(gocql.Marshaler)
	if !ok {
		t.Errorf("bound to %T", arg)
		return nil
	}
	bytes, err := m.MarshalCQL(nil)
	if err != nil {
		t.Error(err)
	}
	return bytes
}

// The bytes are those of the native protocol: a collection is a count, then each element or each key and value, with
// its length before it, all in four bytes.
func TestTheBytesOfCollections(t *testing.T) {
	cells := []view.Cell{
		{Path: view.TextValue("a"), Value: view.IntValue(1)},
		{Path: view.TextValue(""), Value: view.IntValue(-1)},
	}
	for _, c := range []struct {
		kind view.Kind
		want string
	}{
		{view.KindSet, "00000002" + "00000001" + "61" + "00000000"},
		{view.KindMap, "00000002" + "00000001" + "61" + "00000004" + "00000001" + "00000000" + "00000004" + "ffffffff"},
	} {
		bound := new(binder).collection()
		for i := range cells {
			bound.add(c.kind, &cells[i])
		}
		if got := hex.EncodeToString(bound.bytes); got != c.want {
			t.Errorf("kind %d: got  %s\nwant %s", c.kind, got, c.want)
		}
	}
}

// As the partitioner hashes it: a key of one column as it is, a composite with lengths and zero bytes.
func TestTheBytesOfRoutingKeys(t *testing.T) {
	if got := string(appendRoutingKey(nil, []view.Value{view.TextValue("W1")})); got != "W1" {
		t.Errorf("one column: %q", got)
	}
	got := hex.EncodeToString(appendRoutingKey(nil, []view.Value{view.TextValue("c-1"), view.IntValue(2026)}))
	if want := "0003" + "632d31" + "00" + "0004" + "000007ea" + "00"; got != want {
		t.Errorf("two columns: %s, want %s", got, want)
	}
}

func TestAColumnTheTableDoesNotHaveIsTheViewsFault(t *testing.T) {
	_, err := new(binder).bind(statement{
		table: newTable("ks", viewtest.StockTable, 1),
		key:   []view.Value{view.TextValue("w"), view.TextValue("s")},
		cells: []view.Cell{{Column: "colour", Value: view.TextValue("red")}},
	})
	if sink.DispositionOf(err) != sink.Fatal || !strings.Contains(err.Error(), "colour") {
		t.Errorf("got %v, want a fatal error that names the column", err)
	}
}
