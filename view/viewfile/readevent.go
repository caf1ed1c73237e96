package viewfile

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"penstock/view"
)

var eventKeys = []string{"envelope", "tombstones", "id", "type", "schema_version", "version", "time", "birth", "entity", "attributes", "traceparent"}

// wellKnown are the places that an envelope fixes.
var wellKnown = map[string]map[string]string{
	envelopePlain:       {},
	envelopeCloudEvents: {"id": "/id", "type": "/type", "time": "/time", "traceparent": "/traceparent"},
	envelopeDebezium:    {"type": "/op", "time": "/ts_ms"},
}

// readEvent reads the section event. It returns nil when what follows could not be judged without it.
func (l *loader) readEvent(n *yaml.Node) *eventDefinition {
	o := l.object(n, "event", eventKeys...)
	e := &eventDefinition{at: o.at}
	node := o.need("envelope", "say how events are wrapped: plain, cloudevents or debezium")
	if node == nil {
		return nil
	}
	var ok bool
	if e.envelope, ok = l.oneOf(node, o.where("envelope"), envelopePlain, envelopeCloudEvents, envelopeDebezium); !ok {
		return nil
	}
	read := func(key string, typ view.Type, u use, do string) *value {
		if node := o.get(key); node != nil {
			v := l.readValue(node, o.where(key), typ, u)
			o.ok = o.ok && v != nil
			return v
		}
		if known := wellKnown[e.envelope][key]; known != "" {
			v := &value{at: o.at.below(key), typ: typ, path: mustPointer(known), as: defaultForm(typ)}
			if e.envelope == envelopeDebezium && key == "time" {
				v.as = "epoch_ms"
			}
			return v
		}
		if do != "" {
			o.need(key, do)
		}
		return nil
	}
	e.id = read("id", view.Text, useEvent, "")
	if e.id == nil && e.envelope == envelopePlain && o.get("id") == nil {
		l.warn(e.at, "no id is given, so an event is known by its version alone: two events under one version could not be told apart")
	}
	e.typ = read("type", view.Text, useEvent, "add type: /pointer to the event's type")
	e.version = read("version", view.Bigint, useEvent, "add version: /pointer to an integer that grows with every event of an entity")
	e.time = read("time", view.Timestamp, useEvent, "add time: /pointer to the event's time")
	e.birth = read("birth", view.Timestamp, useEvent, "")
	e.trace = read("traceparent", view.Text, useEvent, "")
	for _, v := range []*value{e.time, e.birth, e.trace} {
		if v != nil && v.letters != "" {
			l.refuse(v.at, "case cannot stand here", "leave it out")
		}
	}
	l.readSchemaVersion(&o, e)
	l.readEntity(&o, e)
	l.readAttributes(&o, e)
	l.readTombstones(&o, e)
	l.judgeVersion(e)
	if !o.ok {
		return nil
	}
	return e
}

func mustPointer(text string) *pointer {
	p, err := parsePointer(text)
	if err != nil {
		panic(err) // a constant of this package
	}
	return p
}

func (l *loader) readSchemaVersion(o *object, e *eventDefinition) {
	n := o.get("schema_version")
	switch {
	case n == nil:
	case n.Kind == yaml.ScalarNode && n.Value == schemaSuffix:
		e.schemaInType = true
	case n.Kind == yaml.ScalarNode && !strings.HasPrefix(n.Value, "/"):
		l.refuse(at(n, o.where("schema_version")), describeNode(n)+" is neither suffix nor a JSON Pointer"+nearest(n.Value, []string{schemaSuffix}),
			"write suffix for types such as order.placed.v1, or a pointer to an integer")
		o.ok = false
	default:
		e.schema = l.readValue(n, o.where("schema_version"), view.Int, useEvent)
		o.ok = o.ok && e.schema != nil
	}
}

// readEntity reads what names the entity: one place or several, in their order.
func (l *loader) readEntity(o *object, e *eventDefinition) {
	n := o.need("entity", "name the places of what the version orders, such as entity: [/order_id]")
	if n == nil {
		return
	}
	e.entity = l.entity(n, o.where("entity"))
	o.ok = o.ok && e.entity != nil
}

func (l *loader) entity(n *yaml.Node, where string) []*value {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		l.refuse(at(n, where), "must be a list of JSON Pointers, is "+describeNode(n), "write entity: [/order_id], or several that name it together")
		return nil
	}
	var out []*value
	for _, item := range n.Content {
		// The type is that of the key column in which the table has it.
		v := l.readValue(item, where, view.Text, useEvent)
		if v == nil {
			return nil
		}
		if v.as != "string" || v.require != nil {
			l.refuse(v.at, "an entity is a path, and case where letters do not tell entities apart", "say as and require where the key is said")
			return nil
		}
		out = append(out, v)
	}
	return out
}

func (l *loader) readAttributes(o *object, e *eventDefinition) {
	n := o.get("attributes")
	if n == nil {
		return
	}
	members, ok := l.members(n, o.where("attributes"), "write attributes as name: /pointer")
	o.ok = o.ok && ok
	for _, m := range members {
		l.checkIdentifier(m.name, m.at)
		v := l.readValue(m.value, m.at.where, view.Text, useEvent)
		if v == nil {
			o.ok = false
			continue
		}
		e.attributes = append(e.attributes, namedValue{m.name, v})
	}
}

// readTombstones reads what becomes of the empty records that follow a delete in a change feed.
func (l *loader) readTombstones(o *object, e *eventDefinition) {
	n := o.get("tombstones")
	if e.envelope != envelopeDebezium {
		if n != nil {
			l.refuse(at(n, o.where("tombstones")), "only a debezium feed has tombstones", "leave it out: an empty record is poison")
		}
		return
	}
	n = o.need("tombstones", "say tombstones: ignore if empty records follow deletes, or tombstones: poison if there are to be none")
	if n != nil {
		var ok bool
		e.tombstones, ok = l.oneOf(n, o.where("tombstones"), ignored, "poison")
		o.ok = o.ok && ok
	}
}

// judgeVersion warns of places in a change feed that look like a version and are none.
func (l *loader) judgeVersion(e *eventDefinition) {
	if e.version == nil || e.version.path == nil {
		return
	}
	switch e.version.path.text {
	case "/source/pos":
		l.warn(e.version.at, "pos begins again with every file of the binary log: a row changed in two files would take the older change for the newer. "+
			"Use it only where the log is never rotated, or a sequence that the source keeps itself")
	case "/source/ts_ms", "/ts_ms", "/source/ts_us", "/source/ts_ns":
		l.warn(e.version.at, "two changes of one row may have one time, and the version has to grow with every change. "+
			"Use the log's position, such as /source/lsn, where there is one")
	}
}
