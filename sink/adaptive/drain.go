package adaptive

import (
	"math"
	"time"
)

const (
	drainEvery      = 10 * time.Second
	drainEverySoon  = 2 * time.Second       // while the idle latency still moves
	drainLate       = 60 * time.Millisecond // later than this it would be alone
	drainLongest    = 500 * time.Millisecond
	drainLatencies  = 6
	drainWindow     = 20 * time.Millisecond
	changedBy       = 0.6
	drainMoved      = 0.25
	drainChance     = 0.25 // a median of so few samples is off by so much by itself
	drainFewest     = 8    // samples
	drainSlots      = 100
	drainSlotLength = drainEvery / drainSlots
)

// drain is the measuring of the idle latency: one window to empty the host's queue, one to look.
type drain struct {
	due     int64
	began   int64
	looking bool // in the second window
	restore float64
	moves   bool // the last measurement differed, or there was none
}

// planDrain sets the next time to a multiple of the wall clock, the same for all hosts of all daemons whose clocks agree.
func (l *Limiter) planDrain() {
	every := drainEvery
	if l.drain.moves {
		every = drainEverySoon
	}
	wall := l.origin.UnixNano() + l.now
	next := (wall/int64(every) + 1) * int64(every)
	l.drain.due = l.now + next - wall
	if l.config.Variant.LonelyDrain {
		l.drain.due += int64(l.jitter.IntN(drainSlots)) * int64(drainSlotLength)
	}
}

// drainSoon brings the next drain forward when the limit has changed so much that the host itself must have: its idle latency
// is another then. All hosts that see the change meet at the same multiple.
func (l *Limiter) drainSoon() {
	if d := &l.drain; !d.moves && (l.limit < changedBy*d.restore || l.limit*changedBy > d.restore) {
		d.moves = true
		l.planDrain()
	}
}

func (l *Limiter) drainIfDue() {
	if l.now < l.drain.due || l.config.Variant.NoDrain {
		return
	}
	if l.now-l.drain.due > int64(drainLate) {
		l.planDrain() // nobody ticked, as when idle: the others are past theirs
		return
	}
	d := &l.drain
	d.began, d.looking, d.restore = l.now, false, l.limit
	l.state = Draining
	// By what the host does, not by its limit: one that is too high would make a drain that is too full.
	low := max(2, min(l.limit/2, l.rate*l.base.Seconds()/2))
	l.open()
	l.decide(l.bound(min(l.limit, low)), Decision{Reason: DrainBegan, Factor: 1})
}

// drainOn moves a drain on.
func (l *Limiter) drainOn() {
	d := &l.drain
	if l.now-d.began > int64(drainLongest) {
		l.endDrain()
		return
	}
	// Both windows last as long whatever is counted in them: a host that was done sooner would fill the queues of those that
	// still look.
	if l.now-l.opened < int64(max(drainWindow, drainLatencies*max(l.base, l.p50))) {
		return
	}
	if !d.looking {
		d.looking = true
		l.epoch = l.now
		l.open()
		return
	}
	if l.samples.n < drainFewest {
		return // one that never looks would starve a host whose idle latency has grown
	}
	idle := l.samples.quantile(0.5)
	before := l.base
	if before > 0 {
		idle = min(max(idle, before/2), 2*before)
	}
	l.base = l.boundBase(idle)
	moved := float64(l.base-before) / float64(max(before, 1))
	d.moves = before == 0 || math.Abs(moved) > drainMoved
	if before > 0 && math.Abs(moved) < drainChance {
		l.base = l.boundBase(before + (l.base-before)/4)
	}
	l.endDrain()
}

// endDrain gives the limit back that was before.
func (l *Limiter) endDrain() {
	l.state = Normal
	l.planDrain()
	l.epoch = l.now
	l.open()
	l.decide(l.bound(l.drain.restore), Decision{Reason: DrainEnded, Factor: 1})
}
