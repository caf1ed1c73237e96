package adaptive

import (
	"math"
	"slices"
	"time"
)

const (
	drainEvery      = 10 * time.Second
	drainEverySoon  = 2 * time.Second        // after the host changed, until the next of the usual ones
	drainEveryFirst = 500 * time.Millisecond // at once after it did
	drainFirst      = 1250 * time.Millisecond
	drainLate       = 60 * time.Millisecond // later than this it would be alone
	drainLongest    = 500 * time.Millisecond
	drainWindow     = 10 * time.Millisecond
	drainEmpties    = 2    // latencies of the busy host
	drainLooks      = 6    // of the idle one
	drainPart       = 0.65 // of what an idle host has in flight
	drainFewest     = 8    // samples
	drainSlots      = 100  // of [Variant.LonelyDrain]

	idleKept = 128 // samples of several drains

	// A host changed when its rate is below slowerBy and its latency above longerBy of what is usual, or when it is busy and
	// takes less than fasterBy of its idle latency.
	slowerBy = 0.7
	longerBy = 1.2
	fasterBy = 0.8

	quickGain   = 0.1   // a window, for how a host is of late
	usualGain   = 0.002 // and for what is usual
	paceWindows = 250   // until that is known
)

// drain is the measuring of the idle latency: one window to empty the host's queue, one to look. One drain sees ten to fifty
// attempts, whose median is off by a tenth by itself, and a target that followed it would tremble as much. What several
// drains saw is therefore kept together, until one of them differs by more than chance can explain: the host is another then.
type drain struct {
	due     int64
	began   int64
	looking bool  // in the second window
	changed int64 // when the host did
	restore float64

	quick   pace // of the last windows
	usual   pace // of many
	windows int  // since the host changed
	idle    latencies
}

// latencies are the latest of some, in nanoseconds.
type latencies struct {
	kept [idleKept]int64
	n    int // all there ever were since the last reset
}

func (s *latencies) add(nanoseconds int64) {
	s.kept[s.n%len(s.kept)] = nanoseconds
	s.n++
}

// keep forgets all but the latest n.
func (s *latencies) keep(n int) {
	var last [idleKept]int64
	n = min(n, s.n, len(last))
	for i := range n {
		last[i] = s.kept[(s.n-n+i)%len(s.kept)]
	}
	s.kept, s.n = last, n
}

func (s *latencies) median() time.Duration {
	sorted := s.kept
	n := min(s.n, len(sorted))
	if n == 0 {
		return 0
	}
	slices.Sort(sorted[:n])
	return time.Duration(sorted[n/2])
}

// planDrain sets the next time to a multiple of the wall clock, the same for all hosts of all daemons whose clocks agree. What follows a
// change of the host ends at a multiple too, so that hosts which saw it at different moments end it together.
func (l *Limiter) planDrain() {
	wall := l.wall()
	changed := wall - l.now + l.drain.changed
	every := drainEvery
	switch {
	case wall-changed < int64(drainFirst):
		every = drainEveryFirst
	case wall < (changed/int64(drainEvery)+1)*int64(drainEvery):
		every = drainEverySoon
	}
	next := (wall/int64(every) + 1) * int64(every)
	l.drain.due = l.now + next - wall
	if l.config.Variant.LonelyDrain {
		l.drain.due += int64(l.jitter.IntN(drainSlots)) * int64(every) / drainSlots
	}
}

// hostChanged brings the next drains forward.
func (l *Limiter) hostChanged() { l.changedAt(l.now) }

// heed does the same when the peers have found that the whole cluster changed.
func (l *Limiter) heed() {
	if changed := l.peers.changed - l.origin.UnixNano(); changed > l.drain.changed {
		l.changedAt(changed)
	}
}

func (l *Limiter) changedAt(moment int64) {
	l.drain.changed, l.drain.windows = moment, 0
	l.planDrain()
}

// compare looks whether a host that is kept busy does less than usual and takes longer for it. One of them alone is the doing of other
// hosts, which grow or shrink beside this one; under the law, whose limit goes down with the latency up, both together are the host's
// own: its idle latency is another, which is believed when its peers say so too. A host that became faster shows it without a drain.
func (l *Limiter) compare(rate float64) {
	d := &l.drain
	d.windows++
	quick, slow := max(quickGain, 1/float64(d.windows)), max(usualGain, 1/float64(d.windows))
	d.quick.approach(pace{rate, float64(l.p50)}, quick)
	d.usual.approach(d.quick, slow)
	if d.windows >= paceWindows && d.quick.rate < slowerBy*d.usual.rate && d.quick.latency > longerBy*d.usual.latency {
		if l.config.Variant.LonelyAlarm {
			l.hostChanged()
		} else {
			l.peers.suspect(l)
			l.heed()
		}
	}
}

// pace is what a host does in a second, and how many nanoseconds one takes.
type pace struct{ rate, latency float64 }

func (p *pace) approach(to pace, gain float64) {
	p.rate += gain * (to.rate - p.rate)
	p.latency += gain * (to.latency - p.latency)
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
	low := max(2, min(l.limit/2, drainPart*l.rate*l.base.Seconds()))
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
	// Windows are of few lengths, so that hosts of about the same latency end them together: one that was done sooner would fill
	// the queues of those that still look.
	needed := drainLooks * l.base
	if !d.looking {
		needed = drainEmpties * l.p50
	}
	length := drainWindow
	for length < needed {
		length *= 2
	}
	if l.now-l.opened < int64(length) {
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
	l.learn(l.samples.quantile(0.5), l.samples.n)
	l.endDrain()
}

// learn takes the median of so many samples of an idle host, which are the latest of those that are kept.
func (l *Limiter) learn(median time.Duration, n int) {
	before := l.base
	if before > 0 && math.Abs(math.Log(float64(median)/float64(before))) > chance(n) {
		l.drain.idle.keep(n)
	}
	idle := l.drain.idle.median()
	if before > 0 && (idle > 2*before || idle < before/2) {
		idle = min(max(idle, before/2), 2*before)
		l.drain.changed = l.now // no chance explains so much; the next drain follows soon
	}
	l.base = l.boundBase(idle)
}

// chance is three standard deviations of the logarithm of a median of so many latencies, where those of an idle host are spread
// by about a third: 1.25 · 0.35/√n.
func chance(n int) float64 { return 1.3 / math.Sqrt(float64(n)) }

// endDrain gives the limit back that was before.
func (l *Limiter) endDrain() {
	l.state = Normal
	l.planDrain()
	l.epoch = l.now
	l.open()
	l.decide(l.bound(l.drain.restore), Decision{Reason: DrainEnded, Factor: 1})
}
