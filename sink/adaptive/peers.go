package adaptive

import "time"

// suspicion is how long one host's suspicion waits for that of others.
const suspicion = time.Second

// Peers is what the limiters of one cluster's hosts find out together, because none of them can alone: each replica works for every
// coordinator. A replica that lags behind looks like a changed host to its own limiter for a second; drained alone, it would measure the queues
// that the others keep full, and keep too high a target until the next common drain. A cluster that has changed shows it at more than half
// of the hosts, and then all of them are drained.
//
// Whoever guards the limiters guards it too. The zero value is not usable; see [NewPeers].
type Peers struct {
	limiters map[*Limiter]bool  // whether it is in use: not in quarantine
	suspects map[*Limiter]int64 // when it last found its host changed, in nanoseconds since 1970
	changed  int64              // when the cluster last did, in the same
}

// NewPeers is for the hosts of one cluster.
func NewPeers() *Peers {
	return &Peers{limiters: map[*Limiter]bool{}, suspects: map[*Limiter]int64{}}
}

// Forget is for the limiter of a host that has left.
func (p *Peers) Forget(l *Limiter) {
	delete(p.limiters, l)
	delete(p.suspects, l)
}

// suspect notes that a limiter finds its host changed.
func (p *Peers) suspect(l *Limiter) {
	now := l.wall()
	p.suspects[l] = now
	inUse, suspects := 0, 0
	for peer, used := range p.limiters {
		if !used {
			continue
		}
		inUse++
		if at, ok := p.suspects[peer]; ok && now-at <= int64(suspicion) {
			suspects++
		}
	}
	if 2*suspects > inUse {
		p.changed = now
		clear(p.suspects)
	}
}

// wall is the latest now in nanoseconds since 1970.
func (l *Limiter) wall() int64 { return l.origin.UnixNano() + l.now }
