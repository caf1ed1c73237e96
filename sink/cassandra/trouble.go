package cassandra

import (
	"slices"
	"time"

	"penstock/sink/adaptive"
)

// trouble is what is wrong with a host. Of several the last is told.
type trouble uint8

const (
	none trouble = iota
	slow
	warning
	refusing
	cutOff
	silent
	disconnected
	down
)

// affected are the hosts that have the gravest trouble there is.
type affected struct {
	trouble trouble
	hosts   []HostPressure
}

// worst returns the gravest trouble and who has it. Silence, broken connections and hosts that are down are one kind of
// trouble where they come together: a dead host is each of them in turn.
func (p Pressure) worst() affected {
	var out affected
	gravest := none
	for i := range p.Hosts {
		gravest = max(gravest, p.trouble(i))
	}
	for i, h := range p.Hosts {
		if t := p.trouble(i); t != none && (t == gravest || t >= silent && gravest >= silent) {
			out.hosts = append(out.hosts, h)
		}
	}
	out.trouble = gravest
	for _, h := range out.hosts {
		if t := p.trouble(slices.IndexFunc(p.Hosts, func(o HostPressure) bool { return o.ID == h.ID })); t < out.trouble {
			out.trouble = t // what holds for all of them
		}
	}
	return out
}

func (p Pressure) trouble(i int) trouble {
	h := &p.Hosts[i]
	switch {
	case !h.Up:
		return down
	case h.State == adaptive.Quarantined.String():
		switch h.closedFor {
		case adaptive.Disconnected:
			return disconnected
		case adaptive.CutOff:
			return cutOff
		default:
			return silent
		}
	case h.took(adaptive.Refused, p.At) >= 2:
		return refusing
	case h.took(adaptive.WarnedOf, p.At) >= 2:
		return warning
	case p.slow(i):
		return slow
	}
	return none
}

// took counts the decisions of a reason among the last ones, if the latest of them is from just now.
func (h *HostPressure) took(reason adaptive.Reason, now time.Time) (n int) {
	var last time.Time
	for _, d := range h.Decisions {
		if d.reason == reason {
			n++
			last = d.At
		}
	}
	if now.Sub(last) > justNow {
		return 0
	}
	return n
}

// typical is the host's latency, as the median of the last decisions has it: one window says little. 0 if it was not
// used lately.
func (h *HostPressure) typical(now time.Time) time.Duration {
	var seen []time.Duration
	for _, d := range h.Decisions {
		if d.Latency > 0 && now.Sub(d.At) < thisMinute {
			seen = append(seen, time.Duration(d.Latency))
		}
	}
	return median(seen)
}

// fell is the part of its highest limit of the last minutes that a host still has; a step of few permits is none.
func (h *HostPressure) fell() float64 {
	if h.Highest-h.Usual < fellLeast {
		return 1
	}
	return float64(h.Usual) / float64(h.Highest)
}

// slow reports whether a host is slower than its peers, or than it was while its peers are not, or whether all of them
// became slow together.
func (p Pressure) slow(i int) bool {
	h := &p.Hosts[i]
	if h.slowerThan(p.peers(i), p.At) {
		return true
	}
	for j := range p.Hosts {
		if !p.Hosts[j].slowedDown(p.At) {
			return false
		}
	}
	return true
}

// peers are the other hosts that work.
func (p Pressure) peers(i int) (peers []*HostPressure) {
	for j := range p.Hosts {
		if o := &p.Hosts[j]; j != i && o.Up && o.State != adaptive.Quarantined.String() {
			peers = append(peers, o)
		}
	}
	return peers
}

// slowerThan compares with the peers of this moment, by latency and by limit.
func (h *HostPressure) slowerThan(peers []*HostPressure, now time.Time) bool {
	mine := h.typical(now)
	if mine == 0 || len(peers) == 0 {
		return false
	}
	if theirs := typicalOf(peers, now); theirs > 0 && mine > theirs+slowerLeast && float64(mine) > slowerBy*float64(theirs) {
		return true
	}
	if h.Cut.IsZero() || now.Sub(h.Cut) > thisMinute {
		return false // nothing but want of work keeps its limit low
	}
	limits, falls := make([]float64, len(peers)), make([]float64, len(peers))
	for i, o := range peers {
		limits[i], falls[i] = float64(o.Usual), o.fell()
	}
	slices.Sort(limits)
	slices.Sort(falls)
	if float64(h.Usual)*fewerBy < limits[len(limits)/2] {
		return true
	}
	return h.fell() <= fellTo && h.fell()*alikeWithin <= falls[len(falls)/2]
}

// slowedDown compares with the host itself some minutes ago.
func (h *HostPressure) slowedDown(now time.Time) bool {
	if !h.Up || h.typical(now) == 0 {
		return false
	}
	if h.Lowest > 0 && float64(h.Base) > slowerBy*float64(h.Lowest) && time.Duration(h.Base-h.Lowest) > slowerLeast {
		return true
	}
	return h.fell() <= allFellTo && !h.Cut.IsZero() && now.Sub(h.Cut) < thisMinute && h.typical(now) > slowerLeast
}

func typicalOf(hosts []*HostPressure, now time.Time) time.Duration {
	var seen []time.Duration
	for _, h := range hosts {
		if d := h.typical(now); d > 0 {
			seen = append(seen, d)
		}
	}
	return median(seen)
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}
