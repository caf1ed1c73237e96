package projector

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// rateCap bounds the records a second that the whole process reads, by an operator's word. How many records a reply has
// shows only when it is there, so they are paid for afterwards: while anything is owed, no shard asks. A reply is kept
// so small that the replies of all shards that have something to read are owed for about cappedFor. So the average is
// exact, and only shards that were quiet and find records all at once exceed it, by one reply each.
type rateCap struct {
	limiter *rate.Limiter
	most    atomic.Int64 // records a second; 0 for no cap
	held    atomic.Int64 // when a shard last had to wait for it, nanoseconds since 1970

	mu    sync.Mutex
	busy  map[string]bool // shards the process follows: whether the last reply had records, or may have had
	among int             // how many of them are busy
}

const (
	cappedFor = time.Second / 5 // as often as a shard may be asked
	// capLook is how long a wait is at most before the cap is looked at again: it may have been changed.
	capLook = time.Second
)

func newRateCap(perSecond int) *rateCap {
	c := &rateCap{limiter: rate.NewLimiter(rate.Limit(perSecond), perTurn(perSecond)), busy: map[string]bool{}}
	c.most.Store(int64(perSecond))
	return c
}

// set changes the cap, also while records are owed for.
func (c *rateCap) set(perSecond int) {
	if perSecond > 0 {
		c.limiter.SetLimit(rate.Limit(perSecond))
		c.limiter.SetBurst(perTurn(perSecond))
	}
	c.most.Store(int64(perSecond))
}

func perTurn(perSecond int) int { return max(1, int(float64(perSecond)*cappedFor.Seconds())) }

// follow and leave say which shards the process follows.
func (c *rateCap) follow(shard string) { c.note(shard, true) }

func (c *rateCap) leave(shard string) {
	c.note(shard, false)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, shard)
}

func (c *rateCap) note(shard string, busy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if busy && !c.busy[shard] {
		c.among++
	} else if !busy && c.busy[shard] {
		c.among--
	}
	c.busy[shard] = busy
}

// limit returns how many of n records the next reply may have, at least one.
func (c *rateCap) limit(n int) int {
	perSecond := int(c.most.Load())
	if perSecond == 0 {
		return n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	among := max(1, c.among)
	return min(n, (perTurn(perSecond)+among-1)/among)
}

// spend takes note of a reply of n records.
func (c *rateCap) spend(shard string, n int) {
	c.note(shard, n > 0)
	if c.most.Load() == 0 {
		return
	}
	now := time.Now()
	for n > 0 {
		part := min(n, c.limiter.Burst()) // more at once would be refused
		c.limiter.ReserveN(now, part)
		n -= part
	}
}

// owed returns nil when a shard may ask, and otherwise a channel that is closed when it is worth trying again.
func (c *rateCap) owed() <-chan struct{} {
	perSecond := c.most.Load()
	if perSecond == 0 {
		return nil
	}
	debt := -c.limiter.Tokens()
	if debt <= 0 {
		return nil
	}
	c.held.Store(time.Now().UnixNano())
	paid := make(chan struct{})
	wait := time.Duration(debt / float64(perSecond) * float64(time.Second))
	time.AfterFunc(min(wait+time.Millisecond, capLook), func() { close(paid) })
	return paid
}

// holding returns the cap while shards wait for it, and 0 otherwise.
func (c *rateCap) holding(now time.Time) int {
	if now.Sub(time.Unix(0, c.held.Load())) >= justCapped {
		return 0
	}
	return int(c.most.Load())
}
