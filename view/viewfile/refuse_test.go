package viewfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// sound is a file that the tests of refusals damage in one place each.
const sound = `view: stock
event:
  envelope: plain
  id: /id
  type: /type
  version: /version
  time: /time
  entity: [/sku]
types:
  place: {aisle: text, shelf: int}
tables:
  stock:
    partition:
      sku: {type: text, path: /sku}
    clustering:
      lot: {type: text, path: /lot}
    provenance: last
    columns:
      on_hand: {type: int, class: revisable}
      born: {type: text, class: write_once}
      names: {type: "map<text, text>", class: revisable}
      tags: {type: set<text>, class: write_once}
      where: {type: frozen<place>, class: revisable}
      notes: {type: "map<text, text>", class: write_once}
      seen: {type: timestamp, class: revisable}
      price: {type: decimal, class: revisable}
on:
  counted:
    stock:
      set:
        on_hand: /on_hand
        born: /born
        names: {each: /names, entry: {key: /k, value: /v}}
        tags: {add: /tag}
        where: {fields: {aisle: /aisle, shelf: /shelf}}
        notes: {entry: {key: /note, value: /text}}
        seen: /time
        price: /price
  moved:
    stock:
      set:
        on_hand: {path: /on_hand, optional: true}
`

func TestTheSoundFileIsAccepted(t *testing.T) {
	_, warnings, err := Load("view.yaml", []byte(sound))
	if err != nil || len(warnings) != 0 {
		t.Errorf("got %v and %v", err, warnings)
	}
}

func TestEveryRefusalNamesLineRuleAndAdvice(t *testing.T) {
	tests := []struct {
		name     string
		old, new string // the damage
		line     int
		rule, do string
	}{
		// The YAML.
		{"nothing", sound, "", 1, "the file is empty", "begin with view"},
		{"a tab", "  envelope", "\tenvelope", 3, "a tab indents the line", "indent with spaces"},
		{"no YAML", "envelope: plain", "envelope: [plain", 2, "this is not YAML", "look at this line"},
		{"not UTF-8", "view: stock", "view: st\xffck", 1, "not valid UTF-8", "save it as UTF-8"},
		{"two documents", "view: stock", "view: a\n---\nview: stock", 1, "several YAML documents", "keep one"},
		{"a list", sound, "- view", 1, "must be a mapping, is a list", "write view"},
		{"an anchor", "sku: {type: text, path: /sku}", "sku: &x {type: text, path: /sku}", 14, "anchors and aliases", "several event types"},
		{"a tag", "path: /sku}", "path: !!str /sku}", 14, "the tag !!str is not allowed", "leave it out"},
		{"a key twice", "  id: /id", "  id: /id\n  id: /id", 5, "stands twice, first in line 4", "keep one"},
		{"a number for a mapping", "  counted:\n    stock:\n", "  counted: 7\n  x:\n    stock:\n", 28, `must be a mapping, is "7"`, "or ignore"},
		{"too long a file", "view: stock", "view: stock\n" + strings.Repeat("#", maxFile), 1, "more than 1048576", "split the view"},

		// Keys and words.
		{"unknown key", "partition:", "partitoin:", 13, "is no key of this place, did you mean partition?", "use one of"},
		{"unknown section", "tables:", "table:", 11, "is no key of this place, did you mean tables?", "use one of"},
		{"unknown envelope", "plain", "plane", 3, `"plane" is not one of plain, cloudevents, debezium, did you mean plain?`, "write one of"},
		{"no envelope", "  envelope: plain\n", "", 3, "envelope is missing", "say how events are wrapped"},
		{"no version", "  version: /version\n", "", 3, "version is missing", "grows with every event"},
		{"no entity", "  entity: [/sku]\n", "", 3, "entity is missing", "what the version orders"},
		{"entity is no list", "[/sku]", "/sku", 8, `must be a list of JSON Pointers, is "/sku"`, "write entity: ["},
		{"no provenance", "    provenance: last\n", "", 12, "provenance is missing", "say provenance"},
		{"no class", "{type: int, class: revisable}", "{type: int}", 19, "class is missing", "say class"},
		{"no set", "      set:\n        on_hand: {path", "      st:\n        on_hand: {path", 41, "is no key of this place, did you mean set?", "use one of"},
		{"unknown table", "  moved:\n    stock:", "  moved:\n    stok:", 40, `"stok" is no table, did you mean stock?`, "declare it under tables"},
		{"unknown column", "on_hand: {path", "onhand: {path", 42, "has no such column, did you mean on_hand?", "declare it under tables.stock.columns"},
		{"no pointer", "on_hand: /on_hand", "on_hand: on_hand", 31, "a JSON Pointer must begin with a slash", "write a JSON Pointer"},
		{"bad escape", "on_hand: /on_hand", "on_hand: /on~hand", 31, "a ~ must be spelled ~0", "write a JSON Pointer"},
		{"empty pointer", "on_hand: /on_hand", `on_hand: ""`, 31, "the whole event", "write a JSON Pointer"},
		{"table called check", "  stock:\n    partition", "  check:\n    partition", 12, "the word has a meaning under on", "rename it"},
		{"a name in capitals", "on_hand: {type", "onHand: {type", 19, `"onHand" is no name`, "rename it"},
		{"view's name", "view: stock", "view: Stock", 1, `"Stock" is no name`, "rename it"},
		{"tombstones of a plain feed", "  id: /id", "  tombstones: ignore\n  id: /id", 4, "only a debezium feed has tombstones", "leave it out"},
		{"a debezium feed without a rule for tombstones", "plain", "debezium", 3, "tombstones is missing", "say tombstones: ignore"},
		{"others beside *", "\non:\n", "\nothers: ignore\non:\n  \"*\": {stock: {set: {}}}\n", 27, "no type is left over", "leave others out"},
		{"a type twice", "  moved:", "  moved, counted:", 39, `"counted" stands twice, first in line 28`, "keep one"},
		{"a type without schema version", "  id: /id", "  id: /id\n  schema_version: suffix", 29, "must end in its schema version", `write "counted.v1"`},
		{"schema version misspelled", "  id: /id", "  id: /id\n  schema_version: sufix", 5, "did you mean suffix?", "write suffix"},
		{"a type that does nothing", "  moved:\n    stock:\n      set:\n        on_hand: {path: /on_hand, optional: true}\n", "  moved: {}\n", 39, "the type writes nothing", "or ignore"},

		// Types.
		{"unknown CQL type", "type: int, class", "type: integr, class", 19, `"integr" is no CQL type, did you mean int`, "use one of"},
		{"other CQL type", "type: int, class", "type: double, class", 19, "views have no type double", "use decimal"},
		{"counter", "type: int, class", "type: counter, class", 19, ruleCounter, "keep the parts in a map"},
		{"list", "type: set<text>", "type: list<text>", 22, ruleList, "use a map"},
		{"frozen list", "type: set<text>", "type: frozen<list<text>>", 22, "one would be lost", "use set without frozen"},
		{"nested collection", `"map<text, text>", class: revisable`, `"map<text, set<text>>", class: revisable`, 21, ruleNested, "flatten it"},
		{"nested in a type", "shelf: int", "shelf: set<int>", 10, ruleNested, "flatten it"},
		{"unfrozen type", "frozen<place>", "place", 23, "always frozen", "write frozen<place>"},
		{"unknown type", "frozen<place>", "frozen<plce>", 23, `no type "plce" under types, did you mean place?`, "declare it"},
		{"type in itself", "shelf: int}", "shelf: frozen<place>}", 10, "type place contains itself", "take the field out"},
		{"bare tuple", "frozen<place>", "frozen<tuple<text>>", 23, "a tuple cannot be a column of its own", "declare a type"},
		{"broken type", "set<text>", "set<text", 22, "a > is missing", "write set<text>"},
		{"too much type", "set<text>", "set<text>>", 22, "nothing may follow", "write one type"},
		{"map of one", `"map<text, text>", class: revisable`, `"map<text>", class: revisable`, 21, "a map of 1 types", "write set<text>"},
		{"event_ref", "  place:", "  event_ref:", 10, "event_ref is the type of events", "another name"},
		{"empty type", "{aisle: text, shelf: int}", "{}", 10, "at least one field", "write the fields"},
		{"collection as key", "{type: text, path: /lot}", "{type: set<text>, path: /lot}", 16, "a key cannot be a set<text>", "use a scalar"},
		{"generated column", "      on_hand: {type", "      last_event: {type", 19, "generated from the table's provenance", "leave it out"},
		{"generated column set", "        on_hand: /on_hand", "        last_event: /on_hand", 31, "generated from the table's provenance", "leave it out"},
		{"key column set", "        on_hand: /on_hand", "        lot: /lot", 31, "is a key column", "leave it out"},
		{"column twice", "      born: {type", "      lot: {type", 20, "has a column of this name in line 16", "rename one"},
		{"revisable set", "set<text>, class: write_once", "set<text>, class: revisable", 22, "only ever added", "say class: write_once"},

		// What rules do not fit.
		{"a null", "born: /born", "born: {const: null}", 32, "a null is a delete", "optional: true"},
		{"a bare null", "born: /born", "born: null", 32, "a null is a delete", "optional: true"},
		{"a delete", "born: /born", "born: {delete: true}", 32, "a delete cannot be written in any order", "set a revisable boolean"},
		{"an increment", "on_hand: /on_hand", "on_hand: {increment: /n}", 31, "a count cannot be repeated", "keep the parts"},
		{"a default", "on_hand: /on_hand", "on_hand: {path: /on_hand, default: 0}", 31, "in place of a value that another event has set", "optional: true"},
		{"two sources", "on_hand: /on_hand", "on_hand: {path: /on_hand, const: 1}", 31, "a value has one source", "keep one"},
		{"no source", "on_hand: /on_hand", "on_hand: {optional: true}", 31, "the value has no source", "add path"},
		{"a const of another type", "on_hand: /on_hand", "on_hand: {const: x}", 31, `"x" is no int`, "of type int, such as 7"},
		{"a const beyond 32 bits", "on_hand: /on_hand", "on_hand: {const: 2147483648}", 31, "is no int", "of type int"},
		{"text that is none to YAML", "born: /born", "born: {const: true}", 32, "is not text to YAML: quote it", "of type text"},
		{"a time without offset", "seen: /time", `seen: {const: "2026-11-21T10:00:00"}`, 37, "is no RFC 3339 time with an offset", "such as"},
		{"a wrong form", "on_hand: /on_hand", "on_hand: {path: /on_hand, as: epoch_ms}", 31, `"epoch_ms" is not one of integer, string`, "write one of"},
		{"year of a text", "born: /born", "born: {path: /born, take: year}", 32, "a year or month is an int", "make the column an int"},
		{"case of a number", "on_hand: /on_hand", "on_hand: {path: /on_hand, case: upper}", 31, "only text has upper and lower case", "leave case out"},
		{"fields of a scalar", "on_hand: /on_hand", "on_hand: {fields: {a: /a}}", 31, "fields make a user-defined type", "use path"},
		{"a path for a type", "where: {fields: {aisle: /aisle, shelf: /shelf}}", "where: /where", 35, "is made of fields", "write {fields"},
		{"a field is missing", "{aisle: /aisle, shelf: /shelf}", "{aisle: /aisle}", 35, "shelf is missing", "written as a whole"},
		{"an optional field", "shelf: /shelf}", "shelf: {path: /shelf, optional: true}}", 35, "a field of it cannot be left alone", "leave it out"},
		{"each of a scalar", "on_hand: /on_hand", "on_hand: {each: /a, path: /b}", 31, "each makes entries of a map", "make it a sum"},
		{"a sum of text", "born: /born", "born: {each: /a, sum: [/b]}", 32, "a sum is an int or a bigint", "change the type"},
		{"a sum of nothing", "on_hand: /on_hand", "on_hand: {sum: [/b]}", 31, "goes through the elements of an array", "add each"},
		{"a path for a map", "names: {each: /names, entry: {key: /k, value: /v}}", "names: /names", 33, "are added one by one", "write {entry"},
		{"entry of a set", "tags: {add: /tag}", "tags: {entry: {key: /a, value: /b}}", 34, "is no key of this place", "use one of each"},
		{"an entry without key", "{key: /note, value: /text}", "{value: /text}", 36, "key is missing", "tells entries apart"},
		{"require what cannot be", "born: /born", "born: {path: /born, require: {min: 1}}", 32, "is no key of this place", "min_length"},
		{"require nothing", "born: /born", "born: {path: /born, require: {}}", 32, "requires nothing", "add one of"},
		{"require of a const", "born: /born", "born: {const: x, require: {min_length: 1}}", 32, "what the value at a path has to be", "beside a path"},
		{"bad duration", "seen: /time", "seen: {path: /time, require: {not_after_arrival: soon}}", 37, "must be a duration", "such as 5m"},
		{"two conditions", "on_hand: /on_hand", "on_hand: {path: /on_hand, when: {path: /a, equals: x, present: true}}", 31, "either equals or present", "write {path"},
		{"of outside each", "on_hand: /on_hand", "on_hand: {path: /on_hand, of: event}", 31, "of stands beside a path within each", "leave it out"},
		{"optional key", "lot: {type: text, path: /lot}", "lot: {type: text, path: /lot, optional: true}", 16, "a row without its whole key is no row", "leave it out"},

		{"a const with zeros in front", "on_hand: /on_hand", "on_hand: {const: 010}", 31, `"010" is no int`, "of type int"},
		{"an optional const", "born: /born", "born: {const: x, optional: true}", 32, "a const is always there", "leave optional out"},
		{"nothing can be required of a boolean", "  moved:\n    stock:\n", "  moved:\n    check: [{path: /b, type: boolean, require: {min: 1}}]\n    stock:\n", 40,
			"nothing to require of a boolean", "leave require out"},
		{"nothing can be required of the digits of an integer", "born: /born", "born: {path: /born, as: integer, require: {min_length: 1}}", 32,
			"nothing to require of a text read as integer", "leave require out"},
		{"types within types without end", "{aisle: text, shelf: int}", "{aisle: " + strings.Repeat("frozen<tuple<", 10) + "text" + strings.Repeat(">>", 10) + "}", 10,
			"types stand too deep", "declare a type"},
		{"a merge key", "      on_hand: {type: int, class: revisable}", "      on_hand: {<<: {type: int}, class: revisable}", 19, "merge keys are not allowed", "write it out"},
		{"no rule", "names: {each: /names, entry: {key: /k, value: /v}}", "names: []", 33, "the list is empty", "add a rule"},
		{"a sum of five factors", "on_hand: /on_hand", "on_hand: {each: /l, sum: [/a, /b, /c, /d, /e]}", 31, "a list of 1 to 4 factors", "write sum"},
		{"a factor without a path", "on_hand: /on_hand", "on_hand: {each: /l, sum: [{const: 2}]}", 31, "a factor comes from the array's elements", "write its pointer"},
		{"a condition on an element, and the event's value", "value: /v}}", "value: {path: /v, of: event, when: {path: /on, present: true}}}}", 33,
			"the value is not of an element of the array", "say when beside each"},
		{"a condition on an element, and a const", "value: /v}}", "value: {const: x, when: {path: /on, equals: true}}}}", 33,
			"the value is not of an element of the array", "say when beside each"},
		{"a key that is none", "  moved:\n    stock:\n", "  moved:\n    stock:\n      key: {skus: /x}\n", 41, "is no key column of stock", "name a column"},
		{"an entity of two places for one", "  moved:\n", "  moved:\n    entity: [/sku, /lot]\n", 40, "names the entity by 2 places, event.entity by 1", "as many places"},
		{"an entity of all types", "  moved:\n", "  \"*\":\n    entity: [/sku]\n    stock: {set: {}}\n  moved:\n", 40, "the entity of all types is said once", "say it under event"},
		{"a table twice under a condition", "  moved:\n    stock:\n", "  moved:\n    \"stock \": {when: {path: /a, present: true}, set: {}}\n    stock:\n", 41,
			"table stock stands in line 40 as well", "in one place"},
		{"a column twice", "  moved:\n    stock:\n", "  moved:\n    \"stock \": {set: {on_hand: /a}}\n    stock:\n", 43, "column on_hand of stock is set in line 40 as well", "keep one"},
		{"a check that is no list", "  moved:\n", "  moved:\n    check: /a\n", 40, "must be a list", "write check: ["},
		{"a check without a type", "  moved:\n", "  moved:\n    check: [{path: /a}]\n", 40, "type is missing", "add type"},
		{"a check of a map", "  moved:\n", "  moved:\n    check: [{path: /a, type: set<text>}]\n", 40, "only scalars are checked", "check its parts"},
		{"a check of a const", "  moved:\n", "  moved:\n    check: [{const: a, type: text}]\n", 40, "a check looks at a path", "add path"},
		{"a check of a number of elements of nothing", "  moved:\n", "  moved:\n    check: [{path: /a, type: text, min_items: 1}]\n", 40, "min_items stands beside each", "add each"},
		{"a check of no element", "  moved:\n", "  moved:\n    check: [{each: /a, path: \"\", type: text, min_items: 0}]\n", 40, "must be an integer of at least 1", "write such a number"},

		// Convergence.
		{"a key that a type does not have", "lot: {type: text, path: /lot}", "lot: {type: text}", 29, "do not say which row they write: key column lot has no path", "add path"},
		{"a row of two entities", "entity: [/sku]", "entity: [/sku, /warehouse]", 29, "a row can belong to two entities: /warehouse", "add a key column with path: /warehouse"},
		{"lower case for the entity", "sku: {type: text, path: /sku}", "sku: {type: text, path: /sku, case: lower}", 29, "key column sku keeps only a part of it", "entity: [{path: /sku, case: upper}]"},
		{"a year for the entity", "sku: {type: text, path: /sku}", "sku: {type: int, path: /sku, take: year}", 29, "keeps only a part of it", "use the path as it is"},
		{"a timestamp for the entity", "sku: {type: text, path: /sku}", "sku: {type: timestamp, path: /sku}", 29, "keeps only a part of it", "use the path as it is"},
		{"entity in other columns", "  moved:\n    stock:\n", "  moved:\n    stock:\n      key: {sku: /lot, lot: /sku}\n", 40, "in another key column than other types", "use the same key column"},
		{"a write-once cell of two types", "        on_hand: {path: /on_hand, optional: true}", "        born: /lot", 42, "types counted (line 32) and moved both write this write-once cell", "make the column revisable"},
		{"a write-once map of two types", "        on_hand: {path: /on_hand, optional: true}", "        notes: {entry: {key: /a, value: /b}}", 42, "both write this write-once cell", "make the column revisable"},
		{"a write-once map of two rules", "notes: {entry: {key: /note, value: /text}}", "notes: [{entry: {key: /note, value: /text}}, {entry: {key: /a, value: /text}}]", 36, "two rules write entries of one write-once map", "use one rule"},
		{"a lossy key of a write-once map", "{key: /note, value: /text}", "{key: {path: /note, case: lower}, value: /text}", 36, "two entries could become one", "or make the column revisable"},
		{"a write-once cell of all types", "  moved:\n    stock:\n      set:\n        on_hand: {path: /on_hand, optional: true}", "  \"*\":\n    stock:\n      set:\n        born: /lot", 42, `"*" stands for every event type`, "make the column revisable"},
		{"a row of all types and of one under a condition", "  moved:\n    stock:\n      set:", "  \"*\": {stock: {set: {}}}\n  moved:\n    stock:\n      when: {path: /a, equals: 1}\n      set:",
			41, "an event has one row of it under one condition", "write the types out"},
		{"an entity of its own in a row of all types", "  moved:\n    stock:\n", "  \"*\": {stock: {set: {}}}\n  lost: {entity: [/x], check: [{path: /x, type: text}]}\n  moved:\n    stock:\n",
			39, "a row can belong to two entities: /x", "add a key column with path: /x"},
		{"digits in quotes for the entity", "sku: {type: text, path: /sku}", "sku: {type: bigint, path: /sku, as: string}", 29, "digits in quotes lose something", "in a text"},
		{"a cell for all types and for one", "  moved:\n    stock:\n      set:\n        on_hand: {path: /on_hand, optional: true}", "  \"*\":\n    stock:\n      set:\n        on_hand: /x", 31, "sets this column as well, so one event would set it twice", "keep one of the two"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(sound, test.old) {
				t.Fatalf("the sound file does not hold %q", test.old)
			}
			_, _, err := Load("view.yaml", []byte(strings.Replace(sound, test.old, test.new, 1)))
			mistakes, ok := errors.AsType[*Mistakes](err)
			if !ok {
				t.Fatalf("got error %v, want mistakes", err)
			}
			for _, m := range mistakes.List {
				if m.Line == test.line && strings.Contains(m.Rule, test.rule) && strings.Contains(m.Do, test.do) {
					if want := fmt.Sprintf("view.yaml:%d:%d: ", m.Line, m.Column); !strings.HasPrefix(m.String(), want) || m.Column < 1 || m.Do == "" {
						t.Errorf("the message is %q", m)
					}
					return
				}
			}
			t.Errorf("got:\n%v\nwant line %d: %s: %s", err, test.line, test.rule, test.do)
		})
	}
}

func TestASumCannotStandWithinEach(t *testing.T) {
	text := file("[/k]", "{k: {type: text, path: /k}}", "  a: {t: {set: {numbers: {each: /l, entry: {key: {each: /m, sum: [/n]}, value: /v}}}}}\n")
	if _, _, err := Load("view.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "each cannot stand within each: make the inner array a table") {
		t.Errorf("got %v", err)
	}
}

func TestASchemaVersionHasNoZerosInFront(t *testing.T) {
	text := strings.NewReplacer("  id: /id\n", "  id: /id\n  schema_version: suffix\n", "  counted:", "  counted.v01:", "  moved:", "  moved.v1:").Replace(sound)
	if _, _, err := Load("view.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), `a schema version has no zeros in front: write "counted.v1"`) {
		t.Errorf("got %v", err)
	}
}

// TestAFileThatIsTooLongWrittenOutIsRefused: what is short because types share a key, view_state would keep in full.
func TestAFileThatIsTooLongWrittenOutIsRefused(t *testing.T) {
	var types, columns, sets []string
	for i := range 1000 {
		types = append(types, fmt.Sprintf("t%d", i))
		columns = append(columns, fmt.Sprintf("      c%d: {type: text, class: revisable}\n", i))
		sets = append(sets, fmt.Sprintf("        c%d: /c\n", i))
	}
	for name, n := range map[string]int{"many columns": 1000, "a few, with long rules": 40} {
		t.Run(name, func(t *testing.T) {
			set := strings.Join(sets[:n], "")
			if n < 1000 {
				set = strings.ReplaceAll(set, "/c\n", "{path: /c, require: {min_length: 1}}\n")
			}
			text := strings.Replace(sound, "    columns:\n", "    columns:\n"+strings.Join(columns[:n], ""), 1) +
				"  ? " + strings.Join(types, ",") + "\n  :\n    stock:\n      set:\n" + set
			_, _, err := Load("view.yaml", []byte(text))
			if err == nil || !strings.Contains(err.Error(), "written out for each type and table") || len(text) > maxFile/8 {
				t.Errorf("got %v of %d bytes", err, len(text))
			}
		})
	}
}

// TestOneReasonIsEnough: of many types that write one cell each is refused once, and not with every other.
func TestOneReasonIsEnough(t *testing.T) {
	var types []string
	for i := range 300 {
		types = append(types, fmt.Sprintf("t%d", i))
	}
	_, _, err := Load("view.yaml", []byte(sound+"  ? "+strings.Join(types, ",")+"\n  : {stock: {set: {born: /b}}}\n"))
	mistakes, ok := errors.AsType[*Mistakes](err)
	if !ok || len(mistakes.List) != 300 {
		t.Errorf("got %d mistakes", len(mistakes.List))
	}
}

func TestWarningsOfTheEvent(t *testing.T) {
	feed := strings.NewReplacer("  envelope: plain\n  id: /id\n  type: /type\n", "  envelope: debezium\n  tombstones: ignore\n", "  time: /time\n", "").Replace(sound)
	for text, want := range map[string]string{
		strings.Replace(sound, "  id: /id\n", "", 1):                          "no id is given",
		strings.Replace(feed, "version: /version", "version: /source/pos", 1): "pos begins again with every file",
		strings.Replace(feed, "version: /version", "version: /ts_ms", 1):      "two changes of one row may have one time",
	} {
		_, warnings, err := Load("view.yaml", []byte(text))
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Text, want) {
			t.Errorf("got %v and %v, want %q", warnings, err, want)
		}
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	text := strings.NewReplacer("type: int, class", "type: list<int>, class", "entity: [/sku]", "entity: [/sku, /warehouse]",
		"  id: /id", "  id: id").Replace(sound)
	_, _, err := Load("view.yaml", []byte(text))
	mistakes, ok := errors.AsType[*Mistakes](err)
	if !ok || len(mistakes.List) < 2 {
		t.Fatalf("got %v", err)
	}
	for i := 1; i < len(mistakes.List); i++ {
		if mistakes.List[i].Line < mistakes.List[i-1].Line {
			t.Errorf("mistakes are not in the order of the file:\n%v", err)
		}
	}
}
