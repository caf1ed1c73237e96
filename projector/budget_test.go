package projector

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever is reserved, corrected and given back, the sums are right, no reservation takes what is not there, and a
// refused one is told when it is worth trying again.
func TestTheBudgetKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int64Range(2, 100).Draw(t, "total")
		b := newBudget(total)
		held := map[string]int64{}
		shards := []string{"a", "b", "c"}
		sum := func() (used, owed int64) {
			for _, n := range held {
				used += n
				owed += max(0, n-total/2)
			}
			return used, owed
		}
		type refused struct {
			n, ahead int64
			again    <-chan struct{}
		}
		waiting := map[string]refused{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			shard := rapid.SampledFrom(shards).Draw(t, "shard")
			if rapid.Bool().Draw(t, "reserve") {
				n := rapid.Int64Range(0, b.largest()).Draw(t, "bytes")
				used, owed := sum()
				ahead := rapid.Int64Range(0, total).Draw(t, "ahead")
				fits := used-owed+n <= total && held[shard]+n <= total/2 && held[shard] <= ahead
				ok, again := b.tryReserve(shard, n, ahead)
				if ok != fits {
					t.Fatalf("%d bytes for %s with %v of %d: reserved %t", n, shard, held, total, ok)
				}
				if ok {
					held[shard] += n
					delete(waiting, shard)
					if held[shard] > total/2 {
						t.Fatalf("%s holds %d of %d by reservations", shard, held[shard], total)
					}
				} else {
					waiting[shard] = refused{n, ahead, again}
				}
			} else {
				delta := rapid.Int64Range(-held[shard], total).Draw(t, "correction")
				if held[shard] == 0 || held[shard] > total/2 {
					delta = -held[shard] // only what has reserved room is corrected upwards
				}
				b.correct(shard, delta)
				held[shard] += delta
				used, owed := sum()
				for shard, w := range waiting {
					fits := used-owed+w.n <= total && held[shard]+w.n <= total/2 && held[shard] <= w.ahead
					select {
					case <-w.again:
						if !fits {
							t.Fatalf("%s was woken for %d bytes with %v of %d held", shard, w.n, held, total)
						}
						delete(waiting, shard)
					default:
						if fits && delta < 0 {
							t.Fatal("room was given back and a waiter not woken")
						}
					}
				}
			}
			if used, _ := sum(); b.inUse() != used {
				t.Fatalf("%d in use, want %d", b.inUse(), used)
			}
		}
		for shard, n := range held {
			b.correct(shard, -n)
		}
		if b.used != 0 || b.debts != 0 || len(b.byShard) != 0 {
			t.Errorf("at the end %d in use, %d owed, by %d shards", b.used, b.debts, len(b.byShard))
		}
	})
}

// Without corrections, what is in use never exceeds the total.
func TestReservationsAloneNeverExceedTheTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBudget(rapid.Int64Range(2, 1000).Draw(t, "total"))
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			shard := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "shard"))
			b.tryReserve(shard, rapid.Int64Range(1, b.largest()).Draw(t, "bytes"), b.total)
			if b.inUse() > b.total || b.byShard[shard] > b.total/2 {
				t.Fatalf("%d of %d in use, %d by one shard", b.inUse(), b.total, b.byShard[shard])
			}
		}
	})
}

// Whatever replies turn out to take, what is held without debts stays within twice the total, and four replies reach it.
func TestRepliesTakeAtMostTwiceTheTotalAndDebts(t *testing.T) {
	const total, room = 1000, 250
	rapid.Check(t, func(t *rapid.T) {
		b := newBudget(total)
		asked := map[string]bool{}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			shard := fmt.Sprint(rapid.IntRange(0, 7).Draw(t, "shard"))
			switch {
			case asked[shard]:
				b.correct(shard, rapid.Int64Range(0, 2*total).Draw(t, "reply")-room)
				asked[shard] = false
			case rapid.Bool().Draw(t, "ask"):
				asked[shard], _ = b.tryReserve(shard, room, total)
			default:
				b.correct(shard, -rapid.Int64Range(0, b.held(shard)).Draw(t, "settled"))
			}
			if b.used-b.debts > 2*total {
				t.Fatalf("%d held, %d of it debts", b.used, b.debts)
			}
		}
	})
	b := newBudget(total)
	for _, shard := range []string{"a", "b", "c", "d"} {
		if ok, _ := b.tryReserve(shard, room, total); !ok {
			t.Fatalf("no room for %s", shard)
		}
	}
	for _, shard := range []string{"a", "b", "c", "d"} {
		b.correct(shard, total-room)
	}
	if b.used-b.debts != 2*total {
		t.Errorf("%d held, %d of it debts", b.used, b.debts)
	}
}

// A reply may turn out larger than the room that was reserved for it. When its shard then stands still, its debt must
// not keep the others from what its half leaves them.
func TestAShardInDebtLeavesTheOtherHalf(t *testing.T) {
	b := newBudget(1 << 20)
	if ok, _ := b.tryReserve("a", b.largest(), b.total); !ok {
		t.Fatal("no room in an empty budget")
	}
	b.correct("a", 3<<20)
	for range 3 {
		if ok, _ := b.tryReserve("b", b.largest(), b.total); !ok {
			t.Fatal("a shard in debt holds the others up")
		}
		if ok, _ := b.tryReserve("c", 1, b.total); ok {
			t.Error("a third shard got room that is not there")
		}
		if ok, _ := b.tryReserve("a", 1, b.total); ok {
			t.Error("the shard in debt got room")
		}
		b.correct("b", -b.largest())
	}
}

// Many shards wait for room and give it back; a lost wake-up would stop the bubble for good.
func TestEveryWaiterIsWoken(t *testing.T) {
	for seed := range 20 {
		synctest.Test(t, func(t *testing.T) {
			b := newBudget(100)
			var working sync.WaitGroup
			for i := range 8 {
				working.Go(func() {
					shard := fmt.Sprint("shard-", i)
					for round := range 20 {
						for {
							ok, again := b.tryReserve(shard, 50, 100)
							if ok {
								break
							}
							<-again
						}
						records := int64((i*7 + round*3 + seed) % 70) // a reply of so many bytes, settled one by one
						b.correct(shard, records-50)
						for range records {
							if round%4 == 0 {
								time.Sleep(time.Millisecond)
							}
							b.correct(shard, -1)
						}
					}
				})
			}
			working.Wait()
			if b.inUse() != 0 || b.debts != 0 {
				t.Errorf("%d in use, %d owed at the end", b.inUse(), b.debts)
			}
		})
	}
}
