package projector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
)

// sim is a fleet of keepers on tables in memory, in virtual time, with stand-ins for shard loops that write, settle
// and watch over the invariants:
//
//   - no two workers write one shard at a time, unless an operator's seek came between the takings of their leases: the
//     holder learns of that by its next renewal;
//   - a change is applied only to the row its condition describes, and only by the lease that wrote that pair;
//   - a checkpoint never moves back, but by an operator's seek, and never past what its worker wrote;
//   - whoever takes a shard goes on from the position that stands in the row;
//   - what was finished stays finished.
type sim struct {
	t        testing.TB
	failover time.Duration
	start    time.Time
	shards   []ShardRef
	length   map[string]int // a shard with a length is read to its end after so many records
	store    *storetest.Memory
	items    *storetest.Items
	running  sync.WaitGroup

	mu      sync.Mutex // never held while waiting
	rng     *rand.Rand
	faults  float64 // share of calls that fail in some way
	down    bool    // every call fails
	workers []*simWorker
	broken  []string // invariants that did not hold
	events  []simEvent
	writes  int            // changes applied
	written map[string]int // records written, by shard
	sought  map[string]int // seeks, by shard
}

type simEvent struct {
	at     time.Duration
	worker *simWorker
	leaseEvent
}

// simWorker is one process.
type simWorker struct {
	sim    *sim
	name   string // of the process; its worker id may be shared
	keeper *keeper
	cancel context.CancelFunc
	done   chan error

	// Guarded by sim.mu:
	dead   bool          // killed: its calls reach nothing, its loops do nothing
	gone   bool          // told to stop
	frozen chan struct{} // closed at the thaw; nil if it runs
	hangs  bool          // its calls hang
	cut    bool          // its calls of the lease table fail
	mute   bool          // its writes of the lease table fail
	leases map[string]*lease
	epochs map[string]int // by shard: how many seeks there were when its newest taking was applied
}

func newSim(t testing.TB, seed uint64, shards int, failover time.Duration) *sim {
	s := &sim{t: t, failover: failover, start: time.Now(), length: map[string]int{}, written: map[string]int{}, sought: map[string]int{}, rng: rand.New(rand.NewPCG(seed, 1)), items: &storetest.Items{}}
	for i := range shards {
		s.shards = append(s.shards, ShardRef{ID: fmt.Sprintf("shardId-%012d", i)})
	}
	s.store = &storetest.Memory{Script: s.leaseScript, Applied: s.applied}
	s.items.Script = s.script
	return s
}

func (s *sim) breach(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breachLocked(format, args...)
}

func (s *sim) breachLocked(format string, args ...any) {
	s.broken = append(s.broken, fmt.Sprintf("%v: ", time.Since(s.start))+fmt.Sprintf(format, args...))
}

// script decides on every call of both tables.
func (s *sim) script(c storetest.Call) storetest.Fault {
	if c.Caller == operator {
		return storetest.Fault{}
	}
	w := s.worker(c.Caller)
	w.pauseWhileFrozen()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := storetest.Fault{Delay: time.Millisecond + time.Duration(s.rng.Int64N(int64(20*time.Millisecond)))}
	switch {
	case s.down || w.dead:
		f.Fail = storetest.ErrScripted
	case w.hangs:
		f.Hang = true
	case s.rng.Float64() < s.faults:
		switch s.rng.IntN(6) {
		case 0:
			f.Fail = storetest.ErrScripted
		case 1:
			f.Lose = storetest.ErrScripted
		case 2:
			f.Hang = true
		case 3:
			f.Late = time.Duration(s.rng.Int64N(int64(2 * s.failover)))
		case 4:
			f.Twice = true
		case 5:
			f.Delay = time.Duration(s.rng.Int64N(int64(s.failover)))
		}
	}
	return f
}

// leaseScript decides on calls of the lease table, which may fail where those of the state table do not.
func (s *sim) leaseScript(c storetest.Call) storetest.Fault {
	f := s.script(c)
	if c.Caller == operator {
		return f
	}
	w := s.worker(c.Caller)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.cut || w.mute && c.Change != nil {
		f.Fail = storetest.ErrScripted
	}
	return f
}

func (s *sim) worker(name string) *simWorker {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.workers, func(w *simWorker) bool { return w.name == name })
	return s.workers[i]
}

// applied watches every change of the lease table.
func (s *sim) applied(caller string, c checkpoint.Change, before, after checkpoint.Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if after.Position().Compare(before.Position()) < 0 && c.Op != checkpoint.Seek {
		s.breachLocked("%s moved the checkpoint of %s back from %q to %q", c.Op, c.Shard, before.Checkpoint, after.Checkpoint)
	}
	if c.Commit != "" && recordAt(c.Commit) > s.written[c.Shard] {
		s.breachLocked("%s committed %s of %s, of which %d records were written", c.Op, c.Commit, c.Shard, s.written[c.Shard])
	}
	switch c.Op {
	case checkpoint.Seek:
		s.sought[c.Shard]++
	case checkpoint.Acquire:
		for _, w := range s.workers {
			if w.name == caller {
				w.epochs[c.Shard] = s.sought[c.Shard]
			}
		}
		if !before.Free() && before.Pair() != c.Seen.Pair() {
			s.breachLocked("%s took %s from %v though it had seen %v", caller, c.Shard, before.Pair(), c.Seen.Pair())
		}
		if before.Position() != c.Seen.Position() {
			s.breachLocked("%s took %s at %q and goes on from %q", caller, c.Shard, before.Checkpoint, c.Seen.Checkpoint)
		}
	case checkpoint.Renew, checkpoint.Release, checkpoint.Finish:
		if before.Pair() != c.Held {
			s.breachLocked("%s wrote %s of %s with %v over %v", caller, c.Op, c.Shard, c.Held, before.Pair())
		}
	case checkpoint.Create, checkpoint.Reopen, checkpoint.Heal, checkpoint.Delete:
	}
}

// operator is the caller of the tables that stands for the command line. Nothing fails for it.
const operator = "operator"

// seek sets a shard's position back by half, and reports whether the row stood as it was read.
func (s *sim) seek(shard string) bool {
	return s.seekBack(shard, recordAt(s.store.Row(shard).Position())/2)
}

func (s *sim) seekBack(shard string, by int) bool {
	row := s.store.Row(shard)
	to := sequenceAt(max(0, recordAt(row.Position())-by))
	if to == "" {
		return false
	}
	return s.store.As(operator).Apply(s.t.Context(), checkpoint.Change{Op: checkpoint.Seek, Shard: shard, Seen: row, Commit: to}) == nil
}

// insist seeks again and again while a shard is on its way from one worker to another: whoever takes it has seen it at
// another position before.
func (s *sim) insist(shard string) {
	s.wish(shard)
	for range 400 {
		time.Sleep(5 * time.Millisecond)
		if s.store.Row(shard).Free() {
			s.seekBack(shard, 1)
		}
	}
}

// wish asks the owner of a shard to give it back.
func (s *sim) wish(shard string) {
	r := Release{From: s.store.Row(shard).Owner, By: "ann@bastion", Reason: "test", Until: time.Now().Add(2 * s.failover)}
	if err := WriteRelease(s.t.Context(), s.items.As(operator), "projector-g1", shard, r); err != nil {
		s.breach("%v", err)
	}
}

// join adds a worker. An empty id makes one of its own.
func (s *sim) join(name, id string, change func(*keeper)) *simWorker {
	w := &simWorker{sim: s, name: name, done: make(chan error, 1), leases: map[string]*lease{}, epochs: map[string]int{}}
	s.mu.Lock()
	s.workers = append(s.workers, w)
	s.mu.Unlock()
	if id == "" {
		id = name
	}
	k, err := newKeeper(keeperConfig{
		Role: "projector-g1", Worker: id, Failover: s.failover, Store: s.store.As(name), State: s.items.As(name),
		Log: zap.NewNop(), OnEvent: w.note,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(k)
	}
	w.keeper = k
	ctx, cancel := context.WithCancel(s.t.Context())
	w.cancel = cancel
	k.SetShards(s.shards)
	s.running.Go(func() { w.done <- k.Run(ctx) })
	s.running.Go(func() { w.follow(k) })
	return w
}

func (w *simWorker) note(e leaseEvent) {
	w.pauseWhileFrozen()
	w.sim.mu.Lock()
	defer w.sim.mu.Unlock()
	w.sim.events = append(w.sim.events, simEvent{at: time.Since(w.sim.start), worker: w, leaseEvent: e})
}

// follow starts a loop for every lease until the keeper has ended.
func (w *simWorker) follow(k *keeper) {
	for {
		select {
		case l := <-k.Acquired():
			w.sim.running.Go(func() { w.loop(l) })
		case <-k.stopped:
			return
		}
	}
}

// mark is a tracker in its simplest form.
type mark struct {
	mu sync.Mutex
	n  int
	w  *simWorker
}

// Watermark may be called while the process is frozen: then it returns when that is over.
func (m *mark) Watermark() checkpoint.Sequence {
	m.w.pauseWhileFrozen()
	m.mu.Lock()
	defer m.mu.Unlock()
	return sequenceAt(m.n)
}

const firstRecord = 10_000_000

func sequenceAt(n int) checkpoint.Sequence {
	if n == 0 {
		return ""
	}
	return checkpoint.Sequence(strconv.Itoa(firstRecord + n))
}

func recordAt(s checkpoint.Sequence) int {
	if s == "" {
		return 0
	}
	n, _ := strconv.Atoi(string(s)) // always one of sequenceAt
	return n - firstRecord
}

// loop stands for a shard's loop: it writes a record about ten times a second while the lease holds.
func (w *simWorker) loop(l *lease) {
	s := w.sim
	at := &mark{n: recordAt(l.Checkpoint()), w: w}
	s.enter(w, l)
	defer s.leave(w, l)
	l.CommitFrom(at)
	ticker := time.NewTicker(w.between(50*time.Millisecond, 150*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-l.Lost():
			_ = l.Release(s.t.Context()) // says that it was lost
			return
		case <-l.HandOver():
			time.Sleep(w.between(0, 300*time.Millisecond)) // the drain
			w.pauseWhileFrozen()
			w.giveBack(l, l.Release)
			return
		case <-ticker.C:
			w.pauseWhileFrozen()
			n := at.n + 1 // only this goroutine changes it
			if !s.write(w, l, n) {
				continue
			}
			at.mu.Lock()
			at.n = n
			at.mu.Unlock()
			if s.length[l.Shard()] == n {
				w.giveBack(l, l.Finish)
				return
			}
		}
	}
}

func (w *simWorker) giveBack(l *lease, how func(context.Context) error) {
	if err := how(w.sim.t.Context()); err != nil && !errors.Is(err, checkpoint.ErrLeaseLost) && w.sim.t.Context().Err() == nil {
		w.sim.breach("%s gave back %s: %v", w.name, l.Shard(), err)
	}
}

func (s *sim) enter(w *simWorker, l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := w.leases[l.Shard()]; other != nil {
		s.breachLocked("%s got a second lease of %s before it gave back the first", w.name, l.Shard())
	}
	w.leases[l.Shard()] = l
}

func (s *sim) leave(w *simWorker, l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(w.leases, l.Shard())
}

// write writes a record to the view: allowed while the lease is valid, and then nobody else may be allowed.
func (s *sim) write(w *simWorker, l *lease, record int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.dead || !l.Valid() {
		return false
	}
	for _, other := range s.workers {
		held := other.leases[l.Shard()]
		if other != w && !other.dead && held != nil && held.Valid() && other.epochs[l.Shard()] == w.epochs[l.Shard()] {
			s.breachLocked("%s and %s both write %s", w.name, other.name, l.Shard())
		}
	}
	s.written[l.Shard()] = max(s.written[l.Shard()], record)
	return true
}

func (w *simWorker) between(low, high time.Duration) time.Duration {
	w.sim.mu.Lock()
	defer w.sim.mu.Unlock()
	return low + time.Duration(w.sim.rng.Int64N(int64(high-low)))
}

// pauseWhileFrozen blocks like a process that was sent SIGSTOP.
func (w *simWorker) pauseWhileFrozen() {
	for {
		w.sim.mu.Lock()
		thaw := w.frozen
		w.sim.mu.Unlock()
		if thaw == nil {
			return
		}
		<-thaw
	}
}

func (w *simWorker) freeze() {
	w.sim.mu.Lock()
	defer w.sim.mu.Unlock()
	if w.frozen == nil {
		w.frozen = make(chan struct{})
	}
}

func (w *simWorker) thaw() {
	w.sim.mu.Lock()
	defer w.sim.mu.Unlock()
	if w.frozen != nil {
		close(w.frozen)
		w.frozen = nil
	}
}

// stop is SIGTERM.
func (w *simWorker) stop() {
	w.sim.set(func() { w.gone = true })
	w.cancel()
}

// kill is SIGKILL: from now on nothing the worker does has an effect.
func (w *simWorker) kill() {
	w.sim.mu.Lock()
	w.dead = true
	w.sim.mu.Unlock()
	w.thaw()
	w.cancel()
}

func (s *sim) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// held counts the valid leases of each living worker.
func (s *sim) held() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := map[string]int{}
	for _, w := range s.workers {
		if w.dead {
			continue
		}
		for _, l := range w.leases {
			if l.Valid() {
				held[w.name]++
			}
		}
	}
	return held
}

// history returns what happened to the leases of all workers so far.
func (s *sim) history() []simEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// applications returns how many changes of the lease table were applied so far.
func (s *sim) applications() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// await waits until all shards are held and reports how long that took, up to limit.
func (s *sim) await(done func() bool, limit time.Duration) (took time.Duration, ok bool) {
	began := time.Now()
	for time.Since(began) < limit {
		if done() {
			return time.Since(began), true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began), false
}

func (s *sim) allHeld() bool {
	n := 0
	for _, held := range s.held() {
		n += held
	}
	return n == len(s.shards)
}

// balanced reports whether all shards are held, and evenly.
func (s *sim) balanced() bool {
	held := s.held()
	low, high := len(s.shards), 0
	s.mu.Lock()
	for _, w := range s.workers {
		if !w.dead && !w.gone {
			low, high = min(low, held[w.name]), max(high, held[w.name])
		}
	}
	s.mu.Unlock()
	return s.allHeld() && high-low <= 1
}

// end stops all workers as SIGTERM does, and reports every invariant that did not hold.
func (s *sim) end() []string {
	s.set(func() {
		s.faults, s.down = 0, false
		for _, w := range s.workers {
			w.hangs, w.cut, w.mute = false, false, false
		}
	})
	s.mu.Lock()
	workers := slices.Clone(s.workers)
	s.mu.Unlock()
	for _, w := range workers {
		w.thaw()
		w.cancel()
	}
	s.running.Wait()
	time.Sleep(3 * s.failover) // for what is still on its way
	for _, w := range workers {
		if err := <-w.done; err != nil {
			s.breach("%s ended with %v", w.name, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// inBubble runs a simulation and returns the invariants that did not hold.
func inBubble(t *testing.T, run func(t *testing.T) []string) (broken []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { broken = run(t) })
	return broken
}
