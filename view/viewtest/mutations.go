package viewtest

import (
	"math"
	"math/big"
	"time"

	"pgregory.net/rapid"

	"penstock/view"
)

// stamps are few, so that ties are frequent, and reach from the least that a view can write to the largest.
var stamps = []view.Stamp{1, 2, 3, 1_795_255_200_120_000, 1_795_255_200_120_001, math.MaxInt64}

// Mutations draws 1 to 20 mutations of table. Keys, paths, values and stamps come from few, so that mutations meet in
// rows and cells and stamps tie with equal and with different values. Every mutation satisfies [Conform].
func Mutations(t *rapid.T, table view.Table) []view.Mutation {
	keys := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) []view.Value { return key(t, table) }), 1, 4).Draw(t, "keys")
	mutation := rapid.Custom(func(t *rapid.T) view.Mutation {
		return view.Mutation{
			Table: table.Name,
			Key:   rapid.SampledFrom(keys).Draw(t, "key"),
			Cells: cells(t, table),
		}
	})
	return rapid.SliceOfN(mutation, 1, 20).Draw(t, "mutations")
}

func key(t *rapid.T, table view.Table) []view.Value {
	var key []view.Value
	for _, k := range table.Keys() {
		v := value(t, k.Type)
		if v.Len() == 0 && len(table.Partition) == 1 && len(key) == 0 {
			v = view.TextValue("-") // Cassandra refuses an empty partition key
		}
		key = append(key, v)
	}
	return key
}

func cells(t *rapid.T, table view.Table) []view.Cell {
	columns := rapid.SliceOfNDistinct(rapid.SampledFrom(table.AllColumns()), 1, 6, func(c view.Column) string { return c.Name })
	var cells []view.Cell
	for _, column := range columns.Draw(t, "columns") {
		stamp := func() view.Stamp { return rapid.SampledFrom(stamps).Draw(t, "stamp") }
		switch typ := column.Type; typ.Kind() {
		case view.KindSet:
			for _, path := range paths(t, typ.Elem()) {
				cells = append(cells, view.Cell{Column: column.Name, Path: path, Stamp: stamp()})
			}
		case view.KindMap:
			for _, path := range paths(t, typ.Key()) {
				cells = append(cells, view.Cell{Column: column.Name, Path: path, Value: value(t, typ.Elem()), Stamp: stamp()})
			}
		default:
			cells = append(cells, view.Cell{Column: column.Name, Value: value(t, typ), Stamp: stamp()})
		}
	}
	return cells
}

func paths(t *rapid.T, typ view.Type) []view.Value {
	path := rapid.Custom(func(t *rapid.T) view.Value { return value(t, typ) })
	return rapid.SliceOfNDistinct(path, 1, 2, rapid.ID).Draw(t, "paths")
}

// value draws a value of typ, which is no collection: often one of few, at times any.
func value(t *rapid.T, typ view.Type) view.Value {
	switch typ.Kind() {
	case view.KindBoolean:
		return view.BooleanValue(rapid.Bool().Draw(t, "boolean"))
	case view.KindInt:
		few := rapid.SampledFrom([]int32{0, 1, -1, math.MinInt32, math.MaxInt32})
		return view.IntValue(rapid.OneOf(few, few, rapid.Int32()).Draw(t, "int"))
	case view.KindBigint:
		few := rapid.SampledFrom([]int64{0, 1, -1, math.MinInt64, math.MaxInt64})
		return view.BigintValue(rapid.OneOf(few, few, rapid.Int64()).Draw(t, "bigint"))
	case view.KindText:
		few := rapid.SampledFrom([]string{"", "a", "b", "ab", "é", "\x00", "茶", "\U0001f375", `"'\`})
		return view.TextValue(rapid.OneOf(few, few, rapid.String()).Draw(t, "text"))
	case view.KindTimestamp:
		// Within the years 1 to 9999, which every tool can print.
		few := rapid.SampledFrom([]int64{0, 1, -1, 1_795_255_200_120})
		ms := rapid.OneOf(few, few, rapid.Int64Range(-62_135_596_800_000, 253_402_300_799_999)).Draw(t, "timestamp")
		return view.TimestampValue(time.UnixMilli(ms))
	case view.KindUUID:
		last := rapid.SampledFrom([]byte{0, 1, 255}).Draw(t, "last byte")
		return view.UUIDValue([16]byte{0x0f, 0x9a, 0x5d, 0x1e, 0, 0, 0x40, 0, 0x80, 15: last})
	case view.KindDecimal:
		// Each number in one form, without zeros at the end: Cassandra takes 1.0 and 1.00 for one key.
		few := rapid.SampledFrom([]int64{0, 1, -1, 127, 128, -128, -129, 1 << 40})
		unscaled := rapid.OneOf(few, few, rapid.Int64()).Draw(t, "unscaled")
		scale := rapid.Int32Range(0, 20).Draw(t, "scale")
		for scale > 0 && unscaled%10 == 0 {
			unscaled, scale = unscaled/10, scale-1
		}
		return view.DecimalValue(big.NewInt(unscaled), scale)
	case view.KindTuple, view.KindUser:
		var fields []view.Value
		for _, f := range typ.Fields() {
			fields = append(fields, value(t, f.Type))
		}
		return view.TupleValue(fields...)
	case view.KindSet, view.KindMap:
	}
	panic("viewtest: a value cannot be a " + typ.String())
}
