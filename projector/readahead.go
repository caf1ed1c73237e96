package projector

import "time"

// readAhead decides how far a shard is read ahead of what is settled. More than the writer can take in a moment gains
// nothing: it fills the memory, is read again after a crash, and has to be waited for at the end. So a shard asks for
// more when it holds no more than what it settles in half a second, or in twice the time that an answer takes, and asks
// for as much again. Where it settles little it holds little, but may always ask for leastAhead.
//
// It belongs to the shard's goroutine.
type readAhead struct {
	taken     int64     // bytes of all records taken so far
	settled   int64     // of these, what was settled when last looked
	looked    time.Time // when that was
	perSecond float64   // moving average of what is settled, bytes
	latency   time.Duration
}

const (
	aheadFor   = 500 * time.Millisecond
	leastAhead = 1 << 20
)

// took notes a batch: its bytes, what the shard held before it, and how long it was waited for.
func (a *readAhead) took(bytes, held int64, latency time.Duration, now time.Time) {
	settled := a.taken - held
	if elapsed := now.Sub(a.looked).Seconds(); !a.looked.IsZero() && elapsed > 0 {
		a.perSecond = (a.perSecond + float64(settled-a.settled)/elapsed) / 2
	}
	a.looked, a.settled, a.latency = now, settled, latency
	a.taken += bytes
}

// bytes is how much the shard may hold when it asks for more, and how much it asks for.
func (a *readAhead) bytes() int64 {
	return max(leastAhead, int64(a.perSecond*max(aheadFor, 2*a.latency).Seconds()))
}
