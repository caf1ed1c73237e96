package shop

import (
	"math/rand/v2"
	"time"
)

// Event is one event as it is sent.
type Event struct {
	ID         string    // of the event; a repetition has the same
	Type       string    // without schema version: "order.placed"
	Schema     int       // the schema version
	OrderID    string    // UUID; also the record's partition key
	CustomerID string    //
	PlacedAt   time.Time // UTC, of the order, to the microsecond
	Version    int64     // 1, 2, 3 … in the order
	Time       time.Time // UTC, of the event, to the microsecond

	Payload   []byte // what is sent; never nil
	Duplicate bool   // repeats an event yielded earlier, with the same payload
	Damage    Damage // what is wrong with Payload, empty for a sound event
	Original  []byte // of a damaged event: the payload that was never sent; nil for a sound one
	Corrects  string // of a corrected event: the id of the damaged one; empty for all others

	fact any    // what happened: one of the structs below
	look uint64 // how its document looks
}

// Corrected returns the event that is sent once the cause of the damage is found: it says what the damaged one should have
// said, of the same order, version and time, in the same schema version, under an id of its own, which the damaged one
// decides. It panics for an event that is not damaged.
func (e Event) Corrected() Event {
	if e.Damage == "" {
		panic("shop: correct an event that is not damaged")
	}
	e.Corrects, e.ID = e.ID, e.correctedID()
	e.Damage, e.Original = "", nil
	e.Payload = encode(document(e))
	return e
}

func (e Event) correctedID() string { return newUUID(rand.New(rand.NewPCG(e.look, 4))) }

// inSecondVersion reports whether the event is one of the share that is sent in the second schema version.
func (e Event) inSecondVersion(share float64) bool {
	return e.Type == typePlaced && rand.New(rand.NewPCG(e.look, 3)).Float64() < share
}

// The types of event, without schema version.
const (
	typePlaced         = "order.placed"
	typePaid           = "order.paid"
	typeShipped        = "order.shipped"
	typeDelivered      = "order.delivered"
	typeCancelled      = "order.cancelled"
	typeRefunded       = "order.refunded"
	typeAddressChanged = "order.address_changed"
)

type placed struct {
	currency string
	lines    []line
	address  *address // nil when the customer has not said yet
}

type line struct {
	id, sku, name string
	quantity      int64
	priceMinor    int64
}

type address struct {
	name, street, city, postalCode, country string
}

type paid struct {
	id, method  string
	amountMinor int64
}

// shipped is one parcel with its share of the order's lines.
type shipped struct {
	parcel, carrier, tracking string
	lines                     []parcelLine
}

type parcelLine struct {
	id       string
	quantity int64
}

type delivered struct {
	parcel string
}

type cancelled struct {
	id, reason string
}

type refunded struct {
	id, reason  string
	amountMinor int64
}

type addressChanged struct {
	address address
}

func typeOf(fact any) string {
	switch fact.(type) {
	case placed:
		return typePlaced
	case paid:
		return typePaid
	case shipped:
		return typeShipped
	case delivered:
		return typeDelivered
	case cancelled:
		return typeCancelled
	case refunded:
		return typeRefunded
	case addressChanged:
		return typeAddressChanged
	default:
		panic("shop: a fact without a type of event")
	}
}
