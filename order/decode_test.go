package order

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/view"
)

// sound is an event that the poison tests damage in one place each.
const sound = `{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.placed.v1","time":"2026-11-21T10:00:00Z",` +
	`"traceparent":"00-trace-01","data":{"order_id":"0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70","customer_id":"c-1",` +
	`"placed_at":"2026-11-21T09:59:00Z","version":7,"currency":"EUR","lines":[` +
	`{"line_id":"1","sku":"TEA","name":"Tea","quantity":2,"unit_price_minor":999},` +
	`{"line_id":"2","sku":"CUP","name":"Cup","quantity":1,"unit_price_minor":500}],` +
	`"address":{"name":"A","street":"B","city":"C","postal_code":"D","country":"DE"}}}`

func soundFacts() view.Event {
	return view.Event{
		ID: "e-1", Type: "order.placed", SchemaVersion: 1, EntityVersion: 7,
		Time:        time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC),
		Entity:      "0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70",
		Attributes:  []view.Attribute{{Name: "customer_id", Value: "c-1"}},
		TraceParent: "00-trace-01",
	}
}

func TestPoisonNamesFieldValueAndRule(t *testing.T) {
	long := strings.Repeat("é", 200)
	tests := []struct {
		name     string
		old, new string // the damage
		stage    view.Stage
		code     view.Code
		message  string
		facts    func(*view.Event) // what of the sound event's facts cannot be told
	}{
		{"envelope is malformed", `"1.0"`, `"0.3"`, view.StageDecode, view.CodeMalformedField,
			`/specversion: "0.3": must be "1.0"`, nil},
		{"specversion is missing", `"specversion":"1.0",`, ``, view.StageDecode, view.CodeMissingField,
			`/specversion: must be present and not null`, nil},
		{"id is empty", `"e-1"`, `""`, view.StageDecode, view.CodeMalformedField,
			`/id: "": must have 1 to 256 bytes, has 0`, func(e *view.Event) { e.ID = "" }},
		{"id is too long and its message is not", `"e-1"`, `"` + long + `"`, view.StageDecode, view.CodeMalformedField,
			`/id: "` + strings.Repeat("é", 19) + `…: must have 1 to 256 bytes, has 400`, func(e *view.Event) { e.ID = "" }},
		{"source is empty", `"/shop"`, `""`, view.StageDecode, view.CodeMalformedField, `/source: "": must not be empty`, nil},
		{"time is malformed", `"2026-11-21T10:00:00Z"`, `"2026-11-21 10:00:00"`, view.StageDecode, view.CodeMalformedField,
			`/time: "2026-11-21 10:00:00": must be an RFC 3339 time`, func(e *view.Event) { e.Time = time.Time{} }},
		{"datacontenttype is another", `"source"`, `"datacontenttype":"text/plain","source"`, view.StageDecode,
			view.CodeMalformedField, `/datacontenttype: "text/plain": must be application/json`, nil},
		{"data is text", `"data":{`, `"data":"x","other":{`, view.StageDecode, view.CodeMalformedField,
			`/data: "x": must be an object`,
			func(e *view.Event) { e.Entity, e.EntityVersion, e.Attributes = "", 0, nil }},

		{"type is unknown", `order.placed.v1`, `order.lost.v3`, view.StageDecode, view.CodeUnknownType,
			`/type: "order.lost.v3": must be a known event type, such as order.placed.v1`,
			func(e *view.Event) { e.Type, e.SchemaVersion = "order.lost", 3 }},
		{"type has no schema version", `order.placed.v1`, `order.placed`, view.StageDecode, view.CodeUnknownSchemaVersion,
			`/type: "order.placed": must be order.placed in a known schema version, such as v2`,
			func(e *view.Event) { e.SchemaVersion = 0 }},
		{"schema version is unknown", `order.placed.v1`, `order.placed.v3`, view.StageDecode, view.CodeUnknownSchemaVersion,
			`/type: "order.placed.v3": must be order.placed in a known schema version, such as v2`,
			func(e *view.Event) { e.SchemaVersion = 3 }},
		{"schema version is no number", `order.placed.v1`, `order.placed.vx`, view.StageDecode, view.CodeUnknownType,
			`/type: "order.placed.vx": must be`, func(e *view.Event) { e.Type, e.SchemaVersion = "order.placed.vx", 0 }},
		{"schema version is huge", `order.placed.v1`, `order.placed.v99999999999999999999`, view.StageDecode,
			view.CodeUnknownSchemaVersion, `must be order.placed in`, func(e *view.Event) { e.SchemaVersion = 1<<31 - 1 }},

		{"order_id is missing", `"order_id":"0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70",`, ``, view.StageDecode,
			view.CodeMissingField, `/data/order_id: must be present and not null`, func(e *view.Event) { e.Entity = "" }},
		{"order_id is null", `"0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70"`, `null`, view.StageDecode,
			view.CodeMissingField, `/data/order_id: must be present and not null`, func(e *view.Event) { e.Entity = "" }},
		{"order_id has no dashes", `0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70`, `0f9a5d1e6c1b4a7e8f3d2b9c4e5d6a70`, view.StageDecode,
			view.CodeMalformedField, `/data/order_id: "0f9a5d1e6c1b4a7e8f3d2b9c4e5d6a70": must be a UUID of 36 characters`,
			func(e *view.Event) { e.Entity = "" }},
		{"order_id has another letter", `0f9a5d1e`, `0f9a5d1g`, view.StageDecode, view.CodeMalformedField,
			`must be a UUID`, func(e *view.Event) { e.Entity = "" }},
		{"customer_id is a number", `"c-1"`, `1`, view.StageDecode, view.CodeMalformedField,
			`/data/customer_id: 1: must be text`, func(e *view.Event) { e.Attributes = nil }},
		{"names are case-sensitive", `"customer_id"`, `"Customer_id"`, view.StageDecode, view.CodeMissingField,
			`/data/customer_id: must be present`, func(e *view.Event) { e.Attributes = nil }},
		{"placed_at is malformed", `"2026-11-21T09:59:00Z"`, `1795255140`, view.StageDecode, view.CodeMalformedField,
			`/data/placed_at: 1795255140: must be an RFC 3339 time`, nil},
		{"version is text", `"version":7`, `"version":"7"`, view.StageDecode, view.CodeMalformedField,
			`/data/version: "7": must be an integer`, func(e *view.Event) { e.EntityVersion = 0 }},
		{"version has a fraction", `"version":7`, `"version":7.0`, view.StageDecode, view.CodeMalformedField,
			`/data/version: 7.0: must be an integer`, func(e *view.Event) { e.EntityVersion = 0 }},
		{"version has an exponent", `"version":7`, `"version":7e0`, view.StageDecode, view.CodeMalformedField,
			`/data/version: 7e0: must be an integer`, func(e *view.Event) { e.EntityVersion = 0 }},
		{"version is beyond 64 bits", `"version":7`, `"version":9223372036854775808`, view.StageDecode,
			view.CodeMalformedField, `/data/version: 9223372036854775808: must be between`,
			func(e *view.Event) { e.EntityVersion = 0 }},
		{"currency is in lower case", `"EUR"`, `"eur"`, view.StageDecode, view.CodeMalformedField,
			`/data/currency: "eur": must be 3 upper-case letters`, nil},
		{"lines are missing", `"lines"`, `"Lines"`, view.StageDecode, view.CodeMissingField, `/data/lines: must be present`, nil},
		{"a line is null", `"lines":[`, `"lines":[null,`, view.StageDecode, view.CodeMalformedField,
			`/data/lines/0: null: must be an object`, nil},
		{"a line lacks its sku", `"sku":"CUP",`, ``, view.StageDecode, view.CodeMissingField,
			`/data/lines/1/sku: must be present and not null`, nil},
		{"a line's quantity is text", `"quantity":2`, `"quantity":"x"`, view.StageDecode, view.CodeMalformedField,
			`/data/lines/0/quantity: "x": must be an integer`, nil},
		{"a line's quantity is zero", `"quantity":2`, `"quantity":0`, view.StageDecode, view.CodeMalformedField,
			`/data/lines/0/quantity: 0: must be between 1 and 2147483647`, nil},
		{"a line's price is negative", `:999`, `:-1`, view.StageDecode, view.CodeMalformedField,
			`/data/lines/0/unit_price_minor: -1: must be between 0 and 9223372036854775807`, nil},
		{"a line's id stands twice", `"line_id":"2"`, `"line_id":"1"`, view.StageDecode, view.CodeMalformedField,
			`/data/lines: line_id "1": must not stand twice`, nil},
		{"the total overflows", `:999`, `:9223372036854775000`, view.StageDecode, view.CodeMalformedField,
			`/data/lines: the sum of quantity times unit_price_minor must fit in 63 bits`, nil},
		{"the units overflow", `"quantity":2`, `"quantity":2147483647`, view.StageDecode, view.CodeMalformedField,
			`/data/lines: the sum of quantities must fit in 31 bits`, nil},
		{"the country is a name", `"DE"`, `"Germany"`, view.StageDecode, view.CodeMalformedField,
			`/data/address/country: "Germany": must be 2 upper-case letters`, nil},
		{"the address lacks a field", `"street":"B",`, ``, view.StageDecode, view.CodeMissingField,
			`/data/address/street: must be present`, nil},
		{"the first fault is told", `"EUR","lines":[`, `"eur","lines":[7,`, view.StageDecode, view.CodeMalformedField,
			`/data/currency: "eur"`, nil},

		{"a name stands twice", `"version":7`, `"version":7,"version":7`, view.StageDecode, view.CodeBadJSON,
			`/data/version: byte `, nil},
		{"text is not UTF-8", `"Cup"`, "\"C\xffp\"", view.StageDecode, view.CodeBadJSON, `/data/lines/1/name: byte `, nil},
		{"half a surrogate pair", `"Cup"`, `"\ud83c"`, view.StageDecode, view.CodeBadJSON, `/data/lines/1/name: byte `, nil},
		{"cut off within data", sound[strings.Index(sound, `{"line_id":"2"`):], ``, view.StageDecode, view.CodeBadJSON,
			`unexpected EOF`, nil},
		{"something follows", `"DE"}}}`, `"DE"}}} {}`, view.StageDecode, view.CodeBadJSON,
			`must be one JSON object, not several values`, nil},

		{"version is zero", `"version":7`, `"version":0`, view.StageValidate, view.CodeVersionOutOfRange,
			`/data/version: 0: must be between 1 and 1000000`, func(e *view.Event) { e.EntityVersion = 0 }},
		{"version is too high", `"version":7`, `"version":1000001`, view.StageValidate, view.CodeVersionOutOfRange,
			`/data/version: 1000001: must be`, func(e *view.Event) { e.EntityVersion = 1000001 }},
		{"placed before 2000", `"2026-11-21T09:59:00Z"`, `"1999-12-31T23:59:59.999999Z"`, view.StageValidate,
			view.CodePlacedAtOutOfRange, `/data/placed_at: 1999-12-31T23:59:59.999999Z: must not be before 2000-01-01`, nil},
		{"placed in the future", `"2026-11-21T09:59:00Z"`, `"2026-11-21T10:05:01.000001Z"`, view.StageValidate,
			view.CodePlacedAtOutOfRange, `/data/placed_at: 2026-11-21T10:05:01.000001Z: must not be after ` +
				`2026-11-21T10:05:01Z, 5m0s after the record arrived`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if n := strings.Count(sound, test.old); n == 0 {
				t.Fatalf("the sound event does not hold %s", test.old)
			}
			_, err := project([]byte(strings.Replace(sound, test.old, test.new, 1)))
			poison, ok := view.AsPoison(err)
			if !ok {
				t.Fatalf("got error %v, want poison", err)
			}
			if poison.Stage != test.stage || poison.Code != test.code {
				t.Errorf("got %s, %s, want %s, %s", poison.Stage, poison.Code, test.stage, test.code)
			}
			if got := poison.Err.Error(); !strings.Contains(got, test.message) || len(got) > 300 {
				t.Errorf("got message %q, want %q", got, test.message)
			}
			want := soundFacts()
			if test.facts != nil {
				test.facts(&want)
			}
			if diff := cmp.Diff(want, poison.Event); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsNoObjectIsBadJSON(t *testing.T) {
	for _, data := range []string{"", " \n", "null", "7", `"text"`, "[]", "[" + sound + "]", "{", "}", "\x00", "\xff",
		"order placed", strings.Repeat("[", 100_000), strings.Repeat(`{"data":`, 100_000)} {
		_, err := project([]byte(data))
		poison, ok := view.AsPoison(err)
		if !ok || poison.Code != view.CodeBadJSON || poison.Stage != view.StageDecode || len(poison.Err.Error()) > 300 {
			t.Errorf("%.20q: got error %v, want bad_json", data, err)
		}
	}
}

func TestMembersMayStandInAnyOrder(t *testing.T) {
	data := strings.Index(sound, `"data"`)
	turned := "{" + sound[data:len(sound)-1] + "," + sound[1:data-1] + "}"
	want, err := project([]byte(sound))
	if err != nil {
		t.Fatal(err)
	}
	got, err := project([]byte(turned))
	if err != nil {
		t.Fatal(err)
	}
	if describe(got) != describe(want) {
		t.Errorf("got:\n%s\nwant:\n%s", describe(got), describe(want))
	}
}

func TestEveryRequiredFieldIsRequired(t *testing.T) {
	for name, s := range knownSchemas {
		for _, f := range s.data {
			if f.optional {
				continue
			}
			t.Run(name+" without "+f.name, func(t *testing.T) {
				tried := 0
				for event, data := range goldenEvents(t) {
					if result, err := project(data); err == nil && schemaName(result.Event.Type, result.Event.SchemaVersion) == name {
						changed := strings.Replace(string(data), `"`+f.name+`"`, `"x_`+f.name+`"`, 1)
						if changed == string(data) {
							continue // spelt with escapes
						}
						tried++
						_, err := project([]byte(changed))
						if poison, ok := view.AsPoison(err); !ok || poison.Code != view.CodeMissingField {
							t.Errorf("%s: got error %v, want missing_field", event, err)
						}
					}
				}
				if tried == 0 {
					t.Errorf("no golden event of type %s with this field", name)
				}
			})
		}
	}
}

func TestRecordIsLeftAlone(t *testing.T) {
	data := []byte(strings.Replace(sound, "Cup", `C\u00fcp`, 1))
	before := string(data)
	if _, err := project(data); err != nil {
		t.Fatal(err)
	}
	if string(data) != before {
		t.Error("Project changed the record")
	}
}
