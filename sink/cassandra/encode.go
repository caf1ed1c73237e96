package cassandra

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/view"
)

// decoded receives bytes as they are; null is told from empty by valid.
type decoded struct {
	bytes []byte
	valid bool
}

// UnmarshalCQL implements gocql.Unmarshaler.
func (d *decoded) UnmarshalCQL(_ gocql.TypeInfo, data []byte) error {
	d.bytes, d.valid = append([]byte(nil), data...), data != nil
	return nil
}

// appendElement appends an element of a collection: its length in four bytes, then its bytes.
func appendElement(b []byte, v view.Value) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(v.Len()))
	return v.Append(b)
}

// appendRoutingKey appends a partition key as the partitioner hashes it: one column as it is, several each with its
// length in two bytes and a zero byte behind.
func appendRoutingKey(b []byte, key []view.Value) []byte {
	if len(key) == 1 {
		return key[0].Append(b)
	}
	for _, v := range key {
		b = binary.BigEndian.AppendUint16(b, uint16(v.Len()))
		b = append(v.Append(b), 0)
	}
	return b
}

// decodeColumn turns the bytes of a column into its cells: one for each entry of a collection.
func decodeColumn(c view.Column, data []byte) ([]view.Cell, error) {
	if !c.Type.IsCollection() {
		return []view.Cell{{Column: c.Name, Value: view.EncodedValue(data)}}, nil
	}
	r := elementReader{rest: data}
	n := r.length()
	var cells []view.Cell
	for range n {
		cell := view.Cell{Column: c.Name, Path: r.element()}
		if c.Type.Kind() == view.KindMap {
			cell.Value = r.element()
		}
		if r.broken {
			break
		}
		cells = append(cells, cell)
	}
	if r.broken || len(r.rest) > 0 {
		return nil, fmt.Errorf("decode %s: %d bytes do not hold %d entries", c.Type, len(data), n)
	}
	return cells, nil
}

// elementReader reads a collection's bytes. Once broken it stays so.
type elementReader struct {
	rest   []byte
	broken bool
}

func (r *elementReader) length() int {
	if len(r.rest) < 4 {
		r.broken = true
		return 0
	}
	n := int32(binary.BigEndian.Uint32(r.rest))
	r.rest = r.rest[4:]
	return int(n)
}

func (r *elementReader) element() view.Value {
	n := r.length()
	if n < 0 || n > len(r.rest) {
		r.broken = true
		return view.Value{}
	}
	v := view.EncodedValue(r.rest[:n])
	r.rest = r.rest[n:]
	return v
}
