package cassandra

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"penstock/sink"
	"penstock/sink/adaptive"
)

// gate decides which request is sent next, to which host, and when. Each coordinator host has a limiter of its own, so that a slow or dead
// host never holds more than its own permits; what waits is bound to no host, and goes to whichever of its replicas has
// room first. Requests wait in lanes, one for each replica set; see [lane]. What failed comes back after a pause,
// once the budget for repetitions pays for it, and goes to another host than it came from if there is one.
//
// A permit lasts for exactly one request: next gives it, done takes it back. Nothing here waits or calls out.
type gate struct {
	mu       sync.Mutex // guards everything
	limits   adaptive.Config
	budget   *adaptive.Budget
	governor *adaptive.Governor
	debts    debts
	jitter   *rand.Rand
	origin   time.Time

	limiters map[*host]*limited
	peers    *adaptive.Peers

	ring     *ring
	lanes    []lane            // by replica set
	lanesOf  map[*host][]int32 // the replica sets a host is in
	sources  map[*sink.Source]*source
	waiting  int // requests in lanes
	later    later
	inFlight int
	attempts int64     // requests that were answered for, but for those that say nothing of their host
	acked    int64     // of these, acknowledged
	held     time.Time // until when the governor lets nothing leave
	turn     uint32    // of hosts and lanes with equal claims
	swept    time.Time
	pulsing  bool // somebody calls pulse

	candidates []coordinator // scratch
}

// limited is what is known of a host.
type limited struct {
	*adaptive.Limiter
	memory memory
}

// coordinator is a host that a request may go to.
type coordinator struct {
	host    *host
	limiter *limited
}

// flight is a request with the permit it is sent with.
type flight struct {
	*request
	host    *host
	limiter *limited
	permit  adaptive.Permit
	hint    int // bytes of the hints that it leaves for each replica that is absent; 0 until it is sent
}

func newGate(limits adaptive.Config, debt adaptive.GovernorConfig, now time.Time) *gate {
	return &gate{
		limits: limits, budget: adaptive.NewBudget(now), governor: adaptive.NewGovernor(debt, now),
		jitter: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), origin: now,
		ring: newRing(nil, replication{}), lanes: make([]lane, 1), sources: map[*sink.Source]*source{},
		limiters: map[*host]*limited{}, peers: adaptive.NewPeers(), debts: debts{config: debt},
	}
}

// since is a time as lanes keep it.
func (g *gate) since(t time.Time) int64 { return int64(t.Sub(g.origin)) }

// follow makes the lanes those of a ring, when it is another.
func (g *gate) follow(r *ring) {
	if r == g.ring || r.number < g.ring.number { // whoever asks may have looked before the last change
		return
	}
	var waiting []*request
	for i := range g.lanes {
		waiting = append(waiting, g.lanes[i].again...)
		for _, f := range g.lanes[i].flows {
			waiting = append(waiting, f.queue...)
		}
	}
	g.ring, g.lanes, g.lanesOf = r, make([]lane, len(r.sets)), map[*host][]int32{}
	for set, hosts := range r.sets {
		for _, h := range hosts {
			g.lanesOf[h] = append(g.lanesOf[h], int32(set))
		}
	}
	for h, l := range g.limiters {
		if !slices.Contains(r.hosts, h) {
			g.peers.Forget(l.Limiter)
			delete(g.limiters, h)
		}
	}
	for _, s := range g.sources {
		clear(s.flows)
	}
	clear(g.debts.noted)
	for _, q := range waiting {
		if set := r.set(q.token); q.attempts > 0 {
			g.lanes[set].again = append(g.lanes[set].again, q)
		} else {
			g.lanes[set].put(g.sourceOf(q.from), set, q)
		}
	}
}

func (g *gate) sourceOf(s *sink.Source) *source {
	known := g.sources[s]
	if known == nil {
		known = &source{s, map[int32]*flow{}}
		g.sources[s] = known
	}
	return known
}

// put lets requests of a source wait. A request whose mutations all went into others that wait is not used any more.
func (g *gate) put(r *ring, from *sink.Source, requests []request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.follow(r)
	s := g.sourceOf(from)
	for i := range requests {
		q := &requests[i]
		set := g.ring.set(q.token)
		q.from = from
		if f := s.flows[set]; f != nil && len(f.queue) > 0 {
			f.meet(q)
		}
		if len(q.parts) > 0 {
			g.lanes[set].put(s, set, q)
			g.waiting++
		}
	}
}

// putAgain lets requests wait that were sent before. They need not be paid for.
func (g *gate) putAgain(requests ...*request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range requests {
		g.repeat(q)
	}
}

func (g *gate) repeat(q *request) {
	set := g.ring.set(q.token)
	g.lanes[set].again = append(g.lanes[set].again, q)
	g.waiting++
}

// putLater lets a request that failed wait for its back-off.
func (g *gate) putLater(q *request, kind adaptive.Kind, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q.repetition = kind
	q.due = now.Add(adaptive.Backoff(kind, q.failures, g.jitter))
	heap.Push(&g.later, q)
}

// next returns a request that may be sent now, with its permit, and whether there may be more. After a permit of a host was
// given back only the requests that this host may coordinate can have got one, and only these are looked at; freed is nil
// otherwise.
func (g *gate) next(r *ring, freed *host, now time.Time) (f flight, ok, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.follow(r)
	if g.waiting == 0 || now.Before(g.held) {
		return flight{}, false, false
	}
	sets, known := g.lanesOf[freed]
	lanes := len(sets)
	if !known {
		lanes = len(g.lanes)
	} else if g.limiterOf(freed, now).Room() == 0 {
		return flight{}, false, false
	}
	for i, first := 0, int(g.turn); i < lanes; i++ {
		set := int32((first + i) % lanes)
		if known {
			set = sets[set]
		}
		if f, ok := g.nextOf(set, now); ok {
			return f, true, g.waiting > 0 && f.limiter.Room() > 0
		}
	}
	return flight{}, false, false
}

// nextOf returns a request of a lane with a permit.
func (g *gate) nextOf(set int32, now time.Time) (flight, bool) {
	l := &g.lanes[set]
	if l.empty() {
		return flight{}, false
	}
	g.turn++
	var hosts [maxCandidates]*host
	g.candidates = g.candidates[:0]
	for _, h := range g.ring.candidates(hosts[:0], set, g.turn) {
		g.candidates = append(g.candidates, coordinator{h, g.limiterOf(h, now)})
	}
	var q *request
	var to coordinator
	for i, r := range l.again {
		var ok bool
		if to, ok = choose(g.candidates, r.failedAt); ok {
			q = r
			if !g.leaves(now) {
				return flight{}, false
			}
			l.again = slices.Delete(l.again, i, i+1)
			break
		}
		if i == repetitionsLookedAt {
			break
		}
	}
	if q == nil {
		if len(l.flows) == 0 {
			return flight{}, false
		}
		var ok bool
		if to, ok = choose(g.candidates, nil); !ok || !g.leaves(now) {
			return flight{}, false
		}
		q = l.pop()
	}
	g.waiting--
	g.inFlight++
	return flight{request: q, host: to.host, limiter: to.limiter, permit: to.limiter.Send(now)}, true
}

// repetitionsLookedAt bounds how many repetitions are looked at for one that may go to a host with room: they differ in
// where they must not go only.
const repetitionsLookedAt = 8

// leaves asks the governor.
func (g *gate) leaves(now time.Time) bool {
	if wait := g.governor.Take(now); wait > 0 {
		g.held = now.Add(wait)
		return false
	}
	return true
}

// choose returns the candidate with the largest relative head-room; false if none has room. The host that a request failed at
// is not taken while there is another that answers, even if that has no room yet.
func choose(from []coordinator, failedAt *host) (coordinator, bool) {
	var candidates [maxCandidates]adaptive.Candidate
	avoid, failed := false, -1
	for i, c := range from {
		candidates[i] = adaptive.Candidate{Room: c.limiter.Room(), HeadRoom: c.limiter.HeadRoom(), Latency: c.limiter.Latency()}
		if c.host == failedAt {
			failed = i
		} else {
			avoid = avoid || c.limiter.State() != adaptive.Quarantined
		}
	}
	if avoid && failed >= 0 {
		candidates[failed].Room = 0
	}
	if best := adaptive.Choose(candidates[:len(from)], 0); best >= 0 {
		return from[best], true
	}
	return coordinator{}, false
}

func (g *gate) limiterOf(h *host, now time.Time) *limited {
	l := g.limiters[h]
	if l == nil {
		l = &limited{Limiter: adaptive.NewLimiter(g.limits, now, rand.New(rand.NewPCG(g.jitter.Uint64(), g.jitter.Uint64())), g.peers)}
		l.memory.begin(l.Limiter)
		g.limiters[h] = l
	}
	return l
}

// done takes a permit back and notes what became of the attempt.
func (g *gate) done(f flight, o adaptive.Outcome, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	set := g.ring.set(f.token)
	g.owe(f, set, o, now)
	l := &g.lanes[set]
	if o != adaptive.Ignored {
		g.attempts++
	}
	switch o {
	case adaptive.Success, adaptive.Warned:
		g.acked++
		l.acknowledged(f.host, g.since(now))
		g.budget.Success()
		g.governor.Acked(now)
	case adaptive.Unavailable:
		if l.othersSucceed(f.host, g.since(now.Add(-lately))) {
			o = adaptive.Isolated
		}
	case adaptive.Failed, adaptive.Overloaded, adaptive.Isolated, adaptive.Lost, adaptive.Ignored:
	}
	before := f.limiter.State()
	f.limiter.Done(f.permit, o, now)
	f.limiter.memory.observe(f.limiter.Limiter)
	if before == adaptive.Quarantined && f.limiter.State() != before {
		g.budget.Restore()
	}
}

// lately is how long an acknowledgement shows that a coordinator reaches the replicas.
const lately = time.Second

// beginPulse reports whether the caller is the one to call pulse from now on.
func (g *gate) beginPulse() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	begin := !g.pulsing
	g.pulsing = true
	return begin
}

// pulse does what time brings: limiters are ticked, repetitions that are due and paid for wait in their lanes again, and
// what belongs to a context that has ended is returned, to be settled. It is called every 10 ms until it reports that
// there is nothing left to wait for; the next put or putLater must see to it again.
func (g *gate) pulse(r *ring, now time.Time) (over []overdue, idle bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.follow(r)
	for _, h := range g.ring.hosts {
		l := g.limiterOf(h, now)
		l.Tick(now)
		l.memory.observe(l.Limiter)
		l.memory.see(h.up.Load(), now)
	}
	for len(g.later) > 0 && !g.later[0].due.After(now) {
		q := g.later[0]
		if ok, _ := g.budget.Take(q.repetition, now); !ok && !g.probes(q, now) {
			break // what comes after it may cost less, and would keep it from ever being paid for
		}
		heap.Pop(&g.later)
		g.repeat(q)
	}
	if now.Sub(g.swept) >= sweepEvery {
		g.swept = now
		over = g.sweep()
	}
	idle = g.inFlight == 0 && g.waiting == 0 && len(g.later) == 0
	g.pulsing = !idle
	return over, idle
}

// news returns what there is to say of the hosts' limits since the last time.
func (g *gate) news(now time.Time) (news []move) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.ring.hosts {
		l := g.limiters[h]
		if l == nil {
			continue
		}
		if moved, ok := l.memory.news(h, now); ok {
			news = append(news, moved)
		}
	}
	return news
}

// probes reports whether a request would be the single write that shows whether a quarantined host is back. Such a one is
// free: in an outage of everything nobody would succeed to pay for it.
func (g *gate) probes(q *request, now time.Time) bool {
	if g.waiting > 0 {
		return false // others do that
	}
	hosts := g.ring.sets[g.ring.set(q.token)]
	quarantined := func(h *host) bool { return g.limiterOf(h, now).State() == adaptive.Quarantined }
	elsewhere := slices.ContainsFunc(hosts, func(h *host) bool { return h.up.Load() && !quarantined(h) })
	return slices.ContainsFunc(hosts, func(h *host) bool {
		return h.up.Load() && quarantined(h) && g.limiterOf(h, now).Room() > 0 && (h != q.failedAt || !elsewhere)
	})
}

// sweepEvery is the pause between two looks for what belongs to contexts that have ended.
const sweepEvery = 100 * time.Millisecond

// overdue is a request whose context has ended, and why. A context that was ended by its clock may look alive again later.
type overdue struct {
	*request
	cause error
}

// sweep takes out what belongs to contexts that have ended, and forgets sources of which nothing waits. All requests of a source
// have one context.
func (g *gate) sweep() (out []overdue) {
	take := func(q *request) bool {
		cause := ended(q.ctx)
		if cause != nil {
			out = append(out, overdue{q, cause})
		}
		return cause != nil
	}
	for key, s := range g.sources {
		waits := false
		var cause error
		for set, f := range s.flows {
			if len(f.queue) == 0 {
				continue
			}
			if cause == nil {
				cause = ended(f.queue[0].ctx)
			}
			if cause == nil {
				waits = true
				continue
			}
			for _, q := range f.queue {
				out = append(out, overdue{q, cause})
			}
			g.lanes[set].leave(f)
			delete(s.flows, set) // with what it remembers of them
		}
		if !waits {
			delete(g.sources, key)
		}
	}
	for i := range g.lanes {
		g.lanes[i].again = slices.DeleteFunc(g.lanes[i].again, take)
	}
	g.waiting -= len(out)
	if before := len(out); len(g.later) > 0 {
		g.later = slices.DeleteFunc(g.later, take)
		if len(out) > before {
			heap.Init(&g.later)
		}
	}
	return out
}

// setConfig changes the bounds of every limiter and of the governor. What is in use above a new bound is given back as
// its requests end.
func (g *gate) setConfig(limits adaptive.Config, debt adaptive.GovernorConfig, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := limits.Validate(); err != nil {
		return err
	}
	if err := g.governor.SetConfig(g.debts.known.complete(debt)); err != nil {
		return err
	}
	g.debts.config = debt
	g.limits = limits
	for _, h := range g.ring.hosts {
		if err := g.limiterOf(h, now).SetConfig(limits, now); err != nil {
			return err
		}
	}
	return nil
}

// later is the requests that wait for their back-off, as container/heap wants them: the next due comes first.
type later []*request

func (l later) Len() int           { return len(l) }
func (l later) Less(i, j int) bool { return l[i].due.Before(l[j].due) }
func (l later) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *later) Push(x any)        { *l = append(*l, x.(*request)) }
func (l *later) Pop() any {
	last := len(*l) - 1
	q := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return q
}
