package viewfile

import (
	"testing"

	"penstock/view"
)

// TestTheEntityIsReadAsTheRowHasIt: a type that writes one table reads the entity as that table's key does, and not as
// another's.
func TestTheEntityIsReadAsTheRowHasIt(t *testing.T) {
	v := mustLoad(t, `view: v
event: {envelope: plain, id: /id, type: /type, version: /version, time: /time, entity: [/key]}
tables:
  numbers:
    partition: {k: {type: int, path: /key}}
    provenance: last
  texts:
    partition: {k: {type: text, path: /key}}
    provenance: last
on:
  number: {numbers: {set: {}}}
  text: {texts: {set: {}}}
`)
	for data, want := range map[string]string{event("text", "1", 1, `"key":"x"`): "x", event("number", "1", 1, `"key":7`): "7"} {
		if result, err := v.Project(view.Record{Data: []byte(data)}); err != nil || result.Event.Entity != want {
			t.Errorf("%s: got %+v, %v", data, result.Event, err)
		}
	}
}

// TestValuesThatAreRare reads what no example has: conditions of presence and of the event, consts of every type, tuples,
// and sums with a factor of the event.
func TestValuesThatAreRare(t *testing.T) {
	v := mustLoad(t, `view: v
event: {envelope: plain, id: /id, type: /type, version: /version, time: /time, entity: [/key]}
types:
  named: {pair: "frozen<tuple<text, int>>"}
tables:
  t:
    partition: {k: {type: text, path: /key}}
    provenance: last
    columns:
      present: {type: text, class: revisable}
      absent: {type: text, class: revisable}
      elements: {type: "map<text, text>", class: revisable}
      half: {type: decimal, class: revisable}
      nobody: {type: uuid, class: revisable}
      since: {type: timestamp, class: revisable}
      named: {type: frozen<named>, class: revisable}
      total: {type: bigint, class: revisable}
on:
  happened:
    check: [{each: /list, path: /v, type: text, require: {max_length: 1}, when: {path: /strict, of: event, equals: true}}]
    t:
      set:
        present: {const: x, when: {path: /here, present: true}}
        absent: {const: y, when: {path: /here, present: false}}
        elements: {each: /list, entry: {key: /k, value: /v}, when: {path: /all, of: event, equals: true}}
        half: {const: "0.50"}
        nobody: {const: "00000000-0000-0000-0000-000000000000"}
        since: {const: "1970-01-01T00:00:01Z"}
        named: {fields: {pair: {fields: [/name, /number]}}}
        total: {each: /list, sum: [/n, {path: /price, of: event}]}
`)
	const more = `"key":"k","name":"a","number":2,"price":3,"list":[{"k":"l","v":"mm","n":4},{"k":"m","v":"m","n":1}]`
	consts := map[string]string{"half": "0.5", "nobody": "00000000-0000-0000-0000-000000000000", "since": "'1970-01-01T00:00:01.000Z'",
		"named": "{pair: ('a', 2)}", "total": "15"}
	for data, want := range map[string]map[string]string{
		event("happened", "1", 1, more+`,"here":1`):               {"present": "'x'"},
		event("happened", "1", 1, more+`,"here":null,"all":true`): {"absent": "'y'", "elements'l'": "'mm'", "elements'm'": "'m'"},
	} {
		e, err := Explain(v, view.Record{Data: []byte(data)})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(e.Rows[0].Cells); got != len(consts)+len(want)+1 {
			t.Errorf("%d cells: %+v", got, e.Rows[0].Cells)
		}
		for _, c := range e.Rows[0].Cells {
			expected, ok := want[c.Column+c.Path]
			if !ok {
				expected, ok = consts[c.Column+c.Path]
			}
			if c.Column != view.LastEventColumn && (!ok || c.Value != expected) {
				t.Errorf("%s: got %s, want %s", c.Column+c.Path, c.Value, expected)
			}
		}
	}
	_, err := v.Project(view.Record{Data: []byte(event("happened", "1", 1, more+`,"strict":true`))})
	if poison, ok := view.AsPoison(err); !ok || poison.Code != view.CodeMalformedField {
		t.Errorf("a check under a condition of the event: got %v", err)
	}
}
