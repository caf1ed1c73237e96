package sim

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
)

// leaseTable is the lease table as one process sees it.
type leaseTable struct {
	*process
	store checkpoint.Store
}

// Rows implements [checkpoint.Store]. What it returns may be old by the time it arrives.
func (t leaseTable) Rows(ctx context.Context) ([]checkpoint.Row, error) {
	if err := t.pass(ctx); err != nil {
		return nil, err
	}
	rows, err := t.store.Rows(ctx)
	if err := t.linger(ctx, "rows", 50*time.Millisecond); err != nil {
		return nil, err
	}
	if t.world.plant == nobodyDies {
		for i := range rows {
			if rows[i].Owner != "" && rows[i].Owner != t.name {
				rows[i].Timeout = time.Now().UTC().Format(time.RFC3339Nano)
			}
		}
	}
	return rows, err
}

// Apply implements [checkpoint.Store].
func (t leaseTable) Apply(ctx context.Context, c checkpoint.Change) error {
	if err := t.pass(ctx); err != nil {
		return err
	}
	err := t.store.Apply(ctx, t.world.plant.distort(t.world, c))
	if err := t.pass(ctx); err != nil {
		return err // the answer does not arrive
	}
	_, refused := errors.AsType[*checkpoint.Refused](err)
	if refused {
		t.world.count("lease writes refused")
	}
	if t.world.plant == silenceIsSuccess && err != nil && !refused {
		return nil
	}
	return err
}

// scriptLeases decides on every call of the lease table. No call is answered at once: what the world does at one instant
// is then known to it before anybody acts on it.
func (w *world) scriptLeases(c storetest.Call) storetest.Fault {
	f := storetest.Fault{Delay: w.upTo(c.Caller+"lease call", 20*time.Millisecond)}
	switch {
	case c.Caller == "":
		return storetest.Fault{Delay: time.Millisecond} // an operator
	case w.during(leasesDown, "") && w.draw(c.Caller+"throttled", 10) < 7:
		w.count("lease calls throttled")
		f.Fail = checkpoint.ErrThrottled
	case c.Change != nil && w.during(ambiguous, c.Caller) && w.draw(c.Caller+"hit", 2) == 0:
		w.ambiguous(c.Caller, &f)
	}
	return f
}

// ambiguous makes one write of the lease table such that its writer cannot know what became of it.
func (w *world) ambiguous(caller string, f *storetest.Fault) {
	switch w.draw(caller+"ambiguity", 6) {
	case 0, 1:
		w.count("lease answers lost")
		f.Lose = storetest.ErrScripted
	case 2:
		w.count("lease writes lost")
		f.Fail = storetest.ErrScripted
	case 3:
		w.count("lease writes late")
		f.Late = w.upTo(caller+"late", 2*failover)
	case 4:
		w.count("lease writes doubled")
		f.Twice = true
	case 5:
		w.count("lease writes slow")
		f.Delay = w.upTo(caller+"slow", failover)
	}
}

// stateTable is the state table, which may show what was a while ago.
type stateTable struct {
	world *world
	items *storetest.Items

	mu   sync.Mutex // never held while the table is called
	past map[string][]snapshot
}

// snapshot is all items of a kind from a moment on.
type snapshot struct {
	at    time.Time
	items map[string]map[string]string
}

// staleness is the most that a stale reading is behind.
const staleness = 3 * time.Second

// remember takes a snapshot after a write.
func (s *stateTable) remember(ctx context.Context, kind string) error {
	items, err := s.items.Query(ctx, kind)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.past == nil {
		s.past = map[string][]snapshot{}
	}
	past := append(s.past[kind], snapshot{time.Now(), items})
	for len(past) > 2 && time.Since(past[1].at) > staleness {
		past = past[1:]
	}
	s.past[kind] = past
	return nil
}

// at returns the items of a kind as they were at a moment.
func (s *stateTable) at(kind string, moment time.Time) map[string]map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	past := s.past[kind]
	i, _ := slices.BinarySearchFunc(past, moment, func(shot snapshot, t time.Time) int { return shot.at.Compare(t) })
	if i == 0 {
		return map[string]map[string]string{}
	}
	return maps.Clone(past[i-1].items)
}

// itemsOf is the state table as one process sees it.
type itemsOf struct{ *process }

func (t itemsOf) Put(ctx context.Context, kind, name string, values map[string]string) error {
	return t.write(ctx, kind, func(s storetest.ItemStore) error { return s.Put(ctx, kind, name, values) })
}

func (t itemsOf) Delete(ctx context.Context, kind, name string) error {
	return t.write(ctx, kind, func(s storetest.ItemStore) error { return s.Delete(ctx, kind, name) })
}

func (t itemsOf) write(ctx context.Context, kind string, do func(storetest.ItemStore) error) error {
	if err := t.pass(ctx); err != nil {
		return err
	}
	state := t.world.state
	err := do(state.items.As(t.name))
	if err == nil {
		err = state.remember(ctx, kind)
	}
	if err := t.pass(ctx); err != nil {
		return err
	}
	return err
}

func (t itemsOf) Query(ctx context.Context, kind string) (map[string]map[string]string, error) {
	if err := t.pass(ctx); err != nil {
		return nil, err
	}
	state := t.world.state
	items, err := state.items.As(t.name).Query(ctx, kind)
	if err == nil && t.world.during(stale, "") {
		t.world.count("stale reads")
		items = state.at(kind, time.Now().Add(-t.world.upTo(t.name+"stale", staleness)))
	}
	if err := t.pass(ctx); err != nil {
		return nil, err
	}
	return items, err
}

// scriptState decides on every call of the state table. Those of the world itself have no caller.
func (w *world) scriptState(c storetest.Call) storetest.Fault {
	if c.Caller == "" {
		return storetest.Fault{}
	}
	f := storetest.Fault{Delay: w.upTo(c.Caller+"state call", 20*time.Millisecond)}
	if w.during(statesDown, "") {
		w.count("state calls failed")
		f.Fail = storetest.ErrScripted
	}
	return f
}
