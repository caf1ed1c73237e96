package order

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"penstock/view"
)

// Row is an order as it was read from either table. What no event has said yet is zero. Times are in UTC and have
// milliseconds.
type Row struct {
	OrderID    [16]byte
	CustomerID string    // in order_by_id known from order.placed only
	PlacedAt   time.Time // in order_by_id known from order.placed only

	Currency   string // ISO 4217
	TotalMinor int64  // in minor units of the currency, like all amounts
	Units      int32

	Lines            map[string]Line      // by line id
	Payments         map[string]Payment   // by payment id
	ParcelsShipped   map[string]Shipment  // by parcel id
	ParcelsDelivered map[string]time.Time // by parcel id
	Refunds          map[string]Refund    // by refund id
	Cancellations    map[string]Cancellation
	Address          *Address // nil if no event named one

	Events []EventRef // all events the row is made of, by version, then id
}

// Line is a line of an order.
type Line struct {
	SKU            string
	Name           string
	Quantity       int32
	UnitPriceMinor int64
}

// Payment is one payment for an order.
type Payment struct {
	AmountMinor int64
	Method      string
	PaidAt      time.Time
}

// Shipment is one parcel on its way.
type Shipment struct {
	Carrier   string
	Tracking  string
	Units     int32
	ShippedAt time.Time
}

// Refund is one refund.
type Refund struct {
	AmountMinor int64
	Reason      string
	RefundedAt  time.Time
}

// Cancellation is one cancellation of an order.
type Cancellation struct {
	Reason      string
	CancelledAt time.Time
}

// Address is where an order goes.
type Address struct {
	Name, Street, City, PostalCode string
	Country                        string // ISO 3166-1 alpha-2
}

// EventRef names an event that is in a row.
type EventRef struct {
	Version int64
	Type    string // without the schema version
	Time    time.Time
	ID      string
}

// NewRow reads a row of table, which is one of [View.Tables]. Columns that it does not know are left out: a release
// that knows more may have written them.
func NewRow(table view.Table, from view.Row) (Row, error) {
	var row Row
	keys := table.Keys()
	if len(from.Key) != len(keys) {
		return Row{}, fmt.Errorf("read row of %s: %d key columns, want %d", table.Name, len(from.Key), len(keys))
	}
	for i, k := range keys {
		if err := row.set(view.Cell{Column: k.Name, Value: from.Key[i]}); err != nil {
			return Row{}, fmt.Errorf("read row of %s: column %s: %w", table.Name, k.Name, err)
		}
	}
	for _, c := range from.Cells {
		if err := row.set(c); err != nil {
			return Row{}, fmt.Errorf("read row of %s: column %s: %w", table.Name, c.Column, err)
		}
	}
	slices.SortFunc(row.Events, func(a, b EventRef) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), strings.Compare(a.ID, b.ID),
			strings.Compare(a.Type, b.Type), a.Time.Compare(b.Time))
	})
	return row, nil
}

func (row *Row) set(c view.Cell) (err error) {
	switch c.Column {
	case colOrderID:
		row.OrderID, err = c.Value.UUID()
	case colCustomerID:
		row.CustomerID = c.Value.Text()
	case colPlacedAt:
		row.PlacedAt, err = c.Value.Timestamp()
	case colCurrency:
		row.Currency = c.Value.Text()
	case colTotalMinor:
		row.TotalMinor, err = c.Value.Bigint()
	case colUnits:
		row.Units, err = c.Value.Int()
	case colLines:
		return setEntry(&row.Lines, c, 4, func(f *fields) Line {
			return Line{SKU: f.text(), Name: f.text(), Quantity: f.int(), UnitPriceMinor: f.bigint()}
		})
	case colPayments:
		return setEntry(&row.Payments, c, 3, func(f *fields) Payment {
			return Payment{AmountMinor: f.bigint(), Method: f.text(), PaidAt: f.timestamp()}
		})
	case colParcelsShipped:
		return setEntry(&row.ParcelsShipped, c, 4, func(f *fields) Shipment {
			return Shipment{Carrier: f.text(), Tracking: f.text(), Units: f.int(), ShippedAt: f.timestamp()}
		})
	case colParcelsDelivered:
		if row.ParcelsDelivered == nil {
			row.ParcelsDelivered = map[string]time.Time{}
		}
		row.ParcelsDelivered[c.Path.Text()], err = c.Value.Timestamp()
	case colRefunds:
		return setEntry(&row.Refunds, c, 3, func(f *fields) Refund {
			return Refund{AmountMinor: f.bigint(), Reason: f.text(), RefundedAt: f.timestamp()}
		})
	case colCancellations:
		return setEntry(&row.Cancellations, c, 2, func(f *fields) Cancellation {
			return Cancellation{Reason: f.text(), CancelledAt: f.timestamp()}
		})
	case colAddress:
		f := split(c.Value, 5)
		row.Address = &Address{Name: f.text(), Street: f.text(), City: f.text(), PostalCode: f.text(), Country: f.text()}
		return f.err
	case view.EventsColumn:
		f := split(c.Path, 4)
		row.Events = append(row.Events, EventRef{Version: f.bigint(), Type: f.text(), Time: f.timestamp(), ID: f.text()})
		return f.err
	}
	return err
}

// setEntry reads the map entry that c is, a user-defined type of n fields.
func setEntry[T any](m *map[string]T, c view.Cell, n int, read func(*fields) T) error {
	f := split(c.Value, n)
	entry := read(f)
	if f.err != nil {
		return fmt.Errorf("entry %q: %w", cut(c.Path.Text(), 40), f.err)
	}
	if *m == nil {
		*m = map[string]T{}
	}
	(*m)[c.Path.Text()] = entry
	return nil
}

// fields reads the fields of a user-defined type one after the other and remembers the first error.
type fields struct {
	values []view.Value
	err    error
}

func split(v view.Value, n int) *fields {
	values, err := v.Tuple(n)
	return &fields{values: values, err: err}
}

func (f *fields) next() (view.Value, bool) {
	if f.err != nil {
		return view.Value{}, false
	}
	v := f.values[0]
	f.values = f.values[1:]
	return v, true
}

func (f *fields) text() string {
	v, _ := f.next()
	return v.Text()
}

func (f *fields) int() (n int32) {
	if v, ok := f.next(); ok {
		n, f.err = v.Int()
	}
	return n
}

func (f *fields) bigint() (n int64) {
	if v, ok := f.next(); ok {
		n, f.err = v.Bigint()
	}
	return n
}

func (f *fields) timestamp() (t time.Time) {
	if v, ok := f.next(); ok {
		t, f.err = v.Timestamp()
	}
	return t
}

// PaidTotal is the sum of all payments in minor units, or the largest int64 if it does not fit.
func (row Row) PaidTotal() int64 {
	var total int64
	for _, p := range row.Payments {
		total = addAmounts(total, p.AmountMinor)
	}
	return total
}

// RefundedTotal is the sum of all refunds in minor units, or the largest int64 if it does not fit.
func (row Row) RefundedTotal() int64 {
	var total int64
	for _, r := range row.Refunds {
		total = addAmounts(total, r.AmountMinor)
	}
	return total
}

// ShippedUnits is the number of units in all parcels shipped.
func (row Row) ShippedUnits() int64 {
	var units int64
	for _, p := range row.ParcelsShipped {
		units += int64(p.Units)
	}
	return units
}

// DeliveredUnits is the number of units in the parcels delivered, as far as their shipping is in the row too: only that
// event says what is in a parcel.
func (row Row) DeliveredUnits() int64 {
	var units int64
	for id := range row.ParcelsDelivered {
		units += int64(row.ParcelsShipped[id].Units)
	}
	return units
}

// addAmounts adds two amounts that are not negative.
func addAmounts(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
