package view

import (
	"fmt"
	"math"
	"strconv"
)

// Stamp is the write timestamp of a cell, in Cassandra's unit of microseconds. It orders writes of one cell and is
// derived from the event, never from a clock.
type Stamp int64

// Stamps are the two stamps an event may write with.
type Stamps struct {
	WriteOnce Stamp // the entity's birth: for cells that only one kind of event writes, with one value
	Revisable Stamp // birth + version: for cells in which a later version replaces an earlier one
}

// NewStamps derives the stamps of an event. Birth is the entity's time of birth in microseconds since 1970, or 1 for
// an entity without one; version orders the entity's events. Birth must be at least 1, version must not be negative,
// and birth + version must fit in 63 bits, or Cassandra could not hold the stamp.
func NewStamps(birth, version int64) (Stamps, error) {
	switch {
	case birth < 1:
		return Stamps{}, fmt.Errorf("birth %d: must be at least 1", birth)
	case version < 0:
		return Stamps{}, fmt.Errorf("version %d: must not be negative", version)
	case birth > math.MaxInt64-version:
		return Stamps{}, fmt.Errorf("birth %d + version %d: must fit in 63 bits", birth, version)
	}
	return Stamps{WriteOnce: Stamp(birth), Revisable: Stamp(birth + version)}, nil
}

// Generation numbers the sets of tables a view is built in, from 1. A generation belongs to one revision of the view
// and its number is never used again.
type Generation int

// Suffix is what the generation adds to the name of a table or of a type, such as "_g1".
func (g Generation) Suffix() string { return "_g" + strconv.Itoa(int(g)) }
