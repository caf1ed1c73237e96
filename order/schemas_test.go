package order

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/view"
)

func TestTypesNamesEveryTypeInEverySchemaVersion(t *testing.T) {
	want := []string{
		"order.address_changed.v1", "order.cancelled.v1", "order.delivered.v1", "order.paid.v1",
		"order.placed.v1", "order.placed.v2", "order.refunded.v1", "order.shipped.v1",
	}
	if diff := cmp.Diff(want, View{}.Types()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// twins are the golden events of a second schema version, and those of the first that say the same.
var twins = map[string]string{
	"placed_v2":                  "placed",
	"placed_v2_with_address":     "placed_with_address",
	"placed_v2_unusual_spelling": "unusual_spelling",
}

func TestASecondSchemaVersionWritesWhatTheFirstWrites(t *testing.T) {
	events := goldenEvents(t)
	for name, data := range events {
		result, err := project(data)
		if err != nil {
			t.Fatal(err)
		}
		if result.Event.SchemaVersion == 1 {
			continue
		}
		twin, err := project(events[twins[name]])
		if err != nil {
			t.Errorf("%s has no twin in version 1: %v", name, err)
			continue
		}
		sameButForTheSchema(t, result, twin)
	}
}

// sameButForTheSchema holds two results against each other: facts, keys, cells, stamps and the reference to the event.
func sameButForTheSchema(t require, second, first view.Result) {
	t.Helper()
	if second.Event.SchemaVersion != 2 || first.Event.SchemaVersion != 1 {
		t.Fatalf("schema versions %d and %d, want 2 and 1", second.Event.SchemaVersion, first.Event.SchemaVersion)
	}
	second.Event.SchemaVersion = 1
	if diff := cmp.Diff(describe(first), describe(second)); diff != "" {
		t.Fatalf("-version 1 +version 2:\n%s", diff)
	}
}

type require interface {
	Helper()
	Fatalf(format string, args ...any)
}

// secondVersion turns the data of an order.placed.v1 into that of an order.placed.v2 that says the same.
func secondVersion(data map[string]any) {
	lines := data["lines"].([]any)
	for _, l := range lines {
		l := l.(map[string]any)
		l["price"] = map[string]any{"unit_minor": l["unit_price_minor"]}
		delete(l, "unit_price_minor")
	}
	data["basket"] = map[string]any{"currency": data["currency"], "lines": lines}
	if address, ok := data["address"]; ok {
		data["delivery_address"] = address
	}
	for _, name := range []string{"currency", "lines", "address"} {
		delete(data, name)
	}
}

func TestEveryOrderReadsAlikeInBothSchemaVersions(t *testing.T) {
	amounts := rapid.OneOf(rapid.Int64Range(0, 20_000), rapid.Int64())
	rapid.Check(t, func(t *rapid.T) {
		lines := []any{}
		for range rapid.IntRange(0, 4).Draw(t, "lines") {
			lines = append(lines, map[string]any{
				"line_id": rapid.StringN(1, 3, -1).Draw(t, "line_id"), "sku": rapid.String().Draw(t, "sku"), "name": rapid.String().Draw(t, "name"),
				"quantity": rapid.Int32().Draw(t, "quantity"), "unit_price_minor": amounts.Draw(t, "unit_price_minor"),
			})
		}
		data := map[string]any{
			"order_id": "0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70", "customer_id": "c-1", "placed_at": "2026-11-21T09:59:00.123456Z",
			"version": rapid.IntRange(1, 3).Draw(t, "version"), "currency": rapid.SampledFrom([]string{"EUR", "JPY", "eur", ""}).Draw(t, "currency"), "lines": lines,
		}
		if rapid.Bool().Draw(t, "address") {
			data["address"] = map[string]any{"name": "A", "street": "B", "city": "C", "postal_code": "D",
				"country": rapid.SampledFrom([]string{"NO", "no"}).Draw(t, "country")}
		}
		encode := func(typ string) []byte {
			event, err := json.Marshal(map[string]any{
				"specversion": "1.0", "id": "e-1", "source": "/shop", "type": typ, "time": "2026-11-21T10:00:00Z", "data": data,
			})
			if err != nil {
				t.Fatal(err)
			}
			return event
		}
		first, firstErr := project(encode("order.placed.v1"))
		secondVersion(data)
		second, secondErr := project(encode("order.placed.v2"))
		if firstErr == nil && secondErr == nil {
			sameButForTheSchema(t, second, first)
			return
		}
		one, ok := view.AsPoison(firstErr)
		other, otherOK := view.AsPoison(secondErr)
		if !ok || !otherOK || one.Stage != other.Stage || one.Code != other.Code {
			t.Fatalf("version 1: %v, version 2: %v", firstErr, secondErr)
		}
	})
}

// soundSecond is an event of the second version that its poison test damages in one place each.
const soundSecond = `{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.placed.v2","time":"2026-11-21T10:00:00Z","data":{` +
	`"order_id":"0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70","customer_id":"c-1","placed_at":"2026-11-21T09:59:00Z","version":7,` +
	`"basket":{"currency":"EUR","lines":[` +
	`{"line_id":"1","sku":"TEA","name":"Tea","quantity":2,"price":{"unit_minor":999}},` +
	`{"line_id":"2","sku":"CUP","name":"Cup","quantity":1,"price":{"list_minor":700,"unit_minor":500}}]},` +
	`"delivery_address":{"name":"A","street":"B","city":"C","postal_code":"D","country":"DE"}}}`

func TestPoisonOfTheSecondVersionIsToldByItsOwnNames(t *testing.T) {
	if _, err := project([]byte(soundSecond)); err != nil {
		t.Fatal(err)
	}
	body := sound[strings.Index(sound, `"data"`):]
	for _, test := range []struct {
		name, event string
		code        view.Code
		message     string
	}{
		{"the data is of the first version", strings.Replace(sound, "placed.v1", "placed.v2", 1), view.CodeMissingField, `/data/basket: must be present and not null`},
		{"the type is of the first version", strings.Replace(soundSecond, "placed.v2", "placed.v1", 1), view.CodeMissingField, `/data/currency: must be present and not null`},
		{"the basket is a list", strings.Replace(soundSecond, `"basket":{`, `"basket":[],"x":{`, 1), view.CodeMalformedField, `/data/basket: an array: must be an object`},
		{"the currency is in lower case", strings.Replace(soundSecond, "EUR", "eur", 1), view.CodeMalformedField, `/data/basket/currency: "eur": must be 3 upper-case letters`},
		{"there are no lines", strings.Replace(soundSecond, `"lines"`, `"Lines"`, 1), view.CodeMissingField, `/data/basket/lines: must be present`},
		{"a price is a number", strings.Replace(soundSecond, `{"unit_minor":999}`, `999`, 1), view.CodeMalformedField, `/data/basket/lines/0/price: 999: must be an object`},
		{"a price has no unit", strings.Replace(soundSecond, `"unit_minor":500`, `"per_unit":500`, 1), view.CodeMissingField, `/data/basket/lines/1/price/unit_minor: must be present`},
		{"a price is negative", strings.Replace(soundSecond, `:500`, `:-5`, 1), view.CodeMalformedField, `/data/basket/lines/1/price/unit_minor: -5: must be between 0 and`},
		{"a line's id stands twice", strings.Replace(soundSecond, `"line_id":"2"`, `"line_id":"1"`, 1), view.CodeMalformedField, `/data/basket/lines: line_id "1": must not stand twice`},
		{"the total overflows", strings.Replace(soundSecond, `:999`, `:9223372036854775000`, 1), view.CodeMalformedField,
			`/data/basket/lines: the sum of quantity times price/unit_minor must fit in 63 bits`},
		{"the address is incomplete", strings.Replace(soundSecond, `"street":"B",`, ``, 1), view.CodeMissingField, `/data/delivery_address/street: must be present`},
		{"the version is unknown and the data is read all the same", `{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.placed.v3","time":"2026-11-21T10:00:00Z",` + body,
			view.CodeUnknownSchemaVersion, `must be order.placed in a known schema version, such as v2`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.event == sound || test.event == soundSecond {
				t.Fatal("nothing is damaged")
			}
			_, err := project([]byte(test.event))
			poison, ok := view.AsPoison(err)
			if !ok || poison.Stage != view.StageDecode || poison.Code != test.code || !strings.Contains(poison.Err.Error(), test.message) {
				t.Fatalf("got %v, want decode: %s: %s", err, test.code, test.message)
			}
			if e := poison.Event; e.ID != "e-1" || e.Type != "order.placed" || e.EntityVersion != 7 || e.Entity != "0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70" {
				t.Errorf("the poison does not tell its event: %+v", e)
			}
		})
	}
}

// A version that says something else than the next one is lifted to it, and from there to the newest.
func TestOlderSchemaVersionsAreUpcastStepByStep(t *testing.T) {
	paidID := field[event]{name: "payment_id", read: func(r *reader, e *event) { e.paymentID = r.textID() }}
	amount := func(name string) field[event] {
		return field[event]{name: name, read: func(r *reader, e *event) { e.amountMinor = r.amount() }}
	}
	method := field[event]{name: "method", read: func(r *reader, e *event) { e.method = r.anyText() }}
	versions := []schema{
		{typ: "order.paid", version: 4, kind: paid, data: []field[event]{paidID, amount("minor"), method}},
		{typ: "order.paid", version: 3, kind: paid, data: []field[event]{paidID, amount("amount_minor"), method}},
		{typ: "order.paid", version: 2, kind: paid, data: []field[event]{paidID, amount("amount_minor")},
			upcast: func(e *event) { e.method = fmt.Sprint("unknown, of ", e.amountMinor) }},
		{typ: "order.paid", version: 1, kind: paid, data: []field[event]{paidID, amount("amount_major")},
			upcast: func(e *event) { e.amountMinor *= 100 }},
	}
	known := newSchemas(versions...)
	for version, test := range map[int]struct {
		member, method string
		amount         int64
	}{
		1: {`"amount_major":7`, "unknown, of 700", 700},
		2: {`"amount_minor":7`, "unknown, of 7", 7},
		3: {`"amount_minor":7,"method":"card"`, "card", 7},
		4: {`"minor":7,"method":"card"`, "card", 7},
		5: {`"minor":7,"method":"card"`, "", 0},
	} {
		data := fmt.Sprintf(`{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.paid.v%d","time":"2026-11-21T10:00:00Z","data":{`+
			`"order_id":"0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70","customer_id":"c-1","placed_at":"2026-11-21T09:59:00Z",`+
			`"version":2,"payment_id":"p",%s}}`, version, test.member)
		e, bad := known.decode(view.Record{Data: []byte(data)})
		if version == 5 {
			if bad == nil || bad.code != view.CodeUnknownSchemaVersion || !strings.Contains(bad.Error(), "such as v4") {
				t.Errorf("got %v, want the newest version named", bad)
			}
			continue
		}
		if bad != nil {
			t.Fatal(bad)
		}
		if e.amountMinor != test.amount || e.method != test.method || e.typ != "order.paid" || e.schemaVersion != version {
			t.Errorf("version %d: got %d by %q, schema version %d", version, e.amountMinor, e.method, e.schemaVersion)
		}
	}

	for name, wrong := range map[string][]schema{
		"a version twice":        append(slices.Clone(versions), versions[1]),
		"a version in between":   {versions[0], versions[2], versions[3]},
		"a version of two kinds": {versions[3], {typ: "order.paid", version: 2, kind: refunded}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("registered")
				}
			}()
			newSchemas(wrong...)
		})
	}
}

// A release that does not know a version parks its events and decides on all others alike: the registry without it.
func TestWithoutAVersionItsEventsAloneArePoison(t *testing.T) {
	before := newSchemas(firstVersions...)
	parked := 0
	for name, data := range goldenEvents(t) {
		record := view.Record{Data: data, Arrival: goldenArrival}
		now, bad := knownSchemas.decode(record)
		if bad != nil {
			t.Fatal(bad)
		}
		then, bad := before.decode(record)
		if now.schemaVersion == 2 {
			parked++
			if bad == nil || bad.stage != view.StageDecode || bad.code != view.CodeUnknownSchemaVersion || then.schemaVersion != 2 || then.version != now.version ||
				then.orderID != now.orderID || then.customerID != now.customerID {
				t.Errorf("%s: got %v with %+v", name, bad, then.facts())
			}
			continue
		}
		if diff := cmp.Diff(now.facts(), then.facts()); bad != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, bad, diff)
		}
	}
	if parked != len(twins) {
		t.Errorf("%d events are parked, want %d", parked, len(twins))
	}
}
