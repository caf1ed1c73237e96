package cassandra

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"penstock/sink"
	"penstock/sink/adaptive"
)

// Pressure is what stands between a [Writer] and its hosts at one moment, for people. It is a value: nothing in it changes.
type Pressure struct {
	At       time.Time      `json:"at"`
	Hosts    []HostPressure `json:"hosts"`    // by rack and address
	Waiting  int            `json:"waiting"`  // requests for a permit
	Sources  int            `json:"sources"`  // that these are of
	BackOff  int            `json:"back_off"` // failed requests that wait to be repeated
	InFlight int            `json:"in_flight"`

	Longest []SourcePressure `json:"longest"` // the sources with the most waiting, five at most, the longest queue first
	Busiest SetPressure      `json:"busiest"` // the replica set with the most waiting

	Tokens    float64 `json:"budget_tokens"` // for repetitions, 0 to 500
	Attempts  int64   `json:"attempts"`      // since the start, without answers that say nothing of the host
	Successes int64   `json:"successes"`

	Capped bool           `json:"capped"`       // absent replicas are owed so much that the rate is bounded
	Cap    float64        `json:"cap,omitzero"` // requests a second
	Debts  []DebtPressure `json:"debts"`
}

// HostPressure is one coordinator host.
type HostPressure struct {
	ID       string    `json:"host_id"`
	Address  string    `json:"address"` // with the port
	Rack     string    `json:"rack"`
	Up       bool      `json:"up"`              // to the driver
	Down     time.Time `json:"down,omitzero"`   // since when it is not, as seen by the writer
	State    string    `json:"state"`           // normal, draining or quarantined
	Why      string    `json:"why,omitempty"`   // of the quarantine
	Since    time.Time `json:"since,omitzero"`  // of the quarantine
	Limit    int       `json:"limit"`           // requests in flight at most; in quarantine 0
	Usual    int       `json:"limit_undrained"` // the limit, during a drain that before it
	Highest  int       `json:"limit_highest"`   // of the last five minutes
	InFlight int       `json:"in_flight"`

	P50    Seconds `json:"p50_seconds"` // of the last window of time
	P75    Seconds `json:"p75_seconds"`
	P99    Seconds `json:"p99_seconds"`
	Base   Seconds `json:"base_seconds"`        // the latency of the idle host; 0 until measured
	Lowest Seconds `json:"base_lowest_seconds"` // of the last five minutes
	Target Seconds `json:"target_seconds"`      // what P75 is steered to
	Trim   float64 `json:"trim"`
	Rate   float64 `json:"rate"` // acknowledged a second

	Cut       time.Time       `json:"cut,omitzero"` // when the limit was last lowered because of latency
	Decisions []TakenDecision `json:"decisions"`    // the last ten at most, oldest first

	Taken []DecisionCount `json:"-"`

	closedFor adaptive.Reason
}

// TakenDecision is a step of a limit with the numbers behind it.
type TakenDecision struct {
	At        time.Time `json:"at"`
	Direction string    `json:"direction"`
	From      float64   `json:"from"`
	To        float64   `json:"to"`
	Reason    string    `json:"reason"` // a sentence without its full stop
	Factor    float64   `json:"factor"`
	Latency   Seconds   `json:"latency_seconds"`
	P99       Seconds   `json:"p99_seconds"`
	Target    Seconds   `json:"target_seconds"`
	Base      Seconds   `json:"base_seconds"`
	Samples   int       `json:"samples"`
	Overdue   int       `json:"overdue"`
	Peak      int       `json:"peak"`

	reason adaptive.Reason
}

// DecisionCount is how many decisions of a kind were taken since the host is known.
type DecisionCount struct {
	Action string // grow, shrink, hold or drop
	Cause  string // latency, overdue, overload, warning, unused, drain, silence, connection, isolation, return, configuration
	N      int64
}

// SourcePressure is one source of writes.
type SourcePressure struct {
	Name    string  `json:"name"`
	Waiting int     `json:"waiting"` // requests
	Behind  Seconds `json:"behind_seconds"`
}

// SetPressure is one replica set.
type SetPressure struct {
	Hosts   []string `json:"hosts"` // addresses
	Waiting int      `json:"waiting"`
}

// DebtPressure is what a replica is owed.
type DebtPressure struct {
	ID        string    `json:"host_id"`
	Address   string    `json:"address"` // empty if the host is not known any more
	Rack      string    `json:"rack"`
	Owed      int64     `json:"owed_bytes"`
	Absent    bool      `json:"absent"`
	Since     time.Time `json:"since"`                    // absent, or back
	RefusedIn Seconds   `json:"hints_refused_in_seconds"` // if it stays away; 0 if hints are refused already, or it is back
	HealedIn  Seconds   `json:"healed_in_seconds"`        // from the moment it is back
	From      time.Time `json:"repair_from,omitzero"`     // what was sent from then on has no hint
	Until     time.Time `json:"repair_until,omitzero"`
}

// Seconds is a time-span that is written as a number of seconds, as metrics have it.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler, to the microsecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Round(time.Microsecond).Seconds(), 'f', -1, 64), nil
}

// longestShown is how many sources are told of.
const longestShown = 5

// Pressure tells what the writer waits for. It takes the writer's lock for a moment and may be called at any time.
func (w *Writer) Pressure(now time.Time) Pressure { return w.gate.pressure(w.ring(), now) }

func (g *gate) pressure(r *ring, now time.Time) Pressure {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.follow(r)
	p := Pressure{
		At: now, Waiting: g.waiting, BackOff: len(g.later), InFlight: g.inFlight,
		Tokens: g.budget.Tokens(now), Attempts: g.attempts, Successes: g.acked,
	}
	p.Cap, p.Capped = g.governor.Cap(now)
	known := map[string]*host{}
	for _, h := range g.ring.hosts {
		known[h.id] = h
		p.Hosts = append(p.Hosts, g.hostPressure(h, now))
	}
	slices.SortFunc(p.Hosts, func(a, b HostPressure) int {
		return cmp.Or(cmp.Compare(a.Rack, b.Rack), cmp.Compare(a.Address, b.Address))
	})
	for _, d := range g.governor.Debts(now) {
		owed := DebtPressure{
			ID: d.Replica, Owed: d.Owed, Absent: d.Absent, Since: d.Since, RefusedIn: Seconds(d.RefusedIn), HealedIn: Seconds(d.HealedIn),
			From: d.RepairFrom, Until: d.RepairUntil,
		}
		if h := known[d.Replica]; h != nil {
			owed.Address, owed.Rack = h.address, h.rack
		}
		p.Debts = append(p.Debts, owed)
	}
	g.queues(&p)
	return p
}

// queues tells who waits, and for which replicas.
func (g *gate) queues(p *Pressure) {
	waiting := map[*sink.Source]int{}
	for set := range g.lanes {
		l := &g.lanes[set]
		n := len(l.again)
		for _, q := range l.again {
			waiting[q.from]++
		}
		for _, f := range l.flows {
			waiting[f.from.Source] += len(f.queue)
			n += len(f.queue)
		}
		if n > p.Busiest.Waiting {
			p.Busiest = SetPressure{Waiting: n}
			for _, h := range g.ring.sets[set] {
				p.Busiest.Hosts = append(p.Busiest.Hosts, h.address)
			}
		}
	}
	p.Sources = len(waiting)
	for s, n := range waiting {
		p.Longest = append(p.Longest, SourcePressure{s.Name, n, Seconds(s.Behind())})
	}
	slices.SortFunc(p.Longest, func(a, b SourcePressure) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(b.Behind, a.Behind), cmp.Compare(a.Name, b.Name))
	})
	p.Longest = p.Longest[:min(len(p.Longest), longestShown)]
}

func (g *gate) hostPressure(h *host, now time.Time) HostPressure {
	l := g.limiterOf(h, now)
	m := &l.memory
	m.observe(l.Limiter)
	m.see(h.up.Load(), now)
	s := l.Snapshot()
	highest, lowest := m.recent(now)
	p := HostPressure{
		ID: h.id, Address: h.address, Rack: h.rack, Up: m.down.IsZero(), Down: m.down, State: s.State.String(),
		Limit: s.Limit, Usual: m.limit, Highest: highest, InFlight: s.InFlight,
		P50: Seconds(s.P50), P75: Seconds(s.P75), P99: Seconds(s.P99), Base: Seconds(s.Base), Lowest: Seconds(lowest),
		Target: Seconds(s.Target), Trim: s.Trim, Rate: s.Rate, Cut: m.cut,
	}
	if m.closed {
		p.Why, p.Since, p.closedFor = m.why.String(), m.since, m.why
	}
	for _, d := range s.Decisions {
		p.Decisions = append(p.Decisions, TakenDecision{
			At: d.At, Direction: d.Direction.String(), From: d.From, To: d.To, Reason: d.Reason.String(), Factor: d.Factor,
			Latency: Seconds(d.Latency), P99: Seconds(d.P99), Target: Seconds(d.Target), Base: Seconds(d.Base),
			Samples: d.Samples, Overdue: d.Overdue, Peak: d.Peak, reason: d.Reason,
		})
	}
	for _, k := range slices.SortedFunc(maps.Keys(m.counted), func(a, b counted) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), cmp.Compare(a.Cause, b.Cause))
	}) {
		p.Taken = append(p.Taken, DecisionCount{k.Action, k.Cause, m.counted[k]})
	}
	return p
}
