package cassandra

import (
	"math"
	"time"

	"go.uber.org/zap"

	"penstock/sink/adaptive"
)

// memory is what the gate remembers of a host for people: its limiter decides by the last moments, and who asks what is
// slow wants to know how it was before. It is bounded, and the gate guards it.
type memory struct {
	decided int // decisions of the limiter that were taken in

	limit  int                  // outside of drains; 0 in quarantine
	last   [3]adaptive.Decision // that was no drain's, by its direction
	closed bool                 // the host is in quarantine
	why    adaptive.Reason      // of the quarantine
	since  time.Time            // of the quarantine
	down   time.Time            // when it was first seen to be down; zero while it is up
	cut    time.Time            // when the limit was last lowered since the host was slow

	past    [pastPieces]piece
	counted map[counted]int64

	told struct {
		at     time.Time
		limit  int
		closed bool
	}
}

// piece is what is remembered of a part of the past.
type piece struct {
	number int64         // of the piece since 1970
	limits int           // the sum of the limits that were decided on
	n      int           // of those
	idle   time.Duration // the lowest idle latency that was measured; 0 for none
}

const (
	pastPieces  = 30
	pieceLength = 10 * time.Second // thirty are the five minutes that are called recent
)

// counted is what decisions are counted by. Both are closed sets, of metrics' labels.
type counted struct{ Action, Cause string }

// countedAs says how a decision is counted.
func countedAs(d adaptive.Decision) counted {
	action := [...]string{"shrink", "hold", "grow"}[d.Direction+1]
	switch d.Reason {
	case adaptive.Faster:
		return counted{action, "latency"}
	case adaptive.Slower:
		if d.Overdue > 0 {
			return counted{action, "overdue"}
		}
		return counted{action, "latency"}
	case adaptive.Refused:
		return counted{action, "overload"}
	case adaptive.WarnedOf:
		return counted{action, "warning"}
	case adaptive.Unused:
		return counted{"hold", "unused"}
	case adaptive.DrainBegan, adaptive.DrainEnded:
		return counted{"hold", "drain"}
	case adaptive.Silent:
		return counted{"drop", "silence"}
	case adaptive.Disconnected:
		return counted{"drop", "connection"}
	case adaptive.CutOff:
		return counted{"drop", "isolation"}
	case adaptive.Answered:
		return counted{"grow", "return"}
	case adaptive.Configured:
		return counted{action, "configuration"}
	}
	return counted{action, "unknown"}
}

// begin is for a host whose limiter is new.
func (m *memory) begin(l *adaptive.Limiter) { m.limit, m.told.limit = l.Limit(), l.Limit() }

// observe takes in what a host's limiter decided since the last time. It is called after everything that may make it decide.
func (m *memory) observe(l *adaptive.Limiter) {
	for ; m.decided < l.Decided(); m.decided++ {
		if d, ok := l.Decision(m.decided); ok {
			m.take(d)
		}
	}
}

func (m *memory) take(d adaptive.Decision) {
	if m.counted == nil {
		m.counted = map[counted]int64{}
	}
	m.counted[countedAs(d)]++
	now := m.piece(d.At)
	now.measured(d.Base)
	switch d.Reason {
	case adaptive.DrainBegan, adaptive.DrainEnded:
		return // the limit is to be as it was
	case adaptive.Silent, adaptive.Disconnected, adaptive.CutOff:
		m.closed, m.why, m.since, m.limit = true, d.Reason, d.At, 0
		m.last[adaptive.Down+1] = d
		return
	case adaptive.Answered:
		m.closed = false
	case adaptive.Slower:
		if d.Direction == adaptive.Down {
			m.cut = d.At
		}
	case adaptive.Faster, adaptive.Refused, adaptive.WarnedOf, adaptive.Unused, adaptive.Configured:
	}
	if m.closed { // configured while in quarantine
		return
	}
	m.last[d.Direction+1], m.limit = d, int(d.To)
	now.limits += m.limit
	now.n++
}

// piece returns the part of the past that a time belongs to, emptied if it held an older one.
func (m *memory) piece(at time.Time) *piece {
	number := at.UnixNano() / int64(pieceLength)
	p := &m.past[number%pastPieces]
	if p.number != number {
		*p = piece{number: number}
	}
	return p
}

func (p *piece) measured(idle time.Duration) {
	if idle > 0 && (p.idle == 0 || idle < p.idle) {
		p.idle = idle
	}
}

// recent returns the highest limit and the lowest idle latency of the last minutes. The limit is the mean of a part of that time:
// a limit that shot past for a moment says nothing of what the host took.
func (m *memory) recent(now time.Time) (highest int, idle time.Duration) {
	newest := now.UnixNano() / int64(pieceLength)
	highest = m.limit
	for _, p := range m.past {
		if p.number <= newest-pastPieces {
			continue
		}
		if p.number < newest && p.n > 0 {
			highest = max(highest, p.limits/p.n)
		}
		if p.idle > 0 && (idle == 0 || p.idle < idle) {
			idle = p.idle
		}
	}
	return highest, idle
}

// see notes whether the driver has the host for up.
func (m *memory) see(up bool, now time.Time) {
	switch {
	case up:
		m.down = time.Time{}
	case m.down.IsZero():
		m.down = now
	}
}

// tellAgain is the least time between two lines in the log of one host.
const tellAgain = time.Second

// move is a limit that moved far enough, or a state that changed, to be told of.
type move struct {
	host     *host
	from, to int // limits; 0 in quarantine
	state    string
	last     adaptive.Decision
}

// news returns what there is to tell of since the last time: a limit that differs by more than a tenth, and by two permits, from
// what was told last, and a quarantine's begin and end.
func (m *memory) news(h *host, now time.Time) (move, bool) {
	t := &m.told
	changed := math.Abs(float64(m.limit - t.limit))
	if now.Sub(t.at) < tellAgain || m.closed == t.closed && (changed <= float64(t.limit)/10 || changed < 2) {
		return move{}, false
	}
	moved := move{host: h, from: t.limit, to: m.limit, state: m.state().String(), last: m.last[adaptive.Up+1]}
	if m.limit < t.limit {
		moved.last = m.last[adaptive.Down+1]
	}
	t.at, t.limit, t.closed = now, m.limit, m.closed
	return moved, true
}

// state is the host's outside of drains, which are no news.
func (m *memory) state() adaptive.State {
	if m.closed {
		return adaptive.Quarantined
	}
	return adaptive.Normal
}

func (v move) fields() []zap.Field {
	return []zap.Field{
		zap.String("host", v.host.address), zap.String("rack", v.host.rack), zap.Int("from", v.from), zap.Int("to", v.to),
		zap.String("state", v.state), zap.Stringer("reason", v.last.Reason), zap.Duration("latency", v.last.Latency),
		zap.Duration("target", v.last.Target),
	}
}
