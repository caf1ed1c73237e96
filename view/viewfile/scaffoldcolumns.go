package viewfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"penstock/view"
)

// findColumns proposes a column for every property that says something of the entity.
func (s *scaffold) findColumns() {
	for _, doc := range s.samples {
		name, _ := lookUp(doc, s.typ.pointer).(string)
		name = strings.TrimSpace(name)
		if name == "" || len(name) > maxID || strings.ContainsRune(name, ',') || name == everyType {
			name = "unknown"
		}
		if s.types[name] == nil {
			s.types[name] = &sampledType{seen: map[string]int{}}
		}
		s.types[name].count++
	}
	s.findWithin(s.lead, "", 0)
	if s.envelope == envelopePlain {
		s.hoist()
	}
	var once []string
	for _, name := range slices.Sorted(maps.Keys(s.types)) {
		if s.types[name].count == 1 {
			once = append(once, name)
		}
	}
	if len(once) > 0 && s.envelope != envelopeDebezium {
		s.doubt("of type %s there is one sample: what others may lack has to say optional: true", strings.Join(once, ", "))
	}
	for name, c := range s.columns {
		for _, doc := range s.samples {
			typ, _ := lookUp(doc, s.typ.pointer).(string)
			if t := s.types[strings.TrimSpace(typ)]; t != nil && lookUp(doc, c.property.pointer) != nil {
				t.seen[name]++
			}
		}
	}
}

// hoist takes "payload_" or "data_" away from names where nothing else has the name then.
func (s *scaffold) hoist() {
	for _, name := range slices.Sorted(maps.Keys(s.columns)) {
		for _, prefix := range []string{"payload_", "data_"} {
			if short, ok := strings.CutPrefix(name, prefix); ok && s.columns[short] == nil && identifierOf(short) == short && !s.reserved(short) {
				s.columns[short] = s.columns[name]
				delete(s.columns, name)
			}
		}
	}
}

// reserved tells whether a column cannot have the name.
func (s *scaffold) reserved(name string) bool {
	return name == view.EventsColumn || name == view.LastEventColumn || name == s.keyName() || name == "deleted" && s.envelope == envelopeDebezium
}

func (s *scaffold) keyName() string {
	return identifierOf(snake(s.entity.pointer[strings.LastIndexByte(s.entity.pointer, '/')+1:]))
}

const maxScaffoldDepth = 4

func (s *scaffold) findWithin(outer, prefix string, depth int) {
	for _, member := range s.members(outer) {
		pointer := outer + "/" + escapeToken(member)
		if s.taken[pointer] {
			continue
		}
		values := s.values(pointer)
		name := identifierOf(prefix + snake(member))
		switch shape := shapeOf(values); {
		case shape == "object" && depth < maxScaffoldDepth:
			s.findWithin(pointer, prefix+snake(member)+"_", depth+1)
		case shape == "array":
			s.addArray(pointer, name, values)
		case shape == "scalar":
			s.addScalar(pointer, name, values)
		case shape == "nothing":
			s.doubt("%s is null in every sample, so it has no column", pointer)
		default:
			s.doubt("%s has several types in the samples, so it has no column", pointer)
		}
	}
}

// shapeOf tells what the values are that are there.
func shapeOf(values []any) string {
	shape := "nothing"
	for _, v := range values {
		one := "scalar"
		switch v.(type) {
		case nil:
			continue
		case map[string]any:
			one = "object"
		case []any:
			one = "array"
		}
		if shape != "nothing" && shape != one {
			return "mixed"
		}
		shape = one
	}
	return shape
}

func (s *scaffold) add(name string, c *sampledColumn) {
	for i := 2; s.columns[name] != nil || s.reserved(name); i++ {
		name = fmt.Sprintf("%s_%d", strings.TrimRight(name, "_0123456789"), i)
	}
	s.columns[name] = c
}

func (s *scaffold) addScalar(pointer, name string, values []any) {
	cql, as, ok := inferScalar(values)
	if !ok || cql == "decimal" && slices.ContainsFunc(values, tooLong) {
		s.doubt("%s has several types in the samples, so it has no column", pointer)
		return
	}
	if unit := epochOf(values); cql == "bigint" && unit != "" {
		cql, as = "timestamp", unit
		s.doubt("%s looks like a time in %s: say type: bigint if it is a number", pointer, strings.TrimPrefix(unit, "epoch_"))
	}
	if cql == "decimal" {
		s.doubt("%s has a fraction: decimal keeps every digit, but drops zeros at its end", pointer)
	}
	s.add(name, &sampledColumn{property: property{s.source(pointer), as, cql}})
}

// tooLong tells whether a number has more digits than a decimal may have.
func tooLong(v any) bool {
	number, ok := v.(json.Number)
	if !ok {
		return false
	}
	_, _, sound := parseDecimal(number.String())
	return !sound
}

// source is where a column's value stands: what changed is told from the row after the change.
func (s *scaffold) source(pointer string) string {
	if rest, ok := strings.CutPrefix(pointer, "/row/"); ok && s.envelope == envelopeDebezium {
		return "/after/" + rest
	}
	return pointer
}

func (s *scaffold) addArray(pointer, name string, values []any) {
	var elements []any
	for _, v := range values {
		if list, ok := v.([]any); ok {
			elements = append(elements, list...)
		}
	}
	switch shapeOf(elements) {
	case "scalar":
		cql, _, ok := inferScalar(elements)
		if !ok || slices.Contains(elements, nil) || cql == "decimal" && slices.ContainsFunc(elements, tooLong) {
			s.doubt("the elements of %s have several types, so it has no column", pointer)
			return
		}
		s.doubt("%s becomes a set: elements are only ever added. If they come and go, make it a map with a boolean for each", pointer)
		s.add(name, &sampledColumn{property: property{s.source(pointer), "", "set<" + cql + ">"}})
	case "object":
		s.addObjects(pointer, name, elements, values)
	default:
		s.doubt("%s has no elements that a column could be made of", pointer)
	}
}

// addObjects proposes a map for an array of objects: by the member that tells them apart.
func (s *scaffold) addObjects(pointer, name string, elements, lists []any) {
	members := map[string]string{} // CQL type by member
	first, _ := elements[0].(map[string]any)
	for member := range first {
		var values []any
		for _, e := range elements {
			object, _ := e.(map[string]any)
			values = append(values, object[member])
		}
		if cql, _, ok := inferScalar(values); ok && !slices.Contains(values, nil) && !(cql == "decimal" && slices.ContainsFunc(values, tooLong)) {
			members[member] = cql
		}
	}
	key := ""
	for _, member := range slices.Sorted(maps.Keys(members)) {
		lower := snake(member)
		named := lower == "id" || lower == "key" || lower == "code" || strings.HasSuffix(lower, "_id")
		if named && (members[member] == "text" || members[member] == "uuid" || members[member] == "bigint") && tellsApart(member, lists) {
			key = member
			break
		}
	}
	if key == "" || len(members) < 2 {
		s.doubt("the elements of %s have no member that tells them apart, so it has no column", pointer)
		return
	}
	s.doubt("%s becomes a map by %s: entries are added and replaced, and never taken away", pointer, key)
	c := &sampledColumn{property: property{s.source(pointer), "", ""}, types: members, key: key}
	for _, member := range slices.Sorted(maps.Keys(members)) {
		if member != key {
			c.fields = append(c.fields, member)
		}
	}
	s.add(name, c)
}

// tellsApart tells whether no list has two elements with one value of a member.
func tellsApart(member string, lists []any) bool {
	for _, list := range lists {
		seen := map[any]bool{}
		elements, _ := list.([]any)
		for _, e := range elements {
			object, _ := e.(map[string]any)
			if seen[object[member]] {
				return false
			}
			seen[object[member]] = true
		}
	}
	return true
}
