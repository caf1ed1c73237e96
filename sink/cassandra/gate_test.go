package cassandra

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func take(t *testing.T, g *gate, hosts ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a permit that is free is given without a wait
	i, err := g.acquire(ctx, hosts)
	if err != nil {
		t.Fatalf("no permit of %v: %v", hosts, err)
	}
	return hosts[i]
}

func refused(t *testing.T, g *gate, hosts ...string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("lease lost")
	cancel(cause)
	if _, err := g.acquire(ctx, hosts); !errors.Is(err, cause) {
		t.Errorf("a permit of %v: got error %v, want the cause of the context's end", hosts, err)
	}
}

func TestTheCandidateWithTheMostRoomIsTaken(t *testing.T) {
	g := newGate(2)
	var got []string
	for range 4 {
		got = append(got, take(t, g, "a", "b"))
	}
	if want := []string{"a", "b", "a", "b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	refused(t, g, "a", "b")
	g.release("b")
	if got := take(t, g, "a", "b"); got != "b" {
		t.Errorf("got %s, want the only one with room", got)
	}
}

func TestAFullHostDoesNotBlockARequestWithAnotherCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		take(t, g, "a")
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := g.acquire(t.Context(), []string{"a"}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if got := take(t, g, "a", "b"); got != "b" {
			t.Errorf("got %s, want b", got)
		}
		g.release("b") // of no use to the one who waits for a
		if got := take(t, g, "b"); got != "b" {
			t.Errorf("got %s, want b", got)
		}
		g.release("a")
		waiting.Wait()
	})
}

func TestPermitsGoToTheFirstWhoCanUseThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		take(t, g, "a")
		take(t, g, "b")
		var served []int
		var waiting sync.WaitGroup
		for i, hosts := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"a"}} {
			waiting.Go(func() {
				if _, err := g.acquire(t.Context(), hosts); err != nil {
					t.Error(err)
				}
				served = append(served, i) // one release at a time, so one of these at a time
			})
			synctest.Wait()
		}
		for _, host := range []string{"b", "b", "a", "a"} {
			g.release(host)
			synctest.Wait()
		}
		waiting.Wait()
		if want := []int{1, 2, 0, 3}; !slices.Equal(served, want) {
			t.Errorf("served in the order %v, want %v", served, want)
		}
	})
}

func TestACancelledWaiterLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		take(t, g, "a")
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := g.acquire(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		cancel()
		waiting.Wait()
		g.release("a")
		if got := take(t, g, "a"); got != "a" {
			t.Error("the permit was given to the one who went away")
		}
	})
}

// The permit is granted and the context ends in the same moment: select may see either, and the permit must live on.
func TestAPermitGrantedToACancelledWaiterIsHandedOn(t *testing.T) {
	for range 2000 {
		g := newGate(1)
		take(t, g, "a")
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := g.acquire(ctx, []string{"a"}); err == nil {
				g.release("a")
			}
		})
		waiting.Go(func() {
			if _, err := g.acquire(t.Context(), []string{"a"}); err != nil {
				t.Error(err)
				return
			}
			g.release("a")
		})
		waiting.Go(cancel)
		waiting.Go(func() { g.release("a") })
		waiting.Wait()
		if g.inFlight["a"] != 0 || len(g.waiters) != 0 {
			t.Fatalf("%d permits in use and %d waiters at the end", g.inFlight["a"], len(g.waiters))
		}
	}
}

func TestNoHostEverHasMoreThanItsPermits(t *testing.T) {
	const limit = 3
	g := newGate(limit)
	hosts := []string{"a", "b", "c", "d"}
	var used [4]atomic.Int64
	var served atomic.Int64
	var working sync.WaitGroup
	for seed := range uint64(24) {
		working.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for range 400 {
				wanted := random.Perm(len(hosts))[:1+random.IntN(3)]
				names := make([]string, len(wanted))
				for i, h := range wanted {
					names[i] = hosts[h]
				}
				patience := time.Hour
				if random.IntN(3) == 0 {
					patience = time.Duration(random.IntN(50)) * time.Microsecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				i, err := g.acquire(ctx, names)
				if err == nil {
					if n := used[wanted[i]].Add(1); n > limit {
						t.Errorf("%d requests at %s", n, names[i])
					}
					served.Add(1)
					used[wanted[i]].Add(-1)
					g.release(names[i])
				}
				cancel()
			}
		})
	}
	working.Wait()
	for _, h := range hosts {
		if g.inFlight[h] != 0 {
			t.Errorf("%d permits of %s are still in use", g.inFlight[h], h)
		}
	}
	if len(g.waiters) != 0 || served.Load() == 0 {
		t.Errorf("%d waiters at the end, %d served", len(g.waiters), served.Load())
	}
}

func TestCapacityCountsTheHostsSeen(t *testing.T) {
	g := newGate(4)
	if got := g.capacity(); got != 4 {
		t.Errorf("of a gate that saw no host: %d, want one host's", got)
	}
	g.release(take(t, g, "a", "b", "c"))
	if got := g.capacity(); got != 12 {
		t.Errorf("of three hosts: %d, want 12", got)
	}
}
