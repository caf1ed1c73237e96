package pressure

import (
	"math"
	"math/rand/v2"
	"time"

	"penstock/sink/adaptive"
)

const (
	nodes           = 3
	quorum          = 2
	servers         = 8
	applyMean       = float64(time.Millisecond)
	applySigma      = 0.6
	coordinate      = 200 * time.Microsecond
	clientWay       = 250 * time.Microsecond // one way
	nodeWay         = 250 * time.Microsecond
	mutationTimeout = 2 * time.Second
	writeTimeout    = 2 * time.Second
	clientTimeout   = 5 * time.Second
	detection       = 10 * time.Second // until nodes know who is gone
	aware           = time.Second      // until the client does, which sees silence sooner
	mutationBytes   = 500
	hintLimit       = 500 << 20 // bytes a coordinator stores
)

// cluster is the plant.
type cluster struct {
	*clock
	random *rand.Rand
	heat   float64 // the part of all writes that goes to one partition, which takes them one at a time
	nodes  [nodes]node
	client time.Duration              // one way to any node
	seen   [nodes]bool                // the client reaches the node
	linked [nodes][nodes]bool         // the nodes reach each other
	knows  [nodes][nodes]bool         // a node believes that it reaches the other
	cuts   [nodes][nodes]int          // generation of the link's state, so that late news are dropped
	drops  [nodes]float64             // the part of a coordinator's answers that gets lost
	lost   [nodes]int                 // mutations a replica dropped or never got
	hints  [nodes]int                 // bytes stored for a replica
	full   int                        // mutations no hint had room for
	news   func(replica int, up bool) // what the nodes tell the client about each other; may be nil

	// What can happen to a write, bound once.
	clientLane, writeLane                    *lane
	reached, forwarded, coordinates, applies func(*write, int)
	acknowledged, delivered                  func(*write, int)
	writeTimedOut, clientTimedOut            func(*write, int)
}

type node struct {
	slow    float64 // factor of all work
	busy    int
	hot     bool     // a server works on the hot partition
	waiting []*write // for it
	paused  bool
	queue   []task
	head    int
	longest int
}

type task struct {
	write   *write
	arrived int64
	apply   bool // or coordinate
}

type write struct {
	coordinator int
	hot         bool
	acks        int
	answered    bool // by the coordinator
	ended       bool // at the client
	outcome     adaptive.Outcome
	end         func(adaptive.Outcome)
}

func newCluster(seed uint64) *cluster {
	c := &cluster{clock: &clock{}, random: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), client: clientWay}
	for i := range c.nodes {
		c.nodes[i].slow = 1
		c.seen[i] = true
		for j := range nodes {
			c.linked[i][j], c.knows[i][j] = true, true
		}
	}
	c.clientLane, c.writeLane = c.lane(clientTimeout), c.lane(writeTimeout)
	c.reached = func(w *write, at int) { c.arrive(at, task{write: w}) }
	c.forwarded = func(w *write, at int) { c.arrive(at, task{write: w, apply: true}) }
	c.applies = func(w *write, at int) { c.worked(at, task{write: w, apply: true}) }
	c.coordinates = func(w *write, at int) { c.worked(at, task{write: w}) }
	c.acknowledged = func(w *write, _ int) { c.ack(w) }
	c.delivered = func(w *write, _ int) { c.finish(w, w.outcome) }
	c.writeTimedOut = func(w *write, _ int) { c.answer(w, adaptive.Failed) }
	c.clientTimedOut = func(w *write, _ int) { c.finish(w, adaptive.Failed) }
	return c
}

// next makes room for a task in front of a node's queue, and says where.
func (n *node) next() int {
	if n.head == 0 {
		n.queue = append(n.queue, task{})
		copy(n.queue[1:], n.queue)
		return 0
	}
	n.head--
	return n.head
}

// send sends a write through a coordinator; end is called once.
func (c *cluster) send(coordinator int, end func(adaptive.Outcome)) {
	w := &write{coordinator: coordinator, end: end, hot: c.heat > 0 && c.random.Float64() < c.heat}
	c.later(c.clientLane, c.clientTimedOut, w, coordinator)
	if !c.seen[coordinator] {
		return
	}
	c.plan(c.client, c.reached, w, coordinator)
}

func (c *cluster) finish(w *write, o adaptive.Outcome) {
	if !w.ended {
		w.ended = true
		w.end(o)
	}
}

// answer is the coordinator's, once.
func (c *cluster) answer(w *write, o adaptive.Outcome) {
	if w.answered {
		return
	}
	w.answered, w.outcome = true, o
	if drops := c.drops[w.coordinator]; drops > 0 && c.random.Float64() < drops {
		return
	}
	if c.seen[w.coordinator] {
		c.plan(c.client, c.delivered, w, w.coordinator)
	}
}

// arrive queues work at a node.
func (c *cluster) arrive(at int, t task) {
	n := &c.nodes[at]
	t.arrived = c.now
	n.queue = append(n.queue, t)
	n.longest = max(n.longest, len(n.queue)-n.head)
	c.serve(at)
}

// serve lets idle servers take work.
func (c *cluster) serve(at int) {
	n := &c.nodes[at]
	for n.busy < servers && !n.paused && n.head < len(n.queue) {
		t := n.queue[n.head]
		n.queue[n.head] = task{}
		if n.head++; n.head > 1024 && n.head*2 > len(n.queue) {
			n.queue = append(n.queue[:0], n.queue[n.head:]...)
			n.head = 0
		}
		if t.apply && c.now-t.arrived > int64(mutationTimeout) {
			c.lost[at]++
			continue
		}
		if t.apply && t.write.hot {
			if n.hot {
				n.waiting = append(n.waiting, t.write)
				continue
			}
			n.hot = true
		}
		n.busy++
		work, done := float64(coordinate), c.coordinates
		if t.apply {
			done = c.applies
			work = applyMean * math.Exp(applySigma*c.random.NormFloat64()-applySigma*applySigma/2)
		}
		c.plan(time.Duration(work*n.slow), done, t.write, at)
	}
}

// worked is the end of a piece of work; a pause that began meanwhile holds its result back.
func (c *cluster) worked(at int, t task) {
	n := &c.nodes[at]
	if n.paused {
		c.after(time.Millisecond, func() { c.worked(at, t) })
		return
	}
	n.busy--
	if t.apply {
		if t.write.hot {
			n.hot = false
			if len(n.waiting) > 0 { // it waited for its turn and need not queue again
				next := n.waiting[0]
				n.waiting = n.waiting[1:]
				n.queue[n.next()] = task{write: next, apply: true, arrived: c.now}
			}
		}
		c.applied(at, t.write)
	} else {
		c.coordinated(at, t.write)
	}
	c.serve(at)
}

// coordinated sends the mutation to all replicas.
func (c *cluster) coordinated(at int, w *write) {
	live := 0
	for r := range nodes {
		if c.knows[at][r] {
			live++
		}
	}
	if live < quorum {
		c.answer(w, adaptive.Unavailable)
		return
	}
	c.later(c.writeLane, c.writeTimedOut, w, at)
	for r := range nodes {
		switch {
		case r == at:
			c.arrive(r, task{write: w, apply: true})
		case c.linked[at][r]:
			c.plan(nodeWay, c.forwarded, w, r)
		default:
			c.lost[r]++
			if c.hints[r] += mutationBytes; c.hints[r] > (nodes-1)*hintLimit {
				c.full++
			}
		}
	}
}

// applied acknowledges to the coordinator.
func (c *cluster) applied(at int, w *write) {
	switch {
	case at == w.coordinator:
		c.ack(w)
	case c.linked[at][w.coordinator]:
		c.plan(nodeWay, c.acknowledged, w, w.coordinator)
	}
}

// ack counts an acknowledgement.
func (c *cluster) ack(w *write) {
	if w.acks++; w.acks == quorum {
		c.answer(w, adaptive.Success)
	}
}

// link cuts or joins a node and the others; they believe it after the detection time. Joining is noticed at once.
func (c *cluster) link(at int, up bool) {
	for other := range nodes {
		if other == at {
			continue
		}
		c.linked[at][other], c.linked[other][at] = up, up
		c.cuts[at][other]++
		generation := c.cuts[at][other]
		believe := func() {
			if c.cuts[at][other] == generation {
				c.knows[at][other], c.knows[other][at] = up, up
			}
		}
		if up {
			believe()
		} else {
			c.after(detection, believe)
		}
	}
	if c.news == nil {
		return
	}
	delay := aware
	if up {
		delay = 0
	}
	c.after(delay, func() { c.news(at, up) })
}

// pause stops a node's world.
func (c *cluster) pause(at int, d time.Duration) {
	c.nodes[at].paused = true
	c.after(d, func() {
		c.nodes[at].paused = false
		c.serve(at)
	})
}
