package viewfile

import (
	"fmt"
	"maps"
	"slices"

	"penstock/view"
)

// ChangeKind says what a change of a file asks for.
type ChangeKind string

// The closed set of kinds.
const (
	Same     ChangeKind = "same"     // the same definition: nothing to do
	Additive ChangeKind = "additive" // columns that were never written before: the same generation, once setup has added them
	New      ChangeKind = "new"      // other cells for events that were accepted before: a new generation
)

// Change is how a file differs from the definition that a generation was built from.
type Change struct {
	Kind  ChangeKind
	Added []view.ColumnRef // Additive: the columns, by table and name
	Why   []string         // New: a sentence for each thing that differs
}

// Compare holds a view against the definition stored for a generation, which is the [View.Definition] of the view that
// the generation belongs to. The error is that of loading the definition.
func Compare(stored []byte, v *View) (Change, error) {
	before, _, err := Load("stored definition", stored)
	if err != nil {
		return Change{}, fmt.Errorf("load the stored definition: %w", err)
	}
	if before.revision == v.revision {
		return Change{Kind: Same}, nil
	}
	added := addedColumns(before.definition, v.definition)
	if len(added) > 0 && v.RevisionWithout(added) == before.revision {
		return Change{Kind: Additive, Added: added}, nil
	}
	why := differences(before.definition, v.definition)
	for _, t := range v.definition.without(added).types {
		for _, column := range t.demanded {
			why = append(why, fmt.Sprintf("column %s is set from what events of type %s did not have to have or to be: events that were applied before "+
				"would be poison, unless it is optional, without require, and no map of an array or fields of an object", column, t.name))
		}
	}
	return Change{Kind: New, Why: why}, nil
}

// addedColumns returns the columns that tables of both have in the new definition only.
func addedColumns(before, after *definition) []view.ColumnRef {
	var out []view.ColumnRef
	for _, t := range after.tables {
		old := before.table(t.table.Name)
		if old == nil {
			continue
		}
		for _, c := range t.table.Columns {
			if !slices.ContainsFunc(old.table.Columns, func(o view.Column) bool { return o.Name == c.Name }) {
				out = append(out, view.ColumnRef{Table: t.table.Name, Column: c.Name})
			}
		}
	}
	return out
}

func (d *definition) table(name string) *tableDefinition {
	for _, t := range d.tables {
		if t.table.Name == name {
			return t
		}
	}
	return nil
}

// differences names each thing in which two definitions differ. They differ in at least one.
func differences(before, after *definition) []string {
	var why []string
	old, current := before.facts(), after.facts()
	for _, name := range slices.Sorted(maps.Keys(merged(old, current))) {
		was, is := old[name], current[name]
		switch {
		case was == is:
		case was == "":
			why = append(why, fmt.Sprintf("%s is new: %s", name, short(is)))
		case is == "":
			why = append(why, fmt.Sprintf("%s is gone: it was %s", name, short(was)))
		default:
			why = append(why, fmt.Sprintf("%s is %s, it was %s", name, short(is), short(was)))
		}
	}
	return why
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// facts returns everything a definition says, by its place in the file.
func (d *definition) facts() map[string]string {
	facts := map[string]string{"view": quote(d.view)}
	for _, line := range d.event.canonical() {
		name, text := cutKey(line)
		facts["event."+name] = text
	}
	for _, t := range d.userTypes() {
		facts["types."+userName(t)] = canonicalType(t)
	}
	for _, t := range d.tables {
		t.addFacts(facts)
	}
	for _, t := range d.types {
		t.addFacts(facts)
	}
	if d.others != "" {
		facts["others"] = quote(d.others)
	}
	return facts
}

func cutKey(line string) (key, text string) {
	for i := range len(line) {
		if line[i] == ':' {
			return line[:i], line[i+2:]
		}
	}
	return line, ""
}

func (t *tableDefinition) addFacts(facts map[string]string) {
	at := "tables." + t.table.Name
	facts[at] = "a table"
	for i, k := range t.table.Keys() {
		part, n := "partition", i
		if i >= len(t.table.Partition) {
			part, n = "clustering", i-len(t.table.Partition)
		}
		facts[fmt.Sprintf("%s.%s.%d", at, part, n)] = k.Name + " " + t.keys[i].canonical(k)
	}
	facts[at+".provenance"] = "last"
	if t.table.Provenance == view.ProvenanceAll {
		facts[at+".provenance"] = "all"
	}
	for _, c := range t.table.Columns {
		facts[at+".columns."+c.Name] = canonicalColumn(c)
	}
}

func (t *typeDefinition) addFacts(facts map[string]string) {
	at := "on." + t.name
	facts[at] = "an event type"
	if t.ignored {
		facts[at] = ignored
	}
	if t.entity != nil {
		facts[at+".entity"] = canonicalList(t.entity)
	}
	for i, c := range t.checks {
		facts[fmt.Sprintf("%s.check.%d", at, i)] = c.typ.String() + " " + c.canonical()
	}
	for _, w := range t.writes {
		table := at + "." + w.table.table.Name
		facts[table] = "a row of the table"
		for _, k := range w.overrides() {
			facts[table+".key."+k.name] = k.value.canonical()
		}
		if w.when != nil {
			facts[table+".when"] = w.when.canonical()
		}
		for _, s := range w.sets {
			facts[table+".set."+s.column.Name] = s.canonical()
		}
	}
}
