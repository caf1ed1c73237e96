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
// What decides whether an event is poison is no part of a column: where a column is set from what no event had to have
// before, and is not optional, the revision is one that no file without the column has. Otherwise events that were
// applied would be parked under the same revision.
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
				if gone(w.table.table.Name, s.column.Name) && demandsMore(s, known) {
					less.demanded = append(less.demanded, w.table.table.Name+"."+s.column.Name)
				}
			}
		}
		out.types = append(out.types, &less)
	}
	return &out
}

func demandsMore(s *setDefinition, known map[string]bool) bool {
	return slices.ContainsFunc(s.demands(), func(demand string) bool { return !known[demand] })
}

// demands returns what events of the type have to have, written as values are.
func (t *typeDefinition) demands(e *eventDefinition) map[string]bool {
	all := map[string]bool{}
	add := func(demands []string) {
		for _, demand := range demands {
			all[demand] = true
		}
	}
	for _, v := range []*value{e.id, e.typ, e.version, e.time, e.birth} {
		if v != nil {
			add(v.demands(nil))
		}
	}
	for _, c := range t.checks {
		if c.each == nil {
			add(c.demands(nil))
		}
	}
	for _, w := range t.writes {
		if w.when != nil {
			continue // demanded of some events only
		}
		for i := range w.table.table.Keys() {
			add(w.key(i).demands(nil))
		}
		for _, s := range w.sets {
			add(s.demands())
		}
	}
	return all
}

func (s *setDefinition) demands() []string {
	var out []string
	for _, r := range s.rules {
		switch {
		case r.optional || r.when != nil && r.each == nil && r.key == nil && r.value.optional:
		case r.each != nil:
			out = append(out, r.canonical(s.column.Type.Kind()))
		default:
			if r.key != nil {
				out = append(out, r.key.demands(nil)...)
			}
			out = append(out, r.value.demands(nil)...)
		}
	}
	return out
}

// demands returns the places that must be there for the value, as they are read.
func (v *value) demands(outer *pointer) []string {
	switch {
	case v == nil || v.optional || v.constant != nil:
		return nil
	case v.fields != nil:
		inner := outer
		if v.path != nil {
			inner = v.path.below(outer)
		}
		var out []string
		for _, f := range v.fields {
			out = append(out, f.value.demands(inner)...)
		}
		return out
	}
	text := v.canonical()
	if v.path != nil && outer != nil && !v.ofEvent {
		text = outer.text + " " + text
	}
	return []string{v.typ.String() + " " + text}
}
