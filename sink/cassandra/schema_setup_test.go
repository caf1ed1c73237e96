package cassandra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/diagnosis"
	"penstock/localstack/stacktest"
	"penstock/sink"
	"penstock/view"
	"penstock/view/viewtest"
)

// shelfSite is a keyspace of shelves.
type shelfSite struct {
	*Session
	stack stacktest.Stack
}

func newShelfSite(t *testing.T) shelfSite {
	t.Helper()
	stack := stacktest.Require(t)
	return shelfSite{connect(t, stack, stack.KeyspaceName(t)), stack}
}

func (s shelfSite) setup(ctx context.Context, v view.View) error {
	return s.Setup(ctx, s.stack.Datacenter, s.stack.ReplicationFactor, v, 1)
}

func (s shelfSite) mustSetUp(t *testing.T, v view.View) {
	t.Helper()
	if err := s.setup(t.Context(), v); err != nil {
		t.Fatal(err)
	}
}

// start is what a daemon asks before it writes.
func (s shelfSite) start(ctx context.Context, v view.View) error {
	return errors.Join(s.CheckSchema(ctx, v, 1), s.CheckRevision(ctx, v, 1))
}

func (s shelfSite) wantRefused(t *testing.T, what string, err error, says string) {
	t.Helper()
	if _, ok := errors.AsType[*RevisionError](err); !ok || sink.DispositionOf(err) != sink.Fatal || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, want a fatal revision error that says %q", what, err, says)
	}
}

// columns returns the names of a table's columns, none if it is not there.
func (s shelfSite) columns(t *testing.T, table string) []string {
	t.Helper()
	live, err := s.liveColumns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for name := range live[table] {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (s shelfSite) wantRegistered(t *testing.T, v view.View, added ...shelfColumn) {
	t.Helper()
	revision, columns, err := s.Registered(t.Context(), v, 1)
	if err != nil || revision != v.Revision() {
		t.Errorf("registered as %q, %v, want %s", revision, err, v.Revision())
	}
	var want []view.ColumnRef
	for _, c := range added {
		want = append(want, c.ref())
	}
	if diff := cmp.Diff(want, columns); diff != "" {
		t.Errorf("columns added (-want +got):\n%s", diff)
	}
}

func TestSetupRegistersTheDefinition(t *testing.T) {
	s := newShelfSite(t)
	for range 2 {
		s.mustSetUp(t, oldShelf)
		s.wantRegistered(t, oldShelf)
		if err := s.start(t.Context(), oldShelf); err != nil {
			t.Error(err)
		}
		r, err := s.registration(t.Context(), oldShelf, 1)
		if err != nil || r.definition != string(oldShelf.Definition()) {
			t.Errorf("definition %q, %v", r.definition, err)
		}
	}
	s.mustSetUp(t, kitchenView{"1"}) // another view, which has none
	s.wantRegistered(t, kitchenView{"1"})
	s.wantRegistered(t, oldShelf)
}

// A definition that has grown is for setup to add. Who writes without the new columns goes on, and both write into one row.
func TestAddedColumnsAreWrittenOnceSetupHasRecordedThem(t *testing.T) {
	s := newShelfSite(t)
	ctx := t.Context()
	s.mustSetUp(t, oldShelf)
	old := newTestWriter(t, s.Session, oldShelf)
	newShelf := shelf(onHand, labels, colour, size)
	key := []view.Value{view.TextValue("w"), view.TextValue("s")}
	write := func(w *Writer, cells ...view.Cell) {
		t.Helper()
		for i := range cells {
			cells[i].Stamp = 7
		}
		if err := errors.Join(apply(w, ctx, []view.Mutation{{Table: "shelf", Key: key, Cells: cells}})...); err != nil {
			t.Error(err)
		}
	}
	first := view.Cell{Column: "on_hand", Value: view.IntValue(1)}
	write(old, first)

	const says = "additive: columns shelf.colour, shelf.size not in view_state yet: run projector setup"
	s.wantRefused(t, "a daemon before setup", s.start(ctx, newShelf), says)
	s.mustSetUp(t, newShelf)
	for name, v := range map[string]view.View{"old": oldShelf, "new": newShelf, "less": shelf(onHand, labels, size)} {
		if err := s.start(ctx, v); err != nil {
			t.Errorf("%s daemon after setup: %v", name, err)
		}
		if err := s.setup(ctx, v); err != nil {
			t.Errorf("%s definition set up again: %v", name, err)
		}
	}
	s.wantRegistered(t, oldShelf, colour, size)

	second := view.Cell{Column: "labels", Path: view.TextValue("de"), Value: view.TextValue("Tee")}
	write(old, second)
	third := view.Cell{Column: "colour", Value: view.TextValue("green")}
	fourth := view.Cell{Column: "size", Value: view.TupleValue(view.IntValue(3), view.TextValue("cm"))}
	write(newTestWriter(t, s.Session, newShelf), third, fourth, first)
	write(old, first)
	row, ok, err := s.ReadRow(ctx, newShelf.Tables()[0], 1, key)
	if err != nil || !ok {
		t.Fatalf("%t, %v", ok, err)
	}
	want := view.Merge([]view.Cell{first, second, third, fourth}, nil)
	for i := range want {
		want[i].Stamp = 0
	}
	if diff := cmp.Diff(want, row.Cells, cmp.Comparer(func(a, b view.Value) bool { return a == b })); diff != "" {
		t.Errorf("the row (-want +got):\n%s", diff)
	}

	s.mustSetUp(t, shelf(onHand, labels, boxes)) // which knows nothing of the others
	s.wantRegistered(t, oldShelf, boxes, colour, size)
	if err := s.start(ctx, shelf(onHand, labels, colour, size, boxes)); err != nil {
		t.Error(err)
	}
}

// Setup may have died between the tables and view_state: what it left is no addition before it is recorded.
func TestColumnsThatAreNotRecordedAreNotWritten(t *testing.T) {
	s := newShelfSite(t)
	s.mustSetUp(t, oldShelf)
	s.cql(t, fmt.Sprintf("ALTER TABLE %s.shelf_g1 ADD colour text", s.keyspace))
	newShelf := shelf(onHand, labels, colour, boxes)
	s.wantRefused(t, "a daemon", s.start(t.Context(), shelf(onHand, labels, colour)), "additive: column shelf.colour not in view_state yet")
	s.mustSetUp(t, newShelf)
	s.wantRegistered(t, oldShelf, boxes, colour)
	if err := s.start(t.Context(), newShelf); err != nil {
		t.Error(err)
	}
}

func TestAnythingButAnAdditionIsRefusedBeforeAnythingIsChanged(t *testing.T) {
	s := newShelfSite(t)
	ctx := t.Context()
	s.mustSetUp(t, oldShelf)
	s.mustSetUp(t, shelf(onHand, labels, colour))
	s.cql(t, fmt.Sprintf("ALTER TABLE %s.shelf_g1 ADD boxes set<text>", s.keyspace))
	s.cql(t, fmt.Sprintf("ALTER TABLE %s.shelf_g1 DROP boxes", s.keyspace))
	before := s.columns(t, "shelf_g1")
	for name, c := range map[string]struct {
		view view.View
		says string
		run  string // what a daemon is told, if it is something else
	}{
		"less and more":                  {shelf(onHand, size), "there is no more labels map<text, text> from /labels", ""},
		"an addition of another kind":    {shelf(onHand, labels, paint, size), "column shelf.colour was added with another type, or is set from something else", ""},
		"a column that was dropped once": {shelf(onHand, labels, boxes, size), "column shelf.boxes was dropped at 20", "additive: columns shelf.boxes, shelf.size not in"},
		"a view without definition":      {hidden{shelf(onHand, labels, size)}, "run the release that has " + oldShelf.Revision(), ""},
	} {
		s.wantRefused(t, "setup with "+name, s.setup(ctx, c.view), c.says)
		run := c.says
		if c.run != "" {
			run = c.run
		}
		s.wantRefused(t, "a daemon with "+name, s.CheckRevision(ctx, c.view, 1), run)
		if live, err := s.liveTypes(ctx); err != nil || live["size_g1"] != "" {
			t.Errorf("%s: type size_g1 was made: %q, %v", name, live["size_g1"], err)
		}
	}
	if diff := cmp.Diff(before, s.columns(t, "shelf_g1")); diff != "" {
		t.Errorf("the table has other columns (-before +after):\n%s", diff)
	}
	s.wantRegistered(t, oldShelf, colour)
}

// hidden is a view that keeps its definition to itself.
type hidden struct{ view.View }

// The column of an addition may stand in the table already, but as something else.
func TestAnAddedColumnThatStandsThereAsSomethingElseIsRefused(t *testing.T) {
	s := newShelfSite(t)
	s.mustSetUp(t, oldShelf)
	s.cql(t, fmt.Sprintf("ALTER TABLE %s.shelf_g1 ADD colour int", s.keyspace))
	err := s.setup(t.Context(), shelf(onHand, labels, colour))
	if _, ok := errors.AsType[*SchemaError](err); !ok || !strings.Contains(err.Error(), "column colour is int, the view has text") {
		t.Errorf("%v", err)
	}
	s.wantRegistered(t, oldShelf)
}

// Where the type of a column that is to be added stands there as something else, the column is not added: it could never be
// taken back.
func TestAnAddedColumnOfATypeThatStandsThereIsNotAdded(t *testing.T) {
	s := newShelfSite(t)
	s.mustSetUp(t, oldShelf)
	s.cql(t, fmt.Sprintf("CREATE TYPE %s.size_g1 (width text)", s.keyspace))
	before := s.columns(t, "shelf_g1")
	err := s.setup(t.Context(), shelf(onHand, labels, size))
	if _, ok := errors.AsType[*SchemaError](err); !ok || !strings.Contains(err.Error(), "type size_g1") {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(before, s.columns(t, "shelf_g1")); diff != "" {
		t.Errorf("the table has other columns (-before +after):\n%s", diff)
	}
	s.wantRegistered(t, oldShelf)
}

// renamed is a view under another name.
type renamed struct {
	view.View
	name string
}

func (r renamed) Name() string { return r.name }

// A view that writes the tables of another one is refused, however alike they are; only the table's comment shows whose
// it is. Tables without one are as an earlier release made them.
func TestATableHasOneView(t *testing.T) {
	s := newShelfSite(t)
	stock := viewtest.Stock{}
	s.mustSetUp(t, stock)
	other := renamed{stock, "inventory"}
	for what, err := range map[string]error{"setup": s.setup(t.Context(), other), "start": s.CheckSchema(t.Context(), other, 1)} {
		refused, ok := errors.AsType[*SchemaError](err)
		if !ok || !strings.Contains(err.Error(), "table stock_g1 belongs to view stock, not to view inventory") || refused.Do != ownTables || !refused.Owned {
			t.Errorf("%s: %v", what, err)
		}
	}
	if revision, _, err := s.Registered(t.Context(), other, 1); err != nil || revision != "" {
		t.Errorf("registered as %q, %v", revision, err)
	}
	findings := troubles(Diagnose(t.Context(), inspectConfig(s.stack, s.keyspace), other, 1), s.keyspace)
	if !slices.Contains(findings, "refused table stock_g1") {
		t.Errorf("check tells %v", findings)
	}
	s.cql(t, fmt.Sprintf("ALTER TABLE %s.stock_g1 WITH comment = ''", s.keyspace))
	if err := s.CheckSchema(t.Context(), other, 1); err != nil {
		t.Errorf("without a comment: %v", err)
	}
}

func TestTheStateOfAnEarlierReleaseIsAltered(t *testing.T) {
	s := newShelfSite(t)
	ctx := t.Context()
	stock := viewtest.Stock{}
	s.mustSetUp(t, stock)
	s.cql(t, fmt.Sprintf("DROP TABLE %s.view_state", s.keyspace))
	s.cql(t, fmt.Sprintf("CREATE TABLE %s.view_state (name text PRIMARY KEY, active_generation int, previous_generation int, "+
		"revisions map<int, text>, epoch bigint, effective_at timestamp)", s.keyspace))
	s.cql(t, fmt.Sprintf("INSERT INTO %s.view_state (name, active_generation, revisions, epoch) VALUES ('stock', 1, {1: '%s', 2: 'stock/2'}, 7)", s.keyspace, stock.Revision()))

	diagnose := func(v view.View) []string {
		return troubles(Diagnose(ctx, inspectConfig(s.stack, s.keyspace), v, 1), s.keyspace)
	}
	if err := s.start(ctx, stock); err != nil || diagnose(stock) != nil {
		t.Errorf("a view without definition needs nothing of it: %v, %v", err, diagnose(stock))
	}
	s.wantRefused(t, "a view with one", s.CheckRevision(ctx, oldShelf, 1), "not registered in view_state")
	if got := diagnose(oldShelf); !slices.Contains(got, "missing table view_state") || !slices.Contains(got, "missing revision view shelf, generation 1") {
		t.Errorf("check tells %v", got)
	}

	s.mustSetUp(t, stock)
	if got := s.columns(t, "view_state"); !slices.Contains(got, "definitions") || !slices.Contains(got, "additions") {
		t.Errorf("view_state has %v", got)
	}
	s.mustSetUp(t, oldShelf)
	s.mustSetUp(t, shelf(onHand, labels, colour))
	s.wantRegistered(t, oldShelf, colour)
	if got := diagnose(oldShelf); got != nil {
		t.Errorf("check tells %v", got)
	}
	var generation int
	var epoch int64
	var revisions map[int]string
	err := s.stack.Session(t).Query(fmt.Sprintf("SELECT active_generation, epoch, revisions FROM %s.view_state WHERE name = 'stock'", s.keyspace)).
		ScanContext(ctx, &generation, &epoch, &revisions)
	if err != nil || generation != 1 || epoch != 7 || revisions[2] != "stock/2" {
		t.Errorf("what was there: generation %d, epoch %d, %v, %v", generation, epoch, revisions, err)
	}
}

// Setups are kept apart by a lock, but it is only as good as its holder: of two that record one column each in its own
// way, one is refused.
func TestOfTwoMeaningsOfAColumnOneIsRecorded(t *testing.T) {
	s := newShelfSite(t)
	ctx := t.Context()
	s.mustSetUp(t, oldShelf)
	r, err := s.registration(ctx, oldShelf, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.cql(t, fmt.Sprintf("ALTER TABLE %s.shelf_g1 ADD colour text", s.keyspace))
	rivals := []view.Extensible{shelf(onHand, labels, colour), shelf(onHand, labels, paint)}
	var recording sync.WaitGroup
	for _, v := range rivals {
		recording.Go(func() {
			if err := s.record(ctx, r, v, 1, []view.ColumnRef{colour.ref()}); err != nil {
				t.Error(err)
			}
		})
	}
	recording.Wait()
	accepted := 0
	for _, v := range rivals {
		switch err := s.start(ctx, v); {
		case err == nil:
			accepted++
		default:
			s.wantRefused(t, "the other", err, "column shelf.colour was added with another type, or is set from something else")
		}
	}
	if accepted != 1 {
		t.Errorf("%d of two are accepted", accepted)
	}
}

func TestCheckTellsAnAdditionFromAnotherGeneration(t *testing.T) {
	s := newShelfSite(t)
	s.mustSetUp(t, oldShelf)
	find := func(v view.View, item string) diagnosis.Finding {
		t.Helper()
		findings := Diagnose(t.Context(), inspectConfig(s.stack, s.keyspace), v, 1)
		i := slices.IndexFunc(findings, func(f diagnosis.Finding) bool { return f.Item == item })
		if i < 0 {
			t.Fatalf("no finding about a %s: %+v", item, findings)
		}
		return findings[i]
	}
	want := func(f diagnosis.Finding, level diagnosis.Level, found, do string) {
		t.Helper()
		if f.Level != level || !strings.Contains(f.Found, found) || !strings.Contains(f.Do, do) || (f.Do == "") != (level == diagnosis.OK) {
			t.Errorf("%+v, want %s, %q and %q", f, level, found, do)
		}
	}
	newShelf := shelf(onHand, labels, colour, size)
	want(find(newShelf, "revision"), diagnosis.Missing, "additive: columns shelf.colour, shelf.size not in view_state yet", "run projector setup")
	want(find(newShelf, "column"), diagnosis.Missing, "the view has it as text: additive", "run projector setup")
	other := shelf(onHand, colour)
	want(find(other, "revision"), diagnosis.Refused, "there is no more labels", "projector setup --generation 2")
	want(find(other, "column"), diagnosis.Missing, "the view has it as text", "projector setup --generation 2")
	another := shelf(onHand, size) // whose type setup would not make
	want(find(another, "type"), diagnosis.Missing, "does not exist", "projector setup --generation 2")

	s.mustSetUp(t, newShelf)
	want(find(newShelf, "revision"), diagnosis.OK, "is "+oldShelf.Revision()+", with what was added since: this program writes "+newShelf.Revision(), "")
	want(find(oldShelf, "revision"), diagnosis.Warn, "this program does not write columns shelf.colour, shelf.size", "use the newest definition")
	want(find(shelf(onHand, labels, paint), "revision"), diagnosis.Refused, "column shelf.colour was added with another type", "projector setup --generation 2")
}

// A script makes a generation from nothing, and adds the columns of a definition that has grown, for an operator who may
// alter tables where setup may not. Setup then has only to record them.
func TestAPastedScriptAddsColumnsAndSetupRecordsThem(t *testing.T) {
	s := newShelfSite(t)
	paste := func(v view.View) {
		t.Helper()
		for _, cql := range Script(s.keyspace, s.stack.Datacenter, s.stack.ReplicationFactor, v, 1) {
			s.cql(t, cql)
		}
	}
	for range 2 {
		paste(oldShelf)
	}
	s.wantRegistered(t, oldShelf)
	if r, err := s.registration(t.Context(), oldShelf, 1); err != nil || r.definition != string(oldShelf.Definition()) {
		t.Errorf("definition %q, %v", r.definition, err)
	}
	newShelf := shelf(onHand, labels, colour, size)
	paste(newShelf)
	s.wantRegistered(t, oldShelf)
	s.wantRefused(t, "a daemon before setup", s.start(t.Context(), newShelf), "additive: columns shelf.colour, shelf.size not in")
	s.mustSetUp(t, newShelf)
	s.wantRegistered(t, oldShelf, colour, size)
	if got := troubles(Diagnose(t.Context(), inspectConfig(s.stack, s.keyspace), newShelf, 1), s.keyspace); got != nil {
		t.Errorf("check tells %v", got)
	}
}
