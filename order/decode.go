package order

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"penstock/view"
)

// envelope is what is read of a CloudEvents 1.0 object. The event's typ holds the type with its schema version until
// the schema is found.
var envelope = []field[event]{
	{name: "specversion", read: func(r *reader, _ *event) {
		if s, v, ok := r.text(); ok && s != "1.0" {
			r.malformed(v, `must be "1.0"`)
		}
	}},
	{name: "id", read: func(r *reader, e *event) { e.id = r.textID() }},
	{name: "source", read: func(r *reader, _ *event) {
		if s, v, ok := r.text(); ok && s == "" {
			r.malformed(v, "must not be empty")
		}
	}},
	{name: "type", read: func(r *reader, e *event) { e.typ = r.textID() }},
	{name: "time", read: func(r *reader, e *event) { e.time = r.time() }},
	{name: "datacontenttype", optional: true, read: func(r *reader, _ *event) {
		s, v, ok := r.text()
		if media, _, _ := strings.Cut(s, ";"); ok && !strings.EqualFold(strings.TrimSpace(media), "application/json") {
			r.malformed(v, "must be application/json")
		}
	}},
	{name: "traceparent", optional: true, read: func(r *reader, e *event) {
		// W3C Trace Context has receivers ignore a traceparent that they cannot use: it is no reason to park an order.
		if v := r.value(); v.Kind() == jsontext.KindString && len(v) <= maxID {
			e.traceParent = r.unquote(v)
		}
	}},
	{name: "data", read: readData},
}

// decode reads an event. With a fault the event holds as much as could be read.
func (known schemas) decode(record view.Record) (event, *fault) {
	var e event
	r := newReader()
	defer r.release()
	r.known = known

	r.start("", record.Data, record.Text())
	readEnvelope(r, &e)
	if r.broken != nil {
		bad := badJSON(r.broken)
		r.readData(base, &e)
		e.find(known)
		return e, bad
	}

	// An envelope's fault is told first, then an unknown schema, then a fault in data, which the type gives its meaning.
	s, unknown := e.find(known)
	r.fault = cmp.Or(r.fault, unknown)
	if s == nil {
		r.readData(base, &e)
		return e, r.fault
	}
	r.readData(s.data, &e)
	r.fault = cmp.Or(r.fault, r.dataFault)
	if r.fault == nil {
		for _, upcast := range s.steps {
			upcast(&e)
		}
	}
	return e, r.fault
}

func readEnvelope(r *reader, e *event) {
	switch r.json.PeekKind() {
	case jsontext.KindBeginObject:
		readObject(r, envelope, e)
	case jsontext.KindInvalid:
		if r.value(); errors.Is(r.broken, io.EOF) {
			r.broken = errors.New("the record is empty: must be a JSON object")
		}
	default:
		r.broken = fmt.Errorf("%s: must be a JSON object", shorten(r.value()))
	}
	if r.broken == nil {
		r.end()
	}
}

// readData reads data if the type before it says what its members mean, and otherwise keeps it for later.
func readData(r *reader, e *event) {
	if s := r.known[e.typ]; s != nil && r.json.PeekKind() == jsontext.KindBeginObject {
		envelopes := r.fault
		r.fault = nil
		readObject(r, s.data, e)
		r.fault, r.dataFault = envelopes, r.fault
		return
	}
	r.data = r.value()
	if r.broken != nil {
		// Cut off or damaged inside data: what stands before the damage may still tell which order it is.
		r.data = bytes.TrimLeft(r.json.UnreadBuffer(), ": \t\r\n")
		return
	}
	if jsontext.Value(r.data).Kind() != jsontext.KindBeginObject {
		r.malformed(r.data, "must be an object")
		r.data = nil
	}
}

// readData reads the data that was kept, if any.
func (r *reader) readData(fields []field[event], e *event) {
	if r.data == nil {
		return
	}
	r.broken = nil
	r.start("/data", r.data, string(r.data))
	readObject(r, fields, e)
}

// find returns the schema that the envelope's type names, and splits the type from its schema version.
func (e *event) find(known schemas) (*schema, *fault) {
	received := e.typ
	if s := known[received]; s != nil {
		e.typ, e.schemaVersion, e.kind = s.typ, s.version, s.kind
		return s, nil
	}
	e.typ, e.schemaVersion = splitType(received)
	newest := known.newest(e.typ)
	if newest == 0 {
		return nil, &fault{view.StageDecode, view.CodeUnknownType,
			fmt.Errorf("/type: %q: must be a known event type, such as order.placed.v1", cut(received, 40))}
	}
	return nil, &fault{view.StageDecode, view.CodeUnknownSchemaVersion,
		fmt.Errorf("/type: %q: must be %s in a known schema version, such as v%d", cut(received, 40), e.typ, newest)}
}

// splitType takes "order.placed.v1" apart. The schema version is 0 if there is none.
func splitType(s string) (typ string, version int) {
	i := strings.LastIndex(s, ".v")
	if i < 0 {
		return s, 0
	}
	n, err := strconv.ParseUint(s[i+2:], 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range it is the largest number, as unknown as the real one
		return s, 0
	}
	return s[:i], int(n)
}

// badJSON says where the record stops being a JSON object, in bytes and as a JSON pointer. Member names come from the
// record and may be as long as it.
func badJSON(err error) *fault {
	if broken, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		where := fmt.Sprintf("byte %d", broken.ByteOffset)
		if within := string(broken.JSONPointer); within != "" {
			where = cut(within, 80) + ": " + where
		}
		err = fmt.Errorf("%s: %s", where, cut(broken.Err.Error(), 80))
	}
	return &fault{view.StageDecode, view.CodeBadJSON, err}
}
