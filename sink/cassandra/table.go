package cassandra

import (
	"fmt"
	"hash/maphash"
	"strings"

	"penstock/view"
)

// table is a view's table in one generation, with the two statements that are derived from it. There is one UPDATE for
// every table, whatever a mutation sets: columns it does not set are bound as unset, which writes nothing, so that the
// number of prepared statements does not grow with the number of shapes.
type table struct {
	view.Table
	name      string // with keyspace and generation
	keys      []view.KeyColumn
	columns   []view.Column  // in the order of the statements' markers
	index     map[string]int // column name to its place in columns
	updateCQL string
	selectCQL string

	headerBytes int    // of the names of the columns, as nodes write them to each other
	seed        uint64 // what tells its partitions from those of other tables with the same token
}

func newTable(keyspace string, t view.Table, g view.Generation) *table {
	d := &table{
		Table:   t,
		name:    keyspace + "." + t.Name + g.Suffix(),
		keys:    t.Keys(),
		columns: t.AllColumns(),
		index:   map[string]int{},
		seed:    maphash.String(maphash.MakeSeed(), t.Name),
	}
	sets := make([]string, len(d.columns))
	names := make([]string, len(d.columns))
	for i, c := range d.columns {
		d.index[c.Name] = i
		names[i] = quote(c.Name)
		sets[i] = names[i] + " = ?"
		if c.Type.IsCollection() { // added to, never replaced: replacing would write a range tombstone
			sets[i] = names[i] + " = " + names[i] + " + ?"
		}
	}
	d.headerBytes = headerBytes(d.columns)
	where := make([]string, len(d.keys))
	for i, k := range d.keys {
		where[i] = quote(k.Name) + " = ?"
	}
	d.updateCQL = fmt.Sprintf("UPDATE %s USING TIMESTAMP ? SET %s WHERE %s",
		d.name, strings.Join(sets, ", "), strings.Join(where, " AND "))
	d.selectCQL = fmt.Sprintf("SELECT %s FROM %s WHERE %s",
		strings.Join(names, ", "), d.name, strings.Join(where, " AND "))
	return d
}

// stampedCQL is selectCQL with the stamps of the columns that are no collections, in their order, behind the columns.
func (t *table) stampedCQL() string {
	columns, rest, _ := strings.Cut(t.selectCQL, " FROM ")
	for _, c := range t.columns {
		if !c.Type.IsCollection() {
			columns += ", WRITETIME(" + quote(c.Name) + ")"
		}
	}
	return columns + " FROM " + rest
}

// statement is one UPDATE: those cells of one row, none of them twice, that have its stamp. The others stand among
// them, since most rows have one stamp and cells are shared.
type statement struct {
	table *table
	key   []view.Value
	stamp view.Stamp
	cells []view.Cell
}

// statements appends the UPDATEs for the cells of one row of t, one for each stamp among them.
func statements(out []statement, t *table, key []view.Value, cells []view.Cell) []statement {
	mine := len(out)
next:
	for n := range cells {
		stamp := cells[n].Stamp
		for i := mine; i < len(out); i++ {
			if out[i].stamp == stamp {
				continue next
			}
		}
		out = append(out, statement{table: t, key: key, stamp: stamp, cells: cells})
	}
	return out
}

// maxKeyBytes bounds a partition key as it is stored, and a clustering column.
const maxKeyBytes = 1<<16 - 1

// keyFault returns why a key can be no row's of this table, or nil.
func (t *table) keyFault(key []view.Value) error {
	if len(t.Partition) == 1 && key[0].Len() == 0 {
		return fmt.Errorf("key column %s is empty: a partition key cannot be", t.keys[0].Name)
	}
	if n := len(appendRoutingKey(nil, key[:len(t.Partition)])); n > maxKeyBytes {
		return fmt.Errorf("the partition key has %d bytes: at most %d", n, maxKeyBytes)
	}
	for i, k := range t.keys {
		if n := key[i].Len(); n > maxKeyBytes {
			return fmt.Errorf("key column %s has %d bytes: at most %d", k.Name, n, maxKeyBytes)
		}
		if err := k.Type.Check(key[i]); err != nil {
			return fmt.Errorf("key column %s: %w", k.Name, err)
		}
	}
	return nil
}
