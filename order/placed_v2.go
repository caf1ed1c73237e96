//go:build !without_placed_v2

package order

import "slices"

// placedV2 is the second version of order.placed. What is bought stands in a basket, with the currency of its prices; a
// line's price is an object, which may say more than the rows need (a list price, a tax rate); and the address says that
// it is the one of delivery, since there is one for the invoice, too. What is read of it is what the first version says,
// so there is nothing to upcast.
//
// The build tag without_placed_v2 leaves it out: such a build parks these events, as a release from before them does.
var placedV2 = []schema{{typ: "order.placed", version: 2, kind: placed, data: []field[event]{
	{name: "basket", read: func(r *reader, e *event) { readObject(r, basket, e) }},
	{name: "delivery_address", optional: true, read: readAddress},
}}}

var basket = []field[event]{
	{name: "currency", read: func(r *reader, e *event) { e.currency = r.upperCase(3) }},
	{name: "lines", read: func(r *reader, e *event) { readLines(r, e, basketLine, "price/unit_minor") }},
}

var basketLine = slices.Concat(articleLine, []field[line]{
	{name: "price", read: func(r *reader, l *line) { readObject(r, price, l) }},
})

var price = []field[line]{
	{name: "unit_minor", read: func(r *reader, l *line) { l.unitPriceMinor = r.amount() }},
}
