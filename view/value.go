package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Value is a value as Cassandra stores it: encoded CQL bytes. Values are immutable and comparable with ==; whether
// they fit a column is said by the column's type. The zero Value is the empty text and stands for "no path" or "no
// value" where a cell has none.
type Value struct{ encoded string }

// BooleanValue encodes a boolean.
func BooleanValue(b bool) Value {
	if b {
		return Value{"\x01"}
	}
	return Value{"\x00"}
}

// IntValue encodes an int.
func IntValue(i int32) Value {
	return Value{string(binary.BigEndian.AppendUint32(nil, uint32(i)))}
}

// BigintValue encodes a bigint.
func BigintValue(i int64) Value {
	return Value{string(binary.BigEndian.AppendUint64(nil, uint64(i)))}
}

// TextValue encodes text, which should be valid UTF-8: Cassandra refuses other text.
func TextValue(s string) Value { return Value{s} }

// TimestampValue encodes a time as milliseconds since 1970, cutting off what is finer.
func TimestampValue(t time.Time) Value { return BigintValue(t.UnixMilli()) }

// UUIDValue encodes a UUID.
func UUIDValue(u [16]byte) Value { return Value{string(u[:])} }

// DecimalValue encodes unscaled · 10^-scale: the scale in four bytes, then the unscaled number in the fewest bytes of two's
// complement. Cassandra takes 1.0 and 1.00 for one key, one element and one entry, and [Merge] for two. A view that
// writes decimals there writes each number in one form.
func DecimalValue(unscaled *big.Int, scale int32) Value {
	b := binary.BigEndian.AppendUint32(nil, uint32(scale))
	if unscaled.Sign() >= 0 {
		if unscaled.BitLen()%8 == 0 {
			b = append(b, 0) // room for the sign
		}
		return Value{string(append(b, unscaled.Bytes()...))}
	}
	inverted := new(big.Int).Not(unscaled) // the number is as long as its complement, which is not negative
	if inverted.BitLen()%8 == 0 {
		b = append(b, 0xff)
	}
	for _, octet := range inverted.Bytes() {
		b = append(b, ^octet)
	}
	return Value{string(b)}
}

// TupleValue encodes a frozen tuple or user-defined type from its fields, none of them null.
func TupleValue(fields ...Value) Value {
	size := 0
	for _, f := range fields {
		size += 4 + len(f.encoded)
	}
	b := make([]byte, 0, size)
	for _, f := range fields {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f.encoded)))
		b = append(b, f.encoded...)
	}
	return Value{string(b)}
}

// EncodedValue is a value from bytes that are CQL encoded already, such as those a driver returns.
func EncodedValue(b []byte) Value { return Value{string(b)} }

// EncodedText is a value from a string of bytes that are CQL encoded already, whose memory it shares.
func EncodedText(s string) Value { return Value{s} }

// Len returns the number of encoded bytes.
func (v Value) Len() int { return len(v.encoded) }

// Bytes returns a copy of the encoded bytes, never nil: nil would mean null to a driver.
func (v Value) Bytes() []byte { return append(make([]byte, 0, len(v.encoded)), v.encoded...) }

// Shared returns the encoded bytes themselves, never nil, for a reader that neither keeps nor changes them.
func (v Value) Shared() []byte {
	if v.encoded == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(v.encoded), len(v.encoded))
}

// Append appends the encoded bytes to b.
func (v Value) Append(b []byte) []byte { return append(b, v.encoded...) }

// Compare compares the encoded bytes as unsigned, which is how Cassandra breaks a tie between stamps.
func (v Value) Compare(w Value) int {
	switch {
	case v.encoded < w.encoded:
		return -1
	case v.encoded > w.encoded:
		return 1
	}
	return 0
}

// Boolean decodes a boolean.
func (v Value) Boolean() (bool, error) {
	if len(v.encoded) != 1 {
		return false, fmt.Errorf("decode boolean: %d bytes, want 1", len(v.encoded))
	}
	return v.encoded[0] != 0, nil
}

// Int decodes an int.
func (v Value) Int() (int32, error) {
	if len(v.encoded) != 4 {
		return 0, fmt.Errorf("decode int: %d bytes, want 4", len(v.encoded))
	}
	return int32(binary.BigEndian.Uint32([]byte(v.encoded))), nil
}

// Bigint decodes a bigint.
func (v Value) Bigint() (int64, error) {
	if len(v.encoded) != 8 {
		return 0, fmt.Errorf("decode bigint: %d bytes, want 8", len(v.encoded))
	}
	return int64(binary.BigEndian.Uint64([]byte(v.encoded))), nil
}

// Text decodes text.
func (v Value) Text() string { return v.encoded }

// Timestamp decodes a timestamp, in UTC.
func (v Value) Timestamp() (time.Time, error) {
	ms, err := v.Bigint()
	if err != nil {
		return time.Time{}, fmt.Errorf("decode timestamp: %w", err)
	}
	return time.UnixMilli(ms).UTC(), nil
}

// UUID decodes a UUID.
func (v Value) UUID() ([16]byte, error) {
	if len(v.encoded) != 16 {
		return [16]byte{}, fmt.Errorf("decode uuid: %d bytes, want 16", len(v.encoded))
	}
	return [16]byte([]byte(v.encoded)), nil
}

// Decimal decodes a decimal: unscaled · 10^-scale.
func (v Value) Decimal() (unscaled *big.Int, scale int32, err error) {
	if len(v.encoded) < 5 {
		return nil, 0, fmt.Errorf("decode decimal: %d bytes, want at least 5", len(v.encoded))
	}
	scale = int32(binary.BigEndian.Uint32([]byte(v.encoded[:4])))
	digits := []byte(v.encoded[4:])
	unscaled = new(big.Int)
	if digits[0] < 0x80 {
		return unscaled.SetBytes(digits), scale, nil
	}
	for i := range digits {
		digits[i] = ^digits[i]
	}
	return unscaled.Not(unscaled.SetBytes(digits)), scale, nil
}

// Tuple decodes the n fields of a frozen tuple or user-defined type. A null field is an error: views write none.
func (v Value) Tuple(n int) ([]Value, error) {
	rest := v.encoded
	fields := make([]Value, n)
	for i := range fields {
		if len(rest) < 4 {
			return nil, fmt.Errorf("decode tuple: field %d of %d is missing", i, n)
		}
		size := int32(binary.BigEndian.Uint32([]byte(rest[:4])))
		rest = rest[4:]
		if size < 0 || int(size) > len(rest) {
			return nil, fmt.Errorf("decode tuple: field %d has length %d, %d bytes left", i, size, len(rest))
		}
		fields[i] = Value{rest[:size]}
		rest = rest[size:]
	}
	if rest != "" {
		return nil, fmt.Errorf("decode tuple: %d bytes after field %d", len(rest), n-1)
	}
	return fields, nil
}

// Check returns why v is not the encoding of a value of type t, or nil. A collection is no value: its entries are.
func (t Type) Check(v Value) (err error) {
	switch t.kind {
	case KindBoolean:
		_, err = v.Boolean()
	case KindInt:
		_, err = v.Int()
	case KindBigint:
		_, err = v.Bigint()
	case KindText:
		if !utf8.ValidString(v.encoded) {
			err = errors.New("text is not valid UTF-8")
		}
	case KindTimestamp:
		_, err = v.Timestamp()
	case KindUUID:
		_, err = v.UUID()
	case KindDecimal:
		_, _, err = v.Decimal()
	case KindTuple, KindUser:
		fields, err := v.Tuple(len(t.fields))
		if err != nil {
			return err
		}
		for i, f := range t.fields {
			if err := f.Type.Check(fields[i]); err != nil {
				return fmt.Errorf("field %d of %s: %w", i, t, err)
			}
		}
	case KindSet, KindMap:
		err = fmt.Errorf("a %s cannot be a value", t)
	default:
		err = fmt.Errorf("a type of kind %d has no values", t.kind)
	}
	return err
}
