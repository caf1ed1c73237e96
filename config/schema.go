package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Schema returns a JSON Schema (https://json-schema.org/draft/2020-12) of the configuration file, for editors.
//
// It may accept what [Load] refuses: bounds of durations and sizes, and what holds between keys, cannot be said in it. No
// key is required, since the environment may give it. It refuses what Load accepts in one respect: a text that looks
// like a number wants quotes, and a number none.
func Schema() ([]byte, error) {
	root := object("The configuration of Penstock. The environment goes before this file, and flags go before both.")
	root.Dialect = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "Penstock"
	for _, s := range Sections() {
		of := root
		if s.Name != "" {
			of = object(s.Doc)
			of.Type = []string{"object", "null"} // null: all its keys are commented out
			root.Properties = append(root.Properties, property{s.Name, of})
		}
		for _, k := range s.Keys {
			if k.Type == Hidden { // must not stand in the file
				continue
			}
			node, err := schemaOf(k)
			if err != nil {
				return nil, err
			}
			of.Properties = append(of.Properties, property{strings.TrimPrefix(k.Name, s.Name+"."), node})
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		return nil, fmt.Errorf("encode the schema: %w", err)
	}
	return b.Bytes(), nil
}

// schemaNode is the part of JSON Schema that is used here.
type schemaNode struct {
	Dialect     string      `json:"$schema,omitempty"`
	Title       string      `json:"title,omitempty"`
	Description string      `json:"description,omitempty"`
	Type        any         `json:"type,omitempty"` // a name or several
	Enum        []string    `json:"enum,omitempty"`
	Pattern     string      `json:"pattern,omitempty"`
	Minimum     *int        `json:"minimum,omitempty"`
	Maximum     *int        `json:"maximum,omitempty"`
	MinItems    int         `json:"minItems,omitempty"`
	Items       *schemaNode `json:"items,omitempty"`
	Default     any         `json:"default,omitempty"`
	Properties  properties  `json:"properties,omitempty"`
	Additional  *bool       `json:"additionalProperties,omitempty"`
}

type property struct {
	name string
	node *schemaNode
}

// properties is an object that keeps its order, which is the table's.
type properties []property

// MarshalJSON implements json.Marshaler.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for i, m := range p {
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0] + strconv.Quote(m.name) + ":")
		if err := e.Encode(m.node); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func object(description string) *schemaNode {
	return &schemaNode{Description: description, Type: "object", Additional: new(false)}
}

func schemaOf(k Key) (*schemaNode, error) {
	n := &schemaNode{Description: describe(k), Type: "string", Pattern: k.Rule.Pattern, Enum: k.Rule.OneOf}
	if k.Default != "" {
		n.Default = k.Default
	}
	switch k.Type {
	case Integer:
		n.Type = "integer"
		for _, bound := range []struct {
			text string
			put  func(int)
		}{
			{k.Rule.Min, func(v int) { n.Minimum = &v }},
			{k.Rule.Max, func(v int) { n.Maximum = &v }},
			{k.Default, func(v int) { n.Default = v }},
		} {
			if bound.text == "" {
				continue
			}
			v, err := strconv.Atoi(bound.text)
			if err != nil {
				return nil, fmt.Errorf("schema of %s: %w", k.Name, err)
			}
			bound.put(v)
		}
	case Duration:
		n.Pattern = `^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)([0-9.]+(ns|us|µs|μs|ms|s|m|h))*$`
	case Bytes:
		n.Pattern = `^\s*\+?[0-9]+\s*(B|KiB|MiB|GiB)$`
	case List:
		n.Type, n.MinItems, n.Pattern = "array", 1, ""
		n.Items = &schemaNode{Type: "string", Pattern: k.Rule.Pattern}
	case Text, Hidden:
	}
	return n, nil
}

// describe returns all that an editor shows of a key.
func describe(k Key) string {
	s := k.Doc
	if rule := k.Rule.String(); rule != "" {
		s += " " + sentence(rule)
	}
	if k.Required {
		s += " Required, here or as " + k.Variable() + "."
	} else {
		s += " Environment: " + k.Variable() + "."
	}
	return s
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }
