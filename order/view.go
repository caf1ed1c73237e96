// Package order is the order view: what an order event says, the rows it becomes, and what such a row means.
//
// An event is one CloudEvents 1.0 object in JSON. [View] reads it, holds it against its rules, and turns it into one
// mutation for each of two tables, with the same cells in both. Cells that one kind of event writes with one value, such
// as a payment under its id, carry the order's birth, which is placed_at in microseconds; the address, which may change,
// carries birth + version, so that the latest version stands. Nothing in a row is a sum over events: [Row.PaidTotal],
// [Status] and [Wholeness] compute what they need when the row is read, and so need not be kept in step by writers that
// see the events in different orders.
//
// The package is pure: the same record gives the same mutations, or the same poison, whenever and wherever it is read.
package order

import (
	"slices"

	"penstock/view"
)

// Revision names what [View.Project] writes for every event it accepts. It changes when other cells are written for an
// event that was accepted before; a new revision needs a new generation of tables.
const Revision = "order/1"

// View projects order events into the tables order_by_id and orders_by_customer. The zero value is ready.
type View struct{}

var _ view.View = View{}

// Name returns "order".
func (View) Name() string { return "order" }

// Revision returns [Revision].
func (View) Revision() string { return Revision }

// Tables returns order_by_id and orders_by_customer.
func (View) Tables() []view.Table { return []view.Table{byID, byCustomer} }

// Project returns two mutations, or a [*view.Poison] that says which field breaks which rule and holds as much of the
// event as could be read. The two mutations share cells, which must not be changed.
func (View) Project(record view.Record) (view.Result, error) {
	e, bad := knownSchemas.decode(record)
	if bad != nil {
		return view.Result{}, e.poison(bad)
	}
	stamps, bad := validate(&e, record.Arrival)
	if bad != nil {
		return view.Result{}, e.poison(bad)
	}
	facts := e.facts()
	return view.Result{Mutations: mutations(&e, facts, stamps), Event: facts}, nil
}

// poison is the error for an event that can never be applied.
func (e *event) poison(f *fault) *view.Poison {
	return &view.Poison{Stage: f.stage, Code: f.code, Event: e.facts(), Err: f.err}
}

// facts is what the engine may know of the event.
func (e *event) facts() view.Event {
	facts := view.Event{
		ID:            e.id,
		Type:          e.typ,
		SchemaVersion: e.schemaVersion,
		EntityVersion: e.version,
		Time:          e.time,
		Entity:        e.orderID.text,
		TraceParent:   e.traceParent,
	}
	if e.customerID != "" {
		facts.Attributes = []view.Attribute{{Name: "customer_id", Value: e.customerID}}
	}
	return facts
}

// mutations returns what the event sets in both tables.
func mutations(e *event, facts view.Event, stamps view.Stamps) []view.Mutation {
	count := 2 // what happened and its reference
	if e.kind == placed {
		count = 7 + len(e.lines)
	}
	cells := cellList{stamps: stamps, cells: make([]view.Cell, 0, count)}
	cells.add(e)
	cells.cells = append(cells.cells, byID.ProvenanceCell(view.EventRef(facts), stamps))

	// What is a key in orders_by_customer stands at the end, so that the other table can share all before it.
	shared := len(cells.cells)
	customerID, placedAt := view.TextValue(e.customerID), view.TimestampValue(e.placedAt)
	if e.kind == placed {
		cells.once(colCustomerID, customerID)
		cells.once(colPlacedAt, placedAt)
	}
	orderID := view.UUIDValue(e.orderID.bytes)
	year := view.IntValue(int32(e.placedAt.Year()))
	return []view.Mutation{
		{Table: TableByID, Key: []view.Value{orderID}, Cells: cells.cells},
		{
			Table: TableByCustomer,
			Key:   []view.Value{customerID, year, placedAt, orderID},
			Cells: slices.Clip(cells.cells[:shared]),
		},
	}
}

// cellList collects the cells of an event, each with its stamp.
type cellList struct {
	stamps view.Stamps
	cells  []view.Cell
}

func (l *cellList) once(column string, v view.Value) {
	l.cells = append(l.cells, view.Cell{Column: column, Value: v, Stamp: l.stamps.WriteOnce})
}

func (l *cellList) entry(column, key string, v view.Value) {
	l.cells = append(l.cells, view.Cell{Column: column, Path: view.TextValue(key), Value: v, Stamp: l.stamps.WriteOnce})
}

func (l *cellList) revise(column string, v view.Value) {
	l.cells = append(l.cells, view.Cell{Column: column, Value: v, Stamp: l.stamps.Revisable})
}

// add adds the cells that both tables have.
func (l *cellList) add(e *event) {
	switch e.kind {
	case placed:
		l.once(colCurrency, view.TextValue(e.currency))
		l.once(colTotalMinor, view.BigintValue(e.totalMinor))
		l.once(colUnits, view.IntValue(e.units))
		for _, line := range e.lines {
			l.entry(colLines, line.id, view.TupleValue(view.TextValue(line.sku), view.TextValue(line.name),
				view.IntValue(line.quantity), view.BigintValue(line.unitPriceMinor)))
		}
		if e.address.country != "" {
			l.revise(colAddress, e.address.value())
		}
	case paid:
		l.entry(colPayments, e.paymentID, view.TupleValue(
			view.BigintValue(e.amountMinor), view.TextValue(e.method), view.TimestampValue(e.time)))
	case shipped:
		l.entry(colParcelsShipped, e.parcelID, view.TupleValue(
			view.TextValue(e.carrier), view.TextValue(e.tracking), view.IntValue(e.units), view.TimestampValue(e.time)))
	case delivered:
		l.entry(colParcelsDelivered, e.parcelID, view.TimestampValue(e.time))
	case cancelled:
		l.entry(colCancellations, e.cancellationID, view.TupleValue(
			view.TextValue(e.reason), view.TimestampValue(e.time)))
	case refunded:
		l.entry(colRefunds, e.refundID, view.TupleValue(
			view.BigintValue(e.amountMinor), view.TextValue(e.reason), view.TimestampValue(e.time)))
	case addressChanged:
		l.revise(colAddress, e.address.value())
	}
}

func (a address) value() view.Value {
	return view.TupleValue(view.TextValue(a.name), view.TextValue(a.street), view.TextValue(a.city),
		view.TextValue(a.postalCode), view.TextValue(a.country))
}
