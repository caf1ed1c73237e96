package cassandra

import (
	"fmt"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/sink"
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
}

func newTable(keyspace string, t view.Table, g view.Generation) *table {
	d := &table{
		Table:   t,
		name:    keyspace + "." + t.Name + g.Suffix(),
		keys:    t.Keys(),
		columns: t.AllColumns(),
		index:   map[string]int{},
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

// statement is one UPDATE: the cells of one row that share a stamp, none of them twice.
type statement struct {
	key   []view.Value
	stamp view.Stamp
	cells []view.Cell
}

// statements returns the UPDATEs for the cells of one row, one for each stamp among them.
func statements(out []statement, key []view.Value, cells []view.Cell) []statement {
	mine := len(out)
next:
	for _, c := range cells {
		for i := mine; i < len(out); i++ {
			if out[i].stamp == c.Stamp {
				out[i].cells = append(out[i].cells, c)
				continue next
			}
		}
		rest := make([]view.Cell, 0, len(cells))
		out = append(out, statement{key: key, stamp: c.Stamp, cells: append(rest, c)})
	}
	return out
}

// bind returns the values of t.updateCQL's markers for s. The error is a fault of the view.
func (t *table) bind(s statement) ([]any, error) {
	args := make([]any, 1+len(t.columns)+len(t.keys))
	args[0] = int64(s.stamp)
	for i := range t.columns {
		args[1+i] = gocql.UnsetValue
	}
	values := make([]encoded, len(s.cells)+len(s.key)) // one allocation for all of them
	for n, c := range s.cells {
		i, ok := t.index[c.Column]
		if !ok {
			return nil, &sink.Error{Disposition: sink.Fatal, Op: "bind " + t.name,
				Err: fmt.Errorf("the view set column %s, which its table does not have", c.Column)}
		}
		if typ := t.columns[i].Type; typ.IsCollection() {
			entries, ok := args[1+i].(*collection)
			if !ok {
				entries = newCollection()
				args[1+i] = entries
			}
			entries.add(typ.Kind(), c)
		} else {
			values[n] = encoded{c.Value}
			args[1+i] = &values[n]
		}
	}
	for i, v := range s.key {
		n := len(s.cells) + i
		values[n] = encoded{v}
		args[1+len(t.columns)+i] = &values[n]
	}
	return args, nil
}

// maxKeyBytes bounds a partition key as it is stored, and a clustering column.
const maxKeyBytes = 1<<16 - 1

// keyFault returns why a key can be no row's of this table, or nil.
func (t *table) keyFault(key []view.Value) error {
	if len(t.Partition) == 1 && key[0].Len() == 0 {
		return fmt.Errorf("key column %s is empty: a partition key cannot be", t.keys[0].Name)
	}
	if n := len(routingKey(key[:len(t.Partition)])); n > maxKeyBytes {
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
