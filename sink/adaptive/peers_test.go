package adaptive

import (
	"math/rand/v2"
	"testing"
	"time"
)

// suspecting returns three limiters of one cluster, long after the first drains, of which the first few have just found their hosts slower.
func suspecting(suspects int, prepare func([]*Limiter)) []*Limiter {
	peers := NewPeers()
	limiters := make([]*Limiter, 3)
	for i := range limiters {
		l := NewLimiter(Config{}, origin, rand.New(rand.NewPCG(1, uint64(i))), peers)
		l.now = int64(8 * time.Second) // the next of the usual drains is at 17 s
		l.planDrain()
		l.p50 = 4 * time.Millisecond
		for range paceWindows {
			l.compare(1000)
		}
		limiters[i] = l
	}
	prepare(limiters)
	for _, l := range limiters[:suspects] {
		l.p50 = 8 * time.Millisecond
		for range 20 {
			l.compare(500)
		}
	}
	for _, l := range limiters {
		l.Tick(origin.Add(8 * time.Second))
	}
	return limiters
}

// A replica that lags behind looks like a changed host to its own limiter, and must not be drained alone.
func TestAllHostsAreDrainedEarlyOrNone(t *testing.T) {
	for _, c := range []struct {
		name     string
		suspects int
		prepare  func([]*Limiter)
		early    bool
	}{
		{"one of three", 1, func([]*Limiter) {}, false},
		{"two of three", 2, func([]*Limiter) {}, true},
		{"one of two, the third being in quarantine", 1, func(l []*Limiter) { l[2].isolate(Disconnected) }, false},
		{"the one that is left by two in quarantine", 1, func(l []*Limiter) { l[1].isolate(Disconnected); l[2].isolate(Disconnected) }, true},
		{"the one that is left by two that went", 1, func(l []*Limiter) { l[0].peers.Forget(l[1]); l[0].peers.Forget(l[2]) }, true},
	} {
		for i, l := range suspecting(c.suspects, c.prepare) {
			if early := l.drain.due-l.now <= int64(drainEveryFirst); early != c.early && l.state == Normal {
				t.Errorf("%s: host %d is drained early %t, want %t", c.name, i, early, c.early)
			}
		}
	}
}

// Suspicions that are far apart are not of one change.
func TestASuspicionIsForgotten(t *testing.T) {
	limiters := suspecting(1, func([]*Limiter) {})
	second := limiters[1]
	second.now += int64(suspicion) + 1
	limiters[0].peers.suspect(second)
	if limiters[0].peers.changed != 0 {
		t.Error("two suspicions more than a second apart are taken for one change")
	}
}

// Who was in quarantine when the others found a change takes part in what is left of it, and no longer.
func TestAChangeIsCountedFromWhenItWasFound(t *testing.T) {
	late := suspecting(2, func(l []*Limiter) { l[2].isolate(Disconnected) })[2]
	late.now += int64(drainFirst)
	late.state = Normal
	late.heed()
	if next := time.Duration(late.drain.due - late.now); next > drainEverySoon || next <= drainEveryFirst {
		t.Errorf("the next drain is due in %s, with those of the others every %s", next, drainEverySoon)
	}
}
