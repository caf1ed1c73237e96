package projector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/stream"
	"penstock/view"
)

// This file tells the whole way of a record, from GetRecords to the checkpoint:
//
//	quota → pause, cap and room → fetch → count → project → submit → settle → watermark → commit
//
// One goroutine, run, owns the shard. It waits for its turn to ask, for operators who keep the shard paused or the
// process to a rate, and for room for the answer. It reads a batch, counts every record in the tracker, projects it, and
// submits the mutations to the writer, which settles records in any order from its own goroutines. A record that can
// never be applied is parked by the shard's goroutine, and settled only when its letter is durable; before too many are,
// the breaker ends that. The tracker knows up to where every record is settled; the lease's renewals commit that watermark
// and nothing else.
//
// Two contexts: fetch ends when no more work should be taken (the process stops, or the lease is to be handed over);
// work ends when nothing may be sent any more (the lease is lost, or the time for draining is up).

// shard is one shard while this worker holds its lease.
type shard struct {
	id       string
	lease    *lease
	reader   recordReader
	view     view.View
	writer   Writer
	source   sink.Source // what the writer knows this shard by
	parker   Parker
	budget   *budget
	board    *board   // operators' pauses
	rate     *rateCap // their cap on what the process reads
	breaker  *breaker
	tracker  *checkpoint.Tracker
	progress *progress
	store    ProgressStore // nil: progress is not published
	losses   lossRules
	letter   deadletter.Letter // what all letters of this shard have in common
	letters  string            // what their keys begin with
	metrics  *Metrics
	tracing  *tracing // nil: no spans
	log      *zap.Logger

	abort context.CancelCauseFunc // ends work; set by run

	// Owned by run.
	costPerRecord int64 // moving average of what a record takes of the budget, bytes
	ahead         readAhead
	released      bool   // the lease was given back
	paused        *Pause // that is waited for; nil for none

	refused *refusals // filled by the writer's goroutines, emptied by run
}

// Writer applies the mutations of records: [penstock/sink/cassandra.Writer].
type Writer interface {
	Submit(ctx context.Context, from *sink.Source, writes []sink.Write)
}

// Parker keeps a letter: nil means that it is durable. It waits while the store is out of reach.
type Parker interface {
	Park(ctx context.Context, l deadletter.Letter) error
}

// record is a record on its way.
type record struct {
	stream.Record
	shard  *shard
	ticket checkpoint.Ticket
	cost   int64 // what it takes of the budget, bytes
	event  view.Event
	batch  *processing // its span; nil for none
}

// fetchReserve is the room for a reply that has not been seen yet: the largest there is.
const fetchReserve = stream.MaxReplyBytes

// run follows the shard until it is read to its end, fetch or work ends, the lease is lost or wanted by a peer, or
// something fails that repeating does not help. It returns nil at the end of the shard and otherwise the cause. Either
// way the lease is given back, with the watermark, unless it was lost.
func (s *shard) run(fetch, work context.Context) error {
	work, abort := context.WithCancelCause(work)
	defer abort(nil)
	s.abort = abort
	work = leased{work, s.lease, abort}
	fetch, stop := context.WithCancelCause(fetch)
	defer stop(nil)
	var watching sync.WaitGroup
	defer watching.Wait()
	ended := make(chan struct{})
	defer close(ended)
	watching.Go(func() { s.watchLease(stop, ended) })
	defer context.AfterFunc(work, func() { stop(context.Cause(work)) })()

	s.lease.CommitFrom(s.progress) // from here on each renewal of the lease commits the tracker's watermark
	err := s.follow(fetch, work)
	s.breaker.announce(fetch)
	return s.leave(work, err)
}

// leased is the work context of a shard. It has ended as soon as the lease is no longer believed in, even where nobody
// had the time yet to cancel it: in a process that was stopped and goes on, what is queued must not be sent.
type leased struct {
	context.Context
	lease *lease
	abort context.CancelCauseFunc // ends Context
}

// Err implements context.Context. It ends the context for good: a renewal that is answered late may bring the trust back,
// when some of the work has been given up already.
func (l leased) Err() error {
	if l.Context.Err() == nil && !l.lease.Valid() {
		l.abort(cmp.Or(l.lease.Cause(), checkpoint.ErrFenced))
	}
	return l.Context.Err()
}

// watchLease ends when the lease is lost or run returns.
func (s *shard) watchLease(stop context.CancelCauseFunc, ended <-chan struct{}) {
	wanted := s.lease.HandOver()
	for {
		select {
		case <-wanted:
			stop(errHandOver)
			wanted = nil
		case <-s.lease.Lost():
			s.abort(s.lease.Cause())
			return
		case <-ended:
			return
		}
	}
}

// errHandOver ends fetching because another worker is to have the shard.
var errHandOver = errors.New("lease is handed over")

// follow reads batch after batch until there is a reason to end, and then waits until everything taken is settled.
func (s *shard) follow(fetch, work context.Context) error {
	defer s.reader.Close()
	if err := s.recall(fetch); err != nil {
		return s.drain(work, err)
	}
	for {
		if err := s.reader.Ready(fetch); err != nil {
			return s.drain(work, err)
		}
		room, err := s.reserve(fetch, work)
		if err != nil {
			return s.drain(work, err)
		}
		batch, err := s.reader.Next(fetch, s.rate.limit(int(min(room, s.ahead.bytes())/s.costPerRecord)))
		if err != nil {
			s.budget.correct(s.id, -room)
			return s.drain(work, err)
		}
		if err := s.mourn(fetch, batch); err != nil {
			s.budget.correct(s.id, -room)
			return s.drain(work, err)
		}
		s.metrics.fetched(s.id, batch)
		s.board.fetched(s.id, batch)
		s.rate.spend(s.id, len(batch.Records))
		s.take(work, room, batch)
		if batch.End {
			if err := s.drain(work, nil); err != nil {
				return err
			}
			s.publishEnd(work, batch.Children)
			return nil
		}
	}
}

// reserve waits until the shard may ask and there is room for one reply. It parks refused records meanwhile: they hold
// the room it waits for, and keep a paused shard's watermark from what was read.
func (s *shard) reserve(fetch, work context.Context) (int64, error) {
	room := min(fetchReserve, s.budget.largest()/2)
	for {
		if err := s.parkRefused(work); err != nil {
			return 0, err
		}
		if err := context.Cause(fetch); err != nil {
			return 0, err
		}
		ok, again := s.tryReserve(room)
		if ok {
			return room, nil
		}
		select {
		case <-again:
		case <-s.refused.signal():
		case <-fetch.Done():
		}
	}
}

// tryReserve takes room for one reply, unless the shard is paused, its breaker has tripped, the process has read more than
// its rate cap allows, too much waits behind one record without outcome, the shard is far enough ahead of what is settled,
// or there is none. Then it returns a channel that is closed when it is worth trying again.
func (s *shard) tryReserve(room int64) (ok bool, again <-chan struct{}) {
	pause, resumed := s.board.hold(s.id)
	s.notePause(pause)
	if resumed != nil {
		return false, resumed
	}
	if lifted := s.breaker.holds(); lifted != nil {
		return false, lifted
	}
	if paid := s.rate.owed(); paid != nil {
		return false, paid
	}
	settled := s.budget.settled() // before the tracker is asked: what is settled from here on is heard
	if s.tracker.Held() >= maxHeld {
		return false, settled
	}
	return s.budget.tryReserve(s.id, room, s.ahead.bytes())
}

// maxHeld bounds the records that the tracker holds behind one without outcome. They are settled and so take nothing of
// the budget, but each takes 100 bytes, and all are read again after a crash.
const maxHeld = 100_000

// notePause logs when a pause begins, changes and ends.
func (s *shard) notePause(p *Pause) {
	switch {
	case p == nil && s.paused != nil:
		s.log.Info("shard resumes")
	case p != nil && (s.paused == nil || *s.paused != *p):
		s.log.Info("shard is paused", zap.String("by", p.By), zap.String("reason", p.Reason), zap.Time("until", p.Until))
	}
	s.paused = p
}

// take counts a batch's records, projects them, and submits what they become.
func (s *shard) take(work context.Context, room int64, batch stream.Batch) {
	records := make([]record, len(batch.Records))
	for i, r := range batch.Records {
		records[i] = record{Record: r, shard: s, ticket: s.count(r)}
	}
	began := time.Now()
	received := s.tracing.received(batch, began)
	s.progress.read(batch, began)
	writes := make([]sink.Write, 0, len(records))
	type failure struct {
		record *record
		err    error
	}
	var unprojected []failure
	var total int64
	for i := range records {
		r := &records[i]
		result, err := s.project(r.Record)
		r.event = result.Event
		r.cost = cost(r.Record, result.Mutations)
		total += r.cost
		if err != nil {
			unprojected = append(unprojected, failure{r, err})
			continue
		}
		writes = append(writes, sink.Write{Mutations: result.Mutations, Record: r})
	}
	s.tracing.process(received, began, records)
	s.ahead.took(total, s.budget.held(s.id)-room, batch.Took, began)
	s.budget.correct(s.id, total-room)
	if n := int64(len(records)); n > 0 {
		took := time.Since(began)
		s.metrics.projected(took)
		s.progress.busy.Add(int64(took))
		s.costPerRecord = (3*s.costPerRecord + total/n) / 4
	}
	for _, u := range unprojected {
		u.record.Settle(u.err)
	}
	s.source.SetBehind(batch.Behind)
	s.writer.Submit(work, &s.source, writes)
}

// count adds a record to the tracker.
func (s *shard) count(r stream.Record) checkpoint.Ticket {
	if r.More {
		return s.tracker.AddPart(r.Sequence, r.Arrival)
	}
	return s.tracker.Add(r.Sequence, r.Arrival)
}

// project calls the view. A panic is the record's fault until proven otherwise: it is parked with the stack. An error
// that is not poison is the view's own fault, and repeating does not help it.
func (s *shard) project(r stream.Record) (result view.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &view.Poison{Stage: view.StageProject, Code: view.CodePanic, Err: &panicError{p, debug.Stack()}}
		}
	}()
	if r.Fault != nil {
		return view.Result{}, &view.Poison{Stage: view.StageDeaggregate, Code: view.CodeBadAggregate, Err: r.Fault}
	}
	result, err = s.view.Project(view.Record{
		Data:     r.Data,
		Arrival:  r.Arrival,
		Position: view.Position{Stream: s.letter.Source.Stream, Shard: s.id, Sequence: string(r.Sequence), SubSequence: r.SubSequence},
	})
	if _, poison := view.AsPoison(err); err != nil && !poison {
		err = &sink.Error{Disposition: sink.Fatal, Op: fmt.Sprintf("project record %s of %s", r.Sequence, s.id), Err: err}
	}
	return result, err
}

// panicError is what a view panicked with.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("the view panicked: %v", e.value) }

// Settle implements sink.Settler: it takes the answer for one record, from any goroutine.
func (r *record) Settle(err error) {
	s := r.shard
	if err == nil {
		s.tracker.Settle(r.ticket, checkpoint.Applied)
		s.budget.correct(s.id, -r.cost)
		s.metrics.applied(cmp.Or(r.event.Time, r.Arrival))
		r.batch.settled(nil)
		r.forget()
		return
	}
	if p, ok := view.AsPoison(err); ok {
		if p.Stage == view.StageWrite {
			p.Event = r.event
		}
		if s.refused.add(refusal{r, p, time.Now()}) {
			return
		}
	}
	s.budget.correct(s.id, -r.cost) // no outcome: the record stays in the stream
	r.batch.settled(err)
	s.abort(err) // changes nothing if the context's end was the error
}

// forget lets go of what was in the record: others of its batch may have long to go, and all are allocated at once.
func (r *record) forget() { r.Record, r.event = stream.Record{}, view.Event{} }

// parkRefused parks what was refused since the last time, unless that is too much: then the error is errTripped.
func (s *shard) parkRefused(work context.Context) error {
	for {
		r, ok := s.refused.next()
		if !ok {
			return nil
		}
		if err := s.breaker.admit(work, r); err != nil {
			s.refused.add(r) // it has no outcome: it stays in the stream, as all do that wait behind it
			return err
		}
		if err := s.park(work, r); err != nil {
			return err
		}
	}
}

// park makes a record's letter durable and only then settles it. It waits while the store is out of reach: this shard
// takes no more records then, others go on.
func (s *shard) park(work context.Context, r refusal) error {
	defer s.budget.correct(s.id, -r.record.cost)
	letter := s.letter
	letter.Source.Sequence = string(r.record.Sequence)
	letter.Source.SubSequence = r.record.SubSequence
	letter.Source.PartitionKey = r.record.PartitionKey
	letter.Source.Arrival = r.record.Arrival
	letter.Event = deadletter.Event(r.poison.Event)
	letter.Failure = deadletter.NewFailure(r.poison)
	letter.Attempts = attempts(r)
	letter.Context.Trace = r.record.batch.trace()
	if p, ok := errors.AsType[*panicError](r.poison); ok {
		letter.Failure.Stack = string(p.stack)
	}
	letter.Payload = r.record.Data
	for {
		err := s.parker.Park(work, letter)
		if err == nil {
			break
		}
		if work.Err() != nil {
			err = cmp.Or(context.Cause(work), work.Err())
			r.record.batch.settled(err)
			return err
		}
		// A letter that can never be written must not become silence: the shard stands still and says so.
		s.log.Error("record cannot be parked, the shard stands still", zap.String("sequence", string(r.record.Sequence)),
			zap.String("code", string(r.poison.Code)), zap.String("letter", path.Join(s.letters, letter.Key())), zap.Error(err))
		select {
		case <-time.After(standstill):
		case <-work.Done():
		}
	}
	s.tracker.Settle(r.record.ticket, checkpoint.Parked)
	s.metrics.parked(letter.Failure)
	r.record.batch.parked(r.poison.Code)
	s.log.Warn("record parked", zap.String("sequence", string(r.record.Sequence)),
		zap.String("code", string(r.poison.Code)), zap.String("letter", path.Join(s.letters, letter.Key())))
	r.record.forget()
	return nil
}

// attempts tells what was tried. Not every failed attempt left its cause: those that no record is to blame for are counted
// only.
func attempts(r refusal) (a deadletter.Attempts) {
	if r.poison.Tries == 0 {
		return a
	}
	causes := r.poison.Causes
	if len(causes) == 0 {
		causes = []error{r.poison.Err}
	}
	for _, cause := range causes {
		a.Add(r.refusedAt, cause)
	}
	a.Count = r.poison.Tries
	if !r.poison.First.IsZero() {
		a.First = r.poison.First
	}
	return a
}

// standstill is the pause before a letter that was refused for good is tried again.
const standstill = 30 * time.Second

// drain waits until every record taken has its outcome, and once the breaker has tripped, every one but those that wait
// for a letter. It returns reason, or why that could not be waited for.
func (s *shard) drain(work context.Context, reason error) error {
	drained := s.tracker.Drained()
	for {
		var settled <-chan struct{}
		if errors.Is(reason, errTripped) {
			settled = s.budget.settled() // before the budget is asked
			if s.budget.held(s.id) == s.refused.cost() {
				return reason
			}
		}
		select {
		case <-drained:
			return reason
		case <-settled:
		case <-s.refused.signal():
			if errors.Is(reason, errTripped) {
				continue
			}
			if err := s.parkRefused(work); errors.Is(err, errTripped) {
				reason = err
			} else if err != nil {
				return err
			}
		case <-work.Done():
			return context.Cause(work)
		}
	}
}

// leaveTimeout bounds the last write to the lease.
const leaveTimeout = 5 * time.Second

// leave gives the lease back with the watermark, which stands for exactly what is settled, and gives up the rest.
func (s *shard) leave(work context.Context, reason error) error {
	abandoned := s.tracker.Close()
	for _, r := range s.refused.close() {
		s.budget.correct(s.id, -r.record.cost)
		r.record.batch.settled(reason)
	}
	s.log.Info("shard ends", zap.Int("abandoned", abandoned),
		zap.String("watermark", string(s.tracker.Watermark())), zap.NamedError("reason", reason))
	// Without cancel: a shard that was cut short should still be handed over, not left to expire.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), leaveTimeout)
	defer cancel()
	s.breaker.save(ctx)
	var err error
	if reason == nil {
		s.breaker.forget(ctx)
		err = s.lease.Finish(ctx)
	} else {
		err = s.lease.Release(ctx)
	}
	s.released = err == nil
	return errors.Join(reason, err)
}

// cost estimates the memory a record takes while it is in flight, in bytes: its data, its mutations as they are kept,
// and what goes with every record.
func cost(r stream.Record, mutations []view.Mutation) int64 {
	const perRecord, perMutation, perCell = 512, 192, 64
	n := perRecord + len(r.Data) + len(r.PartitionKey)
	for _, m := range mutations {
		n += perMutation + m.Size() + perCell*len(m.Cells)
	}
	return int64(n)
}

// refusal is a record that can never be applied, and why.
type refusal struct {
	record    *record
	poison    *view.Poison
	refusedAt time.Time
}

// refusals collects what was refused, from any goroutine, for the shard's. As many can wait in it as are in flight.
type refusals struct {
	mu      sync.Mutex
	waiting []refusal
	closed  bool
	arrived chan struct{} // holds one element if something may be waiting
}

func newRefusals() *refusals { return &refusals{arrived: make(chan struct{}, 1)} }

// add returns false once the queue is closed.
func (q *refusals) add(r refusal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	select {
	case q.arrived <- struct{}{}:
	default:
	}
	return true
}

// signal returns a channel that is readable when something may be waiting.
func (q *refusals) signal() <-chan struct{} { return q.arrived }

func (q *refusals) next() (refusal, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return refusal{}, false
	}
	first := q.waiting[0]
	q.waiting = q.waiting[1:]
	return first, true
}

// cost is what those that wait take of the budget, bytes.
func (q *refusals) cost() (bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.waiting {
		bytes += r.record.cost
	}
	return bytes
}

// close returns what is left.
func (q *refusals) close() []refusal {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	rest := q.waiting
	q.waiting = nil
	return rest
}
