package checkpoint

import "sync"

// Ledger counts the outcomes of all records of a process. All its trackers share its lock, so that the counts of a
// snapshot belong to one moment.
type Ledger struct {
	mu       sync.Mutex
	counts   Counts // InFlight is not kept here: a snapshot counts it in the trackers
	trackers map[*Tracker]struct{}
}

// Counts is the conservation law of a process: Read = Applied + Parked + InFlight + Abandoned, at every moment.
type Counts struct {
	Read      int64 // records taken from the stream
	Applied   int64 // records whose every mutation Cassandra acknowledged
	Parked    int64 // records whose dead letter is durable
	InFlight  int64 // records without an outcome, counted one by one in the trackers
	Abandoned int64 // records given up because the lease was lost or the process stopped; another worker reads them
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{trackers: map[*Tracker]struct{}{}} }

// Snapshot returns the counts of one moment. It takes time in proportion to the records in flight.
func (l *Ledger) Snapshot() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	for t := range l.trackers {
		c.InFlight += int64(t.unsettled())
	}
	return c
}
