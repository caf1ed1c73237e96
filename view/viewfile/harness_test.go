package viewfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"penstock/view"
)

// mustLoad loads a file in which nothing may be refused.
func mustLoad(t testing.TB, text string) *View {
	t.Helper()
	v, _, err := Load("view.yaml", []byte(text))
	if err != nil {
		t.Fatalf("refused:\n%v\n%s", err, text)
	}
	return v
}

// unchecked builds the view of a file as if nothing of it were refused.
func unchecked(t testing.TB, text string) *View {
	t.Helper()
	r := read("view.yaml", []byte(text))
	if r.definition == nil || r.definition.event == nil {
		t.Fatalf("cannot be built at all: %v", r.mistakes)
	}
	return newView(r.definition, r.definition.canonical())
}

// rows are tables as they stand, by row and cell, without stamps.
type rows map[string]map[string]string

func (r rows) cell(m view.Mutation, c view.Cell) (row map[string]string, place string) {
	row = r[m.RowKey()]
	if row == nil {
		row = map[string]string{}
		r[m.RowKey()] = row
	}
	return row, fmt.Sprintf("%s[%x]", c.Column, c.Path.Bytes())
}

// fold applies events in their order: each overwrites the cells it sets. It knows neither stamps nor Merge.
func fold(t testing.TB, v *View, events []string) rows {
	t.Helper()
	out := rows{}
	for _, data := range events {
		result, err := v.Project(view.Record{Data: []byte(data), Arrival: goldenArrival})
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for _, m := range result.Mutations {
			for _, c := range m.Cells {
				row, place := out.cell(m, c)
				row[place] = fmt.Sprintf("%x", c.Value.Bytes())
			}
		}
	}
	return out
}

// merge applies events in their order by the rule of Cassandra.
func merge(t testing.TB, v *View, events []string) rows {
	t.Helper()
	merged := map[string]view.Mutation{}
	for _, data := range events {
		result, err := v.Project(view.Record{Data: []byte(data), Arrival: goldenArrival})
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for _, m := range result.Mutations {
			m.Cells = view.Merge(merged[m.RowKey()].Cells, m.Cells)
			merged[m.RowKey()] = m
		}
	}
	out := rows{}
	for _, m := range merged {
		for _, c := range m.Cells {
			row, place := out.cell(m, c)
			row[place] = fmt.Sprintf("%x", c.Value.Bytes())
		}
	}
	return out
}

func (r rows) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(r)) {
		fmt.Fprintf(&b, "%q\n", key)
		for _, place := range slices.Sorted(maps.Keys(r[key])) {
			fmt.Fprintf(&b, "  %s = %s\n", place, r[key][place])
		}
	}
	return b.String()
}
