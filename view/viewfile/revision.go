package viewfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"penstock/view"
)

// interpreter is the version of what files mean. It is raised whenever one file and one event give other mutations than
// before, which a golden output of an example shows: a revision names what is written for every event that is accepted,
// and so does the meaning of a file. Accepting files or events that were refused before leaves it as it is.
const interpreter = 1

func revisionOf(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return fmt.Sprintf("file/%d/%s", interpreter, hex.EncodeToString(sum[:16]))
}

// Definition returns the canonical text of the file: it says the same, in one spelling, and [Load] accepts it.
func (v *View) Definition() []byte { return slices.Clone(v.canonical) }

// RevisionWithout returns the revision of the same file without these columns and without what sets them. Columns that
// the view does not have make no difference.
//
// What decides whether an event is poison is no part of a column: where what sets it demands what no event had to have or to
// be before, the revision is one that no file without the column has. Otherwise events that were applied would be parked
// under the same revision. One thing remains, because no file could grow without it: where an event says a new optional
// member in another form than the file does (another JSON type, or some fields of a frozen value and not the others), it is
// parked from then on.
func (v *View) RevisionWithout(added []view.ColumnRef) string {
	return revisionOf(v.definition.without(added).canonical())
}

// without returns a copy that lacks the columns and what sets them, but not what they demand of events.
func (d *definition) without(added []view.ColumnRef) *definition {
	gone := func(table, column string) bool {
		return slices.Contains(added, view.ColumnRef{Table: table, Column: column})
	}
	out := *d
	out.tables, out.types = nil, nil
	tables := map[*tableDefinition]*tableDefinition{}
	for _, t := range d.tables {
		less := *t
		less.table.Columns = slices.DeleteFunc(slices.Clone(t.table.Columns), func(c view.Column) bool { return gone(t.table.Name, c.Name) })
		tables[t] = &less
		out.tables = append(out.tables, &less)
	}
	for _, t := range d.types {
		less := *t
		less.writes = nil
		for _, w := range t.writes {
			fewer := *w
			fewer.table = tables[w.table]
			fewer.sets = slices.DeleteFunc(slices.Clone(w.sets), func(s *setDefinition) bool { return gone(w.table.table.Name, s.column.Name) })
			less.writes = append(less.writes, &fewer)
		}
		known := less.demands(d.event)
		for _, w := range t.writes {
			for _, s := range w.sets {
				if gone(w.table.table.Name, s.column.Name) && !known.cover(s.demands(w.conditions())) {
					less.demanded = append(less.demanded, w.table.table.Name+"."+s.column.Name)
				}
			}
		}
		out.types = append(out.types, &less)
	}
	return &out
}
