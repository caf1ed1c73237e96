package adaptive

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	shortestWindow = 20 * time.Millisecond
	longestWindow  = 250 * time.Millisecond
	enoughSamples  = 32 // a window need not wait for more
	fewestSamples  = 4

	lowestFactor  = 0.5
	highestFactor = 1.25
	growth        = 0.5 // permits added to each step up, so that small limits grow too
	usedUp        = 0.8 // the part of a limit that must have been used for it to grow

	refusedFactor = 0.7
	warnedFactor  = 0.85

	lowestBase = 500 * time.Microsecond

	lowestTrim = 0.3
)

// Limiter is the law of one coordinator host. It is not safe for concurrent use. The zero value is not usable; see [NewLimiter].
type Limiter struct {
	config Config
	origin time.Time
	now    int64 // the latest now, in nanoseconds since origin; all times below are such
	jitter *rand.Rand
	peers  *Peers

	limit   float64
	flights flights

	// The window.
	samples  histogram
	opened   int64
	peak     int
	acked    int // successes in the window
	refusals int
	warned   bool
	epoch    int64 // what was sent before does not count
	lastAck  int64
	lost     int   // in a row
	failing  int   // attempts that ended since the last success without one
	failedAt int64 // when the first of them did
	overLong int   // windows in a row with a p99 above the target

	memory     float64 // of the logarithm of the latency that is steered by
	remembered float64 // the samples in it

	base  time.Duration // 0 until measured
	trim  float64       // κ
	p50   time.Duration
	p75   time.Duration
	p99   time.Duration
	rate  float64 // acknowledged a second, smoothed
	state State

	drain      drain
	quarantine quarantine
	decisions  decisions
}

// NewLimiter is a limiter with the configuration's first limit. The jitter draws the pauses between the single writes of
// a quarantine, and is the limiter's alone. The peers are those of the other hosts of the cluster; nil is for a limiter without any.
// A configuration that [Config.Validate] refuses panics.
func NewLimiter(c Config, now time.Time, jitter *rand.Rand, peers *Peers) *Limiter {
	if err := c.Validate(); err != nil {
		panic("adaptive: " + err.Error())
	}
	c = c.withDefaults()
	if peers == nil {
		peers = NewPeers()
	}
	l := &Limiter{
		config: c, origin: now, jitter: jitter, peers: peers, limit: float64(c.Start),
		flights: newFlights(64), trim: 1,
	}
	l.drain.restore = l.limit
	peers.limiters[l] = true
	l.planDrain()
	return l
}

// SetConfig changes target and bounds while attempts are in flight; the limit is moved into the new bounds. Start has no
// effect any more. The error is that of [Config.Validate], and nothing changes then.
func (l *Limiter) SetConfig(c Config, now time.Time) error {
	if err := c.Validate(); err != nil {
		return err
	}
	l.advance(now)
	l.config = c.withDefaults()
	l.base = l.boundBase(l.base)
	l.drain.restore = l.bound(l.drain.restore)
	l.quarantine.healthy = l.bound(l.quarantine.healthy)
	l.decide(l.bound(l.limit), Decision{Reason: Configured, Factor: 1})
	return nil
}

// advance takes the time. A clock that was set back stands still here.
func (l *Limiter) advance(now time.Time) {
	l.now = max(l.now, int64(now.Sub(l.origin)))
}

// Send notes that an attempt leaves. It does not ask whether there is [Limiter.Room].
func (l *Limiter) Send(now time.Time) Permit {
	l.advance(now)
	kind := ordinary
	if l.state == Quarantined {
		kind = probing
		l.quarantine.sent(l)
	}
	slot, turn := l.flights.add(l.now)
	l.peak = max(l.peak, l.flights.n)
	return Permit{slot: slot, turn: turn, sent: l.now, kind: kind}
}

// The kinds of a permit.
const (
	ordinary uint8 = iota
	probing        // sent to see whether a quarantined host is back
)

// Done notes what became of an attempt, exactly once for each permit; anything else panics.
func (l *Limiter) Done(p Permit, o Outcome, now time.Time) {
	l.advance(now)
	l.flights.remove(p.slot, p.turn)
	elapsed := l.now - p.sent
	if p.kind == probing {
		l.quarantine.inFlight--
	}

	counts := p.sent >= l.epoch || l.config.Variant.NoEpochs
	switch o {
	case Success, Warned:
		l.lastAck, l.lost, l.failing = l.now, 0, 0
		l.acked++
		l.warned = l.warned || o == Warned && counts
	case Failed:
		elapsed = max(elapsed, 4*int64(l.config.Target))
		counts = counts && !l.config.Variant.OnlySurvivors
	case Overloaded, Unavailable:
		if counts {
			l.refusals++
		}
		counts = false // how fast a host refuses says nothing of how fast it writes
		l.lost = 0
	case Isolated:
		counts = false
	case Lost:
		l.lost++
		elapsed = max(elapsed, 4*int64(l.config.Target))
	case Ignored:
		counts = false
	}

	if o == Failed || o == Overloaded || o == Unavailable || o == Lost {
		if l.failing == 0 {
			l.failedAt = l.now
		}
		l.failing++
	}
	if l.state == Quarantined {
		l.answered(p, o, elapsed)
		return
	}
	if o == Isolated && p.sent >= l.epoch {
		l.isolate(CutOff)
		return
	}
	if l.lost >= lostInARow {
		l.isolate(Disconnected)
		return
	}
	if counts {
		l.samples.add(elapsed)
		if l.state == Draining && l.drain.looking {
			l.drain.idle.add(elapsed)
		}
	}
	if l.state == Normal && l.closes(l.samples.n+l.refusals) {
		l.close()
	}
}

// closes says whether the window has lasted long enough for so many samples.
func (l *Limiter) closes(samples int) bool {
	open := time.Duration(l.now - l.opened)
	if open < max(shortestWindow, l.base) {
		return false
	}
	return open >= longestWindow || samples >= max(fewestSamples, min(enoughSamples, int(2*l.limit)))
}

// Tick does what time brings without any answer: it closes windows, counts what is overdue, begins and ends drains, and
// quarantines a silent host. It is due at least every 20 ms while anything is in flight; see [Limiter.Next].
func (l *Limiter) Tick(now time.Time) {
	l.advance(now)
	switch l.state {
	case Normal:
		if l.silent() {
			l.isolate(Silent)
			return
		}
		if l.now-l.opened >= int64(shortestWindow) && (l.samples.n+l.refusals > 0 || l.flights.n > 0) {
			if l.now-l.opened >= int64(longestWindow) || l.closes(l.samples.n+l.refusals+l.overdue(nil)) {
				l.close()
			}
		}
		l.heed()
		l.drainIfDue()
	case Draining:
		if l.silent() {
			l.isolate(Silent)
			return
		}
		l.drainOn()
	case Quarantined:
	}
}

// Next is when Tick is due at the latest; the zero time if nothing is due until the next Send.
func (l *Limiter) Next(now time.Time) time.Time {
	l.advance(now)
	switch {
	case l.state == Quarantined && l.quarantine.inFlight < probesAtOnce:
		return l.origin.Add(time.Duration(max(l.now, l.quarantine.due)))
	case l.state == Draining:
		return l.origin.Add(time.Duration(l.now) + drainWindow)
	case l.flights.n > 0:
		due := l.now + int64(shortestWindow)
		if l.drain.due > l.now {
			due = min(due, l.drain.due)
		}
		return l.origin.Add(time.Duration(due))
	}
	return time.Time{}
}

// Limit is how many attempts may be in flight; 0 in quarantine.
func (l *Limiter) Limit() int {
	if l.state == Quarantined {
		return 0
	}
	return int(l.limit)
}

// InFlight is how many attempts are.
func (l *Limiter) InFlight() int { return l.flights.n }

// Room is how many attempts may leave now, 0 or more; in quarantine 1 when a single write is due, as of the latest now.
func (l *Limiter) Room() int {
	if l.state == Quarantined {
		if l.quarantine.isDue(l) {
			return 1
		}
		return 0
	}
	return max(0, int(l.limit)-l.flights.n)
}

// HeadRoom is the part of the limit that is free, 0 to 1; in quarantine 2 when a single write is due, so that it is taken before
// idle hosts, and 0 otherwise.
func (l *Limiter) HeadRoom() float64 {
	room := l.Room()
	if l.state == Quarantined || room == 0 {
		return 2 * float64(room)
	}
	return clamp((l.limit-float64(l.flights.n))/l.limit, 0, 1)
}

// State is what the limiter does with its host.
func (l *Limiter) State() State { return l.state }

// Latency is the 75th percentile of the last window, for [Choose]; 0 before the first.
func (l *Limiter) Latency() time.Duration { return l.p75 }

// overdue puts the ages of the attempts that are overdue into the samples, where there are any to put them into, and says
// how many there are. It looks at what was sent since the last cut only, once a window or every 20 ms.
func (l *Limiter) overdue(into *histogram) int {
	if l.config.Variant.NoCensored {
		return 0
	}
	patience := 2 * int64(l.target())
	n := 0
	for slot := l.flights.slots[0].prev; slot != 0; slot = l.flights.slots[slot].prev {
		sent := l.flights.slots[slot].sent
		if sent < l.epoch && !l.config.Variant.NoEpochs {
			break
		}
		if age := l.now - sent; age > patience {
			n++
			if into != nil {
				into.add(age)
			}
		}
	}
	return n
}

func (l *Limiter) bound(limit float64) float64 {
	return clamp(limit, float64(l.config.Min), float64(l.config.Max))
}

// close ends a window with a decision and opens the next.
func (l *Limiter) close() {
	overdue := l.overdue(&l.samples)
	d := Decision{Samples: l.samples.n, Overdue: overdue, Peak: l.peak, Factor: 1}
	if l.samples.n == 0 && l.refusals == 0 {
		l.open()
		return
	}
	if l.samples.n > 0 {
		l.measure(&d)
	}
	used, rate := l.used(), float64(l.acked)/time.Duration(l.now-l.opened).Seconds()
	l.step(d)
	if used && l.samples.n > 0 {
		l.compare(rate)
	}
	l.open()
}

// measure takes the window's percentiles, and what they say of the idle latency and the target.
func (l *Limiter) measure(d *Decision) {
	v := l.config.Variant
	l.p50, l.p75, l.p99 = l.samples.quantile(0.5), l.samples.quantile(0.75), l.samples.quantile(0.99)
	d.Latency, d.P99 = l.p75, l.p99
	if v.Percentile != 0 {
		d.Latency = l.samples.quantile(v.Percentile)
	}
	d.Latency = l.remember(d.Latency, l.samples.n)
	rate := float64(l.acked) / time.Duration(l.now-l.opened).Seconds()
	l.rate += 0.2 * (rate - l.rate)
	if v.LoadedBase && l.base != 0 {
		l.base = l.boundBase(l.base + (l.p50-l.base)/loadedWindows)
	}
	if l.base == 0 || float64(l.p50) < fasterBy*float64(l.base) && l.samples.n >= 16 {
		l.base = l.boundBase(l.p50)
		if l.drain.idle.n > 0 {
			l.drain.idle.keep(0)
			l.hostChanged()
		}
	}
	if l.p99 <= l.config.Target {
		l.overLong = 0
	} else {
		l.overLong++
	}
	if l.overLong >= 2 {
		l.trim = max(lowestTrim, 0.97*l.trim)
	} else {
		l.trim = min(1, 1.005*l.trim)
	}
}

// step is the law.
func (l *Limiter) step(d Decision) {
	target := l.target()
	d.Reason = Unused
	if d.Latency > 0 {
		ratio := float64(target) / float64(d.Latency)
		d.Factor = clamp(math.Pow(ratio, l.gamma(ratio)), lowestFactor, highestFactor)
	}
	switch {
	case l.refusals > 0:
		d.Factor, d.Reason = min(d.Factor, refusedFactor), Refused
	case l.warned:
		d.Factor, d.Reason = min(d.Factor, warnedFactor), WarnedOf
	case d.Factor < 1:
		d.Reason = Slower
	case l.used() && d.Latency > 0:
		d.Reason, d.Added = Faster, growth*min(1, 4*(d.Factor-1))
	default:
		d.Factor = 1
	}
	if d.Factor < cutsBelow {
		l.epoch = l.now
	}
	before := l.limit
	l.decide(l.bound(l.limit*d.Factor+d.Added), d)
	l.memory += math.Log(l.limit / before)
}

// used says whether the limit was what held the window's attempts back.
func (l *Limiter) used() bool { return float64(l.peak) >= usedUp*math.Floor(l.limit) }

// cutsBelow tells cuts, after which an epoch begins, from the small steps around the fixed point, which change no queue
// by more than its noise.
const cutsBelow = 0.95

func (l *Limiter) open() {
	l.samples.reset()
	l.opened, l.peak, l.acked = l.now, l.flights.n, 0
	l.refusals, l.warned = 0, false
}

// decide sets the limit and keeps the decision.
func (l *Limiter) decide(to float64, d Decision) {
	d.At = l.origin.Add(time.Duration(l.now))
	d.From, d.To = l.limit, to
	switch {
	case to > l.limit:
		d.Direction = Up
	case to < l.limit:
		d.Direction = Down
	}
	d.Target, d.Base = l.target(), l.base
	l.limit = to
	l.decisions.add(d)
}
