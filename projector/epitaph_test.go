package projector

import (
	"context"
	"testing"
	"time"
)

func TestTheEpitaphCountsTheLeasesThatWereGivenBack(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 31, 3)
		w.put(31, 100, 0, 0)
		first := w.join()
		w.await(w.settled, time.Minute)
		w.quit(first, time.Minute)
		first.done <- <-first.done
		if e := first.Epitaph(); e.Leases != 3 || e.Released != 3 || e.Counts.Applied != e.Counts.Read || e.Counts.Read == 0 {
			t.Errorf("a stop in calm: %+v", e)
		}

		second := w.join()
		w.await(func() bool { return w.following(second) == 3 }, time.Minute)
		w.lower(&w.slow)
		w.put(32, 100, 0, 0)
		w.await(func() bool { return second.Counts().InFlight > 0 }, time.Minute)
		w.set(func() { w.tables = context.DeadlineExceeded })
		w.quit(second, time.Second)
		second.done <- <-second.done
		if e := second.Epitaph(); e.Leases != 3 || e.Released != 0 || e.Counts.Abandoned == 0 {
			t.Errorf("a stop without the lease table: %+v", e)
		}
		return w.end()
	}))
}
