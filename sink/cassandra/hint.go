package cassandra

import (
	"math/bits"
	"slices"

	"penstock/view"
)

// What a coordinator stores for a replica that it does not reach is the replica's mutation as it goes between nodes, in a
// frame (Cassandra 5.0, below org.apache.cassandra):
//
//	hints.HintsBuffer        size and its checksum, the hint, a checksum: 12 bytes around it
//	hints.Hint.Serializer    time of creation (8), the least gc_grace_seconds of the tables (vint), the mutation
//	db.Mutation              number of partition updates (vint), each of them
//	db.partitions.PartitionUpdate, db.rows.UnfilteredRowIteratorSerializer
//	                         table id (16), key with its length (vint), flags, header, number of rows (vint), rows, end (1)
//	db.SerializationHeader   least stamp, local deletion time and TTL as distances from an epoch (vints), then the name
//	                         of every column of the statement, those that are unset too
//	db.rows.UnfilteredSerializer, db.rows.Cell
//	                         per row flags, clustering, which columns are set (vint of a bitmap); per cell flags, the
//	                         stamp's distance from the least (vint), path and value with their lengths (vints)
//
// Statements of one batch with one partition key make one mutation, each table in it a partition update.
const (
	hintFrame      = 12 + 8 + 3 + 1     // with ten days of gc_grace_seconds, and up to 127 tables
	updateOverhead = 16 + 1 + 1 + 1 + 1 // table id, flags, number of columns, of rows, end
	statsEpoch     = 1442880000000000   // db.rows.EncodingStats: 22 September 2015, in microseconds
	statsOverhead  = 2                  // nothing of ours is ever deleted or expires
)

// hintBytes is how many bytes a hint takes on a coordinator's disk, or several, for one replica that should have had these
// statements. Values of types with a fixed size are taken to have a length, which makes one byte each.
func hintBytes(statements []statement, batched bool) int {
	total := 0
	for i := range statements {
		s := &statements[i]
		sameKey, sameUpdate, sameRow := false, false, false
		if batched {
			for k := range statements[:i] {
				other := &statements[k]
				if n := len(s.table.Partition); n == len(other.table.Partition) && slices.Equal(s.key[:n], other.key[:n]) {
					sameKey = true
					if other.table == s.table {
						sameUpdate = true
						sameRow = sameRow || slices.Equal(s.key, other.key)
					}
				}
			}
		}
		if !sameKey {
			total += hintFrame
		}
		if !sameUpdate {
			total += s.table.updateBytes() + keyBytes(s.key[:len(s.table.Partition)])
			total += vintBytes(uint64(int64(s.stamp)-statsEpoch)) + statsOverhead
		}
		if !sameRow {
			total += rowBytes(s)
		}
		delta := 1
		if sameUpdate {
			delta = stampDistance(statements[:i], s)
		}
		total += cellBytes(s, delta)
	}
	return total
}

// updateBytes is what a partition update of the table takes whatever stands in it.
func (t *table) updateBytes() int { return updateOverhead + t.headerBytes }

// headerBytes is what the names of columns take.
func headerBytes(columns []view.Column) int {
	total := 0
	for _, c := range columns {
		total += vintBytes(uint64(len(c.Name))) + len(c.Name)
	}
	return total
}

// keyBytes is what a partition key takes: one column as it is, of several each with its length and an end.
func keyBytes(key []view.Value) int {
	total := 0
	for _, v := range key {
		total += v.Len()
		if len(key) > 1 {
			total += 3
		}
	}
	return vintBytes(uint64(total)) + total
}

// rowBytes is what a row takes without its cells.
func rowBytes(s *statement) int {
	total := 1 + (len(s.table.columns)+6)/7
	if clustering := s.key[len(s.table.Partition):]; len(clustering) > 0 {
		total++
		for _, v := range clustering {
			total += sizedBytes(v)
		}
	}
	return total
}

// cellBytes is what the cells of a statement take, whose stamps take so many bytes.
func cellBytes(s *statement, delta int) int {
	total := 0
	column := ""
	for i := range s.cells {
		c := &s.cells[i]
		if c.Stamp != s.stamp {
			continue
		}
		total += 1 + delta
		if c.Path.Len() > 0 {
			total += sizedBytes(c.Path)
			if c.Column != column {
				total++ // the number of entries
			}
		}
		if c.Value.Len() > 0 {
			total += sizedBytes(c.Value)
		}
		column = c.Column
	}
	return total
}

// stampDistance is how many bytes the distance of a statement's stamp from that of an earlier one of the same partition takes.
func stampDistance(earlier []statement, s *statement) int {
	for i := range earlier {
		if earlier[i].table == s.table && slices.Equal(earlier[i].key[:len(s.table.Partition)], s.key[:len(s.table.Partition)]) {
			return vintBytes(uint64(max(s.stamp-earlier[i].stamp, earlier[i].stamp-s.stamp)))
		}
	}
	return 1
}

func sizedBytes(v view.Value) int { return vintBytes(uint64(v.Len())) + v.Len() }

// vintBytes is the size of an unsigned number in org.apache.cassandra.utils.vint.VIntCoding: seven bits to a byte, and all
// 64 in nine.
func vintBytes(n uint64) int { return min(9, max(1, (bits.Len64(n)+6)/7)) }
