// Package deadletter keeps the records that can never be applied: whole, each with its reason, in object storage.
//
// A [Letter] holds what an operator needs to understand one record and what a redrive needs to apply it: the payload
// byte for byte, where it stood in the stream, as much of the event as could be decoded, and why it failed, in words
// and as a fingerprint that groups letters of one cause. Its JSON is a superset of the record AWS Lambda writes to an
// S3 on-failure destination, so that tools made for those read ours.
//
// The guarantee is that [Parker.Park] returns nil only when the letter is durable. A letter's identity is its key, and
// a key is written once: parking a record again, after a crash or by two owners of a shard at once, ends in the same one
// letter. Letters are never changed and never deleted; what becomes of one is told by objects beside it.
package deadletter

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"penstock/view"
)

// Letter is one parked record.
type Letter struct {
	Target   Target
	Source   Source
	Event    Event
	Failure  Failure
	Attempts Attempts
	Context  Context
	ParkedAt time.Time // when the letter was first to be written; Park fills it in if it is zero
	Payload  []byte    // as received
}

// Target is what the record could not be applied to.
type Target struct {
	View       string          `json:"view"`
	Revision   string          `json:"revision"`
	Generation view.Generation `json:"generation"`
}

// Source is where the record stood.
type Source struct {
	Stream string `json:"stream"`
	ARN    string `json:"arn,omitempty"`
	// Epoch tells apart streams that bore one name after each other and re-used shard ids and positions: the stream's
	// creation time in Unix seconds, in decimal.
	Epoch        string    `json:"epoch"`
	Shard        string    `json:"shard"`
	Sequence     string    `json:"sequence"`
	SubSequence  int64     `json:"subsequence"`
	PartitionKey string    `json:"partition_key,omitempty"` // absent on streams that distribute records by themselves
	Arrival      time.Time `json:"arrival"`                 // by the stream's clock
}

// Event is as much of the event as was decoded. It has the fields of [view.Event] and converts from it.
type Event struct {
	ID            string           `json:"id,omitempty"`
	Type          string           `json:"type,omitempty"`
	SchemaVersion int              `json:"schema_version,omitempty"`
	EntityVersion int64            `json:"entity_version,omitempty"`
	Time          time.Time        `json:"time,omitzero"`
	Entity        string           `json:"entity,omitempty"`
	Attributes    []view.Attribute `json:"attributes,omitempty"`
	TraceParent   string           `json:"traceparent,omitempty"`
}

// Context is who parked the record, and with what.
type Context struct {
	Version string   `json:"version"`           // of the daemon
	Commit  string   `json:"commit,omitempty"`  // git revision that it was built from
	Config  string   `json:"config,omitempty"`  // digest of the configuration that it started with, without secrets
	Host    string   `json:"host,omitempty"`    // name of the machine or container
	Worker  string   `json:"worker,omitempty"`  // owner of the lease
	Trace   string   `json:"trace,omitempty"`   // id of the trace in which the daemon processed the record
	Schemas []string `json:"schemas,omitempty"` // event types with schema versions that the view accepted; none if it does not say
}

// The characters Kinesis allows in a shard id; positions and epochs are decimal numbers.
var (
	shardID = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)
	decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,128})$`)
	segment = regexp.MustCompile(`^[a-z0-9_]+$`)
)

// Check refuses a letter that has no identity, because a part of its key is missing or malformed.
func (l Letter) Check() error {
	switch {
	case !segment.MatchString(l.Target.View):
		return fmt.Errorf("letter: view name %q must match %s", l.Target.View, segment)
	case l.Target.Generation < 1:
		return fmt.Errorf("letter: generation %d must be at least 1", l.Target.Generation)
	case !segment.MatchString(string(l.Failure.Code)):
		return fmt.Errorf("letter: code %q must match %s", l.Failure.Code, segment)
	case !decimal.MatchString(l.Source.Epoch):
		return fmt.Errorf("letter: stream epoch %q must be a decimal number", l.Source.Epoch)
	case !shardID.MatchString(l.Source.Shard):
		return fmt.Errorf("letter: shard id %q must match %s", l.Source.Shard, shardID)
	case !decimal.MatchString(l.Source.Sequence):
		return fmt.Errorf("letter: sequence number %q must be a decimal number", l.Source.Sequence)
	case l.Source.SubSequence < 0:
		return fmt.Errorf("letter: sub-sequence number %d must not be negative", l.Source.SubSequence)
	}
	return nil
}

// Key is where the letter is kept below the dead letters' prefix:
//
//	v1/view=<view>/gen=<N>/dt=<UTC date of arrival>/<code>/<stream epoch>.<shard>.<sequence>.<subsequence>.json
//
// It depends on the record, the generation and the code alone, so that parking a record again finds the first letter.
func (l Letter) Key() string {
	var b strings.Builder
	b.WriteString("v1/view=")
	b.WriteString(l.Target.View)
	b.WriteString("/gen=")
	b.WriteString(strconv.Itoa(int(l.Target.Generation)))
	b.WriteString("/dt=")
	b.WriteString(l.Source.Arrival.UTC().Format(time.DateOnly))
	b.WriteByte('/')
	b.WriteString(string(l.Failure.Code))
	b.WriteByte('/')
	b.WriteString(l.position())
	b.WriteString(".json")
	return b.String()
}

func (l Letter) position() string {
	return l.Source.Epoch + "." + l.Source.Shard + "." + l.Source.Sequence + "." + strconv.FormatInt(l.Source.SubSequence, 10)
}

// ID is the letter's identity as a UUID: the same for every letter of one record, view and generation.
func (l Letter) ID() string {
	name := fmt.Sprintf("view=%s/gen=%d/%s", l.Target.View, l.Target.Generation, l.position())
	return uuid.NewSHA1(letterSpace, []byte(name)).String()
}

// letterSpace is this project's own UUID name space for letters; another one would change every id.
var letterSpace = uuid.MustParse("5e0d4f0a-7d0e-5c6b-9a3c-2f1f6b8d4c11")
