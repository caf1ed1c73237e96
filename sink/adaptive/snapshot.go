package adaptive

import "time"

// Snapshot is a limiter at one moment, for people.
type Snapshot struct {
	State         State
	Limit         int // 0 in quarantine
	InFlight      int
	P50, P75, P99 time.Duration // of the last window with samples
	Base          time.Duration // the idle latency; 0 until measured
	Target        time.Duration // τ, what P75 is steered to
	Trim          float64       // κ, by which τ is lowered to keep P99 below the target: 0.3 to 1
	Rate          float64       // acknowledged attempts a second, smoothed
	Decisions     []Decision    // the last ten at most, oldest first
}

// Snapshot tells the state. It allocates.
func (l *Limiter) Snapshot() Snapshot {
	return Snapshot{
		State: l.state, Limit: l.Limit(), InFlight: l.flights.n, P50: l.p50, P75: l.p75, P99: l.p99,
		Base: l.base, Target: l.target(), Trim: l.trim, Rate: l.rate, Decisions: l.decisions.last(),
	}
}

// LastDecision is the latest decision; false if there is none yet.
func (l *Limiter) LastDecision() (Decision, bool) {
	if l.decisions.n == 0 {
		return Decision{}, false
	}
	return l.decisions.kept[(l.decisions.n-1)%len(l.decisions.kept)], true
}

// Decided is how many decisions there were.
func (l *Limiter) Decided() int { return l.decisions.n }

// Decision is the one that n were before; false if it is forgotten, as all but the last ten are, or to come.
func (l *Limiter) Decision(n int) (Decision, bool) {
	if n < 0 || n >= l.decisions.n || n < l.decisions.n-len(l.decisions.kept) {
		return Decision{}, false
	}
	return l.decisions.kept[n%len(l.decisions.kept)], true
}

type decisions struct {
	kept [10]Decision
	n    int // all there ever were
}

func (d *decisions) add(one Decision) {
	d.kept[d.n%len(d.kept)] = one
	d.n++
}

func (d *decisions) last() []Decision {
	var last []Decision
	for i := max(0, d.n-len(d.kept)); i < d.n; i++ {
		last = append(last, d.kept[i%len(d.kept)])
	}
	return last
}
