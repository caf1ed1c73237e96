package viewfile

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"penstock/view"
)

// readConstant reads a value that stands in the file itself.
func (l *loader) readConstant(n *yaml.Node, where string, typ view.Type) *constant {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		l.refuse(at(n, where), whyNot["null"][0], whyNot["null"][1])
		return nil
	}
	v, err := scalarOf(n, typ)
	if err != nil {
		l.refuse(at(n, where), err.Error(), "write a value of type "+typ.String()+", such as "+sample(typ))
		return nil
	}
	return &constant{encoded: v, text: yamlScalar(typ, v)}
}

func sample(typ view.Type) string {
	switch typ.Kind() {
	case view.KindBoolean:
		return "true"
	case view.KindInt, view.KindBigint:
		return "7"
	case view.KindDecimal:
		return `"12.5"`
	case view.KindTimestamp:
		return `"2026-11-21T10:00:00Z"`
	case view.KindUUID:
		return `"0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70"`
	case view.KindText:
		return `"retail"`
	case view.KindTuple, view.KindUser, view.KindSet, view.KindMap:
	}
	return "none: only scalars can be written out"
}

// scalarOf reads a scalar of a YAML document as a value of typ.
func scalarOf(n *yaml.Node, typ view.Type) (view.Value, error) {
	wrong := fmt.Errorf("%s is no %s", describeNode(n), typ)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return view.Value{}, wrong
	}
	switch typ.Kind() {
	case view.KindBoolean:
		if n.Tag == "!!bool" {
			return view.BooleanValue(strings.EqualFold(n.Value, "true")), nil
		}
	case view.KindInt, view.KindBigint:
		bits := 64
		if typ.Kind() == view.KindInt {
			bits = 32
		}
		i, ok := decimalInteger(n, bits)
		switch {
		case !ok:
			return view.Value{}, wrong
		case bits == 32:
			return view.IntValue(int32(i)), nil
		}
		return view.BigintValue(i), nil
	case view.KindText:
		if n.Tag == "!!str" || n.Tag == "!!timestamp" {
			return view.TextValue(n.Value), nil
		}
		return view.Value{}, fmt.Errorf("%s is not text to YAML: quote it", describeNode(n))
	case view.KindDecimal:
		if unscaled, scale, ok := parseDecimal(n.Value); ok {
			return view.DecimalValue(unscaled, scale), nil
		}
	case view.KindTimestamp:
		if t, ok := parseTime(n.Value); ok {
			return view.TimestampValue(t), nil
		}
		return view.Value{}, fmt.Errorf("%s is no RFC 3339 time with an offset", describeNode(n))
	case view.KindUUID:
		var b [16]byte
		if parseUUID(strings.ToLower(n.Value), &b) {
			return view.UUIDValue(b), nil
		}
	case view.KindTuple, view.KindUser, view.KindSet, view.KindMap:
	}
	return view.Value{}, wrong
}

// decimalInteger reads an integer of at most so many bits. One with zeros in front is refused: 010 is 8 to YAML 1.1, and 10
// to YAML 1.2.
func decimalInteger(n *yaml.Node, bits int) (int64, bool) {
	digits := strings.TrimLeft(n.Value, "+-")
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	i, err := strconv.ParseInt(n.Value, 10, bits)
	return i, err == nil
}

// yamlScalar writes a scalar value so that scalarOf reads it again.
func yamlScalar(typ view.Type, v view.Value) string {
	switch typ.Kind() {
	case view.KindBoolean, view.KindInt, view.KindBigint:
		return literal(typ, v)
	case view.KindText:
		return quote(v.Text())
	case view.KindDecimal, view.KindTimestamp, view.KindUUID:
		return quote(strings.Trim(literal(typ, v), "'"))
	case view.KindTuple, view.KindUser, view.KindSet, view.KindMap:
	}
	return `""`
}

// quote writes text in YAML's double quotes. Everything but printable ASCII is escaped, which means the same whatever
// tables of characters a release has.
func quote(s string) string { return quoteBut(s, func(rune) bool { return false }) }

// quoteBut is quote with some characters beyond ASCII left as they are.
func quoteBut(s string, leave func(rune) bool) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= 0x20 && r <= 0x7e || r > 0x7f && leave(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// parseTime reads an RFC 3339 time with upper-case T and Z, and its offset.
func parseTime(s string) (time.Time, bool) {
	var t time.Time
	if t.UnmarshalText([]byte(s)) != nil {
		return t, false
	}
	return t.UTC().Truncate(time.Microsecond), true
}

// parseUUID reads a UUID in the canonical form of 36 characters, in lower case.
func parseUUID(s string, to *[16]byte) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	var digits [32]byte
	n := copy(digits[:], s[:8])
	for _, part := range []string{s[9:13], s[14:18], s[19:23], s[24:]} {
		n += copy(digits[n:], part)
	}
	_, err := hex.Decode(to[:], digits[:])
	return err == nil
}

// appendUUID appends a UUID in the canonical form, in lower case.
func appendUUID(b []byte, u [16]byte) []byte {
	for i, octet := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, []byte{octet})
	}
	return b
}

// maxDecimal bounds the digits before and after the point of a decimal. Comparing numbers of very different scales
// costs Cassandra time and memory in proportion to the difference.
const maxDecimal = 100

// parseDecimal reads a decimal number in JSON's syntax, without zeros at the end of its fraction: 1.50 and 15e-1 are
// 1.5, and 1e2 is 100. Cassandra takes 1.0 and 1.00 for one key, one element and one entry, but compares bytes when two
// writes have one timestamp; so every number is written in one form, wherever it stands.
func parseDecimal(s string) (unscaled *big.Int, scale int32, ok bool) {
	mantissa, exponent := s, int64(0)
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.ParseInt(strings.TrimPrefix(s[i+1:], "+"), 10, 32)
		if err != nil || strings.HasPrefix(s[i+1:], "+-") {
			return nil, 0, false
		}
		mantissa, exponent = s[:i], e
	}
	negative := strings.HasPrefix(mantissa, "-")
	whole, fraction, point := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	if whole == "" || point && fraction == "" || len(whole) > 1 && whole[0] == '0' || !digits(whole) || !digits(fraction) {
		return nil, 0, false
	}
	all := strings.TrimLeft(whole+fraction, "0")
	places := int64(len(fraction)) - exponent // of the fraction
	for places > 0 && strings.HasSuffix(all, "0") {
		all, places = all[:len(all)-1], places-1
	}
	if all == "" {
		return new(big.Int), 0, true
	}
	if places > maxDecimal || int64(len(all))-places > maxDecimal {
		return nil, 0, false
	}
	if places < 0 {
		all, places = all+strings.Repeat("0", int(-places)), 0
	}
	unscaled, ok = new(big.Int).SetString(all, 10)
	if negative && ok {
		unscaled.Neg(unscaled)
	}
	return unscaled, int32(places), ok
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
