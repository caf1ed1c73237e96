package deadletter

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"penstock/view"
)

// State is what has become of a letter.
type State string

// The closed set of states. A letter that no outcome is about is open.
const (
	Open       State = "open"
	Failed     State = "failed"     // open, and at least one redrive failed again
	Redriven   State = "redriven"   // applied: the writer acknowledged it
	Superseded State = "superseded" // a corrected event is in the rows
	Discarded  State = "discarded"  // an operator decided that it is not needed
	Inherited  State = "inherited"  // closed in the generation that this one replaces
	Reopened   State = "reopened"   // a discard was undone; the letter is open
)

// States returns those that a letter may be in. Reopened is none of them: such a letter is open again.
func States() []State { return []State{Open, Failed, Redriven, Superseded, Discarded, Inherited} }

// IsOpen tells whether a letter in this state waits for somebody.
func (s State) IsOpen() bool { return s == Open || s == Failed || s == Reopened }

// Outcome is what became of one letter at one time. Outcomes are added and never changed; [Fate] says what they amount to.
type Outcome struct {
	Letter   string    `json:"letter"` // the letter's identity within its day: epoch, shard, sequence and subsequence
	Key      string    `json:"key"`    // of the letter's object
	State    State     `json:"state"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`                 // who asked, as user@host
	Run      string    `json:"run"`                // of the command: all its outcomes have it
	Release  string    `json:"release,omitempty"`  // version of the program
	Revision string    `json:"revision,omitempty"` // of the view that it was redriven through
	Reason   string    `json:"reason,omitempty"`   // of a discard, or of its being undone
	Event    string    `json:"event,omitempty"`    // id of the event that superseded it
	Failure  *Failure  `json:"failure,omitempty"`  // of a redrive that failed again
}

// Check refuses an outcome that lacks what its state needs.
func (o Outcome) Check() error {
	switch o.State {
	case Redriven, Inherited:
	case Failed:
		if o.Failure == nil {
			return fmt.Errorf("outcome of %s: failed: must name its failure", o.Letter)
		}
	case Superseded:
		if o.Event == "" {
			return fmt.Errorf("outcome of %s: superseded: must name the event", o.Letter)
		}
	case Discarded, Reopened:
		if o.Reason == "" {
			return fmt.Errorf("outcome of %s: %s: must have a reason", o.Letter, o.State)
		}
	default:
		return fmt.Errorf("outcome of %s: state %q: must be one of redriven, superseded, discarded, inherited, reopened, failed", o.Letter, o.State)
	}
	switch {
	case o.Letter == "":
		return fmt.Errorf("outcome: letter must not be empty")
	case o.At.IsZero():
		return fmt.Errorf("outcome of %s: time must not be zero", o.Letter)
	}
	return nil
}

// Fate is what a letter's outcomes amount to. The zero value is a letter without any.
//
// It is three registers, so that the order in which outcomes are read, and reading one twice, make no difference:
//
//   - the first of those that are final, redriven and superseded: the event is in the rows, and nothing takes it out again;
//   - the last decision: discarded, inherited or reopened;
//   - the last failure of a redrive, which is a fact and no decision: it does not open what was discarded meanwhile.
//
// Whatever is final goes before a decision, and a decision that closes before a failure. Of two decisions of one moment the
// one that leaves the letter open counts: what is open is looked at again.
type Fate struct {
	final, decision, failure register
}

// register holds a state and the time of it, in nanoseconds; compactly, since a day may have a million of them.
type register struct {
	at    int64
	state rank
}

// rank orders states within a register. None is an empty one.
type rank uint8

const (
	none rank = iota
	rankInherited
	rankDiscarded
	rankReopened
	rankSuperseded
	rankRedriven
	rankFailed
)

var ranks = map[State]rank{Inherited: rankInherited, Discarded: rankDiscarded, Reopened: rankReopened,
	Superseded: rankSuperseded, Redriven: rankRedriven, Failed: rankFailed}

var stateOf = [...]State{none: Open, rankInherited: Inherited, rankDiscarded: Discarded, rankReopened: Reopened,
	rankSuperseded: Superseded, rankRedriven: Redriven, rankFailed: Failed}

func (r register) later(o register) register {
	if r.state == none || o.state != none && (o.at > r.at || o.at == r.at && o.state > r.state) {
		return o
	}
	return r
}

func (r register) earlier(o register) register {
	if r.state == none || o.state != none && (o.at < r.at || o.at == r.at && o.state > r.state) {
		return o
	}
	return r
}

// With returns the fate once o has been added.
func (f Fate) With(o Outcome) Fate {
	r := register{o.At.UnixNano(), ranks[o.State]}
	switch o.State {
	case Redriven, Superseded:
		f.final = f.final.earlier(r)
	case Discarded, Inherited, Reopened:
		f.decision = f.decision.later(r)
	case Failed:
		f.failure = f.failure.later(r)
	case Open: // no outcome has it
	}
	return f
}

// State returns the letter's state. A reopened letter is open, or failed if a redrive of it ever was.
func (f Fate) State() State {
	switch {
	case f.final.state != none:
		return stateOf[f.final.state]
	case f.decision.state == rankDiscarded || f.decision.state == rankInherited:
		return stateOf[f.decision.state]
	}
	return stateOf[f.failure.state]
}

// At returns the time of the outcome that gave the letter its state, or zero for none.
func (f Fate) At() time.Time {
	r := f.failure
	switch {
	case f.final.state != none:
		r = f.final
	case f.decision.state == rankDiscarded || f.decision.state == rankInherited:
		r = f.decision
	}
	if r.state == none {
		return time.Time{}
	}
	return time.Unix(0, r.at).UTC()
}

// After returns the time for a decision that is made now: after the last one, also where that was made by a clock that
// is ahead of this one.
func (f Fate) After(now time.Time) time.Time {
	if f.decision.state != none && f.decision.at >= now.UnixNano() && f.decision.at < math.MaxInt64 {
		return time.Unix(0, f.decision.at+1).UTC()
	}
	return now.UTC()
}

// Fates are those of one day's letters, by identity. The zero value is not usable: make it with [NewFates]. An entry
// takes 64 bytes, so that a day of a million outcomes fits where one of a million letters would not.
type Fates struct{ of map[identity]Fate }

// identity is a digest of a letter's identity, a quarter as long.
type identity [16]byte

func identityOf(letter string) identity {
	sum := sha256.Sum256([]byte(letter))
	return identity(sum[:16])
}

// NewFates returns fates without any.
func NewFates() *Fates { return &Fates{map[identity]Fate{}} }

// Add takes an outcome into account.
func (f *Fates) Add(o Outcome) {
	id := identityOf(o.Letter)
	f.of[id] = f.of[id].With(o)
}

// Of returns the fate of a letter by its identity.
func (f *Fates) Of(letter string) Fate { return f.of[identityOf(letter)] }

// Len returns how many letters have outcomes.
func (f *Fates) Len() int { return len(f.of) }

// encodeOutcomes returns outcomes as they are stored: a line of JSON each.
func encodeOutcomes(outcomes []Outcome) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, o := range outcomes {
		if err := o.Check(); err != nil {
			return nil, err
		}
		if err := enc.Encode(o); err != nil {
			return nil, fmt.Errorf("encode the outcome of %s: %w", o.Letter, err)
		}
	}
	return b.Bytes(), nil
}

// maxOutcome bounds a line: a failure's message and a stack are the longest in it.
const maxOutcome = 1 << 20

// decodeOutcomes hands out what encodeOutcomes wrote.
func decodeOutcomes(text []byte, each func(Outcome)) error {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxOutcome)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var o Outcome
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := o.Check(); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		each(o)
	}
	return lines.Err()
}

// sortHistory sorts the outcomes of one letter as people read them.
func sortHistory(outcomes []Outcome) {
	slices.SortStableFunc(outcomes, func(a, b Outcome) int { return a.At.Compare(b.At) })
}

// Mark is what a listing tells of a letter, without reading it.
type Mark struct {
	Key      string
	Day      string    // UTC date of arrival, such as 2026-11-21
	Code     view.Code // why it was parked
	Identity string    // epoch, shard, sequence and subsequence
	Bytes    int64     // of the object
	Written  time.Time // when the object was made durable, by the store's clock
}
