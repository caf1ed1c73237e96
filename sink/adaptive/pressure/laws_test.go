package pressure

import (
	"math/rand/v2"
	"time"

	"penstock/sink/adaptive"
)

// ours is the real law with a limiter for each host.
type ours struct{ limiters [nodes]*adaptive.Limiter }

func newOurs(seed uint64, c adaptive.Config) *ours {
	o := &ours{}
	for i := range o.limiters {
		o.limiters[i] = adaptive.NewLimiter(c, start, rand.New(rand.NewPCG(seed, uint64(i))))
	}
	return o
}

func (o *ours) candidate(host int) adaptive.Candidate {
	l := o.limiters[host]
	return adaptive.Candidate{Room: l.Room(), HeadRoom: l.HeadRoom(), Latency: l.Latency()}
}

func (o *ours) sent(host int, now time.Time) ticket {
	return ticket{permit: o.limiters[host].Send(now)}
}

func (o *ours) done(host int, t ticket, outcome adaptive.Outcome, _ time.Duration, now time.Time) {
	o.limiters[host].Done(t.permit, outcome, now)
}

func (o *ours) tick(now time.Time) {
	for _, l := range o.limiters {
		l.Tick(now)
	}
}

func (o *ours) limit(host int) (float64, bool) {
	l := o.limiters[host]
	return float64(l.Limit()), l.State() != adaptive.Draining
}

// oursOnce is the same law with one limiter for the whole cluster: what scope alone is worth.
type oursOnce struct{ limiter *adaptive.Limiter }

func (o oursOnce) candidate(int) adaptive.Candidate {
	return adaptive.Candidate{Room: o.limiter.Room(), HeadRoom: o.limiter.HeadRoom()}
}

func (o oursOnce) sent(_ int, now time.Time) ticket { return ticket{permit: o.limiter.Send(now)} }

func (o oursOnce) done(_ int, t ticket, outcome adaptive.Outcome, _ time.Duration, now time.Time) {
	o.limiter.Done(t.permit, outcome, now)
}

func (o oursOnce) tick(now time.Time) { o.limiter.Tick(now) }

func (o oursOnce) limit(int) (float64, bool) {
	return float64(o.limiter.Limit()) / nodes, o.limiter.State() != adaptive.Draining
}

// fixed is a limit that nothing changes, for each host, or for all of them together.
type fixed struct {
	most     int
	together bool
	inFlight [nodes]int
}

func (f *fixed) candidate(host int) adaptive.Candidate {
	used := f.inFlight[host]
	if f.together {
		used = 0
		for _, n := range f.inFlight {
			used += n
		}
	}
	room := max(0, f.most-used)
	return adaptive.Candidate{Room: room, HeadRoom: float64(room) / float64(f.most)}
}

func (f *fixed) sent(host int, _ time.Time) ticket {
	f.inFlight[host]++
	return ticket{}
}

func (f *fixed) done(host int, _ ticket, _ adaptive.Outcome, _ time.Duration, _ time.Time) {
	f.inFlight[host]--
}

func (f *fixed) tick(time.Time) {}

func (f *fixed) limit(int) (float64, bool) { return float64(f.most), true }
