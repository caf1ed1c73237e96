package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock/objects"
	"penstock/sink/deadletter"
	"penstock/view"
)

// million is a shelf with a million letters, none of which is kept anywhere.
type million struct {
	process
	letters  int
	body     []byte // of every letter
	outcomes [][]byte

	reading, most atomic.Int64 // letters that are read at once
	failAt        string       // the letter whose reading fails
}

const millionDay = "v1/view=order/gen=1/dt=2026-11-21/"

func (m *million) Folders(context.Context, string) ([]string, error) {
	return []string{"2026-11-21"}, nil
}

func (m *million) List(_ context.Context, prefix string) iter.Seq2[objects.Object, error] {
	return func(yield func(objects.Object, error) bool) {
		for n := range m.outcomes {
			if !yield(objects.Object{Key: fmt.Sprintf("%s_outcomes/%d.json", millionDay, n), Size: int64(len(m.outcomes[n]))}, nil) {
				return
			}
		}
		if strings.HasSuffix(prefix, "_outcomes/") {
			return
		}
		for n := range m.letters {
			if !yield(objects.Object{Key: fmt.Sprintf("%sbad_json/1763700000.shardId-000000000000.%d.0.json", millionDay, n), Size: int64(len(m.body)), Modified: noon}, nil) {
				return
			}
		}
	}
}

func (m *million) Get(_ context.Context, key string) ([]byte, error) {
	if name, ok := strings.CutPrefix(key, millionDay+"_outcomes/"); ok {
		var n int
		if _, err := fmt.Sscanf(name, "%d.json", &n); err != nil {
			return nil, err
		}
		return m.outcomes[n], nil
	}
	if n := m.reading.Add(1); n > m.most.Load() {
		m.most.Store(n)
	}
	defer m.reading.Add(-1)
	runtime.Gosched()
	if m.failAt != "" && strings.Contains(key, m.failAt) {
		return nil, &objects.Error{Op: "get", Location: key, Class: objects.Transient, Err: errors.New("no answer")}
	}
	return m.body, nil
}

func newMillion(t *testing.T, letters, closed int) *million {
	t.Helper()
	body, err := deadletter.Letter{
		Target: deadletter.Target{View: "order", Revision: "r", Generation: 1},
		Source: deadletter.Source{Stream: "s", Epoch: "1763700000", Shard: "shardId-000000000000", Sequence: "1", Arrival: noon},
		Event:  deadletter.Event{Type: "order.paid"}, Failure: deadletter.NewFailure(&view.Poison{Stage: view.StageDecode, Code: view.CodeBadJSON}),
		Payload: []byte("{"),
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m := &million{process: process{shelf: newShelf()}, letters: letters, body: body}
	for n := 0; n < closed; n += deadletter.MaxBatch {
		var b strings.Builder
		for i := range deadletter.MaxBatch {
			fmt.Fprintf(&b, `{"letter":"1763700000.shardId-000000000000.%d.0","state":"redriven","at":"2026-11-21T12:00:00Z","by":"a@b","run":"r"}`+"\n", n+i)
		}
		m.outcomes = append(m.outcomes, []byte(b.String()))
	}
	return m
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// However many letters there are, what is kept is a day's outcomes: those of a tenth here.
func TestAMillionLettersAreLookedThroughInLittleMemory(t *testing.T) {
	m := newMillion(t, many, many/10)
	before, most := heap(), int64(0)
	var s Summary
	for f, err := range Walk(t.Context(), deadletter.NewBox(m, "order", 1), Filter{}, Marks, DefaultReaders) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Add(f); s.Count%(many/4) == 0 {
			most = max(most, heap()-before)
		}
	}
	if s.Count != many || s.Open != many-many/10 || len(s.Groups()) != 1 || s.Groups()[0].Example == "" {
		t.Errorf("%+v", s)
	}
	if most > 32<<20 {
		t.Errorf("%d MiB were kept", most>>20)
	}
	t.Logf("%d KiB", most>>10)
}

func TestSomeLettersAreReadAtOnceAndInOrder(t *testing.T) {
	m := newMillion(t, 8000, 0)
	n, before, most := 0, heap(), int64(0)
	for f, err := range Walk(t.Context(), deadletter.NewBox(m, "order", 1), Filter{Type: "order.paid"}, Heads, 8) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("1763700000.shardId-000000000000.%d.0", n); f.Identity != want || f.Letter.Source.Stream != "s" {
			t.Fatalf("%s, want %s", f.Identity, want)
		}
		if n++; n%2000 == 0 {
			most = max(most, heap()-before)
		}
	}
	if n != 8000 || m.most.Load() > 8 || m.most.Load() < 2 {
		t.Errorf("%d letters, %d at once", n, m.most.Load())
	}
	if most > 8<<20 {
		t.Errorf("%d MiB were kept", most>>20)
	}
}

func TestAWalkEndsWithTheFirstError(t *testing.T) {
	m := newMillion(t, 5000, 0)
	m.failAt = ".3000.0.json"
	n, failed := 0, 0
	for _, err := range Walk(t.Context(), deadletter.NewBox(m, "order", 1), Filter{}, Heads, 8) {
		if err != nil {
			failed++
			continue
		}
		n++
	}
	if n != 3000 || failed != 1 {
		t.Errorf("%d letters, %d errors", n, failed)
	}
	// Whoever has seen enough stops, and nothing goes on (goleak).
	for range Walk(t.Context(), deadletter.NewBox(m, "order", 1), Filter{}, Heads, 8) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for f, err := range Walk(ctx, deadletter.NewBox(m, "order", 1), Filter{}, Heads, 8) {
		if strings.Contains(f.Key, ".100.0") {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("got %v", last)
	}
}

// Days that a filter rules out are not listed.
func TestTimeBoundsPruneDays(t *testing.T) {
	day := func(d, hour int) time.Time { return time.Date(2026, 11, d, hour, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		since, until time.Time
		may, look    bool
	}{
		{time.Time{}, time.Time{}, true, false},
		{day(21, 0), time.Time{}, true, false},
		{day(21, 1), time.Time{}, true, true},
		{day(22, 0), time.Time{}, false, false},
		{time.Time{}, day(21, 0), false, false},
		{time.Time{}, day(21, 23), true, true},
		{time.Time{}, day(22, 0), true, false},
		{day(20, 5), day(22, 5), true, false},
		{day(21, 5), day(21, 6), true, true},
	} {
		f := Filter{Since: c.since, Until: c.until}
		if may, look := f.includesDay("2026-11-21"); may != c.may || c.may && look != c.look {
			t.Errorf("%v to %v: %t, %t", c.since, c.until, may, look)
		}
	}
	if may, _ := (Filter{}).includesDay("_outcomes"); may {
		t.Error("a folder that is no day")
	}
}

func TestShardsAreReadFromIdentities(t *testing.T) {
	for identity, want := range map[string]string{"1.shardId-000000000000.495.0": "shardId-000000000000", "1.a.b.c.495.0": "a.b.c", "1.2.3": "", "": ""} {
		if got := shardOf(identity); got != want {
			t.Errorf("%q: %q, want %q", identity, got, want)
		}
	}
}

func TestGroupsAreBounded(t *testing.T) {
	var s Summary
	for n := range maxGroups + 500 {
		s.Add(Found{Mark: deadletter.Mark{Key: fmt.Sprint(n), Day: "2026-11-21", Code: view.CodeBadJSON}, Letter: deadletter.Letter{Failure: deadletter.Failure{Fingerprint: fmt.Sprint(n)}}})
	}
	groups := s.Groups()
	i := slices.IndexFunc(groups, func(g Group) bool { return g.Fingerprint == otherCauses })
	if len(groups) != maxGroups+1 || i < 0 || groups[i].Count != 500 {
		t.Errorf("%d groups", len(groups))
	}
}
