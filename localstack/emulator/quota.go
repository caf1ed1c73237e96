package emulator

import "time"

// ReadQuota bounds what may be read from one shard: over all readers together that ask for records, and for each consumer with
// enhanced fan-out by itself. In a [Config] the zero value stands for [ServiceReadQuota]; in any other value a field of 0 bounds
// nothing.
type ReadQuota struct {
	// CallsPerSecond bounds GetRecords and, separately, GetShardIterator; 0 is unbounded.
	CallsPerSecond int

	// BytesPerSecond bounds the data and partition keys that GetRecords returns; 0 is unbounded. As in the service, a reply is
	// never cut to fit: the calls after it are refused until its bytes are paid for. A reply of 10 MiB, or one that leaves
	// waiting records out because they would exceed that, has the calls of the next five seconds refused.
	BytesPerSecond int

	// FanOutBytesPerSecond bounds the data and partition keys that come by each subscription of a consumer; 0 is unbounded. An
	// event holds up to 2 MiB, or one record, and the next waits until it is paid for.
	FanOutBytesPerSecond int
}

// WriteQuota bounds what may be written to one shard, over all writers together. In a [Config] the zero value stands for
// [ServiceWriteQuota]; in any other value a field of 0 bounds nothing. A shard that was left alone takes a second's quota at once,
// and a record larger than that, for which it then rests the longer: the tank that the service's documentation describes. A
// record that is refused costs nothing.
type WriteQuota struct {
	// RecordsPerSecond bounds the records; 0 is unbounded.
	RecordsPerSecond int

	// BytesPerSecond bounds their data and partition keys; 0 is unbounded.
	BytesPerSecond int
}

// ServiceReadQuota is what the service grants: 5 calls and 2 MiB per second and shard, and 2 MiB more for each consumer.
var ServiceReadQuota = ReadQuota{CallsPerSecond: 5, BytesPerSecond: 2 << 20, FanOutBytesPerSecond: 2 << 20}

// ServiceWriteQuota is what the service grants: 1,000 records and 1 MiB per second and shard.
var ServiceWriteQuota = WriteQuota{RecordsPerSecond: 1000, BytesPerSecond: 1 << 20}

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

// budget is what was spent of a quota (the generic cell rate algorithm with a burst of one second).
type budget struct {
	paidAt time.Time // when the quota will have covered all that was spent
}

// owed returns how long the quota takes to cover what was spent before now.
func (b *budget) owed(now time.Time) time.Duration { return max(0, b.paidAt.Sub(now)) }

// affords says whether amount fits into the burst at now. Onto a quota that owes nothing any amount fits.
func (b *budget) affords(now time.Time, perSecond, amount int) bool {
	if perSecond <= 0 {
		return true
	}
	owed := b.owed(now)
	return owed == 0 || owed+price(perSecond, amount) <= time.Second
}

// spend takes amount, whether it fits or not.
func (b *budget) spend(now time.Time, perSecond, amount int) {
	if perSecond > 0 {
		b.paidAt = now.Add(b.owed(now) + price(perSecond, amount))
	}
}

// price returns how long a quota takes to cover an amount.
func price(perSecond, amount int) time.Duration {
	return time.Duration(int64(amount) * int64(time.Second) / int64(perSecond))
}

// readUse is what was used of a shard's ReadQuota.
type readUse struct {
	calls       callWindow
	iterators   callWindow
	bytes       budget
	pausedUntil time.Time // after a full reply
}

// admit says whether a GetRecords at now is within the quota, and counts the call if so. What it reads is not known yet: reads are
// admitted while the bytes already read are less than a second ahead of the quota.
func (u *readUse) admit(now time.Time, quota ReadQuota) bool {
	if quota.BytesPerSecond > 0 && (now.Before(u.pausedUntil) || u.bytes.owed(now) >= time.Second) {
		return false
	}
	return u.calls.admit(now, quota.CallsPerSecond)
}

// spend counts the bytes of a reply.
func (u *readUse) spend(now time.Time, quota ReadQuota, bytes int, full bool) {
	u.bytes.spend(now, quota.BytesPerSecond, bytes)
	if full {
		u.pausedUntil = now.Add(pauseAfterFullReply)
	}
}

// writeUse is what was used of a shard's WriteQuota.
type writeUse struct {
	records budget
	bytes   budget
}

// admit says whether a record at now is within the quota, and counts it if so.
func (u *writeUse) admit(now time.Time, quota WriteQuota, bytes int) bool {
	if quota == (WriteQuota{}) {
		return true
	}
	if !u.records.affords(now, quota.RecordsPerSecond, 1) || !u.bytes.affords(now, quota.BytesPerSecond, bytes) {
		return false
	}
	u.records.spend(now, quota.RecordsPerSecond, 1)
	u.bytes.spend(now, quota.BytesPerSecond, bytes)
	return true
}
