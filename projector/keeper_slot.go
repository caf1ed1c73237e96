package projector

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"penstock/checkpoint"
)

// slot is what the keeper knows of one shard.
type slot struct {
	shard   string
	parents []string
	listed  bool // the stream has it
	missing bool // it is only known that others follow on it

	sighting checkpoint.Sighting // the row, while it is not ours
	ripe     time.Time           // from when on the row may be taken
	stale    bool                // the row may have changed by our own doing since it was read
	touched  time.Time           // when our last write of it ended

	machine *checkpoint.Lease // the newest lease of this process; nil if there was none
	reason  takeReason        // why it could be taken
	handle  *lease            // with the shard's loop, until that has given it back
	ending  *ending           // how it is to end
	handTo  string            // the peer it is drained for
	heeded  Release           // the operator's wish that it was last drained for
	writing bool              // a write of the row is on its way
	due     time.Time         // when the next renewal or release is to be sent
	tryAt   time.Time         // not to be created or taken before
	misses  int               // calls without answer in a row

	place    int    // this worker's rank for the shard
	placedIn string // among which workers
}

// active reports whether there is a lease to look after.
func (s *slot) active() bool {
	if s.machine == nil {
		return false
	}
	switch s.machine.Phase() {
	case checkpoint.Taking, checkpoint.Held, checkpoint.Leaving:
		return true
	case checkpoint.Over, checkpoint.Lost:
	}
	return false
}

// see notes the row as read at now.
func (k *keeper) see(s *slot, row checkpoint.Row, now time.Time) {
	s.stale = false
	if row.Shard == "" {
		s.sighting.Forget()
		return
	}
	s.sighting.See(row, now)
	s.ripe = s.sighting.RipeAt(now, k.pace.terms, k.config.Clock())
}

// fence ends every lease whose trust window has passed.
func (k *keeper) fence(now time.Time) {
	for _, s := range k.slots {
		if !s.active() {
			continue
		}
		if s.machine.Expire(now) {
			k.lose(s, s.machine.Pair(), checkpoint.Pair{}, now)
			continue
		}
		if s.machine.Phase() != checkpoint.Taking {
			k.wake(s.machine.Trusted())
		}
	}
}

// lose tells the shard's loop that its lease is lost: the pair was old and is now, as far as known, current.
func (k *keeper) lose(s *slot, old, current checkpoint.Pair, now time.Time) {
	cause := s.machine.Cause()
	s.stale, s.touched = true, now
	s.tryAt = now.Add(rand.N(k.pace.retry))
	k.emit(leaseEvent{Kind: leaseLost, Shard: s.shard, Old: old, New: current, Checkpoint: s.machine.Committed(), Cause: cause})
	if s.handle != nil {
		s.handle.lose(cause)
		for i, l := range k.queue {
			if l == s.handle {
				k.queue = append(k.queue[:i:i], k.queue[i+1:]...)
				s.handle = nil // nobody has it
				break
			}
		}
	}
	if s.ending != nil {
		s.ending.answer(cause)
		s.handle, s.ending = nil, nil
	}
	s.handTo = ""
}

// write sends every renewal and release that is due.
func (k *keeper) write(now time.Time) {
	for _, s := range k.slots {
		if s.writing || !s.active() || s.machine.Phase() == checkpoint.Taking {
			continue
		}
		if s.ending != nil {
			s.machine.Leave()
		}
		if s.due.After(now) {
			k.wake(s.due)
			continue
		}
		var c checkpoint.Change
		switch {
		case s.ending == nil:
			c = s.machine.Renew(now, k.stamp(now), s.handle.settled())
		case s.ending.finish:
			c = s.machine.Finish(now)
		default:
			c = s.machine.Release(now, s.ending.lease.settled())
		}
		deadline := now.Add(k.pace.call)
		if trusted := s.machine.Trusted(); trusted.Before(deadline) {
			deadline = trusted
		}
		k.apply(s, c, now, deadline)
	}
}

// stamp returns the text of a timeout that was never written before.
func (k *keeper) stamp(now time.Time) string {
	end := now.Add(k.config.Clock().Ahead).Add(k.pace.terms.Failover)
	return checkpoint.Timeout(k.config.Worker, end, rand.Uint32())
}

// apply carries a change to the table.
func (k *keeper) apply(s *slot, c checkpoint.Change, now, deadline time.Time) {
	s.writing = true
	old := s.machine.Pair()
	k.call(deadline, func(ctx context.Context) func(time.Time) {
		err := k.config.Store.Apply(ctx, c)
		return func(answered time.Time) {
			s.writing, s.touched = false, answered
			k.noteWrite(err)
			k.window.note(now, answered, err)
			if c.Op == checkpoint.Acquire {
				k.taking--
				k.took(s, c, old, now, answered, err)
			} else {
				k.wrote(s, c, old, now, answered, err)
			}
		}
	})
}

// wrote takes the answer to a renewal, release or finish.
func (k *keeper) wrote(s *slot, c checkpoint.Change, old checkpoint.Pair, started, now time.Time, err error) {
	was := s.machine.Phase()
	verdict := s.machine.Answer(err)
	if was == checkpoint.Lost {
		return // too late: told already
	}
	if verdict == checkpoint.Gone {
		refused, _ := errors.AsType[*checkpoint.Refused](err) // nothing else ends a lease here
		k.lose(s, old, refused.Current.Pair(), now)
		k.see(s, refused.Current, now)
		return
	}
	if s.machine.Expire(now) {
		k.lose(s, s.machine.Pair(), checkpoint.Pair{}, now)
		return
	}
	event := leaseEvent{Shard: s.shard, Old: old, New: s.machine.Pair(), Checkpoint: s.machine.Committed()}
	switch {
	case verdict == checkpoint.Unsure:
		s.misses++
		s.due = now.Add(k.pause(s.misses, err))
		event.Kind, event.Cause, event.Misses = leaseUnanswered, err, s.misses
	case s.machine.Phase() == checkpoint.Over:
		k.over(s, old, now)
		return
	default: // the row carries a pair of ours, whether by this write or by an earlier one
		s.misses = 0
		k.trust(s)
		s.due = started.Add(around(k.pace.renew))
		if verdict == checkpoint.Again || s.ending != nil {
			s.due = now
		}
		if c.Op != checkpoint.Renew {
			return
		}
		event.Kind, event.Took, event.Left = leaseRenewed, now.Sub(started), s.machine.Trusted().Sub(now)
	}
	k.emit(event)
}

// pause is the wait before a write is repeated. It hardly grows, since a lease is only worth trying for so long, and
// there is at most one write of a shard on its way; when the table is overloaded it grows more.
func (k *keeper) pause(misses int, err error) time.Duration {
	most := 2
	if errors.Is(err, checkpoint.ErrThrottled) {
		most = 4
	}
	return around(k.pace.retry * time.Duration(min(misses, most)))
}

// trust tells the holder until when the lease may be believed in.
func (k *keeper) trust(s *slot) {
	if s.handle != nil {
		s.handle.trusted.Store(int64(s.machine.Trusted().Sub(k.base)))
	}
}

// over notes a lease that was given up.
func (k *keeper) over(s *slot, old checkpoint.Pair, now time.Time) {
	e := s.ending
	row := checkpoint.Row{Shard: s.shard, Timeout: old.Timeout, Checkpoint: s.machine.Committed()}
	event := leaseEvent{Kind: leaseReleased, Shard: s.shard, Old: old, Checkpoint: row.Checkpoint}
	if e.finish {
		event.Kind = leaseFinished
	}
	k.see(s, row, now)
	s.tryAt = now.Add(around(k.pace.after))
	s.handle, s.ending, s.handTo = nil, nil, ""
	k.emit(event)
	e.answer(nil)
}

// end begins the end of a lease, or notes that a lost one was let go.
func (k *keeper) end(e ending, now time.Time) {
	s := k.slots[e.lease.shard]
	if s == nil || s.handle != e.lease || s.ending != nil {
		e.answer(checkpoint.ErrLeaseLost) // ended twice
		return
	}
	if !s.active() {
		s.handle = nil
		e.answer(s.machine.Cause())
		return
	}
	s.ending, s.due = &e, now
}
