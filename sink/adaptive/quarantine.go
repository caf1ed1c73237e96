package adaptive

import "time"

const (
	silence        = 500 * time.Millisecond // shorter would take a pause of the host's memory for its death
	lostInARow     = 3
	probesAtOnce   = 3
	firstPause     = 250 * time.Millisecond
	longestPause   = 5 * time.Second
	answersToLeave = 3
	leastReturn    = 4 // permits
)

// quarantine sends single real writes, with pauses that double. It stands in place of a circuit breaker: what comes back
// is a write like any other, and nothing is spent on asking.
type quarantine struct {
	healthy  float64 // the limit before
	due      int64   // when the next write may leave
	pause    time.Duration
	inFlight int
	answers  int // in a row, within the target
}

func (q *quarantine) isDue(l *Limiter) bool { return q.inFlight < probesAtOnce && l.now >= q.due }

// sent plans the next write.
func (q *quarantine) sent(l *Limiter) {
	q.inFlight++
	q.plan(l)
}

// plan draws the next pause from its upper half: of full jitter's short pauses each costs one more time-out.
func (q *quarantine) plan(l *Limiter) {
	q.due = l.now + int64(q.pause/2) + l.jitter.Int64N(int64(q.pause/2))
	q.pause = min(2*q.pause, longestPause)
}

// silent says whether something that was sent after the last acknowledgement has waited for too long, or nothing but failures
// came for as long: a host that fails fast always has room, and would draw every request to itself.
func (l *Limiter) silent() bool {
	patience := int64(max(silence, 8*l.target()))
	if l.failing >= lostInARow && l.now-l.failedAt >= patience {
		return true
	}
	if l.flights.n == 0 || l.now-l.lastAck < patience {
		return false
	}
	longest := int64(0)
	for slot := l.flights.slots[0].prev; slot != 0; slot = l.flights.slots[slot].prev {
		sent := l.flights.slots[slot].sent
		if sent < l.lastAck {
			break
		}
		longest = l.now - sent
	}
	return longest >= patience
}

// isolate begins a quarantine.
func (l *Limiter) isolate(why Reason) {
	healthy := l.limit
	if l.state == Draining {
		healthy = l.drain.restore
	}
	// A host is cut while it falls silent; what it took before is in the memory of its rate.
	healthy = max(healthy, min(l.rate*l.target().Seconds(), float64(l.config.Max)))
	l.quarantine = quarantine{healthy: l.bound(healthy), pause: firstPause, inFlight: l.quarantine.inFlight}
	l.quarantine.plan(l)
	l.state = Quarantined
	l.peers.limiters[l] = false
	l.lost, l.failing = 0, 0
	l.decide(l.bound(float64(l.config.Min)), Decision{Reason: why, Factor: 1})
}

// answered takes what became of an attempt during the quarantine.
func (l *Limiter) answered(p Permit, o Outcome, elapsed int64) {
	q := &l.quarantine
	switch {
	case o == Ignored:
		return
	case o != Success && o != Warned:
		q.answers = 0
		return
	case p.kind == ordinary: // sent before: the host lives
		q.pause, q.due = firstPause, l.now
		return
	case elapsed > int64(l.config.Target):
		q.answers, q.due = 0, l.now
		return
	}
	q.answers++
	q.pause, q.due = firstPause, l.now
	if q.answers < answersToLeave {
		return
	}
	l.state = Normal
	l.peers.limiters[l] = true
	l.epoch = l.now
	l.open()
	l.planDrain()
	l.decide(l.bound(max(leastReturn, q.healthy/2)), Decision{Reason: Answered, Factor: 1})
}
