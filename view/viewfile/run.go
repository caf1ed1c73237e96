package viewfile

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"penstock/view"
)

// run is what the reading of one event needs. Runs are kept, because a decoder and its stacks cost more than the
// events they read. What is remembered of values is good for one turn, so that nothing has to be cleared between events.
type run struct {
	reader
	arrival   time.Time
	turn      uint64
	registers []register
	clocks    []clock
	done      []cellRange // by step
	cells     []cell
	bytes     []byte // encoded values
	order     []int32

	fault  fault
	rank   rank
	ref    span // the event's reference
	writes []prepared
	old    bool // of a change feed: the row is the one before the change

	array *node // the array that is being gone through, and the number of its element
	index int
}

// register holds the result of a value.
type register struct {
	turn uint64
	at   span
	ok   bool
}

// clock holds a time that was read.
type clock struct {
	turn uint64
	time time.Time
	ok   bool
}

// cell is a cell of a column without its stamp.
type cell struct{ path, value span }

// cellRange is where the cells of a step stand.
type cellRange struct {
	turn     uint64
	from, to int
}

// begin makes the run ready for a record.
func (r *run) begin(v *View, record view.Record) {
	r.start(record.Data, record.Text(), v.root.size)
	r.unwrap = v.envelope == envelopeDebezium
	r.arrival = record.Arrival
	r.turn++
	r.fault, r.rank, r.old, r.array = fault{}, rankEnvelope, false, nil
	r.cells, r.bytes, r.writes = r.cells[:0], r.bytes[:0], r.writes[:0]
}

// kept bounds what a run keeps between events: one large event is not to hold its memory for ever.
const kept = 1 << 17

// end lets go of the record.
func (r *run) end() {
	r.start(nil, "", 0)
	r.fault = fault{}
	if cap(r.slots) > kept {
		r.slots = nil
	}
	if cap(r.cells) > kept {
		r.cells = nil
	}
	if cap(r.order) > kept {
		r.order = nil
	}
	if cap(r.bytes) > 8*kept {
		r.bytes = nil
	}
}

// place returns the node and the slot of a locus in the frame that begins at base.
func (r *run) place(at locus, base int) (*node, slot) {
	n := at.node
	if at.before != nil && r.old {
		n = at.before
	}
	return n, r.slots[base+n.slot]
}

func there(s slot) bool { return s.kind != 0 && s.kind != jsontext.KindNull }

// eval returns the encoded value of e, or false if there is none: because it is optional, or because of a fault, which
// is noted. What it appends to the run's bytes is the value and nothing else.
func (r *run) eval(e *expr, base int) (span, bool) {
	if e.register < 0 {
		return r.compute(e, base)
	}
	if known := &r.registers[e.register]; known.turn == r.turn {
		return known.at, known.ok
	}
	at, ok := r.compute(e, 0)
	r.registers[e.register] = register{r.turn, at, ok}
	return at, ok
}

func (r *run) compute(e *expr, base int) (span, bool) {
	if e.when != nil && !r.holds(e.when, base) {
		return span{}, false
	}
	switch {
	case e.fields != nil:
		return r.tuple(e, base)
	case e.factors != nil:
		return r.sum(e)
	case !e.located:
		return r.put(e.constant), true
	}
	n, s := r.place(e.at, base)
	if !there(s) {
		if !e.optional || r.astray(n, base) {
			r.missing(n, base)
		}
		return span{}, false
	}
	return r.convert(e, n, s)
}

// tuple encodes fields one after the other, each with its length.
func (r *run) tuple(e *expr, base int) (span, bool) {
	if e.located {
		n, s := r.place(e.at, base)
		switch {
		case !there(s):
			if !e.optional || r.astray(n, base) {
				r.missing(n, base)
			}
			return span{}, false
		case s.kind != jsontext.KindBeginObject:
			r.malformed(n, s, "must be an object")
			return span{}, false
		}
	} else if e.optional && !r.anyField(e, base) {
		return span{}, false
	}
	sound := true
	start := len(r.bytes)
	for _, f := range e.fields {
		length := len(r.bytes)
		r.bytes = append(r.bytes, 0, 0, 0, 0)
		at, ok := r.eval(f, base)
		if sound = sound && ok; !ok {
			continue
		}
		if at.record || int(at.start) != length+4 {
			r.bytes = append(r.bytes, r.view(at)...)
		}
		binary.BigEndian.PutUint32(r.bytes[length:], uint32(at.len()))
	}
	return span{start: int32(start), end: int32(len(r.bytes))}, sound
}

// anyField tells whether an event says any of the fields: all of them go together.
func (r *run) anyField(e *expr, base int) bool {
	for _, f := range e.fields {
		if f.fields != nil && !f.located {
			if r.anyField(f, base) {
				return true
			}
			continue
		}
		if !f.located {
			continue
		}
		within := base
		if f.register >= 0 {
			within = 0
		}
		if n, s := r.place(f.at, within); there(s) || r.astray(n, within) {
			return true
		}
	}
	return false
}

// sum adds up the products of the factors over the elements of an array.
func (r *run) sum(e *expr) (span, bool) {
	n, s, ok := r.elementsOf(e.at, e.optional)
	if !ok {
		return span{}, false
	}
	total, sound := int64(0), true
	r.each(n, s, func(base int) {
		product := int64(1)
		for _, f := range e.factors {
			factor, ok := r.factor(f, base)
			if sound = sound && ok; !sound {
				continue
			}
			if product, sound = multiply(product, factor); !sound {
				r.broke(n, s, "the sum must fit in 63 bits")
			}
		}
		if next := total + product; sound && (product >= 0) == (next >= total) {
			total = next
		} else if sound {
			sound = false
			r.broke(n, s, "the sum must fit in 63 bits")
		}
	})
	switch {
	case !sound:
		return span{}, false
	case e.kind == view.KindBigint:
		return r.putBigint(total), true
	case total != int64(int32(total)):
		r.broke(n, s, "the sum must fit in 31 bits")
		return span{}, false
	}
	return r.putInt(int32(total)), true
}

func (r *run) factor(f *expr, base int) (int64, bool) {
	if f.register >= 0 {
		base = 0 // a property of the event
	}
	n, s := r.place(f.at, base)
	if !there(s) {
		r.missing(n, base)
		return 0, false
	}
	return r.integer(f, n, s, math.MinInt64, math.MaxInt64)
}

func multiply(a, b int64) (int64, bool) {
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	if high != 0 || low > math.MaxInt64 {
		return 0, false
	}
	if (a < 0) != (b < 0) {
		return -int64(low), true
	}
	return int64(low), true
}

func magnitude(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}

// elementsOf returns the array at a place, or false if there is none.
func (r *run) elementsOf(at locus, optional bool) (*node, slot, bool) {
	n, s := r.place(at, 0)
	switch {
	case !there(s):
		if !optional || r.astray(n, 0) {
			r.missing(n, 0)
		}
		return n, s, false
	case s.kind != jsontext.KindBeginArray:
		r.malformed(n, s, "must be an array")
		return n, s, false
	}
	return n, s, true
}

// each calls f with the frame of every element.
func (r *run) each(n *node, s slot, f func(base int)) {
	size := n.items.size
	for i := range int(s.count) {
		r.array, r.index = n, i
		f(int(s.first) + i*size)
	}
	r.array = nil
}

// holds tells whether a condition is met. A value of another type than the one it is compared with is another value.
func (r *run) holds(t *test, base int) bool {
	if t.ofEvent {
		base = 0
	}
	_, s := r.place(t.at, base)
	switch {
	case t.kind == 0:
		return there(s) == t.presence
	case t.kind == '"':
		return s.kind == jsontext.KindString && r.unquote(s) == t.text
	case t.kind == '0':
		if s.kind != jsontext.KindNumber {
			return false
		}
		i, err := strconv.ParseInt(r.raw(s), 10, 64)
		return err == nil && i == t.number
	}
	return s.kind == jsontext.KindTrue && t.truth || s.kind == jsontext.KindFalse && !t.truth
}
