package viewfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"penstock/view"
)

// expectation is what a file expect.yaml says.
type expectation struct {
	arrival time.Time
	poison  map[string]string // code by event
	rows    map[string]*expectedRow
}

// expectedRow is a row as a file spells it.
type expectedRow struct {
	at      place
	table   *view.Table
	key     []view.Value
	cells   map[cellPlace]view.Value
	columns map[string]bool // those named
}

// cellPlace is a cell of a row.
type cellPlace struct {
	column string
	path   view.Value
}

// readExpectation reads expect.yaml for a view. The error is a [*Mistakes].
func readExpectation(name string, text []byte, v *View) (*expectation, error) {
	l := loader{notes: notes{file: name}}
	e := &expectation{poison: map[string]string{}, rows: map[string]*expectedRow{}}
	if root := l.document(text); root != nil {
		o := l.object(root, "", "arrival", "poison", "rows")
		if n := o.get("arrival"); n != nil {
			t, ok := parseTime(n.Value)
			if !ok {
				l.refuse(at(n, "arrival"), describeNode(n)+" is no RFC 3339 time with an offset", "write when the records arrived in the stream")
			}
			e.arrival = t
		}
		if n := o.get("poison"); n != nil {
			members, _ := l.members(n, "poison", "write poison as event.json: code")
			for _, m := range members {
				e.poison[m.name], _ = l.text(m.value, m.at.where, "write the code of the poison, such as missing_field")
			}
		}
		if n := o.need("rows", "add rows: {table: [{column: value}]}"); n != nil {
			l.readRows(e, n, v)
		}
	}
	if l.sort(); len(l.mistakes) > 0 {
		return nil, &Mistakes{l.mistakes}
	}
	return e, nil
}

func (l *loader) readRows(e *expectation, n *yaml.Node, v *View) {
	members, _ := l.members(n, "rows", "write rows as table: [{column: value}]")
	for _, m := range members {
		i := slices.IndexFunc(v.tables, func(t view.Table) bool { return t.Name == m.name })
		if i < 0 {
			l.refuse(m.at, "the view has no such table", "name one of its tables")
			continue
		}
		if m.value.Kind != yaml.SequenceNode {
			l.refuse(m.at, "must be a list of rows, is "+describeNode(m.value), "write - {column: value} for each row")
			continue
		}
		for j, item := range m.value.Content {
			l.readRow(e, item, at(item, m.at.where).below(fmt.Sprint(j)), &v.tables[i])
		}
	}
}

func (l *loader) readRow(e *expectation, n *yaml.Node, at place, t *view.Table) {
	members, ok := l.members(n, at.where, "write {column: value}")
	if !ok {
		return
	}
	row := &expectedRow{at: at, table: t, cells: map[cellPlace]view.Value{}, columns: map[string]bool{}}
	byName := map[string]member{}
	for _, m := range members {
		byName[m.name] = m
	}
	for _, k := range t.Keys() {
		m, there := byName[k.Name]
		if !there {
			l.refuse(at, "key column "+k.Name+" is missing", "add it")
			return
		}
		v, ok := l.readValueOf(m.value, m.at, k.Type)
		if !ok {
			return
		}
		row.key = append(row.key, v)
		delete(byName, k.Name)
	}
	for _, c := range t.AllColumns() {
		if m, there := byName[c.Name]; there {
			row.columns[c.Name] = true
			l.readCells(row, m, c)
			delete(byName, c.Name)
		}
	}
	for name, m := range byName {
		l.refuse(m.at, "table "+t.Name+" has no column "+name, "name its columns")
	}
	id := view.Mutation{Table: t.Name, Key: row.key}.RowKey()
	if first := e.rows[id]; first != nil {
		l.refuse(at, fmt.Sprintf("the row stands in line %d as well", first.at.line), "keep one")
		return
	}
	e.rows[id] = row
}

func (l *loader) readCells(row *expectedRow, m member, c view.Column) {
	const wantMap, wantSet = "write {key: value}, or a list of {key, value} where keys are no scalars", "write a list of elements"
	switch c.Type.Kind() {
	case view.KindSet:
		if m.value.Kind != yaml.SequenceNode {
			l.refuse(m.at, "must be a list, is "+describeNode(m.value), wantSet)
			return
		}
		for _, item := range m.value.Content {
			if v, ok := l.readValueOf(item, at(item, m.at.where), c.Type.Elem()); ok {
				row.cells[cellPlace{c.Name, v}] = view.Value{}
			}
		}
	case view.KindMap:
		for _, pair := range l.pairs(m, wantMap) {
			key, ok := l.readValueOf(pair[0], at(pair[0], m.at.where), c.Type.Key())
			value, sound := l.readValueOf(pair[1], at(pair[1], m.at.where), c.Type.Elem())
			if ok && sound {
				row.cells[cellPlace{c.Name, key}] = value
			}
		}
	default:
		if v, ok := l.readValueOf(m.value, m.at, c.Type); ok {
			row.cells[cellPlace{column: c.Name}] = v
		}
	}
}

// pairs returns keys and values of a map, written as a mapping or as a list of {key, value}.
func (l *loader) pairs(m member, want string) [][2]*yaml.Node {
	var out [][2]*yaml.Node
	switch m.value.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(m.value.Content); i += 2 {
			out = append(out, [2]*yaml.Node{m.value.Content[i], m.value.Content[i+1]})
		}
	case yaml.SequenceNode:
		for _, item := range m.value.Content {
			o := l.object(item, m.at.where, "key", "value")
			if key, value := o.need("key", want), o.need("value", want); key != nil && value != nil {
				out = append(out, [2]*yaml.Node{key, value})
			}
		}
	default:
		l.refuse(m.at, "must be a mapping, is "+describeNode(m.value), want)
	}
	return out
}

// readValueOf reads a value of any type but a collection.
func (l *loader) readValueOf(n *yaml.Node, at place, typ view.Type) (view.Value, bool) {
	fields := typ.Fields()
	switch {
	case typ.Kind() == view.KindTuple && n.Kind == yaml.SequenceNode && len(n.Content) == len(fields):
		values := make([]view.Value, len(fields))
		for i, f := range fields {
			var ok bool
			if values[i], ok = l.readValueOf(n.Content[i], at, f.Type); !ok {
				return view.Value{}, false
			}
		}
		return view.TupleValue(values...), true
	case typ.Kind() == view.KindUser && n.Kind == yaml.MappingNode:
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.Name
		}
		o := l.object(n, at.where, names...)
		values := make([]view.Value, len(fields))
		for i, f := range fields {
			field := o.need(f.Name, "a frozen value has all its fields")
			if field == nil {
				return view.Value{}, false
			}
			var ok bool
			if values[i], ok = l.readValueOf(field, at.below(f.Name), f.Type); !ok {
				return view.Value{}, false
			}
		}
		return view.TupleValue(values...), o.ok
	}
	v, err := scalarOf(n, typ)
	if err != nil {
		l.refuse(at, err.Error(), "write a value of type "+typ.String())
		return view.Value{}, false
	}
	return v, true
}

// spell writes a value as expect.yaml has it.
func spell(typ view.Type, v view.Value) string {
	fields := typ.Fields()
	values, err := v.Tuple(len(fields))
	switch {
	case typ.Kind() == view.KindText:
		return quoteBut(v.Text(), unicode.IsLetter)
	case len(fields) == 0 || err != nil:
		return yamlScalar(typ, v)
	}
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = spell(f.Type, values[i])
		if f.Name != "" {
			parts[i] = f.Name + ": " + parts[i]
		}
	}
	if typ.Kind() == view.KindTuple {
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// spellColumn writes the cells of one column as expect.yaml has them.
func spellColumn(c view.Column, cells []view.Cell) string {
	var parts []string
	for _, cell := range cells {
		switch key := c.Type; key.Kind() {
		case view.KindSet:
			parts = append(parts, spell(key.Elem(), cell.Path))
		case view.KindMap:
			if len(key.Key().Fields()) > 0 {
				parts = append(parts, fmt.Sprintf("{key: %s, value: %s}", spell(key.Key(), cell.Path), spell(key.Elem(), cell.Value)))
			} else {
				parts = append(parts, spell(key.Key(), cell.Path)+": "+spell(key.Elem(), cell.Value))
			}
		default:
			return spell(c.Type, cell.Value)
		}
	}
	if c.Type.Kind() == view.KindMap && len(c.Type.Key().Fields()) == 0 {
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// spellRows writes rows as the section rows of expect.yaml.
func spellRows(tables []view.Table, rows map[string]view.Mutation) []byte {
	var b strings.Builder
	b.WriteString("rows:\n")
	for _, t := range tables {
		fmt.Fprintf(&b, "  %s:\n", t.Name)
		for _, id := range slices.Sorted(maps.Keys(rows)) {
			row := rows[id]
			if row.Table != t.Name {
				continue
			}
			lead := "    - "
			for i, k := range t.Keys() {
				fmt.Fprintf(&b, "%s%s: %s\n", lead, k.Name, spell(k.Type, row.Key[i]))
				lead = "      "
			}
			for _, c := range t.AllColumns() {
				cells := slices.DeleteFunc(slices.Clone(row.Cells), func(cell view.Cell) bool { return cell.Column != c.Name })
				if len(cells) > 0 {
					fmt.Fprintf(&b, "%s%s: %s\n", lead, c.Name, spellColumn(c, cells))
				}
			}
		}
	}
	return []byte(b.String())
}
