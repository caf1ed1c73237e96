package viewfile

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"penstock/view"
)

// span is where an encoded value stands: in the run's bytes, or, as text of the record itself, in the record.
type span struct {
	start, end int32
	record     bool
}

func (s span) len() int { return int(s.end - s.start) }

// put appends encoded bytes and returns where they are.
func (r *run) put(encoded string) span {
	start := int32(len(r.bytes))
	r.bytes = append(r.bytes, encoded...)
	return span{start: start, end: int32(len(r.bytes))}
}

func (r *run) putInt(i int32) span {
	start := int32(len(r.bytes))
	r.bytes = binary.BigEndian.AppendUint32(r.bytes, uint32(i))
	return span{start: start, end: start + 4}
}

func (r *run) putBigint(i int64) span {
	start := int32(len(r.bytes))
	r.bytes = binary.BigEndian.AppendUint64(r.bytes, uint64(i))
	return span{start: start, end: start + 8}
}

// convert turns the JSON value at n into an encoded value of e's type.
func (r *run) convert(e *expr, n *node, s slot) (span, bool) {
	switch e.kind {
	case view.KindText:
		return r.text(e, n, s)
	case view.KindInt:
		if e.take != 0 {
			return r.bucket(e, n, s)
		}
		if i, ok := r.integer(e, n, s, math.MinInt32, math.MaxInt32); ok {
			return r.putInt(int32(i)), true
		}
	case view.KindBigint:
		if i, ok := r.integer(e, n, s, math.MinInt64, math.MaxInt64); ok {
			return r.putBigint(i), true
		}
	case view.KindTimestamp:
		if t, ok := r.time(e, n, s); ok {
			return r.putBigint(t.UnixMilli()), true
		}
	case view.KindBoolean:
		switch s.kind {
		case jsontext.KindTrue:
			return r.put("\x01"), true
		case jsontext.KindFalse:
			return r.put("\x00"), true
		}
		r.malformed(n, s, "must be true or false")
	case view.KindUUID:
		return r.uuid(n, s)
	case view.KindDecimal:
		return r.decimal(e, n, s)
	default:
	}
	return span{}, false
}

func (r *run) text(e *expr, n *node, s slot) (span, bool) {
	if e.form == formInteger {
		i, ok := r.integer(e, n, s, math.MinInt64, math.MaxInt64)
		if !ok {
			return span{}, false
		}
		start := int32(len(r.bytes))
		r.bytes = strconv.AppendInt(r.bytes, i, 10)
		return span{start: start, end: int32(len(r.bytes))}, true
	}
	if s.kind != jsontext.KindString {
		r.malformed(n, s, "must be text")
		return span{}, false
	}
	at := span{s.start + 1, s.end - 1, true}
	switch {
	case !r.plain(s) || e.letters != 0:
		text := r.unquote(s)
		at = r.put(text)
		if e.letters != 0 {
			changeCase(r.bytes[at.start:at.end], e.letters)
		}
	}
	if e.bounds != nil && !r.textWithin(e.bounds, n, s, at) {
		return span{}, false
	}
	return at, true
}

// changeCase changes the letters of ASCII only: the tables of all others change from one Unicode version to the next,
// and with them what two releases would write.
func changeCase(b []byte, to byte) {
	for i, c := range b {
		switch {
		case to == 'u' && c >= 'a' && c <= 'z':
			b[i] = c - 'a' + 'A'
		case to == 'l' && c >= 'A' && c <= 'Z':
			b[i] = c - 'A' + 'a'
		}
	}
}

func (r *run) textWithin(b *bounds, n *node, s slot, at span) bool {
	if l := at.len(); l < b.minLength || l > b.maxLength {
		r.malformed(n, s, lengthRule(b, l))
		return false
	}
	if b.letters == 0 {
		return true
	}
	from, to, name := byte('A'), byte('Z'), "upper"
	if b.letters == 'l' {
		from, to, name = 'a', 'z', "lower"
	}
	text := r.view(at)
	for i := range len(text) {
		if text[i] < from || text[i] > to {
			r.malformed(n, s, "must be "+name+"-case letters only")
			return false
		}
	}
	return true
}

func lengthRule(b *bounds, has int) string {
	switch {
	case b.maxLength == math.MaxInt:
		return fmt.Sprintf("must have at least %d bytes, has %d", b.minLength, has)
	case b.minLength == b.maxLength:
		return fmt.Sprintf("must have %d bytes, has %d", b.minLength, has)
	}
	return fmt.Sprintf("must have %d to %d bytes, has %d", b.minLength, b.maxLength, has)
}

// view returns the bytes of a span while the event is read.
func (r *run) view(at span) []byte {
	if at.record {
		return r.data[at.start:at.end]
	}
	return r.bytes[at.start:at.end]
}

// integer reads a JSON number without fraction and exponent, or the digits of one in a JSON string.
func (r *run) integer(e *expr, n *node, s slot, least, most int64) (int64, bool) {
	text := r.raw(s)
	switch {
	case e.form == formString:
		if s.kind != jsontext.KindString || !isInteger(text[1:len(text)-1]) {
			r.malformed(n, s, "must be the digits of an integer, in quotes")
			return 0, false
		}
		text = text[1 : len(text)-1]
	case s.kind != jsontext.KindNumber || strings.ContainsAny(text, ".eE"):
		r.malformed(n, s, "must be an integer")
		return 0, false
	}
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil || i < least || i > most {
		r.malformed(n, s, fmt.Sprintf("must be between %d and %d", least, most))
		return 0, false
	}
	if b := e.bounds; b != nil && e.form < formRFC3339 && (i < b.min || i > b.max) {
		r.malformed(n, s, rangeError(b))
		return 0, false
	}
	return i, true
}

func isInteger(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && digits(s)
}

// The times that fit a year of four digits.
const (
	earliestSecond = -62_135_596_800 // 0001-01-01
	latestSecond   = 253_402_300_799 // 9999-12-31
)

// time reads a time and holds it against what is required of it.
func (r *run) time(e *expr, n *node, s slot) (time.Time, bool) {
	t, ok := r.readTime(e, n, s)
	if !ok || e.bounds == nil {
		return t, ok
	}
	b := e.bounds
	if ms := t.UnixMilli(); ms < b.min || ms > b.max {
		r.malformed(n, s, rangeError(b))
		return t, false
	}
	if b.notAfterArrival != nil && t.After(r.arrival.Add(*b.notAfterArrival)) {
		r.malformed(n, s, r.arrivalRule(*b.notAfterArrival))
		return t, false
	}
	return t, true
}

func (r *run) arrivalRule(d time.Duration) string {
	return fmt.Sprintf("must not be after %s, %s after the record arrived", r.arrival.Add(d).UTC().Format(time.RFC3339Nano), d)
}

// readTime reads a time, at most once for each place of the event.
func (r *run) readTime(e *expr, n *node, s slot) (time.Time, bool) {
	if e.clock >= 0 {
		if c := &r.clocks[e.clock]; c.turn == r.turn {
			return c.time, c.ok
		}
	}
	t, ok := r.parseTime(e.form, n, s)
	if e.clock >= 0 {
		r.clocks[e.clock] = clock{r.turn, t, ok}
	}
	return t, ok
}

func (r *run) parseTime(f form, n *node, s slot) (t time.Time, ok bool) {
	if f == formRFC3339 {
		if s.kind != jsontext.KindString || t.UnmarshalText(r.data[s.start+1:s.end-1]) != nil {
			r.malformed(n, s, "must be an RFC 3339 time with an offset, such as 2026-11-21T10:00:00Z")
			return time.Time{}, false
		}
		return t.UTC().Truncate(time.Microsecond), true
	}
	i, ok := r.integer(&expr{form: formInteger}, n, s, math.MinInt64, math.MaxInt64)
	if !ok {
		return time.Time{}, false
	}
	unit := int64(1)
	switch f {
	case formMillis:
		unit = 1_000
	case formMicros:
		unit = 1_000_000
	}
	if i < earliestSecond*unit || i >= (latestSecond+1)*unit {
		r.malformed(n, s, "must be a time of the years 1 to 9999 in this unit")
		return time.Time{}, false
	}
	seconds := i / unit
	if i%unit < 0 {
		seconds--
	}
	return time.Unix(seconds, (i-seconds*unit)*(1_000_000_000/unit)).UTC(), true
}

// bucket takes the year of a time, or its month as 202611, in UTC.
func (r *run) bucket(e *expr, n *node, s slot) (span, bool) {
	t, ok := r.time(e, n, s)
	if !ok {
		return span{}, false
	}
	if e.take == partMonth {
		return r.putInt(int32(t.Year()*100 + int(t.Month()))), true
	}
	return r.putInt(int32(t.Year())), true
}

func (r *run) uuid(n *node, s slot) (span, bool) {
	var b [16]byte
	if s.kind != jsontext.KindString || !parseUUID(r.unquote(s), &b) {
		r.malformed(n, s, "must be a UUID of 36 characters")
		return span{}, false
	}
	start := int32(len(r.bytes))
	r.bytes = append(r.bytes, b[:]...)
	return span{start: start, end: start + 16}, true
}

func (r *run) decimal(e *expr, n *node, s slot) (span, bool) {
	text, rule := r.raw(s), "must be a number of at most 100 digits before and after the point"
	if e.form == formString {
		if s.kind != jsontext.KindString {
			r.malformed(n, s, "must be a number in quotes")
			return span{}, false
		}
		text, rule = text[1:len(text)-1], rule+", in quotes"
	} else if s.kind != jsontext.KindNumber {
		r.malformed(n, s, "must be a number")
		return span{}, false
	}
	unscaled, scale, ok := parseDecimal(text)
	if !ok {
		r.malformed(n, s, rule)
		return span{}, false
	}
	if e.bounds != nil {
		number := rational(unscaled, scale)
		if outside(number, e.bounds.decimal) {
			r.malformed(n, s, rangeError(e.bounds))
			return span{}, false
		}
	}
	return r.put(view.DecimalValue(unscaled, scale).Text()), true
}

func outside(number *big.Rat, bounds [2]*big.Rat) bool {
	return bounds[0] != nil && number.Cmp(bounds[0]) < 0 || bounds[1] != nil && number.Cmp(bounds[1]) > 0
}
