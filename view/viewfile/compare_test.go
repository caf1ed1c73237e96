package viewfile

import (
	"slices"
	"strings"
	"testing"

	"penstock/view"
)

func TestCompareTellsWhatAChangeAsksFor(t *testing.T) {
	add := func(where, text string) func(string) string {
		return func(file string) string { return strings.Replace(file, where, where+text, 1) }
	}
	both := func(changes ...func(string) string) func(string) string {
		return func(file string) string {
			for _, change := range changes {
				file = change(file)
			}
			return file
		}
	}
	column := add("    columns:\n", "      added: {type: text, class: revisable}\n")
	const demanded = "column stock.added is set from what events of type counted did not have to have or to be"
	replace := func(old, by string) func(string) string {
		return func(file string) string { return strings.Replace(file, old, by, 1) }
	}
	tests := []struct {
		name   string
		change func(string) string
		kind   ChangeKind
		added  []view.ColumnRef
		why    string
	}{
		{"nothing", func(s string) string { return s }, Same, nil, ""},
		{"a comment, quotes and the order of columns", both(replace("view: stock", "# a comment\nview: \"stock\""),
			replace("      born: {type: text, class: write_once}\n", ""), add("    columns:\n", "      born: {class: write_once, type: \"text\"}\n")), Same, nil, ""},
		{"a default spelled out", replace("on_hand: /on_hand", "on_hand: {path: /on_hand, as: integer, optional: false}"), Same, nil, ""},
		{"an unused type", add("types:\n", "  other: {a: int}\n"), Same, nil, ""},
		{"why a table is bounded", replace("    provenance: last\n", "    provenance: last\n    bounded: it is\n"), Same, nil, ""},
		{"a column that nothing sets", column, Additive, []view.ColumnRef{{Table: "stock", Column: "added"}}, ""},
		{"a column and what sets it", both(column, add("        seen: /time\n", "        added: {path: /new, optional: true}\n")), Additive, []view.ColumnRef{{Table: "stock", Column: "added"}}, ""},
		{"a column set from a constant", both(column, add("        seen: /time\n", "        added: {const: x}\n")), Additive, []view.ColumnRef{{Table: "stock", Column: "added"}}, ""},
		{"a column set from what was demanded before", both(column, add("        seen: /time\n", "        added: /born\n")), Additive, []view.ColumnRef{{Table: "stock", Column: "added"}}, ""},
		{"a column of a new type", both(add("types:\n", "  other: {a: int}\n"), add("    columns:\n", "      added: {type: frozen<other>, class: revisable}\n"),
			add("        seen: /time\n", "        added: {optional: true, fields: {a: /a}}\n")), Additive, []view.ColumnRef{{Table: "stock", Column: "added"}}, ""},
		{"a column that every event must have", both(column, add("        seen: /time\n", "        added: /new\n")), New, nil,
			demanded},
		{"a column with a bound that events need not have met", both(column, add("        seen: /time\n",
			"        added: {path: /f, optional: true, require: {max_length: 3}}\n")), New, nil, demanded},
		{"a set with a least number of elements", both(add("    columns:\n", "      added: {type: set<text>, class: write_once}\n"),
			add("        seen: /time\n", "        added: {each: /f, optional: true, require: {min_items: 2}, add: \"\"}\n")), New, nil, demanded},
		{"a set of the elements", both(add("    columns:\n", "      added: {type: set<text>, class: write_once}\n"),
			add("        seen: /time\n", "        added: {each: /f, optional: true, add: \"\"}\n")), Additive, []view.ColumnRef{{Table: "stock", Column: "added"}}, ""},
		{"a set of what elements need not have", both(add("    columns:\n", "      added: {type: set<text>, class: write_once}\n"),
			add("        seen: /time\n", "        added: {each: /f, optional: true, add: /name}\n")), New, nil, demanded},
		{"a map in which a key may stand twice", both(add("    columns:\n", "      added: {type: \"map<text, text>\", class: revisable}\n"),
			add("        seen: /time\n", "        added: {each: /f, optional: true, entry: {key: {path: /k, optional: true}, value: {path: /v, optional: true}}}\n")),
			New, nil, demanded},
		{"a map of two rules that may have one key", both(add("    columns:\n", "      added: {type: \"map<text, text>\", class: revisable}\n"),
			add("        seen: /time\n", "        added: [{entry: {key: /note, value: /text}}, {entry: {key: /born, value: /text}}]\n")), New, nil, demanded},
		{"a map of one entry", both(add("    columns:\n", "      added: {type: \"map<text, text>\", class: revisable}\n"),
			add("        seen: /time\n", "        added: {entry: {key: /note, value: /text}}\n")), Additive, []view.ColumnRef{{Table: "stock", Column: "added"}}, ""},
		{"a map like another", both(add("    columns:\n", "      added: {type: \"map<text, text>\", class: revisable}\n"),
			add("        seen: /time\n", "        added: {each: /names, entry: {key: /k, value: /v}}\n")), Additive, []view.ColumnRef{{Table: "stock", Column: "added"}}, ""},
		{"fields of an object that need not have had them", both(add("    columns:\n", "      added: {type: frozen<place>, class: revisable}\n"),
			add("        seen: /time\n", "        added: {path: /f, optional: true, fields: {aisle: /aisle, shelf: /shelf}}\n")), New, nil, demanded},
		{"fields that have places of their own", both(add("    columns:\n", "      added: {type: frozen<place>, class: revisable}\n"),
			add("        seen: /time\n", "        added: {optional: true, fields: {aisle: /a, shelf: /b}}\n")), Additive, []view.ColumnRef{{Table: "stock", Column: "added"}}, ""},
		{"fields with a bound", both(add("    columns:\n", "      added: {type: frozen<place>, class: revisable}\n"),
			add("        seen: /time\n", "        added: {optional: true, fields: {aisle: /a, shelf: {path: /b, require: {min: 0}}}}\n")), New, nil, demanded},
		{"a sum that elements need not have had", both(add("    columns:\n", "      added: {type: int, class: revisable}\n"),
			add("        seen: /time\n", "        added: {each: /f, optional: true, sum: [/n]}\n")), New, nil, demanded},
		{"another path", replace("on_hand: /on_hand", "on_hand: /quantity"), New, nil, `on.counted.stock.set.on_hand is "/quantity", it was "/on_hand"`},
		{"another class", replace("seen: {type: timestamp, class: revisable}", "seen: {type: timestamp, class: write_once}"), New, nil, "tables.stock.columns.seen is"},
		{"a column less", both(replace("      price: {type: decimal, class: revisable}\n", ""), replace("        price: /price\n", "")), New, nil, "tables.stock.columns.price is gone"},
		{"another provenance", replace("provenance: last", "provenance: all"), New, nil, "tables.stock.provenance is all, it was last"},
		{"another event type", add("\non:\n", "  sold: {stock: {set: {}}}\n"), New, nil, "on.sold is new"},
		{"a table more", add("tables:\n", "  other: {partition: {sku: {type: text, path: /sku}}, provenance: last}\n"), New, nil, "tables.other is new"},
		{"others", func(s string) string { return s + "others: ignore\n" }, New, nil, `others is new: "ignore"`},
		{"the envelope's id", replace("id: /id", "id: /event_id"), New, nil, `event.id is "/event_id", it was "/id"`},
		{"a field of a type", replace("shelf: int}", "shelf: bigint}"), New, nil, "types.place is"},
		{"a key", replace("lot: {type: text", "lot: {order: desc, type: text"), New, nil, "tables.stock.clustering.0 is"},
		{"a column and a change", both(column, replace("on_hand: /on_hand", "on_hand: /quantity")), New, nil, "on.counted.stock.set.on_hand is"},
	}
	before := mustLoad(t, sound)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := test.change(sound)
			if test.name != "nothing" && text == sound {
				t.Fatal("nothing changed")
			}
			after := mustLoad(t, text)
			got, err := Compare(before.Definition(), after)
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != test.kind || !slices.Equal(got.Added, test.added) {
				t.Fatalf("got %+v\n%s", got, after.Definition())
			}
			if !strings.Contains(strings.Join(got.Why, "\n"), test.why) || (test.kind == New) != (len(got.Why) > 0) {
				t.Errorf("got %q", got.Why)
			}
			if (test.kind == Same) != (after.Revision() == before.Revision()) {
				t.Errorf("revisions are %s and %s", before.Revision(), after.Revision())
			}
			if test.kind == Additive && after.RevisionWithout(test.added) != before.Revision() {
				t.Error("without the columns it is another revision")
			}
		})
	}
}

// TestAnAdditionDemandsNothingThatWasDemandedOfSomeEventsOnly: what a rule asks for under a condition, or of the elements
// of an array that may be empty, other events were applied without.
func TestAnAdditionDemandsNothingThatWasDemandedOfSomeEventsOnly(t *testing.T) {
	for _, test := range []struct {
		name, before, added string
		kind                ChangeKind
	}{
		{"under a condition of a rule", "tags: {add: /other, when: {path: /kind, equals: x}}", "/other", New},
		{"under the same condition", "tags: {add: /other, when: {path: /kind, equals: x}}", "{path: /other, when: {path: /kind, equals: x}}", Additive},
		{"under a condition of a value", "born: {path: /other, when: {path: /kind, equals: x}}", "/other", New},
		{"for each element", "names: {each: /names, entry: {key: /k, value: {path: /other, of: event}}}", "/other", New},
		{"in an object that may be missing", "where: {path: /other, optional: true, fields: {aisle: /aisle, shelf: /shelf}}", "/other/aisle", New},
		{"in an object that has to be there", "where: {path: /other, fields: {aisle: /aisle, shelf: /shelf}}", "/other/aisle", Additive},
		{"with a bound", "born: {path: /other, require: {max_length: 3}}", "/other", Additive},
		{"with the same bound", "born: {path: /other, require: {max_length: 3}}", "{path: /other, optional: true, require: {max_length: 3}}", Additive},
		{"with another bound", "born: {path: /other, require: {max_length: 3}}", "{path: /other, require: {max_length: 2}}", New},
		{"as a number", "on_hand: /other", "{path: /other, as: integer}", New},
	} {
		t.Run(test.name, func(t *testing.T) {
			column, _, _ := strings.Cut(test.before, ":")
			lines := strings.Split(sound, "\n")
			i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "        "+column+":") })
			lines[i] = "        " + test.before
			before := strings.Join(lines, "\n")
			after := strings.Replace(before, "    columns:\n", "    columns:\n      added: {type: text, class: revisable}\n", 1)
			after = strings.Replace(after, "        seen: /time\n", "        seen: /time\n        added: "+test.added+"\n", 1)
			got, err := Compare(mustLoad(t, before).Definition(), mustLoad(t, after))
			if err != nil || got.Kind != test.kind {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestADefinitionThatDoesNotLoadCannotBeCompared(t *testing.T) {
	if _, err := Compare([]byte("view: ["), mustLoad(t, sound)); err == nil {
		t.Error("is compared")
	}
}

func TestTwoViewsWithDifferentAdditionsAreOneWithoutThem(t *testing.T) {
	one := mustLoad(t, strings.Replace(sound, "    columns:\n", "    columns:\n      one: {type: text, class: revisable}\n", 1))
	two := mustLoad(t, strings.Replace(sound, "    columns:\n", "    columns:\n      two: {type: int, class: revisable}\n", 1))
	both := []view.ColumnRef{{Table: "stock", Column: "one"}, {Table: "stock", Column: "two"}}
	if one.RevisionWithout(both) != two.RevisionWithout(both) || one.RevisionWithout(both) != mustLoad(t, sound).Revision() {
		t.Error("they differ")
	}
	if one.RevisionWithout(nil) != one.Revision() {
		t.Error("without nothing it is another one")
	}
}
