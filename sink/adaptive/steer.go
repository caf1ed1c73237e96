package adaptive

import (
	"cmp"
	"math"
	"time"
)

const (
	queueFactor = 1.7 // idle latencies that a queue may add, over the root of the limit
	queueTime   = 6200 * time.Microsecond

	memorySamples = 800 // that the latency is averaged over while it is steady: about a third of a second of a busy host

	smallGamma = 0.125
	largeGamma = 0.5

	steepLimit    = 10  // of [Variant.SteepQueue]
	loadedWindows = 100 // of [Variant.LoadedBase]
)

// target is τ: what the queue in front of the host may make of its idle latency.
func (l *Limiter) target() time.Duration {
	third := l.config.Target / 3
	if l.base == 0 {
		return third
	}
	limit := l.limit
	switch l.state {
	case Normal:
	case Draining:
		limit = l.drain.restore
	case Quarantined:
		limit = l.quarantine.healthy
	}
	if l.config.Variant.SteepQueue {
		limit = steepLimit
	}
	queue := cmp.Or(l.config.Variant.Queue, 1) * (queueFactor*float64(l.base) + float64(queueTime)) / math.Sqrt(limit)
	return time.Duration(l.trim * min(float64(l.base)+queue, float64(third)))
}

func (l *Limiter) boundBase(base time.Duration) time.Duration {
	if base == 0 {
		return 0
	}
	return min(max(base, lowestBase), l.config.Target/4)
}

// remember takes a window's latency into the memory of earlier ones and says what all say together. A window that is further off
// than chance takes it explains is alone right: the memory begins again. The memory moves with the limit, since the latency of
// a saturated host does: so it adds no delay to the loop.
func (l *Limiter) remember(latency time.Duration, n int) time.Duration {
	if latency <= 0 || l.config.Variant.NoMemory {
		return latency
	}
	x := math.Log(float64(latency))
	if math.Abs(x-l.memory) > 2/math.Sqrt(float64(n)) {
		l.memory, l.remembered = x, 0
	}
	l.remembered = min(l.remembered+float64(n), memorySamples)
	l.memory += (x - l.memory) * min(1, float64(n)/l.remembered)
	return time.Duration(math.Exp(l.memory))
}

// gamma is ½ for errors that cannot be chance, and falls to an eighth for those that can: the percentile of a window of 32 is
// off by about a tenth by itself, and a law that follows it trembles.
func (l *Limiter) gamma(ratio float64) float64 {
	if g := l.config.Variant.Gamma; g != 0 {
		return g
	}
	return clamp(math.Abs(math.Log(ratio)), smallGamma, largeGamma)
}
