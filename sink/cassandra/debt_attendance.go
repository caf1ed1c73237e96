package cassandra

import (
	"slices"
	"time"
)

// Reason is why a replica counts as absent.
type Reason string

const (
	Down        Reason = "the driver says that it is down"
	Silent      Reason = "it does not answer"
	Unreachable Reason = "most other nodes do not reach it"
)

const (
	// silentFor is how long a host's limiter is in quarantine before the host counts as absent: a pause of its memory is over by then.
	silentFor = time.Second
	// backAfter is how long nothing speaks against a replica before it counts as back: two polls, or more.
	backAfter = 5 * time.Second
	// unknownAcked is how far back a host's absence is dated whose last acknowledgement nobody knows.
	unknownAcked = 2 * time.Second
)

// evidence is what speaks against a host at one moment.
type evidence struct {
	down, quarantined bool
	acked             time.Time // when it last coordinated a write; the zero time if that is not known
	// What the other nodes say: whether most of them do not reach it, from when on, and whether any of them said anything.
	unreached, known bool
	unreachedSince   time.Time
}

// attendance decides which replicas are absent. One goroutine owns it.
type attendance struct{ hosts map[string]*standing }

// standing is what is known of one host.
type standing struct {
	absent      bool
	since       time.Time
	reasons     []Reason
	quarantined time.Time // since when; zero if it is not
	clean       time.Time // since when nothing speaks against it; zero if something does
}

// change is what became of a host.
type change int

const (
	same change = iota
	gone
	otherReasons
	returned
)

// weigh takes what there is against a host, and says what follows.
func (a *attendance) weigh(id string, e evidence, now time.Time) (*standing, change) {
	if a.hosts == nil {
		a.hosts = map[string]*standing{}
	}
	v := a.hosts[id]
	if v == nil {
		v = &standing{}
		a.hosts[id] = v
	}
	switch {
	case !e.quarantined:
		v.quarantined = time.Time{}
	case v.quarantined.IsZero():
		v.quarantined = now
	}
	var reasons []Reason
	since := now
	earlier := func(t time.Time) {
		if t.Before(since) {
			since = t
		}
	}
	if e.down {
		reasons = append(reasons, Down)
	}
	if e.quarantined && now.Sub(v.quarantined) >= silentFor {
		reasons = append(reasons, Silent)
	}
	if len(reasons) > 0 {
		if e.acked.IsZero() {
			e.acked = now.Add(-unknownAcked)
		}
		earlier(e.acked)
	}
	// Where nobody answers, what was said last holds.
	if e.unreached || !e.known && slices.Contains(v.reasons, Unreachable) {
		reasons = append(reasons, Unreachable)
		if e.unreached {
			earlier(e.unreachedSince)
		}
	}
	if len(reasons) == 0 {
		if !v.absent {
			return v, same
		}
		if v.clean.IsZero() {
			v.clean = now
		}
		if now.Sub(v.clean) < backAfter {
			return v, same
		}
		v.absent, v.reasons, v.clean = false, nil, time.Time{}
		return v, returned
	}
	v.clean = time.Time{}
	if !v.absent {
		v.absent, v.since, v.reasons = true, since, reasons
		return v, gone
	}
	if !slices.Equal(v.reasons, reasons) {
		v.reasons = reasons
		return v, otherReasons
	}
	return v, same
}

// forget lets go of hosts that the cluster no longer has; of those that were absent it tells.
func (a *attendance) forget(there func(id string) bool) (absent []string) {
	for id, v := range a.hosts {
		if !there(id) {
			if v.absent {
				absent = append(absent, id)
			}
			delete(a.hosts, id)
		}
	}
	return absent
}
