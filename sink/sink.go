// Package sink says what a writer promises to the shard loop, and what can become of a write.
//
// A writer takes the mutations of whole records and calls each record back exactly once. It repeats what may be
// repeated, which is everything, because mutations converge: a timeout means that the outcome is unknown, so the write
// is sent again. A record fails only when it can never be applied, when nobody can explain its failure while its
// neighbours succeed, when its context ends, or when the writer itself cannot go on.
package sink

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"penstock/view"
)

// Write is the mutations of one record on their way.
type Write struct {
	Mutations []view.Mutation
	Record    Settler
}

// Source is where writes come from: a shard while one worker holds it. A writer is fair between sources. The zero value is
// one without a name.
type Source struct {
	Name   string // for people
	behind atomic.Int64
}

// SetBehind tells how old what is submitted now was when it was read, 0 or more. Of two sources that wait, a writer gives
// the one that is further behind somewhat more. Any goroutine may call it.
func (s *Source) SetBehind(d time.Duration) { s.behind.Store(int64(max(0, d))) }

// Behind is what SetBehind told last.
func (s *Source) Behind() time.Duration { return time.Duration(s.behind.Load()) }

// Settler is a record that waits for its outcome.
type Settler interface {
	// Settle is called exactly once, from any goroutine, and must not block. Nil means that every mutation is
	// acknowledged at the configured consistency level. Otherwise the error is a [*view.Poison]: park the record;
	// an error whose [DispositionOf] is Fatal: stop; or the cause of the context's end: the outcome is unknown and
	// nothing is owed.
	Settle(err error)
}

// Disposition is what an error means for what was tried. It is decided once, where a driver's error enters.
type Disposition uint8

const (
	// Unknown is anything no seam classified. It is repeated a few times; then the record is parked, but only while
	// its neighbours succeed.
	Unknown Disposition = iota
	// Transient passes: repeat.
	Transient
	// Overload passes too, and says that less should be sent.
	Overload
	// Poison is the record's own fault and never passes.
	Poison
	// Fatal is nobody's fault but the operator's, and repeating is pointless: missing table, no rights.
	Fatal
)

func (d Disposition) String() string {
	switch d {
	case Transient:
		return "transient"
	case Overload:
		return "overload"
	case Poison:
		return "poison"
	case Fatal:
		return "fatal"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("disposition(%d)", uint8(d))
}

// Error is a classified error.
type Error struct {
	Disposition Disposition
	Op          string // what was tried, and on what
	Err         error
}

func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// DispositionOf returns the disposition of the first classified error in err's chain, or Unknown.
func DispositionOf(err error) Disposition {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Disposition
	}
	return Unknown
}
