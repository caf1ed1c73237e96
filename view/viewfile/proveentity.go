package viewfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"penstock/view"
)

// proveEntity refuses rows that events of two entities may write.
func (p *prover) proveEntity(t *tableDefinition) {
	var common []map[string]bool // by place of the entity: where in the key all event types so far have it
	for _, w := range slices.Concat(p.writers(t), p.writersThroughEvery(t)) {
		if slices.ContainsFunc(w.typ.entity, func(v *value) bool { return v == nil }) {
			return
		}
		entity := p.entity(w.typ)
		if common == nil {
			common = make([]map[string]bool, len(entity))
		}
		if len(entity) != len(common) {
			return // refused where it is said
		}
		for i, place := range entity {
			common[i] = p.proveOneEntity(w, place, common[i])
		}
	}
}

// writersThroughEvery returns the event types with an entity of their own that write the table only because all types
// do: the row is then of their entity.
func (p *prover) writersThroughEvery(t *tableDefinition) []writer {
	every := p.every()
	if every == nil || every.write(t) == nil {
		return nil
	}
	var out []writer
	for _, typ := range p.d.types {
		if typ.entity != nil && typ.write(t) == nil {
			out = append(out, writer{typ, every.write(t)})
		}
	}
	return out
}

func (p *prover) entity(t *typeDefinition) []*value {
	if t.entity != nil {
		return t.entity
	}
	return p.d.event.entity
}

// proveOneEntity refuses a row that events may write which differ in a place of the entity. It returns where in the key
// both this type and those before it have the place; before is nil for the first type.
func (p *prover) proveOneEntity(w writer, place *value, before map[string]bool) map[string]bool {
	here, part := map[string]bool{}, ""
	for i, k := range w.write.table.table.Keys() {
		v := w.write.key(i)
		if v == nil {
			return before // refused as a missing key
		}
		v.holders(place, nil, k.Name, here)
		if carries(v, place, nil) == carriesPart {
			part = k.Name
		}
	}
	pointer := place.path.text
	switch {
	case len(here) > 0:
		if before != nil {
			maps.DeleteFunc(here, func(at string, _ bool) bool { return !before[at] })
		}
		if len(here) > 0 {
			return here
		}
		p.refuse(w.write.at, fmt.Sprintf("events of type %s have %s, a place of the entity, in another key column than other types, "+
			"or in another field of it: rows of two entities may be one", w.typ.name, pointer),
			"use the same key column, and the same field, for the same place of the entity in every type")
	case part != "":
		p.refuse(w.write.at, fmt.Sprintf("%s names the entity, and key column %s keeps only a part of it (%s): "+
			"events of two entities would write one row, and their versions say nothing of each other", pointer, part, lost),
			"use the path as it is, in a text; where letters do not tell entities apart, say so: entity: [{path: "+pointer+", case: upper}]")
	default:
		p.refuse(w.write.at, fmt.Sprintf("a row can belong to two entities: %s names the entity and is in no key column for events of type %s, "+
			"so versions that say nothing of each other would meet in one row", pointer, w.typ.name), "add a key column with path: "+pointer)
	}
	return before
}

// carry says how a key column stands to a place of the entity.
type carry int

const (
	carriesNothing carry = iota
	carriesPart          // it is made of the place, but two entities may have one value
	carriesWhole
)

// carries tells whether equal values of key mean equal values of the entity's place.
func carries(key, entity *value, outer *pointer) carry {
	if len(key.fields) > 0 {
		best := carriesNothing
		for _, f := range key.fields {
			best = max(best, carries(f.value, entity, key.inner(outer)))
		}
		return best
	}
	if key.path == nil || key.sum != nil {
		return carriesNothing
	}
	path := key.path
	if !key.ofEvent {
		path = path.below(outer)
	}
	switch {
	case path.text != entity.path.text:
		return carriesNothing
	case key.letters != "" && entity.letters != "":
		return carriesWhole
	case lossy(key):
		return carriesPart
	}
	return carriesWhole
}

// holders adds the places of the key that are the place of the entity: a column by its name, a field of a frozen one by
// the column's name and its number. Two fields of one column tell entities apart only if neither changes places.
func (v *value) holders(entity *value, outer *pointer, at string, to map[string]bool) {
	if len(v.fields) == 0 {
		if carries(v, entity, outer) == carriesWhole {
			to[at] = true
		}
		return
	}
	for i, f := range v.fields {
		f.value.holders(entity, v.inner(outer), at+"."+strconv.Itoa(i), to)
	}
}

// inner is where the pointers of a value's fields begin; outer is where its own does.
func (v *value) inner(outer *pointer) *pointer {
	switch {
	case v.path == nil:
		return outer
	case v.ofEvent:
		return v.path
	}
	return v.path.below(outer)
}

// lost says what lossy is about.
const lost = "case, take, sum, a timestamp's microseconds and digits in quotes lose something"

// lossy tells whether two values at a path may become one: letters lose their case, times what is finer than the year,
// the month or the millisecond, sums their summands, and numbers in quotes how they are written: "007" and "7" are one.
func lossy(v *value) bool {
	switch {
	case v.take != "" || v.letters != "" || v.sum != nil:
		return true
	case v.as == "string":
		return v.typ.Kind() != view.KindText && v.typ.Kind() != view.KindUUID
	case v.typ.Kind() == view.KindTimestamp && v.as != "epoch_s" && v.as != "epoch_ms":
		return v.path != nil
	}
	return slices.ContainsFunc(v.fields, func(f namedValue) bool { return lossy(f.value) })
}
