package viewfile

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"penstock/view"
)

// The ways in which a value may stand in the JSON, the default of its type first.
var forms = map[view.Kind][]string{
	view.KindText:      {"string", "integer"},
	view.KindInt:       {"integer", "string"},
	view.KindBigint:    {"integer", "string"},
	view.KindDecimal:   {"number", "string"},
	view.KindBoolean:   {"boolean"},
	view.KindUUID:      {"string"},
	view.KindTimestamp: {"rfc3339", "epoch_s", "epoch_ms", "epoch_us"},
}

var valueKeys = []string{"path", "const", "fields", "sum", "each", "as", "take", "case", "of", "optional", "when", "require"}

// use says what a value is for, and so what it may say.
type use struct {
	inEach   bool     // its pointers begin at the element of an array
	required bool     // it can be neither optional nor conditional
	why      string   // required: the reason
	pathOnly bool     // it must be a path
	each     bool     // it may go through the elements of an array
	others   []string // keys beside those of a value
}

var (
	useColumn = use{}
	useKey    = use{required: true, why: "a row without its whole key is no row"}
	useField  = use{required: true, why: "a frozen value is written as a whole, and a field of it cannot be left alone"}
	useEvent  = use{required: true, pathOnly: true, why: "every event has it"}
)

// readValue reads a value of typ: a JSON Pointer, or a mapping. It returns nil for what it refuses.
func (l *loader) readValue(n *yaml.Node, where string, typ view.Type, u use) *value {
	v := &value{at: at(n, where), typ: typ}
	if n.Kind == yaml.ScalarNode {
		if v.path = l.readPointer(n, where, u.inEach); v.path == nil {
			return nil
		}
		if typ.Kind() == view.KindTuple || typ.Kind() == view.KindUser {
			l.refuse(v.at, typ.String()+" is made of fields", "write {fields: …} with a pointer for each field")
			return nil
		}
		v.as = defaultForm(typ)
		return v
	}
	o := l.object(n, where, slices.Concat(valueKeys, u.others)...)
	if !o.ok {
		return nil
	}
	if !l.readSource(&o, v, u) || !l.readForm(&o, v) {
		return nil
	}
	u.inEach = u.inEach || v.each != nil && v.sum == nil
	if node := o.get("of"); node != nil {
		if word, ok := l.oneOf(node, o.where("of"), "event"); !ok {
			return nil
		} else if v.ofEvent = word == "event"; !u.inEach || v.path == nil {
			l.refuse(at(node, o.where("of")), "of stands beside a path within each", "leave it out: pointers begin at the event anyway")
			return nil
		}
	}
	return l.readConditions(&o, v, u)
}

func defaultForm(typ view.Type) string {
	if f := forms[typ.Kind()]; f != nil {
		return f[0]
	}
	return ""
}

func (l *loader) readPointer(n *yaml.Node, where string, inEach bool) *pointer {
	const want = "write a JSON Pointer such as /data/name, or a mapping such as {path: /data/name}"
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		l.refuse(at(n, where), "must be a JSON Pointer, is "+describeNode(n), want)
		return nil
	}
	p, err := parsePointer(n.Value)
	switch {
	case err != nil:
		l.refuse(at(n, where), err.Error(), want)
		return nil
	case p.text == "" && !inEach:
		l.refuse(at(n, where), "the pointer is empty, which is the whole event", want)
		return nil
	}
	return p
}

// readSource reads what a value is made of.
func (l *loader) readSource(o *object, v *value, u use) bool {
	path, constant, fields, sum, each := o.get("path"), o.get("const"), o.get("fields"), o.get("sum"), o.get("each")
	sources := 0
	for _, n := range []*yaml.Node{constant, fields, sum} {
		if n != nil {
			sources++
		}
	}
	switch {
	case sources > 1 || sources == 1 && path != nil && fields == nil:
		l.refuse(o.at, "a value has one source", "keep one of path, const, fields, sum")
	case sources == 0 && path == nil:
		if slices.Contains(u.others, "type") {
			return l.withoutSource(o)
		}
		l.refuse(o.at, "the value has no source", "add path: /pointer")
	case u.pathOnly && path == nil:
		l.refuse(o.at, "must come from the event", "add path: /pointer")
	case each != nil && sum == nil && !u.each:
		l.refuse(o.at, "each makes entries of a map or elements of a set, and this is "+v.typ.String(), "leave each out, or make it a sum")
	case constant != nil:
		v.constant = l.readConstant(constant, o.where("const"), v.typ)
		return v.constant != nil
	case sum != nil:
		return l.readSum(o, v, each, sum, u)
	case fields != nil:
		return l.readFields(o, v, path, fields, u)
	case v.typ.Kind() == view.KindTuple || v.typ.Kind() == view.KindUser:
		l.refuse(o.at, v.typ.String()+" is made of fields", "write {fields: …} with a pointer for each field")
	default:
		if each != nil {
			if v.each = l.readPointer(each, o.where("each"), false); v.each == nil {
				return false
			}
		}
		v.path = l.readPointer(path, o.where("path"), u.inEach || each != nil)
		return v.path != nil
	}
	return false
}

// withoutSource accepts a key column that only says its type, and nothing about a value that it does not have.
func (l *loader) withoutSource(o *object) bool {
	for _, key := range valueKeys {
		if o.get(key) != nil {
			l.refuse(o.at, key+" stands beside a path", "add path: /pointer, or say it where the path is said")
			return false
		}
	}
	return true
}

func (l *loader) readFields(o *object, v *value, path, fields *yaml.Node, u use) bool {
	where := o.where("fields")
	inner := useField
	inner.inEach = u.inEach
	if path != nil {
		if v.path = l.readPointer(path, o.where("path"), u.inEach); v.path == nil {
			return false
		}
		inner.inEach = true
	}
	declared := v.typ.Fields()
	switch v.typ.Kind() {
	case view.KindTuple:
		if fields.Kind != yaml.SequenceNode || len(fields.Content) != len(declared) {
			l.refuse(at(fields, where), fmt.Sprintf("must be a list of %d values, as %s has", len(declared), v.typ), "write fields: [/a, /b]")
			return false
		}
		for i, n := range fields.Content {
			f := l.readValue(n, fmt.Sprintf("%s.%d", where, i), declared[i].Type, inner)
			if f == nil {
				return false
			}
			v.fields = append(v.fields, namedValue{"", f})
		}
		return true
	case view.KindUser:
		names := make([]string, len(declared))
		for i, f := range declared {
			names[i] = f.Name
		}
		of := l.object(fields, where, names...)
		for _, f := range declared {
			n := of.need(f.Name, "a frozen value is written as a whole: add "+f.Name+": /pointer")
			if n == nil {
				return false
			}
			inside := l.readValue(n, of.where(f.Name), f.Type, inner)
			if inside == nil {
				return false
			}
			v.fields = append(v.fields, namedValue{f.Name, inside})
		}
		return of.ok
	default:
		l.refuse(at(fields, where), "fields make a user-defined type or a tuple, and this is "+v.typ.String(), "use path")
		return false
	}
}

func (l *loader) readSum(o *object, v *value, each, sum *yaml.Node, u use) bool {
	where := o.where("sum")
	switch {
	case v.typ.Kind() != view.KindInt && v.typ.Kind() != view.KindBigint:
		l.refuse(at(sum, where), "a sum is an int or a bigint, and this is "+v.typ.String(), "change the type of the column, or use path")
		return false
	case each == nil:
		l.refuse(o.at, "a sum goes through the elements of an array", "add each: /pointer to the array")
		return false
	case u.inEach:
		l.refuse(o.at, "each cannot stand within each", "make the inner array a table of its own, by events of its own")
		return false
	case sum.Kind != yaml.SequenceNode || len(sum.Content) == 0 || len(sum.Content) > 4:
		l.refuse(at(sum, where), "must be a list of 1 to 4 factors, is "+describeNode(sum), "write sum: [/quantity, /price]")
		return false
	}
	if v.each = l.readPointer(each, o.where("each"), false); v.each == nil {
		return false
	}
	factor := use{inEach: true, required: true, why: "a sum that leaves something out is wrong"}
	for i, n := range sum.Content {
		f := l.readValue(n, fmt.Sprintf("%s.%d", where, i), view.Bigint, factor)
		if f == nil {
			return false
		}
		if f.path == nil {
			l.refuse(f.at, "a factor comes from the array's elements", "write its pointer within an element")
			return false
		}
		v.sum = append(v.sum, f)
	}
	return true
}

// readForm reads how a value stands in the JSON and what is taken of it.
func (l *loader) readForm(o *object, v *value) bool {
	as, take, letters := o.get("as"), o.get("take"), o.get("case")
	if v.path == nil || len(v.fields) > 0 {
		for name, n := range map[string]*yaml.Node{"as": as, "take": take, "case": letters} {
			if n != nil {
				l.refuse(at(n, o.where(name)), name+" says how the value at a path is read", "leave it out")
				return false
			}
		}
		return true
	}
	source := v.typ
	if take != nil {
		if v.typ.Kind() != view.KindInt {
			l.refuse(at(take, o.where("take")), "a year or month is an int, and this is "+v.typ.String(), "make the column an int")
			return false
		}
		source = view.Timestamp
		var ok bool
		if v.take, ok = l.oneOf(take, o.where("take"), "year", "month"); !ok {
			return false
		}
	}
	v.as = defaultForm(source)
	if as != nil {
		var ok bool
		if v.as, ok = l.oneOf(as, o.where("as"), forms[source.Kind()]...); !ok {
			return false
		}
	}
	if letters != nil {
		if source.Kind() != view.KindText || v.as != "string" {
			l.refuse(at(letters, o.where("case")), "only text has upper and lower case, and this is "+v.typ.String(), "leave case out")
			return false
		}
		var ok bool
		if v.letters, ok = l.oneOf(letters, o.where("case"), "upper", "lower"); !ok {
			return false
		}
	}
	return true
}
