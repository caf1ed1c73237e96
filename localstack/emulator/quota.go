package emulator

import "time"

// ReadQuota bounds what may be read from one shard, over all readers together. The zero value bounds nothing.
type ReadQuota struct {
	// CallsPerSecond bounds GetRecords and, separately, GetShardIterator; 0 is unbounded.
	CallsPerSecond int

	// BytesPerSecond bounds the data and partition keys that GetRecords returns; 0 is unbounded. As in the service, a reply is
	// never cut to fit: the calls after it are refused until its bytes are paid for. A reply of the full 10 MiB has the calls of
	// the next five seconds refused.
	BytesPerSecond int
}

// ServiceReadQuota is what the service grants: 5 calls and 2 MiB per second and shard.
var ServiceReadQuota = ReadQuota{CallsPerSecond: 5, BytesPerSecond: 2 << 20}

const pauseAfterFullReply = 5 * time.Second

// callWindow admits a number of calls in any second.
type callWindow struct {
	admitted []time.Time // the last calls, oldest first, at most as many as a second may hold
}

// admit says whether a call at now is within perSecond, and counts it if so. A refused call is not counted.
func (w *callWindow) admit(now time.Time, perSecond int) bool {
	if perSecond <= 0 {
		return true
	}
	if len(w.admitted) < perSecond {
		w.admitted = append(w.admitted, now)
		return true
	}
	if now.Sub(w.admitted[0]) < time.Second {
		return false
	}
	copy(w.admitted, w.admitted[1:])
	w.admitted[len(w.admitted)-1] = now
	return true
}

// byteBudget admits reads while the bytes already read are no more than a second ahead of the quota (the generic cell rate
// algorithm with a burst of one second).
type byteBudget struct {
	paidAt      time.Time // when the quota will have covered all that was read
	pausedUntil time.Time
}

func (b *byteBudget) admit(now time.Time, perSecond int) bool {
	return perSecond <= 0 || !now.Before(b.pausedUntil) && b.paidAt.Sub(now) < time.Second
}

func (b *byteBudget) spend(now time.Time, perSecond, bytes int, full bool) {
	if perSecond <= 0 {
		return
	}
	if b.paidAt.Before(now) {
		b.paidAt = now
	}
	b.paidAt = b.paidAt.Add(time.Duration(float64(bytes) / float64(perSecond) * float64(time.Second)))
	if full {
		b.pausedUntil = now.Add(pauseAfterFullReply)
	}
}
