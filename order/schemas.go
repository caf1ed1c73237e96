package order

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// schema says how one schema version of one event type is read. Its members go straight to the places that the newest
// version has in event, in the one pass over the JSON: what two versions say alike under other names costs nothing.
type schema struct {
	typ     string
	version int
	kind    kind
	data    []field[event] // the members of data beside those that every event has
	// upcast turns what this version says into what the next one says; nil if they say the same.
	upcast func(*event)
	steps  []func(*event) // every upcast from this version to the newest
}

// schemas finds the schema for the type as it stands in the envelope, such as "order.placed.v1".
type schemas map[string]*schema

// newSchemas registers schemas. Of a type with several versions none may be missing between the first and the last, or an
// older event could not be lifted step by step to what [View.Project] reads.
func newSchemas(list ...schema) schemas {
	known := schemas{}
	for _, s := range list {
		name := schemaName(s.typ, s.version)
		if known[name] != nil {
			panic("order: " + name + " is registered twice")
		}
		s.data = slices.Concat(base, s.data)
		known[name] = &s
	}
	for name, s := range known {
		for v := s.version; v < known.newest(s.typ); v++ {
			this, next := known[schemaName(s.typ, v)], known[schemaName(s.typ, v+1)]
			if next == nil || next.kind != s.kind {
				panic(fmt.Sprintf("order: %s cannot be lifted to %s", name, schemaName(s.typ, v+1)))
			}
			if this.upcast != nil {
				s.steps = append(s.steps, this.upcast)
			}
		}
	}
	return known
}

func schemaName(typ string, version int) string { return typ + ".v" + strconv.Itoa(version) }

// newest returns the newest version known of a type, 0 for an unknown type.
func (known schemas) newest(typ string) int {
	newest := 0
	for _, s := range known {
		if s.typ == typ {
			newest = max(newest, s.version)
		}
	}
	return newest
}

// Types returns the type of every event that this build reads, with its schema version as it stands in an event, such as
// "order.placed.v1", sorted.
func (View) Types() []string { return slices.Sorted(maps.Keys(knownSchemas)) }

// knownSchemas are all events that this build reads: the one list of types and their schema versions.
var knownSchemas = newSchemas(slices.Concat(firstVersions, placedV2)...)

var firstVersions = []schema{
	{typ: "order.placed", version: 1, kind: placed, data: []field[event]{
		{name: "currency", read: func(r *reader, e *event) { e.currency = r.upperCase(3) }},
		{name: "lines", read: func(r *reader, e *event) { readLines(r, e, orderLine, "unit_price_minor") }},
		{name: "address", optional: true, read: readAddress},
	}},
	{typ: "order.paid", version: 1, kind: paid, data: []field[event]{
		{name: "payment_id", read: func(r *reader, e *event) { e.paymentID = r.textID() }},
		{name: "amount_minor", read: func(r *reader, e *event) { e.amountMinor = r.amount() }},
		{name: "method", read: func(r *reader, e *event) { e.method = r.anyText() }},
	}},
	{typ: "order.shipped", version: 1, kind: shipped, data: []field[event]{
		{name: "parcel_id", read: func(r *reader, e *event) { e.parcelID = r.textID() }},
		{name: "carrier", read: func(r *reader, e *event) { e.carrier = r.anyText() }},
		{name: "tracking", read: func(r *reader, e *event) { e.tracking = r.anyText() }},
		{name: "lines", read: func(r *reader, e *event) { e.units, _ = r.sum(readObjects(r, parcelLine), "") }},
	}},
	{typ: "order.delivered", version: 1, kind: delivered, data: []field[event]{
		{name: "parcel_id", read: func(r *reader, e *event) { e.parcelID = r.textID() }},
	}},
	{typ: "order.cancelled", version: 1, kind: cancelled, data: []field[event]{
		{name: "cancellation_id", read: func(r *reader, e *event) { e.cancellationID = r.textID() }},
		{name: "reason", read: func(r *reader, e *event) { e.reason = r.anyText() }},
	}},
	{typ: "order.refunded", version: 1, kind: refunded, data: []field[event]{
		{name: "refund_id", read: func(r *reader, e *event) { e.refundID = r.textID() }},
		{name: "amount_minor", read: func(r *reader, e *event) { e.amountMinor = r.amount() }},
		{name: "reason", read: func(r *reader, e *event) { e.reason = r.anyText() }},
	}},
	{typ: "order.address_changed", version: 1, kind: addressChanged, data: []field[event]{
		{name: "address", read: readAddress},
	}},
}

// base is what every event says of its order.
var base = []field[event]{
	{name: "order_id", read: func(r *reader, e *event) { e.orderID = r.uuid() }},
	{name: "customer_id", read: func(r *reader, e *event) { e.customerID = r.textID() }},
	{name: "placed_at", read: func(r *reader, e *event) { e.placedAt = r.time() }},
	{name: "version", read: func(r *reader, e *event) { e.version = r.integer(math.MinInt64, math.MaxInt64) }},
}

var parcelLine = []field[line]{
	{name: "line_id", read: func(r *reader, l *line) { l.id = r.textID() }},
	{name: "quantity", read: func(r *reader, l *line) { l.quantity = r.quantity() }},
}

var articleLine = slices.Concat(parcelLine, []field[line]{
	{name: "sku", read: func(r *reader, l *line) { l.sku = r.anyText() }},
	{name: "name", read: func(r *reader, l *line) { l.name = r.anyText() }},
})

var orderLine = slices.Concat(articleLine, []field[line]{
	{name: "unit_price_minor", read: func(r *reader, l *line) { l.unitPriceMinor = r.amount() }},
})

var addressFields = []field[address]{
	{name: "name", read: func(r *reader, a *address) { a.name = r.anyText() }},
	{name: "street", read: func(r *reader, a *address) { a.street = r.anyText() }},
	{name: "city", read: func(r *reader, a *address) { a.city = r.anyText() }},
	{name: "postal_code", read: func(r *reader, a *address) { a.postalCode = r.anyText() }},
	{name: "country", read: func(r *reader, a *address) { a.country = r.upperCase(2) }},
}

// readLines reads the lines of an order. A fault of their total calls their price by the name it has in them.
func readLines(r *reader, e *event, fields []field[line], price string) {
	e.lines = readObjects(r, fields)
	slices.SortFunc(e.lines, func(a, b line) int { return cmp.Compare(a.id, b.id) })
	for i := 1; i < len(e.lines); i++ {
		if e.lines[i].id == e.lines[i-1].id {
			r.malformed(nil, fmt.Sprintf("line_id %q: must not stand twice", cut(e.lines[i].id, 40)))
			return
		}
	}
	e.units, e.totalMinor = r.sum(e.lines, price)
}

func readAddress(r *reader, e *event) { readObject(r, addressFields, &e.address) }
