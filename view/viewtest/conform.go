package viewtest

import (
	"errors"
	"fmt"
	"slices"

	"penstock/view"
)

// Conform reports whether m could be written to one of the tables: it has the table's keys, at least one cell, only
// columns of the table, paths in collections only, no cell twice, stamps of at least 1, and every value is the encoding
// of a value of its type.
func Conform(tables []view.Table, m view.Mutation) error {
	i := slices.IndexFunc(tables, func(t view.Table) bool { return t.Name == m.Table })
	if i < 0 {
		return fmt.Errorf("mutation of table %q: no such table", m.Table)
	}
	if err := conform(tables[i], m); err != nil {
		return fmt.Errorf("mutation of table %s: %w", m.Table, err)
	}
	return nil
}

func conform(t view.Table, m view.Mutation) error {
	keys := t.Keys()
	if len(m.Key) != len(keys) {
		return fmt.Errorf("%d key columns, want %d", len(m.Key), len(keys))
	}
	for i, k := range keys {
		if err := k.Type.Check(m.Key[i]); err != nil {
			return fmt.Errorf("key column %s: %w", k.Name, err)
		}
	}
	if len(m.Cells) == 0 {
		return errors.New("no cells")
	}
	columns := t.AllColumns()
	type place struct {
		column string
		path   view.Value
	}
	seen := map[place]bool{}
	for _, c := range m.Cells {
		i := slices.IndexFunc(columns, func(column view.Column) bool { return column.Name == c.Column })
		if i < 0 {
			return fmt.Errorf("column %q: no such column", c.Column)
		}
		if err := conformCell(columns[i].Type, c); err != nil {
			return fmt.Errorf("column %s: %w", c.Column, err)
		}
		at := place{c.Column, c.Path}
		if seen[at] {
			return fmt.Errorf("column %s: path %x stands twice", c.Column, c.Path.Bytes())
		}
		seen[at] = true
	}
	return nil
}

func conformCell(t view.Type, c view.Cell) error {
	if c.Stamp < 1 {
		return fmt.Errorf("stamp %d: must be at least 1", c.Stamp)
	}
	switch t.Kind() {
	case view.KindSet:
		if c.Value != (view.Value{}) {
			return errors.New("an element of a set cannot have a value")
		}
		return t.Elem().Check(c.Path)
	case view.KindMap:
		return errors.Join(t.Key().Check(c.Path), t.Elem().Check(c.Value))
	}
	if c.Path != (view.Value{}) {
		return fmt.Errorf("a %s cannot have a path", t)
	}
	return t.Check(c.Value)
}
