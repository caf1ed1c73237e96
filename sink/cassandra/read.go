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
	d := newTable(s.keyspace, t, g)
	args := make([]any, len(key))
	for i, v := range key {
		args[i] = &encoded{v}
	}
	columns := make([]decoded, len(d.columns))
	into := make([]any, len(columns))
	for i := range columns {
		into[i] = &columns[i]
	}
	err := s.driver.Query(d.selectCQL, args...).ScanContext(ctx, into...)
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
		row.Cells = append(row.Cells, cells...)
	}
	row.Cells = view.Merge(row.Cells, nil)
	return row, true, nil
}
