package pressure

import "time"

// clock is a queue of things to happen, and what time it is.
type clock struct {
	now   int64 // nanoseconds since the start
	n     uint64
	heap  []event
	lanes []*lane
}

// event is something to happen to a write at a node, or at all; what it needs is in it, so that planning allocates nothing.
type event struct {
	at   int64
	n    uint64 // the order of planning
	do   func(w *write, node int)
	w    *write
	node int
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.n < other.n
}

// lane holds events that are all planned with one delay, so that they come in the order they are to happen: time-outs, of
// which there are tens of thousands and hardly one does anything.
type lane struct {
	delay  int64
	events []event
	head   int
}

// start is an arbitrary moment, off the multiples of ten seconds at which hosts are drained.
var start = time.Unix(1_700_000_003, 0)

func (c *clock) time() time.Time { return start.Add(time.Duration(c.now)) }

// lane begins a lane of a delay.
func (c *clock) lane(delay time.Duration) *lane {
	l := &lane{delay: int64(delay)}
	c.lanes = append(c.lanes, l)
	return l
}

// later plans an event in a lane.
func (c *clock) later(l *lane, do func(*write, int), w *write, node int) {
	c.n++
	if l.head > 1024 && l.head*2 > len(l.events) {
		l.events = append(l.events[:0], l.events[l.head:]...)
		l.head = 0
	}
	l.events = append(l.events, event{at: c.now + l.delay, n: c.n, do: do, w: w, node: node})
}

// after plans something, not before now.
func (c *clock) after(d time.Duration, do func()) {
	c.plan(d, func(*write, int) { do() }, nil, 0)
}

// plan plans something that happens to a write at a node, not before now.
func (c *clock) plan(d time.Duration, do func(*write, int), w *write, node int) {
	c.n++
	e := event{at: c.now + max(0, int64(d)), n: c.n, do: do, w: w, node: node}
	c.heap = append(c.heap, e)
	i := len(c.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&c.heap[parent]) {
			break
		}
		c.heap[i] = c.heap[parent]
		i = parent
	}
	c.heap[i] = e
}

// next takes the first event out that is due until then.
func (c *clock) next(until int64) (e event, ok bool) {
	var first *event
	var from *lane
	if len(c.heap) > 0 {
		first = &c.heap[0]
	}
	for _, l := range c.lanes {
		for l.head < len(l.events) && l.events[l.head].w.ended {
			l.events[l.head].w = nil
			l.head++
		}
		if l.head < len(l.events) && (first == nil || l.events[l.head].before(first)) {
			first, from = &l.events[l.head], l
		}
	}
	if first == nil || first.at > until {
		return event{}, false
	}
	e = *first
	if from != nil {
		first.w = nil
		from.head++
	} else {
		c.pop()
	}
	return e, true
}

func (c *clock) pop() {
	n := len(c.heap) - 1
	last := c.heap[n]
	c.heap[n] = event{}
	c.heap = c.heap[:n]
	if n == 0 {
		return
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && c.heap[child+1].before(&c.heap[child]) {
			child++
		}
		if !c.heap[child].before(&last) {
			break
		}
		c.heap[i] = c.heap[child]
		i = child
	}
	c.heap[i] = last
}

// run lets everything happen that is due until then.
func (c *clock) run(until time.Duration) {
	for {
		e, ok := c.next(int64(until))
		if !ok {
			break
		}
		c.now = e.at
		e.do(e.w, e.node)
	}
	c.now = int64(until)
}
