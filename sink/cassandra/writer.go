package cassandra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"go.uber.org/zap"

	"penstock/sink"
	"penstock/view"
)

const (
	// maxCandidates is how many hosts a request may go to: as many as replicas at the usual replication factor.
	maxCandidates = 3
	// unknownTries bounds the repeats of a failure that nobody classified.
	unknownTries = 5
	// complainEvery is how many attempts of one request pass between two lines in the log.
	complainEvery = 8
	// schemaCheckTimeout bounds the look at the schema that follows a refused statement.
	schemaCheckTimeout = 10 * time.Second
)

// WriterConfig configures a [Writer].
type WriterConfig struct {
	View               view.View
	Generation         view.Generation
	MaxRequestsPerHost int // permits of each coordinator host, at least 1
	Log                *zap.Logger
	// Observe is told of every attempt: which host, how long it took from the moment it had its permit, and its
	// classified error.
	Observe func(host string, took time.Duration, err error)
}

// Writer applies writes to the tables of one generation of one view. It groups mutations that go to the same replicas,
// merges what is written twice, sends each group through a permit of one coordinator host, and repeats what failed for a
// while or for reasons unknown, for hours if need be.
//
// Its goroutines live while there is something to send, never more than there are permits; Wait waits for them.
type Writer struct {
	session *Session
	config  WriterConfig
	tables  map[string]*table
	gate    *gate

	turns atomic.Uint32 // which of several hosts with the same room a request goes to

	mu      sync.Mutex
	queue   []*request
	workers int
	running sync.WaitGroup
}

// NewWriter returns a writer. It does not check that the tables exist.
func NewWriter(s *Session, c WriterConfig) (*Writer, error) {
	if c.MaxRequestsPerHost < 1 {
		return nil, fmt.Errorf("max requests per host %d: must be at least 1", c.MaxRequestsPerHost)
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
	return &Writer{session: s, config: c, tables: tables, gate: newGate(c.MaxRequestsPerHost)}, nil
}

// Submit takes writes over, the slice with them, and returns at once; each is settled later. Once ctx ends, nothing more
// of them is sent, and what has no outcome yet is settled with the cause of ctx's end. The number of writes in hand is
// the caller's to bound. A mutation of a table that the view does not have panics: the view broke its promise.
func (w *Writer) Submit(ctx context.Context, writes []sink.Write) {
	ring := w.session.router.ring.Load()
	requests := plan(ctx, w.tables, ring, writes)
	capacity := w.gate.capacity(len(ring.hosts))
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range requests {
		w.queue = append(w.queue, &requests[i])
	}
	for range min(len(requests), capacity-w.workers) {
		w.workers++
		w.running.Go(func() { (&worker{Writer: w}).work() })
	}
}

// SetLimit changes the number of permits of each coordinator host, at least 1.
func (w *Writer) SetLimit(n int) { w.gate.setLimit(max(1, n)) }

// Wait returns when no worker is left, which is when everything submitted is settled.
func (w *Writer) Wait() { w.running.Wait() }

// worker sends requests, one at a time, and uses its memory again from one to the next.
type worker struct {
	*Writer
	bound      binder
	statements []statement
	candidates []*host
}

// work sends requests until the queue is empty.
func (w *worker) work() {
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.queue = nil // lets go of the backing array
			w.workers--
			w.mu.Unlock()
			return
		}
		r := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		w.mu.Unlock()
		w.apply(r)
	}
}

// apply sends a request until it has an outcome, and settles it.
func (w *worker) apply(r *request) {
	refusals := 0 // in a row, for reasons that may be a record's
	for attempt := 0; ; attempt++ {
		w.statements = r.statements(w.statements[:0])
		err := w.attempt(r, w.statements)
		if err == nil {
			r.settle(nil)
			return
		}
		if over := ended(r.ctx); over != nil {
			r.settle(over)
			return
		}
		disposition := classify(err)
		switch disposition {
		case sink.Poison, sink.Unknown:
			refusals++
			if w.judge(r, disposition, refusals, attempt+1, err) {
				return
			}
		case sink.Fatal:
			r.settle(&sink.Error{Disposition: sink.Fatal, Op: "write " + r.String(), Err: err})
			return
		case sink.Transient, sink.Overload:
			refusals = 0
		}
		if attempt%complainEvery == complainEvery-1 {
			w.config.Log.Warn("write does not get through, repeating", zap.Stringer("tables", r),
				zap.Stringer("disposition", disposition), zap.Error(err))
		}
		select {
		case <-time.After(backoff(disposition, attempt)):
		case <-r.ctx.Done():
		}
	}
}

// judge finds out whether a record is to blame for a refusal, and returns true if the request is dealt with. A server
// also calls statements invalid that it will take later: while a disk is too full, a guardrail is set, a coordinator has
// yet to learn of a column. So a record is blamed only when its row's own statement gets through without its values, to
// the same replicas, or when its key cannot be any row's. Where that does not get through either, nobody is guilty yet,
// unless the table is gone: then the writer cannot go on.
func (w *worker) judge(r *request, d sink.Disposition, refusals, tries int, cause error) bool {
	code := view.CodeRejected
	if d == sink.Unknown {
		if refusals < unknownTries {
			return false
		}
		code = view.CodeUnexplained
	}
	if requests := r.split(); len(requests) > 1 {
		for _, single := range requests {
			w.apply(single)
		}
		return true
	}
	guilty := func(err error) bool {
		r.settle(&view.Poison{Stage: view.StageWrite, Code: code, Tries: tries, Err: fmt.Errorf("write %s: %w", r, err)})
		return true
	}
	t, key := r.parts[0].table, r.parts[0].mutation.Key
	if fault := t.keyFault(key); fault != nil {
		return guilty(fault)
	}
	// Every column unset: it writes nothing. Its stamp is the least there is.
	err := w.attempt(r, []statement{{table: t, key: key, stamp: 1}})
	if err == nil {
		return guilty(cause)
	}
	if classify(err) != sink.Poison {
		return false
	}
	ctx, cancel := context.WithTimeout(r.ctx, schemaCheckTimeout)
	defer cancel()
	err = w.session.CheckSchema(ctx, w.config.View, w.config.Generation)
	if _, broken := errors.AsType[*SchemaError](err); broken {
		r.settle(err)
		return true
	}
	return false
}

// attempt sends statements of a request once, through a permit of one of its hosts.
func (w *worker) attempt(r *request, statements []statement) error {
	if over := ended(r.ctx); over != nil {
		return over
	}
	ring := w.session.router.ring.Load() // it may be another than the one of the plan
	w.candidates = ring.candidates(w.candidates[:0], ring.set(r.token), w.turns.Add(1))
	if len(w.candidates) == 0 {
		return gocql.ErrNoConnections
	}
	host, err := w.gate.acquire(r.ctx, w.candidates)
	if err != nil {
		return err
	}
	if over := ended(r.ctx); over != nil { // while it waited for the permit
		w.gate.release(host)
		return over
	}
	start := time.Now()
	err = w.execute(pin(r.ctx, host), r, statements)
	took := time.Since(start)
	w.gate.release(host)
	var seen error
	if err != nil {
		seen = &sink.Error{Disposition: classify(err), Op: "write " + r.String(), Err: err}
	}
	w.config.Observe(host.address, took, seen)
	return err
}

// execute sends statements as one UNLOGGED batch, or one by one where they are too large for that. Part of a batch may be
// applied and the rest not: what failed is repeated whole.
func (w *worker) execute(ctx context.Context, r *request, statements []statement) error {
	defer w.bound.reset()
	if len(statements) > 1 && r.size <= maxRequestBytes {
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

// backoff is the wait before the next attempt: full jitter, doubling from 50 ms, or from 500 ms when the cluster asks
// for less, up to 10 s.
func backoff(d sink.Disposition, attempt int) time.Duration {
	base := 50 * time.Millisecond
	if d == sink.Overload {
		base = 500 * time.Millisecond
	}
	limit := min(base<<min(attempt, 10), 10*time.Second)
	return rand.N(limit)
}
