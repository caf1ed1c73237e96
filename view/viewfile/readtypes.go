package viewfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"penstock/view"
)

// readOn reads the section on.
func (l *loader) readOn(n *yaml.Node, d *definition) {
	members, ok := l.members(n, "on", "write on as type: {table: {set: {column: /pointer}}}")
	if ok && len(members) == 0 {
		l.refuse(at(n, "on"), "no event type is named", `add one, or "*" for all`)
	}
	seen := map[string]place{}
	for _, m := range members {
		for name := range strings.SplitSeq(m.name, ",") {
			name = strings.TrimSpace(name)
			if first, twice := seen[name]; twice {
				l.refuse(m.at, fmt.Sprintf("%q stands twice, first in line %d", short(name), first.line), "keep one, with all that it writes")
				continue
			}
			seen[name] = m.at
			l.spell(name)
			if t := l.readEventType(m, name, d); t != nil {
				d.types = append(d.types, t)
			}
			if l.written > maxFile {
				l.refuseLength(m.at)
				return
			}
		}
	}
	slices.SortFunc(d.types, func(a, b *typeDefinition) int { return strings.Compare(a.name, b.name) })
}

// splitType takes "order.placed.v1" apart. The schema version is 0 if there is none.
func splitType(s string) (base string, version int) {
	i := strings.LastIndex(s, ".v")
	if i < 0 {
		return s, 0
	}
	n, err := strconv.ParseUint(s[i+2:], 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range it is the largest number, as unknown as the real one
		return s, 0
	}
	return s[:i], int(n)
}

func (l *loader) readEventType(m member, name string, d *definition) *typeDefinition {
	t := &typeDefinition{at: m.at, name: name, base: name}
	if name == "" || len(name) > maxID {
		l.refuse(m.at, fmt.Sprintf("an event type must have 1 to %d bytes, has %d", maxID, len(name)), "write it as it stands in the events")
		return nil
	}
	if d.event != nil && d.event.versioned() && name != everyType {
		if t.base, t.schema = splitType(name); t.schema == 0 || t.base == "" {
			l.refuse(m.at, "an event type must end in its schema version, because event.schema_version is given",
				"write "+strconv.Quote(short(name)+".v1"))
			return nil
		}
		if name = t.base + ".v" + strconv.Itoa(t.schema); name != t.name {
			l.refuse(m.at, "a schema version has no zeros in front", "write "+strconv.Quote(short(name)))
			return nil
		}
	}
	if m.value.Kind == yaml.ScalarNode && m.value.Value == ignored {
		t.ignored = true
		return t
	}
	members, ok := l.members(m.value, m.at.where, "write table: {set: {column: /pointer}}, or ignore")
	if ok && len(members) == 0 {
		l.refuse(m.at, "the type writes nothing", "write table: {set: {…}}, or ignore in place of the mapping")
	}
	for _, part := range members {
		switch part.name {
		case "entity":
			if t.name == everyType {
				l.refuse(part.at, "the entity of all types is said once", "say it under event")
				continue
			}
			t.entity = l.entity(part.value, part.at.where)
			if d.event != nil && t.entity != nil && len(t.entity) != len(d.event.entity) {
				l.refuse(part.at, fmt.Sprintf("names the entity by %d places, event.entity by %d", len(t.entity), len(d.event.entity)),
					"name as many places, in the same order")
			}
		case "check":
			l.readChecks(t, part)
		default:
			l.readWrite(t, part)
		}
	}
	slices.SortFunc(t.writes, func(a, b *writeDefinition) int { return strings.Compare(a.table.table.Name, b.table.table.Name) })
	return t
}

// readChecks reads what must be right of an event although no cell is made of it.
func (l *loader) readChecks(t *typeDefinition, m member) {
	if m.value.Kind != yaml.SequenceNode {
		l.refuse(at(m.value, m.at.where), "must be a list, is "+describeNode(m.value), "write check: [{path: /carrier, type: text}]")
		return
	}
	for i, n := range m.value.Content {
		item := member{strconv.Itoa(i), at(n, m.at.where).below(strconv.Itoa(i)), n}
		typ, ok := l.typeOf(item)
		if !ok {
			continue
		}
		if forms[typ.Kind()] == nil {
			l.refuse(item.at, "only scalars are checked, and this is "+typ.String(), "check its parts")
			continue
		}
		v := l.readValue(n, item.at.where, typ, use{each: true, others: []string{"type", "min_items"}})
		if v == nil {
			continue
		}
		if items := child(n, "min_items"); items != nil {
			if v.each == nil {
				l.refuse(item.at, "min_items stands beside each", "add each: /array, or leave it out")
				continue
			}
			if v.minItems, ok = l.count(items, item.at.below("min_items").where, 1); !ok {
				continue
			}
		}
		if v.path == nil {
			l.refuse(item.at, "a check looks at a path", "add path: /pointer")
			continue
		}
		t.checks = append(t.checks, v)
	}
}

// readWrite reads what is written into a table, or into several that are set alike.
func (l *loader) readWrite(t *typeDefinition, m member) {
	for name := range strings.SplitSeq(m.name, ",") {
		name = strings.TrimSpace(name)
		table := l.tables[name]
		if table == nil {
			l.refuse(m.at, strconv.Quote(short(name))+" is no table"+nearest(name, slices.Collect(maps.Keys(l.tables))),
				"declare it under tables, or write check or entity")
			continue
		}
		w := &writeDefinition{at: m.at, table: table, keys: map[string]*value{}}
		if l.spell(name); l.written > maxFile {
			return // refused with the type
		}
		l.readInto(w, m)
		if first := t.write(table); first != nil {
			l.join(first, w)
		} else {
			t.writes = append(t.writes, w)
		}
	}
}

func (l *loader) readInto(w *writeDefinition, m member) {
	o := l.object(m.value, m.at.where, "key", "when", "set")
	if n := o.get("key"); n != nil {
		l.readKeyOverrides(w, n, o.where("key"))
	}
	if n := o.get("when"); n != nil {
		w.when = l.readCondition(n, o.where("when"), false)
	}
	if n := o.need("set", "add set: {column: /pointer}, or set: {} to note only that the event happened"); n != nil {
		members, _ := l.members(n, o.where("set"), "write set: {column: /pointer}, or set: {} to note only that the event happened")
		for _, column := range members {
			l.spell(column.name)
			l.readSet(w, column)
		}
	}
	slices.SortFunc(w.sets, func(a, b *setDefinition) int { return strings.Compare(a.column.Name, b.column.Name) })
}

// join adds what a second key of one type sets in a table to what the first sets.
func (l *loader) join(first, second *writeDefinition) {
	for _, w := range []*writeDefinition{first, second} {
		if len(w.keys) > 0 || w.when != nil {
			l.refuse(second.at, fmt.Sprintf("table %s stands in line %d as well, and an event has one row of it under one condition",
				first.table.table.Name, first.at.line), "write all that the type sets in this table in one place, with its key and when")
			return
		}
	}
	for _, s := range second.sets {
		if i := slices.IndexFunc(first.sets, func(o *setDefinition) bool { return o.column.Name == s.column.Name }); i >= 0 {
			l.refuse(s.at, fmt.Sprintf("column %s of %s is set in line %d as well", s.column.Name, first.table.table.Name, first.sets[i].at.line), "keep one")
			continue
		}
		first.sets = append(first.sets, s)
	}
	slices.SortFunc(first.sets, func(a, b *setDefinition) int { return strings.Compare(a.column.Name, b.column.Name) })
}

func (l *loader) readKeyOverrides(w *writeDefinition, n *yaml.Node, where string) {
	members, _ := l.members(n, where, "write key: {column: /pointer}")
	keys := w.table.table.Keys()
	for _, m := range members {
		i := slices.IndexFunc(keys, func(k view.KeyColumn) bool { return k.Name == m.name })
		if i < 0 {
			l.refuse(m.at, "is no key column of "+w.table.table.Name, "name a column of its partition or clustering")
			continue
		}
		if v := l.readValue(m.value, m.at.where, keys[i].Type, useKey); v != nil {
			w.keys[m.name] = v
		}
	}
}

func (l *loader) readSet(w *writeDefinition, m member) {
	columns := w.table.table.Columns
	i := slices.IndexFunc(columns, func(c view.Column) bool { return c.Name == m.name })
	if i < 0 {
		l.refuseColumn(w, m)
		return
	}
	s := &setDefinition{at: m.at, column: columns[i]}
	if !s.column.Type.IsCollection() {
		if n := m.value; n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
			l.refuse(m.at, whyNot["null"][0], whyNot["null"][1])
		} else if v := l.readValue(n, m.at.where, s.column.Type, useColumn); v != nil {
			s.rules = []*rule{{at: v.at, value: v}}
			w.sets = append(w.sets, s)
		}
		return
	}
	nodes := []*yaml.Node{m.value}
	if m.value.Kind == yaml.SequenceNode {
		nodes = m.value.Content
	}
	if len(nodes) == 0 {
		l.refuse(m.at, "the list is empty", "add a rule, or leave the column out")
		return
	}
	for _, n := range nodes {
		if r := l.readRule(n, m.at.where, s.column.Type); r != nil {
			s.rules = append(s.rules, r)
		}
	}
	if len(s.rules) == len(nodes) {
		w.sets = append(w.sets, s)
	}
}

func (l *loader) refuseColumn(w *writeDefinition, m member) {
	switch {
	case m.name == view.EventsColumn || m.name == view.LastEventColumn:
		l.refuse(m.at, "this column is generated from the table's provenance", "leave it out")
	case slices.ContainsFunc(w.table.table.Keys(), func(k view.KeyColumn) bool { return k.Name == m.name }):
		l.refuse(m.at, "is a key column, which every row has", "leave it out; say it under key if this type has it elsewhere")
	case w.table.columns[m.name].line == 0:
		l.refuse(m.at, "table "+w.table.table.Name+" has no such column"+nearest(m.name, slices.Collect(maps.Keys(w.table.columns))),
			"declare it under tables."+w.table.table.Name+".columns")
	}
}

// readRule reads how the cells of a map or set are made.
func (l *loader) readRule(n *yaml.Node, where string, typ view.Type) *rule {
	verb, do := "add", "write {add: /pointer}, or {each: /array, add: /pointer}"
	if typ.Kind() == view.KindMap {
		verb, do = "entry", "write {entry: {key: /pointer, value: /pointer}}, with each: /array for an entry of every element"
	}
	if n.Kind != yaml.MappingNode {
		l.refuse(at(n, where), "the entries of a "+typ.String()+" are added one by one, and this is "+describeNode(n), do)
		return nil
	}
	o := l.object(n, where, "each", "optional", "when", "require", verb)
	r := &rule{at: o.at}
	inner := use{}
	if each := o.get("each"); each != nil {
		if r.each = l.readPointer(each, o.where("each"), false); r.each == nil {
			return nil
		}
		inner.inEach = true
	}
	made := o.need(verb, do)
	if made == nil || !o.ok || !l.readArrayRules(&o, r) {
		return nil
	}
	if when := o.get("when"); when != nil {
		if r.when = l.readCondition(when, o.where("when"), inner.inEach); r.when == nil {
			return nil
		}
	}
	if typ.Kind() == view.KindSet {
		if r.value = l.readValue(made, o.where(verb), typ.Elem(), inner); r.value == nil {
			return nil
		}
		return r
	}
	entry := l.object(made, o.where(verb), "key", "value")
	key := entry.need("key", "add key: /pointer to what tells entries apart")
	val := entry.need("value", "add value: /pointer")
	if key == nil || val == nil || !entry.ok {
		return nil
	}
	r.key = l.readValue(key, entry.where("key"), typ.Key(), inner)
	r.value = l.readValue(val, entry.where("value"), typ.Elem(), inner)
	if r.key == nil || r.value == nil {
		return nil
	}
	return r
}

// readArrayRules reads what is said of the array of each.
func (l *loader) readArrayRules(o *object, r *rule) bool {
	for _, key := range []string{"optional", "require"} {
		if n := o.get(key); n != nil && r.each == nil {
			l.refuse(at(n, o.where(key)), key+" is about the array of each here", "say it of the key or the value")
			return false
		}
	}
	if n := o.get("optional"); n != nil {
		var ok bool
		if r.optional, ok = l.boolean(n, o.where("optional")); !ok {
			return false
		}
	}
	if n := o.get("require"); n != nil {
		inner := o.l.object(n, o.where("require"), "min_items")
		items := inner.need("min_items", "add min_items: 1")
		if items == nil || !inner.ok {
			return false
		}
		var ok bool
		if r.minItems, ok = l.count(items, inner.where("min_items"), 1); !ok {
			return false
		}
	}
	return true
}
