package projector

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever the cap, the number of shards and the size of their replies, no second sees more than the cap and one turn of
// all shards, and a backlog is read at the cap.
func TestTheRateCapHoldsOverAllShards(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		most := rapid.IntRange(1, 50_000).Draw(rt, "records a second")
		shards := rapid.IntRange(1, 40).Draw(rt, "shards")
		const lasting = 30 * time.Second
		var total int
		inBubble(t, func(t *testing.T) []string {
			c := newRateCap(most)
			for i := range shards {
				c.follow(fmt.Sprint(i))
			}
			done := make(chan int)
			for i := range shards {
				go func() {
					n := 0
					for end := time.Now().Add(lasting); time.Now().Before(end); {
						if paid := c.owed(); paid != nil {
							<-paid
							continue
						}
						reply := c.limit(10_000)
						n += reply
						c.spend(fmt.Sprint(i), reply)
						time.Sleep(5 * time.Millisecond)
					}
					done <- n
				}()
			}
			for range shards {
				total += <-done
			}
			return nil
		})
		turn := max(perTurn(most), shards)
		if want := most * int(lasting/time.Second); total > want+2*turn+shards || total < want*9/10-turn {
			rt.Errorf("%d records in %s at %d a second with %d shards, want about %d", total, lasting, most, shards, want)
		}
	})
}

// Shards without records leave the cap to those that have some.
func TestAShardAmongQuietOnesGetsTheWholeCap(t *testing.T) {
	c := newRateCap(1000)
	for i := range 10 {
		c.follow(fmt.Sprint(i))
	}
	if got := c.limit(10_000); got != 20 {
		t.Errorf("a reply of %d records while ten shards read, want 20", got)
	}
	for i := range 10 {
		c.spend(fmt.Sprint(i), i/9)
	}
	if got := c.limit(10_000); got != 200 {
		t.Errorf("a reply of %d records while one shard reads, want 200", got)
	}
	for i := range 10 {
		c.leave(fmt.Sprint(i))
	}
	if got := c.limit(10_000); got != 200 || c.among != 0 || len(c.busy) != 0 {
		t.Errorf("a reply of %d records among %d of %v", got, c.among, c.busy)
	}
}

func TestARateCapIsChangedWhileRecordsAreOwedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newRateCap(1)
		c.follow("a")
		wait := func() time.Duration {
			began := time.Now()
			for paid := c.owed(); paid != nil; paid = c.owed() {
				<-paid
			}
			return time.Since(began)
		}
		c.spend("a", 101) // one was saved up
		if got := c.limit(50); got != 1 {
			t.Errorf("a reply of %d records, want 1", got)
		}
		time.AfterFunc(10*time.Second, func() { c.set(1000) })
		if got := wait(); got < 10*time.Second || got > 11*time.Second+capLook {
			t.Errorf("waited for %s at a cap that was raised after 10s", got)
		}
		c.spend("a", 1_000_000)
		time.AfterFunc(10*time.Second, func() { c.set(0) })
		if got := wait(); got < 10*time.Second || got > 10*time.Second+capLook {
			t.Errorf("waited for %s at a cap that was taken off after 10s", got)
		}
		if got := c.limit(50); got != 50 {
			t.Errorf("a reply of %d records without a cap, want 50", got)
		}
		c.spend("a", 1_000_000)
		if c.owed() != nil {
			t.Error("something is owed without a cap")
		}
	})
}

// Empty replies cost nothing: a cap does not slow the polling of a quiet stream.
func TestACappedProjectorReadsItsBacklogAtTheCap(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 21, 3)
		w.maxRecords = 20
		d := w.join()
		time.Sleep(time.Minute) // quiet: nothing is saved up but one turn
		w.put(21, 400, 5, 0, garbled)
		began := time.Now()
		for d.Counts().Read < 400 && time.Since(began) < time.Minute {
			time.Sleep(time.Second)
			if n, most := d.Counts().Read, 20*(time.Since(began).Seconds()+2); float64(n) > most {
				t.Errorf("%d records read after %s", n, time.Since(began))
			}
		}
		if took := time.Since(began); took < 18*time.Second || took > 25*time.Second {
			t.Errorf("400 records took %s at 20 a second", took)
		}
		d.SetMaxRecords(0)
		w.put(22, 400, 5, 0, garbled)
		if took, ok := w.await(w.settled, 10*time.Second); !ok {
			t.Errorf("not settled %s after the cap was taken off: %s", took, w.missing())
		}
		return w.end()
	}))
}
