package view_test

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/view"
)

func TestValuesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i32, i64 := rapid.Int32().Draw(t, "int"), rapid.Int64().Draw(t, "bigint")
		text, flag := rapid.String().Draw(t, "text"), rapid.Bool().Draw(t, "boolean")
		ms := rapid.Int64Range(math.MinInt64/1000, math.MaxInt64/1000).Draw(t, "milliseconds")
		uuid := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))

		if got, err := view.IntValue(i32).Int(); err != nil || got != i32 {
			t.Errorf("int: %d, %v", got, err)
		}
		if got, err := view.BigintValue(i64).Bigint(); err != nil || got != i64 {
			t.Errorf("bigint: %d, %v", got, err)
		}
		if got := view.TextValue(text).Text(); got != text {
			t.Errorf("text: %q", got)
		}
		if got, err := view.BooleanValue(flag).Boolean(); err != nil || got != flag {
			t.Errorf("boolean: %t, %v", got, err)
		}
		if got, err := view.TimestampValue(time.UnixMilli(ms)).Timestamp(); err != nil || got.UnixMilli() != ms || got.Location() != time.UTC {
			t.Errorf("timestamp: %s, %v", got, err)
		}
		if got, err := view.UUIDValue(uuid).UUID(); err != nil || got != uuid {
			t.Errorf("uuid: %x, %v", got, err)
		}
		unscaled := new(big.Int).Mul(big.NewInt(i64), big.NewInt(ms))
		if got, scale, err := view.DecimalValue(unscaled, i32).Decimal(); err != nil || got.Cmp(unscaled) != 0 || scale != i32 {
			t.Errorf("decimal: %s, %d, %v", got, scale, err)
		}
		if got := view.EncodedText(text); got != view.EncodedValue([]byte(text)) {
			t.Errorf("encoded text: %x", got.Bytes())
		}
		tuple := view.TupleValue(view.TextValue(text), view.IntValue(i32), view.TupleValue(view.UUIDValue(uuid)))
		fields, err := view.EncodedValue(tuple.Bytes()).Tuple(3)
		if err != nil || fields[0] != view.TextValue(text) || fields[1] != view.IntValue(i32) {
			t.Fatalf("tuple: %v, %v", fields, err)
		}
		if inner, err := fields[2].Tuple(1); err != nil || inner[0] != view.UUIDValue(uuid) {
			t.Errorf("inner tuple: %v, %v", inner, err)
		}
	})
}

// The bytes are those of the native protocol, version 5, section 6 "Data Type Serialization Formats".
func TestValuesAreEncodedAsCassandraStoresThem(t *testing.T) {
	tests := []struct {
		name  string
		value view.Value
		want  string
	}{
		{"true", view.BooleanValue(true), "\x01"},
		{"false", view.BooleanValue(false), "\x00"},
		{"int", view.IntValue(-2), "\xff\xff\xff\xfe"},
		{"bigint", view.BigintValue(258), "\x00\x00\x00\x00\x00\x00\x01\x02"},
		{"text", view.TextValue("é"), "\xc3\xa9"},
		{"timestamp cuts to milliseconds", view.TimestampValue(time.Unix(0, 1_999_999)), "\x00\x00\x00\x00\x00\x00\x00\x01"},
		{"timestamp before 1970 cuts downwards", view.TimestampValue(time.Unix(0, -1)), "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"decimal 1.50", view.DecimalValue(big.NewInt(150), 2), "\x00\x00\x00\x02\x00\x96"},
		{"decimal -0.5", view.DecimalValue(big.NewInt(-5), 1), "\x00\x00\x00\x01\xfb"},
		{"decimal 0", view.DecimalValue(new(big.Int), 0), "\x00\x00\x00\x00\x00"},
		{"decimal -128e3", view.DecimalValue(big.NewInt(-128), -3), "\xff\xff\xff\xfd\x80"},
		{"decimal -129", view.DecimalValue(big.NewInt(-129), 0), "\x00\x00\x00\x00\xff\x7f"},
		{"tuple", view.TupleValue(view.TextValue("ab"), view.TextValue(""), view.BooleanValue(true)),
			"\x00\x00\x00\x02ab\x00\x00\x00\x00\x00\x00\x00\x01\x01"},
		{"event reference", view.EventRef(view.Event{EntityVersion: 1, Type: "t", Time: time.UnixMilli(2), ID: "i", SchemaVersion: 9}),
			"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x01t" +
				"\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x02" + "\x00\x00\x00\x01i"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(test.value.Bytes()); got != test.want {
				t.Errorf("got %x, want %x", got, test.want)
			}
			if got := string(test.value.Append([]byte("x"))); got != "x"+test.want {
				t.Errorf("appended: got %x", got)
			}
			if got := test.value.Len(); got != len(test.want) {
				t.Errorf("length %d, want %d", got, len(test.want))
			}
		})
	}
}

func TestBytesAreNeverNull(t *testing.T) {
	if got := view.TextValue("").Bytes(); got == nil {
		t.Error("empty text has nil bytes, which a driver takes for null")
	}
}

func TestValuesOfTheWrongLengthAreErrors(t *testing.T) {
	v := view.TextValue("abc")
	decode := map[string]func() error{
		"boolean":   func() error { _, err := v.Boolean(); return err },
		"int":       func() error { _, err := v.Int(); return err },
		"bigint":    func() error { _, err := v.Bigint(); return err },
		"timestamp": func() error { _, err := v.Timestamp(); return err },
		"uuid":      func() error { _, err := v.UUID(); return err },
		"decimal":   func() error { _, _, err := v.Decimal(); return err },
	}
	for name, f := range decode {
		if err := f(); err == nil || !strings.Contains(err.Error(), "decode "+name) {
			t.Errorf("%s from 3 bytes: got error %v", name, err)
		}
	}
}

func TestTupleErrorsNameTheField(t *testing.T) {
	tests := []struct {
		name, encoded string
		fields        int
		want          string
	}{
		{"too few fields", "\x00\x00\x00\x00", 2, "field 1 of 2 is missing"},
		{"length cut off", "\x00\x00", 1, "field 0 of 1 is missing"},
		{"field cut off", "\x00\x00\x00\x05ab", 1, "field 0 has length 5, 2 bytes left"},
		{"null field", "\xff\xff\xff\xff", 1, "field 0 has length -1"},
		{"too many fields", "\x00\x00\x00\x01a\x00\x00\x00\x00", 1, "4 bytes after field 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := view.EncodedValue([]byte(test.encoded)).Tuple(test.fields)
			if err == nil || !strings.Contains(err.Error(), "decode tuple: "+test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func FuzzTupleNeverPanics(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01a"), 1)
	f.Add([]byte("\x80\x00\x00\x00"), 2)
	f.Fuzz(func(t *testing.T, encoded []byte, n int) {
		if n < 0 || n > 100 {
			return
		}
		v := view.EncodedValue(encoded)
		fields, err := v.Tuple(n)
		if err == nil && view.TupleValue(fields...) != v {
			t.Errorf("%x does not come back", encoded)
		}
	})
}
