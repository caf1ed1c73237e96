package viewfile

import (
	"fmt"
	"slices"

	"penstock/view"
)

// demand is something that an event has to have, or to be, if it is not to be poison.
type demand struct {
	what string
	when []string // all that has to hold before it is asked for
}

// demanded is what events of a type are known to meet: for each demand, the conditions under which they do.
type demanded map[string][][]string

// cover tells whether events that meet what is known meet the demands as well.
func (known demanded) cover(demands []demand) bool {
	return !slices.ContainsFunc(demands, func(d demand) bool {
		return !slices.ContainsFunc(known[d.what], func(when []string) bool {
			return !slices.ContainsFunc(when, func(condition string) bool { return !slices.Contains(d.when, condition) })
		})
	})
}

// demands returns what events of the type have to have and to be.
func (t *typeDefinition) demands(e *eventDefinition) demanded {
	known := demanded{}
	add := func(demands []demand) {
		for _, d := range demands {
			known[d.what] = append(known[d.what], d.when)
		}
	}
	for _, v := range []*value{e.id, e.typ, e.version, e.time, e.birth} {
		add(v.demands(frame{}))
	}
	for _, c := range t.checks {
		if c.each == nil {
			add(c.demands(frame{}))
		}
	}
	for _, w := range t.writes {
		for i := range w.table.table.Keys() {
			add(w.key(i).demands(frame{when: w.conditions()}))
		}
		for _, s := range w.sets {
			add(s.demands(w.conditions()))
		}
	}
	return known
}

// conditions returns what has to hold before the row is written.
func (w *writeDefinition) conditions() []string { return w.when.within(nil, frame{}) }

// within adds a condition to others.
func (c *condition) within(when []string, f frame) []string {
	if c == nil {
		return when
	}
	text := c.canonical()
	if !c.ofEvent {
		text = f.each + text
	}
	return append(when[:len(when):len(when)], text)
}

// frame is where the pointers of a value begin, and when the value is asked for.
type frame struct {
	each  string   // the array that it is of an element of, empty for the event
	outer *pointer // the object within that
	when  []string
	loose bool // a field of a value that is left out where it lacks all its fields
}

// demands returns what setting the column asks of an event.
func (s *setDefinition) demands(when []string) []demand {
	var out []demand
	for i, r := range s.rules {
		f := frame{when: when}
		if r.each != nil {
			array := "elements of " + quote(r.each.text)
			if !r.optional {
				out = append(out, demand{array, when})
			}
			if r.minItems > 0 {
				out = append(out, demand{fmt.Sprintf("at least %d %s", r.minItems, array), when})
			}
			f.each = array + ": "
			f.when = append(when[:len(when):len(when)], array) // an array may be empty
		}
		f.when = r.when.within(f.when, f)
		if r.key != nil {
			out = append(out, r.key.demands(f)...)
			if r.each != nil || slices.ContainsFunc(s.rules[:i], func(other *rule) bool { return !apart(r, other) }) {
				out = append(out, demand{"no key twice: " + s.canonical(), when})
			}
		}
		if element := s.column.Type.Kind() == view.KindSet && r.value.path != nil && r.value.path.text == ""; !element {
			out = append(out, r.value.demands(f)...)
		} else if d := r.value.bound(f); d != nil {
			out = append(out, *d)
		}
	}
	return out
}

// demands returns what a value asks of an event.
func (v *value) demands(f frame) []demand {
	switch {
	case v == nil || v.constant != nil:
		return nil
	case v.ofEvent:
		f.each, f.outer = "", nil
	}
	f.when = v.when.within(f.when, f)
	switch {
	case v.sum != nil:
		return []demand{{f.each + v.typ.String() + " " + v.canonical(), f.when}}
	case v.fields != nil:
		return v.demandsOfFields(f)
	}
	var out []demand
	if !v.optional && !f.loose {
		out = append(out, demand{v.place(f), f.when})
	}
	if d := v.bound(f); d != nil {
		out = append(out, *d)
	}
	return out
}

// demandsOfFields returns what the fields of a frozen value ask for. If it is optional and its fields stand in an object,
// they are asked for once the object is there; if each has a place of its own, what they are is asked for and not that they
// are there.
func (v *value) demandsOfFields(f frame) []demand {
	inner := frame{f.each, v.inner(f.outer), f.when, f.loose || v.optional}
	if v.path != nil && inner.loose {
		inner.when = append(f.when[:len(f.when):len(f.when)], "there is "+f.each+quote(inner.outer.text))
		inner.loose = false
	}
	var out []demand
	for _, field := range v.fields {
		out = append(out, field.value.demands(inner)...)
	}
	return out
}

// place says which value at a path is read, and as what.
func (v *value) place(f frame) string {
	return f.each + v.typ.String() + " " + quote(v.path.below(f.outer).text) + " " + v.as + " " + v.take
}

// bound returns the demand that the value, if it is there, is one that the file allows; nil if it allows any.
func (v *value) bound(f frame) *demand {
	if v.require == nil {
		return nil
	}
	return &demand{v.place(f) + " within " + v.require.canonical(), f.when}
}
