package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"penstock/localstack/shop"
	"penstock/order"
	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// records are the events of some orders as they came.
func records(t testing.TB, seed uint64, orders int) []view.Record {
	t.Helper()
	generator, err := shop.New(shop.Config{Seed: seed, Orders: orders, Now: noon, DuplicateShare: 0.1, DisplacedShare: 0.3})
	if err != nil {
		t.Fatal(err)
	}
	var out []view.Record
	for e := range generator.Events() {
		n := len(out)
		out = append(out, view.Record{Data: e.Payload, Arrival: noon.Add(time.Duration(n) * time.Hour), // over several days
			Position: view.Position{Stream: "events", Shard: fmt.Sprintf("shardId-%012d", n%3), Sequence: fmt.Sprint(1000 + n)}})
	}
	return out
}

// run is a redrive of one process that may be killed.
func (p *process) run(t testing.TB, name string, v view.View, to *rows, killAfter int64, change func(*RedriveConfig)) (Redriven, error) {
	t.Helper()
	w := &writer{rows: to, process: p, after: killAfter}
	defer w.running.Wait()
	c := RedriveConfig{View: v, Box: boxOf(p), Writer: w, Rate: 1e6, Readers: 4, By: "test", Run: name, Release: "2"}
	if change != nil {
		change(&c)
	}
	return Redrive(context.Background(), context.Background(), c)
}

// Whatever was parked, whoever redrives it, how often, at once or killed in between, and whatever became of the orders
// meanwhile: the rows end as if every event had come in time, and every letter is closed.
func TestRowsEndAsIfEveryEventHadComeInTime(t *testing.T) {
	types := []string{"order.placed", "order.paid", "order.shipped", "order.delivered", "order.cancelled", "order.refunded", "order.address_changed"}
	killed := 0
	rapid.Check(t, func(rt *rapid.T) {
		all := records(t, rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(1, 4).Draw(rt, "orders"))
		unknown := map[string]bool{}
		for _, typ := range rapid.SliceOfDistinct(rapid.SampledFrom(types), rapid.ID[string]).Draw(rt, "unknown") {
			unknown[typ] = true
		}
		want, got, store := newRows(), newRows(), newShelf()
		var later [][]view.Mutation // what is applied while letters are redriven
		parked := 0
		for _, r := range all {
			result, err := order.View{}.Project(r)
			if err != nil {
				rt.Fatal(err)
			}
			want.apply(result.Mutations)
			_, err = oldRelease{unknown: unknown}.Project(r)
			switch p, poison := view.AsPoison(err); {
			case poison:
				park(t, &process{shelf: store}, r, p, nil)
				parked++
			case rapid.Bool().Draw(rt, "moves on later"):
				later = append(later, result.Mutations)
			default:
				got.apply(result.Mutations)
			}
		}
		var working sync.WaitGroup
		working.Go(func() {
			for _, m := range later {
				got.apply(m)
			}
		})
		for n := range rapid.IntRange(0, 3).Draw(rt, "killed") { // at once, each killed at some point of its way
			p := &process{shelf: store, writerOnly: rapid.Bool().Draw(rt, "cassandra is lost")}
			p.putsLeft.Store(rapid.Int64Range(0, 3).Draw(rt, "puts"))
			after := rapid.Int64Range(0, int64(parked)+1).Draw(rt, "submissions")
			working.Go(func() { _, _ = p.run(t, fmt.Sprintf("killed-%d", n), order.View{}, got, after, nil) })
			killed++
		}
		working.Wait()
		reports := make([]Redriven, 2)
		for n := range reports { // two operators at once
			working.Go(func() {
				report, err := (&process{shelf: store}).run(t, fmt.Sprintf("run-%d", n), order.View{}, got, 0, nil)
				if err != nil {
					t.Error(err)
				}
				reports[n] = report
			})
		}
		working.Wait()
		if diff := cmp.Diff(want.rows, got.rows, cmp.AllowUnexported(view.Value{})); diff != "" {
			rt.Fatalf("rows (-want +got):\n%s", diff)
		}
		if s := states(t, store); s[deadletter.Redriven] != parked || len(s) > 1 {
			rt.Fatalf("%d parked, %v, %+v", parked, s, reports)
		}
		last, err := (&process{shelf: store}).run(t, "again", order.View{}, got, 0, nil)
		if err != nil || last.Selected != 0 {
			rt.Fatalf("a redrive of what is closed: %+v, %v", last, err)
		}
	})
	if killed == 0 {
		t.Error("none was killed")
	}
}

// parkAll parks n payments.
func parkAll(t testing.TB, store *shelf, n int, change func(int, *deadletter.Letter)) {
	t.Helper()
	for i := range n {
		r := view.Record{Arrival: noon.Add(time.Duration(i) * time.Second), Position: view.Position{Stream: "events", Shard: "shardId-000000000000", Sequence: fmt.Sprint(10_000 + i)},
			Data: fmt.Appendf(nil, `{"specversion":"1.0","id":"e-%d","source":"/s","type":"order.paid.v1","subject":"0f9a5d1e-0000-4000-8000-%012d","time":"2026-11-21T10:00:00Z","datacontenttype":"application/json",`+
				`"data":{"order_id":"0f9a5d1e-0000-4000-8000-%012d","customer_id":"c-1","placed_at":"2026-11-21T09:00:00Z","version":2,"payment_id":"p","method":"card","amount_minor":1}}`, i, i, i)}
		p := &view.Poison{Stage: view.StageDecode, Code: view.CodeUnknownType, Err: errors.New("unknown")}
		park(t, &process{shelf: store}, r, p, func(l *deadletter.Letter) {
			if change != nil {
				change(i, l)
			}
		})
	}
}

func TestALetterThatFailsAgainKeepsItsPlace(t *testing.T) {
	store, to := newShelf(), newRows()
	parkAll(t, store, 3, func(i int, l *deadletter.Letter) {
		if i == 1 {
			l.Payload = []byte(`{"type":`)
		}
	})
	before := maps.Clone(store.objects)
	var told []string
	for _, run := range []string{"one", "two"} {
		report, err := (&process{shelf: store}).run(t, run, order.View{}, to, 0, func(c *RedriveConfig) {
			c.Failed = func(key string, why error) { told = append(told, key+" "+why.Error()) }
		})
		if err != nil || report.Failed != 1 || report.Codes[view.CodeBadJSON] != 1 {
			t.Fatalf("%+v, %v", report, err)
		}
	}
	if s := states(t, store); s[deadletter.Failed] != 1 || s[deadletter.Redriven] != 2 {
		t.Errorf("%v", s)
	}
	if len(told) != 2 || !strings.Contains(told[0], "/unknown_type/") || !strings.Contains(told[0], "bad_json") {
		t.Errorf("told %q", told)
	}
	for key, body := range before {
		if string(store.objects[key]) != string(body) {
			t.Errorf("letter %s was changed", key)
		}
	}
	box := boxOf(&process{shelf: store})
	for f, err := range Walk(t.Context(), box, Filter{States: []deadletter.State{deadletter.Failed}}, Marks, 1) {
		if err != nil {
			t.Fatal(err)
		}
		history, err := box.History(t.Context(), f.Mark)
		if err != nil || len(history) != 2 || history[0].Failure.Code != view.CodeBadJSON || history[0].Run == history[1].Run || history[0].By != "test" {
			t.Errorf("%+v, %v", history, err)
		}
	}
}

func TestWhatCassandraRefusesFailsAgain(t *testing.T) {
	store, to := newShelf(), newRows()
	parkAll(t, store, 4, nil)
	p := &process{shelf: store}
	w := &writer{rows: to, process: p, fail: func(m view.Mutation) error {
		if id, err := m.Key[0].UUID(); err == nil && id[15] == 2 {
			return &view.Poison{Stage: view.StageWrite, Code: view.CodeRejected, Err: errors.New("too large")}
		}
		return nil
	}}
	report, err := Redrive(t.Context(), t.Context(), RedriveConfig{View: order.View{}, Box: boxOf(p), Writer: w, Rate: 1e6, Run: "r"})
	w.running.Wait()
	if err != nil || report.Redriven != 3 || report.Failed != 1 || report.Codes[view.CodeRejected] != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// An error that is no letter's ends the run; what was acknowledged before is recorded.
func TestAFatalErrorEndsARedrive(t *testing.T) {
	store, to := newShelf(), newRows()
	parkAll(t, store, 500, nil)
	gone := &sink.Error{Disposition: sink.Fatal, Op: "write", Err: errors.New("no such table")}
	p := &process{shelf: store}
	w := &writer{rows: to, process: p, fail: func(m view.Mutation) error {
		if id, err := m.Key[0].UUID(); err == nil && id[14] >= 2 { // from the 200th on, by decimal digits
			return gone
		}
		return nil
	}}
	report, err := Redrive(t.Context(), t.Context(), RedriveConfig{View: order.View{}, Box: boxOf(p), Writer: w, Rate: 1e6, Run: "r"})
	w.running.Wait()
	if !errors.Is(err, gone) || report.Stopped == "" || report.Redriven == 0 || report.Unsettled == 0 || report.Failed != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if s := states(t, store); s[deadletter.Redriven] != report.Redriven || s[deadletter.Open] != 500-report.Redriven {
		t.Errorf("%v, %+v", s, report)
	}
}

func TestARedriveStopsWhenTheFirstAllFail(t *testing.T) {
	damage := func(from int) func(int, *deadletter.Letter) {
		return func(i int, l *deadletter.Letter) {
			if i >= from {
				l.Payload = []byte("{")
			}
		}
	}
	everything := newShelf()
	parkAll(t, everything, 120, damage(0))
	report, err := (&process{shelf: everything}).run(t, "r", order.View{}, newRows(), 0, nil)
	if !errors.Is(err, ErrFirstFailed) || report.Failed != FirstFailures || report.Selected != FirstFailures {
		t.Errorf("%+v, %v", report, err)
	}
	report, err = (&process{shelf: everything}).run(t, "r2", order.View{}, newRows(), 0, func(c *RedriveConfig) { c.KeepGoing = true })
	if err != nil || report.Failed != 120 {
		t.Errorf("keep going: %+v, %v", report, err)
	}
	few := newShelf()
	parkAll(t, few, 49, damage(0))
	if report, err := (&process{shelf: few}).run(t, "r", order.View{}, newRows(), 0, nil); err != nil || report.Failed != 49 {
		t.Errorf("49 letters: %+v, %v", report, err)
	}
	one := newShelf()
	parkAll(t, one, 120, damage(1))
	if report, err := (&process{shelf: one}).run(t, "r", order.View{}, newRows(), 0, func(c *RedriveConfig) { c.Rate = 2000 }); err != nil || report.Failed != 119 {
		t.Errorf("one succeeds: %+v, %v", report, err)
	}
}

// Until one has succeeded no more are in hand than may fail, so that they can be the first.
func TestNoMoreThanTheFirstAreInHandUntilOneSucceeds(t *testing.T) {
	store := newShelf()
	parkAll(t, store, 400, nil)
	p := &process{shelf: store}
	w := &writer{rows: newRows(), process: p, fail: func(view.Mutation) error {
		return &view.Poison{Stage: view.StageWrite, Code: view.CodeRejected, Err: errors.New("no")}
	}}
	report, err := Redrive(t.Context(), t.Context(), RedriveConfig{View: order.View{}, Box: boxOf(p), Writer: w, Rate: 1e6, Run: "r"})
	w.running.Wait()
	if !errors.Is(err, ErrFirstFailed) || w.given.Load() != FirstFailures || report.Failed != FirstFailures {
		t.Errorf("%d submitted, %+v, %v", w.given.Load(), report, err)
	}
}

func TestAnInterruptedRedriveWaitsForWhatIsInHandAndGoesOnLater(t *testing.T) {
	store, to := newShelf(), newRows()
	parkAll(t, store, 300, nil)
	p := &process{shelf: store}
	fetch, interrupt := context.WithCancel(t.Context())
	w := &writer{rows: to, process: p}
	w.fail = func(view.Mutation) error {
		if w.given.Load() > 100 {
			interrupt()
		}
		return nil
	}
	report, err := Redrive(fetch, t.Context(), RedriveConfig{View: order.View{}, Box: boxOf(p), Writer: w, Rate: 1e6, Run: "one"})
	w.running.Wait()
	if err != nil || report.Stopped == "" || report.Unsettled != 0 || report.Redriven < 100 || report.Redriven == 300 {
		t.Fatalf("%+v, %v", report, err)
	}
	if s := states(t, store); s[deadletter.Redriven] != report.Redriven || len(to.rows) != 2*report.Redriven {
		t.Errorf("%v, %d rows", s, len(to.rows))
	}
	rest, err := (&process{shelf: store}).run(t, "two", order.View{}, to, 0, nil)
	if err != nil || rest.Redriven != 300-report.Redriven || rest.Stopped != "" {
		t.Errorf("%+v, %v", rest, err)
	}
}

func TestOutcomesThatCannotBeRecordedAreTold(t *testing.T) {
	store := newShelf()
	parkAll(t, store, 5, nil)
	p := &process{shelf: store}
	p.putsLeft.Store(-1)
	w := &writer{rows: newRows(), process: p}
	w.fail = func(view.Mutation) error { return nil }
	p2 := &deafShelf{p}
	report, err := Redrive(t.Context(), t.Context(), RedriveConfig{View: order.View{}, Box: deadletter.NewBox(p2, "order", 1), Writer: w, Rate: 1e6, Run: "r"})
	w.running.Wait()
	if err == nil || !strings.Contains(err.Error(), "5 letters have outcomes that are not recorded") || report.Redriven != 5 {
		t.Errorf("%+v, %v", report, err)
	}
}

// deafShelf takes nothing.
type deafShelf struct{ *process }

func (deafShelf) PutOnce(context.Context, string, []byte, string) error { return errKilled }

func TestUnreadableLettersAreCountedAndLeftAlone(t *testing.T) {
	store := newShelf()
	parkAll(t, store, 3, nil)
	key := slices.Sorted(maps.Keys(store.objects))[1]
	store.objects[key] = []byte("{}")
	report, err := (&process{shelf: store}).run(t, "r", order.View{}, newRows(), 0, nil)
	if err != nil || report.Unreadable != 1 || report.Redriven != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	if s := states(t, store); s[deadletter.Open] != 1 {
		t.Errorf("%v", s)
	}
}

func TestOnlyOpenLettersAreRedriven(t *testing.T) {
	store := newShelf()
	parkAll(t, store, 1, nil)
	p := &process{shelf: store}
	if _, err := p.run(t, "r", order.View{}, newRows(), 0, func(c *RedriveConfig) { c.Filter.States = deadletter.States() }); err == nil {
		t.Error("closed letters may be asked for")
	}
	if _, err := p.run(t, "r", order.View{}, newRows(), 0, func(c *RedriveConfig) { c.Rate = 0 }); err == nil {
		t.Error("a rate of zero")
	}
}

func TestAPreviewWritesNothing(t *testing.T) {
	store := newShelf()
	parkAll(t, store, 5, func(i int, l *deadletter.Letter) {
		if i == 4 {
			l.Payload = []byte("{")
		}
	})
	before := len(store.objects)
	p, err := PreviewRedrive(t.Context(), RedriveConfig{View: order.View{}, Box: boxOf(&process{shelf: store}), Rate: 2})
	if err != nil || p.Selected != 5 || p.Applies != 4 || p.Fails != 1 || p.Seconds != 2.5 || len(p.Codes) != 1 || p.Codes[0].Fails[view.CodeBadJSON] != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	if len(store.objects) != before {
		t.Error("something was recorded")
	}
}

// A letter is judged against the time at which the stream accepted it, not against any clock.
func TestALetterIsJudgedByItsArrival(t *testing.T) {
	store, to := newShelf(), newRows()
	parkAll(t, store, 2, func(i int, l *deadletter.Letter) {
		if i == 1 { // before its order was placed
			l.Source.Arrival = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
		}
	})
	report, err := (&process{shelf: store}).run(t, "r", order.View{}, to, 0, nil)
	if err != nil || report.Redriven != 1 || report.Codes[view.CodePlacedAtOutOfRange] != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// panicking is a view with a defect.
type panicking struct{ order.View }

func (panicking) Project(view.Record) (view.Result, error) { panic("defect") }

func TestAViewThatPanicsFailsALetterAgain(t *testing.T) {
	store := newShelf()
	parkAll(t, store, 1, nil)
	report, err := (&process{shelf: store}).run(t, "r", panicking{}, newRows(), 0, nil)
	if err != nil || report.Codes[view.CodePanic] != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestABrokenAggregateIsNotTakenForAnEvent(t *testing.T) {
	store, to := newShelf(), newRows()
	parkAll(t, store, 1, func(_ int, l *deadletter.Letter) {
		l.Failure = deadletter.NewFailure(&view.Poison{Stage: view.StageDeaggregate, Code: view.CodeBadAggregate, Err: errors.New("cut off")})
	})
	report, err := (&process{shelf: store}).run(t, "r", order.View{}, to, 0, nil)
	if err != nil || report.Codes[view.CodeBadAggregate] != 1 || len(to.rows) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
