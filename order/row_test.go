package order

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/view"
)

func TestNewRowReadsWhatProjectWrites(t *testing.T) {
	cells := map[string][]view.Cell{}
	keys := map[string][]view.Value{}
	events := goldenEvents(t)
	for _, name := range []string{"refunded", "placed_with_address", "paid", "shipped", "delivered", "cancelled"} {
		result, err := project(events[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range result.Mutations {
			keys[m.Table], cells[m.Table] = m.Key, view.Merge(cells[m.Table], m.Cells)
		}
	}
	at := func(day, hour, minute, second, ms int) time.Time {
		return time.Date(2026, 11, day, hour, minute, second, ms*1_000_000, time.UTC)
	}
	first, id := at(21, 10, 0, 0, 123), "7f0c5a52-2f0e-4c39-9a53-0d6f1b7a4e11"
	want := Row{
		OrderID:    [16]byte{0x0f, 0x9a, 0x5d, 0x1e, 0x6c, 0x1b, 0x4a, 0x7e, 0x8f, 0x3d, 0x2b, 0x9c, 0x4e, 0x5d, 0x6a, 0x70},
		CustomerID: "c-81723",
		PlacedAt:   at(21, 10, 0, 0, 120),
		Currency:   "CHF",
		TotalMinor: 3750,
		Units:      4,
		Lines: map[string]Line{
			"a": {SKU: "TEA-250", Name: "緑茶", Quantity: 3, UnitPriceMinor: 1250},
			"b": {SKU: "CUP-1", Name: `Cup, "large"`, Quantity: 1},
		},
		Payments:         map[string]Payment{"pay-1": {AmountMinor: 1998, Method: "card", PaidAt: at(21, 10, 1, 7, 999)}},
		ParcelsShipped:   map[string]Shipment{"parcel-1": {Carrier: "DHL", Tracking: "JD0001", Units: 5, ShippedAt: at(22, 8, 0, 0, 0)}},
		ParcelsDelivered: map[string]time.Time{"parcel-1": at(23, 16, 30, 0, 0)},
		Refunds:          map[string]Refund{"ref-1": {AmountMinor: 999, RefundedAt: first}},
		Cancellations:    map[string]Cancellation{"can-1": {Reason: "changed my mind", CancelledAt: first}},
		Address:          &Address{Name: "Zoë Müller", Street: "Hauptstraße 1", City: "Zürich", PostalCode: "8001", Country: "CH"},
		Events: []EventRef{
			{Version: 1, Type: "order.placed", Time: first, ID: id},
			{Version: 2, Type: "order.cancelled", Time: first, ID: id},
			{Version: 2, Type: "order.paid", Time: at(21, 10, 1, 7, 999), ID: id},
			{Version: 3, Type: "order.shipped", Time: at(22, 8, 0, 0, 0), ID: id},
			{Version: 4, Type: "order.delivered", Time: at(23, 16, 30, 0, 0), ID: id},
			{Version: 5, Type: "order.refunded", Time: first, ID: id},
		},
	}
	for _, table := range (View{}).Tables() {
		got, err := NewRow(table, view.Row{Key: keys[table.Name], Cells: cells[table.Name]})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", table.Name, diff)
		}
	}
}

func TestNewRowLeavesOutColumnsOfLaterReleases(t *testing.T) {
	row, err := NewRow(byID, view.Row{
		Key:   []view.Value{view.UUIDValue([16]byte{15: 1})},
		Cells: []view.Cell{{Column: "gift_wrapping", Value: view.BooleanValue(true)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Row{OrderID: [16]byte{15: 1}}, row); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNewRowSaysWhichColumnIsDamaged(t *testing.T) {
	id := []view.Value{view.UUIDValue([16]byte{})}
	tests := []struct {
		name string
		row  view.Row
		want string
	}{
		{"too few keys", view.Row{}, "0 key columns, want 1"},
		{"short key", view.Row{Key: []view.Value{view.TextValue("x")}}, "column order_id: decode uuid"},
		{"short bigint", view.Row{Key: id, Cells: []view.Cell{{Column: "total_minor", Value: view.IntValue(1)}}},
			"column total_minor: decode bigint"},
		{"short tuple", view.Row{Key: id, Cells: []view.Cell{{Column: "payments", Path: view.TextValue("p-1"),
			Value: view.TupleValue(view.BigintValue(1))}}}, `column payments: entry "p-1": decode tuple`},
		{"wrong field", view.Row{Key: id, Cells: []view.Cell{{Column: "refunds", Path: view.TextValue("r-1"),
			Value: view.TupleValue(view.IntValue(1), view.TextValue(""), view.BigintValue(1))}}},
			`column refunds: entry "r-1": decode bigint`},
		{"event reference", view.Row{Key: id, Cells: []view.Cell{{Column: "events", Path: view.TextValue("x")}}},
			"column events: decode tuple"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewRow(byID, test.row)
			if err == nil || !strings.Contains(err.Error(), "order_by_id: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func TestTotalsStopAtTheLargestAmount(t *testing.T) {
	row := Row{
		Payments: map[string]Payment{"1": {AmountMinor: math.MaxInt64}, "2": {AmountMinor: 1}},
		Refunds:  map[string]Refund{"1": {AmountMinor: math.MaxInt64 - 1}, "2": {AmountMinor: 2}},
	}
	if got := row.PaidTotal(); got != math.MaxInt64 {
		t.Errorf("paid %d", got)
	}
	if got := row.RefundedTotal(); got != math.MaxInt64 {
		t.Errorf("refunded %d", got)
	}
}
