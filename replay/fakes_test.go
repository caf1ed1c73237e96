package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/objects"
	"penstock/order"
	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/view"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// errKilled is what everything answers to a process that is dead.
var errKilled = errors.New("killed")

// shelf is a store in memory that any number of processes share.
type shelf struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func newShelf() *shelf { return &shelf{objects: map[string][]byte{}} }

// process is a process's view of the shelf. Once it is dead nothing of it gets through.
type process struct {
	*shelf
	dead atomic.Bool
	// writerOnly makes the end that a writer plants one of Cassandra alone, as seen by this process: lost is then set.
	writerOnly bool
	lost       atomic.Bool
	// putsLeft counts down: the put that finds it at 1 is the last thing the process does. 0 for no such end.
	putsLeft atomic.Int64
}

func (p *process) gone() bool { return p.dead.Load() || p.lost.Load() }

func (p *process) PutOnce(_ context.Context, key string, body []byte, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead.Load() {
		return &objects.Error{Op: "put", Class: objects.Transient, Err: errKilled}
	}
	if _, exists := p.objects[key]; exists {
		return &objects.ExistsError{Location: key}
	}
	p.objects[key] = slices.Clone(body)
	if p.putsLeft.Add(-1) == 0 {
		p.dead.Store(true)
		return &objects.Error{Op: "put", Class: objects.Transient, Err: errKilled} // and was carried out
	}
	return nil
}

func (p *process) Get(_ context.Context, key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, ok := p.objects[key]
	if !ok {
		return nil, &objects.NotFoundError{Location: key}
	}
	return body, nil
}

func (p *process) GetHead(ctx context.Context, key string, n int) ([]byte, error) {
	body, err := p.Get(ctx, key)
	return body[:min(n, len(body))], err
}

func (p *process) List(_ context.Context, prefix string) iter.Seq2[objects.Object, error] {
	return func(yield func(objects.Object, error) bool) {
		p.mu.Lock()
		var listed []objects.Object
		for _, key := range slices.Sorted(maps.Keys(p.objects)) {
			if strings.HasPrefix(key, prefix) {
				listed = append(listed, objects.Object{Key: key, Size: int64(len(p.objects[key])), Modified: noon})
			}
		}
		p.mu.Unlock()
		for _, o := range listed {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (p *process) Folders(_ context.Context, prefix string) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := map[string]bool{}
	for key := range p.objects {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			if folder, _, ok := strings.Cut(rest, "/"); ok {
				found[folder] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// rows are tables in memory that merge as Cassandra does.
type rows struct {
	mu   sync.Mutex
	rows map[string][]view.Cell
}

func newRows() *rows { return &rows{rows: map[string][]view.Cell{}} }

func (r *rows) apply(mutations []view.Mutation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range mutations {
		r.rows[m.RowKey()] = view.Merge(r.rows[m.RowKey()], m.Cells)
	}
}

func (r *rows) ReadStampedRow(_ context.Context, t view.Table, _ view.Generation, key []view.Value) (view.Row, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cells, ok := r.rows[view.Mutation{Table: t.Name, Key: key}.RowKey()]
	return view.Row{Key: key, Cells: cells}, ok, nil
}

// writer applies what it is given a little later, from goroutines of its own and in another order.
type writer struct {
	rows    *rows
	process *process
	fail    func(view.Mutation) error // nil: nothing fails
	after   int64                     // submissions until the process is killed, or has lost Cassandra; 0: never
	given   atomic.Int64
	most    atomic.Int64 // that were in hand at once
	inHand  atomic.Int64
	running sync.WaitGroup
}

func (w *writer) Submit(ctx context.Context, _ *sink.Source, writes []sink.Write) {
	for _, one := range writes {
		if n := w.given.Add(1); n == w.after {
			if w.process.writerOnly {
				w.process.lost.Store(true)
			} else {
				w.process.dead.Store(true)
			}
		}
		if n := w.inHand.Add(1); n > w.most.Load() {
			w.most.Store(n)
		}
		w.running.Go(func() {
			if rand.N(4) == 0 {
				time.Sleep(rand.N(200 * time.Microsecond)) // another order
			}
			w.inHand.Add(-1)
			switch {
			case ctx.Err() != nil:
				one.Record.Settle(context.Cause(ctx))
				return
			case w.fail != nil && w.fail(one.Mutations[0]) != nil:
				one.Record.Settle(w.fail(one.Mutations[0]))
				return
			case w.process.gone() && rand.N(2) == 0:
				one.Record.Settle(errKilled) // was not sent
				return
			}
			w.rows.apply(one.Mutations)
			if w.process.gone() {
				one.Record.Settle(errKilled) // was sent, and the answer is lost
				return
			}
			one.Record.Settle(nil)
		})
	}
}

// oldRelease is the order view without some of its event types.
type oldRelease struct {
	order.View
	unknown map[string]bool
}

func (v oldRelease) Project(r view.Record) (view.Result, error) {
	result, err := v.View.Project(r)
	if err == nil && v.unknown[result.Event.Type] {
		return view.Result{}, &view.Poison{Stage: view.StageDecode, Code: view.CodeUnknownType, Event: result.Event, Err: fmt.Errorf("type %q is not known", result.Event.Type)}
	}
	return result, err
}

// park puts the letter of a record, as the shard loop does.
func park(t testing.TB, store deadletter.Store, record view.Record, p *view.Poison, change func(*deadletter.Letter)) deadletter.Letter {
	t.Helper()
	l := deadletter.Letter{
		Target: deadletter.Target{View: order.View{}.Name(), Revision: order.View{}.Revision(), Generation: 1},
		Source: deadletter.Source{Stream: record.Position.Stream, Epoch: "1763700000", Shard: record.Position.Shard, Sequence: record.Position.Sequence,
			SubSequence: record.Position.SubSequence, Arrival: record.Arrival},
		Event: deadletter.Event(p.Event), Failure: deadletter.NewFailure(p), Context: deadletter.Context{Version: "1"}, Payload: record.Data,
	}
	if change != nil {
		change(&l)
	}
	if err := deadletter.New(deadletter.Config{}, store).Park(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return l
}

func boxOf(p *process) *deadletter.Box { return deadletter.NewBox(p, order.View{}.Name(), 1) }

// states counts letters by their state.
func states(t testing.TB, s *shelf) map[deadletter.State]int {
	t.Helper()
	out := map[deadletter.State]int{}
	for f, err := range Walk(t.Context(), boxOf(&process{shelf: s}), Filter{}, Marks, 1) {
		if err != nil {
			t.Fatal(err)
		}
		out[f.Fate.State()]++
	}
	return out
}
