package viewfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"penstock/view"
)

// userType is a type declared in the file.
type userType struct {
	at    place
	node  *yaml.Node
	typ   view.Type
	state int // of the reading: not yet, now, done
	used  bool
}

const (
	typeUnread = iota
	typeBeingRead
	typeRead
)

var scalars = map[string]view.Type{
	"boolean": view.Boolean, "int": view.Int, "bigint": view.Bigint, "text": view.Text,
	"timestamp": view.Timestamp, "uuid": view.UUID, "decimal": view.Decimal,
}

// otherTypes are CQL's types that views do not have, with the reason or what to use instead.
var otherTypes = map[string]string{
	"ascii": "use text", "varchar": "use text", "smallint": "use int", "tinyint": "use int", "varint": "use decimal or text",
	"float": "use decimal, which has one spelling for each number", "double": "use decimal, which has one spelling for each number",
	"date": "use text or timestamp", "time": "use text", "duration": "use bigint with the unit in its name",
	"blob": "use text", "inet": "use text", "timeuuid": "use uuid", "vector": "leave it out",
}

const (
	ruleCounter = "a counter cannot be repeated: an event that is applied twice would count twice"
	ruleList    = "a list is ordered by who came first, which is another one for every order of events"
	ruleNested  = "a collection cannot stand inside another type: its entries would have no timestamps of their own"
	doCounter   = "keep the parts in a map by their id and add them up when the row is read"
	doList      = "use a map with a key from the event, or a set"
	doNested    = "flatten it: a map by both keys, such as map<frozen<tuple<text, text>>, int>, or a table of its own"
)

// readUserTypes reads the section types.
func (l *loader) readUserTypes(n *yaml.Node) {
	l.userTypes = map[string]*userType{}
	if n == nil {
		return
	}
	members, _ := l.members(n, "types", "write types as name: {field: type}")
	for _, m := range members {
		if m.name == view.EventRefType.String() || m.name == "event_ref" {
			l.refuse(m.at, "event_ref is the type of events and last_event, which are generated", "give the type another name")
			continue
		}
		l.checkIdentifier(m.name, m.at)
		l.userTypes[m.name] = &userType{at: m.at, node: m.value}
	}
	for _, name := range slices.Sorted(maps.Keys(l.userTypes)) {
		l.readUserType(name)
	}
}

func (l *loader) readUserType(name string) {
	u := l.userTypes[name]
	if u.state != typeUnread {
		return
	}
	u.state = typeBeingRead
	members, ok := l.members(u.node, u.at.where, "write the fields in their order, as name: type")
	if ok && len(members) == 0 {
		l.refuse(u.at, "a type must have at least one field", "write the fields in their order, as name: type")
	}
	var fields []view.Field
	for _, m := range members {
		l.checkIdentifier(m.name, m.at)
		if typ, ok := l.readType(m.value, m.at.where); ok {
			if typ.IsCollection() {
				l.refuse(at(m.value, m.at.where), ruleNested, doNested)
			}
			fields = append(fields, view.Field{Name: m.name, Type: typ})
		}
	}
	u.typ, u.state = view.UserType(name, fields...), typeRead
}

// checkIdentifier refuses names that Cassandra would have to fold or quote.
func (l *loader) checkIdentifier(name string, at place) {
	sound := name != "" && len(name) <= 40 && name[0] >= 'a' && name[0] <= 'z'
	for i := range len(name) {
		c := name[i]
		sound = sound && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_')
	}
	if !sound {
		l.refuse(at, fmt.Sprintf("%q is no name: must be 1 to 40 lower-case letters, digits and underscores, a letter first", short(name)),
			"rename it")
	}
}

// readType reads a CQL type.
func (l *loader) readType(n *yaml.Node, where string) (view.Type, bool) {
	text, ok := l.text(n, where, "write a CQL type such as text or map<text, bigint>")
	if !ok {
		return view.Type{}, false
	}
	p := typeParser{l: l, at: at(n, where), rest: text}
	typ, ok := p.typ(0)
	if ok && strings.TrimSpace(p.rest) != "" {
		l.refuse(p.at, fmt.Sprintf("%q is no CQL type: nothing may follow %s", short(text), typ), "write one type")
		return view.Type{}, false
	}
	return typ, ok
}

// typeParser reads a CQL type from left to right.
type typeParser struct {
	l    *loader
	at   place
	rest string
}

func (p *typeParser) refuse(rule, do string) (view.Type, bool) {
	p.l.refuse(p.at, rule, do)
	return view.Type{}, false
}

func (p *typeParser) word() string {
	p.rest = strings.TrimLeft(p.rest, " ")
	i := 0
	for i < len(p.rest) && !strings.ContainsRune("<>, ", rune(p.rest[i])) {
		i++
	}
	word := p.rest[:i]
	p.rest = strings.TrimLeft(p.rest[i:], " ")
	return word
}

func (p *typeParser) next(c byte) bool {
	p.rest = strings.TrimLeft(p.rest, " ")
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// maxTypeDepth bounds how deep types stand within types.
const maxTypeDepth = 8

func (p *typeParser) typ(depth int) (view.Type, bool) {
	name := strings.ToLower(p.word())
	if depth > maxTypeDepth {
		return p.refuse("types stand too deep within types", "declare a type under types and name it")
	}
	switch name {
	case "counter":
		return p.refuse(ruleCounter, doCounter)
	case "list":
		return p.refuse(ruleList, doList)
	case "set", "map":
		return p.collection(name, depth)
	case "frozen":
		return p.frozen(depth)
	case "tuple":
		return p.refuse("a tuple is always frozen", "write frozen<tuple<…>>")
	}
	if typ, ok := scalars[name]; ok {
		return typ, true
	}
	if do, ok := otherTypes[name]; ok {
		return p.refuse("views have no type "+name, do)
	}
	if _, ok := p.l.userTypes[name]; ok {
		return p.refuse("a type declared under types is always frozen", "write frozen<"+name+">")
	}
	known := slices.Concat(slices.Sorted(maps.Keys(scalars)), []string{"map", "set", "frozen"})
	return p.refuse(fmt.Sprintf("%q is no CQL type%s", short(name), nearest(name, known)),
		"use one of "+strings.Join(known[:len(scalars)], ", ")+", set<…>, map<…, …>, or frozen<…> of a type under types")
}

func (p *typeParser) collection(name string, depth int) (view.Type, bool) {
	elements, ok := p.arguments(depth)
	if !ok {
		return view.Type{}, false
	}
	for _, e := range elements {
		if e.IsCollection() {
			return p.refuse(ruleNested, doNested)
		}
	}
	switch {
	case name == "set" && len(elements) == 1:
		return view.SetOf(elements[0]), true
	case name == "map" && len(elements) == 2:
		return view.MapOf(elements[0], elements[1]), true
	}
	return p.refuse(fmt.Sprintf("a %s of %d types: must be set<type> or map<type, type>", name, len(elements)), "write set<text> or map<text, bigint>")
}

// arguments reads the types between < and >.
func (p *typeParser) arguments(depth int) ([]view.Type, bool) {
	if !p.next('<') {
		p.refuse("a < is missing", "write set<text>, map<text, bigint> or frozen<name>")
		return nil, false
	}
	var out []view.Type
	for {
		typ, ok := p.typ(depth + 1)
		if !ok {
			return nil, false
		}
		out = append(out, typ)
		switch {
		case p.next('>'):
			return out, true
		case !p.next(','):
			p.refuse("a > is missing", "write set<text>, map<text, bigint> or frozen<name>")
			return nil, false
		}
	}
}

func (p *typeParser) frozen(depth int) (view.Type, bool) {
	if !p.next('<') {
		return p.refuse("a < is missing", "write frozen<name>")
	}
	var typ view.Type
	name := strings.ToLower(p.word())
	switch u := p.l.userTypes[name]; {
	case name == "tuple":
		fields, ok := p.arguments(depth)
		if !ok {
			return view.Type{}, false
		}
		for _, f := range fields {
			if f.IsCollection() {
				return p.refuse(ruleNested, doNested)
			}
		}
		typ = view.TupleOf(fields...)
	case name == "set" || name == "map" || name == "list":
		return p.refuse("a frozen "+name+" is written as a whole: of two events that add to it one would be lost",
			"use "+strings.Replace(name, "list", "set", 1)+" without frozen, so that every entry is a cell of its own")
	case u == nil:
		return p.refuse(fmt.Sprintf("there is no type %q under types%s", short(name), nearest(name, slices.Sorted(maps.Keys(p.l.userTypes)))),
			"declare it under types, as "+name+": {field: type}")
	case u.state == typeBeingRead:
		return p.refuse("type "+name+" contains itself", "take the field out")
	default:
		p.l.readUserType(name)
		u.used = true
		typ = u.typ
	}
	if !p.next('>') {
		return p.refuse("a > is missing", "write frozen<name>")
	}
	return typ, true
}
