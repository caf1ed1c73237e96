package viewfile

import (
	"bytes"
	"fmt"
	"hash/maphash"

	"github.com/go-json-experiment/json/jsontext"
)

// nameSet finds names that stand twice in one object, for all objects of an event that are open at one time. The decoder
// could do so itself, but keeps a map with a copy of every name once an object has more than 64, whether or not anybody
// asks for them. Here names are compared where they stand in the record, and the memory serves event after event.
type nameSet struct {
	names   []seenName // of the objects that are open, the innermost last
	spelled []byte     // names that were written with escapes, as they are meant
	objects uint32     // begun so far
	table   []seenName // of wide objects that are or were open; a power of two in length
	used    int        // slots of table that are taken
}

// seenName is a name of an object that is open. Objects are numbered from 1, so that in the table the names of one are
// not those of another, and the zero seenName is an empty slot.
type seenName struct {
	hash       uint64
	start, end int32
	object     uint32
	escaped    bool // it stands in spelled, and not in the record
}

// wide is how many names of an object are searched one by one.
const wide = 24

// nameSeed keeps others from choosing names that all have one hash.
var nameSeed = maphash.MakeSeed()

func hashOf(name []byte) uint64 { return maphash.Bytes(nameSeed, name) }

func (s *nameSet) reset() {
	s.names, s.spelled, s.objects = s.names[:0], s.spelled[:0], 0
	if cap(s.names) > kept {
		s.names = nil
	}
	if cap(s.spelled) > 8*kept {
		s.spelled = nil
	}
	switch {
	case s.used == 0:
	case len(s.table) > kept || len(s.table) > 1024 && s.used < len(s.table)/16:
		s.table = nil // to clear it would cost more than the event that used it
	default:
		clear(s.table)
	}
	s.used = 0
}

// text returns the bytes of a name.
func (s *nameSet) text(n seenName, data []byte) []byte {
	if n.escaped {
		return s.spelled[n.start:n.end]
	}
	return data[n.start:n.end]
}

// add adds a name to its object, whose names begin at first, and tells whether it is new there.
func (s *nameSet) add(n seenName, first int, data []byte) bool {
	text := s.text(n, data)
	count := len(s.names) - first
	if count < wide {
		for _, other := range s.names[first:] {
			if other.hash == n.hash && bytes.Equal(s.text(other, data), text) {
				return false
			}
		}
		s.names = append(s.names, n)
		return true
	}
	if count == wide { // from now on the table is asked
		for _, other := range s.names[first:] {
			s.put(other)
		}
	}
	for at := s.home(n); s.table[at].object != 0; at = (at + 1) & (len(s.table) - 1) {
		if other := s.table[at]; other.object == n.object && other.hash == n.hash && bytes.Equal(s.text(other, data), text) {
			return false
		}
	}
	s.put(n)
	s.names = append(s.names, n)
	return true
}

func (s *nameSet) home(n seenName) int {
	return int((n.hash ^ uint64(n.object)*0x9e3779b97f4a7c15) & uint64(len(s.table)-1))
}

// put adds a name to the table, which it keeps at most half full.
func (s *nameSet) put(n seenName) {
	if 2*(s.used+1) > len(s.table) {
		s.rebuild()
	}
	s.place(n)
}

// rebuild makes room in the table. Only the names of objects that are open are asked for again, and those of all others go:
// the table grows with what is open at one time, and not with the event. That it is four times as long as they are many
// leaves room for as many again before the next time. A name may stand in it twice, which does no harm.
func (s *nameSet) rebuild() {
	size := max(256, len(s.table))
	for size < 4*len(s.names) {
		size *= 2
	}
	if size == len(s.table) {
		clear(s.table)
	} else {
		s.table = make([]seenName, size)
	}
	s.used = 0
	for _, open := range s.names {
		s.place(open)
	}
}

func (s *nameSet) place(n seenName) {
	at := s.home(n)
	for s.table[at].object != 0 {
		at = (at + 1) & (len(s.table) - 1)
	}
	s.table[at] = n
	s.used++
}

// object reads the members of an object whose brace was read, and calls member with each name once it is known to be the
// first of its kind.
func (r *reader) object(member func(name []byte, hash uint64)) {
	r.seen.objects++
	object, first, spelled := r.seen.objects, len(r.seen.names), len(r.seen.spelled)
	for r.json.PeekKind() != jsontext.KindEndObject {
		name, ok := r.name(object, first)
		if !ok {
			return
		}
		member(r.seen.text(name, r.data), name.hash)
		if r.broken != nil {
			return
		}
	}
	_, r.broken = r.json.ReadToken()
	r.seen.names, r.seen.spelled = r.seen.names[:first], r.seen.spelled[:spelled]
}

// name reads the name of a member.
func (r *reader) name(object uint32, first int) (seenName, bool) {
	quoted, err := r.json.ReadValue()
	if err != nil {
		r.broken = err
		return seenName{}, false
	}
	end := int32(r.json.InputOffset()) - 1
	n := seenName{start: end + 2 - int32(len(quoted)), end: end, object: object}
	if bytes.IndexByte(quoted, '\\') >= 0 {
		n.start, n.escaped = int32(len(r.seen.spelled)), true
		r.seen.spelled, _ = jsontext.AppendUnquote(r.seen.spelled, quoted) // the decoder has checked it
		n.end = int32(len(r.seen.spelled))
	}
	n.hash = hashOf(r.seen.text(n, r.data))
	if !r.seen.add(n, first, r.data) {
		r.broken = fmt.Errorf("%s: byte %d: the name stands twice in its object", cut(string(r.json.StackPointer()), 80), int(end)+1-len(quoted)+1)
		return n, false
	}
	return n, true
}

// skip reads a value of which nothing is kept.
func (r *reader) skip() {
	switch r.json.PeekKind() {
	case jsontext.KindBeginObject:
		if _, r.broken = r.json.ReadToken(); r.broken == nil {
			r.object(func([]byte, uint64) { r.skip() })
		}
	case jsontext.KindBeginArray:
		if _, r.broken = r.json.ReadToken(); r.broken != nil {
			return
		}
		for r.json.PeekKind() != jsontext.KindEndArray {
			if r.skip(); r.broken != nil {
				return
			}
		}
		_, r.broken = r.json.ReadToken()
	default:
		_, r.broken = r.json.ReadValue()
	}
}
