package order

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStatus(t *testing.T) {
	paid := func(amounts ...int64) map[string]Payment {
		m := map[string]Payment{}
		for i, a := range amounts {
			m[string(rune('a'+i))] = Payment{AmountMinor: a}
		}
		return m
	}
	refunded := func(amount int64) map[string]Refund { return map[string]Refund{"r": {AmountMinor: amount}} }
	shipped := func(units ...int32) map[string]Shipment {
		m := map[string]Shipment{}
		for i, u := range units {
			m[string(rune('a'+i))] = Shipment{Units: u}
		}
		return m
	}
	delivered := func(parcels ...string) map[string]time.Time {
		m := map[string]time.Time{}
		for _, p := range parcels {
			m[p] = time.Unix(0, 0)
		}
		return m
	}
	cancelled := map[string]Cancellation{"c": {}}
	tests := []struct {
		name string
		row  Row // of an order of 3 units for 100, placed unless Events says otherwise
		want StatusCode
	}{
		{"nothing more", Row{}, Placed},
		{"order.placed not seen", Row{Events: []EventRef{{Type: "order.paid"}}, Payments: paid(100)}, Incomplete},
		{"cancelled before it was seen placed", Row{Events: []EventRef{{Type: "order.cancelled"}}, Cancellations: cancelled}, Incomplete},
		{"paid in part", Row{Payments: paid(60, 39)}, Placed},
		{"paid in two payments", Row{Payments: paid(60, 40)}, Paid},
		{"refunded in part", Row{Payments: paid(100), Refunds: refunded(99)}, Paid},
		{"refunded", Row{Payments: paid(100), Refunds: refunded(100)}, Refunded},
		{"refunded after delivery", Row{Payments: paid(100), Refunds: refunded(100), ParcelsShipped: shipped(3), ParcelsDelivered: delivered("a")}, Refunded},
		{"refund seen before the payment", Row{Refunds: refunded(100)}, Placed},
		{"cancelled and refunded", Row{Payments: paid(100), Refunds: refunded(100), Cancellations: cancelled}, Cancelled},
		{"one parcel of two shipped", Row{ParcelsShipped: shipped(2)}, PartlyShipped},
		{"both parcels shipped", Row{ParcelsShipped: shipped(2, 1)}, Shipped},
		{"one of two delivered", Row{ParcelsShipped: shipped(2, 1), ParcelsDelivered: delivered("a")}, PartlyDelivered},
		{"both delivered", Row{ParcelsShipped: shipped(2, 1), ParcelsDelivered: delivered("a", "b")}, Delivered},
		{"delivery seen before shipping", Row{ParcelsDelivered: delivered("a")}, PartlyDelivered},
		{"another parcel delivered than shipped", Row{ParcelsShipped: shipped(3), ParcelsDelivered: delivered("b")}, PartlyDelivered},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.row.TotalMinor, test.row.Units = 100, 3
			if test.row.Events == nil {
				test.row.Events = []EventRef{{Version: 1, Type: "order.placed", ID: "e"}}
			}
			if got := Status(test.row); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestWholeness(t *testing.T) {
	type ref = EventRef
	tests := []struct {
		name   string
		events []ref
		want   Whole
	}{
		{"no event", nil, Whole{}},
		{"dense", []ref{{Version: 2, ID: "b"}, {Version: 1, ID: "a"}}, Whole{UpTo: 2}},
		{"one missing", []ref{{Version: 4, ID: "d"}, {Version: 1, ID: "a"}, {Version: 2, ID: "b"}},
			Whole{UpTo: 2, Missing: []Range{{3, 3}}}},
		{"first and others missing", []ref{{Version: 3, ID: "c"}, {Version: 1_000_000, ID: "z"}},
			Whole{Missing: []Range{{1, 2}, {4, 999_999}}}},
		{"one version twice", []ref{{Version: 1, ID: "a"}, {Version: 2, ID: "b"}, {Version: 2, ID: "c"}, {Version: 2, ID: "d"}},
			Whole{UpTo: 2, Contradictions: []int64{2}}},
		{"one event twice with other times", []ref{{Version: 1, ID: "a"}, {Version: 1, ID: "a", Time: time.Unix(1, 0)}},
			Whole{UpTo: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Wholeness(Row{Events: test.events})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
