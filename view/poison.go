package view

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Stage is where on its way a record was found to be poison.
type Stage string

// The closed set of stages.
const (
	StageDeaggregate Stage = "deaggregate" // a record of the stream to those that were put together as one
	StageDecode      Stage = "decode"      // bytes to an event
	StageValidate    Stage = "validate"    // an event against its rules
	StageProject     Stage = "project"     // an event to mutations
	StageWrite       Stage = "write"       // mutations to Cassandra
)

// Stages returns every stage, in the order of a record's way.
func Stages() []Stage {
	return []Stage{StageDeaggregate, StageDecode, StageValidate, StageProject, StageWrite}
}

// Code is why a record can never be applied. Codes stand in the keys of dead letters: none is ever renamed.
type Code string

// The closed set of codes.
const (
	CodeBadAggregate         Code = "bad_aggregate"          // put together with others in a way that cannot be taken apart
	CodeBadJSON              Code = "bad_json"               // not one JSON object
	CodeUnknownType          Code = "unknown_type"           // an event type the view does not know
	CodeUnknownSchemaVersion Code = "unknown_schema_version" // a known type in a version the view does not know
	CodeMissingField         Code = "missing_field"          // a required field is absent
	CodeMalformedField       Code = "malformed_field"        // a field has the wrong type or form
	CodeVersionOutOfRange    Code = "version_out_of_range"   // the entity version is outside its bounds
	CodePlacedAtOutOfRange   Code = "placed_at_out_of_range" // the time of birth is outside its bounds
	CodeStampOutOfRange      Code = "stamp_out_of_range"     // birth + version does not fit in 63 bits
	CodeTooLarge             Code = "too_large"              // more than the limit that the message names
	CodeRejected             Code = "rejected_by_cassandra"  // Cassandra calls the statement invalid for this row
	CodePanic                Code = "panic"                  // the view panicked
	CodeUnexplained          Code = "unexplained"            // failed for a reason nobody classified, while its neighbours succeeded
)

// Codes returns every code.
func Codes() []Code {
	return slices.Clone(codes)
}

var codes = []Code{
	CodeBadAggregate, CodeBadJSON, CodeUnknownType, CodeUnknownSchemaVersion, CodeMissingField, CodeMalformedField, CodeVersionOutOfRange,
	CodePlacedAtOutOfRange, CodeStampOutOfRange, CodeTooLarge, CodeRejected, CodePanic, CodeUnexplained,
}

// Poison is the error for a record that can never be applied as it is.
type Poison struct {
	Stage Stage
	Code  Code
	Event Event // as much as was decoded before the fault
	Tries int   // how often it was sent to Cassandra before it was given up
	// First is when the first of the tries failed, and Causes what they were refused for, the first of them; both are zero
	// without tries.
	First  time.Time
	Causes []error
	Err    error // names field, value and rule, in words an operator can act on
}

func (p *Poison) Error() string { return fmt.Sprintf("%s: %s: %v", p.Stage, p.Code, p.Err) }

func (p *Poison) Unwrap() error { return p.Err }

// AsPoison returns the poison in err's chain, if there is one.
func AsPoison(err error) (*Poison, bool) { return errors.AsType[*Poison](err) }
