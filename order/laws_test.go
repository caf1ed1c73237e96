package order

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/view"
)

// drawEvents draws the life of one order: events with versions from 1 on, in whatever sense they make, some versions
// given twice with different content, as a producer at fault does.
func drawEvents(t *rapid.T) [][]byte {
	address := func() map[string]any {
		city := rapid.SampledFrom([]string{"Rome", "Oslo", "Bern"}).Draw(t, "city")
		return map[string]any{"name": "A", "street": "B", "city": city, "postal_code": "", "country": "NO"}
	}
	id := func(name string) string { return rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, name) }
	amount := func() int64 { return rapid.Int64Range(0, 5).Draw(t, "amount") }
	details := map[string]func(data map[string]any){
		"order.placed": func(data map[string]any) {
			data["currency"] = "EUR"
			data["lines"] = []any{map[string]any{"line_id": "1", "sku": "S", "name": "N",
				"quantity": rapid.IntRange(1, 3).Draw(t, "quantity"), "unit_price_minor": amount()}}
			data["address"] = address()
		},
		"order.paid": func(data map[string]any) {
			data["payment_id"], data["amount_minor"], data["method"] = id("payment"), amount(), "card"
		},
		"order.shipped": func(data map[string]any) {
			data["parcel_id"], data["carrier"], data["tracking"] = id("parcel"), "C", "T"
			data["lines"] = []any{map[string]any{"line_id": "1", "quantity": rapid.IntRange(1, 3).Draw(t, "quantity")}}
		},
		"order.delivered": func(data map[string]any) { data["parcel_id"] = id("parcel") },
		"order.cancelled": func(data map[string]any) { data["cancellation_id"], data["reason"] = id("cancellation"), "" },
		"order.refunded": func(data map[string]any) {
			data["refund_id"], data["amount_minor"], data["reason"] = id("refund"), amount(), ""
		},
		"order.address_changed": func(data map[string]any) { data["address"] = address() },
	}
	// Most orders are not cancelled, or hardly any other status would be seen.
	types := []string{"order.placed", "order.paid", "order.paid", "order.shipped", "order.shipped", "order.delivered",
		"order.delivered", "order.refunded", "order.address_changed", "order.address_changed", "order.cancelled"}
	var events [][]byte
	for i := range rapid.IntRange(1, 8).Draw(t, "events") {
		typ := rapid.SampledFrom(types).Draw(t, "type")
		if i == 0 && rapid.IntRange(0, 3).Draw(t, "first") > 0 {
			typ = "order.placed"
		}
		version := i + 1
		if rapid.IntRange(0, 9).Draw(t, "contradict") == 0 {
			version = max(1, i)
		}
		data := map[string]any{
			"order_id": "0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70", "customer_id": "c-1",
			"placed_at": "2026-11-21T09:59:00.123456Z", "version": version,
		}
		details[typ](data)
		schema := 1
		if typ == "order.placed" && rapid.Bool().Draw(t, "second schema version") {
			secondVersion(data)
			schema = 2
		}
		encoded, err := json.Marshal(map[string]any{
			"specversion": "1.0", "id": fmt.Sprint("e-", i), "source": "/shop", "type": schemaName(typ, schema),
			"time": time.Date(2026, 11, 21, 10, i, 0, 0, time.UTC).Format(time.RFC3339), "data": data,
		})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, encoded)
	}
	return events
}

// fold merges what the events write, in their order, into the two rows.
func fold(t *rapid.T, events [][]byte) []Row {
	var key [2][]view.Value
	var cells [2][]view.Cell
	for _, data := range events {
		result, err := project(data)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range result.Mutations {
			key[i], cells[i] = m.Key, view.Merge(cells[i], m.Cells)
		}
	}
	rows := make([]Row, 2)
	for i, table := range (View{}).Tables() {
		var err error
		if rows[i], err = NewRow(table, view.Row{Key: key[i], Cells: cells[i]}); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

func TestAnyOrderAndRepetitionGiveTheSameRows(t *testing.T) {
	seen := map[StatusCode]int{}
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		want := fold(t, events)
		again := append(slices.Clone(events), rapid.SliceOf(rapid.SampledFrom(events)).Draw(t, "repeated")...)
		got := fold(t, rapid.Permutation(again).Draw(t, "order"))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rows (-in order +out of order with repetition):\n%s", diff)
		}
		for i := range want {
			if Status(got[i]) != Status(want[i]) {
				t.Errorf("status %s, want %s", Status(got[i]), Status(want[i]))
			}
			if diff := cmp.Diff(Wholeness(want[i]), Wholeness(got[i])); diff != "" {
				t.Errorf("wholeness (-in order +out of order with repetition):\n%s", diff)
			}
		}
		if Status(want[0]) != Status(want[1]) {
			t.Errorf("status is %s in one table and %s in the other", Status(want[0]), Status(want[1]))
		}
		seen[Status(want[0])]++
	})
	for _, s := range []StatusCode{Incomplete, Cancelled, Refunded, Delivered, PartlyDelivered, Shipped, PartlyShipped, Paid, Placed} {
		if seen[s] == 0 {
			t.Logf("status %s was not met", s)
		}
	}
}

func TestHighestVersionOfTheAddressStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		var want *Address
		var latest int64
		ambiguous := false
		for _, data := range events {
			e, bad := knownSchemas.decode(view.Record{Data: data})
			if bad != nil {
				t.Fatal(bad)
			}
			if e.address.country == "" || e.version < latest {
				continue
			}
			a := Address{e.address.name, e.address.street, e.address.city, e.address.postalCode, e.address.country}
			ambiguous = e.version == latest && (ambiguous || *want != a)
			want, latest = &a, e.version
		}
		if ambiguous {
			t.Skip("two addresses under one version")
		}
		got := fold(t, rapid.Permutation(events).Draw(t, "order"))[0].Address
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("address (-want +got):\n%s", diff)
		}
	})
}
