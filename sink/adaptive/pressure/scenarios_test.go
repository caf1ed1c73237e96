package pressure

import (
	"time"

	"penstock/sink/adaptive"
)

// scenario is a fault between a healthy time and a time after it.
type scenario struct {
	name   string
	what   string  // for people
	oracle float64 // writes/s that the cluster can take during the fault, or that are asked of it if they are fewer
	begin  func(*client)
	end    func(*client)
	calm   time.Duration // the healthy time, if longer than others
	lasts  time.Duration // the fault, if longer than others
	govern *adaptive.GovernorConfig
	rate   float64 // arrivals a second before the fault; 0 is endless work
}

const (
	healthyOracle = 7500.0
	twoOfThree    = 7270.0

	hottest = 0.179 // the part of the first of very many keys under Zipf's law with 1.2

	ordersBefore = 5000.0 / 60 // a second, of incident 205
	ordersSurge  = 50000.0 / 60
	writesEach   = 3 // of an order

	debtBudget = 20_000 // mutations that a replica may be owed

	naiveRate = 2000.0 // writes/s of those beside us in retry-storm
)

var scenarios = []scenario{
	{name: "step4x", what: "all nodes take four times as long", oracle: healthyOracle / 4, begin: slowAll(4), end: slowAll(1), calm: 40 * time.Second},
	{name: "slow1of3", what: "one node takes ten times as long", oracle: twoOfThree, begin: slowOne(10), end: slowOne(1)},
	{name: "part1of3", what: "one node is cut off from everybody", oracle: twoOfThree, begin: reach(false, true), end: reach(true, true)},
	{name: "isolated1of3", what: "one node is cut off from the others, not from us", oracle: twoOfThree, begin: reach(false, false), end: reach(true, false)},
	{name: "lossy1of3", what: "one node loses a third of its answers", oracle: healthyOracle, begin: lose(1. / 3), end: lose(0)},
	{name: "pause", what: "a node stops for 300 ms every five seconds, each in turn", oracle: healthyOracle, begin: everyFiveSeconds, end: stop},
	{name: "rttshift", what: "the network is 4 ms long where it was 0.5, for good", oracle: healthyOracle, begin: distance(2 * time.Millisecond), end: distance(2 * time.Millisecond)},
	{name: "az-flap", what: "one node is cut off for ten seconds, there for ten, and so on", oracle: (twoOfThree + healthyOracle) / 2, begin: flap, end: stop},
	{name: "hot-key", what: "18 % of all writes go to one partition, which takes one at a time", oracle: 1000 / hottest, begin: heat(hottest), end: heat(0)},
	{name: "noisy", what: "compactions take up to a fifth of each node in turn", oracle: healthyOracle * 0.9, begin: compact, end: stop},
	{name: "drift", what: "all nodes take three times as long, for ten minutes", oracle: healthyOracle / 3, begin: slowAll(3), end: slowAll(1), lasts: 10 * time.Minute},
	{name: "surge10x", what: "ten times the orders, and five seconds later one node is cut off from the others", oracle: ordersSurge * writesEach,
		begin: surge, end: ebb, rate: ordersBefore * writesEach},
	{name: "retry-storm", what: "a pause of everything, beside clients that send again after 200 ms, at once and for ever", oracle: healthyOracle - naiveRate, begin: storm, end: calm},
	{name: "debt", what: "part1of3 with the governor on and 20,000 mutations that may be owed", oracle: twoOfThree, begin: reach(false, true), end: reach(true, true),
		govern: &adaptive.GovernorConfig{Budget: debtBudget * mutationBytes}},
	{name: "clock", what: "nobody ticks the law for up to a second at a time", oracle: healthyOracle, begin: doze, end: stop},
}

// scenarioOf is the scenario of a name.
func scenarioOf(name string) scenario {
	for _, s := range scenarios {
		if s.name == name {
			return s
		}
	}
	panic("pressure: no scenario " + name)
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
	c.faulty, c.asleep = false, false
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

func heat(part float64) func(*client) { return func(c *client) { c.heat = part } }

func lose(part float64) func(*client) { return func(c *client) { c.drops[2] = part } }

func surge(c *client) {
	c.arrived, c.rate = float64(c.begun), ordersSurge*writesEach
	c.after(5*time.Second, func() { reach(false, false)(c) })
}

func ebb(c *client) {
	reach(true, false)(c)
	c.rate = ordersBefore * writesEach
}

// doze keeps the law's clock from ticking for a drawn time up to a second, again and again.
func doze(c *client) {
	c.faulty = true
	var again func()
	again = func() {
		c.asleep = c.faulty && !c.asleep
		if c.faulty {
			c.after(time.Duration(c.jitter.Int64N(int64(time.Second))), again)
		}
	}
	again()
}

// storm puts clients beside ours that know no budget and no back-off, and then stops everything for a moment, so that all they have
// in flight is sent again. Their load is the writes that are not answered yet, over 200 ms, on top of their own.
func storm(c *client) {
	const patience = 200 * time.Millisecond
	c.faulty = true
	var write func(answered *bool)
	write = func(answered *bool) {
		c.storms++
		c.send(c.jitter.IntN(nodes), func(o adaptive.Outcome) { *answered = *answered || o == adaptive.Success })
		c.after(patience, func() {
			if !*answered {
				write(answered)
			}
		})
	}
	var again func()
	again = func() {
		if !c.faulty {
			return
		}
		write(new(bool))
		c.after(time.Duration(c.jitter.ExpFloat64()/naiveRate*float64(time.Second)), again)
	}
	again()
	c.after(5*time.Second, func() {
		for i := range c.nodes {
			c.pause(i, 300*time.Millisecond)
		}
	})
}

func calm(c *client) { c.faulty = false }

// run is one scenario with one law.
type run struct {
	scenario               scenario
	client                 *client
	warm, fault, over      time.Duration // when the healthy time counts from, and the fault begins and ends
	end                    time.Duration
	healthy, during, after span
}

// warmUp is what is not counted of the healthy time.
const warmUp = 6 * time.Second

// phases are how long the healthy time, the fault and the time after it last.
type phases struct{ healthy, fault, after time.Duration }

var (
	// brief are those of the tests.
	brief = phases{8 * time.Second, 8 * time.Second, 5 * time.Second}
	// whole are those of the proof, where a fault lasts longer if its scenario says so.
	whole = phases{20 * time.Second, 40 * time.Second, 15 * time.Second}
)

// play runs a scenario. The fault begins at another moment between two drains with each seed.
func play(s scenario, law rival, seed uint64, p phases) run {
	c := newClient(newCluster(seed), law, seed)
	c.rate = s.rate
	if s.govern != nil {
		governor := adaptive.NewGovernor(*s.govern, start)
		c.governor = governor
		c.news = func(replica int, up bool) {
			if up {
				governor.Back(names[replica], c.time())
			} else {
				governor.AbsentSince(names[replica], c.time().Add(-aware), c.time())
			}
		}
	}
	if p == whole {
		p.healthy, p.fault = max(p.healthy, s.calm), max(p.fault, s.lasts)
	}
	r := run{scenario: s, client: c, warm: warmUp}
	r.fault = r.warm + p.healthy + time.Duration(seed*700)*time.Millisecond%(10*time.Second)
	r.over = r.fault + p.fault
	r.end = r.over + p.after
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
