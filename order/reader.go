package order

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"penstock/view"
)

// reader reads one JSON text strictly: names are case-sensitive, a name that stands twice and invalid UTF-8 are
// errors. It remembers the first fault of a field and reads on after it, so that a malformed event still tells which
// event it is. After broken JSON nothing more can be read.
type reader struct {
	json   jsontext.Decoder
	input  bytes.Buffer
	source string // the text being read as a string, which all text that is found in it is cut from
	within string // JSON pointer of the value being read in the record
	fault  *fault // of the first field that is missing or malformed
	broken error  // why this is not JSON

	known     schemas
	data      []byte // the event's data member, aliasing the record, if it is still to be read
	dataFault *fault // fault for what was read of data
}

// fault is why an event is poison.
type fault struct {
	stage view.Stage
	code  view.Code
	err   error
}

func (f *fault) Error() string { return f.err.Error() }

// readers are kept because a JSON decoder and its stacks cost more than the events they read.
var readers = sync.Pool{New: func() any { return new(reader) }}

func newReader() *reader { return readers.Get().(*reader) }

func (r *reader) release() {
	r.fault, r.broken, r.data, r.dataFault = nil, nil, nil, nil
	r.start("", nil, "") // a pooled reader must not hold a record of up to 10 MiB
	readers.Put(r)
}

func (r *reader) start(within string, text []byte, source string) {
	r.within, r.source = within, source
	r.input = *bytes.NewBuffer(text) // the decoder reads from a buffer in place and never writes to it
	r.json.Reset(&r.input)
}

// end checks that nothing follows the value that was read.
func (r *reader) end() {
	if _, err := r.json.ReadToken(); err == nil {
		r.broken = errors.New("must be one JSON object, not several values")
	} else if !errors.Is(err, io.EOF) {
		r.broken = err
	}
}

// field is a member of a JSON object that is read into a T. Null counts as absent, which is what the JSON format of
// CloudEvents 1.0 (section 2.2) says of attributes.
type field[T any] struct {
	name     string
	optional bool
	read     func(*reader, *T)
}

// readObject reads the members of an object, at most 64 of which are known. Unknown members are left out.
func readObject[T any](r *reader, fields []field[T], into *T) {
	if !r.open(jsontext.KindBeginObject, "must be an object") {
		return
	}
	var seen uint64
	for r.json.PeekKind() != jsontext.KindEndObject {
		name := r.value()
		if r.broken != nil {
			return
		}
		i := indexField(fields, name)
		if i >= 0 && r.json.PeekKind() != jsontext.KindNull {
			seen |= 1 << i
			fields[i].read(r, into)
		} else if err := r.json.SkipValue(); err != nil {
			r.broken = err
		}
		if r.broken != nil {
			return
		}
	}
	r.close()
	for i, f := range fields {
		if !f.optional && seen&(1<<i) == 0 {
			r.missing(f.name)
		}
	}
}

func indexField[T any](fields []field[T], quoted jsontext.Value) int {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		name, _ = jsontext.AppendUnquote(nil, quoted) // the decoder has checked it
	}
	for i := range fields {
		if fields[i].name == string(name) {
			return i
		}
	}
	return -1
}

// readObjects reads an array of at least one object.
func readObjects[T any](r *reader, fields []field[T]) []T {
	if !r.open(jsontext.KindBeginArray, "must be an array") {
		return nil
	}
	var items []T
	for r.json.PeekKind() != jsontext.KindEndArray {
		var zero T
		items = append(items, zero)
		readObject(r, fields, &items[len(items)-1])
		if r.broken != nil {
			return nil
		}
	}
	r.close()
	if len(items) == 0 {
		r.malformed(nil, "must have at least one element")
	}
	return items
}

func (r *reader) open(kind jsontext.Kind, rule string) bool {
	if r.json.PeekKind() != kind {
		r.malformed(r.value(), rule)
		return false
	}
	_, r.broken = r.json.ReadToken()
	return r.broken == nil
}

func (r *reader) close() { _, r.broken = r.json.ReadToken() }

// value reads any value and returns its text, which aliases the record.
func (r *reader) value() jsontext.Value {
	v, err := r.json.ReadValue()
	if err != nil {
		r.broken = err
	}
	return v
}

// text reads text of any length. It returns false if it is malformed.
func (r *reader) text() (string, jsontext.Value, bool) {
	v := r.value()
	if v.Kind() != jsontext.KindString {
		r.malformed(v, "must be text")
		return "", v, false
	}
	return r.unquote(v), v, true
}

// unquote returns the text of the JSON string that was read last.
func (r *reader) unquote(v jsontext.Value) string {
	if bytes.IndexByte(v, '\\') >= 0 {
		inner, _ := jsontext.AppendUnquote(nil, v) // the decoder has checked it
		return string(inner)
	}
	quote := int(r.json.InputOffset()) - 1 // the closing one
	return r.source[quote-(len(v)-2) : quote]
}

// anyText reads text of any length, empty text too.
func (r *reader) anyText() string {
	s, _, _ := r.text()
	return s
}

// maxID is the longest text id in bytes. Ids become map keys, clustering keys and attributes of letters, where
// Cassandra and S3 have limits of their own, far above any real id.
const maxID = 256

// textID reads text of 1 to 256 bytes of UTF-8.
func (r *reader) textID() string {
	s, v, ok := r.text()
	if !ok || len(s) >= 1 && len(s) <= maxID {
		return s
	}
	r.malformed(v, fmt.Sprintf("must have 1 to %d bytes, has %d", maxID, len(s)))
	return ""
}

// upperCase reads text of exactly n upper-case ASCII letters.
func (r *reader) upperCase(n int) string {
	s, v, ok := r.text()
	if !ok {
		return ""
	}
	valid := len(s) == n
	for i := range len(s) {
		valid = valid && s[i] >= 'A' && s[i] <= 'Z'
	}
	if !valid {
		r.malformed(v, fmt.Sprintf("must be %d upper-case letters", n))
		return ""
	}
	return s
}

// integer reads a JSON number without fraction and exponent, from least to most.
func (r *reader) integer(least, most int64) int64 {
	v := r.value()
	if v.Kind() != jsontext.KindNumber || bytes.ContainsAny(v, ".eE") {
		r.malformed(v, "must be an integer")
		return 0
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < least || n > most {
		r.malformed(v, fmt.Sprintf("must be between %d and %d", least, most))
		return 0
	}
	return n
}

// quantity reads a positive 32-bit integer.
func (r *reader) quantity() int32 { return int32(r.integer(1, math.MaxInt32)) }

// amount reads a 64-bit integer that is not negative.
func (r *reader) amount() int64 { return r.integer(0, math.MaxInt64) }

// time reads an RFC 3339 time with upper-case T and Z, cut to the microsecond.
func (r *reader) time() time.Time {
	v := r.value()
	var t time.Time
	if v.Kind() != jsontext.KindString || t.UnmarshalText(v[1:len(v)-1]) != nil {
		r.malformed(v, "must be an RFC 3339 time")
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// uuid reads a UUID in the canonical form of 36 characters, in either case.
func (r *reader) uuid() uuid {
	s, v, ok := r.text()
	if !ok {
		return uuid{}
	}
	u := uuid{text: strings.ToLower(s)}
	if !parseUUID(u.text, &u.bytes) {
		r.malformed(v, "must be a UUID of 36 characters")
		return uuid{}
	}
	return u
}

func parseUUID(s string, to *[16]byte) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	var digits [32]byte
	copy(digits[0:], s[0:8])
	copy(digits[8:], s[9:13])
	copy(digits[12:], s[14:18])
	copy(digits[16:], s[19:23])
	copy(digits[20:], s[24:36])
	_, err := hex.Decode(to[:], digits[:])
	return err == nil
}

// sum adds up quantities, and amounts if the lines have prices, under the name that a fault calls them by.
func (r *reader) sum(lines []line, price string) (units int32, totalMinor int64) {
	var quantity, total uint64
	for _, l := range lines {
		high, amount := bits.Mul64(uint64(l.quantity), uint64(l.unitPriceMinor))
		quantity += uint64(l.quantity) // a record has too few lines to pass 64 bits
		total += amount
		if high != 0 || amount > math.MaxInt64 || total > math.MaxInt64 {
			r.malformed(nil, "the sum of quantity times "+price+" must fit in 63 bits")
			return 0, 0
		}
	}
	if quantity > math.MaxInt32 {
		r.malformed(nil, "the sum of quantities must fit in 31 bits")
		return 0, 0
	}
	return int32(quantity), int64(total)
}

// malformed records that the value read last breaks a rule. A nil value is left out of the message.
func (r *reader) malformed(v jsontext.Value, rule string) {
	if r.broken != nil || r.fault != nil {
		return
	}
	at := r.within + string(r.json.StackPointer())
	if at == "" {
		at = "event"
	}
	r.fault = &fault{stage: view.StageDecode, code: view.CodeMalformedField}
	if v == nil {
		r.fault.err = fmt.Errorf("%s: %s", at, rule)
	} else {
		r.fault.err = fmt.Errorf("%s: %s: %s", at, shorten(v), rule)
	}
}

// missing records that the object read last lacks a required member.
func (r *reader) missing(name string) {
	if r.broken != nil || r.fault != nil {
		return
	}
	r.fault = &fault{view.StageDecode, view.CodeMissingField,
		fmt.Errorf("%s%s/%s: must be present and not null", r.within, r.json.StackPointer(), name)}
}

// shorten makes a value fit for a message: values are not to be copied into logs and letters whole.
func shorten(v jsontext.Value) string {
	switch v.Kind() {
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	}
	return cut(string(v), 40)
}

// cut keeps the first n bytes of s, or a few less so as not to split a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
