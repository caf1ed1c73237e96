package order

import (
	"cmp"
	"slices"
)

// StatusCode says how far an order has come.
type StatusCode string

// The closed set of statuses.
const (
	Incomplete      StatusCode = "incomplete" // order.placed is not in the row yet
	Cancelled       StatusCode = "cancelled"
	Refunded        StatusCode = "refunded" // all that was paid
	Delivered       StatusCode = "delivered"
	PartlyDelivered StatusCode = "partly_delivered"
	Shipped         StatusCode = "shipped"
	PartlyShipped   StatusCode = "partly_shipped"
	Paid            StatusCode = "paid"
	Placed          StatusCode = "placed"
)

// Status says how far an order has come, by what is in its row and nothing else: the first that applies of incomplete,
// cancelled, refunded, delivered, partly delivered, shipped, partly shipped, paid and placed. It does not depend on the
// order in which events came. Whether all events came is said by [Wholeness].
func Status(row Row) StatusCode {
	paid, units := row.PaidTotal(), int64(row.Units)
	isPlaced := func(e EventRef) bool { return e.Type == "order.placed" }
	switch {
	case !slices.ContainsFunc(row.Events, isPlaced):
		return Incomplete
	case len(row.Cancellations) > 0:
		return Cancelled
	case paid > 0 && row.RefundedTotal() >= paid:
		return Refunded
	case row.DeliveredUnits() >= units:
		return Delivered
	case len(row.ParcelsDelivered) > 0:
		return PartlyDelivered
	case row.ShippedUnits() >= units:
		return Shipped
	case len(row.ParcelsShipped) > 0:
		return PartlyShipped
	case paid >= row.TotalMinor:
		return Paid
	}
	return Placed
}

// Whole says how whole a row is.
type Whole struct {
	UpTo           int64   // every version from 1 to this one is in the row; 0 if version 1 is missing
	Missing        []Range // versions not in the row although a later one is, ascending
	Contradictions []int64 // versions that the producer gave to events of different ids, ascending
}

// Range is the versions from First to Last, both included.
type Range struct{ First, Last int64 }

// Wholeness says how whole a row is, by the versions of the events in it. Versions are dense by contract, so a hole is
// an event that is late, parked or lost. An event after the last one in the row leaves no hole: only a version known
// from elsewhere shows that a row is old.
func Wholeness(row Row) Whole {
	byVersion := func(a, b EventRef) int { return cmp.Compare(a.Version, b.Version) }
	var whole Whole
	last, lastID := int64(0), ""
	for _, e := range slices.SortedFunc(slices.Values(row.Events), byVersion) {
		switch {
		case e.Version > last+1:
			whole.Missing = append(whole.Missing, Range{First: last + 1, Last: e.Version - 1})
		case e.Version == last && e.ID != lastID && !slices.Contains(whole.Contradictions, e.Version):
			whole.Contradictions = append(whole.Contradictions, e.Version)
		}
		last, lastID = e.Version, e.ID
	}
	whole.UpTo = last
	if len(whole.Missing) > 0 {
		whole.UpTo = whole.Missing[0].First - 1
	}
	return whole
}
