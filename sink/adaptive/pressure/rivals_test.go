package pressure

import (
	"math"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"

	"penstock/sink/adaptive"
)

// window is a limit and what is in flight under it, which all rivals have.
type window struct {
	most     float64
	inFlight int
}

func (w *window) candidate() adaptive.Candidate {
	room := max(0, int(w.most)-w.inFlight)
	return adaptive.Candidate{Room: room, HeadRoom: float64(room) / w.most}
}

func (w *window) sent(time.Time) ticket {
	w.inFlight++
	return ticket{inFlight: w.inFlight}
}

func (w *window) done(ticket, adaptive.Outcome, time.Duration, time.Time) { w.inFlight-- }

func (w *window) tick(time.Time) {}

func (w *window) limit() (float64, bool) { return w.most, true }

// fixed is a limit that nothing changes.
func fixed(most int) limiter { return &window{most: float64(most)} }

const (
	rivalStart = 20
	rivalMax   = 4096
)

// aimd adds a permit where at least half of them are in use, and takes a tenth for each failure and each answer that took
// longer than its time-out, as the limiter of that name in Netflix's concurrency-limits does.
type aimd struct {
	window
	timeout time.Duration
}

func (a *aimd) done(t ticket, o adaptive.Outcome, elapsed time.Duration, now time.Time) {
	a.window.done(t, o, elapsed, now)
	switch {
	case o != adaptive.Success || elapsed > a.timeout:
		a.most = max(1, math.Floor(a.most*0.9))
	case float64(2*t.inFlight) >= a.most:
		a.most = min(rivalMax, a.most+1)
	}
}

// gradient2 compares the mean of a second's latencies with a slow average of such means:
//
//	W ← 0.8 W + 0.2 (W · clamp(1.5·long/short, ½, 1) + 4)
//
// as Netflix's concurrency-limits describes it: failures are no samples, a limit that is used by less than half stays, and a
// long average of more than twice the short one is brought down faster.
type gradient2 struct {
	window
	long   float64
	opened time.Time
	sum    float64
	n      int
	peak   int
	warm   int
}

const (
	gradientSpan      = 600 // windows
	gradientTolerance = 1.5
	gradientQueue     = 4
	gradientSmoothing = 0.2
	gradientSamples   = 10
	gradientWarmUp    = 10
	gradientWindow    = time.Second
)

func (g *gradient2) done(t ticket, o adaptive.Outcome, elapsed time.Duration, now time.Time) {
	g.window.done(t, o, elapsed, now)
	if o != adaptive.Success {
		return
	}
	g.sum += float64(elapsed)
	g.n++
	g.peak = max(g.peak, t.inFlight)
	if g.n < gradientSamples || now.Sub(g.opened) < gradientWindow {
		return
	}
	short := g.sum / float64(g.n)
	if g.warm < gradientWarmUp {
		g.warm++
		g.long += (short - g.long) / float64(g.warm)
	} else {
		g.long += (short - g.long) * 2 / (gradientSpan + 1)
	}
	if g.long > 2*short {
		g.long *= 0.95
	}
	if float64(g.peak) >= g.most/2 {
		gradient := min(1, max(0.5, gradientTolerance*g.long/short))
		g.most += gradientSmoothing * (g.most*gradient + gradientQueue - g.most)
		g.most = min(rivalMax, max(gradientQueue, g.most))
	}
	g.opened, g.sum, g.n, g.peak = now, 0, 0, 0
}

// failsafe is the library's own limiter, with its defaults but for the bounds. It reads the time package, and so it is run in a
// bubble whose clock is brought to the simulation's before each call. Every end is recorded, failures with their elapsed time: its
// Drop would leave them out, and a black hole would then be no news.
type failsafe struct {
	theirs adaptivelimiter.AdaptiveLimiter[any]
	began  time.Time
}

// newFailsafe must be called in a bubble of testing/synctest.
func newFailsafe() limiter {
	l := adaptivelimiter.NewBuilder[any]().WithLimits(1, rivalMax, rivalStart).Build()
	return &failsafe{theirs: l, began: time.Now()}
}

func (f *failsafe) at(now time.Time) {
	if behind := now.Sub(start) - time.Since(f.began); behind > 0 {
		time.Sleep(behind)
	}
}

func (f *failsafe) candidate() adaptive.Candidate {
	limit := f.theirs.Limit()
	room := max(0, limit-f.theirs.Inflight())
	return adaptive.Candidate{Room: room, HeadRoom: float64(room) / float64(limit)}
}

func (f *failsafe) sent(now time.Time) ticket {
	f.at(now)
	permit, ok := f.theirs.TryAcquirePermit()
	if !ok {
		panic("pressure: failsafe says that it has room, and refuses")
	}
	return ticket{foreign: permit}
}

func (f *failsafe) done(t ticket, _ adaptive.Outcome, _ time.Duration, now time.Time) {
	f.at(now)
	t.foreign.(adaptivelimiter.Permit).Record()
}

func (f *failsafe) tick(time.Time) {}

func (f *failsafe) limit() (float64, bool) { return float64(f.theirs.Limit()), true }
