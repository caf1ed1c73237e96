package viewfile

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/view"
)

func TestExplainSpellsCellsAndStatements(t *testing.T) {
	data, err := os.ReadFile("examples/profiles/events/03_consented.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Explain(loadExample(t, "profiles"), view.Record{Data: data, Arrival: goldenArrival})
	if err != nil {
		t.Fatal(err)
	}
	got := e.CQL("shop", 2)
	want := []string{
		`UPDATE shop.profile_by_user_g2 USING TIMESTAMP 1795161600000000 SET "events" = "events" + {{version: 26412000020, type: 'user.consented', ` +
			`time: '2026-11-21T09:00:20.000Z', id: 'evt-03_consented'}} WHERE "user_id" = 0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70;`,
		`UPDATE shop.profile_by_user_g2 USING TIMESTAMP 1795188012000020 SET "consents" = "consents" + {'ads': {granted: false, at: '2026-11-21T09:00:20.000Z'}, ` +
			`'news': {granted: true, at: '2026-11-21T09:00:20.000Z'}} WHERE "user_id" = 0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70;`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
	first := e.Rows[0].Cells[0]
	if first.Column != "consents" || first.Type != "map<text, frozen<consent>>" || first.Class != "revisable" || first.Path != "'ads'" || first.Stamp != 1795188012000020 {
		t.Errorf("got %+v", first)
	}
	if key := e.Rows[0].Key[0]; key != (ExplainedKey{"user_id", "uuid", "0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70", true}) {
		t.Errorf("got %+v", key)
	}
}

func TestExplainReturnsThePoison(t *testing.T) {
	if _, err := Explain(loadExample(t, "stock"), view.Record{Data: []byte("{}")}); err == nil {
		t.Error("no error")
	} else if _, ok := view.AsPoison(err); !ok {
		t.Errorf("%v is no poison", err)
	}
}

func TestLiteralsAreThoseOfCQL(t *testing.T) {
	decimal := func(s string) view.Value {
		unscaled, scale, ok := parseDecimal(s)
		if !ok {
			t.Fatalf("%s is no decimal", s)
		}
		return view.DecimalValue(unscaled, scale)
	}
	tests := []struct {
		typ   view.Type
		value view.Value
		want  string
	}{
		{view.Text, view.TextValue("it's"), "'it''s'"},
		{view.Decimal, decimal("-0.050"), "-0.05"},
		{view.Decimal, decimal("12e2"), "1200"},
		{view.Decimal, decimal("0.0"), "0"},
		{view.TupleOf(view.Int, view.Boolean), view.TupleValue(view.IntValue(-1), view.BooleanValue(true)), "(-1, true)"},
		{view.Int, view.TextValue("x"), "0x78"},
	}
	for _, test := range tests {
		if got := literal(test.typ, test.value); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestDecimalsHaveOneForm(t *testing.T) {
	for _, same := range [][]string{{"1", "1.0", "1.00", "1e0", "10e-1", "0.1e1", "1E+0"}, {"0", "-0", "0.00", "0e5"}, {"100", "1e2", "100.0"}, {"-0.5", "-5e-1", "-0.50"}} {
		for _, s := range same {
			unscaled, scale, ok := parseDecimal(s)
			first, firstScale, _ := parseDecimal(same[0])
			if !ok || unscaled.Cmp(first) != 0 || scale != firstScale {
				t.Errorf("%s is %v · 10^-%d, and %s is %v · 10^-%d", s, unscaled, scale, same[0], first, firstScale)
			}
		}
	}
	for _, s := range []string{"", "-", ".5", "5.", "01", "1e", "e1", "1e1.5", "+1", "0x1", "1_0", "1e+-1", "1e101", "1e-101", "1e99999999999", strings.Repeat("9", 101), " 1"} {
		if _, _, ok := parseDecimal(s); ok {
			t.Errorf("%q is taken for a decimal", s)
		}
	}
	for _, s := range []string{strings.Repeat("9", 100), "0." + strings.Repeat("0", 99) + "1", "-" + strings.Repeat("9", 100) + "." + strings.Repeat("9", 100)} {
		if _, _, ok := parseDecimal(s); !ok {
			t.Errorf("%s is refused", s)
		}
	}
}

func TestWarningsNameLineAndReason(t *testing.T) {
	replace := func(old, by string) string { return strings.Replace(sound, old, by, 1) }
	tests := []struct {
		name, text string
		line       int
		want       string
	}{
		{"all on an entity without birth", replace("provenance: last", "provenance: all"), 12, "entities without a birth tend to have no end"},
		{"a type that leaves holes", replace("provenance: last", "provenance: all") + "  sold: ignore\n", 12, "events of type sold do not write this table"},
		{"a partition without end", replace("sku: {type: text, path: /sku}\n    clustering:\n      lot: {type: text, path: /lot}", "lot: {type: text, path: /lot}\n    clustering:\n      sku: {type: text, path: /sku}"), 12,
			"a partition holds all entities that share lot"},
		{"an unused type", replace("types:\n", "types:\n  other: {a: int}\n"), 10, "no column has this type"},
		{"an unset column", replace("    columns:\n", "    columns:\n      other: {type: int, class: revisable}\n"), 12, "nothing sets other"},
		{"a table that nobody writes", replace("tables:\n", "tables:\n  other: {partition: {sku: {type: text, path: /sku}}, provenance: last}\n"), 12, "no event type writes this table"},
		{"no id", replace("  id: /id\n", ""), 3, "two events under one version could not be told apart"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, warnings, err := Load("view.yaml", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(warnings, func(w Warning) bool { return w.Line == test.line && strings.Contains(w.Text, test.want) }) {
				t.Errorf("got %v, want line %d: %s", warnings, test.line, test.want)
			}
		})
	}
	for _, position := range []string{"/source/pos", "/source/ts_ms"} {
		text := strings.NewReplacer("envelope: plain", "envelope: debezium\n  tombstones: ignore", "version: /version", "version: "+position).Replace(sound)
		if _, warnings, err := Load("view.yaml", []byte(text)); err != nil || len(warnings) != 1 {
			t.Errorf("%s: %v, %v", position, warnings, err)
		}
	}
}
