package view

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// Merge returns the cells a row has after both a and b were written to it, sorted by column and path. Of two cells
// with one column and path the one with the higher stamp stays, and on a tie the one with the larger bytes: Cassandra's
// own rule (org.apache.cassandra.db.rows.Cells.reconcile, for live cells without expiry). It does not change its
// arguments.
func Merge(a, b []Cell) []Cell {
	cells := make([]Cell, 0, len(a)+len(b))
	cells = append(append(cells, a...), b...)
	slices.SortFunc(cells, func(x, y Cell) int {
		return cmp.Or(
			cmp.Compare(x.Column, y.Column),
			x.Path.Compare(y.Path),
			-cmp.Compare(x.Stamp, y.Stamp), // the winner first
			-x.Value.Compare(y.Value))
	})
	return slices.CompactFunc(cells, func(x, y Cell) bool { return x.Column == y.Column && x.Path == y.Path })
}

// RowKey returns a string that is the same for two mutations exactly if they are for one row.
func (m Mutation) RowKey() string { return m.key(len(m.Key)) }

// PartitionKey returns a string that is the same for two mutations exactly if they are for one partition of one table,
// whose partition key has n columns.
func (m Mutation) PartitionKey(n int) string { return m.key(n) }

func (m Mutation) key(n int) string {
	b := make([]byte, 0, 64)
	b = append(append(b, m.Table...), 0)
	for _, v := range m.Key[:n] {
		b = binary.AppendUvarint(b, uint64(v.Len()))
		b = v.Append(b)
	}
	return string(b)
}

// Size estimates the bytes a mutation takes on the wire: keys, paths, values and 8 bytes of stamp a cell.
func (m Mutation) Size() int {
	size := 0
	for _, v := range m.Key {
		size += 4 + v.Len()
	}
	for _, c := range m.Cells {
		size += 16 + c.Path.Len() + c.Value.Len()
	}
	return size
}
