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
	mutationBytes   = 500
	hintLimit       = 500 << 20 // bytes a coordinator stores
)

// cluster is the plant.
type cluster struct {
	*clock
	random *rand.Rand
	nodes  [nodes]node
	client time.Duration              // one way to any node
	seen   [nodes]bool                // the client reaches the node
	linked [nodes][nodes]bool         // the nodes reach each other
	knows  [nodes][nodes]bool         // a node believes that it reaches the other
	cuts   [nodes][nodes]int          // generation of the link's state, so that late news are dropped
	lost   [nodes]int                 // mutations a replica dropped or never got
	hints  [nodes]int                 // bytes stored for a replica
	full   int                        // mutations no hint had room for
	news   func(replica int, up bool) // what the nodes tell the client about each other; may be nil
}

type node struct {
	slow    float64 // factor of all work
	busy    int
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
	acks        int
	answered    bool // by the coordinator
	ended       bool // at the client
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
	return c
}

// send sends a write through a coordinator; end is called once.
func (c *cluster) send(coordinator int, end func(adaptive.Outcome)) {
	w := &write{coordinator: coordinator, end: end}
	c.after(clientTimeout, func() { c.finish(w, adaptive.Failed) })
	if !c.seen[coordinator] {
		return
	}
	c.after(c.client, func() { c.arrive(coordinator, task{write: w}) })
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
	w.answered = true
	if c.seen[w.coordinator] {
		c.after(c.client, func() { c.finish(w, o) })
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
		n.busy++
		work := float64(coordinate)
		if t.apply {
			work = applyMean * math.Exp(applySigma*c.random.NormFloat64()-applySigma*applySigma/2)
		}
		c.after(time.Duration(work*n.slow), func() { c.worked(at, t) })
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
	c.after(writeTimeout, func() { c.answer(w, adaptive.Failed) })
	for r := range nodes {
		switch {
		case r == at:
			c.arrive(r, task{write: w, apply: true})
		case c.linked[at][r]:
			c.after(nodeWay, func() { c.arrive(r, task{write: w, apply: true}) })
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
	ack := func() {
		if w.acks++; w.acks == quorum {
			c.answer(w, adaptive.Success)
		}
	}
	switch {
	case at == w.coordinator:
		ack()
	case c.linked[at][w.coordinator]:
		c.after(nodeWay, ack)
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
	delay := time.Second // the client sees silence sooner than nodes believe in it
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
