package viewfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads a view from the text of a file; name is the file's for messages. The error is a [*Mistakes] with
// everything that the file says and may not say. Warnings come with a view that is fit for use.
func Load(name string, text []byte) (*View, []Warning, error) {
	l := read(name, text)
	if len(l.mistakes) > 0 {
		return nil, l.warnings, &Mistakes{l.mistakes}
	}
	return newView(l.definition, l.canonical), l.warnings, nil
}

// reading is a file that was read, with what there is to say of it.
type reading struct {
	notes
	definition *definition
	canonical  []byte // of a file in which nothing is refused
}

// read reads a file. The definition is whole if nothing is refused.
func read(name string, text []byte) reading {
	l := loader{notes: notes{file: name}}
	d := l.read(text)
	if d != nil && d.event != nil {
		p := prover{notes: &l.notes, d: d}
		p.prove()
		l.warnUnused(d)
	}
	r := reading{definition: d}
	if len(l.mistakes) == 0 {
		if r.canonical = d.canonical(); len(r.canonical) > maxFile {
			l.refuseLength(d.at)
		}
	}
	l.sort()
	r.notes = l.notes
	return r
}

// refuseLength refuses a file whose canonical text is one that no file may have: view_state keeps it, and it is read from
// there as files are.
func (l *loader) refuseLength(at place) {
	l.refuse(at, fmt.Sprintf("written out for each type and table that stand in one key with others, the file has more than %d bytes", maxFile),
		"split the view")
}

func (l *loader) read(text []byte) *definition {
	root := l.document(text)
	if root == nil {
		return nil
	}
	o := l.object(root, "", "view", "event", "types", "tables", "on", "others")
	d := &definition{at: o.at}
	if n := o.need("view", "add view: name"); n != nil {
		d.view, _ = l.text(n, "view", "write the view's name")
		l.checkIdentifier(d.view, at(n, "view"))
	}
	l.readUserTypes(o.get("types"))
	if n := o.need("event", "add event: {envelope, id, type, version, time, entity}"); n != nil {
		d.event = l.readEvent(n)
	}
	tables := o.need("tables", "add tables: {name: {partition, clustering, provenance, columns}}")
	if tables == nil {
		return nil
	}
	d.tables = l.readTables(tables)
	if n := o.need("on", "add on: {type: {table: {set: {column: /pointer}}}}"); n != nil {
		l.readOn(n, d)
	}
	if n := o.get("others"); n != nil {
		l.readOthers(n, d)
	}
	return d
}

func (l *loader) readOthers(n *yaml.Node, d *definition) {
	if word, ok := l.oneOf(n, "others", ignored); !ok || word == "" {
		return
	}
	d.others = ignored
	for _, t := range d.types {
		if t.name == everyType {
			l.refuse(at(n, "others"), fmt.Sprintf("no type is left over: %q in line %d stands for all", everyType, t.at.line), "leave others out")
		}
	}
}

// warnUnused warns of what the file declares and nothing needs.
func (l *loader) warnUnused(d *definition) {
	for _, name := range slices.Sorted(maps.Keys(l.userTypes)) {
		if u := l.userTypes[name]; !u.used {
			l.warn(u.at, "no column has this type, so it is not created")
		}
	}
	for _, t := range d.tables {
		set := map[string]bool{}
		written := false
		for _, typ := range d.types {
			for _, w := range typ.writes {
				if w.table != t {
					continue
				}
				written = true
				for _, s := range w.sets {
					set[s.column.Name] = true
				}
			}
		}
		if !written {
			l.warn(t.at, "no event type writes this table")
			continue
		}
		var unset []string
		for _, c := range t.table.Columns {
			if !set[c.Name] {
				unset = append(unset, c.Name)
			}
		}
		if len(unset) > 0 {
			l.warn(t.at, "nothing sets %s", strings.Join(unset, ", "))
		}
	}
}
