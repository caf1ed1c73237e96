package projector

import (
	"fmt"
	"testing"
	"time"
)

// A writer that takes what it can is kept busy however long answers take, by little more than what that needs.
func TestReadingAheadKeepsTheWriterBusyWithLittle(t *testing.T) {
	const apart = 200 * time.Millisecond // Kinesis grants a shard five calls a second
	for _, perSecond := range []int64{100 << 10, 4 << 20, 100 << 20} {
		for _, latency := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 3 * time.Second} {
			t.Run(fmt.Sprintf("%d bytes a second, answers after %s", perSecond, latency), func(t *testing.T) {
				var a readAhead
				now := time.Unix(0, 0)
				var held, most int64
				var idle, passed time.Duration
				pass := func(d time.Duration) {
					now = now.Add(d)
					passed += d
					took := int64(float64(perSecond) * d.Seconds())
					if took > held {
						idle += d - time.Duration(float64(held)/float64(perSecond)*float64(time.Second))
						took = held
					}
					held -= took
				}
				for round := range 200 {
					if round == 100 { // it has found its rate
						most, idle, passed = 0, 0, 0
					}
					if over := held - a.bytes(); over > 0 {
						pass(time.Duration(float64(over) / float64(perSecond) * float64(time.Second)))
					}
					page := a.bytes()
					pass(latency)
					a.took(page, held, latency, now)
					held += page
					most = max(most, held)
					pass(max(0, apart-latency))
				}
				if idle > passed/20 {
					t.Errorf("the writer had nothing to do for %s of %s", idle, passed)
				}
				horizon := max(aheadFor, 2*latency)
				if limit := 2 * max(leastAhead, int64(1.1*float64(perSecond)*horizon.Seconds())); most > limit {
					t.Errorf("%d bytes in hand, want at most %d", most, limit)
				}
			})
		}
	}
}

// Nothing settles, so nothing is gained by reading: the shard holds the least and asks for no more.
func TestAStandstillIsNotReadAheadOf(t *testing.T) {
	var a readAhead
	now := time.Unix(0, 0)
	a.took(50<<20, 0, time.Millisecond, now)
	for range 20 {
		now = now.Add(time.Second)
		a.took(0, 50<<20, time.Millisecond, now)
	}
	if got := a.bytes(); got != leastAhead {
		t.Errorf("%d bytes ahead", got)
	}
}
