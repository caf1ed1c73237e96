package pressure

import (
	"math/rand/v2"
	"time"

	"penstock/sink/adaptive"
)

// client writes through a rival as fast as it may, or as work arrives.
type client struct {
	*cluster
	law      rival
	jitter   *rand.Rand
	budget   *adaptive.Budget
	governor *adaptive.Governor // may be nil

	rate    float64 // arrivals a second; 0 is endless work
	arrived float64
	begun   int
	turn    int
	faulty  bool  // what a scenario repeats goes on
	retries []int // failures so far of each write that waits to be sent again
	held    bool  // the governor holds; a wake-up is planned
	storms  int   // writes of others beside us, repetitions with them
	asleep  bool  // nobody ticks the law

	record
}

const tickEvery = 10 * time.Millisecond

func newClient(c *cluster, law rival, seed uint64) *client {
	cl := &client{cluster: c, law: law, jitter: rand.New(rand.NewPCG(seed, 77)), budget: adaptive.NewBudget(start)}
	var tick func()
	tick = func() {
		if !cl.asleep {
			law.tick(c.time())
		}
		cl.arrived += cl.rate * tickEvery.Seconds()
		cl.sample()
		cl.pump()
		c.after(tickEvery, tick)
	}
	c.after(0, tick)
	return cl
}

// pump sends what may be sent.
func (c *client) pump() {
	var candidates [nodes]adaptive.Candidate
	for !c.held {
		if len(c.retries) == 0 && c.rate > 0 && float64(c.begun) >= c.arrived {
			return
		}
		for i := range candidates {
			candidates[i] = c.law.candidate(i)
		}
		host := adaptive.Choose(candidates[:], c.turn)
		if host < 0 {
			return
		}
		if c.governor != nil {
			if wait := c.governor.Take(c.time()); wait > 0 {
				c.held = true
				c.after(wait, func() {
					c.held = false
					c.pump()
				})
				return
			}
		}
		c.turn++
		failures := 0
		if n := len(c.retries); n > 0 {
			failures = c.retries[n-1]
			c.retries = c.retries[:n-1]
		} else {
			c.begun++
		}
		c.attempt(host, failures)
	}
}

func (c *client) attempt(host, failures int) {
	sent := c.now
	t := c.law.sent(host, c.time())
	c.inFlight++
	if c.governor != nil {
		for r := range nodes {
			c.governor.Attempt(names[r], mutationBytes, c.time())
		}
	}
	c.send(host, func(o adaptive.Outcome) {
		elapsed := time.Duration(c.now - sent)
		c.inFlight--
		if o == adaptive.Unavailable && c.recent(host) {
			o = adaptive.Isolated
		}
		c.law.done(host, t, o, elapsed, c.time())
		c.note(host, o, elapsed)
		if o == adaptive.Success {
			c.budget.Success()
			if c.governor != nil {
				c.governor.Acked(c.time())
			}
		} else {
			c.repeat(failures+1, o)
		}
		c.pump()
	})
}

var names = [nodes]string{"a", "b", "c"}

// repeat waits for its back-off and for the budget.
func (c *client) repeat(failures int, o adaptive.Outcome) {
	kind := adaptive.Transient
	if o == adaptive.Unavailable || o == adaptive.Isolated || o == adaptive.Overloaded {
		kind = adaptive.SlowDown
	}
	var try func()
	try = func() {
		if ok, wait := c.budget.Take(kind, c.time()); !ok {
			c.after(wait, try)
			return
		}
		c.retries = append(c.retries, failures)
		c.pump()
	}
	c.after(adaptive.Backoff(kind, failures, c.jitter), try)
}

// recent says whether another host than this acknowledged something within the last second.
func (c *client) recent(not int) bool {
	for host, at := range c.lastAck {
		if host != not && at > 0 && c.now-at < int64(time.Second) {
			return true
		}
	}
	return false
}
