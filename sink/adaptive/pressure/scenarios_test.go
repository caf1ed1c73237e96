package pressure

import (
	"time"

	"penstock/sink/adaptive"
)

// scenario is a fault between a healthy time and a time after it.
type scenario struct {
	name   string
	oracle float64 // writes/s that the cluster can take during the fault
	begin  func(*client)
	end    func(*client)
}

const (
	healthyOracle = 7500.0
	twoOfThree    = 7270.0
)

var scenarios = []scenario{
	{"step4x", healthyOracle / 4, slowAll(4), slowAll(1)},
	{"slow1of3", twoOfThree, slowOne(10), slowOne(1)},
	{"part1of3", twoOfThree, reach(false, true), reach(true, true)},
	{"isolated1of3", twoOfThree, reach(false, false), reach(true, false)},
	{"pause", healthyOracle, everyFiveSeconds, stop},
	{"rttshift", healthyOracle, distance(2 * time.Millisecond), distance(2 * time.Millisecond)},
	{"az-flap", twoOfThree, flap, stop},
	{"noisy", healthyOracle * 0.9, compact, stop},
	{"drift", healthyOracle / 3, slowAll(3), slowAll(1)},
}

func slowAll(factor float64) func(*client) {
	return func(c *client) {
		for i := range c.nodes {
			c.nodes[i].slow = factor
		}
	}
}

func slowOne(factor float64) func(*client) {
	return func(c *client) { c.nodes[2].slow = factor }
}

// reach cuts the third node from the others or joins them, and from the client too if it is a partition of everything.
func reach(up, everyone bool) func(*client) {
	return func(c *client) {
		if everyone {
			c.seen[2] = up
		}
		c.link(2, up)
	}
}

func distance(way time.Duration) func(*client) { return func(c *client) { c.client = way } }

// until the scenario ends, something happens again and again; faulty says whether it still goes on.
func stop(c *client) {
	c.faulty = false
	slowAll(1)(c)
	reach(true, true)(c)
}

func everyFiveSeconds(c *client) {
	c.faulty = true
	next := 0
	var again func()
	again = func() {
		if !c.faulty {
			return
		}
		c.pause(next%nodes, 300*time.Millisecond)
		next++
		c.after(5*time.Second, again)
	}
	again()
}

func flap(c *client) {
	c.faulty = true
	up := true
	var again func()
	again = func() {
		if !c.faulty {
			return
		}
		up = !up
		reach(up, true)(c)
		c.after(10*time.Second, again)
	}
	again()
}

// compact takes up to a fifth of each node's capacity in a sawtooth of ten seconds, a third apart.
func compact(c *client) {
	c.faulty = true
	var again func()
	again = func() {
		if !c.faulty {
			return
		}
		for i := range c.nodes {
			phase := (c.now + int64(i)*int64(10*time.Second)/nodes) % int64(10*time.Second)
			c.nodes[i].slow = 1 / (1 - 0.2*float64(phase)/float64(10*time.Second))
		}
		c.after(100*time.Millisecond, again)
	}
	again()
}

// run is one scenario with one law.
type run struct {
	client                 *client
	warm, fault, over      time.Duration // when the healthy time counts from, and the fault begins and ends
	end                    time.Duration
	healthy, during, after span
}

// warmUp is what is not counted of the healthy time.
const warmUp = 6 * time.Second

// play runs a scenario with phases of a length.
func play(s scenario, law rival, seed uint64, phase time.Duration, governor *adaptive.Governor) run {
	c := newClient(newCluster(seed), law, seed)
	c.governor = governor
	if governor != nil {
		c.news = func(replica int, up bool) {
			if up {
				governor.Back(names[replica], c.time())
			} else {
				governor.Absent(names[replica], c.time())
			}
		}
	}
	r := run{client: c, warm: warmUp, fault: warmUp + phase, over: warmUp + 2*phase, end: warmUp + 3*phase}
	c.run(r.fault)
	s.begin(c)
	c.run(r.over)
	s.end(c)
	c.run(r.end)
	r.healthy = c.span(r.warm, r.fault)
	r.during = c.span(r.fault, r.over)
	r.after = c.span(r.over, r.end)
	return r
}
