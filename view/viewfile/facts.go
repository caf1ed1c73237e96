package viewfile

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"penstock/view"
)

// maxID is the longest id, type and attribute in bytes. They stand in the reference of an event, in letters and in
// their keys, where Cassandra and S3 have limits of their own, far above any real id.
const maxID = 256

// typeOf returns the event's type as it was received.
func (v *View) typeOf(r *run) (string, bool) { return r.name(v.event.typ) }

// name reads a text of 1 to 256 bytes.
func (r *run) name(e *expr) (string, bool) {
	at, ok := r.eval(e, 0)
	if !ok {
		return "", false
	}
	if n := at.len(); n < 1 || n > maxID {
		place, s := r.place(e.at, 0)
		r.malformed(place, s, fmt.Sprintf("must have 1 to %d bytes, has %d", maxID, n))
		return "", false
	}
	if at.record {
		return r.source[at.start:at.end], true
	}
	return string(r.view(at)), true
}

// checkEnvelope reads what every event has, whatever its type.
func (v *View) checkEnvelope(r *run) {
	r.rank = rankEnvelope
	if v.event.id != nil {
		r.name(v.event.id)
	}
	r.eventTime(v.event.time)
	if v.event.data == nil {
		return
	}
	required := func(n *node, sound func(s slot) bool, rule string) {
		if s := r.slots[n.slot]; !there(s) {
			r.missing(n, 0)
		} else if !sound(s) {
			r.malformed(n, s, rule)
		}
	}
	required(v.event.specVersion, func(s slot) bool { return s.kind == jsontext.KindString && r.unquote(s) == "1.0" }, `must be "1.0"`)
	required(v.event.source, func(s slot) bool { return s.kind == jsontext.KindString && s.end-s.start > 2 }, "must be text, and not empty")
	required(v.event.data, func(s slot) bool { return s.kind == jsontext.KindBeginObject }, "must be an object")
	if s := r.slots[v.event.contentType.slot]; there(s) && (s.kind != jsontext.KindString || !isJSON(r.unquote(s))) {
		r.malformed(v.event.contentType, s, "must be application/json")
	}
}

func isJSON(mediaType string) bool {
	media, _, _ := strings.Cut(mediaType, ";")
	return strings.EqualFold(strings.TrimSpace(media), "application/json")
}

// eventTime reads a time that every event has.
func (r *run) eventTime(e *expr) (time.Time, bool) {
	n, s := r.place(e.at, 0)
	if !there(s) {
		r.missing(n, 0)
		return time.Time{}, false
	}
	return r.time(e, n, s)
}

// eventNumber reads a number that every event has, whatever its bounds.
func (r *run) eventNumber(e *expr) (int64, bool) {
	n, s := r.place(e.at, 0)
	if !there(s) {
		r.missing(n, 0)
		return 0, false
	}
	free := expr{form: e.form}
	return r.integer(&free, n, s, math.MinInt64, math.MaxInt64)
}

// birthOf reads the time of birth, whatever its bounds.
func (v *View) birthOf(r *run) (time.Time, bool) {
	n, s := r.place(v.event.birth.at, 0)
	if !there(s) {
		r.missing(n, 0)
		return time.Time{}, false
	}
	return r.readTime(v.event.birth, n, s)
}

// facts returns what the engine may know of the event, as far as it can be read, and the run's bytes as text.
func (v *View) facts(r *run, p *program) (view.Event, string) {
	var e view.Event
	e.Type, _ = v.typeOf(r)
	if v.event.schemaInType {
		e.Type, e.SchemaVersion = splitType(e.Type)
	} else if v.event.schema != nil {
		if at, ok := r.eval(v.event.schema, 0); ok {
			e.SchemaVersion = int(int32(binary.BigEndian.Uint32(r.view(at))))
		}
	}
	version, ok := r.eventNumber(v.event.version)
	e.EntityVersion = version
	switch {
	case v.event.id != nil:
		e.ID, _ = r.name(v.event.id)
	case ok:
		e.ID = strconv.FormatInt(version, 10)
	}
	if t, ok := r.eventTime(v.event.time); ok {
		e.Time = t
	}
	if v.event.trace != nil {
		// W3C Trace Context has receivers ignore a traceparent that they cannot use.
		if _, s := r.place(v.event.trace.at, 0); s.kind == jsontext.KindString && s.end-s.start <= maxID {
			e.TraceParent = r.unquote(s)
		}
	}
	for _, a := range v.event.attributes {
		if text, ok := r.name(a.expr); ok {
			e.Attributes = append(e.Attributes, view.Attribute{Name: a.name, Value: text})
		}
	}
	entity := v.event.entity
	if p != nil && p.entity != nil {
		entity = p.entity
	}
	name, ok := r.entityName(entity)
	r.ref = r.reference(&e)
	text := string(r.bytes)
	if ok {
		e.Entity = resolve(name, text, r.source)
	}
	return e, text
}

// reference encodes what [view.EventRef] does, among the event's other values.
func (r *run) reference(e *view.Event) span {
	start := int32(len(r.bytes))
	b := binary.BigEndian.AppendUint32(r.bytes, 8)
	b = binary.BigEndian.AppendUint64(b, uint64(e.EntityVersion))
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(e.Type))), e.Type...)
	b = binary.BigEndian.AppendUint32(b, 8)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixMilli()))
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(e.ID))), e.ID...)
	r.bytes = b
	return span{start: start, end: int32(len(b))}
}

// entityName writes the places of the entity one after the other, with slashes between them.
func (r *run) entityName(places []*expr) (span, bool) {
	for _, e := range places {
		if _, ok := r.eval(e, 0); !ok {
			return span{}, false
		}
	}
	if len(places) == 1 && places[0].kind == view.KindText {
		return r.eval(places[0], 0)
	}
	start := int32(len(r.bytes))
	for i, e := range places {
		if i > 0 {
			r.bytes = append(r.bytes, '/')
		}
		at, _ := r.eval(e, 0)
		if e.kind == view.KindUUID {
			r.bytes = appendUUID(r.bytes, [16]byte(r.view(at)))
			continue
		}
		r.bytes = appendPlain(r.bytes, e.kind, r.view(at))
	}
	return span{start: start, end: int32(len(r.bytes))}, true
}
