package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/diagnosis"
	"penstock/view"
)

// One page from wherever the ring begins: a writer of another kind leaves its mark in most rows.
const someRowsCQL = `SELECT %s FROM %s LIMIT 200`

const newGeneration = "build a new generation: projector setup --generation %d"

// inspectRevision looks at what the generation holds.
func (i *inspection) inspectRevision(ctx context.Context) {
	name := i.revisionName()
	r, err := i.registration(ctx, i.view, i.generation)
	if isInvalid(err) { // no table
		i.revisionMissing()
		return
	}
	if err != nil {
		i.failed("revision", name, err)
		return
	}
	refused := r.refuse(i.view, i.generation)
	switch lacks := r.lacks(i.view, i.generation); {
	case refused == nil && len(lacks) > 0:
		i.found("revision", name, diagnosis.Warn, fmt.Sprintf("is %s, and was added to since: this program does not write %s", r.revision, columnNames(lacks)),
			"use the newest definition: events that this one applies have no cells there until replay repair")
	case refused == nil && r.revision != i.view.Revision():
		i.found("revision", name, diagnosis.OK, fmt.Sprintf("is %s, with what was added since: this program writes %s", r.revision, i.view.Revision()), "")
	case refused == nil:
		i.found("revision", name, diagnosis.OK, "is "+i.view.Revision()+", as of this program", "")
	case refused.Stored == "":
		i.revisionMissing()
	case len(refused.Added) > 0:
		i.additive = refused.Added
		i.found("revision", name, diagnosis.Missing, fmt.Sprintf("is %s, this program writes %s: %s", refused.Stored, refused.Ours, refused.additive()), runSetup)
	default:
		i.refused = true
		i.found("revision", name, diagnosis.Refused, fmt.Sprintf("is %s, this program writes %s: %stwo revisions in one table would mix with equal stamps",
			refused.Stored, refused.Ours, refused.reasons()), refused.remedy())
	}
}

func (i *inspection) revisionMissing() {
	i.found("revision", i.revisionName(), diagnosis.Missing, "is not registered in "+i.keyspace+".view_state", runSetup)
}

func (i *inspection) revisionName() string {
	return fmt.Sprintf("view %s, generation %d", i.view.Name(), i.generation)
}

// isInvalid recognises the answer to a statement about a table that does not exist.
func isInvalid(err error) bool {
	server, ok := errors.AsType[gocql.RequestError](err)
	return ok && server.Code() == gocql.ErrCodeInvalid
}

// inspectTables compares types, tables and columns, and looks into the tables that are as they should be.
func (i *inspection) inspectTables(ctx context.Context) {
	live, err := i.liveSchema(ctx)
	if err != nil {
		i.failed("table", i.keyspace, err)
		return
	}
	for _, t := range userTypes(i.view) {
		if differences := compareType(t, i.generation, live.types); len(differences) > 0 {
			i.differ(differences)
			continue
		}
		i.found("type", i.keyspace+"."+t.UserName(i.generation), diagnosis.OK, "is as the view's", "")
	}
	for _, t := range i.view.Tables() {
		differences := compareTable(i.view, t, i.generation, live)
		i.differ(differences)
		if len(differences) > 0 && differences[0].object != "column" {
			continue
		}
		name := i.keyspace + "." + t.Name + i.generation.Suffix()
		if len(differences) == 0 {
			i.found("table", name, diagnosis.OK, "is as the view's, with "+count(len(t.Keys())+len(t.AllColumns()), "column"), "")
		}
		i.inspectDropped(ctx, t, name)
		if len(differences) == 0 {
			i.inspectRows(ctx, t, name)
			i.inspectWriting(ctx, t, name)
		}
	}
	_, extensible := i.view.(view.Extensible)
	for _, name := range i.ownTables() {
		switch {
		case live.columns[name] == nil:
			i.found("table", i.keyspace+"."+name, diagnosis.Missing, "does not exist", runSetup)
		case extensible && name == viewState && lacksLaterColumns(live.columns[name]):
			i.found("table", i.keyspace+"."+name, diagnosis.Missing, "is of an earlier release, which had no room for definitions", runSetup)
		default:
			i.found("table", i.keyspace+"."+name, diagnosis.OK, "is there", "")
		}
	}
}

var createdTable = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS [a-z0-9_]+\.([a-z0-9_]+) `)

// ownTables returns the names of the tables that setup makes besides the view's.
func (i *inspection) ownTables() []string {
	views := map[string]bool{}
	for _, t := range i.view.Tables() {
		views[t.Name+i.generation.Suffix()] = true
	}
	var names []string
	for _, cql := range Statements(i.keyspace, i.config.Datacenter, 1, i.view, i.generation) {
		if m := createdTable.FindStringSubmatch(cql); m != nil && !views[m[1]] {
			names = append(names, m[1])
		}
	}
	return names
}

func (i *inspection) differ(differences []difference) {
	for _, d := range differences {
		name := i.keyspace + "." + d.name
		if d.table != "" {
			name = i.keyspace + "." + d.table + "." + d.name
		}
		switch {
		case d.object == otherOwner:
			i.found("table", name, diagnosis.Refused, fmt.Sprintf("belongs to %s, not to %s", d.is, d.has), ownTables)
		case d.setupMakesIt() && !i.refused:
			i.found(d.object, name, diagnosis.Missing, "does not exist", runSetup)
		case d.missing && adds(i.additive, i.generation, d):
			i.found(d.object, name, diagnosis.Missing, fmt.Sprintf("does not exist; the view has it as %s: additive", d.has), runSetup)
		case d.missing:
			found := "does not exist"
			if d.has != "" {
				found += "; the view has it as " + d.has
			}
			i.found(d.object, name, diagnosis.Missing, found, fmt.Sprintf(newGeneration, i.generation+1))
		default:
			i.found(d.object, name, diagnosis.Different, fmt.Sprintf("is %s; the view has %s", d.is, d.has),
				fmt.Sprintf(newGeneration, i.generation+1))
		}
	}
}

// inspectDropped refuses a table one of whose columns was dropped once.
func (i *inspection) inspectDropped(ctx context.Context, t view.Table, name string) {
	dropped, err := i.droppedColumns(ctx, t.Name+i.generation.Suffix())
	if err != nil {
		i.failed("dropped_column", name, err)
		return
	}
	for _, c := range t.AllColumns() {
		if at, ok := dropped[c.Name]; ok {
			i.found("dropped_column", name+"."+c.Name, diagnosis.Refused, droppedFor(at), fmt.Sprintf(newGeneration, i.generation+1))
		}
	}
}

// inspectRows looks at some rows for those that another program wrote: none of ours is without its provenance. A
// writer that takes its stamps from the clock would win over all of our cells, silently.
func (i *inspection) inspectRows(ctx context.Context, t view.Table, name string) {
	column := view.EventsColumn
	if t.Provenance == view.ProvenanceLast {
		column = view.LastEventColumn
	}
	var value decoded
	rows, foreign := 0, 0
	iter := i.driver.Query(fmt.Sprintf(someRowsCQL, quote(column), name)).Consistency(gocql.LocalOne).IterContext(ctx)
	for iter.Scan(&value) {
		rows++
		if !value.valid {
			foreign++
		}
		value = decoded{}
	}
	if err := wrap("read some rows", iter.Close()); err != nil {
		f := failed("rows", name, err)
		if f.Level == diagnosis.Denied { // the daemon reads no rows, and needs no right to
			f.Level, f.Found = diagnosis.Warn, "could not be looked at: "+f.Found
			f.Do = "check once as a user with SELECT on " + name + ", such as the one that ran projector setup"
		}
		i.findings = append(i.findings, f)
		return
	}
	switch {
	case rows == 0:
		i.found("rows", name, diagnosis.OK, "there are none yet", "")
	case foreign == 0:
		i.found("rows", name, diagnosis.OK, "are ours, as far as the first "+count(rows, "row")+" show", "")
	default:
		i.found("rows", name, diagnosis.Refused, fmt.Sprintf("%d of the first %s have no %s: another program wrote them, and its newer stamps would win over ours",
			foreign, count(rows, "row"), column), "choose another keyspace or generation, or empty the table")
	}
}

// oldestStamp is the least a cell can carry.
const oldestStamp = 1

// inspectWriting sends the daemon's own statement with every column unset, which writes nothing: a row written by UPDATE
// is its cells. It shows the right to write, that hosts enough for the consistency level answer, and that no guardrail
// refuses an old stamp.
func (i *inspection) inspectWriting(ctx context.Context, t view.Table, name string) {
	right := "MODIFY on " + name
	d := newTable(i.keyspace, t, i.generation)
	var key []view.Value
	for _, k := range d.keys {
		key = append(key, nobody(k.Type))
	}
	args, err := new(binder).bind(statement{table: d, key: key, stamp: oldestStamp})
	if err != nil {
		i.failed("right", right, err)
		return
	}
	err = i.driver.Query(d.updateCQL, args...).ExecContext(ctx)
	if refused, ok := errors.AsType[gocql.RequestError](err); ok && refused.Code() == gocql.ErrCodeInvalid {
		i.found("right", right, diagnosis.Refused, "Cassandra refuses what the daemon would write: "+strings.TrimSpace(refused.Message()),
			"see the settings above, and the guardrails in cassandra.yaml")
		return
	}
	if err != nil {
		i.failed("right", right, wrap("write nothing to "+name, err))
		return
	}
	i.found("right", right, diagnosis.OK, "is allowed", "")
}

// nobody is a key that no entity has, as far as its type has room for one.
func nobody(t view.Type) view.Value {
	switch t.Kind() {
	case view.KindBoolean:
		return view.BooleanValue(false)
	case view.KindInt:
		return view.IntValue(-1)
	case view.KindBigint, view.KindTimestamp:
		return view.BigintValue(-1)
	case view.KindUUID:
		return view.UUIDValue([16]byte{})
	case view.KindDecimal:
		return view.DecimalValue(big.NewInt(-1), 0)
	case view.KindTuple, view.KindUser:
		var fields []view.Value
		for _, f := range t.Fields() {
			fields = append(fields, nobody(f.Type))
		}
		return view.TupleValue(fields...)
	}
	return view.TextValue("penstock-check")
}
