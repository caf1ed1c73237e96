// Package diagnosis is the language in which the parts of the program tell an operator what they found: one [Finding]
// for each thing looked at, with a level that a script can act upon and a sentence that says what to do. Each part
// examines the system it knows; whoever asked puts the findings together.
//
// Looking changes nothing: whatever examines a system does so by calls that read, or that cannot apply.
package diagnosis

// Level says how a finding stands to a daemon that is about to start. The values are part of what commands print.
type Level string

// The closed set of levels.
const (
	OK          Level = "ok"
	Warn        Level = "warn"        // works, but not as it should in production, or could not be looked at
	Missing     Level = "missing"     // is not there
	Different   Level = "different"   // is there, but not as it is needed
	Denied      Level = "denied"      // the configured identity may not
	Refused     Level = "refused"     // works, and would lose or mix data
	Unreachable Level = "unreachable" // gives no answer that says anything; may pass by itself
)

// Finding is what was found out about one thing.
type Finding struct {
	System string `json:"system"` // kinesis, dynamodb, s3, cassandra, aws
	Item   string `json:"item"`   // what kind of thing, such as stream, right, table
	Name   string `json:"name"`   // which one
	Level  Level  `json:"level"`
	Found  string `json:"found"`        // what is, as a clause without a subject
	Do     string `json:"do,omitempty"` // what to do about it; empty if nothing
}
