package cassandra

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/sink"
	"penstock/view"
)

// binder turns statements into the values of their markers. What it returns is valid until it is reset, which lets the
// same memory serve request after request: the driver has copied every value into its frame when it begins to wait for
// the answer.
type binder struct {
	args        []any
	values      []encoded
	collections []*collection
	inUse       int // of collections
}

// reset ends the use of everything bound so far.
func (b *binder) reset() {
	clear(b.args) // what was sent is not to be kept
	clear(b.values)
	for i, c := range b.collections[:b.inUse] {
		if cap(c.bytes) > maxRequestBytes {
			b.collections[i] = newCollection()
		}
	}
	b.args, b.values, b.inUse = b.args[:0], b.values[:0], 0
}

// bind returns the values of the markers of the statement's UPDATE. The error is a fault of the view.
func (b *binder) bind(s statement) ([]any, error) {
	t := s.table
	first := len(b.args)
	b.args = append(b.args, int64(s.stamp))
	for range t.columns {
		b.args = append(b.args, gocql.UnsetValue)
	}
	columns := b.args[first+1:]
	for i := range s.cells {
		c := &s.cells[i]
		if c.Stamp != s.stamp {
			continue
		}
		at, ok := t.index[c.Column]
		if !ok {
			return nil, &sink.Error{Disposition: sink.Fatal, Op: "bind " + t.name,
				Err: fmt.Errorf("the view set column %s, which its table does not have", c.Column)}
		}
		typ := t.columns[at].Type
		if !typ.IsCollection() {
			columns[at] = b.value(c.Value)
			continue
		}
		entries, ok := columns[at].(*collection)
		if !ok {
			entries = b.collection()
			columns[at] = entries
		}
		entries.add(typ.Kind(), c)
	}
	for _, v := range s.key {
		b.args = append(b.args, b.value(v))
	}
	return b.args[first:len(b.args):len(b.args)], nil
}

func (b *binder) value(v view.Value) *encoded {
	b.values = append(b.values, encoded{v}) // where it grows, pointers to the array before stay good
	return &b.values[len(b.values)-1]
}

func (b *binder) collection() *collection {
	if b.inUse == len(b.collections) {
		b.collections = append(b.collections, newCollection())
	}
	c := b.collections[b.inUse]
	b.inUse++
	c.bytes = append(c.bytes[:0], 0, 0, 0, 0)
	return c
}

// encoded binds a value, which is CQL encoded already.
type encoded struct{ value view.Value }

// MarshalCQL implements gocql.Marshaler. The driver copies the bytes into its frame and changes nothing of them.
func (e *encoded) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return e.value.Shared(), nil }

// collection binds the entries of a map or the elements of a set that are to be added: their number in four bytes, then
// each with its length.
type collection struct{ bytes []byte }

func newCollection() *collection { return &collection{make([]byte, 0, 256)} }

func (c *collection) add(kind view.Kind, cell *view.Cell) {
	binary.BigEndian.PutUint32(c.bytes, binary.BigEndian.Uint32(c.bytes)+1)
	c.bytes = appendElement(c.bytes, cell.Path)
	if kind == view.KindMap {
		c.bytes = appendElement(c.bytes, cell.Value)
	}
}

// MarshalCQL implements gocql.Marshaler.
func (c *collection) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return c.bytes, nil }
