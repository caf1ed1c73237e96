package shop

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// object is a JSON object whose members keep their order, so that a payload looks as a producer writes it and can be
// damaged at one named place.
type object struct {
	members []member
}

type member struct {
	name  string
	value any
}

// append adds the JSON text of the object, its members in order, to out.
func (o *object) append(out []byte) []byte {
	out = append(out, '{')
	for i, m := range o.members {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendValue(out, m.name)
		out = append(out, ':')
		out = appendValue(out, m.value)
	}
	return append(out, '}')
}

// appendValue writes objects and lists of them itself and leaves strings, numbers and what readers do not know to
// encoding/json.
func appendValue(out []byte, value any) []byte {
	switch v := value.(type) {
	case *object:
		return v.append(out)
	case []*object:
		out = append(out, '[')
		for i, o := range v {
			if i > 0 {
				out = append(out, ',')
			}
			out = o.append(out)
		}
		return append(out, ']')
	default:
		text, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("shop: encode %T: %v", v, err)) // only strings, numbers and maps of them get here
		}
		return append(out, text...)
	}
}

func (o *object) index(name string) int {
	return slices.IndexFunc(o.members, func(m member) bool { return m.name == name })
}

func (o *object) add(name string, value any) {
	o.members = append(o.members, member{name, value})
}

// set replaces the value of a member that is there.
func (o *object) set(name string, value any) {
	o.members[o.index(name)].value = value
}

// drop removes a member that is there.
func (o *object) drop(name string) {
	i := o.index(name)
	o.members = slices.Delete(o.members, i, i+1)
}

func (o *object) object(name string) *object {
	return o.members[o.index(name)].value.(*object)
}

func (o *object) list(name string) []*object {
	return o.members[o.index(name)].value.([]*object)
}

func objectOf(pairs ...any) *object {
	o := new(object)
	for i := 0; i < len(pairs); i += 2 {
		o.add(pairs[i].(string), pairs[i+1])
	}
	return o
}

// encode returns the JSON text of a document.
func encode(o *object) []byte {
	return o.append(make([]byte, 0, 1024))
}

// document returns the CloudEvents 1.0 envelope of an event. Its look decides what a producer is free to decide: which
// optional attributes are there, how times are written, and which members are added that no reader knows.
func document(e Event) *object {
	r := rand.New(rand.NewPCG(e.look, 1))
	data := objectOf(
		"order_id", e.OrderID,
		"customer_id", e.CustomerID,
		"placed_at", timeText(e.PlacedAt, r),
		"version", e.Version,
	)
	addFact(data, e, r)

	envelope := objectOf("specversion", "1.0", "id", e.ID, "source", "/shop/orders", "type", fmt.Sprintf("%s.v%d", e.Type, e.Schema))
	if r.IntN(4) > 0 {
		envelope.add("subject", e.OrderID)
	}
	envelope.add("time", timeText(e.Time, r))
	if r.IntN(4) > 0 {
		envelope.add("datacontenttype", "application/json")
	}
	if r.IntN(3) == 0 {
		envelope.add("traceparent", fmt.Sprintf("00-%016x%016x-%016x-01", r.Uint64(), r.Uint64()|1, r.Uint64()|1))
	}
	envelope.add("data", data)

	if r.IntN(10) == 0 {
		addUnknown(envelope, unknownInEnvelope, r)
	}
	if r.IntN(10) == 0 {
		addUnknown(data, unknownInData, r)
	}
	return envelope
}

func addFact(data *object, e Event, r *rand.Rand) {
	switch f := e.fact.(type) {
	case placed:
		if e.Schema == 2 {
			addBasket(data, f, r)
			break
		}
		lines := make([]*object, 0, len(f.lines))
		for _, l := range f.lines {
			o := objectOf("line_id", l.id, "sku", l.sku, "name", l.name, "quantity", l.quantity, "unit_price_minor", l.priceMinor)
			if r.IntN(20) == 0 {
				addUnknown(o, unknownInLine, r)
			}
			lines = append(lines, o)
		}
		data.add("currency", f.currency)
		data.add("lines", lines)
		if f.address != nil {
			data.add("address", addressObject(*f.address))
		}
	case paid:
		data.add("payment_id", f.id)
		data.add("amount_minor", f.amountMinor)
		data.add("method", f.method)
	case shipped:
		lines := make([]*object, 0, len(f.lines))
		for _, l := range f.lines {
			lines = append(lines, objectOf("line_id", l.id, "quantity", l.quantity))
		}
		data.add("parcel_id", f.parcel)
		data.add("carrier", f.carrier)
		data.add("tracking", f.tracking)
		data.add("lines", lines)
	case delivered:
		data.add("parcel_id", f.parcel)
	case cancelled:
		data.add("cancellation_id", f.id)
		data.add("reason", f.reason)
	case refunded:
		data.add("refund_id", f.id)
		data.add("amount_minor", f.amountMinor)
		data.add("reason", f.reason)
	case addressChanged:
		data.add("address", addressObject(f.address))
	default:
		panic("shop: a fact that cannot be encoded")
	}
}

// addBasket adds what order.placed.v2 says: the lines and the currency of their prices in a basket, each price an object, and
// the address under another name, mostly beside one that the rows do not know.
func addBasket(data *object, f placed, r *rand.Rand) {
	lines := make([]*object, 0, len(f.lines))
	for _, l := range f.lines {
		price := objectOf("unit_minor", l.priceMinor)
		if r.IntN(3) == 0 {
			price.add("list_minor", l.priceMinor+int64(r.IntN(500)))
		}
		o := objectOf("line_id", l.id, "sku", l.sku, "name", l.name, "quantity", l.quantity, "price", price)
		if r.IntN(20) == 0 {
			addUnknown(o, unknownInLine, r)
		}
		lines = append(lines, o)
	}
	data.add("basket", objectOf("currency", f.currency, "lines", lines))
	if f.address != nil {
		data.add("delivery_address", addressObject(*f.address))
	}
	if r.IntN(2) == 0 {
		data.add("invoice_address", addressObject(newAddress(r)))
	}
}

func addressObject(a address) *object {
	return objectOf("name", a.name, "street", a.street, "city", a.city, "postal_code", a.postalCode, "country", a.country)
}

// The members that readers have to ignore. Some differ from a known name only by case, which is a different name.
var (
	unknownInEnvelope = []member{
		{"dataschema", "https://shop.example/schemas/order"},
		{"sequence", "000017"},
		{"sampledrate", 10},
		{"tenant", nil},
		{"ID", "not-the-id"},
		{"Type", "order.placed.v1"},
		{"Data", map[string]any{"version": 0}},
	}
	unknownInData = []member{
		{"channel", "web"},
		{"loyalty", map[string]any{"tier": "gold", "points": 1200}},
		{"tags", []string{"gift", "express"}},
		{"note", nil},
		{"Version", 0},
		{"Order_ID", "not-the-order"},
		{"PLACED_AT", "never"},
	}
	unknownInLine = []member{
		{"gift", true},
		{"weight_grams", 250.5},
		{"Quantity", -1},
	}
)

func addUnknown(to *object, from []member, r *rand.Rand) {
	m := from[r.IntN(len(from))]
	to.members = slices.Insert(to.members, r.IntN(len(to.members)+1), m)
}

// zones are the ones events are written in; an instant is the same in each.
var zones = []*time.Location{
	time.FixedZone("", 2*3600),
	time.FixedZone("", -5*3600),
	time.FixedZone("", 5*3600+1800),
}

// timeText writes an instant as RFC 3339 with microseconds, mostly in UTC.
func timeText(t time.Time, r *rand.Rand) string {
	if r.IntN(10) == 0 {
		t = t.In(zones[r.IntN(len(zones))])
	}
	return t.Format("2006-01-02T15:04:05.000000Z07:00")
}
