package viewfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"penstock/view"
)

// reservedTables are the names that mean something else where tables stand in on.
var reservedTables = []string{"check", "entity"}

// readTables reads the section tables.
func (l *loader) readTables(n *yaml.Node) []*tableDefinition {
	l.tables = map[string]*tableDefinition{}
	members, ok := l.members(n, "tables", "write tables as name: {partition, clustering, provenance, columns}")
	if ok && len(members) == 0 {
		l.refuse(at(n, "tables"), "a view has at least one table", "declare one")
	}
	for _, m := range members {
		l.checkIdentifier(m.name, m.at)
		if slices.Contains(reservedTables, m.name) {
			l.refuse(m.at, "a table cannot be named so: the word has a meaning under on", "rename it")
			continue
		}
		l.tables[m.name] = l.readTable(m)
	}
	var out []*tableDefinition
	for _, name := range slices.Sorted(maps.Keys(l.tables)) {
		out = append(out, l.tables[name])
	}
	return out
}

func (l *loader) readTable(m member) *tableDefinition {
	t := &tableDefinition{at: m.at, columns: map[string]place{}}
	t.table.Name = m.name
	o := l.object(m.value, m.at.where, "partition", "clustering", "provenance", "columns", "bounded")
	o.at = m.at
	if n := o.need("partition", "add partition: {column: {type: text, path: /pointer}}"); n != nil {
		t.table.Partition = l.readKeys(t, n, o.where("partition"), false)
		if len(t.table.Partition) == 0 {
			l.refuse(at(n, o.where("partition")), "a table has a partition key", "add column: {type: text, path: /pointer}")
		}
	}
	if n := o.get("clustering"); n != nil {
		t.table.Clustering = l.readKeys(t, n, o.where("clustering"), true)
	}
	const provenance = "say provenance: all to keep every event's reference in each row, for entities of bounded life, or last to keep the latest"
	if n := o.need("provenance", provenance); n != nil {
		switch word, _ := l.oneOf(n, o.where("provenance"), "all", "last"); word {
		case "all":
			t.table.Provenance = view.ProvenanceAll
		case "last":
			t.table.Provenance = view.ProvenanceLast
		}
	}
	if n := o.get("columns"); n != nil {
		l.readColumns(t, n, o.where("columns"))
	}
	if n := o.get("bounded"); n != nil {
		t.bounded, _ = l.text(n, o.where("bounded"), "say why neither partitions nor rows grow without end")
	}
	return t
}

// addName notes the name of a column and refuses those that cannot be.
func (l *loader) addName(t *tableDefinition, m member) bool {
	l.checkIdentifier(m.name, m.at)
	if m.name == view.EventsColumn || m.name == view.LastEventColumn {
		l.refuse(m.at, "this column is generated from the table's provenance", "leave it out, or rename it")
		return false
	}
	if first, twice := t.columns[m.name]; twice {
		l.refuse(m.at, fmt.Sprintf("the table has a column of this name in line %d", first.line), "rename one")
		return false
	}
	t.columns[m.name] = m.at
	return true
}

func (l *loader) readKeys(t *tableDefinition, n *yaml.Node, where string, clustering bool) []view.KeyColumn {
	members, _ := l.members(n, where, "write the columns in their order, as name: {type: text, path: /pointer}")
	var out []view.KeyColumn
	for _, m := range members {
		if !l.addName(t, m) {
			continue
		}
		u := useKey
		u.others = []string{"type"}
		if clustering {
			u.others = append(u.others, "order")
		}
		if m.value.Kind != yaml.MappingNode {
			l.refuse(at(m.value, m.at.where), "must be a mapping, is "+describeNode(m.value), "write {type: text, path: /pointer}")
			continue
		}
		typ, ok := l.typeOf(m)
		if !ok {
			continue
		}
		if typ.IsCollection() || typ.Kind() == view.KindTuple {
			l.refuse(at(m.value, m.at.where), "a key cannot be a "+typ.String(), "use a scalar, or a frozen type under types")
			continue
		}
		v := l.readValue(m.value, m.at.where, typ, u)
		if v == nil {
			continue
		}
		key := view.KeyColumn{Name: m.name, Type: typ}
		if order := child(m.value, "order"); order != nil {
			word, _ := l.oneOf(order, m.at.below("order").where, "asc", "desc")
			key.Descending = word == "desc"
		}
		if v.path == nil && v.constant == nil && v.fields == nil && v.sum == nil {
			v = nil // each event type says it
		}
		out = append(out, key)
		t.keys = append(t.keys, keyDefinition{m.at, v})
	}
	return out
}

// typeOf reads the key type of a column.
func (l *loader) typeOf(m member) (view.Type, bool) {
	n := child(m.value, "type")
	if n == nil {
		l.refuse(m.at, "type is missing", "add type: text, or another CQL type")
		return view.Type{}, false
	}
	return l.readType(n, m.at.below("type").where)
}

// child returns the value of a key of a mapping.
func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func (l *loader) readColumns(t *tableDefinition, n *yaml.Node, where string) {
	members, _ := l.members(n, where, "write columns as name: {type: text, class: revisable}")
	for _, m := range members {
		if !l.addName(t, m) {
			continue
		}
		o := l.object(m.value, m.at.where, "type", "class")
		if !o.ok {
			continue
		}
		typ, ok := l.typeOf(m)
		if !ok {
			continue
		}
		if typ.Kind() == view.KindTuple {
			l.refuse(at(m.value, m.at.where), "a tuple cannot be a column of its own: the driver cannot bind it", "declare a type under types")
			continue
		}
		class, ok := l.readClass(&o, typ)
		if ok {
			t.table.Columns = append(t.table.Columns, view.Column{Name: m.name, Type: typ, Class: class})
		}
	}
	slices.SortFunc(t.table.Columns, func(a, b view.Column) int { return strings.Compare(a.Name, b.Name) })
}

func (l *loader) readClass(o *object, typ view.Type) (view.Class, bool) {
	n := o.need("class", "say class: write_once for what one type of event says with one value, or revisable for what a later version replaces")
	if n == nil {
		return 0, false
	}
	word, ok := l.oneOf(n, o.where("class"), "write_once", "revisable")
	if !ok {
		return 0, false
	}
	if word == "write_once" {
		return view.WriteOnce, true
	}
	if typ.Kind() == view.KindSet {
		l.refuse(at(n, o.where("class")), "the elements of a set are only ever added, there is nothing to revise",
			"say class: write_once, or make it a map<…, boolean> if elements come and go")
		return 0, false
	}
	return view.Revisable, true
}
