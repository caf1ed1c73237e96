package projector

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"penstock/checkpoint"
	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/view"
	"penstock/view/viewtest"
)

// The doubles that a world is made of. Each can be broken on purpose, to show that the invariants find it.

// kind is what is the matter with a record.
type kind uint8

const (
	sound    kind = iota
	garbled       // no JSON
	refused       // the writer refuses it
	panics        // the view panics
	faulty        // the view returns an error that is not poison
	reformed      // sound, parked by a fault, and redriven
)

var codes = map[kind]view.Code{garbled: view.CodeBadJSON, refused: view.CodeRejected, panics: view.CodePanic}

// fact is one record and what became of it.
type fact struct {
	kind    kind
	data    []byte
	applied bool
	parked  bool
	blinded bool      // parked though nothing is the matter with it
	arrived time.Time // or a little later
}

// arrivedBy notes when a record had arrived, if nothing better is known.
func (f *fact) arrivedBy(t time.Time) {
	if f.arrived.IsZero() || t.Before(f.arrived) {
		f.arrived = t
	}
}

// plant is a fault in a double that an invariant must find.
type plant uint8

const (
	nothing plant = iota
	newestAsWatermark
	lettersForgotten
	settledBeforeApplied
	writesForgotten
	overloadIsPoison
	nowAsProgress
)

// watched is the view of stock with faults, under the world's eyes.
type watched struct {
	viewtest.Stock
	*world
}

func (v watched) Project(r view.Record) (view.Result, error) {
	at := position{r.Position.Shard, checkpoint.Sequence(r.Position.Sequence)}
	result, err := v.Stock.Project(r)
	v.mu.Lock()
	defer v.mu.Unlock()
	f := v.factLocked(at, r.Data)
	f.arrivedBy(r.Arrival)
	if at.sequence.Compare(v.newest[at.shard]) > 0 {
		v.newest[at.shard] = at.sequence
	}
	switch f.kind {
	case panics:
		panic("a bug in the view")
	case faulty:
		return view.Result{}, errors.New("no such thing as a result")
	case sound, garbled, refused, reformed:
	}
	if f.kind == sound && v.blind != nil && v.blind(at) {
		return view.Result{}, &view.Poison{Stage: view.StageDecode, Code: view.CodeBadJSON, Err: errors.New("not understood")}
	}
	if err == nil {
		v.coming[&result.Mutations[0]] = at
	}
	return result, err
}

// memoryWriter applies mutations with Cassandra's rule, each record after some time of its own.
type memoryWriter struct {
	*world
	daemon *daemon
}

func (m memoryWriter) Submit(ctx context.Context, _ *sink.Source, writes []sink.Write) {
	for _, w := range writes {
		m.mu.Lock()
		at := m.coming[&w.Mutations[0]]
		m.mu.Unlock()
		m.running.Go(func() { w.Record.Settle(m.write(ctx, at, w.Mutations)) })
	}
}

func (m memoryWriter) write(ctx context.Context, at position, mutations []view.Mutation) error {
	waited, err := m.pass(ctx, &m.slow)
	if err != nil {
		return err
	}
	if m.plant == overloadIsPoison && waited {
		return &view.Poison{Stage: view.StageWrite, Code: view.CodeUnexplained, Err: errors.New("timeout")}
	}
	if m.plant == settledBeforeApplied {
		m.running.Go(func() {
			time.Sleep(10 * time.Second)
			m.apply(at, mutations)
		})
		return nil
	}
	if err := m.linger(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	dead, refusal, kind, lucky := m.daemon.dead, m.refusal, m.facts[at].kind, m.rng.IntN(10) > 0
	m.mu.Unlock()
	switch {
	case dead:
		<-ctx.Done()
		return context.Cause(ctx)
	case refusal != nil:
		return refusal
	case kind == refused:
		return &view.Poison{Stage: view.StageWrite, Code: view.CodeRejected, Err: errors.New("not for this row")}
	case m.plant == writesForgotten && !lucky:
		return nil
	}
	m.apply(at, mutations)
	return nil
}

func (w *world) apply(at position, mutations []view.Mutation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range mutations {
		w.rows[m.RowKey()] = view.Merge(w.rows[m.RowKey()], m.Cells)
	}
	w.facts[at].applied = true
}

// memoryParker keeps letters.
type memoryParker struct {
	*world
	daemon *daemon
}

func (p memoryParker) Park(ctx context.Context, l deadletter.Letter) error {
	if _, err := p.pass(ctx, &p.s3); err != nil {
		return err
	}
	if err := p.linger(ctx); err != nil {
		return err
	}
	if p.plant == lettersForgotten {
		return nil
	}
	if err := l.Check(); err != nil {
		return err
	}
	p.mu.Lock()
	dead := p.daemon.dead
	p.mu.Unlock()
	if dead {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	p.keep(l)
	return nil
}

// keep takes a letter and checks that it is the one it should be.
func (w *world) keep(l deadletter.Letter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := position{l.Source.Shard, checkpoint.Sequence(l.Source.Sequence)}
	f := w.facts[at]
	if f.kind == sound && w.blind != nil && w.blind(at) {
		f.blinded, f.parked = true, true
		w.letters[l.ID()] = l.Key()
		return
	}
	if f.kind == sound || l.Failure.Code != codes[f.kind] {
		w.breachLocked("record %s of %s, of kind %d, was parked as %s", at.sequence, at.shard, f.kind, l.Failure.Code)
	}
	if !bytes.Equal(l.Payload, f.data) {
		w.breachLocked("the letter of %s of %s does not hold the record's bytes", at.sequence, at.shard)
	}
	if f.kind == panics && !strings.Contains(l.Failure.Stack, "watched.Project") {
		w.breachLocked("the letter of a panic has the stack %q", l.Failure.Stack)
	}
	if f.kind == refused && (l.Event.ID == "" || l.Event.Entity == "") {
		w.breachLocked("the letter of a refused record knows of its event only %+v", l.Event)
	}
	if other, ok := w.letters[l.ID()]; ok && other != l.Key() {
		w.breachLocked("one record has two letters, %s and %s", other, l.Key())
	}
	w.letters[l.ID()] = l.Key()
	f.parked = true
}

// eager commits what was fetched last, settled or not.
type eager struct {
	checkpoint.Store
	*world
}

func (e eager) Apply(ctx context.Context, c checkpoint.Change) error {
	e.mu.Lock()
	if newest := e.newest[c.Shard]; (c.Op == checkpoint.Renew || c.Op == checkpoint.Release) && newest.Compare(c.Commit) > 0 {
		c.Commit = newest
	}
	e.mu.Unlock()
	return e.Store.Apply(ctx, c)
}
