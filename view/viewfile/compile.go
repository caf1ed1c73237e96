package viewfile

import (
	"math"
	"math/big"
	"slices"
	"time"

	"penstock/view"
)

// expr is a value of the file, compiled. Equal values of a file are one expr, computed once for each event.
type expr struct {
	at       locus // of a path; of fields, the object they are in, if they say one
	located  bool
	constant string
	kind     view.Kind // of the result
	form     form
	take     part
	letters  byte // 'u' or 'l'
	optional bool
	when     *test
	bounds   *bounds
	fields   []*expr
	factors  []*expr // of a sum over the elements of at
	register int     // where the result is kept; −1 within the elements of an array, where there is one for each
	clock    int     // where the time that was read is kept; −1 for none
}

// locus is a place in an event. In a change feed /row has two: the row after the change, or before it where there is
// none after it.
type locus struct{ node, before *node }

// form is how a value stands in the JSON.
type form uint8

const (
	formString form = iota + 1
	formInteger
	formNumber
	formBoolean
	formRFC3339
	formSeconds
	formMillis
	formMicros
)

var formNames = map[string]form{
	"string": formString, "integer": formInteger, "number": formNumber, "boolean": formBoolean,
	"rfc3339": formRFC3339, "epoch_s": formSeconds, "epoch_ms": formMillis, "epoch_us": formMicros,
}

// part is what is taken of a time.
type part uint8

const (
	partYear part = iota + 1
	partMonth
)

// bounds is a requirement, compiled for the type it is of.
type bounds struct {
	min, max        int64 // of integers, and of times in milliseconds
	decimal         [2]*big.Rat
	minLength       int
	maxLength       int
	letters         byte
	notAfterArrival *time.Duration
	minText         string // as the file says it, for messages
	maxText         string
}

// test is a condition, compiled.
type test struct {
	at       locus
	ofEvent  bool
	kind     byte
	text     string
	number   int64
	truth    bool
	presence bool
}

// compiler turns a definition into programs over one tree of paths.
type compiler struct {
	root     *node
	debezium bool
	exprs    map[string]*expr
	steps    map[string]*step
	clocks   map[locus]map[form]int
	clockN   int
	register int

	asksArrival bool // a requirement met so far is about when the record arrived
}

// locate returns the place a pointer leads to: from the event, or from the elements of an array.
func (c *compiler) locate(p *pointer, items *node) locus {
	if items != nil {
		return locus{node: items.descend(p)}
	}
	if c.debezium && len(p.tokens) > 0 && p.tokens[0] == "row" {
		within := &pointer{tokens: p.tokens[1:]}
		return locus{c.root.child("after").descend(within), c.root.child("before").descend(within)}
	}
	return locus{node: c.root.descend(p)}
}

// array returns the place of an array and the node of its elements. The elements of one array before and after a change
// share their node, so that either can be gone through by the same values.
func (c *compiler) array(p *pointer) (locus, *node) {
	at := c.locate(p, nil)
	if !c.debezium || !slices.Contains([]string{"row", "after", "before"}, p.tokens[0]) {
		return at, at.node.elements()
	}
	within := &pointer{tokens: p.tokens[1:]}
	after, before := c.root.child("after").descend(within), c.root.child("before").descend(within)
	before.items = after.elements()
	return at, after.items
}

// value compiles a value whose pointers begin at the event or, with items, at an array's element.
func (c *compiler) value(v *value, items *node, frame string) *expr {
	return c.within(v, items, frame, nil)
}

// within compiles a value whose pointers begin at outer.
func (c *compiler) within(v *value, items *node, frame string, outer *pointer) *expr {
	if v.ofEvent || v.constant != nil {
		items, frame, outer = nil, "", nil
	}
	name := frame + "\x00" + v.typ.String() + "\x00" + v.canonical()
	if outer != nil {
		name += "\x00" + outer.text
	}
	if e := c.exprs[name]; e != nil {
		return e
	}
	e := &expr{kind: v.typ.Kind(), optional: v.optional, register: -1, clock: -1}
	if items == nil {
		e.register = c.register
		c.register++
	}
	switch {
	case v.constant != nil:
		e.constant = v.constant.encoded.Text()
	case v.sum != nil:
		var elements *node
		e.at, elements = c.array(v.each)
		e.located = true
		for _, f := range v.sum {
			e.factors = append(e.factors, c.value(f, elements, frameName(v.each)))
		}
	default:
		inner := outer
		if v.path != nil {
			path := v.path.below(outer)
			e.at, e.located = c.locate(path, items), true
			inner = path
		}
		for _, f := range v.fields {
			e.fields = append(e.fields, c.within(f.value, items, frame, inner))
		}
		c.setForm(e, v, items == nil)
	}
	if v.when != nil {
		e.when = c.condition(v.when, items)
	}
	if v.require != nil {
		e.bounds = compileBounds(v.require, v.source())
		c.asksArrival = c.asksArrival || v.require.notAfterArrival != nil
	}
	c.exprs[name] = e
	return e
}

func frameName(each *pointer) string { return "each " + each.text }

func (c *compiler) setForm(e *expr, v *value, ofEvent bool) {
	e.form = formNames[v.as]
	switch v.take {
	case "year":
		e.take = partYear
	case "month":
		e.take = partMonth
	}
	if v.letters != "" {
		e.letters = v.letters[0]
	}
	if e.form < formRFC3339 || !ofEvent || v.path == nil {
		return
	}
	if c.clocks[e.at] == nil {
		c.clocks[e.at] = map[form]int{}
	}
	clock, ok := c.clocks[e.at][e.form]
	if !ok {
		clock = c.clockN
		c.clockN++
		c.clocks[e.at][e.form] = clock
	}
	e.clock = clock
}

func (c *compiler) condition(d *condition, items *node) *test {
	if d == nil {
		return nil
	}
	if d.ofEvent {
		items = nil
	}
	t := &test{at: c.locate(d.path, items), ofEvent: items == nil, kind: d.kind, presence: d.present}
	if d.equals == nil {
		return t
	}
	switch d.kind {
	case '"':
		t.text = d.equals.encoded.Text()
	case '0':
		t.number, _ = d.equals.encoded.Bigint() // it was read as one
	case 'b':
		t.truth, _ = d.equals.encoded.Boolean() // it was read as one
	}
	return t
}

func compileBounds(r *requirement, typ view.Type) *bounds {
	b := &bounds{min: math.MinInt64, max: math.MaxInt64, maxLength: math.MaxInt, notAfterArrival: r.notAfterArrival}
	for i, c := range []*constant{r.min, r.max} {
		if c == nil {
			continue
		}
		var n int64
		switch typ.Kind() {
		case view.KindInt:
			small, _ := c.encoded.Int() // it was read as one
			n = int64(small)
		case view.KindBigint, view.KindTimestamp:
			n, _ = c.encoded.Bigint() // it was read as one
		case view.KindDecimal:
			unscaled, scale, _ := c.encoded.Decimal() // it was read as one
			b.decimal[i] = rational(unscaled, scale)
		default:
		}
		if i == 0 {
			b.min, b.minText = n, literal(typ, c.encoded)
		} else {
			b.max, b.maxText = n, literal(typ, c.encoded)
		}
	}
	if r.minLength != nil {
		b.minLength = *r.minLength
	}
	if r.maxLength != nil {
		b.maxLength = *r.maxLength
	}
	if r.letters != "" {
		b.letters = r.letters[0]
	}
	return b
}

// rational is unscaled · 10^-scale; the scale is not negative.
func rational(unscaled *big.Int, scale int32) *big.Rat {
	return new(big.Rat).SetFrac(unscaled, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
}
