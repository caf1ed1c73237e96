package viewfile

import (
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/view"
)

// poisoned is a file with one column for each conversion, and an event for it that the tests damage in one place each.
const poisoned = `view: v
event:
  envelope: plain
  id: /id
  type: /type
  version: {path: /version, require: {max: 9223372036854775806}}
  time: /time
  birth: {path: /born, as: epoch_ms}
  entity: [/key]
types:
  pair: {a: text, b: int}
tables:
  t:
    partition: {k: {type: text, path: /key, require: {max_length: 70000}}}
    provenance: all
    columns:
      text: {type: text, class: revisable}
      int: {type: int, class: revisable}
      bigint: {type: bigint, class: revisable}
      decimal: {type: decimal, class: revisable}
      boolean: {type: boolean, class: revisable}
      uuid: {type: uuid, class: revisable}
      at: {type: timestamp, class: revisable}
      seconds: {type: timestamp, class: revisable}
      micros: {type: timestamp, class: revisable}
      quoted: {type: bigint, class: revisable}
      late: {type: timestamp, class: revisable}
      pair: {type: frozen<pair>, class: revisable}
      items: {type: "map<text, int>", class: revisable}
      tags: {type: set<text>, class: write_once}
      total: {type: int, class: revisable}
      code: {type: text, class: revisable}
on:
  happened:
    check: [{path: /note, type: text, require: {min_length: 1}, optional: true}]
    t:
      set:
        text: /in/text
        int: {path: /int, require: {min: -5, max: 5}}
        bigint: /bigint
        decimal: {path: /decimal, require: {max: "100"}}
        boolean: /boolean
        uuid: /uuid
        at: /at
        seconds: {path: /seconds, as: epoch_s}
        micros: {path: /micros, as: epoch_us}
        quoted: {path: /quoted, as: string}
        late: {path: /late, require: {not_after_arrival: 5m}}
        pair: {path: /pair, optional: true, fields: {a: /a, b: /b}}
        items: {each: /items, require: {min_items: 1}, entry: {key: /k, value: /v}}
        tags: {each: /tags, optional: true, add: ""}
        total: {each: /items, sum: [/v, /w]}
        code: {path: /code, require: {min_length: 2, max_length: 2, letters: upper}}
`

const soundEvent = `{"id":"e","type":"happened","version":3,"time":"2026-11-21T10:00:00Z","born":1700000000000,"key":"k","in":{"text":"t"},` +
	`"int":5,"bigint":-9223372036854775808,"decimal":1.50,"boolean":true,"uuid":"0F9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70","at":"1969-12-31T23:59:59.9999Z",` +
	`"seconds":-1,"micros":-1,"quoted":"007","late":"2026-11-21T10:05:01Z","pair":{"a":"x","b":1},"items":[{"k":"a","v":1,"w":2},{"k":"b","v":3,"w":-4}],` +
	`"tags":["x","y","x"],"code":"AB","extra":{"int":"x"}}`

func TestEveryConversion(t *testing.T) {
	result, err := mustLoad(t, poisoned).Project(view.Record{Data: []byte(soundEvent), Arrival: goldenArrival})
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]string{}
	e, err := Explain(mustLoad(t, poisoned), view.Record{Data: []byte(soundEvent), Arrival: goldenArrival})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range e.Rows[0].Cells {
		explained[c.Column+c.Path] = c.Value
	}
	for cell, want := range map[string]string{
		"text": "'t'", "int": "5", "bigint": "-9223372036854775808", "decimal": "1.5", "boolean": "true",
		"uuid": "0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70", "at": "'1969-12-31T23:59:59.999Z'", "seconds": "'1969-12-31T23:59:59.000Z'",
		"micros": "'1969-12-31T23:59:59.999Z'", "quoted": "7", "pair": "{a: 'x', b: 1}", "items'a'": "1", "items'b'": "3",
		"tags'x'": "", "tags'y'": "", "total": "-10", "code": "'AB'",
	} {
		if got, ok := explained[cell]; !ok || got != want {
			t.Errorf("%s: got %q, want %q", cell, got, want)
		}
	}
	if n := len(result.Mutations[0].Cells); n != 19 {
		t.Errorf("%d cells, want 19: an element that stands twice is one cell", n)
	}
}

func TestPoisonNamesPlaceValueAndRule(t *testing.T) {
	tests := []struct {
		name     string
		old, new string // the damage
		stage    view.Stage
		code     view.Code
		message  string
	}{
		{"no id", `"id":"e",`, ``, "decode", view.CodeMissingField, "/id: must be present and not null"},
		{"empty id", `"id":"e"`, `"id":""`, "decode", view.CodeMalformedField, `/id: "": must have 1 to 256 bytes, has 0`},
		{"type is a number", `"happened"`, `7`, "decode", view.CodeMalformedField, "/type: 7: must be text"},
		{"another type", `"happened"`, `"lost"`, "decode", view.CodeUnknownType, `/type: "lost": must be an event type that the view names, such as happened`},
		{"no version", `"version":3,`, ``, "decode", view.CodeMissingField, "/version: must be present"},
		{"version with a fraction", `"version":3`, `"version":3.0`, "decode", view.CodeMalformedField, "/version: 3.0: must be an integer"},
		{"version beyond 64 bits", `"version":3`, `"version":9223372036854775808`, "decode", view.CodeMalformedField, "must be between -9223372036854775808 and 9223372036854775807"},
		{"negative version", `"version":3`, `"version":-1`, "validate", view.CodeVersionOutOfRange, "/version: -1: must not be negative"},
		{"version out of the file's range", `"version":3`, `"version":9223372036854775807`, "validate", view.CodeVersionOutOfRange, "must be at most 9223372036854775806"},
		{"stamps overflow", `"version":3`, `"version":9223372036854775806`, "validate", view.CodeStampOutOfRange, "must fit in 63 bits"},
		{"born before 1970", `1700000000000`, `-1`, "validate", view.CodePlacedAtOutOfRange, "/born: 1969-12-31T23:59:59.999Z: must be after 1970"},
		{"time without offset", `10:00:00Z"`, `10:00:00"`, "decode", view.CodeMalformedField, `/time: "2026-11-21T10:00:00": must be an RFC 3339 time with an offset`},
		{"a pointer hits text", `"in":{"text":"t"}`, `"in":"t"`, "decode", view.CodeMalformedField, `/in: "t": must be an object`},
		{"a pointer hits an array", `"in":{"text":"t"}`, `"in":[{"text":"t"}]`, "decode", view.CodeMalformedField, `/in: an array: must be an object`},
		{"what a pointer goes through is missing", `"in":{"text":"t"},`, ``, "decode", view.CodeMissingField, `/in: must be present`},
		{"what a pointer leads to is null", `{"text":"t"}`, `{"text":null}`, "decode", view.CodeMissingField, `/in/text: must be present`},
		{"int beyond its bounds", `"int":5`, `"int":6`, "decode", view.CodeMalformedField, "/int: 6: must be between -5 and 5"},
		{"int as text", `"int":5`, `"int":"5"`, "decode", view.CodeMalformedField, `/int: "5": must be an integer`},
		{"bigint beyond 64 bits", `-9223372036854775808`, `-9223372036854775809`, "decode", view.CodeMalformedField, "/bigint: -9223372036854775809: must be between"},
		{"decimal too large", `1.50`, `100.01`, "decode", view.CodeMalformedField, "/decimal: 100.01: must be at most 100"},
		{"decimal with too many digits", `1.50`, `1e-101`, "decode", view.CodeMalformedField, "at most 100 digits"},
		{"boolean as text", `"boolean":true`, `"boolean":"true"`, "decode", view.CodeMalformedField, `/boolean: "true": must be true or false`},
		{"uuid without dashes", `0F9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70`, `0F9a5d1e6c1b4a7e8f3d2b9c4e5d6a70`, "decode", view.CodeMalformedField, "must be a UUID"},
		{"seconds out of range", `"seconds":-1`, `"seconds":253402300800`, "decode", view.CodeMalformedField, "must be a time of the years 1 to 9999"},
		{"micros as time", `"micros":-1`, `"micros":"2026-11-21T10:00:00Z"`, "decode", view.CodeMalformedField, "/micros: "},
		{"quoted without quotes", `"007"`, `7`, "decode", view.CodeMalformedField, "/quoted: 7: must be the digits of an integer, in quotes"},
		{"too long after arrival", `10:05:01Z`, `10:05:01.001Z`, "decode", view.CodeMalformedField, "must not be after 2026-11-21T10:05:01"},
		{"half a pair", `"b":1}`, `"c":1}`, "decode", view.CodeMissingField, "/pair/b: must be present"},
		{"pair is text", `{"a":"x","b":1}`, `"x"`, "decode", view.CodeMalformedField, `/pair: "x": must be an object`},
		{"items missing", `"items"`, `"Items"`, "decode", view.CodeMissingField, "/items: must be present"},
		{"items are an object", `[{"k":"a","v":1,"w":2},{"k":"b","v":3,"w":-4}]`, `{}`, "decode", view.CodeMalformedField, "/items: an object: must be an array"},
		{"no item", `[{"k":"a","v":1,"w":2},{"k":"b","v":3,"w":-4}]`, `[]`, "decode", view.CodeMalformedField, "/items: must have at least one element"},
		{"an item is null", `{"k":"b","v":3,"w":-4}`, `null`, "decode", view.CodeMalformedField, "/items/1: null: must be an object"},
		{"an item is wrong", `"v":3`, `"v":"3"`, "decode", view.CodeMalformedField, `/items/1/v: "3": must be an integer`},
		{"an item lacks its key", `"k":"b",`, ``, "decode", view.CodeMissingField, `/items/1/k: must be present`},
		{"one key twice", `"k":"b"`, `"k":"a"`, "decode", view.CodeMalformedField, `/items: key "a" of items: must not stand twice`},
		{"a sum beyond 31 bits", `"w":-4`, `"w":2000000000`, "decode", view.CodeMalformedField, `/items: the sum must fit in 31 bits`},
		{"a sum beyond 63 bits", `"v":3,"w":-4`, `"v":3,"w":9223372036854775807`, "decode", view.CodeMalformedField, `/items: the sum must fit in 63 bits`},
		{"a tag is null", `["x","y","x"]`, `["x",null]`, "decode", view.CodeMalformedField, `/tags/1: null: must not be null`},
		{"a tag is too long", `["x","y","x"]`, `["` + strings.Repeat("x", maxKey+1) + `"]`, "decode", view.CodeTooLarge, `/tags/0: has 65536 bytes`},
		{"a key is too long", `"key":"k"`, `"key":"` + strings.Repeat("k", maxKey+1) + `"`, "decode", view.CodeTooLarge, `/key: has 65536 bytes`},
		{"an empty partition key", `"key":"k"`, `"key":""`, "decode", view.CodeMalformedField, `/key: "": must not be empty`},
		{"letters in lower case", `"AB"`, `"Ab"`, "decode", view.CodeMalformedField, `/code: "Ab": must be upper-case letters only`},
		{"too many letters", `"AB"`, `"ABC"`, "decode", view.CodeMalformedField, `/code: "ABC": must have 2 bytes, has 3`},
		{"a check fails", `"code"`, `"note":"","code"`, "decode", view.CodeMalformedField, `/note: "": must have at least 1 bytes, has 0`},
		{"the first fault is told", `"int":5,"bigint":-9223372036854775808`, `"int":"x","bigint":"y"`, "decode", view.CodeMalformedField, "/int:"},

		{"a name stands twice", `"int":5`, `"int":5,"int":5`, "decode", view.CodeBadJSON, "/int: byte"},
		{"a name stands twice in what is not read", `{"int":"x"}`, `{"int":"x","int":"x"}`, "decode", view.CodeBadJSON, "/extra/int: byte"},
		{"text is not UTF-8", `"t"`, "\"t\xff\"", "decode", view.CodeBadJSON, "/in/text: byte"},
		{"half a surrogate pair", `"t"`, `"\ud83c"`, "decode", view.CodeBadJSON, "/in/text: byte"},
		{"cut off", `"extra":{"int":"x"}}`, ``, "decode", view.CodeBadJSON, "unexpected EOF"},
		{"something follows", `"extra":{"int":"x"}}`, `"extra":0} {}`, "decode", view.CodeBadJSON, "not several values"},
		{"an array", soundEvent, "[]", "decode", view.CodeBadJSON, "an array: must be a JSON object"},
		{"nothing", soundEvent, "", "decode", view.CodeBadJSON, "the record is empty"},
	}
	v := mustLoad(t, poisoned)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(soundEvent, test.old) {
				t.Fatalf("the sound event does not hold %s", test.old)
			}
			_, err := v.Project(view.Record{Data: []byte(strings.Replace(soundEvent, test.old, test.new, 1)), Arrival: goldenArrival})
			poison, ok := view.AsPoison(err)
			if !ok {
				t.Fatalf("got error %v, want poison", err)
			}
			if poison.Stage != test.stage || poison.Code != test.code || !strings.Contains(poison.Err.Error(), test.message) || len(poison.Err.Error()) > 300 {
				t.Errorf("got %v, want %s: %s: %s", poison, test.stage, test.code, test.message)
			}
		})
	}
}

func TestWhatIsOptionalMayBeMissing(t *testing.T) {
	v := mustLoad(t, poisoned)
	for _, gone := range []string{`"pair":{"a":"x","b":1},`, `"tags":["x","y","x"],`} {
		_, err := v.Project(view.Record{Data: []byte(strings.Replace(soundEvent, gone, "", 1)), Arrival: goldenArrival})
		if err != nil {
			t.Errorf("without %s: %v", gone, err)
		}
	}
}

func TestOthersAreIgnoredByTheFilesWord(t *testing.T) {
	v := mustLoad(t, poisoned+"others: ignore\n")
	result, err := v.Project(view.Record{Data: []byte(`{"type":"lost","id":7}`)})
	if err != nil || len(result.Mutations) != 0 || result.Event.Type != "lost" {
		t.Errorf("got %+v, %v", result, err)
	}
	if _, err := v.Project(view.Record{Data: []byte(`{"id":7}`)}); err == nil {
		t.Error("an event without a type is ignored")
	}
}

func TestTombstonesAreWhatTheFileSays(t *testing.T) {
	text := `view: v
event: {envelope: debezium, tombstones: ignore, version: /source/lsn, entity: [/row/id]}
tables:
  t:
    partition: {id: {type: bigint, path: /row/id}}
    provenance: last
    columns: {deleted: {type: boolean, class: revisable}}
on:
  c, u, r: {t: {set: {deleted: {const: false}}}}
  d: {t: {set: {deleted: {const: true}}}}
`
	for _, data := range []string{"", " \n", "null", `{"payload":null}`, `{"schema":{},"payload":null}`} {
		if result, err := mustLoad(t, text).Project(view.Record{Data: []byte(data)}); err != nil || len(result.Mutations) != 0 {
			t.Errorf("%q is not ignored: %v", data, err)
		}
		_, err := mustLoad(t, strings.Replace(text, "tombstones: ignore", "tombstones: poison", 1)).Project(view.Record{Data: []byte(data)})
		if poison, ok := view.AsPoison(err); !ok || poison.Code != view.CodeBadJSON {
			t.Errorf("%q: got %v", data, err)
		}
	}
	for _, data := range []string{"[]", "{}", `{"payload":7}`, "7", `{"payload":{}}`} {
		if _, err := mustLoad(t, text).Project(view.Record{Data: []byte(data)}); err == nil {
			t.Errorf("%q is taken for a tombstone", data)
		}
	}
	for _, data := range []string{`{"payload":null,`, `{"payload":null} {}`, "null garbage", `{"payload":null,"payload":{"op":"u"}}`} {
		_, err := mustLoad(t, text).Project(view.Record{Data: []byte(data)})
		if poison, ok := view.AsPoison(err); !ok || poison.Code != view.CodeBadJSON {
			t.Errorf("%q: got %v, want bad_json: it is cut off or damaged", data, err)
		}
	}
}

func TestAnEscapedNameIsTheNameItIs(t *testing.T) {
	v := mustLoad(t, strings.ReplaceAll(poisoned, "/in/text", "/in/te~1x~0t"))
	data := strings.Replace(soundEvent, `"text":"t"`, `"te\/x\u007et":"t\n"`, 1)
	e, err := Explain(v, view.Record{Data: []byte(data), Arrival: goldenArrival})
	if err != nil {
		t.Fatal(err)
	}
	if c := e.Rows[0].Cells[len(e.Rows[0].Cells)-3]; c.Column != "text" || c.Value != "'t\n'" {
		t.Errorf("got %+v", c)
	}
}

func TestFactsAreToldAsFarAsTheyCanBeRead(t *testing.T) {
	v := mustLoad(t, poisoned)
	_, err := v.Project(view.Record{Data: []byte(soundEvent[:strings.Index(soundEvent, `"decimal"`)]), Arrival: goldenArrival})
	poison, ok := view.AsPoison(err)
	if !ok {
		t.Fatal(err)
	}
	e := poison.Event
	if e.ID != "e" || e.Type != "happened" || e.EntityVersion != 3 || e.Entity != "k" || !e.Time.Equal(time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", e)
	}
}

func TestASchemaVersionWithoutRulesIsNeverIgnored(t *testing.T) {
	text := strings.NewReplacer("  id: /id\n", "  id: /id\n  schema_version: suffix\n", "  counted:", "  counted.v1:", "  moved:", "  moved.v1:").Replace(sound) + "others: ignore\n"
	_, err := mustLoad(t, text).Project(view.Record{Data: []byte(`{"id":"e","time":"2026-11-21T10:00:00Z","type":"moved.v2"}`)})
	if poison, ok := view.AsPoison(err); !ok || poison.Code != view.CodeUnknownSchemaVersion || poison.Event.Type != "moved" || poison.Event.SchemaVersion != 2 {
		t.Errorf("got %v", err)
	}
	if result, err := mustLoad(t, text).Project(view.Record{Data: []byte(`{"type":"sold.v2"}`)}); err != nil || len(result.Mutations) != 0 {
		t.Errorf("got %v", err)
	}
	text = strings.Replace(text, "schema_version: suffix", "schema_version: /schema", 1)
	for data, code := range map[string]view.Code{
		`{"id":"e","time":"2026-11-21T10:00:00Z","type":"moved","schema":2}`:   view.CodeUnknownSchemaVersion,
		`{"id":"e","time":"2026-11-21T10:00:00Z","type":"moved"}`:              view.CodeMissingField,
		`{"id":"e","time":"2026-11-21T10:00:00Z","type":"moved","schema":"1"}`: view.CodeMalformedField,
	} {
		_, err := mustLoad(t, text).Project(view.Record{Data: []byte(data)})
		if poison, ok := view.AsPoison(err); !ok || poison.Code != code {
			t.Errorf("%s: got %v, want %s", data, err, code)
		}
	}
	if _, err := mustLoad(t, text).Project(view.Record{Data: []byte(`{"type":"sold"}`)}); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestAViewServesManyAtOnce(t *testing.T) {
	v := loadExample(t, "order")
	events := goldenOrders(t)
	var wait sync.WaitGroup
	for name, data := range events {
		record := view.Record{Data: data, Arrival: goldenArrival}
		want := decision(v, record)
		for range 4 {
			wait.Go(func() {
				for range 50 {
					if got := decision(v, record); got != want {
						t.Errorf("%s: got %s, want %s", name, got, want)
						return
					}
				}
			})
		}
	}
	wait.Wait()
}
