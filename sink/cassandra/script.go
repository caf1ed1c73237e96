package cassandra

import (
	"fmt"
	"strconv"
	"strings"

	"penstock/view"
)

// Script returns what Setup would execute, as statements that can be pasted: those of [Statements], then the
// registration of the view's revision, which changes nothing where a revision is registered.
func Script(keyspace, datacenter string, replicationFactor int, v view.View, g view.Generation) []string {
	generation, revision, name := strconv.Itoa(int(g)), literal(v.Revision()), literal(v.Name())
	revisions := fmt.Sprintf("{%s: %s}", generation, revision)
	return append(Statements(keyspace, datacenter, replicationFactor, v, g),
		filled(fmt.Sprintf(insertStateCQL, keyspace), name, generation, revisions),
		filled(fmt.Sprintf(addRevisionCQL, keyspace), generation, revision, name, generation))
}

// filled puts literals in the places of a statement's markers.
func filled(cql string, literals ...string) string {
	for _, l := range literals {
		cql = strings.Replace(cql, "?", l, 1)
	}
	return cql
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
