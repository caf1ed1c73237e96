package view

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kind is the closed set of CQL types a view may use.
type Kind uint8

const (
	KindBoolean Kind = iota + 1
	KindInt
	KindBigint
	KindText
	KindTimestamp
	KindUUID
	KindDecimal
	KindTuple
	KindUser
	KindSet
	KindMap
)

// Type is the CQL type of a column, a key, a field or an element. Tuples and user-defined types are always frozen;
// sets and maps never are, so that each of their entries is a cell of its own.
type Type struct {
	kind   Kind
	name   string // of a user-defined type, without the generation
	shared bool   // a user-defined type that stands in every generation
	fields []Field
	key    *Type // of a map
	elem   *Type // of a map or set
}

// Field is a field of a user-defined type. The fields of a tuple have no names.
type Field struct {
	Name string
	Type Type
}

// The scalar types.
var (
	Boolean   = Type{kind: KindBoolean}
	Int       = Type{kind: KindInt}
	Bigint    = Type{kind: KindBigint}
	Text      = Type{kind: KindText}
	Timestamp = Type{kind: KindTimestamp}
	UUID      = Type{kind: KindUUID}
	Decimal   = Type{kind: KindDecimal}
)

// TupleOf is a frozen tuple, for use within another type: a column of its own cannot be one.
func TupleOf(types ...Type) Type {
	t := Type{kind: KindTuple}
	for _, f := range types {
		t.fields = append(t.fields, Field{Type: f})
	}
	return t
}

// UserType is a frozen user-defined type of one generation: its name gets the generation's suffix like a table's.
func UserType(name string, fields ...Field) Type {
	return Type{kind: KindUser, name: name, fields: fields}
}

// SharedUserType is a frozen user-defined type that all generations share.
func SharedUserType(name string, fields ...Field) Type {
	return Type{kind: KindUser, name: name, fields: fields, shared: true}
}

// SetOf is a set whose elements are cells of their own.
func SetOf(elem Type) Type { return Type{kind: KindSet, elem: &elem} }

// MapOf is a map whose entries are cells of their own.
func MapOf(key, elem Type) Type { return Type{kind: KindMap, key: &key, elem: &elem} }

// Kind returns the type's kind.
func (t Type) Kind() Kind { return t.kind }

// Fields returns the fields of a tuple or user-defined type, in order.
func (t Type) Fields() []Field { return slices.Clone(t.fields) }

// Key returns the type of a map's keys; t must be a map.
func (t Type) Key() Type { return *t.key }

// Elem returns the type of a map's values or a set's elements; t must be a map or a set.
func (t Type) Elem() Type { return *t.elem }

// IsCollection tells whether each entry of a column of this type is a cell of its own.
func (t Type) IsCollection() bool { return t.kind == KindSet || t.kind == KindMap }

// UserName returns the name of a user-defined type in generation g.
func (t Type) UserName(g Generation) string {
	if t.shared {
		return t.name
	}
	return t.name + g.Suffix()
}

// CQL returns the type as CQL spells it, in generation g.
func (t Type) CQL(g Generation) string { return t.cql(func(u Type) string { return u.UserName(g) }) }

// String returns the type as CQL spells it, without a generation.
func (t Type) String() string { return t.cql(func(u Type) string { return u.name }) }

func (t Type) cql(user func(Type) string) string {
	switch t.kind {
	case KindBoolean:
		return "boolean"
	case KindInt:
		return "int"
	case KindBigint:
		return "bigint"
	case KindText:
		return "text"
	case KindTimestamp:
		return "timestamp"
	case KindUUID:
		return "uuid"
	case KindDecimal:
		return "decimal"
	case KindTuple:
		parts := make([]string, len(t.fields))
		for i, f := range t.fields {
			parts[i] = f.Type.cql(user)
		}
		return "frozen<tuple<" + strings.Join(parts, ", ") + ">>"
	case KindUser:
		return "frozen<" + user(t) + ">"
	case KindSet:
		return "set<" + t.elem.cql(user) + ">"
	case KindMap:
		return "map<" + t.key.cql(user) + ", " + t.elem.cql(user) + ">"
	}
	return "invalid"
}

// UserTypes returns the user-defined types that t is made of, each after those it contains.
func (t Type) UserTypes() []Type {
	var out []Type
	for _, f := range t.fields {
		out = append(out, f.Type.UserTypes()...)
	}
	if t.key != nil {
		out = append(out, t.key.UserTypes()...)
	}
	if t.elem != nil {
		out = append(out, t.elem.UserTypes()...)
	}
	if t.kind == KindUser {
		out = append(out, t)
	}
	return out
}

func (t Type) check() error {
	switch t.kind {
	case KindBoolean, KindInt, KindBigint, KindText, KindTimestamp, KindUUID, KindDecimal:
		return nil
	case KindSet:
		return t.elem.checkNested()
	case KindMap:
		return errors.Join(t.key.checkNested(), t.elem.checkNested())
	case KindTuple, KindUser:
		if len(t.fields) == 0 {
			return fmt.Errorf("type %s: must have fields", t)
		}
		if t.kind == KindUser && !identifier.MatchString(t.name) {
			return fmt.Errorf("type %q: name must match %s", t.name, identifier)
		}
		for i, f := range t.fields {
			if t.kind == KindUser && !identifier.MatchString(f.Name) {
				return fmt.Errorf("type %s: field %q: name must match %s", t, f.Name, identifier)
			}
			if t.kind == KindUser && slices.ContainsFunc(t.fields[:i], func(other Field) bool { return other.Name == f.Name }) {
				return fmt.Errorf("type %s: field %s: stands twice", t, f.Name)
			}
			if err := f.Type.checkNested(); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("type of kind %d is none of this package's", t.kind)
}

// checkNested refuses collections inside other types: their entries would have no stamps of their own.
func (t Type) checkNested() error {
	if t.IsCollection() {
		return fmt.Errorf("type %s: a collection cannot stand inside another type", t)
	}
	return t.check()
}
