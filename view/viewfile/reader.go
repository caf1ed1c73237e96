package viewfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// slot is where a value stands in the record. The zero slot is that of a value that is not there.
type slot struct {
	kind       jsontext.Kind
	start, end int32 // in the record
	first      int32 // of an array that is gone through: where the frame of its first element begins
	count      int32 // of its elements
}

// reader reads one JSON text strictly and once: names are case-sensitive, a name that stands twice and invalid UTF-8 are
// errors. Of what no path leads to nothing is kept.
type reader struct {
	json   jsontext.Decoder
	input  bytes.Buffer
	data   []byte
	source string // data, as a string that values are cut from
	slots  []slot
	broken error // why this is not one JSON object
	unwrap bool  // the event is the member payload of what is read, if there is one
	within bool  // payload was read
	null   bool  // the record, or its payload, is null
	seen   nameSet
}

// start makes the reader ready for a record with a frame of n slots.
func (r *reader) start(data []byte, source string, n int) {
	r.data, r.source = data, source
	r.input = *bytes.NewBuffer(data)                           // the decoder reads from a buffer in place and never writes to it
	r.json.Reset(&r.input, jsontext.AllowDuplicateNames(true)) // see nameSet
	r.seen.reset()
	r.slots = append(r.slots[:0], make([]slot, n)...)
	r.broken, r.unwrap, r.within, r.null = nil, false, false, false
}

// readEvent reads the whole record, of which root says what to keep.
func (r *reader) readEvent(root *node) {
	switch r.json.PeekKind() {
	case jsontext.KindBeginObject:
		r.read(root, 0)
	case jsontext.KindInvalid:
		if _, err := r.json.ReadValue(); errors.Is(err, io.EOF) {
			r.null = true
			r.broken = errors.New("the record is empty: must be a JSON object")
		} else {
			r.broken = err
		}
	default:
		v, err := r.json.ReadValue()
		if r.broken = err; err == nil {
			r.broken = fmt.Errorf("%s: must be a JSON object", shorten(string(v)))
			if v.Kind() == jsontext.KindNull {
				_, err := r.json.ReadToken()
				r.null = errors.Is(err, io.EOF) // with something behind it, it is no JSON text
			}
		}
	}
	if r.broken != nil {
		return
	}
	if _, err := r.json.ReadToken(); err == nil {
		r.broken = errors.New("must be one JSON object, not several values")
	} else if !errors.Is(err, io.EOF) {
		r.broken = err
	}
}

// empty tells whether the record is nothing at all, or null, or one sound object whose payload is null.
func (r *reader) empty() bool { return r.null && (!r.within || r.broken == nil) }

// read reads a value into the slots of n and of all below it, in the frame that begins at base.
func (r *reader) read(n *node, base int) {
	switch kind := r.json.PeekKind(); {
	case kind == jsontext.KindBeginObject && n.lookup != nil:
		r.members(n, base)
	case kind == jsontext.KindBeginArray && n.items != nil:
		r.elements(n, base)
	case kind == jsontext.KindBeginObject || kind == jsontext.KindBeginArray:
		start := int(r.json.InputOffset()) // before the colon or comma, if there is one
		start += bytes.IndexByte(r.data[start:], byte(kind))
		if r.skip(); r.broken == nil {
			r.slots[base+n.slot] = slot{kind: kind, start: int32(start), end: int32(r.json.InputOffset())}
		}
	default:
		v, err := r.json.ReadValue()
		if err != nil {
			r.broken = err
			return
		}
		end := int32(r.json.InputOffset())
		r.slots[base+n.slot] = slot{kind: kind, start: end - int32(len(v)), end: end}
	}
}

func (r *reader) members(n *node, base int) {
	if _, r.broken = r.json.ReadToken(); r.broken != nil {
		return
	}
	start := int32(r.json.InputOffset()) - 1
	r.slots[base+n.slot] = slot{kind: jsontext.KindBeginObject, start: start}
	top := r.unwrap && n.parent == nil
	r.object(func(name []byte, hash uint64) {
		if top && string(name) == "payload" {
			r.payload(n)
		} else if kid := n.find(name, hash); kid != nil && !(top && r.within) {
			r.read(kid, base)
		} else {
			r.skip()
		}
	})
	if r.broken == nil && !(top && r.within) {
		r.slots[base+n.slot].end = int32(r.json.InputOffset())
	}
}

// payload reads the member that holds the event, and forgets what stood beside it.
func (r *reader) payload(root *node) {
	clear(r.slots)
	r.unwrap, r.within = false, true
	r.null = r.json.PeekKind() == jsontext.KindNull
	r.read(root, 0)
	r.unwrap = true
}

func (r *reader) elements(n *node, base int) {
	if _, r.broken = r.json.ReadToken(); r.broken != nil {
		return
	}
	array := slot{kind: jsontext.KindBeginArray, start: int32(r.json.InputOffset()) - 1, first: int32(len(r.slots))}
	for r.json.PeekKind() != jsontext.KindEndArray {
		frame := len(r.slots)
		r.slots = append(r.slots, make([]slot, n.items.size)...)
		r.read(n.items, frame)
		if r.broken != nil {
			return
		}
		array.count++
	}
	if _, r.broken = r.json.ReadToken(); r.broken == nil {
		array.end = int32(r.json.InputOffset())
		r.slots[base+n.slot] = array
	}
}

// raw is the JSON text of a value.
func (r *reader) raw(s slot) string { return r.source[s.start:s.end] }

// plain tells whether a JSON string stands for the bytes between its quotes.
func (r *reader) plain(s slot) bool { return strings.IndexByte(r.source[s.start+1:s.end-1], '\\') < 0 }

// unquote returns the text of a JSON string, sharing the record's memory where it can.
func (r *reader) unquote(s slot) string {
	if r.plain(s) {
		return r.source[s.start+1 : s.end-1]
	}
	inner, _ := jsontext.AppendUnquote(nil, r.data[s.start:s.end]) // the decoder has checked it
	return string(inner)
}

// syntax says where the record stops being JSON, in bytes and as a JSON pointer. Member names come from the record and
// may be as long as it.
func syntax(err error) error {
	broken, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return err
	}
	where := fmt.Sprintf("byte %d", broken.ByteOffset)
	if within := string(broken.JSONPointer); within != "" {
		where = cut(within, 80) + ": " + where
	}
	return fmt.Errorf("%s: %s", where, cut(broken.Err.Error(), 80))
}

// shorten makes a JSON value fit for a message: values are not to be copied into logs and letters whole.
func shorten(v string) string {
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	}
	return cut(v, 40)
}
