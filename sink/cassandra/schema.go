package cassandra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/sink"
	"penstock/view"
)

// The tables of a view are created from these; the view's own columns are put in by ddl.
const (
	createKeyspaceCQL = `CREATE KEYSPACE IF NOT EXISTS %s WITH replication = {'class': 'NetworkTopologyStrategy', '%s': %d}`

	createStateCQL = `CREATE TABLE IF NOT EXISTS %s.view_state (name text PRIMARY KEY, active_generation int, ` +
		`previous_generation int, revisions map<int, text>, epoch bigint, effective_at timestamp, ` + laterStateColumns + `)`
	// Earlier releases made the table without these.
	laterStateColumns = `definitions map<int, text>, additions map<text, text>`

	keyspacesCQL = `SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?`
	columnsCQL   = `SELECT table_name, column_name, type, kind, position, clustering_order FROM system_schema.columns WHERE keyspace_name = ?`
	commentsCQL  = `SELECT table_name, comment FROM system_schema.tables WHERE keyspace_name = ?`
	typesCQL     = `SELECT type_name, field_names, field_types FROM system_schema.types WHERE keyspace_name = ?`
)

// Statements returns the DDL for a generation of a view, in the order in which it must run: keyspace, user-defined
// types, tables, and the tables of view states and of progress. Every statement is harmless where its object stands already.
func Statements(keyspace, datacenter string, replicationFactor int, v view.View, g view.Generation) []string {
	out := []string{fmt.Sprintf(createKeyspaceCQL, keyspace, datacenter, replicationFactor)}
	for _, t := range userTypes(v) {
		out = append(out, createType(keyspace, t, g))
	}
	for _, t := range v.Tables() {
		out = append(out, createTable(keyspace, v, t, g))
	}
	return append(out, fmt.Sprintf(createStateCQL, keyspace), fmt.Sprintf(createProgressCQL, keyspace))
}

// userTypes returns the user-defined types of a view, each once and after those it contains.
func userTypes(v view.View) []view.Type {
	var out []view.Type
	for _, t := range v.Tables() {
		for _, k := range t.Keys() {
			out = append(out, k.Type.UserTypes()...)
		}
		for _, c := range t.AllColumns() {
			out = append(out, c.Type.UserTypes()...)
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(t view.Type) bool {
		again := seen[t.String()]
		seen[t.String()] = true
		return again
	})
}

func createType(keyspace string, t view.Type, g view.Generation) string {
	fields := make([]string, 0, len(t.Fields()))
	for _, f := range t.Fields() {
		fields = append(fields, quote(f.Name)+" "+f.Type.CQL(g))
	}
	return fmt.Sprintf("CREATE TYPE IF NOT EXISTS %s.%s (%s)", keyspace, t.UserName(g), strings.Join(fields, ", "))
}

// ownerComment is what the comment of a view's table begins with; the view's name follows. A table is written by one view
// only: two would write different values with equal stamps, or one value with two, and nothing else would show it.
const ownerComment = "penstock view "

func createTable(keyspace string, v view.View, t view.Table, g view.Generation) string {
	var columns, partition, clustering, order []string
	for _, k := range t.Partition {
		columns = append(columns, quote(k.Name)+" "+k.Type.CQL(g))
		partition = append(partition, quote(k.Name))
	}
	for _, k := range t.Clustering {
		columns = append(columns, quote(k.Name)+" "+k.Type.CQL(g))
		clustering = append(clustering, quote(k.Name))
		order = append(order, quote(k.Name)+" "+direction(k))
	}
	for _, c := range t.AllColumns() {
		columns = append(columns, quote(c.Name)+" "+c.Type.CQL(g))
	}
	key := append([]string{"(" + strings.Join(partition, ", ") + ")"}, clustering...)
	with := "compaction = {'class': 'UnifiedCompactionStrategy'} AND comment = " + literal(ownerComment+v.Name())
	if len(order) > 0 {
		with = "CLUSTERING ORDER BY (" + strings.Join(order, ", ") + ") AND " + with
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s.%s (%s, PRIMARY KEY (%s)) WITH %s",
		keyspace, t.Name+g.Suffix(), strings.Join(columns, ", "), strings.Join(key, ", "), with)
}

// quote makes a column's or field's name fit for CQL even where it is a reserved word.
func quote(name string) string { return `"` + name + `"` }

func direction(k view.KeyColumn) string {
	if k.Descending {
		return "DESC"
	}
	return "ASC"
}

// SchemaError lists every way in which the tables of a generation differ from those of the view.
type SchemaError struct {
	Keyspace    string
	Differences []string
	Do          string         // what helps against all of them
	Owned       bool           // a table belongs to another view, which no setup can change
	Revision    *RevisionError // why they differ, nil if the generation belongs to the view's revision
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("keyspace %s does not fit the view: %s: %s", e.Keyspace, strings.Join(e.Differences, "; "), e.Do)
}

// Unwrap returns Revision.
func (e *SchemaError) Unwrap() error {
	if e.Revision == nil {
		return nil
	}
	return e.Revision
}

// CheckSchema compares keyspace, types and tables of a generation with the view's. Columns that the view does not
// know are no difference: a later release may have added them. The error is a fatal [*sink.Error] around a
// [*SchemaError], or that of the query.
//
// The tables of an extensible view differ for the most part because its definition is not the one they were made for. The
// error then says what that means, and holds the [*RevisionError].
func (s *Session) CheckSchema(ctx context.Context, v view.View, g view.Generation) error {
	err := s.checkSchema(ctx, v, g)
	differs, ok := errors.AsType[*SchemaError](err)
	if _, extensible := v.(view.Extensible); !ok || !extensible {
		return err
	}
	if refused, ok := errors.AsType[*RevisionError](s.CheckRevision(ctx, v, g)); ok && refused.Stored != "" {
		differs.Do, differs.Revision = refused.Error(), refused
	}
	return err
}

func (s *Session) checkSchema(ctx context.Context, v view.View, g view.Generation) error {
	exists, err := s.hasKeyspace(ctx)
	if err != nil {
		return err
	}
	if !exists {
		return schemaError(s.keyspace, []string{"the keyspace does not exist"}, runSetup)
	}
	live, err := s.liveSchema(ctx)
	if err != nil {
		return err
	}
	return s.refuseDifferences(compareSchema(v, g, live), g)
}

// refuseDifferences returns an error that tells them all and what helps, and nil if there are none.
func (s *Session) refuseDifferences(all []difference, g view.Generation) error {
	if len(all) == 0 {
		return nil
	}
	var differences []string
	do := runSetup
	for _, d := range all {
		differences = append(differences, d.String())
		switch {
		case d.object == otherOwner:
			return &sink.Error{Disposition: sink.Fatal, Op: "check the schema",
				Err: &SchemaError{Keyspace: s.keyspace, Differences: []string{d.String()}, Do: ownTables, Owned: true}}
		case !d.setupMakesIt():
			do = fmt.Sprintf(newGeneration, g+1)
		}
	}
	return schemaError(s.keyspace, differences, do)
}

// difference is one way in which a schema is not the view's.
type difference struct {
	object  string // type, table, column or otherOwner
	table   string // of a column
	name    string
	missing bool
	is, has string // not missing: as it is, as the view has it; a missing column: has is its description
}

const (
	otherOwner = "owner"
	ownTables  = "a table has one view: name the tables of this view otherwise, or give it a keyspace of its own"
)

// setupMakesIt tells whether setup would remove the difference: to a table that stands already it adds no column unless
// the view's definition has grown by it, which the schema alone does not show.
func (d difference) setupMakesIt() bool { return d.missing && d.object != "column" }

func (d difference) String() string {
	what := d.object + " " + d.name
	if d.table != "" {
		what = "table " + d.table + ": " + what
	}
	switch {
	case d.object == otherOwner:
		return fmt.Sprintf("table %s belongs to %s, not to %s", d.name, d.is, d.has)
	case d.missing && d.has != "":
		return fmt.Sprintf("%s (%s) is missing", what, d.has)
	case d.missing:
		return what + " is missing"
	}
	return fmt.Sprintf("%s is %s, the view has %s", what, d.is, d.has)
}

func compareSchema(v view.View, g view.Generation, live liveSchema) []difference {
	var differences []difference
	for _, t := range userTypes(v) {
		differences = append(differences, compareType(t, g, live.types)...)
	}
	for _, t := range v.Tables() {
		differences = append(differences, compareTable(v, t, g, live)...)
	}
	return differences
}

func (s *Session) hasKeyspace(ctx context.Context) (bool, error) {
	var name string
	err := s.driver.Query(keyspacesCQL, s.keyspace).ScanContext(ctx, &name)
	if errors.Is(err, gocql.ErrNotFound) {
		return false, nil
	}
	return err == nil, wrap("read the schema", err)
}

func schemaError(keyspace string, differences []string, do string) error {
	return &sink.Error{Disposition: sink.Fatal, Op: "check the schema", Err: &SchemaError{Keyspace: keyspace, Differences: differences, Do: do}}
}

// liveColumn is a column as system_schema describes it: "text partition_key 0 none".
type liveColumn string

func describeColumn(cqlType, kind string, position int, order string) liveColumn {
	if kind == "regular" {
		return liveColumn(cqlType)
	}
	return liveColumn(fmt.Sprintf("%s, %s %d, order %s", cqlType, kind, position, order))
}

// liveSchema is the keyspace as system_schema describes it.
type liveSchema struct {
	columns  map[string]map[string]liveColumn // by table
	types    map[string]string
	comments map[string]string // of tables
}

func (s *Session) liveSchema(ctx context.Context) (live liveSchema, err error) {
	if live.columns, err = s.liveColumns(ctx); err != nil {
		return live, err
	}
	if live.types, err = s.liveTypes(ctx); err != nil {
		return live, err
	}
	live.comments = map[string]string{}
	iter := s.driver.Query(commentsCQL, s.keyspace).IterContext(ctx)
	var table, comment string
	for iter.Scan(&table, &comment) {
		live.comments[table] = comment
	}
	return live, wrap("read the schema's tables", iter.Close())
}

func (s *Session) liveColumns(ctx context.Context) (map[string]map[string]liveColumn, error) {
	tables := map[string]map[string]liveColumn{}
	iter := s.driver.Query(columnsCQL, s.keyspace).IterContext(ctx)
	var table, column, cqlType, kind, order string
	var position int
	for iter.Scan(&table, &column, &cqlType, &kind, &position, &order) {
		if tables[table] == nil {
			tables[table] = map[string]liveColumn{}
		}
		tables[table][column] = describeColumn(cqlType, kind, position, order)
	}
	return tables, wrap("read the schema's columns", iter.Close())
}

func (s *Session) liveTypes(ctx context.Context) (map[string]string, error) {
	types := map[string]string{}
	iter := s.driver.Query(typesCQL, s.keyspace).IterContext(ctx)
	var name string
	var names, fieldTypes []string
	for iter.Scan(&name, &names, &fieldTypes) {
		fields := make([]string, len(names))
		for i := range names {
			fields[i] = names[i] + " " + fieldTypes[i]
		}
		types[name] = strings.Join(fields, ", ")
	}
	return types, wrap("read the schema's types", iter.Close())
}

func compareType(t view.Type, g view.Generation, live map[string]string) []difference {
	name := t.UserName(g)
	got, ok := live[name]
	if !ok {
		return []difference{{object: "type", name: name, missing: true}}
	}
	fields := make([]string, 0, len(t.Fields()))
	for _, f := range t.Fields() {
		fields = append(fields, f.Name+" "+f.Type.CQL(g))
	}
	if want := strings.Join(fields, ", "); got != want {
		return []difference{{object: "type", name: name, is: "(" + got + ")", has: "(" + want + ")"}}
	}
	return nil
}

func compareTable(v view.View, t view.Table, g view.Generation, live liveSchema) []difference {
	name := t.Name + g.Suffix()
	got, ok := live.columns[name]
	if !ok {
		return []difference{{object: "table", name: name, missing: true}}
	}
	if owner, told := strings.CutPrefix(live.comments[name], ownerComment); told && owner != v.Name() {
		return []difference{{object: otherOwner, name: name, is: "view " + owner, has: "view " + v.Name()}}
	}
	want := map[string]liveColumn{}
	var names []string
	add := func(column string, description liveColumn) {
		want[column] = description
		names = append(names, column)
	}
	for i, k := range t.Partition {
		add(k.Name, describeColumn(k.Type.CQL(g), "partition_key", i, "none"))
	}
	for i, k := range t.Clustering {
		add(k.Name, describeColumn(k.Type.CQL(g), "clustering", i, strings.ToLower(direction(k))))
	}
	for _, c := range t.AllColumns() {
		add(c.Name, describeColumn(c.Type.CQL(g), "regular", -1, "none"))
	}
	var differences []difference
	for _, column := range names {
		d := difference{object: "column", table: name, name: column, has: string(want[column])}
		switch description, ok := got[column]; {
		case !ok:
			d.missing = true
			differences = append(differences, d)
		case description != want[column]:
			d.is = string(description)
			differences = append(differences, d)
		}
	}
	return differences
}
