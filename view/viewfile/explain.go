package viewfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"penstock/view"
)

// Explanation is what one event becomes, in words that people read.
type Explanation struct {
	Event view.Event     `json:"event"`
	Rows  []ExplainedRow `json:"rows"` // one for each mutation
}

// ExplainedRow is a mutation.
type ExplainedRow struct {
	Table string          `json:"table"` // without the generation
	Key   []ExplainedKey  `json:"key"`   // the partition key's columns, then the clustering columns
	Cells []ExplainedCell `json:"cells"` // by column and path
}

// ExplainedKey is a column of the primary key.
type ExplainedKey struct {
	Column    string `json:"column"`
	Type      string `json:"type"`
	Value     string `json:"value"` // as CQL writes it
	Partition bool   `json:"partition"`
}

// ExplainedCell is a cell.
type ExplainedCell struct {
	Column string     `json:"column"`
	Type   string     `json:"type"`
	Class  string     `json:"class"`           // write_once or revisable
	Path   string     `json:"path,omitempty"`  // the key of a map's entry or the element of a set, as CQL writes it
	Value  string     `json:"value,omitempty"` // as CQL writes it; empty for the element of a set
	Stamp  view.Stamp `json:"stamp"`
	kind   view.Kind
}

// Explain projects a record and spells out what becomes of it. Any view can be explained. The error is that of
// [view.View.Project].
func Explain(v view.View, record view.Record) (Explanation, error) {
	result, err := v.Project(record)
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{Event: result.Event}
	for _, m := range result.Mutations {
		i := slices.IndexFunc(v.Tables(), func(t view.Table) bool { return t.Name == m.Table })
		if i < 0 {
			return Explanation{}, fmt.Errorf("explain: the view wrote table %s, which it does not have", m.Table)
		}
		out.Rows = append(out.Rows, explainRow(v.Tables()[i], m))
	}
	return out, nil
}

func explainRow(t view.Table, m view.Mutation) ExplainedRow {
	row := ExplainedRow{Table: m.Table}
	for i, k := range t.Keys() {
		row.Key = append(row.Key, ExplainedKey{k.Name, k.Type.String(), literal(k.Type, m.Key[i]), i < len(t.Partition)})
	}
	for _, c := range m.Cells {
		for _, column := range t.AllColumns() {
			if column.Name == c.Column {
				row.Cells = append(row.Cells, explainCell(column, c))
			}
		}
	}
	slices.SortFunc(row.Cells, func(a, b ExplainedCell) int {
		return cmp.Or(strings.Compare(a.Column, b.Column), strings.Compare(a.Path, b.Path))
	})
	return row
}

func explainCell(column view.Column, c view.Cell) ExplainedCell {
	out := ExplainedCell{Column: c.Column, Type: column.Type.String(), Class: className(column.Class), Stamp: c.Stamp, kind: column.Type.Kind()}
	switch column.Type.Kind() {
	case view.KindSet:
		out.Path = literal(column.Type.Elem(), c.Path)
	case view.KindMap:
		out.Path, out.Value = literal(column.Type.Key(), c.Path), literal(column.Type.Elem(), c.Value)
	default:
		out.Value = literal(column.Type, c.Value)
	}
	return out
}

// CQL returns the statements that write the rows in generation g, one for each row and stamp. They are for people: the
// writer binds values and does not build text.
func (e Explanation) CQL(keyspace string, g view.Generation) []string {
	var out []string
	for _, row := range e.Rows {
		var where []string
		for _, k := range row.Key {
			where = append(where, quoteName(k.Column)+" = "+k.Value)
		}
		byStamp := map[view.Stamp][]ExplainedCell{}
		var stamps []view.Stamp
		for _, c := range row.Cells {
			if byStamp[c.Stamp] == nil {
				stamps = append(stamps, c.Stamp)
			}
			byStamp[c.Stamp] = append(byStamp[c.Stamp], c)
		}
		slices.Sort(stamps)
		for _, stamp := range stamps {
			out = append(out, fmt.Sprintf("UPDATE %s.%s USING TIMESTAMP %d SET %s WHERE %s;", keyspace, row.Table+g.Suffix(), stamp,
				strings.Join(assignments(byStamp[stamp]), ", "), strings.Join(where, " AND ")))
		}
	}
	return out
}

// assignments returns what a statement sets; cells stand by column.
func assignments(cells []ExplainedCell) []string {
	var out []string
	for len(cells) > 0 {
		c := cells[0]
		n := 1
		for n < len(cells) && cells[n].Column == c.Column {
			n++
		}
		name := quoteName(c.Column)
		if c.kind != view.KindMap && c.kind != view.KindSet {
			out = append(out, name+" = "+c.Value)
		} else {
			var entries []string
			for _, e := range cells[:n] {
				if c.kind == view.KindMap {
					entries = append(entries, e.Path+": "+e.Value)
				} else {
					entries = append(entries, e.Path)
				}
			}
			out = append(out, fmt.Sprintf("%s = %s + {%s}", name, name, strings.Join(entries, ", ")))
		}
		cells = cells[n:]
	}
	return out
}

// quoteName makes a name fit for CQL even where it is a reserved word.
func quoteName(name string) string { return `"` + name + `"` }
