package viewfile

import (
	"fmt"
	"slices"
	"strings"

	"penstock/view"
)

// prover holds a definition against the conditions under which any order and any repetition of an entity's events ends
// in the rows that the events make in version order. They are:
//
//  1. Every row belongs to one entity: each place of the entity stands in the same key column, or field of one, for every
//     event type that writes the table, and nothing is lost on the way there. Otherwise events whose versions say nothing
//     of each other would meet in one row.
//  2. Every key column is known from every event that writes the row.
//  3. A write-once cell is written by one event type, through one rule: all its writes carry the entity's birth, so a
//     second value would win or lose by its bytes.
//  4. An event sets a cell once.
//
// What is left is the author's word, which no loader can check; the package's documentation lists it.
type prover struct {
	*notes
	d *definition
}

func (p *prover) prove() {
	for _, t := range p.d.tables {
		p.proveKeys(t)
		p.proveEntity(t)
		p.proveWriteOnce(t)
		p.judgeGrowth(t)
	}
	p.proveSingleCells()
}

// writer is an event type with what it writes into one table.
type writer struct {
	typ   *typeDefinition
	write *writeDefinition
}

func (p *prover) writers(t *tableDefinition) []writer {
	var out []writer
	for _, typ := range p.d.types {
		for _, w := range typ.writes {
			if w.table == t {
				out = append(out, writer{typ, w})
			}
		}
	}
	return out
}

func (p *prover) proveKeys(t *tableDefinition) {
	for _, w := range p.writers(t) {
		for i, k := range t.table.Keys() {
			if w.write.key(i) == nil {
				p.refuse(w.write.at, fmt.Sprintf("events of type %s do not say which row they write: key column %s has no path", w.typ.name, k.Name),
					"add path: /pointer to the column under tables, or key: {"+k.Name+": /pointer} here")
			}
		}
	}
}

func (p *prover) proveWriteOnce(t *tableDefinition) {
	type writing struct {
		writer
		set *setDefinition
	}
	byColumn := map[string][]writing{}
	for _, w := range p.writers(t) {
		for _, s := range w.write.sets {
			if s.column.Class == view.WriteOnce && s.column.Type.Kind() != view.KindSet {
				byColumn[s.column.Name] = append(byColumn[s.column.Name], writing{w, s})
			}
		}
	}
	const do = "make the column revisable, or give each type a column of its own"
	for _, c := range t.table.Columns {
		writings := byColumn[c.Name]
		for i, w := range writings {
			if w.typ.name == everyType {
				p.refuse(w.set.at, `"*" stands for every event type, and a write-once cell has one: `+
					"of two events' values the one with the larger bytes would stay", do)
				continue
			}
			for a, r := range w.set.rules {
				if r.key != nil && lossy(r.key) {
					p.refuse(r.key.at, "the key of a write-once entry keeps only a part of what it is made of ("+lost+"): two entries could become one, "+
						"and of their values the one with the larger bytes would stay", "use the path as it is, or make the column revisable")
				}
				if slices.ContainsFunc(w.set.rules[:a], func(other *rule) bool { return !apart(r, other) }) {
					p.refuse(r.at, "two rules write entries of one write-once map: if they write one key, the value with the larger bytes would stay",
						"make the column revisable, use one rule, or give each rule another const as its key")
				}
			}
			for _, other := range writings[:i] {
				if other.typ.base != w.typ.base && other.typ.name != everyType && !allApart(w.set.rules, other.set.rules) {
					p.refuse(w.set.at, fmt.Sprintf("types %s (line %d) and %s both write this write-once cell: both writes have the entity's birth "+
						"for a timestamp, so the value with the larger bytes would stay, and not the later one",
						other.typ.name, other.set.at.line, w.typ.name), do)
					break // one is reason enough: of a hundred types all pairs would be told
				}
			}
		}
	}
}

// apart tells whether two rules never write one entry.
func apart(a, b *rule) bool {
	return a.key != nil && b.key != nil && a.key.constant != nil && b.key.constant != nil && a.key.constant.encoded != b.key.constant.encoded
}

func allApart(a, b []*rule) bool {
	for _, x := range a {
		for _, y := range b {
			if !apart(x, y) {
				return false
			}
		}
	}
	return true
}

// every returns what the file says of all types, nil for nothing.
func (p *prover) every() *typeDefinition {
	if i := slices.IndexFunc(p.d.types, func(t *typeDefinition) bool { return t.name == everyType }); i >= 0 {
		return p.d.types[i]
	}
	return nil
}

// proveSingleCells refuses a column that an event would set both for its type and for all types.
func (p *prover) proveSingleCells() {
	every := p.every()
	if every == nil {
		return
	}
	for _, t := range p.d.types {
		if t == every || t.ignored {
			continue
		}
		for _, w := range t.writes {
			all := every.write(w.table)
			if all == nil {
				continue
			}
			if w.when != nil || all.when != nil || !sameKeys(w, all) {
				p.refuse(w.at, fmt.Sprintf(`%q in line %d writes this table as well, and an event has one row of it under one condition`,
					everyType, all.at.line), "say key and when for neither of them, or write the types out")
			}
			for _, s := range w.sets {
				if j := slices.IndexFunc(all.sets, func(o *setDefinition) bool { return o.column.Name == s.column.Name }); j >= 0 {
					p.refuse(s.at, fmt.Sprintf(`%q in line %d sets this column as well, so one event would set it twice`,
						everyType, all.sets[j].at.line), "keep one of the two")
				}
			}
		}
	}
}

// write returns what a type writes into a table, nil for nothing.
func (t *typeDefinition) write(table *tableDefinition) *writeDefinition {
	for _, w := range t.writes {
		if w.table == table {
			return w
		}
	}
	return nil
}

func sameKeys(a, b *writeDefinition) bool {
	for i := range a.table.table.Keys() {
		x, y := a.key(i), b.key(i)
		if x == nil || y == nil || x.canonical() != y.canonical() {
			return x == y
		}
	}
	return true
}

// judgeGrowth warns of rows and partitions that may grow without end.
func (p *prover) judgeGrowth(t *tableDefinition) {
	writers := p.writers(t)
	if t.table.Provenance == view.ProvenanceAll {
		if p.d.event.birth == nil && t.bounded == "" {
			p.warn(t.at, "provenance all keeps a reference of every event in its row, and entities without a birth tend to have no end: "+
				"say provenance: last, or bounded: why an entity has few events")
		}
		var silent []string
		for _, typ := range p.d.types {
			if typ.name == everyType {
				silent = nil
				break
			}
			if typ.write(t) == nil {
				silent = append(silent, typ.name)
			}
		}
		if len(silent) > 0 && len(writers) > 0 {
			p.warn(t.at, "events of type %s do not write this table, so a row that misses nothing looks as if their versions were missing: "+
				"add them with set: {} to note that they happened", strings.Join(silent, ", "))
		}
	}
	if t.bounded != "" || len(writers) == 0 {
		return
	}
	w := writers[0]
	for _, place := range p.entity(w.typ) {
		if !p.partitionCarries(w, place) {
			p.warn(t.at, "a partition holds all entities that share %s, and grows with their number without end: "+
				"add a bucket such as {type: int, path: /time, take: year} to the partition, or bounded: why there are not many",
				strings.Join(partitionNames(t), ", "))
			return
		}
	}
}

func (p *prover) partitionCarries(w writer, place *value) bool {
	for i := range w.write.table.table.Partition {
		v := w.write.key(i)
		if v == nil || v.take != "" || place == nil || carries(v, place, nil) == carriesWhole {
			return true
		}
	}
	return false
}

func partitionNames(t *tableDefinition) []string {
	var out []string
	for _, k := range t.table.Partition {
		out = append(out, k.Name)
	}
	return out
}
