package cassandra

import (
	"fmt"
	"slices"
	"strings"

	"penstock/view"
)

// RevisionError says that a generation holds another revision of the view than this program writes.
type RevisionError struct {
	View       string
	Generation view.Generation
	Stored     string // empty: the generation is not registered
	Ours       string
	Defined    bool             // revisions of this view are computed from a definition
	Added      []view.ColumnRef // all that the view differs in, and not recorded: setup records them
	Differs    []string         // what else it differs in, each a clause; nil where nobody can tell
}

func (e *RevisionError) Error() string {
	of := fmt.Sprintf("view %s, generation %d: ", e.View, e.Generation)
	switch {
	case e.Stored == "":
		return of + "not registered in view_state: " + runSetup
	case len(e.Added) > 0:
		return of + fmt.Sprintf("holds revision %s, this program writes %s: %s: %s", e.Stored, e.Ours, e.additive(), runSetup)
	}
	return of + fmt.Sprintf("holds revision %s, this program writes %s: %stwo revisions in one table would mix with equal stamps; %s",
		e.Stored, e.Ours, e.reasons(), e.remedy())
}

// additive is the clause about columns that setup adds.
func (e *RevisionError) additive() string {
	return "additive: " + columnNames(e.Added) + " not in view_state yet"
}

// reasons are the clauses about what differs, with a colon behind them.
func (e *RevisionError) reasons() string {
	if len(e.Differs) == 0 {
		return ""
	}
	return strings.Join(e.Differs, "; ") + ": "
}

// remedy is what helps against another revision.
func (e *RevisionError) remedy() string {
	back := "run the release that has " + e.Stored
	if e.Defined {
		back = "go back to the definition of " + e.Stored + ", which view_state keeps"
	}
	return fmt.Sprintf("%s, or "+newGeneration, back, e.Generation+1)
}

// columnNames returns "column a.b" or "columns a.b, a.c".
func columnNames(columns []view.ColumnRef) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.String()
	}
	if len(names) == 1 {
		return "column " + names[0]
	}
	return "columns " + strings.Join(names, ", ")
}

// Comparer is a view that can tell in what it differs from a definition, whose language this package does not know.
type Comparer interface {
	view.Extensible
	// Compare holds the view against the definition that a generation was registered with. The columns are those that the
	// view adds, if that is all. Otherwise it returns what differs, each a clause that names it. The error says why the
	// definition cannot be read.
	Compare(definition []byte) (added []view.ColumnRef, differs []string, err error)
}

// refuse returns why v must not write generation g, or nil.
func (r registration) refuse(v view.View, g view.Generation) *RevisionError {
	refused := &RevisionError{View: v.Name(), Generation: g, Stored: r.revision, Ours: v.Revision()}
	e, extensible := v.(view.Extensible)
	refused.Defined = extensible
	switch {
	case r.revision == "":
		return refused
	case !extensible && r.revision == v.Revision():
		return nil
	case !extensible:
		return refused
	}
	if recorded := r.recorded(e, g); e.RevisionWithout(recorded) == r.revision {
		if refused.Differs = r.changed(e, g, recorded); len(refused.Differs) > 0 {
			return refused
		}
		return nil
	}
	if c, ok := v.(Comparer); ok && r.definition != "" {
		refused.Added, refused.Differs = r.compare(c, g)
	}
	return refused
}

// compare finds out in what v differs from the definition registered: in columns that nobody has recorded, or in more.
func (r registration) compare(v Comparer, g view.Generation) (unrecorded []view.ColumnRef, differs []string) {
	added, differs, err := v.Compare([]byte(r.definition))
	switch {
	case err != nil:
		return nil, []string{fmt.Sprintf("the definition in view_state cannot be compared: %v", err)}
	case len(differs) > 0:
		return nil, differs
	case v.RevisionWithout(added) != r.revision:
		return nil, []string{"this release makes other cells of the definition than the one that registered it"}
	}
	if differs := r.changed(v, g, added); len(differs) > 0 {
		return nil, differs
	}
	return slices.DeleteFunc(added, func(c view.ColumnRef) bool { return r.additions[addition(c, g)] != "" }), nil
}

// recorded returns the columns of v that were added to g, in v's order.
func (r registration) recorded(v view.View, g view.Generation) []view.ColumnRef {
	var out []view.ColumnRef
	for _, t := range v.Tables() {
		for _, c := range t.Columns {
			ref := view.ColumnRef{Table: t.Name, Column: c.Name}
			if r.additions[addition(ref, g)] != "" {
				out = append(out, ref)
			}
		}
	}
	return out
}

// lacks returns the columns that were added to g and that v does not have.
func (r registration) lacks(v view.View, g view.Generation) []view.ColumnRef {
	has := r.recorded(v, g)
	return slices.DeleteFunc(r.added(g), func(c view.ColumnRef) bool { return slices.Contains(has, c) })
}

// changed returns a clause for each recorded column among those that v adds that is not what was recorded.
func (r registration) changed(v view.Extensible, g view.Generation, added []view.ColumnRef) []string {
	var out []string
	for _, c := range added {
		if alone := r.additions[addition(c, g)]; alone != "" && alone != aloneWith(v, added, c) {
			out = append(out, fmt.Sprintf("column %s was added with another type, or is set from something else (a new meaning needs a new name)", c))
		}
	}
	return out
}

// additionsBy returns what is to be recorded of columns that v adds to those recorded.
func (r registration) additionsBy(v view.Extensible, g view.Generation, added []view.ColumnRef) map[string]string {
	all := append(r.recorded(v, g), added...)
	out := map[string]string{}
	for _, c := range added {
		out[addition(c, g)] = aloneWith(v, all, c)
	}
	return out
}

// aloneWith returns the revision that v would have with column c alone of those that it adds.
func aloneWith(v view.Extensible, added []view.ColumnRef, c view.ColumnRef) string {
	return v.RevisionWithout(slices.DeleteFunc(slices.Clone(added), func(other view.ColumnRef) bool { return other == c }))
}
