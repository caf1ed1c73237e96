package projector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"penstock/checkpoint"
)

// ShardRef names a shard and the shards it came from, as the stream lists them.
type ShardRef struct {
	ID      string
	Parents []string // none, one after a split, two after a merge
	Missing bool     // it is a parent of others that was never listed: it is not taken, and they wait for it
}

// StateTable is where the workers of a fleet tell each other of themselves. Nothing that correctness depends on is kept
// there: without it shards are still taken over, only less evenly.
type StateTable interface {
	Put(ctx context.Context, kind, name string, values map[string]string) error
	Delete(ctx context.Context, kind, name string) error
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}

// keeperConfig configures a [keeper].
type keeperConfig struct {
	Role     string                  // prefix of what is kept in State, such as "projector-g1"
	Worker   string                  // unique to this process; see NewWorkerID
	Failover time.Duration           // the same for the whole fleet; at least a second
	Store    checkpoint.Store        // the lease table
	State    StateTable              // shared by all roles of the application
	Clock    func() checkpoint.Clock // what is known of the local clock's error; nil: nothing
	Log      *zap.Logger
	OnEvent  func(leaseEvent) // called from the keeper's goroutine, so it must not block; may be nil
}

// keeper takes, renews and gives back the leases of one worker, and shares the shards evenly with the other workers
// without a leader. One goroutine, in Run, owns all its state. Calls of the tables run in goroutines of their own that
// end with the call's deadline and bring back, by channel, a function that the owner runs; so no slow call delays
// another shard's renewal. At most one write of a row is on its way at a time.
//
// A lease that Acquired delivers must be given back by exactly one Release or Finish, also after it was lost: only then
// may the keeper take that shard again, so no shard is ever worked on twice in one process.
type keeper struct {
	config keeperConfig
	pace   pace
	base   time.Time // of the monotonic instants in leases

	listings chan []ShardRef
	endings  chan ending
	acquired chan *lease
	results  chan func(now time.Time)
	stopped  chan struct{} // closed when Run has ended
	read     chan struct{} // closed when the lease table was read once, and Seen tells of it
	turned   atomic.Int64  // when the loop last came round, nanoseconds after base
	seen     atomic.Pointer[fleetSeen]

	// Owned by Run's goroutine.
	slots     map[string]*slot
	members   map[string]*member
	wants     map[string]string  // shards asked for, and the worker each was asked of
	wishes    map[string]Release // of operators, by shard
	queue     []*lease           // taken, not yet delivered
	inFlight  int                // calls on their way
	taking    int                // of these, calls that create or take a row
	window    window             // how many of those there may be
	held      int                // leases that are ours, since the last event that changed it
	calls     sync.WaitGroup
	callCtx   context.Context
	next      time.Time // when the loop must come round again
	nextScan  time.Time
	nextBeat  time.Time
	nextProbe time.Time
	scanning  bool
	beating   bool
	probing   bool
	scanned   bool      // the lease table was read once
	proven    bool      // a write of the lease table was answered once
	unread    int       // readings of the lease table without answer in a row
	unwritten int       // writes of the lease table without answer in a row
	met       bool      // the state table was asked once, with whatever result
	greeted   bool      // the state table answered once
	asked     time.Time // when the last successful exchange with the state table began
	queried   time.Time // when it ended
	beats     uint64
	stopping  bool
	fatal     error
	tableDown outage
	stateDown outage
}

// pace is every period of the keeper, all derived from the failover time.
type pace struct {
	terms checkpoint.Terms
	renew time.Duration // between the starts of two renewals: below 0.3 writes a second and shard at 10 s
	call  time.Duration // the deadline of one write: several fit between a renewal's first attempt and the fence
	take  time.Duration // the deadline of one that creates or takes a row, for which nothing is late yet
	read  time.Duration // the deadline of one reading of a whole table
	retry time.Duration // the mean pause after the first call without answer
	scan  time.Duration // between two readings of the lease table
	beat  time.Duration // between two signs of life in the state table
	life  time.Duration // how long one sign of life counts
	hold  time.Duration // how long a free shard is left to the worker that asked for it
	after time.Duration // how long a shard is left to others after it was given back
}

func paceOf(failover time.Duration) pace {
	beat := min(time.Second, failover/6)
	return pace{
		terms: checkpoint.TermsOf(failover),
		renew: failover * 7 / 20,
		call:  max(time.Second/2, failover/8),
		take:  2 * max(time.Second/2, failover/8),
		read:  failover / 3,
		retry: failover / 30,
		scan:  min(4*time.Second/5, failover/6),
		beat:  beat,
		life:  4 * beat,
		hold:  failover / 3,
		after: beat,
	}
}

// newKeeper returns a keeper. It starts nothing.
func newKeeper(c keeperConfig) (*keeper, error) {
	switch {
	case c.Worker == "" || strings.ContainsFunc(c.Worker, func(r rune) bool { return r <= ' ' }):
		return nil, fmt.Errorf("worker id %q: must not be empty nor contain spaces", c.Worker)
	case c.Failover < time.Second:
		return nil, fmt.Errorf("failover time %s: must be at least 1s", c.Failover)
	case c.Store == nil || c.State == nil || c.Log == nil:
		return nil, errors.New("keeper without lease table, state table or log")
	}
	if c.Clock == nil {
		c.Clock = func() checkpoint.Clock { return checkpoint.Clock{} }
	}
	if c.OnEvent == nil {
		c.OnEvent = func(leaseEvent) {}
	}
	return &keeper{
		config:   c,
		pace:     paceOf(c.Failover),
		base:     time.Now(),
		listings: make(chan []ShardRef, 1),
		endings:  make(chan ending),
		acquired: make(chan *lease),
		results:  make(chan func(time.Time)),
		stopped:  make(chan struct{}),
		read:     make(chan struct{}),
		slots:    map[string]*slot{},
		members:  map[string]*member{},
		wants:    map[string]string{},
		window:   newWindow(paceOf(c.Failover).call),
	}, nil
}

// NewWorkerID returns an id that no other process has, now or after a restart: prefix, or the host's name if that is
// empty, and eight random digits.
func NewWorkerID(prefix string) string {
	if prefix == "" {
		prefix, _ = os.Hostname() // an error leaves it empty
	}
	prefix = strings.Join(strings.FieldsFunc(prefix, func(r rune) bool { return r <= ' ' }), "-")
	if prefix == "" {
		prefix = "worker"
	}
	return fmt.Sprintf("%s-%08x", prefix, rand.Uint32())
}

// SetShards tells which shards the stream has. The newest list replaces the one before. It never blocks for long.
func (k *keeper) SetShards(shards []ShardRef) {
	for {
		select {
		case k.listings <- shards:
			return
		case <-k.listings: // a list that was not yet looked at
		}
	}
}

// Acquired delivers each lease that this worker obtains.
func (k *keeper) Acquired() <-chan *lease { return k.acquired }

// LastTurn returns when the keeper last came round. It does so at least once a second while it runs.
func (k *keeper) LastTurn() time.Time { return k.base.Add(time.Duration(k.turned.Load())) }

// Run keeps leases until ctx ends. Then it takes no more, asks for all of them by HandOver, goes on renewing until each
// is given back or lost, and returns nil. It returns an error only at the beginning, when a table is missing or access
// to it is denied. It runs once.
func (k *keeper) Run(ctx context.Context) error {
	// Without cancel: leases are renewed and released after ctx has ended. Every call has a deadline of its own.
	calls, abort := context.WithCancel(context.WithoutCancel(ctx))
	k.callCtx = calls
	defer close(k.stopped)
	defer k.calls.Wait()
	defer abort()

	stop := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		k.turned.Store(int64(now.Sub(k.base)))
		k.turn(now)
		if k.finished() {
			k.farewell()
			return k.fatal
		}
		timer.Reset(time.Until(k.next))

		var deliver chan<- *lease
		var first *lease
		if len(k.queue) > 0 {
			deliver, first = k.acquired, k.queue[0]
		}
		select {
		case deliver <- first:
			k.queue = k.queue[1:]
		case result := <-k.results:
			k.answer(result)
		case shards := <-k.listings:
			k.list(shards)
		case e := <-k.endings:
			k.end(e, time.Now())
		case <-stop:
			stop = nil
			k.stop()
		case <-timer.C:
		}
	}
}

// answer takes an answer, and what others are there by now: a turn looks at every shard, so that one for each of many
// answers would cost more than the answers do.
func (k *keeper) answer(result func(now time.Time)) {
	for {
		k.inFlight--
		result(time.Now())
		select {
		case result = <-k.results:
		default:
			return
		}
	}
}

// turn does all that is due, fences first, and finds out when it must be called again.
func (k *keeper) turn(now time.Time) {
	k.next = now.Add(time.Second)
	k.fence(now)
	k.write(now)
	if k.fatal != nil {
		return
	}
	if k.stopping && !k.holding() {
		return // the last call's answer ends Run
	}
	k.scan(now)
	k.meet(now)
	if !k.stopping {
		k.probe(now)
		k.obey(now)
		k.grant(now)
		k.take(now)
	}
}

// wake makes the loop come round no later than at t.
func (k *keeper) wake(t time.Time) {
	if t.Before(k.next) {
		k.next = t
	}
}

// finished reports whether Run is done: told to stop, or unable to start, and no lease left to look after.
func (k *keeper) finished() bool {
	if k.inFlight > 0 || !k.stopping && k.fatal == nil {
		return false
	}
	return !k.holding()
}

// holding reports whether there is a lease to look after, or one being taken.
func (k *keeper) holding() bool {
	for _, s := range k.slots {
		if s.active() {
			return true
		}
	}
	return false
}

// stop begins the end: what was not yet delivered is given back by the keeper itself, the rest by those who have it.
func (k *keeper) stop() {
	k.stopping = true
	k.nextBeat = time.Time{} // tell the others at once
	for _, l := range k.queue {
		s := k.slots[l.shard]
		s.ending = &ending{lease: l}
		s.due = time.Time{}
	}
	k.queue = nil
	for _, s := range k.slots {
		if s.handle != nil {
			s.handle.askFor()
		}
	}
}

// call runs a call of a table in a goroutine of its own until the deadline, and what it returns in the loop.
func (k *keeper) call(deadline time.Time, io func(context.Context) func(now time.Time)) {
	k.inFlight++
	k.calls.Go(func() {
		ctx, cancel := context.WithDeadline(k.callCtx, deadline)
		defer cancel()
		k.results <- io(ctx) // received for certain: the loop runs until nothing is in flight
	})
}

// list takes over a new list of shards.
func (k *keeper) list(shards []ShardRef) {
	for _, s := range k.slots {
		s.listed, s.missing = false, false
	}
	for _, ref := range shards {
		_, known := k.slots[ref.ID]
		s := k.slot(ref.ID)
		s.stale = s.stale && (known || !k.scanned) // it had no row when the table was read last
		s.listed, s.missing, s.parents = !ref.Missing, ref.Missing, ref.Parents
	}
}

func (k *keeper) slot(shard string) *slot {
	s := k.slots[shard]
	if s == nil {
		s = &slot{shard: shard, stale: true}
		k.slots[shard] = s
	}
	return s
}

// around returns a random duration within a tenth of d, so that workers and shards do not fall into step.
func around(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5+1) }

// outage logs the first of a row of failures, and the end of them.
type outage struct {
	since time.Time
}

// note reports a change for the better or worse: changed is true for the first failure and the first success after it.
func (o *outage) note(err error, now time.Time) (changed bool, lasted time.Duration) {
	switch {
	case err != nil && o.since.IsZero():
		o.since = now
		return true, 0
	case err == nil && !o.since.IsZero():
		lasted = now.Sub(o.since)
		o.since = time.Time{}
		return true, lasted
	}
	return false, 0
}
