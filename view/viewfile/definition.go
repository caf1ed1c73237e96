package viewfile

import (
	"time"

	"penstock/view"
)

// definition is what a file says, with every default spelled out and without what means nothing: the order of tables,
// of columns and of event types.
type definition struct {
	view   string
	event  *eventDefinition
	tables []*tableDefinition // by name
	types  []*typeDefinition  // the event types, by name
	others string             // what becomes of a type that the file does not name: ignore, or empty for poison
	at     place
}

// The envelopes.
const (
	envelopePlain       = "plain"
	envelopeCloudEvents = "cloudevents"
	envelopeDebezium    = "debezium"
)

// everyType is the name that stands for all event types.
const everyType = "*"

// ignored says of a type that its events change nothing.
const ignored = "ignore"

// schemaSuffix says that the schema version ends the type, as in order.placed.v1.
const schemaSuffix = "suffix"

// eventDefinition says where an event's own properties stand.
type eventDefinition struct {
	at         place
	envelope   string
	tombstones string // debezium: ignore or poison
	id         *value // text; nil: the version in decimal
	typ        *value // text
	schema     *value // int; nil where schemaInType, or where types have no schema versions
	version    *value // bigint
	time       *value // timestamp
	birth      *value // timestamp; nil for the constant 1
	entity     []*value
	attributes []namedValue
	trace      *value // text; nil for none

	schemaInType bool // the schema version ends the type
}

// versioned tells whether types have schema versions.
func (e *eventDefinition) versioned() bool { return e.schemaInType || e.schema != nil }

// tableDefinition is a table and where its keys stand in an event unless its type says otherwise.
type tableDefinition struct {
	at      place
	table   view.Table
	keys    []keyDefinition // in the order of table.Keys()
	columns map[string]place
	bounded string // the author's word on why neither partitions nor rows grow without end
}

// keyDefinition is a column of the primary key.
type keyDefinition struct {
	at   place
	path *value // nil where each event type has to say
}

// typeDefinition says what the events of one type write.
type typeDefinition struct {
	at      place
	name    string // as it stands in the event, with the schema version
	base    string // without the schema version
	schema  int
	ignored bool
	entity  []*value // nil: as for all events
	checks  []*value // what must be right although nothing is made of it
	writes  []*writeDefinition

	demanded []string // of columns left out: what they ask of events is not; see without
}

// writeDefinition says what the events of one type write into one table.
type writeDefinition struct {
	at    place
	table *tableDefinition
	keys  map[string]*value // those that differ from the table's
	when  *condition
	sets  []*setDefinition // by column
}

// key returns where the i-th column of the primary key stands, nil if nobody says.
func (w *writeDefinition) key(i int) *value {
	if v := w.keys[w.table.table.Keys()[i].Name]; v != nil {
		return v
	}
	return w.table.keys[i].path
}

// setDefinition says what one column is set from: a value, or entries of a map, or elements of a set.
type setDefinition struct {
	at     place
	column view.Column
	rules  []*rule // exactly one unless the column is a map or set
}

// rule makes cells of one column.
type rule struct {
	at       place
	each     *pointer // the array that every element of makes a cell, nil for none
	optional bool     // the array may be missing
	minItems int
	when     *condition
	key      *value // of a map's entry
	value    *value // the column's, a map entry's, or a set's element
}

// value says where a value stands and what becomes of it.
type value struct {
	at       place
	typ      view.Type
	path     *pointer
	constant *constant
	fields   []namedValue // of a user-defined type or, without names, of a tuple
	sum      []*value     // factors, within the elements of each
	each     *pointer     // for sum, and for a check of every element
	as       string       // how the value stands in the JSON; never empty with a path
	take     string       // year or month of a time, empty for all of it
	letters  string       // upper or lower, empty to leave letters alone
	ofEvent  bool         // within each: the path begins at the event
	optional bool
	when     *condition
	require  *requirement
	minItems int // of each, in a check
}

type namedValue struct {
	name  string
	value *value
}

// constant is a value that stands in the file.
type constant struct {
	encoded view.Value
	text    string // as YAML
}

// condition holds for some events and not for others.
type condition struct {
	at      place
	path    *pointer
	ofEvent bool
	equals  *constant
	kind    byte // of equals: '"' for text, '0' for an integer, 'b' for a boolean
	present bool // without equals
}

// requirement is what a value has to be; an event with another value is poison.
type requirement struct {
	at              place
	min, max        *constant // of the value's type
	minLength       *int      // of text, in bytes
	maxLength       *int
	letters         string // upper: nothing but A to Z
	notAfterArrival *time.Duration
}
