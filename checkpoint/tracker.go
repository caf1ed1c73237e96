package checkpoint

import (
	"fmt"
	"time"
)

// Outcome is what became of a record. There are exactly two; a record that is given up has none, and stays in the
// stream for the next worker.
type Outcome uint8

const (
	Applied Outcome = iota + 1
	Parked
)

// Tracker holds the records of one shard from the moment they are read until everything before them is settled, and
// so knows the watermark: the position up to which every record has its outcome. Only that may be committed.
//
// Records are added in stream order by the shard's goroutine and settled in any order from any goroutine.
type Tracker struct {
	ledger *Ledger

	// Guarded by ledger.mu:
	entries   []entry // from the oldest unsettled record on, in stream order
	base      Ticket  // the ticket of entries[0]
	newest    entry   // that was added last; at first the watermark
	watermark Sequence
	drained   chan struct{} // closed and nil whenever entries becomes empty; made by Drained
	closed    bool
	last      Progress // once closed
}

type entry struct {
	sequence Sequence
	arrival  int64 // microseconds since 1970
	part     bool  // more of the same sequence number follows
	settled  bool
}

// Ticket names a record that was added to a tracker.
type Ticket int64

// NewTracker returns a tracker for a shard in which everything up to watermark is settled. It must be closed.
func (l *Ledger) NewTracker(watermark Sequence) *Tracker {
	t := &Tracker{ledger: l, newest: entry{sequence: watermark}, watermark: watermark}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trackers[t] = struct{}{}
	return t
}

// Add counts a record as read and in flight; arrival is when the stream accepted it. Sequence numbers increase from call
// to call: anything else is a broken invariant of the reader and panics, since committing behind such a record would
// skip others. After AddPart the sequence number is the same once more: then the record is the last of an aggregate.
func (t *Tracker) Add(s Sequence, arrival time.Time) Ticket {
	return t.add(entry{sequence: s, arrival: arrival.UnixMicro()})
}

// AddPart is Add for a record of an aggregate that more are added of. The watermark does not stop within an aggregate:
// a reader cannot begin there.
func (t *Tracker) AddPart(s Sequence, arrival time.Time) Ticket {
	return t.add(entry{sequence: s, arrival: arrival.UnixMicro(), part: true})
}

func (t *Tracker) add(e entry) Ticket {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	if t.closed {
		panic("checkpoint: record " + e.sequence + " added to a closed tracker")
	}
	if order := e.sequence.Compare(t.newest.sequence); order < 0 || (order == 0) != t.newest.part {
		panic("checkpoint: record " + e.sequence + " added after " + t.newest.sequence)
	}
	t.entries = append(t.entries, e)
	t.newest = e
	t.ledger.counts.Read++
	return t.base + Ticket(len(t.entries)-1)
}

// Settle gives a record its outcome and moves the watermark as far as it goes. Settling a record twice is a broken
// invariant and panics. Once the tracker is closed it does nothing: the record was counted as abandoned.
func (t *Tracker) Settle(k Ticket, o Outcome) {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	if t.closed {
		return
	}
	i := int(k - t.base)
	if i < 0 || i >= len(t.entries) || t.entries[i].settled {
		panic(fmt.Sprintf("checkpoint: ticket %d settled twice or never issued", k))
	}
	switch o {
	case Applied:
		t.ledger.counts.Applied++
	case Parked:
		t.ledger.counts.Parked++
	default:
		panic(fmt.Sprintf("checkpoint: %d is not an outcome", o))
	}
	t.entries[i].settled = true
	n := 0
	for n < len(t.entries) && t.entries[n].settled {
		n++
	}
	if n == 0 {
		return
	}
	for i := n - 1; i >= 0; i-- { // the last whole sequence number
		if !t.entries[i].part {
			t.watermark = t.entries[i].sequence
			break
		}
	}
	t.base += Ticket(n)
	t.entries = t.entries[n:]
	if len(t.entries) == 0 {
		t.signalDrained()
	}
}

// Held returns the number of records from the oldest without outcome on, settled or not.
func (t *Tracker) Held() int {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	return len(t.entries)
}

// Watermark returns the position up to which every record is settled.
func (t *Tracker) Watermark() Sequence {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	return t.watermark
}

// Progress is how far a shard is settled.
type Progress struct {
	Watermark Sequence
	Settled   int64     // records before the first without an outcome, counted from where the tracker began
	Unsettled int       // records without an outcome; once the tracker is closed, those that were abandoned
	Oldest    time.Time // the least arrival of these, to the microsecond; zero if there are none
}

// Progress returns how far the shard is settled. It takes time in proportion to the records in flight: the stream does
// not promise that the oldest arrived first.
func (t *Tracker) Progress() Progress {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	if t.closed {
		return t.last
	}
	return t.progress()
}

// progress is Progress for a tracker that is not closed. The caller holds ledger.mu.
func (t *Tracker) progress() Progress {
	p := Progress{Watermark: t.watermark, Settled: int64(t.base)}
	var oldest int64
	for i := range t.entries {
		if e := &t.entries[i]; !e.settled {
			if p.Unsettled == 0 || e.arrival < oldest {
				oldest = e.arrival
			}
			p.Unsettled++
		}
	}
	if p.Unsettled > 0 {
		p.Oldest = time.UnixMicro(oldest)
	}
	return p
}

// Drained returns a channel that is closed once no record is in flight.
func (t *Tracker) Drained() <-chan struct{} {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	if t.drained == nil {
		t.drained = make(chan struct{})
	}
	done := t.drained
	if len(t.entries) == 0 {
		t.signalDrained()
	}
	return done
}

// Close counts every record still in flight as abandoned and returns their number. The watermark can still be read.
func (t *Tracker) Close() int {
	t.ledger.mu.Lock()
	defer t.ledger.mu.Unlock()
	if t.closed {
		return 0
	}
	t.last = t.progress()
	n := t.last.Unsettled
	t.closed = true
	t.ledger.counts.Abandoned += int64(n)
	delete(t.ledger.trackers, t)
	t.entries = nil
	t.signalDrained()
	return n
}

func (t *Tracker) signalDrained() {
	if t.drained != nil {
		close(t.drained)
		t.drained = nil
	}
}

// unsettled counts the records without an outcome. The caller holds ledger.mu.
func (t *Tracker) unsettled() int {
	n := 0
	for i := range t.entries {
		if !t.entries[i].settled {
			n++
		}
	}
	return n
}
