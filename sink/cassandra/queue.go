package cassandra

import (
	"math"
	"slices"

	"penstock/sink"
)

// A lane is the requests that wait for a permit of one replica set. Those that were tried before go first: they hold the
// watermark of their shard. The rest is shared between the sources by deficit round robin (Shreedhar and Varghese, SIGCOMM
// 1995): at its turn a source may send a quantum of mutations, and what it does not use it keeps until its next turn.
//
// The gate guards it.
type lane struct {
	again []*request // in the order they came
	flows []*flow    // of the sources with something waiting
	turn  int        // whose turn it is among the flows
	begun bool       // that flow was given its quantum for this turn

	acked []ack // when each host last coordinated a write of these replicas
}

// flow is what waits of one source for one replica set.
type flow struct {
	from    *source
	queue   []*request
	deficit float64 // mutations that the source may send before its turn is over

	// What waits for which partition, by the last bits of its hash, so that a row that comes again while it waits is
	// written once. It forgets: a later partition takes an earlier one's place.
	rows [rowsKept]waitingRow
}

const rowsKept = 256

type waitingRow struct {
	hash    uint64
	request *request
}

// source is what the gate knows of a [sink.Source] while something of it waits.
type source struct {
	*sink.Source
	flows map[int32]*flow // by replica set
}

// quantum is how many mutations a source may send at its turn: those of a full request, and as many again for each time that
// the minutes it is behind double.
func (s *source) quantum() float64 {
	return maxRequestMutations * (1 + math.Log2(1+s.Behind().Minutes()))
}

func (l *lane) empty() bool { return len(l.again) == 0 && len(l.flows) == 0 }

// put lets a request wait at the end of its source's queue.
func (l *lane) put(from *source, set int32, r *request) {
	f := from.flows[set]
	if f == nil {
		f = &flow{from: from}
		from.flows[set] = f
	}
	if len(f.queue) == 0 {
		l.flows = append(l.flows, f)
	}
	f.queue = append(f.queue, r)
	f.remember(r)
}

// pop takes the next request out of its source's queue. There must be one.
func (l *lane) pop() *request {
	for {
		f := l.flows[l.turn]
		if !l.begun {
			l.begun = true
			f.deficit += f.from.quantum()
		}
		r := f.queue[0]
		if cost := float64(len(r.parts)); cost <= f.deficit {
			f.deficit -= cost
			f.queue[0] = nil
			f.queue = f.queue[1:]
			f.forget(r)
			if len(f.queue) == 0 {
				l.leave(f)
			}
			return r
		}
		l.turn, l.begun = (l.turn+1)%len(l.flows), false
	}
}

// leave takes a flow out whose source has nothing waiting. What it saved up it keeps, within bounds: a source that has
// little to send is not to wait behind those that have much.
func (l *lane) leave(f *flow) {
	f.deficit = min(f.deficit, f.from.quantum())
	f.queue = nil // lets go of the array
	i := slices.Index(l.flows, f)
	l.flows = slices.Delete(l.flows, i, i+1)
	if i < l.turn {
		l.turn--
	} else if i == l.turn {
		l.begun = false
	}
	if l.turn >= len(l.flows) {
		l.turn = 0
	}
}

// remember notes which partitions a waiting request writes to.
func (f *flow) remember(r *request) {
	for i := range r.parts {
		hash := r.parts[i].partition
		f.rows[hash%rowsKept] = waitingRow{hash, r}
	}
}

// forget lets go of a request that no longer waits.
func (f *flow) forget(r *request) {
	for i := range r.parts {
		if at := &f.rows[r.parts[i].partition%rowsKept]; at.request == r {
			*at = waitingRow{}
		}
	}
}

// meet moves those mutations of r whose partitions are waiting already into the requests that wait, where they fit: a row that
// changes faster than it can be written is written less often, and not more. What is left in r may be nothing.
func (f *flow) meet(r *request) {
	for i := 0; i < len(r.parts); {
		at := f.rows[r.parts[i].partition%rowsKept]
		if at.request == nil || at.hash != r.parts[i].partition || !at.request.takes(r.parts[i]) {
			i++
			continue
		}
		r.moveTo(at.request, i)
	}
}

// ack is when a host last acknowledged a write of a lane's replicas.
type ack struct {
	host *host
	at   int64 // nanoseconds since the gate was made
}

// acknowledged notes an acknowledgement.
func (l *lane) acknowledged(h *host, at int64) {
	for i := range l.acked {
		if l.acked[i].host == h {
			l.acked[i].at = at
			return
		}
	}
	l.acked = append(l.acked, ack{h, at})
}

// othersSucceed reports whether another host than h coordinated a write of the same replicas since then.
func (l *lane) othersSucceed(h *host, since int64) bool {
	return slices.ContainsFunc(l.acked, func(a ack) bool { return a.host != h && a.at >= since })
}
