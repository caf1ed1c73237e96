package cassandra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"go.uber.org/zap"

	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/view"
)

const (
	// maxCandidates is how many hosts a request may go to: as many as replicas at the usual replication factor.
	maxCandidates = 3
	// unknownTries bounds the repeats of a failure that nobody classified.
	unknownTries = 5
	// maxIdle bounds the workers that are kept for their memory.
	maxIdle = 256
	// complainEvery is how many attempts of one request pass between two lines in the log.
	complainEvery = 8
	// schemaCheckTimeout bounds the look at the schema that follows a refused statement.
	schemaCheckTimeout = 10 * time.Second
	// schemaCheckEvery is the pause between two looks that follow an unexplained error.
	schemaCheckEvery = 5 * time.Second
)

// WriterConfig configures a [Writer].
type WriterConfig struct {
	View       view.View
	Generation view.Generation
	Limits     adaptive.Config         // of the requests in flight at each coordinator host
	Debt       adaptive.GovernorConfig // what absent replicas may be owed
	Log        *zap.Logger
	// Observe is told of every attempt: which host, how long it took from the moment it had its permit, and its
	// classified error.
	Observe func(host string, took time.Duration, err error)
}

// Writer applies writes to the tables of one generation of one view. It groups mutations that go to the same replicas,
// merges what is written twice, sends each group through a permit of one coordinator host, and repeats what failed for a
// while or for reasons unknown, for hours if need be. How much it sends at once is what each host takes without
// answering late; see [adaptive.Limiter].
//
// Its goroutines live while there is something to send, one for each request on its way and one that keeps time; Wait
// waits for them.
type Writer struct {
	session *Session
	config  WriterConfig
	tables  map[string]*table
	gate    *gate
	running sync.WaitGroup

	// What asks the servers; others in tests of what their errors lead to.
	execute     func(*worker, context.Context, *request, []statement) error
	checkSchema func(context.Context) error

	mu     sync.Mutex
	idle   []*worker // their memory is used again
	looked time.Time // at the schema, because of an unexplained error
}

// NewWriter returns a writer. It does not check that the tables exist.
func NewWriter(s *Session, c WriterConfig) (*Writer, error) {
	if err := errors.Join(c.Limits.Validate(), c.Debt.Validate()); err != nil {
		return nil, fmt.Errorf("configure the writer: %w", err)
	}
	if err := view.Check(c.View); err != nil {
		return nil, err
	}
	if c.Observe == nil {
		c.Observe = func(string, time.Duration, error) {}
	}
	tables := map[string]*table{}
	for _, t := range c.View.Tables() {
		tables[t.Name] = newTable(s.keyspace, t, c.Generation)
	}
	return &Writer{
		session: s, config: c, tables: tables, gate: newGate(c.Limits, c.Debt, time.Now()),
		execute:     (*worker).execute,
		checkSchema: func(ctx context.Context) error { return s.CheckSchema(ctx, c.View, c.Generation) },
	}, nil
}

// Submit takes writes of one source over, the slice with them, and returns at once; each is settled later. Once ctx ends,
// which is to be the same for all that a source submits, nothing more of them is sent, and what has no outcome yet is
// settled with the cause of ctx's end. The number of writes in hand is the caller's to bound. A mutation of a table that
// the view does not have panics: the view broke its promise.
func (w *Writer) Submit(ctx context.Context, from *sink.Source, writes []sink.Write) {
	ring := w.ring()
	if requests := plan(ctx, w.tables, ring, writes); len(requests) > 0 {
		w.gate.put(ring, from, requests)
		w.keepTime()
		w.sendWhatMay()
	}
}

// Reconfigure changes the bounds of the requests in flight and of the replicas' debt, while writing. The error names
// the bound that breaks a rule, and nothing changes then.
func (w *Writer) Reconfigure(limits adaptive.Config, debt adaptive.GovernorConfig) error {
	return w.gate.setConfig(limits, debt, time.Now())
}

// Wait returns when everything submitted is settled and no goroutine is left.
func (w *Writer) Wait() { w.running.Wait() }

// ring is the topology of this moment, which may be another than that of the plan.
func (w *Writer) ring() *ring { return w.session.router.ring.Load() }

// sendWhatMay gives every request that has a permit a worker.
func (w *Writer) sendWhatMay() {
	for {
		f, ok, _ := w.gate.next(w.ring(), nil, time.Now())
		if !ok {
			return
		}
		w.running.Go(func() { w.worker().work(f) })
	}
}

// pulseEvery is how often the gate is told the time while it has something to do.
const pulseEvery = 10 * time.Millisecond

// keepTime sees to it that the gate is told the time until nothing is left to wait for.
func (w *Writer) keepTime() {
	if !w.gate.beginPulse() {
		return
	}
	w.running.Go(func() {
		ticker := time.NewTicker(pulseEvery)
		defer ticker.Stop()
		for now := range ticker.C {
			over, idle := w.gate.pulse(w.ring(), now)
			for _, r := range over {
				r.settle(r.cause)
			}
			for _, moved := range w.gate.news(now) {
				w.config.Log.Info("limit of a host changed", moved.fields()...)
			}
			if idle {
				return
			}
			w.sendWhatMay()
		}
	})
}

// worker sends requests, one at a time, and uses its memory again from one to the next.
type worker struct {
	*Writer
	bound      binder
	statements []statement
}

func (w *Writer) worker() *worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.idle); n > 0 {
		last := w.idle[n-1]
		w.idle = w.idle[:n-1]
		return last
	}
	return &worker{Writer: w}
}

// work sends a request, and others as long as its host has a permit for them.
func (w *worker) work(f flight) {
	for ok := true; ok; {
		w.send(f)
		var more bool
		if f, ok, more = w.gate.next(w.ring(), f.host, time.Now()); more {
			w.sendWhatMay()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) < maxIdle {
		w.idle = append(w.idle, w)
	}
}

// send sends a request once, gives its permit back, and sees to what follows from the outcome.
func (w *worker) send(f flight) {
	r := f.request
	if over := ended(r.ctx); over != nil { // while it waited for the permit
		w.gate.done(f, adaptive.Ignored, time.Now())
		r.settle(over)
		return
	}
	if r.suspicion == nil {
		w.statements = r.statements(w.statements[:0])
	} else { // every column unset: it writes nothing. Its stamp is the least there is.
		w.statements = append(w.statements[:0], statement{table: r.parts[0].table, key: r.parts[0].mutation.Key, stamp: 1})
	}
	defer func() { clear(w.statements) }() // what was sent is not to be kept
	f.hint = hintBytes(w.statements, r.batched(w.statements))
	start := time.Now()
	err := w.Writer.execute(w, pin(r.ctx, f.host), r, w.statements)
	end := time.Now()
	over := ended(r.ctx)
	outcome := outcomeOf(err)
	if over != nil && err != nil {
		outcome = adaptive.Ignored
	}
	w.gate.done(f, outcome, end)
	var seen error
	if err != nil {
		seen = &sink.Error{Disposition: classify(err), Op: "write " + r.String(), Err: err}
	}
	w.config.Observe(f.host.address, end.Sub(start), seen)
	r.attempts++
	switch {
	case err == nil && r.suspicion == nil:
		r.settle(nil)
	case over != nil:
		r.settle(over)
	case r.suspicion != nil:
		w.judge(f, err)
	default:
		w.failed(f, outcome, err)
	}
}

// failed decides what becomes of a request that did not get through.
func (w *worker) failed(f flight, outcome adaptive.Outcome, err error) {
	r := f.request
	disposition := classify(err)
	r.note(time.Now(), disposition, err)
	switch disposition {
	case sink.Poison, sink.Unknown:
		if r.retrial {
			r.blame(err, err)
			return
		}
		r.refusals++
		if disposition == sink.Unknown && w.schemaIsDue() && w.schemaBroken(r) {
			return
		}
		if disposition == sink.Poison || r.refusals >= unknownTries {
			w.suspect(r, err)
			return
		}
	case sink.Fatal:
		r.settle(&sink.Error{Disposition: sink.Fatal, Op: "write " + r.String(), Err: err})
		return
	case sink.Transient, sink.Overload:
		r.refusals, r.retrial = 0, false
	}
	w.repeat(f, outcome, err)
}

// repeat sends a request again, after a pause.
func (w *worker) repeat(f flight, outcome adaptive.Outcome, err error) {
	r := f.request
	if r.attempts%complainEvery == 0 {
		w.config.Log.Warn("write does not get through, repeating", zap.Stringer("tables", r), zap.Int("attempts", r.attempts),
			zap.Stringer("disposition", classify(err)), zap.String("host", f.host.address), zap.Error(err))
	}
	kind := adaptive.Transient
	if outcome == adaptive.Overloaded || outcome == adaptive.Unavailable {
		kind = adaptive.SlowDown
	}
	r.failures++
	r.failedAt = f.host
	w.gate.putLater(r, kind, time.Now())
	w.keepTime()
}

// suspect begins to find out which record is to blame for a refusal. Those that were sent together are sent alone. Of one
// alone, the row's own statement is sent without its values: a server also calls statements invalid that it will take
// later, while a disk is too full, a guardrail is set, or a coordinator has yet to learn of a column. So a record is
// blamed only when that gets through, to the same replicas, and the record is refused once more after that, since an
// outage may have ended in between; or when its key cannot be any row's.
func (w *worker) suspect(r *request, cause error) {
	if singles := r.split(); len(singles) > 1 {
		w.gate.putAgain(singles...)
		w.keepTime()
		return
	}
	if fault := r.parts[0].table.keyFault(r.parts[0].mutation.Key); fault != nil {
		r.blame(fault, cause)
		return
	}
	r.suspicion = cause
	w.gate.putAgain(r)
	w.keepTime()
}

// judge decides by what became of the row without its values. Where that does not get through either, nobody is guilty yet,
// unless the table is gone: then the writer cannot go on.
func (w *worker) judge(f flight, err error) {
	r := f.request
	r.suspicion = nil
	if err == nil {
		r.retrial = true
		w.gate.putAgain(r)
		w.keepTime()
		return
	}
	if classify(err) == sink.Poison && w.schemaBroken(r) {
		return
	}
	w.repeat(f, outcomeOf(err), err)
}

// schemaIsDue reports whether it is time to look at the schema because of an error that nobody can explain: a server whose
// table was dropped answers so too, before it calls the statement invalid. Once in a while is enough.
func (w *Writer) schemaIsDue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.looked) < schemaCheckEvery {
		return false
	}
	w.looked = time.Now()
	return true
}

// schemaBroken reports whether the tables are not what the view needs; then nothing of a request can be written, and it is
// settled.
func (w *Writer) schemaBroken(r *request) bool {
	ctx, cancel := context.WithTimeout(r.ctx, schemaCheckTimeout)
	defer cancel()
	err := w.checkSchema(ctx)
	if _, broken := errors.AsType[*SchemaError](err); !broken {
		return false
	}
	r.settle(err)
	return true
}

// blame parks the record of a request of one mutation. The fault is what its letter says; the cause what the server
// answered.
func (r *request) blame(fault, cause error) {
	code := view.CodeRejected
	if classify(cause) == sink.Unknown {
		code = view.CodeUnexplained
	}
	p := &view.Poison{Stage: view.StageWrite, Code: code, Tries: r.attempts, Err: fmt.Errorf("write %s: %w", r, fault)}
	if r.history != nil {
		p.First, p.Causes = r.history.first, r.history.causes
	}
	r.settle(p)
}

// execute sends statements as one UNLOGGED batch, or one by one. Part of a batch may be applied and the rest not: what failed is
// repeated whole.
func (w *worker) execute(ctx context.Context, r *request, statements []statement) error {
	defer w.bound.reset()
	if r.batched(statements) {
		batch, err := w.batch(statements)
		if err != nil {
			return err
		}
		return batch.ExecContext(ctx)
	}
	for _, s := range statements {
		args, err := w.bound.bind(s)
		if err != nil {
			return err
		}
		if err := w.session.driver.Query(s.table.updateCQL, args...).ExecContext(ctx); err != nil {
			return err
		}
	}
	return nil
}

// batched reports whether statements go as one batch: where they are too large for that, they go one by one.
func (r *request) batched(statements []statement) bool {
	return len(statements) > 1 && r.size <= maxRequestBytes
}

// batch binds statements. What it returns is good until the binder is reset.
func (w *worker) batch(statements []statement) (*gocql.Batch, error) {
	batch := w.session.driver.Batch(gocql.UnloggedBatch).DefaultTimestamp(false)
	for _, s := range statements {
		args, err := w.bound.bind(s)
		if err != nil {
			return nil, err
		}
		batch.Query(s.table.updateCQL, args...)
	}
	return batch, nil
}

// ended returns why ctx has ended, or nil. A context may know that it has ended before it was cancelled.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}
