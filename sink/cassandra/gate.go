package cassandra

import (
	"context"
	"slices"
	"sync"
)

// gate hands out the permits to send: so many for each coordinator host, so that a slow or dead host never holds more
// than its own. The limit is the same for every host, and changes only by setLimit.
type gate struct {
	mu       sync.Mutex
	limit    int
	inFlight map[string]int // permits in use, by host id
	waiters  []*waiter      // first come, first served among those a host can serve
}

type waiter struct {
	hosts   []string
	granted chan int // gets the index into hosts; holds one, so that granting never blocks
}

func newGate(limit int) *gate {
	return &gate{limit: limit, inFlight: map[string]int{}}
}

// capacity is the number of permits of all the hosts the gate has seen, at least one host's.
func (g *gate) capacity() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit * max(1, len(g.inFlight))
}

// acquire takes a permit of the host among hosts that has the most room and returns the host's index. It waits until
// there is one. The permit is given back by release, and is held for exactly one request.
func (g *gate) acquire(ctx context.Context, hosts []string) (int, error) {
	g.mu.Lock()
	best := -1
	for i, h := range hosts {
		if _, seen := g.inFlight[h]; !seen {
			g.inFlight[h] = 0
		}
		if g.inFlight[h] < g.limit && (best < 0 || g.inFlight[h] < g.inFlight[hosts[best]]) {
			best = i
		}
	}
	if best >= 0 {
		g.inFlight[hosts[best]]++
		g.mu.Unlock()
		return best, nil
	}
	w := &waiter{hosts: hosts, granted: make(chan int, 1)}
	g.waiters = append(g.waiters, w)
	g.mu.Unlock()

	select {
	case i := <-w.granted:
		return i, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	if i := slices.Index(g.waiters, w); i >= 0 {
		g.waiters = slices.Delete(g.waiters, i, i+1)
		g.mu.Unlock()
		return 0, context.Cause(ctx)
	}
	g.mu.Unlock()
	g.release(hosts[<-w.granted]) // granted in the same moment: hand it on
	return 0, context.Cause(ctx)
}

// setLimit changes the limit of every host. Permits in use above it are given back as their requests end.
func (g *gate) setLimit(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
	for host := range g.inFlight {
		g.grant(host)
	}
}

// release gives a permit of host back, to the first who waits for it.
func (g *gate) release(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight[host]--
	g.grant(host)
}

// grant hands the free permits of host to those who wait for it. The caller holds mu.
func (g *gate) grant(host string) {
	for i := 0; i < len(g.waiters) && g.inFlight[host] < g.limit; {
		w := g.waiters[i]
		j := slices.Index(w.hosts, host)
		if j < 0 {
			i++
			continue
		}
		g.waiters = slices.Delete(g.waiters, i, i+1)
		g.inFlight[host]++
		w.granted <- j
	}
}
