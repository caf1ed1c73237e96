package cassandra

import (
	"fmt"
	"strconv"
	"strings"

	"penstock/view"
)

// Script returns what Setup would execute, as statements that can be pasted: those of [Statements]; what adds columns to
// tables that an earlier release or an earlier definition made; then the registration of the view's revision. None changes
// what stands already. That columns were added is recorded by Setup alone: which of them were depends on what the
// generation was registered with.
func Script(keyspace, datacenter string, replicationFactor int, v view.View, g view.Generation) []string {
	out := append(Statements(keyspace, datacenter, replicationFactor, v, g),
		fmt.Sprintf(addColumnsCQL, keyspace, viewState, laterStateColumns))
	generation, revision, name := strconv.Itoa(int(g)), literal(v.Revision()), literal(v.Name())
	revisions := fmt.Sprintf("{%s: %s}", generation, revision)
	registration := []string{
		filled(fmt.Sprintf(insertStateCQL, keyspace), name, generation, revisions),
		filled(fmt.Sprintf(addRevisionCQL, keyspace), generation, revision, name, generation),
	}
	if e, extensible := v.(view.Extensible); extensible {
		for _, t := range v.Tables() {
			if len(t.Columns) > 0 {
				out = append(out, addColumns(keyspace, t.Name+g.Suffix(), g, t.Columns))
			}
		}
		registration = append(registration, filled(fmt.Sprintf(addDefinitionCQL, keyspace),
			generation, literal(string(e.Definition())), name, generation, revision, generation))
	}
	return append(out, registration...)
}

// filled puts literals in the places of a statement's markers. A literal may hold what looks like one.
func filled(cql string, literals ...string) string {
	var b strings.Builder
	for i, part := range strings.Split(cql, "?") {
		if i > 0 {
			b.WriteString(literals[i-1])
		}
		b.WriteString(part)
	}
	return b.String()
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
