package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/objects"
	"penstock/objects/objectstest"
	"penstock/view"
)

// shelf counts what is read of a real store.
type countingShelf struct {
	*objects.Store
	gets, heads int
}

func (s *countingShelf) Get(ctx context.Context, key string) ([]byte, error) {
	s.gets++
	return s.Store.Get(ctx, key)
}

func (s *countingShelf) GetHead(ctx context.Context, key string, n int) ([]byte, error) {
	s.heads++
	return s.Store.GetHead(ctx, key, n)
}

// put parks a letter that differs from sample.
func put(t *testing.T, store Store, change func(*Letter)) Letter {
	t.Helper()
	l := sample()
	change(&l)
	if err := New(Config{}, store).Park(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return l
}

func mustFind(t *testing.T, b *Box, key string) Mark {
	t.Helper()
	m, err := b.Find(key)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestABoxListsLettersByDayAndNothingElse(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "p")
	var want []string
	for i, day := range []int{20, 20, 21} {
		l := put(t, store, func(l *Letter) {
			l.Source.Sequence = fmt.Sprint(100 + i)
			l.Source.Arrival = time.Date(2026, 11, day, 5, 0, 0, 0, time.UTC)
		})
		want = append(want, l.Key())
	}
	put(t, store, func(l *Letter) { l.Target.Generation = 12 }) // whose prefix begins like that of 1
	put(t, store, func(l *Letter) { l.Target.View = "orders" })
	box := NewBox(store, "order", 1)
	if err := box.Record(t.Context(), "2026-11-20", "r1", noon, 0, []Outcome{{Letter: "x", State: Redriven, At: noon}}); err != nil {
		t.Fatal(err)
	}
	if err := store.PutOnce(t.Context(), "v1/view=order/gen=1/dt=2026-11-20/notes.txt", nil, "text/plain"); err != nil {
		t.Fatal(err)
	}
	days, err := box.Days(t.Context())
	if err != nil || !slices.Equal(days, []string{"2026-11-20", "2026-11-21"}) {
		t.Fatalf("%q, %v", days, err)
	}
	var got []string
	for _, day := range days {
		for m, err := range box.Marks(t.Context(), day) {
			if err != nil {
				t.Fatal(err)
			}
			parsed := mustFind(t, box, store.Location(m.Key)) // as list prints it
			if m.Bytes == 0 || m.Written.IsZero() || m.Code != view.CodeMalformedField || m.Day != day || parsed.Identity != m.Identity || parsed.Key != m.Key {
				t.Errorf("%+v, parsed %+v", m, parsed)
			}
			got = append(got, m.Key)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("letters (-want +got):\n%s", diff)
	}
}

func TestALettersHeadIsReadWithoutItsPayload(t *testing.T) {
	shelf := &countingShelf{Store: objectstest.Start(t, "letters").Store("letters", "p")}
	box := NewBox(shelf, "order", 1)
	for name, c := range map[string]struct {
		sequence    string
		change      func(*Letter)
		gets, heads int
	}{
		"small":               {"1", func(*Letter) {}, 1, 0},
		"large":               {"2", func(l *Letter) { l.Payload = make([]byte, 500_000) }, 0, 1},
		"with a longer stack": {"3", func(l *Letter) { l.Failure.Stack = strings.Repeat("frame\n", 10_000) }, 1, 1},
	} {
		l := put(t, shelf, func(l *Letter) { l.Source.Sequence = c.sequence; c.change(l) })
		m := mustFind(t, box, l.Key())
		for listed, err := range box.Marks(t.Context(), m.Day) {
			if err != nil {
				t.Fatal(err)
			}
			if listed.Key == m.Key {
				m = listed
			}
		}
		shelf.gets, shelf.heads = 0, 0
		head, err := box.Head(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		want := l
		want.Payload = nil
		if diff := cmp.Diff(want, head); diff != "" {
			t.Errorf("%s: head (-want +got):\n%s", name, diff)
		}
		if shelf.gets != c.gets || shelf.heads != c.heads {
			t.Errorf("%s: %d gets, %d heads", name, shelf.gets, shelf.heads)
		}
	}
}

func TestFatesAreThoseOfAllBatchesOfADay(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "p")
	box := NewBox(store, "order", 1)
	for n := range 40 { // more than are read at once
		var batch []Outcome
		for i := range 10 {
			batch = append(batch, Outcome{Letter: fmt.Sprintf("1.s.%d.0", 10*n+i), State: Redriven, At: noon})
		}
		if err := box.Record(t.Context(), "2026-11-21", "r", noon, n, batch); err != nil {
			t.Fatal(err)
		}
	}
	late := []Outcome{{Letter: "1.s.3.0", State: Failed, At: noon.Add(-time.Hour), Failure: &Failure{}}, {Letter: "1.s.900.0", State: Discarded, At: noon, Reason: "x"}}
	if err := box.Record(t.Context(), "2026-11-21", "other", noon, 0, late); err != nil {
		t.Fatal(err)
	}
	fates, err := box.Fates(t.Context(), "2026-11-21")
	if err != nil {
		t.Fatal(err)
	}
	if fates.Len() != 401 || fates.Of("1.s.399.0").State() != Redriven || fates.Of("1.s.900.0").State() != Discarded || fates.Of("1.s.901.0").State() != Open {
		t.Errorf("%d fates", fates.Len())
	}
	history, err := box.History(t.Context(), Mark{Day: "2026-11-21", Identity: "1.s.3.0"})
	if err != nil || len(history) != 2 || history[0].State != Failed || history[1].State != Redriven {
		t.Errorf("history %+v, %v", history, err)
	}
	if none, err := box.Fates(t.Context(), "2026-11-22"); err != nil || none.Len() != 0 {
		t.Errorf("%d fates of a day without, %v", none.Len(), err)
	}
}

func TestOutcomesAreRecordedOnce(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "p")
	box := NewBox(store, "order", 1)
	batch := []Outcome{{Letter: "1.s.1.0", State: Redriven, At: noon}}
	for range 2 { // the second after an answer that was lost
		if err := box.Record(t.Context(), "2026-11-21", "r", noon, 0, batch); err != nil {
			t.Fatal(err)
		}
	}
	other := []Outcome{{Letter: "1.s.2.0", State: Redriven, At: noon}}
	if err := box.Record(t.Context(), "2026-11-21", "r", noon, 0, other); err == nil || !strings.Contains(err.Error(), "holds others") {
		t.Errorf("other outcomes under one name: %v", err)
	}
	if err := box.Record(t.Context(), "2026-11-21", "r", noon, 1, []Outcome{{Letter: "x", State: Discarded, At: noon}}); err == nil {
		t.Error("a discard without a reason is recorded")
	}
	if err := box.Record(t.Context(), "2026-11-21", "r", noon, 1, make([]Outcome, MaxBatch+1)); err == nil {
		t.Error("too many outcomes are recorded")
	}
}

func TestABoxRefusesKeysOfOthers(t *testing.T) {
	box := NewBox(nil, "order", 1)
	own := sample().Key()
	for key, refused := range map[string]bool{
		strings.Replace(own, "gen=1", "gen=2", 1):          true,
		strings.Replace(own, "gen=1", "gen=12", 1):         true,
		strings.Replace(own, "view=order", "view=shop", 1): true,
		"bad_json":                             false,
		own + ".gz":                            false,
		strings.Replace(own, "dt=", "day=", 1): false,
		strings.Replace(own, ".3.json", ".json", 1): false,
	} {
		_, err := box.Find(key)
		other, ok := errors.AsType[*OtherBoxError](err)
		if err == nil || ok != refused || ok && !strings.Contains(other.Error(), "--generation") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestDamagedLettersAreToldWithTheirKey(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "p")
	box := NewBox(store, "order", 1)
	l := sample()
	text, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.Replace(l.Key(), "1795082400.", "1795082401.", 1)
	for key, body := range map[string]string{moved: string(text), l.Key(): "{}"} {
		if err := store.PutOnce(t.Context(), key, []byte(body), ContentType); err != nil {
			t.Fatal(err)
		}
		if _, err := box.Letter(t.Context(), mustFind(t, box, key)); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, text := range []string{"", "[", "{}", `{"penstock":3}`, `{"penstock":{"format":99}}`, `{"a":`} {
		if _, err := decodeHead([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
