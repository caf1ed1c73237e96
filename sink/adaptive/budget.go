package adaptive

import (
	"math/rand/v2"
	"time"
)

// Kind is what kind of failure is repeated. The set is closed.
type Kind uint8

const (
	// Transient is a failure that says nothing about load, or a time-out.
	Transient Kind = iota
	// SlowDown is the server's explicit wish for less: OVERLOADED, UNAVAILABLE.
	SlowDown
)

const (
	budgetTokens   = 500
	transientCost  = 14
	slowDownCost   = 5
	budgetRefill   = 5 // tokens a second
	transientPause = 50 * time.Millisecond
	slowDownPause  = time.Second
	longestBackoff = 20 * time.Second
)

// Budget bounds how often attempts are repeated, over a whole cluster. It holds 500 tokens at most; a repetition costs 14, or 5
// where the server asked for less, and a success gives one back, so that there are at most 1 + 1/14 attempts to a success in the
// long run where failures are transient. Those are the figures of the AWS SDKs' retry quota of 2026. Five tokens
// a second come back by themselves: otherwise an outage of everything would leave nobody to make the first success.
//
// A first attempt costs nothing, and neither does the single write of a quarantine, which is to be sent without asking here.
// It is not safe for concurrent use.
type Budget struct {
	tokens float64
	last   time.Time
}

// NewBudget is a full budget.
func NewBudget(now time.Time) *Budget { return &Budget{tokens: budgetTokens, last: now} }

// Take pays for one repetition. Without enough tokens nothing is paid, and the caller waits so long at least and asks again; it never
// gives up for that.
func (b *Budget) Take(k Kind, now time.Time) (ok bool, wait time.Duration) {
	b.refill(now)
	cost := float64(transientCost)
	if k == SlowDown {
		cost = slowDownCost
	}
	if b.tokens >= cost {
		b.tokens -= cost
		return true, 0
	}
	return false, time.Duration((cost-b.tokens)/budgetRefill*float64(time.Second)) + 1
}

// Success gives one token back.
func (b *Budget) Success() { b.tokens = min(budgetTokens, b.tokens+1) }

// Restore fills the budget. It is for a host that is back after a quarantine: that repetitions succeed again is known by then, and
// where little else is written nothing else would pay for what has waited.
func (b *Budget) Restore() { b.tokens = budgetTokens }

// Tokens is what is left, 0 to 500.
func (b *Budget) Tokens(now time.Time) float64 {
	b.refill(now)
	return b.tokens
}

func (b *Budget) refill(now time.Time) {
	if passed := now.Sub(b.last); passed > 0 {
		b.tokens = min(budgetTokens, b.tokens+budgetRefill*passed.Seconds())
		b.last = now
	}
}

// Backoff is how long to wait before the repetition after so many failures, 1 or more: anything from 0 to a bound that doubles
// with each failure, from 50 ms, or from 1 s where the server asked for less, to 20 s.
func Backoff(k Kind, failures int, jitter *rand.Rand) time.Duration {
	bound := transientPause
	if k == SlowDown {
		bound = slowDownPause
	}
	for i := 1; i < failures && bound < longestBackoff; i++ {
		bound *= 2
	}
	return time.Duration(jitter.Int64N(int64(min(bound, longestBackoff)) + 1))
}

// Candidate is one of the hosts that could coordinate a write.
type Candidate struct {
	Room     int           // [Limiter.Room]
	HeadRoom float64       // [Limiter.HeadRoom]
	Latency  time.Duration // [Limiter.Latency]
}

// Choose is the index of the candidate with the largest head-room, -1 if none has room. Of equals it is the faster one, and
// of those again the one whose turn it is; the caller counts turn up with each call.
func Choose(candidates []Candidate, turn int) int {
	best := -1
	for i := range candidates {
		at := (i + turn) % len(candidates)
		c := candidates[at]
		if c.Room < 1 {
			continue
		}
		if best < 0 || c.HeadRoom > candidates[best].HeadRoom ||
			c.HeadRoom == candidates[best].HeadRoom && c.Latency < candidates[best].Latency {
			best = at
		}
	}
	return best
}
