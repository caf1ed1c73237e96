package pressure

import (
	"math"
	"slices"
	"time"

	"penstock/sink/adaptive"
)

// record is what is measured of a client, by slots of 100 ms.
type record struct {
	inFlight int
	lastAck  [nodes]int64
	slots    []slot
}

const slotLength = 100 * time.Millisecond

type slot struct {
	acked, failed int
	peak          int       // in flight
	latencies     []float32 // ms, failures at their elapsed time
	limits        []float64 // steady limits, summed over the hosts
}

func (c *client) slot() *slot {
	at := int(c.now / int64(slotLength))
	for len(c.slots) <= at {
		c.slots = append(c.slots, slot{})
	}
	return &c.slots[at]
}

func (c *client) note(host int, o adaptive.Outcome, elapsed time.Duration) {
	s := c.slot()
	if o == adaptive.Success {
		s.acked++
		c.lastAck[host] = c.now
	} else {
		s.failed++
	}
	s.latencies = append(s.latencies, float32(elapsed.Seconds()*1000))
}

// sample looks at the limits and at what is in flight.
func (c *client) sample() {
	s := c.slot()
	s.peak = max(s.peak, c.inFlight)
	sum := 0.0
	for host := range nodes {
		limit, steady := c.law.limit(host)
		if !steady {
			return
		}
		sum += limit
	}
	s.limits = append(s.limits, sum)
}

// span is what happened between two times.
type span struct {
	goodput, failed float64 // a second
	p99             float64 // ms
	attempts        float64 // to a success
	variation       float64 // of the limits: standard deviation to mean
	limit           float64 // mean
	peak            int
}

func (r *record) span(from, until time.Duration) span {
	var s span
	var acked, failed int
	var latencies []float32
	var limits []float64
	for _, one := range r.slots[min(len(r.slots), int(from/slotLength)):min(len(r.slots), int(until/slotLength))] {
		acked += one.acked
		failed += one.failed
		s.peak = max(s.peak, one.peak)
		latencies = append(latencies, one.latencies...)
		limits = append(limits, one.limits...)
	}
	seconds := (until - from).Seconds()
	s.goodput, s.failed = float64(acked)/seconds, float64(failed)/seconds
	s.attempts = float64(acked+failed) / float64(max(1, acked))
	s.p99 = quantile(latencies, 0.99)
	for _, l := range limits {
		s.limit += l / float64(len(limits))
	}
	var squares float64
	for _, l := range limits {
		squares += (l - s.limit) * (l - s.limit) / float64(len(limits))
	}
	if s.limit > 0 {
		s.variation = math.Sqrt(squares) / s.limit
	}
	return s
}

func quantile(values []float32, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return float64(values[min(len(values)-1, int(q*float64(len(values))))])
}

// until is how long after a time it takes until half a second's worth of slots meets a condition; the rest of the record if never.
func (r *record) until(from time.Duration, meets func(span) bool) time.Duration {
	const long = 5 * slotLength
	end := time.Duration(len(r.slots)) * slotLength
	for at := from; at+long <= end; at += slotLength {
		if meets(r.span(at, at+long)) {
			return at - from
		}
	}
	return end - from
}
