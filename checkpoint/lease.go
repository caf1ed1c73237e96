package checkpoint

import (
	"errors"
	"fmt"
	"time"
)

// Phase is where a lease is in its life.
type Phase uint8

// The phases of a lease.
const (
	Taking  Phase = iota + 1 // the write that takes it is on its way
	Held                     // ours until Trusted
	Leaving                  // ours until Trusted; the next write gives it up
	Over                     // given up by our own write
	Lost                     // not ours, or not known to be; Cause says why
)

func (p Phase) String() string {
	switch p {
	case Taking:
		return "taking"
	case Held:
		return "held"
	case Leaving:
		return "leaving"
	case Over:
		return "over"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// event is what can happen to a lease.
type event uint8

const (
	written event = iota // the row carries a pair of ours
	unknown              // the newest write got no answer
	refused              // the row is not ours
	expired              // the trust window passed
	leave                // the holder wants to give it up
	removed              // the row no longer has an owner, by our own write
	events               // how many there are
)

// transitions is the whole state machine. What follows from a transition besides the phase is in Answer and Expire.
// Answers that come after the end change nothing but what is known about the row.
var transitions = [...][events]Phase{
	//        written  unknown  refused  expired  leave    removed
	Taking:  {Held, Lost, Lost, Lost, Lost, Lost},
	Held:    {Held, Held, Lost, Lost, Leaving, Lost},
	Leaving: {Leaving, Leaving, Lost, Lost, Leaving, Over}, // written: a renewal was on its way when Leave was called
	Over:    {Over, Over, Over, Over, Over, Over},
	Lost:    {Lost, Lost, Lost, Lost, Lost, Lost},
}

// Verdict says what the holder does after an answer.
type Verdict uint8

// The verdicts.
const (
	Done   Verdict = iota + 1 // the write was applied, now or by an earlier delivery
	Again                     // the row is ours, but this write was not applied: write again at once
	Unsure                    // no answer: write again after a pause, within the trust window
	Gone                      // the lease is lost
)

// Lease is one lease of this worker from the moment it is being taken: a pure state machine without clock, lock or
// goroutine. One goroutine owns it, makes a [Change] with Acquire, Renew, Release or Finish, carries it to the [Store]
// and brings back the answer; only one change is on its way at a time.
//
// Every now is a reading of the local clock as time.Now returns it; all arithmetic is on its monotonic part.
type Lease struct {
	terms Terms
	owner string
	seen  Row
	phase Phase
	cause error

	own       bool      // seen already carried a pair of this process
	pair      Pair      // last pair known to be in the row
	trusted   time.Time // until when the lease is believed in; only grows
	committed Sequence  // last position known to be in the row
	attempts  []attempt // writes that may have been applied after pair was, oldest first
}

// attempt is a write on its way, or one whose answer was lost.
type attempt struct {
	change  Change
	started time.Time
}

// NewLease returns the lease that a worker is about to take on the row it has seen.
func NewLease(t Terms, owner string, seen Row) *Lease {
	return &Lease{terms: t, owner: owner, seen: seen, phase: Taking, pair: seen.Pair(), committed: seen.Position()}
}

// Retake returns a lease that is about to be taken on a row of which l knows that it is [Lease.Mine].
func (l *Lease) Retake(seen Row) *Lease {
	next := NewLease(l.terms, l.owner, seen)
	next.own = true
	return next
}

// Phase returns where the lease is in its life.
func (l *Lease) Phase() Phase { return l.phase }

// Cause returns why the lease is lost: an error that wraps [ErrLeaseLost], or nil.
func (l *Lease) Cause() error { return l.cause }

// Pair returns the pair last known to be in the row.
func (l *Lease) Pair() Pair { return l.pair }

// Committed returns the position last known to be in the row.
func (l *Lease) Committed() Sequence { return l.committed }

// Trusted returns until when the lease is believed in. The zero value while it is being taken.
func (l *Lease) Trusted() time.Time { return l.trusted }

// Mine reports whether the row carries a pair that this very lease wrote, or may have written. Such a row is taken back
// without waiting: nobody else can hold it.
func (l *Lease) Mine(row Row) bool {
	if row.Owner != l.owner || row.Owner == "" {
		return false
	}
	if l.pair == row.Pair() && (l.own || l.pair != l.seen.Pair()) {
		return true
	}
	for _, a := range l.attempts {
		if a.change.Next == row.Pair() {
			return true
		}
	}
	return false
}

// Acquire starts taking the lease. timeout is a fresh text from [Timeout], parent the shard's first parent or "". The
// checkpoint is not part of the write, so it cannot regress.
func (l *Lease) Acquire(now time.Time, timeout, parent string) Change {
	return l.start(now, Change{Op: Acquire, Seen: l.seen, Next: Pair{l.owner, timeout}, Parent: parent})
}

// Renew starts a renewal, which carries the watermark if that is beyond what is committed. The lease is Held.
func (l *Lease) Renew(now time.Time, timeout string, watermark Sequence) Change {
	return l.start(now, Change{Op: Renew, Held: l.pair, Next: Pair{l.owner, timeout}, Commit: l.ahead(watermark)})
}

// Leave makes the lease one that is to be given up: the next write is Release or Finish.
func (l *Lease) Leave() { l.phase = transitions[l.phase][leave] }

// Release starts giving the lease up, with the watermark as its last commit. The lease is Leaving.
func (l *Lease) Release(now time.Time, watermark Sequence) Change {
	return l.start(now, Change{Op: Release, Held: l.pair, Commit: l.ahead(watermark)})
}

// Finish starts giving the lease up for good: the shard was read to its end and all of it is settled. The lease is
// Leaving.
func (l *Lease) Finish(now time.Time) Change {
	return l.start(now, Change{Op: Finish, Held: l.pair})
}

func (l *Lease) start(now time.Time, c Change) Change {
	want := map[Op]Phase{Acquire: Taking, Renew: Held, Release: Leaving, Finish: Leaving}[c.Op]
	if l.phase != want {
		panic(fmt.Sprintf("checkpoint: %s of a lease that is %s", c.Op, l.phase))
	}
	c.Shard = l.seen.Shard
	l.attempts = append(l.attempts, attempt{change: c, started: now})
	return c
}

// ahead returns the watermark if a write should carry it.
func (l *Lease) ahead(watermark Sequence) Sequence {
	if watermark == ShardEnd || watermark.Compare(l.committed) <= 0 {
		return "" // the end of a shard is written by Finish only
	}
	return watermark
}

// Answer takes the store's answer to the newest change. The caller then asks Expire, since the answer may be late.
func (l *Lease) Answer(err error) Verdict {
	last := len(l.attempts) - 1
	if err == nil {
		l.stands(l.attempts[last])
		return l.verdict(Done)
	}
	refusal, ok := errors.AsType[*Refused](err)
	if !ok {
		return l.unanswered(err)
	}
	for i, a := range l.attempts {
		if !a.shownBy(refusal.Current) {
			continue
		}
		// The refusal shows the row just as one of our own writes left it: its answer was lost, on the way to us or
		// inside the client, which then sent it once more.
		newest := l.attempts[last].change.Op
		l.stands(a)
		if i == last || a.change.Op == newest && l.phase == Over {
			return l.verdict(Done)
		}
		return l.verdict(Again)
	}
	if l.guarded(l.attempts[last].change, refusal.Current) {
		// The pair is still ours: only the commit was refused, as the row is already beyond it.
		l.committed = refusal.Current.Checkpoint
		l.attempts = nil
		return l.verdict(Again)
	}
	return l.taken(refusal)
}

// stands notes that the row is as a left it. Trust counts from the start of that very write. Every other write was
// conditional on a pair that is no longer there, so none of them can still be applied.
func (l *Lease) stands(a attempt) {
	c := a.change
	switch c.Op {
	case Acquire, Renew:
		l.pair = c.Next
		if until := a.started.Add(l.terms.Trust()); until.After(l.trusted) {
			l.trusted = until
		}
		l.phase = transitions[l.phase][written]
	case Release:
		l.phase = transitions[l.phase][removed]
	case Finish:
		l.committed = ShardEnd
		l.phase = transitions[l.phase][removed]
	}
	if c.Commit != "" {
		l.committed = c.Commit
	}
	l.attempts = nil
}

// shownBy reports whether the row is as this write leaves it.
func (a attempt) shownBy(row Row) bool {
	c := a.change
	switch c.Op {
	case Acquire, Renew:
		return row.Pair() == c.Next
	case Release:
		return row.Shard != "" && row.Free() && row.Timeout == c.Held.Timeout && !row.Finished() &&
			(c.Commit == "" || row.Checkpoint == c.Commit) // else somebody else removed the owner
	case Finish:
		return row.Free() && row.Timeout == c.Held.Timeout && row.Finished()
	}
	return false
}

// guarded reports whether a write was refused for its commit alone.
func (l *Lease) guarded(c Change, row Row) bool {
	return c.Commit != "" && row.Pair() == c.Held && !row.Finished() && !row.Unreadable() &&
		row.Checkpoint.Compare(c.Commit) > 0
}

func (l *Lease) unanswered(err error) Verdict {
	was := l.phase
	l.phase = transitions[was][unknown]
	if was == Taking {
		l.cause = fmt.Errorf("%w: %w", ErrUnsure, err)
		return Gone
	}
	return l.verdict(Unsure)
}

func (l *Lease) taken(refusal *Refused) Verdict {
	l.attempts = nil
	l.pair = Pair{}
	l.phase = transitions[l.phase][refused]
	if l.cause == nil {
		l.cause = fmt.Errorf("%w: %w", ErrTaken, refusal)
	}
	return Gone
}

// verdict is v while the lease lives.
func (l *Lease) verdict(v Verdict) Verdict {
	if l.phase == Lost {
		return Gone
	}
	return v
}

// Expire ends a lease whose trust window has passed at now, and reports whether it did. From then on no new write to
// what the lease protects may begin.
func (l *Lease) Expire(now time.Time) bool {
	if (l.phase != Held && l.phase != Leaving) || now.Before(l.trusted) {
		return false
	}
	l.phase = transitions[l.phase][expired]
	l.cause = ErrFenced
	return true
}
