package view_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"penstock/view"
	"penstock/view/viewtest"
)

// declared is a view that only declares tables.
type declared struct {
	name, revision string
	tables         []view.Table
}

func (v declared) Name() string                           { return v.name }
func (v declared) Revision() string                       { return v.revision }
func (v declared) Tables() []view.Table                   { return v.tables }
func (declared) Project(view.Record) (view.Result, error) { return view.Result{}, nil }

func TestCheckAcceptsEveryKindOfColumn(t *testing.T) {
	if err := view.Check(declared{"kitchen", "kitchen/1", []view.Table{viewtest.Kitchen, viewtest.StockTable}}); err != nil {
		t.Error(err)
	}
}

func TestCheckNamesTableAndColumn(t *testing.T) {
	// sound returns a table with one column of type typ.
	sound := func(typ view.Type) view.Table {
		return view.Table{
			Name:       "t",
			Partition:  []view.KeyColumn{{Name: "k", Type: view.Text}},
			Columns:    []view.Column{{Name: "c", Type: typ, Class: view.WriteOnce}},
			Provenance: view.ProvenanceAll,
		}
	}
	changed := func(change func(*view.Table)) []view.Table {
		table := sound(view.Text)
		change(&table)
		return []view.Table{table}
	}
	tests := []struct {
		name   string
		tables []view.Table
		want   string
	}{
		{"no table", nil, "view v: must have at least one table"},
		{"a table twice", []view.Table{sound(view.Text), sound(view.Text)}, "table t: stands twice"},
		{"table name", changed(func(t *view.Table) { t.Name = "T" }), "table T: name must match"},
		{"no partition key", changed(func(t *view.Table) { t.Partition = nil }), "table t: must have a partition key"},
		{"no provenance", changed(func(t *view.Table) { t.Provenance = 0 }), "table t: must declare its provenance"},
		{"column name", changed(func(t *view.Table) { t.Columns[0].Name = "c d" }), `table t: column "c d": name must match`},
		{"long column name", changed(func(t *view.Table) { t.Columns[0].Name = strings.Repeat("c", 41) }), "ccc\": name must match"},
		{"column twice", changed(func(t *view.Table) { t.Columns[0].Name = "k" }), "table t: column k: stands twice"},
		{"provenance's column", changed(func(t *view.Table) { t.Columns[0].Name = "events" }), "table t: column events: stands twice"},
		{"no class", changed(func(t *view.Table) { t.Columns[0].Class = 0 }), "table t: column c: must be write-once or revisable"},
		{"collection as key", changed(func(t *view.Table) { t.Partition[0].Type = view.SetOf(view.Text) }),
			"table t: column k: a key cannot be a set<text>"},
		{"no type", []view.Table{sound(view.Type{})}, "table t: column c: type of kind 0"},
		{"tuple as column", []view.Table{sound(view.TupleOf(view.Int))}, "table t: column c: a tuple cannot be a column of its own"},
		{"tuple as key", changed(func(t *view.Table) { t.Partition[0].Type = view.TupleOf(view.Int) }), "table t: column k: a tuple cannot be a column"},
		{"empty tuple", []view.Table{sound(view.SetOf(view.TupleOf()))}, "table t: column c: type frozen<tuple<>>: must have fields"},
		{"user type without fields", []view.Table{sound(view.UserType("u"))}, "type frozen<u>: must have fields"},
		{"user type's name", []view.Table{sound(view.UserType("U", view.Field{Name: "f", Type: view.Int}))}, `type "U": name must match`},
		{"field's name", []view.Table{sound(view.UserType("u", view.Field{Name: "F", Type: view.Int}))}, `type frozen<u>: field "F": name must match`},
		{"field twice", []view.Table{sound(view.UserType("u", view.Field{Name: "f", Type: view.Int}, view.Field{Name: "f", Type: view.Int}))},
			"table t: column c: type frozen<u>: field f: stands twice"},
		{"collection in a tuple", []view.Table{sound(view.TupleOf(view.SetOf(view.Int)))}, "type set<int>: a collection cannot stand inside"},
		{"collection in a map", []view.Table{sound(view.MapOf(view.Text, view.MapOf(view.Text, view.Int)))},
			"table t: column c: type map<text, int>: a collection cannot stand inside"},
		{"one name for two user types", changed(func(t *view.Table) {
			t.Columns = []view.Column{
				{Name: "c", Type: view.UserType("u", view.Field{Name: "f", Type: view.Int}), Class: view.WriteOnce},
				{Name: "d", Type: view.MapOf(view.Text, view.UserType("u", view.Field{Name: "f", Type: view.Text})), Class: view.WriteOnce},
			}
		}), "table t: column d: type frozen<u>: is another type than the one of this name before"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := view.Check(declared{"v", "v/1", test.tables})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func TestCheckReportsEverythingAtOnce(t *testing.T) {
	err := view.Check(declared{"V", "", []view.Table{{Name: "T"}}})
	for _, want := range []string{`view name "V"`, "revision must not be empty", "table T: name", "partition key", "provenance"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q in it", err, want)
		}
	}
}

func TestTypesAreSpeltAsInCQL(t *testing.T) {
	user := view.UserType("u", view.Field{Name: "f", Type: view.Int})
	tests := []struct {
		typ       view.Type
		plain, g3 string
	}{
		{view.Boolean, "boolean", "boolean"},
		{view.Int, "int", "int"},
		{view.Bigint, "bigint", "bigint"},
		{view.Text, "text", "text"},
		{view.Timestamp, "timestamp", "timestamp"},
		{view.UUID, "uuid", "uuid"},
		{view.TupleOf(view.Text, view.TupleOf(view.Int)), "frozen<tuple<text, frozen<tuple<int>>>>", "frozen<tuple<text, frozen<tuple<int>>>>"},
		{user, "frozen<u>", "frozen<u_g3>"},
		{view.TupleOf(user), "frozen<tuple<frozen<u>>>", "frozen<tuple<frozen<u_g3>>>"},
		{view.SetOf(view.EventRefType), "set<frozen<event_ref>>", "set<frozen<event_ref>>"},
		{view.MapOf(view.Text, user), "map<text, frozen<u>>", "map<text, frozen<u_g3>>"},
		{view.Type{}, "invalid", "invalid"},
	}
	for _, test := range tests {
		if got := test.typ.String(); got != test.plain {
			t.Errorf("got %s, want %s", got, test.plain)
		}
		if got := test.typ.CQL(3); got != test.g3 {
			t.Errorf("generation 3: got %s, want %s", got, test.g3)
		}
	}
}

func TestUserTypesComeAfterThoseTheyContain(t *testing.T) {
	inner := view.UserType("inner", view.Field{Name: "f", Type: view.Int})
	outer := view.UserType("outer", view.Field{Name: "a", Type: view.TupleOf(inner)}, view.Field{Name: "b", Type: view.EventRefType})
	var names []string
	for _, u := range view.MapOf(view.TupleOf(inner), outer).UserTypes() {
		names = append(names, u.UserName(2))
	}
	if want := []string{"inner_g2", "inner_g2", "event_ref", "outer_g2"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

func TestProvenanceAddsItsColumnAndCell(t *testing.T) {
	stamps, err := view.NewStamps(100, 7)
	if err != nil {
		t.Fatal(err)
	}
	ref := view.EventRef(view.Event{ID: "e"})
	all := view.Table{Provenance: view.ProvenanceAll, Columns: make([]view.Column, 1, 2)}
	last := view.Table{Provenance: view.ProvenanceLast, Columns: all.Columns}

	if got := all.ProvenanceCell(ref, stamps); got != (view.Cell{Column: "events", Path: ref, Stamp: 100}) {
		t.Errorf("all: got cell %v", got)
	}
	if got := last.ProvenanceCell(ref, stamps); got != (view.Cell{Column: "last_event", Value: ref, Stamp: 107}) {
		t.Errorf("last: got cell %v", got)
	}
	ofAll, ofLast := all.AllColumns(), last.AllColumns()
	if ofAll[1].Name != "events" || ofAll[1].Class != view.WriteOnce || ofAll[1].Type.String() != "set<frozen<event_ref>>" {
		t.Errorf("all: got column %v", ofAll[1])
	}
	if ofLast[1].Name != "last_event" || ofLast[1].Class != view.Revisable || ofLast[1].Type.String() != "frozen<event_ref>" {
		t.Errorf("last: got column %v", ofLast[1])
	}
}

func TestStampsFitIn63Bits(t *testing.T) {
	tests := []struct {
		birth, version int64
		want           view.Stamps
		err            string
	}{
		{1, 0, view.Stamps{WriteOnce: 1, Revisable: 1}, ""},
		{1_795_255_200_120_000, 3, view.Stamps{WriteOnce: 1_795_255_200_120_000, Revisable: 1_795_255_200_120_003}, ""},
		{1, math.MaxInt64 - 1, view.Stamps{WriteOnce: 1, Revisable: math.MaxInt64}, ""},
		{1, math.MaxInt64, view.Stamps{}, "must fit in 63 bits"},
		{math.MaxInt64, 1, view.Stamps{}, "must fit in 63 bits"},
		{0, 1, view.Stamps{}, "birth 0: must be at least 1"},
		{1, -1, view.Stamps{}, "version -1: must not be negative"},
	}
	for _, test := range tests {
		got, err := view.NewStamps(test.birth, test.version)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("birth %d, version %d: got %v, %v", test.birth, test.version, got, err)
		}
	}
}
