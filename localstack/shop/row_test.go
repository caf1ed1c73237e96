package shop

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var columnsByID = []string{
	"order_id", "customer_id", "placed_at", "currency", "total_minor", "units", "lines", "payments", "parcels_shipped",
	"parcels_delivered", "refunds", "cancellations", "address", "events",
}

func cutEntry(name string) (column, key string, isEntry bool) {
	return strings.Cut(name, entry)
}

// everything is an order to which everything has happened.
func everything() []Event {
	placedAt := time.Date(2026, 1, 1, 0, 59, 59, 999_999_000, time.FixedZone("", 3600))
	var events []Event
	for i, fact := range []any{
		placed{currency: "EUR", lines: []line{{"1", "TEA", "Tea \"green\"", 2, 999}, {"ü", "CUP", "急須", 1, 9_007_199_254_740_993}}, address: &address{name: "A"}},
		paid{id: "p1", method: "card", amountMinor: 1998},
		addressChanged{address{"A", "", "B", "C", "DE"}},
		shipped{parcel: "b1", carrier: "DHL", tracking: "T", lines: []parcelLine{{"1", 2}, {"ü", 1}}},
		delivered{parcel: "b1"},
		refunded{id: "r1", reason: "late", amountMinor: 5},
		cancelled{id: "c1", reason: "no"},
	} {
		events = append(events, Event{
			ID: "e" + string(number(int64(i+1))), Type: typeOf(fact), OrderID: "0f9a5d1e-0000-4000-8000-000000000001", CustomerID: "c-1",
			PlacedAt: placedAt.UTC(), Version: int64(i + 1), Time: placedAt.Add(time.Duration(i) * time.Second), fact: fact,
			Payload: []byte{byte(i)},
		})
	}
	return events
}

// answer is the row of everything as Cassandra 5 prints it, sets in its own order.
const answer = `{"order_id": "0f9a5d1e-0000-4000-8000-000000000001", "address": {"name": "A", "street": "", "city": "B", "postal_code": "C", "country": "DE"},
 "cancellations": {"c1": {"reason": "no", "cancelled_at": "2026-01-01 00:00:05.999Z"}}, "currency": "EUR", "customer_id": "c-1",
 "events": [{"version": 1, "type": "order.placed", "time": "2025-12-31 23:59:59.999Z", "id": "e1"},
  {"version": 2, "type": "order.paid", "time": "2026-01-01 00:00:00.999Z", "id": "e2"},
  {"version": 3, "type": "order.address_changed", "time": "2026-01-01 00:00:01.999Z", "id": "e3"},
  {"version": 4, "type": "order.shipped", "time": "2026-01-01 00:00:02.999Z", "id": "e4"},
  {"version": 5, "type": "order.delivered", "time": "2026-01-01 00:00:03.999Z", "id": "e5"},
  {"version": 6, "type": "order.refunded", "time": "2026-01-01 00:00:04.999Z", "id": "e6"},
  {"version": 7, "type": "order.cancelled", "time": "2026-01-01 00:00:05.999Z", "id": "e7"}],
 "lines": {"1": {"sku": "TEA", "name": "Tea \"green\"", "quantity": 2, "unit_price_minor": 999},
  "ü": {"sku": "CUP", "name": "急須", "quantity": 1, "unit_price_minor": 9007199254740993}},
 "parcels_delivered": {"b1": "2026-01-01 00:00:03.999Z"},
 "parcels_shipped": {"b1": {"carrier": "DHL", "tracking": "T", "units": 3, "shipped_at": "2026-01-01 00:00:02.999Z"}},
 "payments": {"p1": {"amount_minor": 1998, "method": "card", "paid_at": "2026-01-01 00:00:00.999Z"}},
 "placed_at": "2025-12-31 23:59:59.999Z", "refunds": {"r1": {"amount_minor": 5, "reason": "late", "refunded_at": "2026-01-01 00:00:04.999Z"}},
 "total_minor": 9007199254742991, "units": 3}`

func TestTheExpectedRowIsWhatCassandraPrints(t *testing.T) {
	oracle := NewOracle(slices.Values(everything()), nil)
	want, err := oracle.ExpectedRow(OrderByID, BeforeRedrive, "0f9a5d1e-0000-4000-8000-000000000001")
	if err != nil {
		t.Fatal(err)
	}
	key, got, err := Canonical(OrderByID, []byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	if lines := Diff(want, got); lines != nil || key != want.mustKey(OrderByID) {
		t.Errorf("key %s, differences %q", key, lines)
	}
}

func TestTheYearOfARowIsInUTC(t *testing.T) {
	oracle := NewOracle(slices.Values(everything()), nil)
	for key, row := range oracle.Expected(OrdersByCustomer, BeforeRedrive) {
		if row["year"] != json.Number("2025") || key != `"c-1" 2025 "2025-12-31 23:59:59.999Z" "0f9a5d1e-0000-4000-8000-000000000001"` {
			t.Errorf("key %s, year %v", key, row["year"])
		}
	}
}

func TestCanonicalSortsSetsKeepsNumbersAndDropsEmptyCollections(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{`{"order_id":"x","events":[{"id":"1","version":2},{"id":"2","version":1}]}`, `{"events":[{"version":1,"id":"2"},{"version":2,"id":"1"}],"order_id":"x"}`},
		{`{"order_id":"x","events":[],"lines":{}}`, `{"order_id":"x","events":null,"lines":null}`},
		{`{"order_id":"x","name":"\u00fc\u003c"}`, `{"order_id":"x","name":"ü<"}`},
	} {
		_, a, err := Canonical(OrderByID, []byte(c.a))
		if err != nil {
			t.Fatal(err)
		}
		_, b, err := Canonical(OrderByID, []byte(c.b))
		if err != nil {
			t.Fatal(err)
		}
		if lines := Diff(a, b); lines != nil || !cmp.Equal(a, b) {
			t.Errorf("%s and %s differ: %q", c.a, c.b, lines)
		}
	}
	_, big, err := Canonical(OrderByID, []byte(`{"order_id":"x","total_minor":9007199254740993}`))
	if err != nil || big["total_minor"] != json.Number("9007199254740993") {
		t.Errorf("a large number became %v (%v)", big["total_minor"], err)
	}
}

func TestCanonicalRefusesWhatIsNoRow(t *testing.T) {
	for _, answer := range []string{``, `[]`, `{`, `{"order_id":"x"} {}`, `{"order_id":null}`, `{}`, `null`} {
		if _, _, err := Canonical(OrderByID, []byte(answer)); err == nil {
			t.Errorf("%q is taken for a row", answer)
		}
	}
}

// plant changes one value somewhere below value.
func plant(value any) any {
	switch v := value.(type) {
	case nil:
		return "planted"
	case string:
		return v + "!"
	case json.Number:
		return v + "1"
	case map[string]any:
		for name := range v {
			v[name] = plant(v[name])
			return v
		}
	case []any:
		v[0] = plant(v[0])
	}
	return value
}

func TestDiffFindsAPlantedFaultInEveryColumn(t *testing.T) {
	for _, table := range []Table{OrderByID, OrdersByCustomer} {
		for _, events := range [][]Event{everything(), everything()[:1]} { // full collections, and null ones
			want := fold(table, events)
			columns := len(columnsByID)
			if table == OrdersByCustomer {
				columns++ // the year
			}
			if len(want) != columns {
				t.Fatalf("%s has %d columns, want %d", table, len(want), columns)
			}
			for column := range want {
				got := fold(table, events)
				got[column] = plant(got[column])
				if lines := Diff(want, got); len(lines) == 0 || !strings.HasPrefix(lines[0], column) {
					t.Errorf("fault in %s.%s: %q", table, column, lines)
				}
				delete(got, column)
				if lines := Diff(want, got); len(lines) != 1 || !strings.HasPrefix(lines[0], column+": no such column") {
					t.Errorf("%s without %s: %q", table, column, lines)
				}
				got[column] = nil
				if lines := Diff(want, got); (len(lines) == 0) != (want[column] == nil) {
					t.Errorf("%s with null in %s: %q", table, column, lines)
				}
			}
		}
	}
}

func TestDiffSaysWhereAndWhat(t *testing.T) {
	want := fold(OrderByID, everything())
	got := fold(OrderByID, everything())
	got["lines"].(map[string]any)["1"].(map[string]any)["quantity"] = json.Number("3")
	delete(got["payments"].(map[string]any), "p1")
	got["refunds"].(map[string]any)["r2"] = "?"
	events := got["events"].([]any)
	got["events"] = append(slices.Clone(events[1:]), events[1])
	got["surplus"], got["later"] = json.Number("1"), nil
	lines := Diff(want, got)
	for i, line := range []string{
		`events: missing {"id":"e1","time":"2025-12-31 23:59:59.999Z","type":"order.placed","version":1}`,
		`events: not expected {"id":"e2","time":"2026-01-01 00:00:00.999Z","type":"order.paid","version":2}`,
		`lines.1.quantity: is 3, want 2`,
		`payments.p1: missing, want {"amount_minor":1998,"method":"card","paid_at":"2026-01-01 00:00:00.999Z"}`,
		`refunds.r2: not expected, is "?"`,
		`surplus: column nobody asked for holds 1`,
	} {
		if i >= len(lines) || lines[i] != line {
			t.Fatalf("differences %q, want %q at %d", lines, line, i)
		}
	}
	if len(lines) != 6 {
		t.Errorf("%d differences, want 6", len(lines))
	}
	if lines := Diff(nil, nil); lines != nil {
		t.Errorf("nothing differs from nothing: %q", lines)
	}
}
