package cassandra

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	lookEvery  = 250 * time.Millisecond // at what the driver and the limiters know
	pollEvery  = 2 * time.Second        // of each node
	pollCall   = 2 * time.Second        // the deadline of one poll
	reportGood = 3 * pollEvery          // how old an answer may be that counts
	// settingsEvery is the pause between two readings of what the nodes are set to.
	settingsEvery = 10 * time.Minute
)

// ReplicaWatchConfig configures a [ReplicaWatch].
type ReplicaWatchConfig struct {
	Role   string     // prefix of what is kept in State
	Worker string     // unique to this process
	State  StateTable // nil: the process goes by its own debt alone
	Log    *zap.Logger
}

// ReplicaWatch finds out which replicas are absent, and tells the writer, which counts what they are owed and slows down
// while that is much. A replica is absent when the driver says that it is down, when it has not answered for more than a second
// while there was something to send, and when most of the other nodes say that they do not reach it; it is back when none of this
// holds for five seconds. The watch never changes what is sent, only how fast.
//
// One goroutine, in Run, owns its state. Each call of a node or of the state table runs in a goroutine of its own, at most
// one for a node and one for the state table at a time, and brings back a function that the owner runs; so one that hangs
// delays nothing.
type ReplicaWatch struct {
	config ReplicaWatchConfig
	gate   *gate
	ring   func() *ring
	nodes  nodes
	tables []string // that a repair is for
	space  string   // their keyspace
	called sync.WaitGroup
	answer chan func(now time.Time)

	addresses  func(*host) []netip.Addr
	attendance attendance
	polled     map[*host]*polling
	capped     bool
	warned     map[string]bool // replicas whose hints are half refused
	repairs    map[string]bool // replicas whose repair was told
	share      share
}

// nodes is what the watch asks of the servers.
type nodes interface {
	columns(ctx context.Context, h *host) (map[string][]string, error)
	report(ctx context.Context, h *host, columns map[string][]string) (report, error)
	settings(ctx context.Context, h *host) (hintSettings, error)
}

// polling is what is known of one node from its own answers.
type polling struct {
	busy     bool
	next     time.Time
	failing  bool
	columns  map[string][]string // nil: to be asked for
	settings hintSettings
	settled  time.Time // when the settings were read
	last     report
	at       time.Time // of the last answer
	before   time.Time // of the one before
	broken   map[*host]bool
}

// NewReplicaWatch returns a watch over the replicas that a writer writes to.
func NewReplicaWatch(w *Writer, c ReplicaWatchConfig) (*ReplicaWatch, error) {
	if c.Log == nil || c.State != nil && (c.Role == "" || c.Worker == "") {
		return nil, errors.New("watch over the replicas: a log is needed, and with a state table a role and a worker")
	}
	watch := newReplicaWatch(w.gate, w.ring, serverTables{w.session}, c)
	watch.space = w.session.keyspace
	for _, t := range w.config.View.Tables() {
		watch.tables = append(watch.tables, t.Name+w.config.Generation.Suffix())
	}
	return watch, nil
}

func newReplicaWatch(g *gate, ring func() *ring, n nodes, c ReplicaWatchConfig) *ReplicaWatch {
	return &ReplicaWatch{
		config: c, gate: g, ring: ring, nodes: n, answer: make(chan func(time.Time)),
		addresses: (*host).addresses, polled: map[*host]*polling{}, warned: map[string]bool{}, repairs: map[string]bool{}, share: newShare(),
	}
}

// Run watches until ctx ends.
func (w *ReplicaWatch) Run(ctx context.Context) {
	calls, cancel := context.WithCancel(ctx)
	defer w.farewell(ctx)
	defer w.called.Wait()
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			w.poll(calls, now)
			w.look(now)
			w.tell(now)
			w.exchange(calls, now)
		case answered := <-w.answer:
			answered(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// call runs f in a goroutine that ends at its deadline at the latest. What f returns is run by the owner.
func (w *ReplicaWatch) call(ctx context.Context, f func(ctx context.Context) func(now time.Time)) {
	w.called.Go(func() {
		deadline, cancel := context.WithTimeout(ctx, pollCall)
		defer cancel()
		answered := f(deadline)
		select {
		case w.answer <- answered:
		case <-ctx.Done():
		}
	})
}

// poll asks every node that is up and due. One that does not answer says nothing of itself: it may be busy.
func (w *ReplicaWatch) poll(ctx context.Context, now time.Time) {
	r := w.ring()
	for h := range w.polled {
		if !slices.Contains(r.hosts, h) {
			delete(w.polled, h)
		}
	}
	for _, h := range r.hosts {
		p := w.polled[h]
		if p == nil {
			p = &polling{}
			w.polled[h] = p
		}
		if p.busy || now.Before(p.next) || !h.up.Load() {
			continue
		}
		p.busy, p.next = true, now.Add(pollEvery)
		columns, settle := p.columns, p.settled.IsZero() || now.Sub(p.settled) >= settingsEvery
		w.call(ctx, func(ctx context.Context) func(time.Time) {
			var err, unsettled error
			if columns == nil {
				columns, err = w.nodes.columns(ctx, h)
			}
			var told report
			if err == nil {
				told, err = w.nodes.report(ctx, h, columns)
			}
			var settings hintSettings
			if settle && err == nil {
				settings, unsettled = w.nodes.settings(ctx, h)
			}
			return func(now time.Time) {
				p.busy = false
				if settle && err == nil {
					w.learn(p, settings, unsettled, now)
				}
				w.heard(h, p, columns, told, err, now)
			}
		})
	}
}

// heard takes a node's answer.
func (w *ReplicaWatch) heard(h *host, p *polling, columns map[string][]string, told report, err error, now time.Time) {
	if failing := err != nil; failing != p.failing {
		p.failing = failing
		if failing {
			w.config.Log.Info("node does not tell how it reaches the others", zap.String("host", h.address), zap.Error(err))
		} else {
			w.config.Log.Info("node tells again how it reaches the others", zap.String("host", h.address))
		}
	}
	if err != nil {
		p.columns = nil // it may come back as another release
		return
	}
	p.columns = columns
	byAddress := hostsByAddress(w.ring().hosts, w.addresses)
	p.broken = map[*host]bool{}
	if !p.at.IsZero() && now.Sub(p.at) < reportGood {
		for a, after := range told.peers {
			if before, known := p.last.peers[a]; known && byAddress[a] != nil {
				p.broken[byAddress[a]] = broken(before, after)
			}
		}
	}
	p.before, p.at, p.last = p.at, now, told
	w.hinted(now)
}

// hinted passes on what all nodes that answer say of their hints.
func (w *ReplicaWatch) hinted(now time.Time) {
	oldest, bytes := map[string]time.Time{}, map[string]int64{}
	sized, up := 0, 0
	for h, p := range w.polled {
		if !h.up.Load() || p.last.hints == nil || now.Sub(p.at) > reportGood {
			up++
			continue
		}
		up, sized = up+1, sized+1
		for id, one := range p.last.hints {
			if at, known := oldest[id]; !known || one.oldest.Before(at) {
				oldest[id] = one.oldest
			}
			if one.bytes < 0 {
				sized = -1 - len(w.polled) // somebody does not tell sizes
			}
			bytes[id] += one.bytes
		}
	}
	for id, at := range oldest {
		size := bytes[id]
		if sized != up {
			size = -1
		}
		w.gate.hinted(id, at, size, now)
	}
}

// learn takes a node's settings over.
func (w *ReplicaWatch) learn(p *polling, s hintSettings, err error, now time.Time) {
	if p.settled = now; err != nil {
		w.config.Log.Debug("the settings of a node's hints could not be read", zap.Error(err))
		return
	}
	p.settings = s
	var all []hintSettings
	for _, p := range w.polled {
		if p.settings != (hintSettings{}) {
			all = append(all, p.settings)
		}
	}
	known := together(all, len(w.polled))
	if known == w.gate.hintSettings() {
		return
	}
	if err := w.gate.learn(known); err != nil {
		w.config.Log.Warn("the servers' settings of hints are not used", zap.Error(err))
		return
	}
	w.config.Log.Info("what the servers say of their hints is used", zap.Duration("window", known.window), zap.Int64("replayed_bytes_a_second", known.replay))
}

// look weighs what there is against each host.
func (w *ReplicaWatch) look(now time.Time) {
	r := w.ring()
	links := map[*host]map[*host]bool{}
	since := map[*host]time.Time{}
	for h, p := range w.polled {
		if now.Sub(p.at) <= reportGood {
			links[h] = p.broken
			for peer, broken := range p.broken {
				if at := since[peer]; broken && (at.IsZero() || p.before.Before(at)) {
					since[peer] = p.before
				}
			}
		}
	}
	there := map[string]bool{}
	for _, s := range w.gate.look(r, now) {
		there[s.id] = true
		not, asked := unreached(s.host, links)
		verdict, change := w.attendance.weigh(s.id, evidence{
			down: !s.up, quarantined: s.quarantined, acked: s.acked,
			unreached: 2*not > asked, known: asked > 0, unreachedSince: since[s.host],
		}, now)
		switch change {
		case same:
		case gone, otherReasons:
			w.gate.absent(s.host, verdict.reasons, verdict.since, now)
			w.config.Log.Warn("replica is absent", zap.String("host", s.address), zap.String("rack", s.rack), zap.Any("reasons", verdict.reasons),
				zap.Time("since", verdict.since))
		case returned:
			w.returned(s.id, s.address, verdict.since, now.Add(-backAfter), now)
		}
	}
	for _, id := range w.attendance.forget(func(id string) bool { return there[id] }) {
		w.returned(id, "removed from the cluster", now, now, now)
	}
}

// returned notes that a replica is back, and was absent between two times.
func (w *ReplicaWatch) returned(id, address string, since, until, now time.Time) {
	w.gate.back(id, until, now)
	delete(w.warned, id)
	all, _, _ := w.gate.owed(now)
	for _, d := range all {
		if d.Replica == id {
			w.config.Log.Info("replica is back", zap.String("host", address), zap.Duration("absent", until.Sub(since)), zap.Int64("owed_bytes", d.Owed),
				zap.Int64("owed_bytes_by_others", d.Others), zap.Duration("healed_in", d.HealedIn))
			return
		}
	}
	w.config.Log.Info("replica is back", zap.String("host", address), zap.Duration("absent", until.Sub(since)))
}

// tell logs what begins and ends.
func (w *ReplicaWatch) tell(now time.Time) {
	all, rate, capped := w.gate.owed(now)
	if capped != w.capped {
		w.capped = capped
		if capped {
			w.config.Log.Warn("the rate is capped: a replica is owed much", zap.Float64("mutations_a_second", rate), zap.Int64("owed_bytes", most(all)))
		} else {
			w.config.Log.Info("the rate is no longer capped")
		}
	}
	window := w.gate.hintWindow()
	for _, d := range all {
		if d.Absent && !w.warned[d.Replica] && now.Sub(d.Since) >= window/2 {
			w.warned[d.Replica] = true
			w.config.Log.Warn("hints for a replica will be refused unless it comes back", zap.String("host", d.Address),
				zap.Float64("minutes", d.RefusedIn.Minutes()), zap.Time("absent_since", d.Since))
		}
		switch {
		case d.Repair == nil:
			delete(w.repairs, d.Replica)
		case d.Absent && !w.repairs[d.Replica]:
			w.repairs[d.Replica] = true
			w.config.Log.Error("replica needs a repair: no hints are stored any more of what is written",
				zap.String("host", d.Address), zap.Time("from", d.Repair.From))
		case !d.Absent && w.repairs[d.Replica]:
			delete(w.repairs, d.Replica)
			w.config.Log.Error("replica is to be repaired now", zap.String("host", d.Address), zap.Time("from", d.Repair.From),
				zap.Time("until", d.Repair.Until), zap.Strings("run_there", d.Repair.Commands(w.space, w.tables)))
		}
	}
}

func most(all []ReplicaDebt) int64 {
	var most int64
	for _, d := range all {
		if d.Absent {
			most = max(most, d.Owed+d.Others)
		}
	}
	return most
}
