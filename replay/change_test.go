package replay

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/order"
	"penstock/sink/deadletter"
	"penstock/view"
	"penstock/view/viewtest"
)

// What is said of each cell is what writing it does.
func TestEffectsAreWhatWritingDoes(t *testing.T) {
	v := viewtest.Stock{}
	seen := map[Effect]int{}
	rapid.Check(t, func(rt *rapid.T) {
		to := newRows()
		mutations := viewtest.Mutations(rt, viewtest.StockTable)
		if len(mutations) == 0 {
			return
		}
		m := rapid.SampledFrom(mutations).Draw(rt, "redriven")
		for _, other := range mutations {
			if rapid.Bool().Draw(rt, "applied") {
				other.Key = m.Key
				to.apply([]view.Mutation{other})
			}
		}
		changes, err := Changes(context.Background(), v, 1, []view.Mutation{m}, to)
		if err != nil || len(changes) != 1 {
			rt.Fatal(changes, err)
		}
		before := to.rows[m.RowKey()]
		after := view.Merge(before, m.Cells)
		value := func(cells []view.Cell, c CellChange) (view.Value, bool) {
			for _, cell := range cells {
				if cell.Column == c.Column.Name && cell.Path == c.Path {
					return cell.Value, true
				}
			}
			return view.Value{}, false
		}
		for _, c := range changes[0].Cells {
			was, had := value(before, c)
			is, _ := value(after, c)
			var want Effect
			switch {
			case !had:
				want = Adds
			case was == c.Then:
				want = Same
			case is != was:
				want = Replaces
			default:
				want = Keeps
			}
			if c.Effect != want || had && c.Now != was {
				rt.Fatalf("%+v, want %s", c, want)
			}
			seen[c.Effect]++
		}
	})
	for _, e := range []Effect{Adds, Same, Replaces, Keeps} {
		if seen[e] == 0 {
			t.Errorf("%s never came up", e)
		}
	}
	if changes, err := Changes(t.Context(), v, 1, []view.Mutation{{Table: "other"}}, nil); err == nil {
		t.Errorf("a table that the view does not have: %+v", changes)
	}
}

// Cassandra does not tell how old the entries of collections are: those written once all have their entity's birth.
func TestEntriesWithoutStampsAreTold(t *testing.T) {
	column := func(class view.Class) RowChange {
		return RowChange{Table: view.Table{Name: "t", Columns: []view.Column{{Name: "m", Type: view.MapOf(view.Text, view.Text), Class: class}}, Provenance: view.ProvenanceAll},
			Row: view.Row{Cells: []view.Cell{{Column: "m", Path: view.TextValue("k"), Value: view.TextValue("b")}}}}
	}
	written := func(value string) view.Cell {
		return view.Cell{Column: "m", Path: view.TextValue("k"), Value: view.TextValue(value), Stamp: 7}
	}
	for _, c := range []struct {
		class view.Class
		value string
		want  Effect
	}{
		{view.WriteOnce, "b", Same}, {view.WriteOnce, "a", Keeps}, {view.WriteOnce, "c", Replaces}, {view.Revisable, "c", Depends}, {view.Revisable, "b", Same},
	} {
		if got := compareCell(column(c.class), written(c.value)); got.Effect != c.want {
			t.Errorf("%v %s: %s, want %s", c.class, c.value, got.Effect, c.want)
		}
	}
}

func TestALetterIsSupersededOnlyByAnEventInItsRows(t *testing.T) {
	all := records(t, 7, 1)
	results := make([]view.Result, len(all))
	for i, r := range all {
		var err error
		if results[i], err = (order.View{}).Project(r); err != nil {
			t.Fatal(err)
		}
	}
	to := newRows()
	first, second := results[0], results[1]
	to.apply(first.Mutations)
	letterOf := func(r view.Result, code view.Code, change func(*deadletter.Event)) deadletter.Letter {
		l := deadletter.Letter{Event: deadletter.Event(r.Event), Failure: deadletter.Failure{Code: code}}
		if change != nil {
			change(&l.Event)
		}
		return l
	}
	check := func(l deadletter.Letter, r view.Result) error {
		return CheckSuperseded(t.Context(), order.View{}, 1, l, r, to)
	}
	if err := check(letterOf(first, view.CodeMissingField, nil), first); err != nil {
		t.Errorf("an event that its rows list: %v", err)
	}
	if err := check(deadletter.Letter{Failure: deadletter.Failure{Code: view.CodeBadJSON}}, first); err != nil {
		t.Errorf("a letter that tells nothing of its event: %v", err)
	}
	for says, c := range map[string]struct {
		l deadletter.Letter
		r view.Result
	}{
		"does not list it": {letterOf(second, view.CodeMissingField, nil), second},
		"has version":      {letterOf(first, view.CodeMissingField, func(e *deadletter.Event) { e.EntityVersion = 99 }), first},
		"is of":            {letterOf(first, view.CodeMissingField, func(e *deadletter.Event) { e.Entity = "another" }), first},
		"has no id":        {deadletter.Letter{}, view.Result{}},
		"changes no row":   {deadletter.Letter{}, view.Result{Event: view.Event{ID: "x"}}},
	} {
		err := check(c.l, c.r)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
		if _, ok := errors.AsType[*NotInRowsError](err); ok != (says == "does not list it") {
			t.Errorf("%s: %T", says, err)
		}
	}
	// What was wrong with an event is not held against its correction.
	wrong := func(e *deadletter.Event) { e.EntityVersion = 5_000_000 }
	if err := check(letterOf(first, view.CodeVersionOutOfRange, wrong), first); err != nil {
		t.Error(err)
	}
	// In one table of two it is not enough.
	to.rows = map[string][]view.Cell{}
	to.apply(first.Mutations[:1])
	if _, ok := errors.AsType[*NotInRowsError](check(letterOf(first, view.CodeMissingField, nil), first)); !ok {
		t.Error("one row of two is taken for both")
	}
}

func TestDecisionsAreRecordedAndCanBeUndone(t *testing.T) {
	store := newShelf()
	parkAll(t, store, 1500, nil)
	box := boxOf(&process{shelf: store})
	d := func(run string) *Decider { return &Decider{Box: box, By: "ann@desk", Run: run, Release: "1"} }
	discard := deadletter.Outcome{State: deadletter.Discarded, Reason: "a test's"}
	undo := deadletter.Outcome{State: deadletter.Reopened, Reason: "a test's"}
	if n, err := d("dry").CountDecided(t.Context(), Filter{}, discard, 4); err != nil || n != 1500 || len(store.objects) != 1500 {
		t.Errorf("a dry run: %d, %v, %d objects", n, err, len(store.objects))
	}
	if n, err := d("a").DecideAll(t.Context(), Filter{}, discard, 4); err != nil || n != 1500 || len(store.objects) != 1502 {
		t.Errorf("%d, %v, %d objects", n, err, len(store.objects))
	}
	if n, err := d("b").DecideAll(t.Context(), Filter{}, discard, 4); err != nil || n != 0 {
		t.Errorf("discarded again: %d, %v", n, err)
	}
	var m deadletter.Mark
	for f, err := range Walk(t.Context(), box, Filter{}, Marks, 1) {
		if err != nil {
			t.Fatal(err)
		}
		m = f.Mark
		break
	}
	if err := d("c").Decide(t.Context(), m, discard); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("discarded again by key: %v", err)
	}
	if err := d("d").Decide(t.Context(), m, undo); err != nil {
		t.Error(err)
	}
	if err := d("e").Decide(t.Context(), m, undo); err == nil || !strings.Contains(err.Error(), "nothing to undo") {
		t.Errorf("undone twice: %v", err)
	}
	if s := states(t, store); s[deadletter.Discarded] != 1499 || s[deadletter.Open] != 1 {
		t.Errorf("%v", s)
	}
	if n, err := d("f").DecideAll(t.Context(), Filter{Until: noon.Add(time.Minute)}, undo, 4); err != nil || n != 59 { // the first is open already
		t.Errorf("undone by time: %d, %v", n, err)
	}
	if err := d("g").Decide(t.Context(), m, deadletter.Outcome{State: deadletter.Superseded, Event: "e-9"}); err != nil {
		t.Error(err)
	}
	for run, o := range map[string]deadletter.Outcome{"h": discard, "i": undo, "j": {State: deadletter.Superseded, Event: "e-10"}} {
		if _, ok := errors.AsType[*FinalError](d(run).Decide(t.Context(), m, o)); !ok {
			t.Errorf("%s: what is final can be changed", o.State)
		}
	}
	history, err := box.History(t.Context(), m)
	if err != nil || len(history) != 3 || history[0].By != "ann@desk" || history[0].Reason != "a test's" || history[2].Event != "e-9" {
		t.Errorf("%+v, %v", history, err)
	}
}
