package order

import "time"

// kind is what an event says happened. The set is closed.
type kind uint8

const (
	placed kind = iota + 1
	paid
	shipped
	delivered
	cancelled
	refunded
	addressChanged
)

// event is an order event after decoding and upcasting: one shape for all kinds, of which each kind fills its part.
// Times are in UTC and cut to the microsecond.
type event struct {
	// The envelope.
	id            string
	typ           string // without the schema version
	schemaVersion int    // as received, whatever it was upcast to
	kind          kind
	time          time.Time
	traceParent   string

	// What every kind says of its order.
	orderID    uuid
	customerID string
	placedAt   time.Time
	version    int64

	currency   string  // placed
	lines      []line  // placed: sorted by id, no id twice
	totalMinor int64   // placed: Σ quantity · unit price
	units      int32   // placed, shipped: Σ quantity
	address    address // placed (optional), addressChanged

	paymentID      string // paid
	parcelID       string // shipped, delivered
	cancellationID string // cancelled
	refundID       string // refunded

	amountMinor int64  // paid, refunded
	method      string // paid
	carrier     string // shipped
	tracking    string // shipped
	reason      string // cancelled, refunded
}

// line is a line of an order; of the lines of a parcel only id and quantity are known.
type line struct {
	id             string
	sku            string
	name           string
	quantity       int32
	unitPriceMinor int64
}

// address is where an order goes. It is absent when its country is empty, which no decoded address has.
type address struct {
	name, street, city, postalCode, country string
}

// uuid holds the 16 bytes of a UUID with its text in lower case; it is absent when the text is empty.
type uuid struct {
	bytes [16]byte
	text  string
}
