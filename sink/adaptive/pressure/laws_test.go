package pressure

import (
	"math/rand/v2"
	"time"

	"penstock/sink/adaptive"
)

// rival is a law under test, for all hosts together. It is asked in the order of the virtual clock.
type rival interface {
	// candidate says how much room a host has. A law with one limit for the cluster says the same of every host.
	candidate(host int) adaptive.Candidate
	// sent notes an attempt; what it returns is given to done.
	sent(host int, now time.Time) ticket
	// done notes what became of it, once.
	done(host int, t ticket, o adaptive.Outcome, elapsed time.Duration, now time.Time)
	// tick is called every 10 ms.
	tick(now time.Time)
	// limit is a host's limit now, and whether it is steady: not in the middle of a probe. For pictures and variation.
	limit(host int) (limit float64, steady bool)
}

// ticket is what a law keeps of an attempt.
type ticket struct {
	permit   adaptive.Permit
	inFlight int // of its limiter, this attempt with it, when it was sent
	foreign  any // of a limiter that is not ours
}

// limiter is a law's state for one host, or for the whole cluster.
type limiter interface {
	candidate() adaptive.Candidate
	sent(now time.Time) ticket
	done(t ticket, o adaptive.Outcome, elapsed time.Duration, now time.Time)
	tick(now time.Time)
	limit() (limit float64, steady bool)
}

// perHost is a law with a limiter for each host.
type perHost [nodes]limiter

func newPerHost(make func(host int) limiter) rival {
	p := &perHost{}
	for host := range p {
		p[host] = make(host)
	}
	return p
}

func (p *perHost) candidate(host int) adaptive.Candidate { return p[host].candidate() }

func (p *perHost) sent(host int, now time.Time) ticket { return p[host].sent(now) }

func (p *perHost) done(host int, t ticket, o adaptive.Outcome, elapsed time.Duration, now time.Time) {
	p[host].done(t, o, elapsed, now)
}

func (p *perHost) tick(now time.Time) {
	for _, l := range p {
		l.tick(now)
	}
}

func (p *perHost) limit(host int) (float64, bool) { return p[host].limit() }

// perCluster is the same law with one limiter for everything: what scope alone is worth.
type perCluster struct{ limiter }

func (p perCluster) candidate(int) adaptive.Candidate { return p.limiter.candidate() }

func (p perCluster) sent(_ int, now time.Time) ticket { return p.limiter.sent(now) }

func (p perCluster) done(_ int, t ticket, o adaptive.Outcome, elapsed time.Duration, now time.Time) {
	p.limiter.done(t, o, elapsed, now)
}

func (p perCluster) limit(int) (float64, bool) {
	limit, steady := p.limiter.limit()
	return limit / nodes, steady
}

// ours is the real law.
type ours struct{ *adaptive.Limiter }

func newOurs(seed uint64, c adaptive.Config) rival {
	peers := adaptive.NewPeers()
	return newPerHost(func(host int) limiter {
		return ours{adaptive.NewLimiter(c, start, rand.New(rand.NewPCG(seed, uint64(host))), peers)}
	})
}

func (o ours) candidate() adaptive.Candidate {
	return adaptive.Candidate{Room: o.Room(), HeadRoom: o.HeadRoom(), Latency: o.Latency()}
}

func (o ours) sent(now time.Time) ticket { return ticket{permit: o.Send(now)} }

func (o ours) done(t ticket, outcome adaptive.Outcome, _ time.Duration, now time.Time) {
	o.Done(t.permit, outcome, now)
}

func (o ours) tick(now time.Time) { o.Tick(now) }

func (o ours) limit() (float64, bool) { return float64(o.Limit()), o.State() != adaptive.Draining }
