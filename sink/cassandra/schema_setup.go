package cassandra

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock/view"
)

// Columns are added where they are not yet, which may be in some tables only: another setup may have got this far. IF NOT
// EXISTS is for one that gets there at the same moment, and for those who paste.
const addColumnsCQL = `ALTER TABLE %s.%s ADD IF NOT EXISTS (%s)`

const viewState = "view_state"

// Setup creates what a generation of a view needs and is missing, and registers the view's revision for it. Where the
// definition of an extensible view has grown since it was registered, and in nothing but columns, it adds these to the
// tables and records them: first the column and then the record, since a daemon writes what is recorded.
//
// One operator at a time: concurrent CREATE TABLE statements can lose data. The error is fatal when the generation belongs
// to another revision ([*RevisionError]), in which case nothing was changed, or when a table that stands already differs
// from the view's ([*SchemaError]).
func (s *Session) Setup(ctx context.Context, datacenter string, replicationFactor int, v view.View, g view.Generation) error {
	statements := Statements(s.keyspace, datacenter, replicationFactor, v, g)
	exists, err := s.hasKeyspace(ctx)
	if err != nil {
		return err
	}
	var r registration
	var added []view.ColumnRef
	if exists {
		statements = statements[1:] // to create it even IF NOT EXISTS needs a right on all keyspaces
		if r, added, err = s.judge(ctx, v, g); err != nil {
			return err
		}
	}
	if err := s.execute(ctx, statements); err != nil {
		return err
	}
	live, err := s.liveSchema(ctx)
	if err != nil {
		return err
	}
	// A column cannot be taken back: its name would be burnt in this generation. So what will not fit is refused before.
	lasting := slices.DeleteFunc(compareSchema(v, g, live), func(d difference) bool { return d.missing && adds(added, g, d) })
	if err := s.refuseDifferences(lasting, g); err != nil {
		return err
	}
	if err := s.execute(ctx, alterations(s.keyspace, v, g, live.columns, added)); err != nil {
		return err
	}
	if err := s.checkSchema(ctx, v, g); err != nil {
		return err
	}
	if err := s.register(ctx, v, g); err != nil {
		return err
	}
	if e, extensible := v.(view.Extensible); extensible {
		if err := s.record(ctx, r, e, g, added); err != nil {
			return err
		}
	}
	return s.CheckRevision(ctx, v, g) // which knows whether another setup came first
}

// judge refuses a generation of another revision, before anything is changed, and returns the columns that are to be
// added to it.
func (s *Session) judge(ctx context.Context, v view.View, g view.Generation) (registration, []view.ColumnRef, error) {
	live, err := s.liveColumns(ctx)
	if err != nil || live[viewState] == nil {
		return registration{}, nil, err
	}
	r, err := s.registration(ctx, v, g)
	if err != nil {
		return registration{}, nil, err
	}
	refused := r.refuse(v, g)
	if refused == nil || refused.Stored == "" {
		return r, nil, nil
	}
	if len(refused.Added) == 0 {
		return registration{}, nil, revisionRefused(refused)
	}
	for _, c := range refused.Added {
		dropped, err := s.droppedColumns(ctx, c.Table+g.Suffix())
		if err != nil {
			return registration{}, nil, err
		}
		if at, ok := dropped[c.Column]; ok {
			refused.Differs = append(refused.Differs, fmt.Sprintf("column %s %s", c, droppedFor(at)))
		}
	}
	if len(refused.Differs) > 0 {
		refused.Added = nil
		return registration{}, nil, revisionRefused(refused)
	}
	return r, refused.Added, nil
}

// adds tells whether a missing column is one of those that a view's definition has grown by.
func adds(added []view.ColumnRef, g view.Generation, d difference) bool {
	return slices.ContainsFunc(added, func(c view.ColumnRef) bool {
		return c.Table+g.Suffix() == d.table && c.Column == d.name
	})
}

// execute runs statements one after another, each once all hosts know what the one before it did.
func (s *Session) execute(ctx context.Context, statements []string) error {
	for _, ddl := range statements {
		if err := s.driver.Query(ddl).ExecContext(ctx); err != nil {
			return wrap(ddl, err)
		}
		if err := s.driver.AwaitSchemaAgreement(ctx); err != nil {
			return wrap("await schema agreement", err)
		}
	}
	return nil
}

// alterations returns what adds to tables that stand already: the columns that view_state has got since the first
// release, and those added to the view.
func alterations(keyspace string, v view.View, g view.Generation, live map[string]map[string]liveColumn, added []view.ColumnRef) []string {
	var out []string
	if lacksLaterColumns(live[viewState]) {
		out = append(out, fmt.Sprintf(addColumnsCQL, keyspace, viewState, laterStateColumns))
	}
	for _, t := range v.Tables() {
		name := t.Name + g.Suffix()
		columns := slices.DeleteFunc(slices.Clone(t.Columns), func(c view.Column) bool {
			return live[name][c.Name] != "" || !slices.Contains(added, view.ColumnRef{Table: t.Name, Column: c.Name})
		})
		if len(columns) > 0 {
			out = append(out, addColumns(keyspace, name, g, columns))
		}
	}
	return out
}

// lacksLaterColumns tells whether an earlier release made view_state.
func lacksLaterColumns(live map[string]liveColumn) bool {
	return live["definitions"] == "" || live["additions"] == ""
}

func addColumns(keyspace, table string, g view.Generation, columns []view.Column) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = quote(c.Name) + " " + c.Type.CQL(g)
	}
	return fmt.Sprintf(addColumnsCQL, keyspace, table, strings.Join(parts, ", "))
}

const droppedColumnsCQL = `SELECT column_name, dropped_time FROM system_schema.dropped_columns WHERE keyspace_name = ? AND table_name = ?`

// droppedColumns returns when the columns of a table that are no more were dropped.
func (s *Session) droppedColumns(ctx context.Context, table string) (map[string]time.Time, error) {
	dropped := map[string]time.Time{}
	var column string
	var at time.Time
	iter := s.driver.Query(droppedColumnsCQL, s.keyspace, table).IterContext(ctx)
	for iter.Scan(&column, &at) {
		dropped[column] = at
	}
	return dropped, wrap("read the dropped columns", iter.Close())
}

// droppedFor is a clause about a column that was dropped once. Cassandra leaves out cells with stamps before the drop,
// also when the column is added again, and our stamps are as old as the entities.
func droppedFor(at time.Time) string {
	return fmt.Sprintf("was dropped at %s: Cassandra shows no cell of it with an earlier stamp, added again or not", at.UTC().Format(time.RFC3339))
}
