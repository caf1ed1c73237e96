package viewfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// file returns a view of one table with a few columns, with the sections that a test replaces.
func file(entity, keys, on string) string {
	return `view: v
event: {envelope: plain, id: /id, type: /type, version: /version, time: /time, entity: ` + entity + `}
tables:
  t:
    partition: ` + keys + `
    provenance: last
    bounded: a test
    columns:
      once: {type: text, class: write_once}
      notes: {type: "map<text, text>", class: write_once}
      numbers: {type: "map<bigint, text>", class: write_once}
      last: {type: text, class: revisable}
on:
` + on
}

// frozen is file with keys of user-defined types.
func frozen(keys, on, entity string) string {
	return strings.Replace(file(entity, keys, on), "tables:", "types: {pair: {x: text, y: text}, outer: {in: frozen<pair>}}\ntables:", 1)
}

func event(typ, id string, version int, more string) string {
	return fmt.Sprintf(`{"id":%q,"type":%q,"version":%d,"time":"2026-11-21T10:00:00Z",%s}`, id, typ, version, more)
}

// TestWhatIsRefusedWouldDiverge builds each file as if it were not refused, and shows events that end in other rows than
// in their order, or in other rows from one order to another. The events keep the author's word: versions grow with
// every event of an entity.
func TestWhatIsRefusedWouldDiverge(t *testing.T) {
	const key = "{k: {type: text, path: /k}}"
	tests := []struct {
		name    string
		text    string
		refusal string
		events  []string // in the order in which they happened
	}{
		{"a write-once cell of two types", file("[/k]", key, `
  a: {t: {set: {once: /v}}}
  b: {t: {set: {once: /v}}}
`), "both write this write-once cell", []string{event("a", "1", 1, `"k":"k","v":"z"`), event("b", "2", 2, `"k":"k","v":"a"`)}},
		{"a write-once cell of all types", file("[/k]", key, `
  "*": {t: {set: {once: /v}}}
`), `"*" stands for every event type`, []string{event("a", "1", 1, `"k":"k","v":"z"`), event("b", "2", 2, `"k":"k","v":"a"`)}},
		{"a write-once map of two types", file("[/k]", key, `
  a: {t: {set: {notes: {entry: {key: /n, value: /v}}}}}
  b: {t: {set: {notes: {entry: {key: /n, value: /v}}}}}
`), "both write this write-once cell", []string{event("a", "1", 1, `"k":"k","n":"n","v":"z"`), event("b", "2", 2, `"k":"k","n":"n","v":"a"`)}},
		{"a write-once map of two rules", file("[/k]", key, `
  a: {t: {set: {notes: [{entry: {key: /n, value: /v}}, {entry: {key: /o, value: {path: /v, case: upper}}}]}}}
`), "two rules write entries", []string{event("a", "1", 1, `"k":"k","n":"n","o":"x","v":"z"`), event("a", "2", 2, `"k":"k","n":"x","o":"n","v":"y"`)}},
		{"a lossy key of a write-once map", file("[/k]", key, `
  a: {t: {set: {notes: {entry: {key: {path: /n, case: lower}, value: /v}}}}}
`), "two entries could become one", []string{event("a", "1", 1, `"k":"k","n":"N","v":"z"`), event("a", "2", 2, `"k":"k","n":"n","v":"a"`)}},
		{"a row of two entities", file("[/e]", key, `
  a: {t: {set: {last: /v}}}
`), "a row can belong to two entities", []string{event("a", "1", 7, `"e":"1","k":"k","v":"first"`), event("a", "2", 1, `"e":"2","k":"k","v":"second"`)}},
		{"lower case for the entity", file("[/k]", "{k: {type: text, path: /k, case: lower}}", `
  a: {t: {set: {last: /v}}}
`), "keeps only a part of it", []string{event("a", "1", 7, `"k":"K","v":"first"`), event("a", "2", 1, `"k":"k","v":"second"`)}},
		{"a year for the entity", file("[/k]", "{k: {type: int, path: /k, take: year}}", `
  a: {t: {set: {last: /v}}}
`), "keeps only a part of it", []string{event("a", "1", 7, `"k":"2026-01-01T00:00:00Z","v":"first"`), event("a", "2", 1, `"k":"2026-02-01T00:00:00Z","v":"second"`)}},
		{"a timestamp for the entity", file("[/k]", "{k: {type: timestamp, path: /k}}", `
  a: {t: {set: {last: /v}}}
`), "keeps only a part of it", []string{event("a", "1", 7, `"k":"2026-01-01T00:00:00.0001Z","v":"first"`), event("a", "2", 1, `"k":"2026-01-01T00:00:00.0002Z","v":"second"`)}},
		{"entity in other columns", file("[/e, /f]", "{k: {type: text, path: /e}, l: {type: text, path: /f}}", `
  a: {t: {set: {last: /v}}}
  b: {t: {key: {k: /f, l: /e}, set: {last: /v}}}
`), "in another key column than other types", []string{event("a", "1", 7, `"e":"1","f":"2","v":"first"`), event("b", "2", 1, `"e":"2","f":"1","v":"second"`)}},
		{"fields of a frozen key that change places", frozen("{k: {type: frozen<pair>}}", `
  a: {t: {key: {k: {fields: {x: /e, y: /f}}}, set: {last: /v}}}
  b: {t: {key: {k: {fields: {x: /f, y: /e}}}, set: {last: /v}}}
`, "[/e, /f]"), "or in another field of it", []string{event("a", "1", 7, `"e":"1","f":"2","v":"first"`), event("b", "2", 1, `"e":"2","f":"1","v":"second"`)}},
		{"a field of a frozen key that is the event's", frozen("{k: {type: frozen<outer>, path: /g, fields: {in: {path: /h, of: event, fields: {x: /e, y: /f}}}}}", `
  a: {t: {set: {last: /v}}}
`, "[/g/h/e]"), "a row can belong to two entities", []string{event("a", "1", 7, `"g":{"h":{"e":"1"}},"h":{"e":"e","f":"f"},"v":"first"`),
			event("a", "2", 1, `"g":{"h":{"e":"2"}},"h":{"e":"e","f":"f"},"v":"second"`)}},
		{"an entity of its own in a row of all types", file("[/k]", key, `
  "*": {t: {set: {last: /v}}}
  a: {entity: [/e], check: [{path: /e, type: text}]}
`), "a row can belong to two entities: /e", []string{event("b", "1", 7, `"k":"k","v":"first"`), event("a", "2", 1, `"e":"e","k":"k","v":"second"`)}},
		{"digits in quotes for the entity", file("[/k]", "{k: {type: int, path: /k, as: string}}", `
  a: {t: {set: {last: /v}}}
`), "keeps only a part of it", []string{event("a", "1", 7, `"k":"007","v":"first"`), event("a", "2", 1, `"k":"7","v":"second"`)}},
		{"a decimal in quotes for the entity", file("[/k]", "{k: {type: decimal, path: /k, as: string}}", `
  a: {t: {set: {last: /v}}}
`), "keeps only a part of it", []string{event("a", "1", 7, `"k":"1.0","v":"first"`), event("a", "2", 1, `"k":"1.00","v":"second"`)}},
		{"digits in quotes for the key of a write-once map", file("[/k]", key, `
  a: {t: {set: {numbers: {entry: {key: {path: /n, as: string}, value: /v}}}}}
`), "two entries could become one", []string{event("a", "1", 1, `"k":"k","n":"01","v":"z"`), event("a", "2", 2, `"k":"k","n":"1","v":"a"`)}},
		{"a sum for the key of a write-once map", file("[/k]", key, `
  a: {t: {set: {numbers: {entry: {key: {each: /l, sum: [/n]}, value: /v}}}}}
`), "two entries could become one", []string{event("a", "1", 1, `"k":"k","l":[{"n":2}],"v":"z"`), event("a", "2", 2, `"k":"k","l":[{"n":1},{"n":1}],"v":"a"`)}},
		{"a cell that an event sets twice", file("[/k]", key, `
  "*": {t: {set: {last: /v}}}
  a: {t: {set: {last: /w}}}
`), "one event would set it twice", []string{event("a", "1", 1, `"k":"k","v":"z","w":"a"`)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := Load("v.yaml", []byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.refusal) {
				t.Fatalf("got %v, want a refusal: %s", err, test.refusal)
			}
			v := unchecked(t, test.text)
			inOrder := fold(t, v, test.events).String()
			diverges := false
			for _, order := range permutations(test.events) {
				diverges = diverges || merge(t, v, order).String() != inOrder
			}
			if !diverges {
				t.Errorf("nothing diverges, so there is no reason to refuse it:\n%s", inOrder)
			}
		})
	}
}

// permutations returns every order of the events.
func permutations(events []string) [][]string {
	if len(events) < 2 {
		return [][]string{events}
	}
	var out [][]string
	for i := range events {
		rest := slices.Delete(slices.Clone(events), i, i+1)
		for _, tail := range permutations(rest) {
			out = append(out, append([]string{events[i]}, tail...))
		}
	}
	return out
}

// TestAKeyThatATypeLacksWouldDiverge: without the key column's value, events of two entities would write one row.
func TestAKeyThatATypeLacksWouldDiverge(t *testing.T) {
	missing := file("[/k]", "{k: {type: text}}", "\n  a: {t: {key: {k: /k}, set: {last: /v}}}\n  b: {t: {set: {last: /v}}}\n")
	if _, _, err := Load("v.yaml", []byte(missing)); err == nil || !strings.Contains(err.Error(), "key column k has no path") {
		t.Fatalf("got %v", err)
	}
	// What is left to put there is one value for all.
	v := unchecked(t, strings.Replace(missing, "b: {t: {set", "b: {t: {key: {k: {const: none}}, set", 1))
	events := []string{event("b", "1", 7, `"k":"1","v":"first"`), event("b", "2", 1, `"k":"2","v":"second"`)}
	if fold(t, v, events).String() == merge(t, v, events).String() {
		t.Error("nothing diverges")
	}
}

// TestOneRowUnderTwoConditionsWouldBeNeithers: an event makes one mutation of a table, which is written or not. If what all
// types write there and what one writes were put together, the rows would not be those that both say.
func TestOneRowUnderTwoConditionsWouldBeNeithers(t *testing.T) {
	const all, own = `  "*": {t: {set: {}}}`, `  a: {t: {when: {path: /final, equals: true}, set: {last: /v}}}`
	with := func(on ...string) string {
		return file("[/k]", "{k: {type: text, path: /k}}", strings.Join(on, "\n")+"\n")
	}
	if _, _, err := Load("v.yaml", []byte(with(all, own))); err == nil || !strings.Contains(err.Error(), "an event has one row of it under one condition") {
		t.Fatalf("got %v", err)
	}
	events := []string{event("a", "1", 1, `"k":"k","final":false,"v":"not yet"`)}
	said := merge(t, mustLoad(t, with(all)), events)
	for row, cells := range merge(t, mustLoad(t, with(own)), events) {
		maps.Copy(said[row], cells)
	}
	if made := merge(t, unchecked(t, with(all, own)), events); made.String() == said.String() {
		t.Errorf("both are said:\n%s", made)
	}
}
