package viewfile

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// write spells the proposal.
func (s *scaffold) write() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Proposed from %d sample events. Lines that begin with \"# ?\" say what to decide.\n", len(s.samples))
	for _, doubt := range s.unsure {
		b.WriteString("# ? " + strings.Map(printable, doubt) + "\n")
	}
	fmt.Fprintf(&b, "\nview: %s\n\nevent:\n  envelope: %s\n", s.name, s.envelope)
	line := func(key string, p *property) {
		if p != nil && p.pointer != wellKnown[s.envelope][key] {
			fmt.Fprintf(&b, "  %s: %s\n", key, p)
		}
	}
	if s.envelope == envelopeDebezium {
		b.WriteString("  tombstones: ignore\n")
	}
	line("id", s.id)
	line("type", s.typ)
	line("version", s.version)
	line("time", s.time)
	fmt.Fprintf(&b, "  entity: [%s]\n", quotePointer(s.entity.pointer))
	s.writeTypes(&b)
	table := s.name + "_by_id"
	as := ""
	if s.entity.as != "" {
		as = ", as: " + s.entity.as
	}
	fmt.Fprintf(&b, "\ntables:\n  %s:\n    partition:\n      %s: {type: %s, path: %s%s}\n    provenance: last\n    columns:\n",
		table, s.keyName(), s.entity.cql, quotePointer(s.entity.pointer), as)
	for _, name := range slices.Sorted(maps.Keys(s.columns)) {
		fmt.Fprintf(&b, "      %s: {type: %s, class: %s}\n", name, s.typeName(name), s.className(name))
	}
	if s.envelope == envelopeDebezium {
		b.WriteString("      deleted: {type: boolean, class: revisable}\n")
	} else if len(s.columns) == 0 {
		b.WriteString("      {}\n")
	}
	b.WriteString("\non:\n")
	if s.envelope == envelopeDebezium {
		s.writeChanges(&b, table)
		return []byte(b.String())
	}
	for _, name := range slices.Sorted(maps.Keys(s.types)) {
		fmt.Fprintf(&b, "  %s:\n    %s:\n      set:\n", keyText(name), table)
		t := s.types[name]
		set := 0
		for _, column := range slices.Sorted(maps.Keys(s.columns)) {
			if t.seen[column] > 0 {
				fmt.Fprintf(&b, "        %s: %s\n", column, s.rule(column, t.seen[column] < t.count))
				set++
			}
		}
		if set == 0 {
			b.WriteString("        {}\n")
		}
	}
	return []byte(b.String())
}

// printable keeps a comment in its line.
func printable(r rune) rune {
	if r < 0x20 || r >= math.MaxInt8 {
		return '.'
	}
	return r
}

// keyText quotes a type where YAML would read it as something else.
func keyText(name string) string {
	if identifierOf(strings.ReplaceAll(name, ".", "_")) == strings.ReplaceAll(name, ".", "_") &&
		!slices.Contains([]string{"null", "true", "false"}, name) {
		return name
	}
	return quote(name)
}

func (s *scaffold) writeTypes(b *strings.Builder) {
	written := false
	for _, name := range slices.Sorted(maps.Keys(s.columns)) {
		c := s.columns[name]
		if len(c.fields) < 2 {
			continue
		}
		if !written {
			b.WriteString("\ntypes:\n")
			written = true
		}
		var fields []string
		for i, f := range c.fields {
			fields = append(fields, c.fieldName(i)+": "+c.types[f])
		}
		fmt.Fprintf(b, "  %s_entry: {%s}\n", name, strings.Join(fields, ", "))
	}
}

// fieldName is the name of a field, which no other field of the type has.
func (c *sampledColumn) fieldName(i int) string {
	name := identifierOf(snake(c.fields[i]))
	for j := range i {
		if c.fieldName(j) == name {
			return fmt.Sprintf("%s_%d", name, i+1)
		}
	}
	return name
}

func (s *scaffold) typeName(name string) string {
	c := s.columns[name]
	switch {
	case c.key == "":
		return quoteType(c.property.cql)
	case len(c.fields) == 1:
		return quoteType("map<" + c.types[c.key] + ", " + c.types[c.fields[0]] + ">")
	}
	return quoteType("map<" + c.types[c.key] + ", frozen<" + name + "_entry>>")
}

func quoteType(cql string) string {
	if strings.ContainsRune(cql, ',') {
		return quote(cql)
	}
	return cql
}

func (s *scaffold) className(name string) string {
	if strings.HasPrefix(s.columns[name].property.cql, "set<") {
		return "write_once"
	}
	return "revisable"
}

// rule spells what sets a column.
func (s *scaffold) rule(name string, optional bool) string {
	c := s.columns[name]
	more := ""
	if optional {
		more = ", optional: true"
	}
	path := quotePointer(c.property.pointer)
	within := func(member string) string { return quotePointer("/" + escapeToken(member)) }
	switch {
	case c.key != "" && len(c.fields) == 1:
		return fmt.Sprintf("{each: %s%s, entry: {key: %s, value: %s}}", path, more, within(c.key), within(c.fields[0]))
	case c.key != "":
		var fields []string
		for i, f := range c.fields {
			fields = append(fields, c.fieldName(i)+": "+within(f))
		}
		return fmt.Sprintf("{each: %s%s, entry: {key: %s, value: {fields: {%s}}}}", path, more, within(c.key), strings.Join(fields, ", "))
	case strings.HasPrefix(c.property.cql, "set<"):
		return fmt.Sprintf("{each: %s%s, add: \"\"}", path, more)
	case c.property.as == "" && !optional:
		return path
	case c.property.as == "":
		return fmt.Sprintf("{path: %s%s}", path, more)
	}
	return fmt.Sprintf("{path: %s, as: %s%s}", path, c.property.as, more)
}

// writeChanges spells the rules of a change feed, whose types are known.
func (s *scaffold) writeChanges(b *strings.Builder, table string) {
	fmt.Fprintf(b, "  c, u, r:\n    %s:\n      set:\n", table)
	for _, column := range slices.Sorted(maps.Keys(s.columns)) {
		missing := false
		for _, doc := range s.samples {
			missing = missing || doc["after"] != nil && lookUp(doc, s.columns[column].property.pointer) == nil
		}
		fmt.Fprintf(b, "        %s: %s\n", column, s.rule(column, missing))
	}
	fmt.Fprintf(b, "        deleted: {const: false}\n  d:\n    %s:\n      set:\n        deleted: {const: true}\n", table)
}
