package cassandra

import (
	"context"
	"slices"
	"sync"
)

// gate hands out the permits to send: so many for each coordinator host, so that a slow or dead host never holds more
// than its own. The limit is the same for every host, and changes only by setLimit.
type gate struct {
	mu      sync.Mutex // guards every host's inFlight too
	limit   int
	waiters []*waiter // first come, first served among those a host can serve
}

type waiter struct {
	hosts   []*host
	granted chan *host // holds one, so that granting never blocks
}

func newGate(limit int) *gate { return &gate{limit: limit} }

// capacity is the number of permits of so many hosts, of one at least.
func (g *gate) capacity(hosts int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.limit * max(1, hosts)
}

// acquire takes a permit of the host among hosts that has the most room, of the first of them on a tie, and returns the
// host. It waits until there is one. The permit is given back by release, and is held for exactly one request.
func (g *gate) acquire(ctx context.Context, hosts []*host) (*host, error) {
	g.mu.Lock()
	var best *host
	for _, h := range hosts {
		if h.inFlight < g.limit && (best == nil || h.inFlight < best.inFlight) {
			best = h
		}
	}
	if best != nil {
		best.inFlight++
		g.mu.Unlock()
		return best, nil
	}
	w := &waiter{hosts: hosts, granted: make(chan *host, 1)}
	g.waiters = append(g.waiters, w)
	g.mu.Unlock()

	select {
	case h := <-w.granted:
		return h, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	if i := slices.Index(g.waiters, w); i >= 0 {
		g.waiters = slices.Delete(g.waiters, i, i+1)
		g.mu.Unlock()
		return nil, context.Cause(ctx)
	}
	g.mu.Unlock()
	g.release(<-w.granted) // granted in the same moment: hand it on
	return nil, context.Cause(ctx)
}

// setLimit changes the limit of every host. Permits in use above it are given back as their requests end.
func (g *gate) setLimit(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
	var waitedFor []*host
	for _, w := range g.waiters {
		waitedFor = append(waitedFor, w.hosts...)
	}
	for _, h := range waitedFor {
		g.grant(h)
	}
}

// release gives a permit of a host back, to the first who waits for it.
func (g *gate) release(h *host) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.inFlight--
	g.grant(h)
}

// grant hands the free permits of a host to those who wait for it. The caller holds mu.
func (g *gate) grant(h *host) {
	for i := 0; i < len(g.waiters) && h.inFlight < g.limit; {
		w := g.waiters[i]
		if !slices.Contains(w.hosts, h) {
			i++
			continue
		}
		g.waiters = slices.Delete(g.waiters, i, i+1)
		h.inFlight++
		w.granted <- h
	}
}
