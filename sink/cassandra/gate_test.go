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

func take(t *testing.T, g *gate, hosts ...*host) *host {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a permit that is free is given without a wait
	h, err := g.acquire(ctx, hosts)
	if err != nil {
		t.Fatalf("no permit of %v: %v", hosts, err)
	}
	return h
}

func refused(t *testing.T, g *gate, hosts ...*host) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("lease lost")
	cancel(cause)
	if _, err := g.acquire(ctx, hosts); !errors.Is(err, cause) {
		t.Errorf("a permit of %v: got error %v, want the cause of the context's end", hosts, err)
	}
}

func TestTheCandidateWithTheMostRoomIsTaken(t *testing.T) {
	g, a, b := newGate(2), &host{id: "a"}, &host{id: "b"}
	var got []string
	for range 4 {
		got = append(got, take(t, g, a, b).id)
	}
	if want := []string{"a", "b", "a", "b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	refused(t, g, a, b)
	g.release(b)
	if got := take(t, g, a, b); got != b {
		t.Errorf("got %s, want the only one with room", got.id)
	}
}

func TestAFullHostDoesNotBlockARequestWithAnotherCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := newGate(1), &host{id: "a"}, &host{id: "b"}
		take(t, g, a)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := g.acquire(t.Context(), []*host{a}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if got := take(t, g, a, b); got != b {
			t.Errorf("got %s, want b", got.id)
		}
		g.release(b) // of no use to the one who waits for a
		if got := take(t, g, b); got != b {
			t.Errorf("got %s, want b", got.id)
		}
		g.release(a)
		waiting.Wait()
	})
}

func TestPermitsGoToTheFirstWhoCanUseThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := newGate(1), &host{id: "a"}, &host{id: "b"}
		take(t, g, a)
		take(t, g, b)
		var served []int
		var waiting sync.WaitGroup
		for i, hosts := range [][]*host{{a}, {b}, {a, b}, {a}} {
			waiting.Go(func() {
				if _, err := g.acquire(t.Context(), hosts); err != nil {
					t.Error(err)
				}
				served = append(served, i) // one release at a time, so one of these at a time
			})
			synctest.Wait()
		}
		for _, h := range []*host{b, b, a, a} {
			g.release(h)
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
		g, a := newGate(1), &host{id: "a"}
		take(t, g, a)
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := g.acquire(ctx, []*host{a}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait()
		cancel()
		waiting.Wait()
		g.release(a)
		if got := take(t, g, a); got != a {
			t.Error("the permit was given to the one who went away")
		}
	})
}

// The permit is granted and the context ends in the same moment: select may see either, and the permit must live on.
func TestAPermitGrantedToACancelledWaiterIsHandedOn(t *testing.T) {
	for range 2000 {
		g, a := newGate(1), &host{id: "a"}
		take(t, g, a)
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := g.acquire(ctx, []*host{a}); err == nil {
				g.release(a)
			}
		})
		waiting.Go(func() {
			if _, err := g.acquire(t.Context(), []*host{a}); err != nil {
				t.Error(err)
				return
			}
			g.release(a)
		})
		waiting.Go(cancel)
		waiting.Go(func() { g.release(a) })
		waiting.Wait()
		if a.inFlight != 0 || len(g.waiters) != 0 {
			t.Fatalf("%d permits in use and %d waiters at the end", a.inFlight, len(g.waiters))
		}
	}
}

func TestNoHostEverHasMoreThanItsPermits(t *testing.T) {
	const limit = 3
	g := newGate(limit)
	hosts := []*host{{id: "a"}, {id: "b"}, {id: "c"}, {id: "d"}}
	var used [4]atomic.Int64
	var served atomic.Int64
	var working sync.WaitGroup
	for seed := range uint64(24) {
		working.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for range 400 {
				wanted := random.Perm(len(hosts))[:1+random.IntN(3)]
				candidates := make([]*host, len(wanted))
				for i, h := range wanted {
					candidates[i] = hosts[h]
				}
				patience := time.Hour
				if random.IntN(3) == 0 {
					patience = time.Duration(random.IntN(50)) * time.Microsecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				h, err := g.acquire(ctx, candidates)
				if err == nil {
					mine := &used[slices.Index(hosts, h)]
					if n := mine.Add(1); n > limit {
						t.Errorf("%d requests at %s", n, h.id)
					}
					served.Add(1)
					mine.Add(-1)
					g.release(h)
				}
				cancel()
			}
		})
	}
	working.Wait()
	for _, h := range hosts {
		if h.inFlight != 0 {
			t.Errorf("%d permits of %s are still in use", h.inFlight, h.id)
		}
	}
	if len(g.waiters) != 0 || served.Load() == 0 {
		t.Errorf("%d waiters at the end, %d served", len(g.waiters), served.Load())
	}
}

func TestCapacityCountsTheHosts(t *testing.T) {
	g := newGate(4)
	if got := g.capacity(0); got != 4 {
		t.Errorf("of no host: %d, want one host's", got)
	}
	if got := g.capacity(3); got != 12 {
		t.Errorf("of three hosts: %d, want 12", got)
	}
}

func TestARaisedLimitServesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := newGate(1), &host{id: "a"}, &host{id: "b"}
		take(t, g, a)
		take(t, g, b)
		var waiting sync.WaitGroup
		for _, h := range []*host{a, a, b} {
			waiting.Go(func() {
				if _, err := g.acquire(t.Context(), []*host{h}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		g.setLimit(3)
		waiting.Wait() // or the bubble reports a deadlock
		if a.inFlight != 3 || b.inFlight != 2 {
			t.Errorf("%d and %d permits in use, want 3 and 2", a.inFlight, b.inFlight)
		}
	})
}
