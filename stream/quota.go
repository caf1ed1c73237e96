package stream

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// A shard's read quotas, which all its polling consumers share.
const (
	callsPerSecond = 5
	bytesPerSecond = 2_000_000
)

// quota is the part of a shard's read quotas that one reader takes. The quotas are the shard's, and nobody says who else
// reads it, so the part is found out: a throttled call halves it, and every second without one adds a fiftieth of the
// whole, up to all of it. That is the additive increase and multiplicative decrease by which TCP's senders share a line
// (https://doi.org/10.1016/0169-7552(89)90019-6). It belongs to one goroutine.
type quota struct {
	part  float64 // of the shard's quotas, leastPart to 1
	grown time.Time
	calls *rate.Limiter
}

const (
	partPerSecond     = 0.02
	keptWhenThrottled = 0.5
	leastPart         = 0.04 // one call in five seconds, the longest time for which Kinesis refuses calls after a large reply
)

func newQuota() *quota { return &quota{part: 1, calls: rate.NewLimiter(callsPerSecond, 1)} }

// wait returns when the next call may be made. The error is the cause of ctx's end.
func (q *quota) wait(ctx context.Context) error {
	if err := q.calls.Wait(ctx); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// pays returns how long a reply of size bytes is paid for.
func (q *quota) pays(size int) time.Duration {
	return time.Duration(float64(size) / (q.part * bytesPerSecond) * float64(time.Second))
}

// answered takes note of an answer.
func (q *quota) answered(now time.Time) {
	if q.part == 1 {
		return
	}
	q.set(q.part+partPerSecond*now.Sub(q.grown).Seconds(), now)
}

// throttled takes note of a call that was refused since the quotas are used up.
func (q *quota) throttled(now time.Time) { q.set(q.part*keptWhenThrottled, now) }

func (q *quota) set(part float64, now time.Time) {
	q.part, q.grown = min(1, max(leastPart, part)), now
	q.calls.SetLimitAt(now, rate.Limit(q.part*callsPerSecond))
}
