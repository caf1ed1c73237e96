package viewfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"penstock/view"
)

// The canonical text of a file says the same as the file and is read by the same loader. It has no comments; names
// stand in the order of their bytes except where the order means something (key columns, fields of a type, places of the
// entity, rules of a column, checks); every default is written out; text is in double quotes; event types that shared
// their rules have them each; types that no column has, and the reasons under bounded, are left out, since they change
// nothing that is written.

// canonical returns the canonical text.
func (d *definition) canonical() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "view: %s\n", quote(d.view))
	b.WriteString("event:\n")
	for _, line := range d.event.canonical() {
		b.WriteString("  " + line + "\n")
	}
	if types := d.userTypes(); len(types) > 0 {
		b.WriteString("types:\n")
		for _, t := range types {
			fmt.Fprintf(&b, "  %s: %s\n", quote(userName(t)), canonicalType(t))
		}
	}
	b.WriteString("tables:\n")
	for _, t := range d.tables {
		t.appendCanonical(&b)
	}
	b.WriteString("on:\n")
	for _, t := range d.types {
		t.appendCanonical(&b)
	}
	if d.others != "" {
		fmt.Fprintf(&b, "others: %s\n", quote(d.others))
	}
	return []byte(b.String())
}

// userTypes returns the user-defined types that tables have, by name.
func (d *definition) userTypes() []view.Type {
	byName := map[string]view.Type{}
	add := func(t view.Type) {
		for _, u := range t.UserTypes() {
			byName[u.String()] = u
		}
	}
	for _, t := range d.tables {
		for _, k := range t.table.Keys() {
			add(k.Type)
		}
		for _, c := range t.table.Columns {
			add(c.Type)
		}
	}
	var out []view.Type
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[name])
	}
	return out
}

// userName is the name under which a user-defined type is declared.
func userName(t view.Type) string {
	return strings.TrimSuffix(strings.TrimPrefix(t.String(), "frozen<"), ">")
}

func canonicalType(t view.Type) string {
	var fields []string
	for _, f := range t.Fields() {
		fields = append(fields, quote(f.Name)+": "+quote(f.Type.String()))
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

func (e *eventDefinition) canonical() []string {
	lines := []string{"envelope: " + quote(e.envelope)}
	if e.tombstones != "" {
		lines = append(lines, "tombstones: "+quote(e.tombstones))
	}
	add := func(name string, v *value) {
		if v != nil {
			lines = append(lines, name+": "+v.canonical())
		}
	}
	add("id", e.id)
	add("type", e.typ)
	if e.schemaInType {
		lines = append(lines, "schema_version: "+quote(schemaSuffix))
	}
	add("schema_version", e.schema)
	add("version", e.version)
	add("time", e.time)
	add("birth", e.birth)
	lines = append(lines, "entity: "+canonicalList(e.entity))
	if len(e.attributes) > 0 {
		lines = append(lines, "attributes: "+canonicalNamed(sortedNamed(e.attributes)))
	}
	add("traceparent", e.trace)
	return lines
}

func sortedNamed(values []namedValue) []namedValue {
	sorted := slices.Clone(values)
	slices.SortFunc(sorted, func(a, b namedValue) int { return strings.Compare(a.name, b.name) })
	return sorted
}

func canonicalNamed(values []namedValue) string {
	var parts []string
	for _, v := range values {
		parts = append(parts, quote(v.name)+": "+v.value.canonical())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func canonicalList(values []*value) string {
	var parts []string
	for _, v := range values {
		parts = append(parts, v.canonical())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (t *tableDefinition) appendCanonical(b *strings.Builder) {
	fmt.Fprintf(b, "  %s:\n", quote(t.table.Name))
	b.WriteString("    partition:\n")
	for i, k := range t.table.Partition {
		fmt.Fprintf(b, "      %s: %s\n", quote(k.Name), t.keys[i].canonical(k))
	}
	if len(t.table.Clustering) > 0 {
		b.WriteString("    clustering:\n")
		for i, k := range t.table.Clustering {
			fmt.Fprintf(b, "      %s: %s\n", quote(k.Name), t.keys[len(t.table.Partition)+i].canonical(k))
		}
	}
	provenance := "all"
	if t.table.Provenance == view.ProvenanceLast {
		provenance = "last"
	}
	fmt.Fprintf(b, "    provenance: %s\n", quote(provenance))
	if len(t.table.Columns) > 0 {
		b.WriteString("    columns:\n")
		for _, c := range t.table.Columns {
			fmt.Fprintf(b, "      %s: %s\n", quote(c.Name), canonicalColumn(c))
		}
	}
}

func canonicalColumn(c view.Column) string {
	return fmt.Sprintf("{type: %s, class: %s}", quote(c.Type.String()), quote(className(c.Class)))
}

func className(c view.Class) string {
	if c == view.WriteOnce {
		return "write_once"
	}
	return "revisable"
}

func (k keyDefinition) canonical(column view.KeyColumn) string {
	parts := []string{"type: " + quote(column.Type.String())}
	if column.Descending {
		parts = append(parts, `order: "desc"`)
	}
	if k.path != nil {
		parts = append(parts, k.path.parts()...)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (t *typeDefinition) appendCanonical(b *strings.Builder) {
	if t.ignored {
		fmt.Fprintf(b, "  %s: %s\n", quote(t.name), quote(ignored))
		return
	}
	fmt.Fprintf(b, "  %s:\n", quote(t.name))
	if t.entity != nil {
		fmt.Fprintf(b, "    entity: %s\n", canonicalList(t.entity))
	}
	if len(t.checks) > 0 {
		b.WriteString("    check:\n")
		for _, c := range t.checks {
			fmt.Fprintf(b, "      - {type: %s, %s}\n", quote(c.typ.String()), strings.Join(c.parts(), ", "))
		}
	}
	for _, w := range t.writes {
		w.appendCanonical(b)
	}
	if len(t.demanded) > 0 { // of a definition that is compared and never loaded
		fmt.Fprintf(b, "    demanded: %s\n", strings.Join(t.demanded, ", "))
	}
}

func (w *writeDefinition) appendCanonical(b *strings.Builder) {
	fmt.Fprintf(b, "    %s:\n", quote(w.table.table.Name))
	if keys := w.overrides(); len(keys) > 0 {
		fmt.Fprintf(b, "      key: %s\n", canonicalNamed(keys))
	}
	if w.when != nil {
		fmt.Fprintf(b, "      when: %s\n", w.when.canonical())
	}
	if len(w.sets) == 0 {
		b.WriteString("      set: {}\n")
		return
	}
	b.WriteString("      set:\n")
	for _, s := range w.sets {
		fmt.Fprintf(b, "        %s: %s\n", quote(s.column.Name), s.canonical())
	}
}

// overrides returns the keys that a write says itself, by name, without those that say what the table says anyway.
func (w *writeDefinition) overrides() []namedValue {
	var out []namedValue
	for i, k := range w.table.table.Keys() {
		v := w.keys[k.Name]
		if v != nil && (w.table.keys[i].path == nil || w.table.keys[i].path.canonical() != v.canonical()) {
			out = append(out, namedValue{k.Name, v})
		}
	}
	return sortedNamed(out)
}

func (s *setDefinition) canonical() string {
	var parts []string
	for _, r := range s.rules {
		parts = append(parts, r.canonical(s.column.Type.Kind()))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (r *rule) canonical(kind view.Kind) string {
	if kind != view.KindSet && kind != view.KindMap {
		return r.value.canonical()
	}
	var parts []string
	if r.each != nil {
		parts = append(parts, "each: "+quote(r.each.text))
	}
	if kind == view.KindSet {
		parts = append(parts, "add: "+r.value.canonical())
	} else {
		parts = append(parts, fmt.Sprintf("entry: {key: %s, value: %s}", r.key.canonical(), r.value.canonical()))
	}
	if r.optional {
		parts = append(parts, "optional: true")
	}
	if r.when != nil {
		parts = append(parts, "when: "+r.when.canonical())
	}
	if r.minItems > 0 {
		parts = append(parts, fmt.Sprintf("require: {min_items: %d}", r.minItems))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// canonical writes a value: its pointer alone where that says everything.
func (v *value) canonical() string {
	parts := v.parts()
	if v.path != nil && len(parts) == 1 {
		return quote(v.path.text)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (v *value) parts() []string {
	var parts []string
	add := func(key, text string) { parts = append(parts, key+": "+text) }
	if v.each != nil {
		add("each", quote(v.each.text))
	}
	if v.path != nil {
		add("path", quote(v.path.text))
	}
	if v.constant != nil {
		add("const", v.constant.text)
	}
	if v.fields != nil && v.typ.Kind() == view.KindTuple {
		var inner []*value
		for _, f := range v.fields {
			inner = append(inner, f.value)
		}
		add("fields", canonicalList(inner))
	} else if v.fields != nil {
		add("fields", canonicalNamed(v.fields))
	}
	if v.sum != nil {
		add("sum", canonicalList(v.sum))
	}
	if v.path != nil && v.fields == nil && v.as != defaultForm(v.source()) {
		add("as", quote(v.as))
	}
	if v.take != "" {
		add("take", quote(v.take))
	}
	if v.letters != "" {
		add("case", quote(v.letters))
	}
	if v.ofEvent {
		add("of", `"event"`)
	}
	if v.optional {
		add("optional", "true")
	}
	if v.when != nil {
		add("when", v.when.canonical())
	}
	if v.require != nil {
		add("require", v.require.canonical())
	}
	if v.minItems > 0 {
		add("min_items", strconv.Itoa(v.minItems))
	}
	return parts
}

// source is the type of what stands at the path, of which take may take a part.
func (v *value) source() view.Type {
	if v.take != "" {
		return view.Timestamp
	}
	return v.typ
}

func (c *condition) canonical() string {
	parts := []string{"path: " + quote(c.path.text)}
	if c.ofEvent {
		parts = append(parts, `of: "event"`)
	}
	if c.equals != nil {
		parts = append(parts, "equals: "+c.equals.text)
	} else {
		parts = append(parts, fmt.Sprintf("present: %t", c.present))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (r *requirement) canonical() string {
	var parts []string
	if r.min != nil {
		parts = append(parts, "min: "+r.min.text)
	}
	if r.max != nil {
		parts = append(parts, "max: "+r.max.text)
	}
	if r.minLength != nil {
		parts = append(parts, fmt.Sprintf("min_length: %d", *r.minLength))
	}
	if r.maxLength != nil {
		parts = append(parts, fmt.Sprintf("max_length: %d", *r.maxLength))
	}
	if r.letters != "" {
		parts = append(parts, "letters: "+quote(r.letters))
	}
	if r.notAfterArrival != nil {
		parts = append(parts, "not_after_arrival: "+quote(r.notAfterArrival.String()))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
