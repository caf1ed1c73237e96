package view

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
)

// Class says how the cells of a column are stamped.
type Class uint8

const (
	// WriteOnce cells are written by one kind of event with one value and carry the entity's birth.
	WriteOnce Class = iota + 1
	// Revisable cells carry birth + version: the event with the highest version wins.
	Revisable
)

// Provenance says how a row records which events it is made of.
type Provenance uint8

const (
	// ProvenanceAll keeps the reference of every event applied, in the write-once set [EventsColumn]. For entities of
	// bounded life: a missing version shows as a hole, two ids under one version as a contradiction.
	ProvenanceAll Provenance = iota + 1
	// ProvenanceLast keeps the reference of the latest event in the revisable column [LastEventColumn]. For entities
	// without end: it says how new a row is, not whether it is whole.
	ProvenanceLast
)

// The columns a table's provenance adds.
const (
	EventsColumn    = "events"
	LastEventColumn = "last_event"
)

// Table is a table as a value. DDL, statements, the comparison with a live schema, and reads are derived from it.
type Table struct {
	Name       string // base name: the generation's suffix is added by the engine
	Partition  []KeyColumn
	Clustering []KeyColumn
	Columns    []Column // without the one that Provenance adds; see AllColumns
	Provenance Provenance
}

// KeyColumn is a column of the primary key.
type KeyColumn struct {
	Name       string
	Type       Type
	Descending bool // clustering order; meaningless in the partition key
}

// Column is a column outside the primary key.
type Column struct {
	Name  string
	Type  Type
	Class Class
}

// AllColumns returns the columns outside the primary key, the provenance's last.
func (t Table) AllColumns() []Column {
	switch t.Provenance {
	case ProvenanceAll:
		return append(slices.Clip(t.Columns), Column{Name: EventsColumn, Type: SetOf(EventRefType), Class: WriteOnce})
	case ProvenanceLast:
		return append(slices.Clip(t.Columns), Column{Name: LastEventColumn, Type: EventRefType, Class: Revisable})
	}
	return t.Columns
}

// Keys returns the columns of the primary key in the order of [Mutation.Key].
func (t Table) Keys() []KeyColumn {
	return append(slices.Clip(t.Partition), t.Clustering...)
}

// ProvenanceCell is the cell that records ref in a row of t, with the stamp its provenance asks for.
func (t Table) ProvenanceCell(ref Value, stamps Stamps) Cell {
	if t.Provenance == ProvenanceLast {
		return Cell{Column: LastEventColumn, Value: ref, Stamp: stamps.Revisable}
	}
	return Cell{Column: EventsColumn, Path: ref, Stamp: stamps.WriteOnce}
}

// EventRefType is the one type that stands in every generation of every view. Its shape never changes: another field
// would make one event two elements of a set.
var EventRefType = SharedUserType("event_ref",
	Field{"version", Bigint}, Field{"type", Text}, Field{"time", Timestamp}, Field{"id", Text})

// EventRef encodes the reference of an event: its entity version, type without schema version, time and id, all as
// received and before any upcast. The time is kept to the millisecond, which is what Cassandra's timestamp holds.
func EventRef(e Event) Value {
	return TupleValue(BigintValue(e.EntityVersion), TextValue(e.Type), TimestampValue(e.Time), TextValue(e.ID))
}

var identifier = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// Check reports everything that is wrong with the tables of v, joined into one error that names table and column.
func Check(v View) error {
	var errs []error
	if !identifier.MatchString(v.Name()) {
		errs = append(errs, fmt.Errorf("view name %q: must match %s", v.Name(), identifier))
	}
	if v.Revision() == "" {
		errs = append(errs, fmt.Errorf("view %s: revision must not be empty", v.Name()))
	}
	if len(v.Tables()) == 0 {
		errs = append(errs, fmt.Errorf("view %s: must have at least one table", v.Name()))
	}
	seen := map[string]bool{}
	known := map[string]Type{}
	for _, t := range v.Tables() {
		if seen[t.Name] {
			errs = append(errs, fmt.Errorf("table %s: stands twice", t.Name))
		}
		seen[t.Name] = true
		errs = append(errs, t.check(), t.checkUserTypes(known))
	}
	return errors.Join(errs...)
}

// checkUserTypes refuses two user-defined types of one name: the keyspace could only hold one of them. It adds those of
// t to known.
func (t Table) checkUserTypes(known map[string]Type) error {
	var errs []error
	check := func(column string, typ Type) {
		for _, u := range typ.UserTypes() {
			if other, ok := known[u.name]; ok && !reflect.DeepEqual(u, other) {
				errs = append(errs, fmt.Errorf("table %s: column %s: type %s: is another type than the one of this name before",
					t.Name, column, u))
			}
			known[u.name] = u
		}
	}
	for _, k := range t.Keys() {
		check(k.Name, k.Type)
	}
	for _, c := range t.AllColumns() {
		check(c.Name, c.Type)
	}
	return errors.Join(errs...)
}

// bareTuple: the Apache driver for Go (v2.1.2) counts the markers of a prepared statement as if every tuple column were
// spelled out field by field, so that no single value can be bound to one. Within another type a tuple is an ordinary value.
const bareTuple = "a tuple cannot be a column of its own: use a user-defined type, or a tuple within another type"

func (t Table) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("table %s: "+format, append([]any{t.Name}, args...)...))
	}
	if !identifier.MatchString(t.Name) {
		bad("name must match %s", identifier)
	}
	if len(t.Partition) == 0 {
		bad("must have a partition key")
	}
	if t.Provenance != ProvenanceAll && t.Provenance != ProvenanceLast {
		bad("must declare its provenance")
	}
	names := map[string]bool{}
	name := func(n string) {
		if !identifier.MatchString(n) {
			bad("column %q: name must match %s", n, identifier)
		}
		if names[n] {
			bad("column %s: stands twice", n)
		}
		names[n] = true
	}
	for _, k := range t.Keys() {
		name(k.Name)
		if k.Type.IsCollection() {
			bad("column %s: a key cannot be a %s", k.Name, k.Type)
		}
		if k.Type.kind == KindTuple {
			bad("column %s: %s", k.Name, bareTuple)
		}
		if err := k.Type.check(); err != nil {
			bad("column %s: %w", k.Name, err)
		}
	}
	for _, c := range t.AllColumns() {
		name(c.Name)
		if c.Class != WriteOnce && c.Class != Revisable {
			bad("column %s: must be write-once or revisable", c.Name)
		}
		if c.Type.kind == KindTuple {
			bad("column %s: %s", c.Name, bareTuple)
		}
		if err := c.Type.check(); err != nil {
			bad("column %s: %w", c.Name, err)
		}
	}
	return errors.Join(errs...)
}
