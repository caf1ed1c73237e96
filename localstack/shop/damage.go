package shop

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Damage names one way in which an event is spoilt on its way, empty for none. Each is one fault in an event that is
// sound in every other respect.
type Damage string

// Code is the reason for which a damaged event has to be parked.
type Code string

// The reasons that damages lead to.
const (
	CodeBadJSON              Code = "bad_json"
	CodeUnknownType          Code = "unknown_type"
	CodeUnknownSchemaVersion Code = "unknown_schema_version"
	CodeMissingField         Code = "missing_field"
	CodeMalformedField       Code = "malformed_field"
	CodeVersionOutOfRange    Code = "version_out_of_range"
	CodePlacedAtOutOfRange   Code = "placed_at_out_of_range"
)

// Bytes that are no JSON object. The empty record is the only payload that does not name its event, so a run has at
// most one: a letter with an empty payload can be no other.
const (
	DamageTruncated     Damage = "truncated"
	DamageGarbage       Damage = "garbage bytes"
	DamageInvalidUTF8   Damage = "invalid UTF-8"
	DamageTopLevelArray Damage = "array instead of object"
	DamageTopLevelText  Damage = "text instead of object"
	DamageTrailingData  Damage = "second object after the first"
	DamageEmpty         Damage = "empty record"
)

// An envelope that nobody has agreed on.
const (
	DamageUnknownType          Damage = "unknown type"
	DamageUnknownSchemaVersion Damage = "unknown schema version"
)

// A member that is not there.
const (
	DamageNoID             Damage = "no id"
	DamageNoSource         Damage = "no source"
	DamageNoType           Damage = "no type"
	DamageNoTime           Damage = "no time"
	DamageNoData           Damage = "no data"
	DamageNoOrderID        Damage = "no order_id"
	DamageNoCustomerID     Damage = "no customer_id"
	DamageNoPlacedAt       Damage = "no placed_at"
	DamageNoVersion        Damage = "no version"
	DamageNoCurrency       Damage = "no currency"
	DamageNoLines          Damage = "no lines"
	DamageNoLineID         Damage = "no line_id"
	DamageNoQuantity       Damage = "no quantity"
	DamageNoPrice          Damage = "no unit_price_minor"
	DamageNoPaymentID      Damage = "no payment_id"
	DamageNoAmount         Damage = "no amount_minor"
	DamageNoParcelID       Damage = "no parcel_id"
	DamageNoCancellationID Damage = "no cancellation_id"
	DamageNoRefundID       Damage = "no refund_id"
	DamageNoAddress        Damage = "no address"
	DamageNoStreet         Damage = "no street"
)

// A member that is there and wrong.
const (
	DamageSpecVersion      Damage = "specversion 0.3"
	DamageContentType      Damage = "datacontenttype text/xml"
	DamageEmptyID          Damage = "empty id"
	DamageTime             Damage = "time that is none"
	DamageDataText         Damage = "data that is text"
	DamageOrderID          Damage = "order_id that is no UUID"
	DamageOrderIDUndashed  Damage = "order_id without dashes"
	DamageEmptyCustomerID  Damage = "empty customer_id"
	DamageLongCustomerID   Damage = "customer_id of 257 bytes"
	DamagePlacedAt         Damage = "placed_at on 30 February"
	DamagePlacedAtNumber   Damage = "placed_at as a number"
	DamageVersionText      Damage = "version as text"
	DamageVersionFraction  Damage = "version with a fraction"
	DamageCurrency         Damage = "currency in lower case"
	DamageNoLineAtAll      Damage = "lines without a line"
	DamageLineTwice        Damage = "one line_id twice"
	DamageQuantityText     Damage = "quantity as text"
	DamageQuantityZero     Damage = "quantity 0"
	DamageQuantityNegative Damage = "negative quantity"
	DamageQuantityTooLarge Damage = "quantity beyond 32 bits"
	DamagePriceNegative    Damage = "negative unit_price_minor"
	DamageTotalTooLarge    Damage = "total beyond 64 bits"
	DamageAmountNegative   Damage = "negative amount_minor"
	DamageAmountText       Damage = "amount_minor as text"
	DamageCountry          Damage = "country in lower case"
)

// A body that does not fit its schema version: only in events of the second one.
const (
	DamageNoBasket    Damage = "no basket"
	DamagePriceNumber Damage = "price as a number"
)

// A value out of the range that the rules of convergent writes allow.
const (
	DamageVersionZero      Damage = "version 0"
	DamageVersionNegative  Damage = "version -1"
	DamageVersionTooLarge  Damage = "version 1000001"
	DamagePlacedBefore2000 Damage = "placed_at before 2000"
	DamagePlacedInFuture   Damage = "placed_at in the future"
)

// damage is a way to spoil an event: either a change of its document or a change of its bytes.
type damage struct {
	name     Damage
	code     Code
	types    []string // the types of event it fits, nil for every type
	schema   int      // the schema version it fits, 0 for every one
	document func(doc *object, now time.Time)
	bytes    func(payload []byte, eventID string, r *rand.Rand) []byte
}

func (d damage) fits(e Event) bool {
	return (d.types == nil || slices.Contains(d.types, e.Type)) && (d.schema == 0 || d.schema == e.Schema)
}

func (d damage) narrowerThan(other damage) bool {
	if d.schema != other.schema {
		return d.schema != 0
	}
	return d.types != nil && (other.types == nil || len(d.types) < len(other.types))
}

// spoil returns the payload that is sent in place of the sound one. No two events yield the same bytes, but for the
// empty record: a document keeps the ids or the version that tell it from all others, and bytes keep the event's id.
func (d damage) spoil(e Event, now time.Time) []byte {
	if d.bytes != nil {
		return d.bytes(e.Payload, e.ID, rand.New(rand.NewPCG(e.look, 2)))
	}
	doc := document(e)
	d.document(doc, now)
	return encode(doc)
}

var damages = []damage{
	{name: DamageTruncated, code: CodeBadJSON, bytes: truncate},
	{name: DamageGarbage, code: CodeBadJSON, bytes: garbage},
	{name: DamageInvalidUTF8, code: CodeBadJSON, bytes: breakUTF8},
	{name: DamageTopLevelArray, code: CodeBadJSON, bytes: func(payload []byte, _ string, _ *rand.Rand) []byte {
		return slices.Concat([]byte("["), payload, []byte("]"))
	}},
	{name: DamageTopLevelText, code: CodeBadJSON, bytes: quote},
	{name: DamageTrailingData, code: CodeBadJSON, bytes: func(payload []byte, _ string, _ *rand.Rand) []byte {
		return slices.Concat(payload, []byte("\n"), payload)
	}},
	{name: DamageEmpty, code: CodeBadJSON, bytes: func([]byte, string, *rand.Rand) []byte { return []byte{} }},

	{name: DamageUnknownType, code: CodeUnknownType, document: envelope("type", "order.vanished.v1")},
	{name: DamageUnknownSchemaVersion, code: CodeUnknownSchemaVersion, document: func(doc *object, _ time.Time) {
		known := doc.members[doc.index("type")].value.(string)
		doc.set("type", known[:strings.LastIndex(known, ".v")]+".v900")
	}},

	{name: DamageNoID, code: CodeMissingField, document: noEnvelope("id")},
	{name: DamageNoSource, code: CodeMissingField, document: noEnvelope("source")},
	{name: DamageNoType, code: CodeMissingField, document: noEnvelope("type")},
	{name: DamageNoTime, code: CodeMissingField, document: noEnvelope("time")},
	{name: DamageNoData, code: CodeMissingField, document: noEnvelope("data")},
	{name: DamageNoOrderID, code: CodeMissingField, document: noData("order_id")},
	{name: DamageNoCustomerID, code: CodeMissingField, document: noData("customer_id")},
	{name: DamageNoPlacedAt, code: CodeMissingField, document: noData("placed_at")},
	{name: DamageNoVersion, code: CodeMissingField, document: noData("version")},
	{name: DamageNoCurrency, code: CodeMissingField, types: only(typePlaced), document: noOrdered("currency")},
	{name: DamageNoLines, code: CodeMissingField, types: only(typePlaced, typeShipped), document: noOrdered("lines")},
	{name: DamageNoLineID, code: CodeMissingField, types: only(typePlaced, typeShipped), document: noLine("line_id")},
	{name: DamageNoQuantity, code: CodeMissingField, types: only(typePlaced, typeShipped), document: noLine("quantity")},
	{name: DamageNoPrice, code: CodeMissingField, types: only(typePlaced), document: func(doc *object, _ time.Time) { holder, name := lastPrice(doc); holder.drop(name) }},
	{name: DamageNoPaymentID, code: CodeMissingField, types: only(typePaid), document: noData("payment_id")},
	{name: DamageNoAmount, code: CodeMissingField, types: only(typePaid, typeRefunded), document: noData("amount_minor")},
	{name: DamageNoParcelID, code: CodeMissingField, types: only(typeShipped, typeDelivered), document: noData("parcel_id")},
	{name: DamageNoCancellationID, code: CodeMissingField, types: only(typeCancelled), document: noData("cancellation_id")},
	{name: DamageNoRefundID, code: CodeMissingField, types: only(typeRefunded), document: noData("refund_id")},
	{name: DamageNoAddress, code: CodeMissingField, types: only(typeAddressChanged), document: noData("address")},
	{name: DamageNoStreet, code: CodeMissingField, types: only(typeAddressChanged), document: func(doc *object, _ time.Time) {
		doc.object("data").object("address").drop("street")
	}},

	{name: DamageSpecVersion, code: CodeMalformedField, document: envelope("specversion", "0.3")},
	{name: DamageContentType, code: CodeMalformedField, document: func(doc *object, _ time.Time) {
		if doc.index("datacontenttype") < 0 {
			doc.add("datacontenttype", nil)
		}
		doc.set("datacontenttype", "text/xml")
	}},
	{name: DamageEmptyID, code: CodeMalformedField, document: envelope("id", "")},
	{name: DamageTime, code: CodeMalformedField, document: envelope("time", "yesterday")},
	{name: DamageDataText, code: CodeMalformedField, document: envelope("data", "see attachment")},
	{name: DamageOrderID, code: CodeMalformedField, document: data("order_id", "4711")},
	{name: DamageOrderIDUndashed, code: CodeMalformedField, document: func(doc *object, _ time.Time) {
		data := doc.object("data")
		data.set("order_id", strings.ReplaceAll(data.members[data.index("order_id")].value.(string), "-", ""))
	}},
	{name: DamageEmptyCustomerID, code: CodeMalformedField, document: data("customer_id", "")},
	{name: DamageLongCustomerID, code: CodeMalformedField, document: data("customer_id", strings.Repeat("c", 257))},
	{name: DamagePlacedAt, code: CodeMalformedField, document: data("placed_at", "2026-02-30T10:00:00.000000Z")},
	{name: DamagePlacedAtNumber, code: CodeMalformedField, document: data("placed_at", 1_767_225_600)},
	{name: DamageVersionText, code: CodeMalformedField, document: data("version", "3")},
	{name: DamageVersionFraction, code: CodeMalformedField, document: data("version", 1.5)},
	{name: DamageCurrency, code: CodeMalformedField, types: only(typePlaced), document: inOrdered("currency", "eur")},
	{name: DamageNoLineAtAll, code: CodeMalformedField, types: only(typePlaced, typeShipped), document: inOrdered("lines", []*object{})},
	{name: DamageLineTwice, code: CodeMalformedField, types: only(typePlaced), document: func(doc *object, _ time.Time) {
		ordered := ordered(doc)
		lines := ordered.list("lines")
		ordered.set("lines", append(slices.Clone(lines), lines[0]))
	}},
	{name: DamageQuantityText, code: CodeMalformedField, types: only(typePlaced, typeShipped), document: inLine("quantity", "two")},
	{name: DamageQuantityZero, code: CodeMalformedField, types: only(typePlaced, typeShipped), document: inLine("quantity", 0)},
	{name: DamageQuantityNegative, code: CodeMalformedField, types: only(typePlaced, typeShipped), document: inLine("quantity", -2)},
	{name: DamageQuantityTooLarge, code: CodeMalformedField, types: only(typePlaced, typeShipped), document: inLine("quantity", int64(math.MaxInt32)+1)},
	{name: DamagePriceNegative, code: CodeMalformedField, types: only(typePlaced), document: func(doc *object, _ time.Time) { holder, name := lastPrice(doc); holder.set(name, -1) }},
	{name: DamageTotalTooLarge, code: CodeMalformedField, types: only(typePlaced), document: func(doc *object, _ time.Time) {
		first := ordered(doc).list("lines")[0]
		first.set("quantity", 2)
		holder, name := price(first)
		holder.set(name, int64(math.MaxInt64))
	}},
	{name: DamageAmountNegative, code: CodeMalformedField, types: only(typePaid, typeRefunded), document: data("amount_minor", -1)},
	{name: DamageAmountText, code: CodeMalformedField, types: only(typePaid, typeRefunded), document: data("amount_minor", "12.50")},
	{name: DamageCountry, code: CodeMalformedField, types: only(typeAddressChanged), document: func(doc *object, _ time.Time) {
		doc.object("data").object("address").set("country", "de")
	}},

	{name: DamageNoBasket, code: CodeMissingField, types: only(typePlaced), schema: 2, document: noData("basket")},
	{name: DamagePriceNumber, code: CodeMalformedField, types: only(typePlaced), schema: 2, document: inLine("price", 999)},

	{name: DamageVersionZero, code: CodeVersionOutOfRange, document: data("version", 0)},
	{name: DamageVersionNegative, code: CodeVersionOutOfRange, document: data("version", -1)},
	{name: DamageVersionTooLarge, code: CodeVersionOutOfRange, document: data("version", 1_000_001)},
	{name: DamagePlacedBefore2000, code: CodePlacedAtOutOfRange, document: data("placed_at", "1999-12-31T23:59:59.999999Z")},
	{name: DamagePlacedInFuture, code: CodePlacedAtOutOfRange, document: func(doc *object, now time.Time) {
		doc.object("data").set("placed_at", now.AddDate(10, 0, 0).Format(time.RFC3339))
	}},
}

// Damages returns every way an event can be damaged.
func Damages() []Damage {
	names := make([]Damage, 0, len(damages))
	for _, d := range damages {
		names = append(names, d.name)
	}
	return names
}

// Code returns the reason for which an event damaged in this way has to be parked, empty for no damage.
func (d Damage) Code() Code {
	for _, known := range damages {
		if known.name == d {
			return known.code
		}
	}
	return ""
}

func only(types ...string) []string { return types }

func envelope(name string, value any) func(*object, time.Time) {
	return func(doc *object, _ time.Time) { doc.set(name, value) }
}

func noEnvelope(name string) func(*object, time.Time) {
	return func(doc *object, _ time.Time) { doc.drop(name) }
}

func data(name string, value any) func(*object, time.Time) {
	return func(doc *object, _ time.Time) { doc.object("data").set(name, value) }
}

func noData(name string) func(*object, time.Time) {
	return func(doc *object, _ time.Time) { doc.object("data").drop(name) }
}

// ordered is the object with the lines: data, or its basket in the second schema version.
func ordered(doc *object) *object {
	data := doc.object("data")
	if data.index("basket") >= 0 {
		return data.object("basket")
	}
	return data
}

func inOrdered(name string, value any) func(*object, time.Time) {
	return func(doc *object, _ time.Time) { ordered(doc).set(name, value) }
}

func noOrdered(name string) func(*object, time.Time) {
	return func(doc *object, _ time.Time) { ordered(doc).drop(name) }
}

// price returns the object and the member that hold the price of a line.
func price(line *object) (holder *object, name string) {
	if line.index("price") >= 0 {
		return line.object("price"), "unit_minor"
	}
	return line, "unit_price_minor"
}

func lastPrice(doc *object) (holder *object, name string) { return price(lastLine(doc)) }

// inLine spoils the last line: the ones before it are read well.
func inLine(name string, value any) func(*object, time.Time) {
	return func(doc *object, _ time.Time) { lastLine(doc).set(name, value) }
}

func noLine(name string) func(*object, time.Time) {
	return func(doc *object, _ time.Time) { lastLine(doc).drop(name) }
}

func lastLine(doc *object) *object {
	lines := ordered(doc).list("lines")
	return lines[len(lines)-1]
}

// truncate cuts the payload somewhere after the event's id.
func truncate(payload []byte, eventID string, r *rand.Rand) []byte {
	least := bytes.Index(payload, []byte(eventID)) + len(eventID)
	return slices.Clone(payload[:least+r.IntN(len(payload)-least)])
}

// garbage is the event's id and noise. The first byte can begin neither JSON nor UTF-8 text nor an aggregate of the
// Kinesis Producer Library.
func garbage(_ []byte, eventID string, r *rand.Rand) []byte {
	noise := []byte{0xff}
	noise = append(noise, eventID...)
	for range 32 {
		noise = append(noise, byte(r.Uint32()))
	}
	return noise
}

// breakUTF8 puts the first half of a two-byte character behind the event's id, inside its quotes.
func breakUTF8(payload []byte, eventID string, _ *rand.Rand) []byte {
	at := bytes.Index(payload, []byte(eventID)) + len(eventID)
	return slices.Insert(slices.Clone(payload), at, 0xc3)
}

// quote is the event as a JSON text, as a producer sends it that encodes twice.
func quote(payload []byte, _ string, _ *rand.Rand) []byte {
	text, err := json.Marshal(string(payload))
	if err != nil {
		panic("shop: encode text") // a string always encodes
	}
	return text
}
