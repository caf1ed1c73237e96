package projector

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"penstock/checkpoint"
)

// scan reads the whole lease table when it is due.
func (k *keeper) scan(now time.Time) {
	if k.scanning || k.stopping {
		return
	}
	if k.nextScan.After(now) {
		k.wake(k.nextScan)
		return
	}
	k.scanning = true
	k.call(now.Add(k.pace.read), func(ctx context.Context) func(time.Time) {
		rows, err := k.config.Store.Rows(ctx)
		return func(answered time.Time) {
			k.scanning = false
			k.nextScan = answered.Add(around(k.pace.scan))
			k.sawAll(rows, err, now, answered)
		}
	})
}

// sawAll takes the answer to a scan that was started at asked.
func (k *keeper) sawAll(rows []checkpoint.Row, err error, asked, now time.Time) {
	if err != nil && !k.scanned && hopeless(err) {
		k.fatal = err
		return
	}
	if changed, lasted := k.tableDown.note(err, now); changed && err != nil {
		k.config.Log.Warn("lease table cannot be read, repeating", zap.Error(err))
	} else if changed {
		k.config.Log.Info("lease table can be read again", zap.Duration("lasted", lasted))
	}
	if err != nil {
		k.unread++
		return
	}
	first := !k.scanned
	k.scanned, k.unread = true, 0
	seen := make(map[string]checkpoint.Row, len(rows))
	for _, row := range rows {
		seen[row.Shard] = row
		k.slot(row.Shard)
	}
	for shard, s := range k.slots {
		// Of our own rows the state in memory is the authority, and what was asked for before our last write of a row
		// was answered may be older than that write.
		if s.active() || s.writing || !s.touched.Before(asked) && !s.touched.IsZero() {
			continue
		}
		row, ok := seen[shard]
		if !ok && !s.listed && !s.missing && s.handle == nil {
			delete(k.slots, shard)
			continue
		}
		k.see(s, row, now) // the zero row if there is none
	}
	if first {
		k.look(now)
		close(k.read)
	}
}

// hopeless reports whether an error will not pass by itself.
func hopeless(err error) bool {
	return errors.Is(err, checkpoint.ErrTableMissing) || errors.Is(err, checkpoint.ErrDenied)
}

// take creates the rows that are missing and takes all shards that can be taken, up to this worker's share.
func (k *keeper) take(now time.Time) {
	if !k.scanned || !k.met {
		return
	}
	var missing, candidates []*slot
	for _, s := range k.slots {
		if !s.listed || s.stale || s.writing || s.active() || s.handle != nil {
			continue
		}
		if s.tryAt.After(now) {
			s.stale = true // what is known now will be old by then: the first reading after it decides
			continue
		}
		row, ok := s.sighting.Row()
		if !ok {
			missing = append(missing, s)
			continue
		}
		if row.Finished() || !k.parentsFinished(s) {
			continue
		}
		switch {
		case row.Free() && k.shy(s, now):
			continue
		case row.Free():
			s.reason = takeFree
		case s.machine != nil && s.machine.Mine(row):
			s.reason = takeOwn
		case !s.ripe.After(now):
			s.reason = takeExpired
		default:
			k.wake(s.ripe)
			continue
		}
		candidates = append(candidates, s)
	}
	if len(missing) == 0 && len(candidates) == 0 || !k.window.open(k.taking) {
		return // when it is full, each answer brings the loop round again
	}
	f := k.fleet(now)
	others := k.createOwn(missing, f, now)
	k.takeShare(candidates, f, now)
	for _, s := range others {
		k.create(s, now)
	}
}

// createOwn creates those of the missing rows that the other workers would rather leave to this one, and returns the
// rest: each worker creates those when it has nothing better to do, so that a thousand rows are not created by everybody.
func (k *keeper) createOwn(missing []*slot, f fleet, now time.Time) (others []*slot) {
	for _, s := range missing {
		if k.place(s, f) > 0 {
			others = append(others, s)
			continue
		}
		k.create(s, now)
	}
	return others
}

// takeShare takes of the candidates what this worker's share leaves room for. A candidate that nobody took for twice
// the failover time is taken whatever the share: then somebody who counts as alive does not do his part.
func (k *keeper) takeShare(candidates []*slot, f fleet, now time.Time) {
	room := f.share() - f.load[k.config.Worker]
	if room > 0 {
		k.order(candidates, f)
	}
	for _, s := range candidates {
		since := s.ripe
		if s.reason != takeExpired {
			since = s.sighting.Since()
		}
		row, _ := s.sighting.Row()
		if s.reason == takeFree && row.Timeout != "" && since.After(k.asked) && k.stateDown.since.IsZero() {
			// If it was released for a worker that asked for it, an exchange that begins after the release shows that.
			if !k.beating {
				k.nextBeat = now
				k.wake(now)
			}
			continue
		}
		if left := since.Add(k.pace.hold); s.reason == takeFree && left.After(now) && k.wantedByPeer(s.shard) {
			s.stale = true // by the time the peer no longer asks for it, it has most likely taken it
			continue
		}
		if orphaned := since.Add(2 * k.pace.terms.Failover); room <= 0 && orphaned.After(now) && !(s.reason == takeFree && k.bidden(s.shard, now)) {
			k.wake(orphaned)
			continue
		}
		if !k.window.open(k.taking) {
			return // each answer brings the loop round again
		}
		room--
		k.acquire(s, now)
	}
}

// order puts first what was asked for and what was ours, then what other workers that find the same shards would
// rather leave to this one.
func (k *keeper) order(candidates []*slot, f fleet) {
	rank := make(map[*slot]int, len(candidates))
	for _, s := range candidates {
		rank[s] = k.place(s, f)
		if k.wants[s.shard] != "" || s.reason == takeOwn {
			rank[s] = -1
		}
	}
	slices.SortFunc(candidates, func(a, b *slot) int {
		return cmp.Or(rank[a]-rank[b], strings.Compare(a.shard, b.shard))
	})
}

func (k *keeper) parentsFinished(s *slot) bool {
	for _, id := range s.parents {
		p := k.slots[id]
		if p == nil || !p.listed && !p.missing {
			continue // the stream no longer has it
		}
		row, ok := p.sighting.Row()
		if !ok || p.active() || !row.Finished() {
			return false
		}
	}
	return true
}

// create makes a missing row.
func (k *keeper) create(s *slot, now time.Time) {
	if !k.window.open(k.taking) {
		return
	}
	c := checkpoint.Change{Op: checkpoint.Create, Shard: s.shard, Parent: s.parent()}
	s.writing = true
	k.taking++
	k.call(now.Add(k.pace.take), func(ctx context.Context) func(time.Time) {
		err := k.config.Store.Apply(ctx, c)
		return func(answered time.Time) {
			s.writing, s.touched = false, answered
			k.noteWrite(err)
			k.window.note(now, answered, err)
			k.taking--
			refused, isRefusal := errors.AsType[*checkpoint.Refused](err)
			switch {
			case err == nil:
				k.see(s, checkpoint.Row{Shard: s.shard, Parent: c.Parent}, answered)
			case isRefusal:
				k.see(s, refused.Current, answered)
			default:
				s.stale = true
				s.tryAt = answered.Add(around(k.pace.retry))
			}
		}
	})
}

func (s *slot) parent() string {
	if len(s.parents) == 0 {
		return ""
	}
	return s.parents[0]
}

// acquire takes a row that was seen to be takeable.
func (k *keeper) acquire(s *slot, now time.Time) {
	row, _ := s.sighting.Row()
	if s.reason == takeOwn {
		s.machine = s.machine.Retake(row)
	} else {
		s.machine = checkpoint.NewLease(k.pace.terms, k.config.Worker, row)
	}
	k.taking++
	k.apply(s, s.machine.Acquire(now, k.stamp(now), s.parent()), now, now.Add(k.pace.take))
}

// took takes the answer to an acquire.
func (k *keeper) took(s *slot, c checkpoint.Change, old checkpoint.Pair, started, now time.Time, err error) {
	verdict := s.machine.Answer(err)
	late := s.machine.Expire(now)
	if verdict != checkpoint.Done || late {
		k.missed(s, old, now, err)
		return
	}
	s.misses = 0
	s.due = started.Add(around(k.pace.renew))
	s.handle = newLease(k, s.shard, s.machine.Committed())
	k.trust(s)
	delete(k.wants, s.shard)
	k.emit(leaseEvent{Kind: leaseTaken, Shard: s.shard, Old: old, New: c.Next, Checkpoint: s.machine.Committed(), Reason: s.reason})
	if k.stopping {
		s.ending, s.due = &ending{lease: s.handle}, now
		return
	}
	k.queue = append(k.queue, s.handle)
}

// missed notes that a shard was not taken, as far as is known.
func (k *keeper) missed(s *slot, old checkpoint.Pair, now time.Time, err error) {
	k.emit(leaseEvent{Kind: leaseMissed, Shard: s.shard, Old: old, Cause: s.machine.Cause()})
	if refused, ok := errors.AsType[*checkpoint.Refused](err); ok {
		s.misses = 0
		s.tryAt = now.Add(rand.N(k.pace.retry))
		k.see(s, refused.Current, now)
		return
	}
	s.stale = true // it may be ours by now: the next scan shows
	s.misses++
	s.tryAt = now.Add(k.pause(s.misses, err))
}
