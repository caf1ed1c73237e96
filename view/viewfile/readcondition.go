package viewfile

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"penstock/view"
)

// readConditions reads when a value is there, and what it has to be.
func (l *loader) readConditions(o *object, v *value, u use) *value {
	optional, when, require := o.get("optional"), o.get("when"), o.get("require")
	for name, n := range map[string]*yaml.Node{"optional": optional, "when": when} {
		if n != nil && u.required {
			l.refuse(at(n, o.where(name)), name+" cannot stand here: "+u.why, "leave it out; an event without the value is poison")
			return nil
		}
	}
	if optional != nil {
		var ok bool
		if v.optional, ok = l.boolean(optional, o.where("optional")); !ok {
			return nil
		}
		if v.constant != nil {
			l.refuse(at(optional, o.where("optional")), "a const is always there", "leave optional out")
			return nil
		}
	}
	if when != nil {
		if v.when = l.readCondition(when, o.where("when"), u.inEach); v.when == nil {
			return nil
		}
		if u.inEach && !v.when.ofEvent && (v.ofEvent || v.constant != nil) {
			l.refuse(v.when.at, "the value is not of an element of the array, and the condition is: it would be met for some elements and not for others",
				"say when beside each, or of: event in the condition as well")
			return nil
		}
	}
	if require != nil {
		if v.path == nil || len(v.fields) > 0 {
			l.refuse(at(require, o.where("require")), "require says what the value at a path has to be", "put it beside a path")
			return nil
		}
		source := v.typ
		if v.take != "" {
			source = view.Timestamp
		}
		if v.require = l.readRequirement(require, o.where("require"), source, v.as); v.require == nil {
			return nil
		}
	}
	return v
}

func (l *loader) readCondition(n *yaml.Node, where string, inEach bool) *condition {
	o := l.object(n, where, "path", "of", "equals", "present")
	path := o.need("path", "add path: /pointer")
	if path == nil || !o.ok {
		return nil
	}
	c := &condition{at: o.at, path: l.readPointer(path, o.where("path"), inEach)}
	if of := o.get("of"); of != nil {
		if _, ok := l.oneOf(of, o.where("of"), "event"); !ok {
			return nil
		}
		if c.ofEvent = true; !inEach {
			l.refuse(at(of, o.where("of")), "of stands within each", "leave it out: pointers begin at the event anyway")
			return nil
		}
	}
	equals, present := o.get("equals"), o.get("present")
	switch {
	case c.path == nil:
		return nil
	case (equals == nil) == (present == nil):
		l.refuse(o.at, "a condition is either equals or present", "write {path: /kind, equals: retail} or {path: /kind, present: true}")
		return nil
	case present != nil:
		var ok bool
		c.present, ok = l.boolean(present, o.where("present"))
		if !ok {
			return nil
		}
		return c
	}
	typ := view.Text
	c.kind = '"'
	switch {
	case equals.Kind == yaml.ScalarNode && equals.Tag == "!!int":
		typ, c.kind = view.Bigint, '0'
	case equals.Kind == yaml.ScalarNode && equals.Tag == "!!bool":
		typ, c.kind = view.Boolean, 'b'
	}
	if c.equals = l.readConstant(equals, o.where("equals"), typ); c.equals == nil {
		return nil
	}
	return c
}

// requirements are what may be required of a value, by its type.
var requirements = map[view.Kind][]string{
	view.KindText:      {"min_length", "max_length", "letters"},
	view.KindInt:       {"min", "max"},
	view.KindBigint:    {"min", "max"},
	view.KindDecimal:   {"min", "max"},
	view.KindTimestamp: {"min", "max", "not_after_arrival"},
}

func (l *loader) readRequirement(n *yaml.Node, where string, typ view.Type, as string) *requirement {
	keys := requirements[typ.Kind()]
	if typ.Kind() == view.KindText && as == "integer" {
		keys = nil
	}
	if keys == nil {
		l.refuse(at(n, where), "there is nothing to require of a "+typ.String()+" read as "+as, "leave require out")
		return nil
	}
	o := l.object(n, where, keys...)
	r := &requirement{at: o.at}
	ok := o.ok
	bound := func(key string) (c *constant) {
		if n := o.get(key); n != nil {
			c = l.readConstant(n, o.where(key), typ)
			ok = ok && c != nil
		}
		return c
	}
	length := func(key string) *int {
		n := o.get(key)
		if n == nil {
			return nil
		}
		i, sound := l.count(n, o.where(key), 0)
		ok = ok && sound
		return &i
	}
	r.min, r.max = bound("min"), bound("max")
	r.minLength, r.maxLength = length("min_length"), length("max_length")
	if n := o.get("letters"); n != nil {
		var sound bool
		r.letters, sound = l.oneOf(n, o.where("letters"), "upper", "lower")
		ok = ok && sound
	}
	if n := o.get("not_after_arrival"); n != nil {
		d, err := time.ParseDuration(strings.TrimSpace(n.Value))
		if n.Kind != yaml.ScalarNode || err != nil || d < 0 {
			l.refuse(at(n, o.where("not_after_arrival")), "must be a duration of at least 0s, is "+describeNode(n), "write one such as 5m")
			return nil
		}
		r.notAfterArrival = &d
	}
	if !ok {
		return nil
	}
	if len(o.named) == 0 {
		l.refuse(o.at, "requires nothing", "add one of "+strings.Join(keys, ", "))
		return nil
	}
	return r
}
