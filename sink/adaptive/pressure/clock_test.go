package pressure

import "time"

// clock is a queue of things to happen, and what time it is.
type clock struct {
	now    int64 // nanoseconds since the start
	events []event
	n      uint64
}

type event struct {
	at int64
	n  uint64 // the order of planning
	do func()
}

// start is an arbitrary moment, off the multiples of ten seconds at which hosts are drained.
var start = time.Unix(1_700_000_003, 0)

func (c *clock) time() time.Time { return start.Add(time.Duration(c.now)) }

// after plans something, not before now.
func (c *clock) after(d time.Duration, do func()) {
	c.n++
	e := event{at: c.now + max(0, int64(d)), n: c.n, do: do}
	c.events = append(c.events, e)
	i := len(c.events) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(c.events[parent]) {
			break
		}
		c.events[i] = c.events[parent]
		i = parent
	}
	c.events[i] = e
}

func (e event) before(other event) bool {
	return e.at < other.at || e.at == other.at && e.n < other.n
}

// run lets everything happen that is due until then.
func (c *clock) run(until time.Duration) {
	for len(c.events) > 0 && c.events[0].at <= int64(until) {
		e := c.events[0]
		last := c.events[len(c.events)-1]
		c.events[len(c.events)-1] = event{}
		c.events = c.events[:len(c.events)-1]
		if n := len(c.events); n > 0 {
			i := 0
			for {
				child := 2*i + 1
				if child >= n {
					break
				}
				if child+1 < n && c.events[child+1].before(c.events[child]) {
					child++
				}
				if !c.events[child].before(last) {
					break
				}
				c.events[i] = c.events[child]
				i = child
			}
			c.events[i] = last
		}
		c.now = e.at
		e.do()
	}
	c.now = int64(until)
}
