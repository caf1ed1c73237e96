package cassandra

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/view"
)

// shelfView is a view by definition: one line for each column, with its type and where it is set from. Nothing is ever
// projected with it.
type shelfView struct {
	columns []shelfColumn
	release string // of what reads the definition; empty for the first
}

type shelfColumn struct {
	name string
	typ  view.Type
	from string
}

var (
	onHand   = shelfColumn{"on_hand", view.Int, "/on_hand"}
	labels   = shelfColumn{"labels", view.MapOf(view.Text, view.Text), "/labels"}
	colour   = shelfColumn{"colour", view.Text, "/colour"}
	paint    = shelfColumn{"colour", view.Text, "/paint"}
	shade    = shelfColumn{"colour", view.Int, "/colour"}
	size     = shelfColumn{"size", view.UserType("size", view.Field{Name: "width", Type: view.Int}, view.Field{Name: "unit", Type: view.Text}), "/size"}
	boxes    = shelfColumn{"boxes", view.SetOf(view.Text), "/boxes"}
	oldShelf = shelf(onHand, labels)
)

func shelf(columns ...shelfColumn) shelfView { return shelfView{columns: columns} }

var _ Comparer = shelfView{}

func (shelfView) Name() string { return "shelf" }

func (v shelfView) Tables() []view.Table {
	t := view.Table{
		Name:       "shelf",
		Partition:  []view.KeyColumn{{Name: "warehouse", Type: view.Text}},
		Clustering: []view.KeyColumn{{Name: "sku", Type: view.Text}},
		Provenance: view.ProvenanceLast,
	}
	for _, c := range v.columns {
		t.Columns = append(t.Columns, view.Column{Name: c.name, Type: c.typ, Class: view.Revisable})
	}
	return []view.Table{t}
}

func (shelfView) Project(view.Record) (view.Result, error) { return view.Result{}, nil }

func (v shelfView) Definition() []byte {
	lines := []string{"# what's on a shelf?"} // which CQL must quote, and must not take for a marker
	for _, c := range v.columns {
		lines = append(lines, c.name+" "+c.typ.String()+" from "+c.from)
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, "\n"))
}

func (v shelfView) Revision() string {
	h := fnv.New64()
	h.Write(v.Definition())
	return fmt.Sprintf("shelf/1%s/%x", v.release, h.Sum64())
}

func (v shelfView) RevisionWithout(added []view.ColumnRef) string {
	v.columns = slices.DeleteFunc(slices.Clone(v.columns), func(c shelfColumn) bool { return slices.Contains(added, c.ref()) })
	return v.Revision()
}

func (c shelfColumn) ref() view.ColumnRef { return view.ColumnRef{Table: "shelf", Column: c.name} }

// Compare implements Comparer.
func (v shelfView) Compare(definition []byte) (added []view.ColumnRef, differs []string, err error) {
	if len(definition) == 0 || definition[0] != '#' {
		return nil, nil, errors.New("line 1: must be a comment")
	}
	ours := strings.Split(string(v.Definition()), "\n")
	for line := range strings.SplitSeq(string(definition), "\n") {
		if !slices.Contains(ours, line) {
			differs = append(differs, "there is no more "+line)
		}
	}
	for _, c := range v.columns {
		if !strings.Contains(string(definition), "\n"+c.name+" ") {
			added = append(added, c.ref())
		}
	}
	return added, differs, nil
}

// fixed hides that a view can compare itself.
type fixed struct{ view.Extensible }

func TestAViewIsRefusedUnlessItIsWhatIsRegistered(t *testing.T) {
	// Of generation 2, which two definitions have added to.
	grown := registration{revision: oldShelf.Revision(), definition: string(oldShelf.Definition()), additions: map[string]string{
		"shelf_g2.colour": shelf(onHand, labels, colour).Revision(),
		"shelf_g2.size":   shelf(onHand, labels, size).Revision(),
		"shelf_g1.boxes":  shelf(onHand, boxes).Revision(), // another generation's
	}}
	bare := registration{revision: oldShelf.Revision(), definition: string(oldShelf.Definition())}
	for name, c := range map[string]struct {
		registered registration
		view       view.View
		added      []view.ColumnRef
		says       string // of the refusal; empty for none
	}{
		"as registered":                    {bare, oldShelf, nil, ""},
		"less than was added":              {grown, oldShelf, nil, ""},
		"with the first addition":          {grown, shelf(onHand, labels, colour), nil, ""},
		"with the second addition":         {grown, shelf(onHand, labels, size), nil, ""},
		"with both":                        {grown, shelf(size, onHand, labels, colour), nil, ""},
		"with one more":                    {grown, shelf(onHand, labels, colour, boxes), []view.ColumnRef{boxes.ref()}, "additive: column shelf.boxes not in view_state yet: run projector setup"},
		"with two":                         {bare, shelf(onHand, labels, colour, boxes), []view.ColumnRef{colour.ref(), boxes.ref()}, "additive: columns shelf.colour, shelf.boxes not in"},
		"an addition from something else":  {grown, shelf(onHand, labels, paint), nil, "column shelf.colour was added with another type, or is set from something else"},
		"an addition of another type":      {grown, shelf(onHand, labels, shade, size), nil, "column shelf.colour was added with another type"},
		"one more, and another":            {grown, shelf(onHand, labels, shade, boxes), nil, "column shelf.colour was added with another type"},
		"something is gone":                {grown, shelf(onHand, colour), nil, "there is no more labels map<text, text> from /labels: two revisions"},
		"something is gone before":         {bare, shelf(onHand), nil, "projector setup --generation 3"},
		"from another release":             {bare, shelfView{oldShelf.columns, ".5"}, nil, "this release makes other cells of the definition"},
		"more, from another release":       {bare, shelfView{shelf(onHand, labels, size).columns, ".5"}, nil, "this release makes other cells of the definition"},
		"not registered":                   {registration{}, oldShelf, nil, "not registered in view_state: run projector setup"},
		"a definition that is none":        {registration{revision: "shelf/0", definition: "columns: 2"}, oldShelf, nil, "cannot be compared: line 1: must be a comment"},
		"no definition":                    {registration{revision: "shelf/0"}, oldShelf, nil, "holds revision shelf/0, this program writes " + oldShelf.Revision() + ": two revisions"},
		"more, of a view that cannot tell": {bare, fixed{shelf(onHand, labels, size)}, nil, "go back to the definition of " + oldShelf.Revision()},
		"a constant revision":              {registration{revision: "1"}, kitchenView{"1"}, nil, ""},
		"another constant revision":        {registration{revision: "1"}, kitchenView{"2"}, nil, "run the release that has 1, or build a new generation: projector setup --generation 3"},
	} {
		t.Run(name, func(t *testing.T) {
			refused := c.registered.refuse(c.view, 2)
			if refused == nil {
				if c.says != "" {
					t.Errorf("it is accepted, want %q", c.says)
				}
				return
			}
			if c.says == "" || !strings.Contains(refused.Error(), c.says) || !strings.Contains(refused.Error(), "generation 2: ") {
				t.Errorf("%v, want %q", refused, c.says)
			}
			if diff := cmp.Diff(c.added, refused.Added); diff != "" {
				t.Errorf("columns to be added (-want +got):\n%s", diff)
			}
		})
	}
}

// forgetful is a shelf whose revision does not show where columns are set from.
type forgetful struct{ shelfView }

func (v forgetful) Revision() string { return v.RevisionWithout(nil) }

func (v forgetful) RevisionWithout(added []view.ColumnRef) string {
	v.columns = slices.Clone(v.columns)
	for i := range v.columns {
		v.columns[i].from = ""
	}
	return v.shelfView.RevisionWithout(added)
}

// disagreement sets definitions up one after another, as they come, and returns two writers that the generation admits
// and that set one column differently, or nothing.
func disagreement(definitions []Comparer) string {
	const g = 1
	var r registration
	for _, v := range definitions {
		switch refused := r.refuse(v, g); {
		case refused == nil:
		case refused.Stored == "":
			r = registration{v.Revision(), string(v.Definition()), map[string]string{}}
		default:
			maps.Copy(r.additions, r.additionsBy(v, g, refused.Added))
		}
	}
	set := map[string]string{}
	for _, v := range definitions {
		if r.refuse(v, g) != nil {
			continue
		}
		for line := range strings.SplitSeq(string(v.Definition()), "\n") {
			name, how, _ := strings.Cut(line, " ")
			if other, ok := set[name]; ok && other != how {
				return fmt.Sprintf("%s: %s, and %s", name, other, how)
			}
			set[name] = how
		}
	}
	return ""
}

// Whatever definitions are set up, in any order: the writers that a generation admits set every column in one way.
func TestWritersOfAGenerationAgree(t *testing.T) {
	pool := rapid.SampledFrom([]shelfColumn{onHand, labels, colour, paint, shade, size, boxes})
	columns := rapid.SliceOfNDistinct(pool, 1, 5, func(c shelfColumn) string { return c.name })
	definitions := rapid.SliceOfN(columns, 1, 12)
	planted := 0
	rapid.Check(t, func(t *rapid.T) {
		var sound, unsound []Comparer
		for _, c := range definitions.Draw(t, "definitions") {
			sound, unsound = append(sound, shelf(c...)), append(unsound, forgetful{shelf(c...)})
		}
		if found := disagreement(sound); found != "" {
			t.Error(found)
		}
		if disagreement(unsound) != "" {
			planted++
		}
	})
	if planted == 0 {
		t.Error("no definition that hides what a column is set from was found out: nothing was tried")
	}
}
