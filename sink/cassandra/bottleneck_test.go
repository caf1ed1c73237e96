package cassandra

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/view"
)

// cluster is a gate before simulated hosts, each with a few servers and a queue, in a time of its own. What is planted in one of
// them goes through the real limiters, and the sentence has to find it there.
type cluster struct {
	*gateWorld
	sources []*sink.Source
	nodes   map[*host]*node
	flying  []reply
	moves   []toldMove
}

type toldMove struct {
	at time.Time
	move
}

// node is how a host behaves.
type node struct {
	takes   time.Duration // a write, without a queue
	busy    []time.Time   // when each server is free
	refuses int           // of so many writes one; 0 for none
	warns   bool
	mute    bool
	cut     bool
	breaks  bool
	odd     bool // fails for reasons that say nothing of load
	asked   int
}

type reply struct {
	flight
	at      time.Time
	outcome adaptive.Outcome
}

const (
	simStep    = time.Millisecond
	simTimeout = 2 * time.Second
	simServers = 4
)

// newCluster has three racks of so many hosts; every host is a replica of everything.
func newCluster(t *testing.T, perRack int) *cluster {
	var hosts []*host
	for _, rack := range []string{"az-a", "az-b", "az-c"} {
		for i := range perRack {
			id := fmt.Sprintf("%s-%d", rack, i+1)
			hosts = append(hosts, &host{id: id, address: "10.0." + rack[3:] + "." + fmt.Sprint(i+1) + ":9042", rack: rack})
		}
	}
	w := newGateWorld(t, 1, hosts...)
	w.gate = newGate(adaptive.Config{}, adaptive.GovernorConfig{Budget: 1 << 20}, w.now)
	c := &cluster{gateWorld: w, nodes: map[*host]*node{}}
	for _, h := range hosts {
		c.nodes[h] = &node{takes: 4 * time.Millisecond, busy: make([]time.Time, simServers)}
	}
	for i := range 4 {
		c.sources = append(c.sources, &sink.Source{Name: fmt.Sprintf("shard-%d", i)})
	}
	return c
}

func (c *cluster) node(id string) *node { return c.nodes[c.host(id)] }

func (c *cluster) host(id string) *host {
	for _, h := range c.ring.hosts {
		if h.id == id {
			return h
		}
	}
	c.t.Fatalf("no host %s", id)
	return nil
}

// send begins a write and says when it will be answered, and how.
func (n *node) send(f flight, now time.Time) reply {
	n.asked++
	switch {
	case n.mute:
		return reply{f, now.Add(simTimeout), adaptive.Failed}
	case n.cut:
		return reply{f, now.Add(simStep), adaptive.Unavailable}
	case n.odd:
		return reply{f, now.Add(simStep), adaptive.Ignored}
	case n.breaks:
		return reply{f, now.Add(simStep), adaptive.Lost}
	case n.refuses > 0 && n.asked%n.refuses == 0:
		return reply{f, now.Add(simStep), adaptive.Overloaded}
	}
	first := 0
	for i, free := range n.busy {
		if free.Before(n.busy[first]) {
			first = i
		}
	}
	begin := n.busy[first]
	if begin.Before(now) {
		begin = now
	}
	// Servers are not clocks: a fifth more or less.
	jitter := time.Duration(n.asked*7919%41-20) * n.takes / 100
	n.busy[first] = begin.Add(n.takes + jitter)
	outcome := adaptive.Success
	if n.warns {
		outcome = adaptive.Warned
	}
	return reply{f, n.busy[first], outcome}
}

// run lets time pass with at least so many requests waiting, of each source in turn.
func (c *cluster) run(d time.Duration, backlog int) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(simStep)
		flying := c.flying[:0]
		for _, a := range c.flying {
			switch {
			case a.at.After(c.now):
				flying = append(flying, a)
			case a.outcome == adaptive.Success || a.outcome == adaptive.Warned:
				c.gate.done(a.flight, a.outcome, c.now)
				a.settle(nil)
			default:
				c.fail(a.flight, a.outcome)
			}
		}
		c.flying = flying
		for c.gate.waiting < backlog {
			c.put(c.sources[c.made%len(c.sources)], 1)
		}
		if c.now.UnixMilli()%10 == 0 {
			c.gate.pulse(c.ring, c.now)
			for _, moved := range c.gate.news(c.now) {
				c.moves = append(c.moves, toldMove{c.now, moved})
			}
		}
		for f, ok := c.next(); ok; f, ok = c.next() {
			c.flying = append(c.flying, c.nodes[f.host].send(f, c.now))
		}
	}
}

// trickle lets time pass with a write now and then.
func (c *cluster) trickle(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.put(c.sources[c.made%len(c.sources)], 1)
		c.run(2*time.Millisecond, 0)
	}
}

func (c *cluster) says(s Standing) string { return Bottleneck(c.gate.pressure(c.ring, c.now), s) }

// late is a view that is behind and catches up.
var late = Standing{Shards: 4, Worst: "shard-0", Behind: 41 * time.Second, Gaining: 0.25, Known: true}

// Every fault is planted in a cluster that was healthy, goes through the real gate and limiters, and the sentence must name it, with
// the host it was planted at and no other.
func TestTheSentenceNamesTheFault(t *testing.T) {
	b := "az-b (10.0.b.1:9042)"
	for name, c := range map[string]struct {
		perRack int
		plant   func(*cluster)
		lasts   time.Duration
		backlog int
		view    Standing
		says    []string
		never   []string
	}{
		"a slow host": {plant: func(c *cluster) { c.node("az-b-1").takes = 40 * time.Millisecond },
			says: []string{b + " is slow", "41 s behind and catching up, about 3 min left"}, never: []string{"az-a", "az-c", "whole"}},
		"a slow host, for long": {plant: func(c *cluster) { c.node("az-b-1").takes = 40 * time.Millisecond }, lasts: 40 * time.Second,
			says: []string{b + " is slow"}, never: []string{"az-a", "az-c"}},
		"a host that is a third as fast": {plant: func(c *cluster) { c.node("az-b-1").takes = 14 * time.Millisecond }, lasts: 15 * time.Second,
			says: []string{b + " is slow"}, never: []string{"az-a", "az-c"}},
		"a slow zone": {perRack: 2, plant: func(c *cluster) {
			c.node("az-b-1").takes, c.node("az-b-2").takes = 40*time.Millisecond, 40*time.Millisecond
		}, says: []string{"az-b is slow"}, never: []string{"az-a", "az-c", "10.0"}},
		"one slow host of a zone of two": {perRack: 2, plant: func(c *cluster) { c.node("az-b-2").takes = 40 * time.Millisecond },
			says: []string{"10.0.b.2:9042 is slow"}, never: []string{"az-", "10.0.b.1", "10.0.a", "10.0.c"}},
		"a silent host": {plant: func(c *cluster) { c.node("az-b-1").mute = true },
			says: []string{b + " acknowledges nothing since ", "(5 s)"}, never: []string{"az-a", "az-c", "does not answer"}},
		"a silent host before which nothing waits": {plant: func(c *cluster) { c.node("az-b-1").mute = true }, backlog: -1, view: Standing{Shards: 4},
			says: []string{b + " acknowledges nothing since ", "; the view is current"}, never: []string{"az-a", "az-c"}},
		"a silent host, while a shard is paused": {plant: func(c *cluster) { c.node("az-b-1").mute = true }, lasts: 8 * time.Second, backlog: -1,
			view: Standing{Shards: 4, Behind: time.Hour, Paused: 1},
			says: []string{b + " acknowledges nothing since ", "but hardly anything waits for it: operators hold 1 of 4 shards paused"}, never: []string{"az-a", "az-c"}},
		"a silent zone": {perRack: 2, plant: func(c *cluster) { c.node("az-b-1").mute, c.node("az-b-2").mute = true, true },
			says: []string{"az-b acknowledges nothing since "}, never: []string{"az-a", "az-c", "10.0"}},
		"a host that breaks connections": {plant: func(c *cluster) { c.node("az-c-1").breaks = true },
			says: []string{"az-c (10.0.c.1:9042) breaks connections since "}, never: []string{"az-a", "az-b"}},
		"a host that the driver has for down": {plant: func(c *cluster) { c.host("az-a-1").up.Store(false) },
			says: []string{"az-a (10.0.a.1:9042) is down since "}, never: []string{"az-b", "az-c"}},
		"a host that is cut off": {plant: func(c *cluster) { c.node("az-b-1").cut = true },
			says: []string{b + " is cut off from its replicas, which others reach, since "}, never: []string{"az-a", "az-c"}},
		"a host that refuses": {plant: func(c *cluster) { c.node("az-b-1").refuses = 5 },
			says: []string{b + " refuses work because of its load"}, never: []string{"az-a", "az-c"}},
		"a host that warns": {plant: func(c *cluster) { c.node("az-b-1").warns = true },
			says: []string{b + " warns of back-pressure"}, never: []string{"az-a", "az-c"}},
		"a slow cluster": {plant: func(c *cluster) {
			for _, n := range c.nodes {
				n.takes = 40 * time.Millisecond
			}
		}, says: []string{"Cassandra as a whole is the bottleneck: all 3 hosts are slow"}, never: []string{"az-"}},
		"a silent cluster": {plant: func(c *cluster) {
			for _, n := range c.nodes {
				n.mute = true
			}
		}, says: []string{"Cassandra does not answer: all 3 hosts acknowledge nothing since "}, never: []string{"az-"}},
		"a cluster that is used up": {plant: func(*cluster) {},
			says: []string{"Cassandra as a whole is the bottleneck: it takes ", "none of its 3 hosts stands out"}, never: []string{"az-", "slow"}},
		"a debt": {plant: func(c *cluster) {
			c.node("az-b-1").mute = true
			c.gate.governor.Absent("az-b-1", c.now)
			c.gate.governor.Measured("az-b-1", 900<<10, c.now)
		}, says: []string{"the cap on debt holds writes to ", b + " is absent since ", "is owed ", "hints are refused in 3 h"}, never: []string{"az-a", "az-c"}},
		"a hot shard": {plant: func(c *cluster) { c.sources[2].SetBehind(time.Minute); c.put(c.sources[2], 3000) }, lasts: 100 * time.Millisecond,
			says: []string{"shard shard-2 is hot: "}, never: []string{"az-", "slow", "shard-1"}},
		"an empty budget": {plant: func(c *cluster) {
			for _, n := range c.nodes {
				n.odd = true
			}
			c.put(c.sources[0], 500)
		}, lasts: time.Second, backlog: -1,
			says: []string{"the budget for repetitions is empty: ", "failed requests wait for it"}, never: []string{"az-", "slow", "hot"}},
		"nothing": {plant: func(*cluster) {}, backlog: -1, view: Standing{Shards: 4},
			says: []string{"nothing is slow", "the view is current"}, never: []string{"az-"}},
		"a paused shard": {plant: func(*cluster) {}, backlog: -1, view: Standing{Shards: 4, Behind: time.Hour, Known: true, Gaining: -1, Paused: 1, PausedBy: "ann@vm", PausedFor: "repair"},
			says: []string{"operators hold 1 of 4 shards paused (ann@vm: repair); the view is 60 min behind and falls further behind"}, never: []string{"az-"}},
		"a tripped breaker": {plant: func(*cluster) {}, backlog: -1, view: Standing{Shards: 4, Behind: time.Hour, Paused: 1, Tripped: 2, TrippedWhy: "shard-1 is not read"},
			says: []string{"the breaker of 2 of 4 shards has tripped (shard-1 is not read); the view is 60 min behind"}, never: []string{"az-", "operators"}},
		"a cap of operators": {plant: func(*cluster) {}, backlog: -1, view: Standing{Shards: 4, Behind: time.Hour, Capped: 100},
			says: []string{"operators hold reading to 100 records a second (pressure.max_records_per_second); the view is 60 min behind"}, never: []string{"az-"}},
		"a stream that refuses": {plant: func(*cluster) {}, backlog: -1, view: Standing{Shards: 4, Behind: time.Hour, Throttled: true},
			says: []string{"the stream is the bottleneck: Kinesis refuses"}, never: []string{"az-"}},
		"a stream that is slow": {plant: func(*cluster) {}, backlog: -1, view: Standing{Shards: 4, Behind: time.Hour},
			says: []string{"the stream is the bottleneck: no write waits"}, never: []string{"az-"}},
		"a view that takes its time": {plant: func(*cluster) {}, backlog: -1, view: Standing{Shards: 4, Behind: time.Hour, Projecting: 0.9},
			says: []string{"projecting is the bottleneck: the view's function takes 90% of a shard's time"}, never: []string{"az-"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCluster(t, max(c.perRack, 1))
			idle := c.backlog < 0
			pass := func(d time.Duration) {
				if idle {
					w.trickle(d)
				} else {
					w.run(d, 40)
				}
			}
			pass(25 * time.Second)
			if c.view == (Standing{}) {
				c.view = late
			}
			if !idle {
				if healthy := w.says(late); !strings.Contains(healthy, "none of its") {
					t.Errorf("before the fault: %s", healthy)
				}
			}
			c.plant(w)
			if c.lasts == 0 {
				c.lasts = 5500 * time.Millisecond
			}
			pass(c.lasts)
			got := w.says(c.view)
			t.Log(got)
			for _, want := range c.says {
				if !strings.Contains(got, want) {
					t.Errorf("the sentence does not say %q: %s", want, got)
				}
			}
			for _, never := range c.never {
				if strings.Contains(got, never) {
					t.Errorf("the sentence says %q: %s", never, got)
				}
			}
		})
	}
}

// Of two hosts that are slow in turn, the sentence names the one that is slow now.
func TestTheSentenceForgetsAFaultThatIsOver(t *testing.T) {
	c := newCluster(t, 1)
	c.run(15*time.Second, 40)
	c.node("az-a-1").takes = 40 * time.Millisecond
	c.run(5*time.Second, 40)
	if got := c.says(late); !strings.Contains(got, "az-a") {
		t.Errorf("while az-a is slow: %s", got)
	}
	c.node("az-a-1").takes = 4 * time.Millisecond
	c.run(20*time.Second, 40)
	if got := c.says(late); strings.Contains(got, "slow") {
		t.Errorf("when it is over: %s", got)
	}
	c.node("az-c-1").mute = true
	c.run(3*time.Second, 40)
	if got := c.says(late); !strings.Contains(got, "az-c (10.0.c.1:9042) acknowledges nothing") || strings.Contains(got, "az-a") {
		t.Errorf("while az-c is silent: %s", got)
	}
}

// The log tells of what changed, and not of what wavers: drains, and steps around the fixed point.
func TestTheLogTellsOfLimitsThatMove(t *testing.T) {
	c := newCluster(t, 1)
	c.run(30*time.Second, 40)
	for _, m := range c.moves {
		if m.state != adaptive.Normal.String() {
			t.Errorf("%s is said to be %s", m.host.address, m.state)
		}
	}
	c.moves = nil
	c.node("az-b-1").mute = true
	began := c.now
	c.run(5*time.Second, 40)
	c.node("az-b-1").mute = false
	c.run(10*time.Second, 40)
	var states []string
	last := map[*host]toldMove{}
	for _, m := range c.moves {
		before, told := last[m.host]
		last[m.host] = m
		if told && m.at.Sub(before.at) < tellAgain {
			t.Errorf("%s is told of twice within %s", m.host.address, m.at.Sub(before.at))
		}
		if told && m.from != before.to {
			t.Errorf("%s is said to go from %d, after %d was told", m.host.address, m.from, before.to)
		}
		tenth := float64(m.from) / 10
		if change := float64(m.to - m.from); change <= tenth && change >= -tenth && (!told || m.state == before.state) {
			t.Errorf("%s: a change from %d to %d is told", m.host.address, m.from, m.to)
		}
		if m.last.Reason == adaptive.DrainBegan || m.last.Reason == adaptive.DrainEnded {
			t.Errorf("%s: a drain is told", m.host.address)
		}
		if m.host.rack == "az-b" {
			states = append(states, m.state)
			if m.state == "quarantined" && (m.last.Reason != adaptive.Silent || m.at.Sub(began) > 2*time.Second) {
				t.Errorf("after %s the quarantine is told with the reason: %s", m.at.Sub(began), m.last.Reason)
			}
		}
	}
	if !strings.Contains(strings.Join(states, " "), "quarantined normal") {
		t.Errorf("what was told of a host that was silent for a while: %v", states)
	}
}

// A partition that is written more than its replicas can take shows by permits that are free elsewhere.
func TestTheSentenceNamesHotReplicas(t *testing.T) {
	ring := aRing()
	for _, h := range ring.hosts {
		h.address = "10.0.0." + h.id + ":9042"
		h.up.Store(true)
	}
	w := newGateWorld(t, 4)
	w.ring = ring
	source := &sink.Source{Name: "shard-0"}
	var mutations [][]view.Mutation
	for i := range 4000 {
		mutations = append(mutations, changeOf("hot", fmt.Sprint(i)))
	}
	writes, _ := writesOf(mutations)
	requests := plan(t.Context(), w.tables, ring, writes)
	replicas := ring.sets[ring.set(requests[0].token)]
	w.gate.put(ring, source, requests)
	for _, ok := w.next(); ok; _, ok = w.next() {
	}
	got := Bottleneck(w.gate.pressure(ring, w.now), late)
	t.Log(got)
	if !strings.HasPrefix(got, "one replica set is hot: ") || !strings.Contains(got, "while other hosts have 4 permits free") {
		t.Errorf("the sentence does not name the replicas: %s", got)
	}
	for _, h := range ring.hosts {
		if strings.Contains(got, h.address) != slices.Contains(replicas, h) {
			t.Errorf("%s, whose replicas are %v: %s", h.address, replicas, got)
		}
	}
}
