package cassandra

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/view"
)

// ReadRow reads one row of a view's table. It returns false when there is none.
func (s *Session) ReadRow(ctx context.Context, t view.Table, g view.Generation, key []view.Value) (view.Row, bool, error) {
	return s.readRow(ctx, newTable(s.keyspace, t, g), key, false)
}

// ReadStampedRow reads one row, and the stamps of all cells but those of collections, which servers before 5.0 do not
// tell. It returns false when there is none.
func (s *Session) ReadStampedRow(ctx context.Context, t view.Table, g view.Generation, key []view.Value) (view.Row, bool, error) {
	return s.readRow(ctx, newTable(s.keyspace, t, g), key, true)
}

func (s *Session) readRow(ctx context.Context, d *table, key []view.Value, stamped bool) (view.Row, bool, error) {
	args := make([]any, len(key))
	for i, v := range key {
		args[i] = &encoded{v}
	}
	columns := make([]decoded, len(d.columns))
	into := make([]any, len(columns))
	for i := range columns {
		into[i] = &columns[i]
	}
	cql := d.selectCQL
	stamps := make([]*int64, len(columns))
	if stamped {
		cql = d.stampedCQL()
		for i, c := range d.columns {
			if !c.Type.IsCollection() {
				into = append(into, &stamps[i])
			}
		}
	}
	err := s.driver.Query(cql, args...).ScanContext(ctx, into...)
	if errors.Is(err, gocql.ErrNotFound) {
		return view.Row{}, false, nil
	}
	if err != nil {
		return view.Row{}, false, wrap("read a row of "+d.name, err)
	}
	row := view.Row{Key: key}
	for i, c := range d.columns {
		if !columns[i].valid {
			continue
		}
		cells, err := decodeColumn(c, columns[i].bytes)
		if err != nil {
			return view.Row{}, false, fmt.Errorf("read %s: column %s: %w", d.name, c.Name, err)
		}
		if stamps[i] != nil {
			cells[0].Stamp = view.Stamp(*stamps[i])
		}
		row.Cells = append(row.Cells, cells...)
	}
	row.Cells = view.Merge(row.Cells, nil)
	return row, true, nil
}
