package viewfile

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"penstock/view"
)

// fault is why an event is poison. Of several the one is told that a reader of the event meets first: those of the
// envelope, then an unknown type, then those of the rest; and among these by where they stand.
type fault struct {
	rank  rank
	at    int32 // byte of the record
	stage view.Stage
	code  view.Code
	err   error // nil: no fault
}

type rank uint8

const (
	rankEnvelope rank = iota
	rankType
	rankRest
)

// outranked tells whether a fault there would not be told.
func (r *run) outranked(at int32) bool {
	return r.fault.err != nil && (r.fault.rank < r.rank || r.fault.rank == r.rank && r.fault.at <= at)
}

func (r *run) fail(at int32, code view.Code, err error) {
	if !r.outranked(at) {
		r.fault = fault{r.rank, at, view.StageDecode, code, err}
	}
}

// malformed notes that a value breaks a rule.
func (r *run) malformed(n *node, s slot, rule string) {
	if r.outranked(s.start) {
		return
	}
	r.fail(s.start, view.CodeMalformedField, fmt.Errorf("%s: %s: %s", cmp.Or(r.pointer(n), "the event"), shorten(r.raw(s)), rule))
}

// broke notes that what was read up to the end of a value breaks a rule, which no one value does.
func (r *run) broke(n *node, s slot, rule string) {
	if r.outranked(s.end) {
		return
	}
	r.fail(s.end, view.CodeMalformedField, fmt.Errorf("%s: %s", r.pointer(n), rule))
}

// missing notes that a value is not there: it is absent or null, or what it should be in is something else.
func (r *run) missing(n *node, base int) {
	within, top := r.nearest(n, base)
	s := r.slots[slotOf(within, base)]
	switch {
	case within == n: // an element that is null
		r.malformed(n, s, "must not be null")
	case s.kind != jsontext.KindBeginObject:
		r.malformed(within, s, "must be an object")
	case !r.outranked(s.end):
		r.fail(s.end, view.CodeMissingField, fmt.Errorf("%s: must be present and not null", r.pointer(top)))
	}
}

// nearest returns the innermost place around n that has a value, and the one below it that has none.
func (r *run) nearest(n *node, base int) (within, top *node) {
	within, top = n, n
	for within.parent != nil && within.frame != within {
		if s := r.slots[slotOf(within, base)]; s.kind != 0 && s.kind != jsontext.KindNull {
			break
		}
		within, top = within.parent, within
	}
	return within, top
}

func slotOf(n *node, base int) int { return base + n.slot }

// astray tells whether a value is absent because what it should be in is no object.
func (r *run) astray(n *node, base int) bool {
	within, _ := r.nearest(n, base)
	kind := r.slots[slotOf(within, base)].kind
	return within != n && kind != jsontext.KindBeginObject
}

// pointer returns the JSON Pointer of a place, with the number of the element that is being gone through.
func (r *run) pointer(n *node) string {
	switch {
	case n.parent == nil:
		return ""
	case n.parent.items == n:
		at := n.parent
		if r.array != nil {
			at = r.array
		}
		return r.pointer(at) + "/" + strconv.Itoa(r.index)
	}
	return r.pointer(n.parent) + "/" + cut(escapeToken(n.name), 80)
}

// rangeError says that a number is out of its bounds.
func rangeError(b *bounds) string {
	switch {
	case b.minText == "":
		return "must be at most " + b.maxText
	case b.maxText == "":
		return "must be at least " + b.minText
	}
	return "must be between " + b.minText + " and " + b.maxText
}
