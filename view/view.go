// Package view says what a view is: a pure function from one record of a stream to mutations of table rows.
//
// The guarantee everything else rests on is convergence. A mutation sets cells of one row, and every cell carries a
// stamp that is derived from the event alone. [Merge] keeps, per cell, the higher stamp and on a tie the larger bytes,
// which is the rule Cassandra itself applies. Merge is commutative, associative and idempotent, so any order, any
// repetition and any number of writers end in the same rows. A view therefore never reads before it writes and has no
// counters, lists, nulls, deletes, clock or randomness; this package offers no way to express them.
//
// The package imports the standard library only.
package view

import (
	"time"
	"unsafe"
)

// View projects records into tables. Implementations are immutable and safe for concurrent use.
type View interface {
	// Name identifies the view in dead letters and in the state table: lower-case letters, digits and underscores.
	Name() string
	// Revision names what Project writes for every event the view accepts. Other cells for an event that was already
	// accepted are a new revision; accepting more is not.
	Revision() string
	// Tables returns the tables the view writes. The engine adds the generation to their names.
	Tables() []Table
	// Project is pure: the same record gives the same result, whenever and wherever it is called. The error is a
	// [*Poison] when the record can never be applied; any other error is a fault of the view.
	Project(Record) (Result, error)
}

// Record is one record as it was read from the stream.
type Record struct {
	Data     []byte    // as received; nobody changes it
	Position Position  // where it stands in the stream
	Arrival  time.Time // when the stream accepted it, by the stream's own clock
}

// Text returns the data as a string that shares its memory, so that what a view finds in it need not be copied.
func (r Record) Text() string { return unsafe.String(unsafe.SliceData(r.Data), len(r.Data)) }

// Position is where a record stands: the fields together are unique for the life of a stream.
type Position struct {
	Stream      string // name of the stream
	Shard       string // shard id
	Sequence    string // decimal sequence number
	SubSequence int64  // index within an aggregate, 0 otherwise
}

// Result is what one record becomes.
type Result struct {
	Mutations []Mutation
	Event     Event
}

// Event is what the engine may know of an event without knowing its meaning. Every part is optional; the zero value of
// a part means that it is unknown.
type Event struct {
	ID            string
	Type          string // without the schema version
	SchemaVersion int
	EntityVersion int64
	Time          time.Time
	Entity        string
	Attributes    []Attribute // such as customer_id, for filters in the operator's tools
	TraceParent   string      // W3C trace context
}

// Attribute is a named property of an event.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Mutation sets cells of one row, none of them twice.
type Mutation struct {
	Table string  // base name, without the generation
	Key   []Value // the partition key's columns, then the clustering columns, in the table's order
	Cells []Cell
}

// Cell is the smallest thing that has a stamp: a scalar or frozen column, one entry of a map, or one element of a set.
type Cell struct {
	Column string
	Path   Value // the map key or the set element; the zero Value for any other column
	Value  Value // the zero Value for a set element
	Stamp  Stamp
}

// Row is a row as it was read back: for every cell that has a value, in [Merge]'s order. Stamps are zero unless the reader
// says otherwise; those of collections always are, since Cassandra does not return them.
type Row struct {
	Key   []Value
	Cells []Cell
}
