package viewfile

import (
	"encoding/hex"
	"math/big"
	"strconv"
	"strings"

	"penstock/view"
)

// literal writes a value as CQL does. What is no value of the type is written in hexadecimal.
func literal(t view.Type, v view.Value) string {
	if t.Check(v) != nil {
		return "0x" + hex.EncodeToString(v.Bytes())
	}
	switch t.Kind() {
	case view.KindText:
		return "'" + strings.ReplaceAll(v.Text(), "'", "''") + "'"
	case view.KindTimestamp:
		return "'" + plain(t.Kind(), v) + "'"
	case view.KindTuple, view.KindUser:
		declared := t.Fields()
		fields, _ := v.Tuple(len(declared)) // it was checked
		parts := make([]string, len(fields))
		for i, f := range declared {
			parts[i] = literal(f.Type, fields[i])
			if f.Name != "" {
				parts[i] = f.Name + ": " + parts[i]
			}
		}
		if t.Kind() == view.KindTuple {
			return "(" + strings.Join(parts, ", ") + ")"
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return plain(t.Kind(), v)
	}
}

// plain writes a scalar without quotes.
func plain(kind view.Kind, v view.Value) string { return string(appendPlain(nil, kind, v.Shared())) }

// appendPlain appends a scalar without quotes; encoded is a value of the kind.
func appendPlain(b []byte, kind view.Kind, encoded []byte) []byte {
	v := view.EncodedText(unsafeText(encoded))
	switch kind {
	case view.KindBoolean:
		truth, _ := v.Boolean()
		return strconv.AppendBool(b, truth)
	case view.KindInt:
		i, _ := v.Int()
		return strconv.AppendInt(b, int64(i), 10)
	case view.KindBigint:
		i, _ := v.Bigint()
		return strconv.AppendInt(b, i, 10)
	case view.KindTimestamp:
		t, _ := v.Timestamp()
		return t.AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	case view.KindUUID:
		u, _ := v.UUID()
		return appendUUID(b, u)
	case view.KindDecimal:
		unscaled, scale, _ := v.Decimal()
		return append(b, decimalText(unscaled, scale)...)
	default:
		return append(b, encoded...)
	}
}

// decimalText writes unscaled · 10^-scale without an exponent where the scale is that of a number people write.
func decimalText(unscaled *big.Int, scale int32) string {
	digits := new(big.Int).Abs(unscaled).String()
	sign := ""
	if unscaled.Sign() < 0 {
		sign = "-"
	}
	switch {
	case scale == 0:
		return sign + digits
	case scale < 0 || scale > 2*maxDecimal:
		return sign + digits + "E" + strconv.FormatInt(-int64(scale), 10)
	}
	if missing := int(scale) + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	return sign + digits[:len(digits)-int(scale)] + "." + digits[len(digits)-int(scale):]
}

// Literal writes a value as CQL does, for people. What is no value of the type is written in hexadecimal.
func Literal(t view.Type, v view.Value) string { return literal(t, v) }
