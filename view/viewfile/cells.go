package viewfile

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"penstock/view"
)

// step makes the cells of a column, once for all tables that have it.
func (r *run) step(s *step) cellRange {
	if known := r.done[s.number]; known.turn == r.turn {
		return known
	}
	from := len(r.cells)
	for _, rule := range s.rules {
		if rule.each.node == nil {
			r.cell(s, rule, 0)
			continue
		}
		n, array, ok := r.elementsOf(rule.each, rule.optional)
		if !ok {
			continue
		}
		r.each(n, array, func(base int) { r.cell(s, rule, base) })
		r.atLeast(n, array, rule.minItems)
	}
	if s.kind == view.KindMap || s.kind == view.KindSet {
		r.distinct(s, from)
	}
	made := cellRange{r.turn, from, len(r.cells)}
	r.done[s.number] = made
	return made
}

func (r *run) atLeast(n *node, array slot, items int) {
	switch {
	case int(array.count) >= items:
	case items == 1:
		r.broke(n, array, "must have at least one element")
	default:
		r.broke(n, array, fmt.Sprintf("must have at least %d elements, has %d", items, array.count))
	}
}

// cell makes one cell.
func (r *run) cell(s *step, rule *cellRule, base int) {
	if rule.when != nil && !r.holds(rule.when, base) {
		return
	}
	var made cell
	ok := true
	if rule.key != nil {
		if made.path, ok = r.eval(rule.key, base); ok {
			ok = r.fits(rule.key, base, made.path)
		}
	}
	value, sound := r.eval(rule.value, base)
	if !ok || !sound {
		return
	}
	if s.kind == view.KindSet {
		if !r.fits(rule.value, base, value) {
			return
		}
		made.path = value
	} else {
		made.value = value
	}
	r.cells = append(r.cells, made)
}

// maxKey is the longest key column, map key or set element in bytes: Cassandra keeps their lengths in 16 bits.
const maxKey = math.MaxUint16

func (r *run) fits(e *expr, base int, at span) bool {
	if at.len() <= maxKey {
		return true
	}
	where, pos := "a key", int32(0)
	if e.located {
		if e.register >= 0 {
			base = 0
		}
		n, s := r.place(e.at, base)
		where, pos = r.pointer(n), s.start
	}
	r.fail(pos, view.CodeTooLarge, fmt.Errorf("%s: has %d bytes: a key, a map's key or a set's element must have at most %d", where, at.len(), maxKey))
	return false
}

// distinct makes sure that an event sets no entry of a map twice, which is poison: of two values none is the later one.
// An element that a set would get twice it gets once.
func (r *run) distinct(s *step, from int) {
	cells := r.cells[from:]
	if len(cells) < 2 {
		return
	}
	r.order = r.order[:0]
	for i := range cells {
		r.order = append(r.order, int32(i))
	}
	slices.SortFunc(r.order, func(a, b int32) int {
		if c := strings.Compare(r.peek(cells[a].path), r.peek(cells[b].path)); c != 0 {
			return c
		}
		return int(a - b)
	})
	twice := -1
	for i := 1; i < len(r.order); i++ {
		if r.peek(cells[r.order[i]].path) == r.peek(cells[r.order[i-1]].path) {
			twice = int(r.order[i])
			if s.kind == view.KindMap {
				break
			}
			cells[twice].value.start = -1 // an element has no value: this one marks it
		}
	}
	switch {
	case twice < 0:
	case s.kind == view.KindSet:
		kept := slices.DeleteFunc(cells, func(c cell) bool { return c.value.start < 0 })
		r.cells = r.cells[:from+len(kept)]
	default:
		r.twice(s, cells[twice].path)
	}
}

func (r *run) twice(s *step, path span) {
	rule := s.rules[len(s.rules)-1]
	at, pos := s.column, int32(0)
	if rule.each.node != nil {
		n, array := r.place(rule.each, 0)
		at, pos = r.pointer(n), array.end
	}
	r.fail(pos, view.CodeMalformedField, fmt.Errorf("%s: key %s of %s: must not stand twice in one event", at, shortKey(r.peek(path)), s.column))
}

func shortKey(key string) string { return strconv.Quote(cut(key, 40)) }

// peek returns the bytes of a span as text, for as long as the run's bytes are not added to.
func (r *run) peek(at span) string {
	if at.record {
		return r.source[at.start:at.end]
	}
	return unsafeText(r.bytes[at.start:at.end])
}
