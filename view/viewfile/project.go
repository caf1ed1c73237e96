package viewfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"penstock/view"
)

// View is a view that a file describes. It is immutable.
type View struct {
	definition *definition
	canonical  []byte
	revision   string

	name     string
	envelope string
	tables   []view.Table
	root     *node
	event    eventPrograms
	types    map[string]*program   // by the type as it stands in the event
	bases    map[string][]*program // by the type without its schema version
	every    *program              // for types that are not named; nil if there is none
	ignore   bool                  // types that are not named
	runs     sync.Pool
	known    string // a type, for messages

	asksArrival bool // a rule is about when the record arrived
}

// eventPrograms reads what every event has.
type eventPrograms struct {
	specVersion, source, contentType, data *node // cloudevents
	after                                  *node // debezium
	id, typ, schema, version, time, birth  *expr
	trace                                  *expr
	entity                                 []*expr
	attributes                             []attribute
	schemaInType                           bool
	tombstones                             string
}

type attribute struct {
	name string
	expr *expr
}

var _ view.Extensible = (*View)(nil)

// newView compiles a definition in which nothing is refused.
func newView(d *definition, canonical []byte) *View {
	v := &View{definition: d, canonical: canonical, name: d.view, envelope: d.event.envelope, ignore: d.others == ignored,
		types: map[string]*program{}, bases: map[string][]*program{}}
	v.revision = revisionOf(v.canonical)
	c := &compiler{root: newRoot(), debezium: v.envelope == envelopeDebezium,
		exprs: map[string]*expr{}, steps: map[string]*step{}, clocks: map[locus]map[form]int{}}
	v.root = c.root
	v.compileEvent(c, d)
	var every *typeDefinition
	for _, t := range d.tables {
		v.tables = append(v.tables, t.table)
	}
	for _, t := range d.types {
		if t.name == everyType {
			every = t
		}
	}
	for _, t := range d.types {
		if t == every {
			v.every = c.program(d, t, nil)
			continue
		}
		p := c.program(d, t, every)
		v.types[t.name] = p
		v.bases[t.base] = append(v.bases[t.base], p)
		v.known = t.name
	}
	c.root.seal()
	v.asksArrival = c.asksArrival
	registers, clocks, steps := c.register, c.clockN, len(c.steps)
	v.runs.New = func() any {
		return &run{registers: make([]register, registers), clocks: make([]clock, clocks), done: make([]cellRange, steps)}
	}
	return v
}

func (v *View) compileEvent(c *compiler, d *definition) {
	e := d.event
	value := func(from *value) *expr {
		if from == nil {
			return nil
		}
		return c.value(from, nil, "")
	}
	v.event = eventPrograms{id: value(e.id), typ: value(e.typ), schema: value(e.schema), version: value(e.version), time: value(e.time),
		birth: value(e.birth), trace: value(e.trace), schemaInType: e.schemaInType, tombstones: e.tombstones}
	for _, place := range e.entity {
		v.event.entity = append(v.event.entity, c.entity(d, &typeDefinition{}, nil, place))
	}
	for _, a := range e.attributes {
		v.event.attributes = append(v.event.attributes, attribute{a.name, value(a.value)})
	}
	switch v.envelope {
	case envelopeCloudEvents:
		v.event.specVersion, v.event.source = c.root.child("specversion"), c.root.child("source")
		v.event.contentType, v.event.data = c.root.child("datacontenttype"), c.root.child("data")
	case envelopeDebezium:
		v.event.after = c.root.child("after")
		c.root.child("before")
	}
}

// Name returns the view's name.
func (v *View) Name() string { return v.name }

// Revision returns "file/<version of the interpreter>/<hash of the definition>".
func (v *View) Revision() string { return v.revision }

// Tables returns the tables by name. They must not be changed.
func (v *View) Tables() []view.Table { return v.tables }

// Project returns at most one mutation for each table, or a [*view.Poison] that says which place of the event breaks
// which rule and holds as much of the event as could be read.
func (v *View) Project(record view.Record) (view.Result, error) {
	r := v.runs.Get().(*run)
	defer v.runs.Put(r)
	defer r.end()
	r.begin(v, record)
	return v.project(r)
}

func (v *View) project(r *run) (view.Result, error) {
	r.readEvent(v.root)
	if v.envelope == envelopeDebezium && r.empty() {
		return v.tombstone(r)
	}
	if r.broken != nil {
		r.fail(-1, view.CodeBadJSON, syntax(r.broken)) // before any fault of what could be read
		facts, _ := v.facts(r, v.findQuietly(r))
		return view.Result{}, &view.Poison{Stage: view.StageDecode, Code: view.CodeBadJSON, Event: facts, Err: syntax(r.broken)}
	}
	if v.event.after != nil {
		r.old = !there(r.slots[v.event.after.slot])
	}
	p := v.find(r)
	if p != nil && p.ignored {
		facts, _ := v.facts(r, p)
		return view.Result{Event: facts}, nil
	}
	v.checkEnvelope(r)
	var stamps view.Stamps
	if p != nil {
		r.rank = rankRest
		v.prepare(r, p)
		if r.fault.err == nil {
			stamps = v.stamps(r)
		}
	}
	found := r.fault // what is read for the facts may have faults of its own
	facts, text := v.facts(r, p)
	if found.err != nil {
		return view.Result{}, &view.Poison{Stage: found.stage, Code: found.code, Event: facts, Err: found.err}
	}
	return view.Result{Mutations: r.mutations(stamps, text), Event: facts}, nil
}

// tombstone says what becomes of an empty record in a change feed.
func (v *View) tombstone(r *run) (view.Result, error) {
	if v.event.tombstones == ignored {
		return view.Result{}, nil
	}
	return view.Result{}, &view.Poison{Stage: view.StageDecode, Code: view.CodeBadJSON,
		Err: errors.New("the record is a tombstone: must be a change, unless the view says tombstones: ignore")}
}

// ignoredProgram is that of types which a file does not name and does not mind.
var ignoredProgram = &program{ignored: true}

// find returns what becomes of the event, by its type; nil with a fault.
func (v *View) find(r *run) *program {
	typ, ok := v.typeOf(r)
	if !ok {
		return nil
	}
	schema := 0
	if v.event.schema != nil {
		if at, ok := r.eval(v.event.schema, 0); ok {
			schema = int(int32(binary.BigEndian.Uint32(r.view(at))))
		} else if !v.ignore || v.bases[typ] != nil {
			return nil
		}
		for _, p := range v.bases[typ] {
			if p.schema == schema {
				return p
			}
		}
	} else if p := v.types[typ]; p != nil {
		return p
	}
	switch {
	case v.every != nil:
		return v.every
	case v.ignore && v.bases[v.base(typ)] == nil:
		return ignoredProgram
	}
	v.refuseType(r, typ, schema) // also a schema version that nobody has written rules for yet
	return nil
}

// base is a type without its schema version.
func (v *View) base(typ string) string {
	if v.event.schemaInType {
		typ, _ = splitType(typ)
	}
	return typ
}

func (v *View) refuseType(r *run, typ string, schema int) {
	r.rank = rankType
	base, newest := v.base(typ), 0
	for _, p := range v.bases[base] {
		newest = max(newest, p.schema)
	}
	where := r.pointer(v.event.typ.at.node)
	switch {
	case newest == 0:
		r.fail(0, view.CodeUnknownType, fmt.Errorf("%s: %q: must be an event type that the view names, such as %s", where, cut(typ, 40), cut(v.known, 80)))
	case v.event.schema != nil:
		r.fail(0, view.CodeUnknownSchemaVersion, fmt.Errorf("%s: %d: must be a schema version of %s that the view names, such as %d",
			r.pointer(v.event.schema.at.node), schema, cut(base, 80), newest))
	default:
		r.fail(0, view.CodeUnknownSchemaVersion, fmt.Errorf("%s: %q: must be %s in a schema version that the view names, such as v%d",
			where, cut(typ, 40), cut(base, 80), newest))
	}
}

// findQuietly is find for an event that is broken anyway.
func (v *View) findQuietly(r *run) *program {
	if v.event.after != nil {
		r.old = !there(r.slots[v.event.after.slot])
	}
	return v.find(r)
}

// prepared is what is to be written into one table.
type prepared struct {
	write *tableWrite
	cells int
}

// prepare evaluates everything the event writes, and notes its faults.
func (v *View) prepare(r *run, p *program) {
	r.eventNumber(v.event.version)
	if v.event.birth != nil {
		v.birthOf(r)
	}
	for _, c := range p.checks {
		if c.each.node == nil {
			r.eval(c.expr, 0)
		} else if n, s, ok := r.elementsOf(c.each, false); ok {
			r.each(n, s, func(base int) { r.eval(c.expr, base) })
			r.atLeast(n, s, c.minItems)
		}
	}
	for _, w := range p.tables {
		if w.when != nil && !r.holds(w.when, 0) {
			continue
		}
		made := prepared{w, 1}
		for i, e := range w.keys {
			at, ok := r.eval(e, 0)
			if !ok || !r.fits(e, 0, at) {
				continue
			}
			if at.len() == 0 && i == 0 && len(w.table.Partition) == 1 && e.located {
				n, s := r.place(e.at, 0)
				r.malformed(n, s, "must not be empty, because it is the whole partition key of "+w.table.Name)
			}
		}
		for _, s := range w.steps {
			cells := r.step(s)
			made.cells += cells.to - cells.from
		}
		r.writes = append(r.writes, made)
	}
}

// mutations puts the prepared cells together.
func (r *run) mutations(stamps view.Stamps, text string) []view.Mutation {
	if len(r.writes) == 0 {
		return nil
	}
	cells, keys := 0, 0
	for _, w := range r.writes {
		cells += w.cells
		keys += len(w.write.keys)
	}
	allCells, allKeys := make([]view.Cell, 0, cells), make([]view.Value, 0, keys)
	ref := view.EncodedText(resolve(r.ref, text, r.source))
	out := make([]view.Mutation, 0, len(r.writes))
	for _, w := range r.writes {
		firstKey, firstCell := len(allKeys), len(allCells)
		for _, e := range w.write.keys {
			allKeys = append(allKeys, view.EncodedText(resolve(r.registers[e.register].at, text, r.source)))
		}
		for _, s := range w.write.steps {
			made := r.done[s.number]
			stamp := stamps.Revisable
			if s.once {
				stamp = stamps.WriteOnce
			}
			for _, c := range r.cells[made.from:made.to] {
				allCells = append(allCells, view.Cell{Column: s.column, Path: view.EncodedText(resolve(c.path, text, r.source)),
					Value: view.EncodedText(resolve(c.value, text, r.source)), Stamp: stamp})
			}
		}
		allCells = append(allCells, w.write.table.ProvenanceCell(ref, stamps))
		out = append(out, view.Mutation{Table: w.write.table.Name, Key: allKeys[firstKey:len(allKeys):len(allKeys)],
			Cells: allCells[firstCell:len(allCells):len(allCells)]})
	}
	return out
}

// resolve returns the bytes of a span, once all of them are there.
func resolve(at span, text, source string) string {
	if at.record {
		return source[at.start:at.end]
	}
	return text[at.start:at.end]
}

func unsafeText(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
