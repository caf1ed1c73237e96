package viewfile

import (
	"strconv"

	"penstock/view"
)

// program is what the events of one type become.
type program struct {
	base    string // the type without its schema version
	schema  int
	ignored bool
	entity  []*expr
	checks  []check
	tables  []*tableWrite
}

// check is a value that must be right, of the event or of every element of an array.
type check struct {
	each     locus
	minItems int
	expr     *expr
}

// tableWrite makes the mutation of one table.
type tableWrite struct {
	table *view.Table
	keys  []*expr
	when  *test
	steps []*step
}

// step makes the cells of one column; tables that set a column alike share it.
type step struct {
	number int // within the view
	column string
	once   bool
	kind   view.Kind
	rules  []*cellRule
}

type cellRule struct {
	each     locus
	optional bool
	minItems int
	when     *test
	key      *expr
	value    *expr
}

// program compiles what the events of one type become.
func (c *compiler) program(d *definition, t *typeDefinition, every *typeDefinition) *program {
	p := &program{base: t.base, schema: t.schema, ignored: t.ignored}
	if t.ignored {
		return p
	}
	entity := t.entity
	if entity == nil {
		entity = d.event.entity
	}
	for _, v := range entity {
		p.entity = append(p.entity, c.entity(d, t, every, v))
	}
	for _, source := range []*typeDefinition{every, t} {
		if source == nil {
			continue
		}
		for _, v := range source.checks {
			p.checks = append(p.checks, c.check(v))
		}
	}
	for _, table := range d.tables {
		if w := c.write(t.write(table), every, table); w != nil {
			p.tables = append(p.tables, w)
		}
	}
	return p
}

// entity compiles a place of the entity as the key column that has it reads it: of the tables that the type writes, or else
// of any other.
func (c *compiler) entity(d *definition, t, every *typeDefinition, place *value) *expr {
	var others []*writeDefinition
	for _, table := range d.tables {
		w := t.write(table)
		if w == nil && every != nil {
			w = every.write(table)
		}
		if w == nil {
			others = append(others, &writeDefinition{table: table})
		} else if e := c.holder(w, place); e != nil {
			return e
		}
	}
	for _, w := range others {
		if e := c.holder(w, place); e != nil {
			return e
		}
	}
	return c.value(place, nil, "")
}

// holder compiles the part of a row's key that is a place of the entity, nil if none is.
func (c *compiler) holder(w *writeDefinition, place *value) *expr {
	for i := range w.table.table.Keys() {
		if v := w.key(i); v != nil {
			if e := c.carrier(v, place, nil); e != nil {
				return e
			}
		}
	}
	return nil
}

// carrier compiles the part of a key that is a place of the entity.
func (c *compiler) carrier(key, place *value, outer *pointer) *expr {
	if carries(key, place, outer) != carriesWhole {
		return nil
	}
	if len(key.fields) == 0 {
		return c.within(key, nil, "", outer)
	}
	for _, f := range key.fields {
		if e := c.carrier(f.value, place, key.inner(outer)); e != nil {
			return e
		}
	}
	return nil
}

func (c *compiler) check(v *value) check {
	if v.each == nil {
		return check{expr: c.value(v, nil, "")}
	}
	at, items := c.array(v.each)
	return check{at, v.minItems, c.value(v, items, frameName(v.each))}
}

// write compiles what one type writes into a table, together with what all types write there.
func (c *compiler) write(own *writeDefinition, every *typeDefinition, table *tableDefinition) *tableWrite {
	var parts []*writeDefinition
	if every != nil {
		if w := every.write(table); w != nil {
			parts = append(parts, w)
		}
	}
	if own != nil {
		parts = append(parts, own)
	}
	if len(parts) == 0 {
		return nil
	}
	first := parts[0]
	out := &tableWrite{table: &table.table, when: c.condition(first.when, nil)}
	for i := range table.table.Keys() {
		out.keys = append(out.keys, c.value(first.key(i), nil, ""))
	}
	for _, w := range parts {
		for _, s := range w.sets {
			out.steps = append(out.steps, c.step(s))
		}
	}
	return out
}

func (c *compiler) step(s *setDefinition) *step {
	name := s.column.Name + "\x00" + s.column.Type.String() + "\x00" + strconv.Itoa(int(s.column.Class)) + "\x00" + s.canonical()
	if st := c.steps[name]; st != nil {
		return st
	}
	st := &step{number: len(c.steps), column: s.column.Name, once: s.column.Class == view.WriteOnce, kind: s.column.Type.Kind()}
	for _, r := range s.rules {
		rule := &cellRule{optional: r.optional, minItems: r.minItems}
		var items *node
		frame := ""
		if r.each != nil {
			rule.each, items = c.array(r.each)
			frame = frameName(r.each)
		}
		rule.when = c.condition(r.when, items)
		if r.key != nil {
			rule.key = c.value(r.key, items, frame)
		}
		rule.value = c.value(r.value, items, frame)
		st.rules = append(st.rules, rule)
	}
	c.steps[name] = st
	return st
}
