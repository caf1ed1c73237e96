package projector

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"penstock/checkpoint"
)

// member is another worker, as its item in the state table shows it.
type member struct {
	beat    string
	changed time.Time // when the beat was last seen to change
	out     bool      // takes no part: it is leaving, or cannot use the lease table
	wants   []string  // shards it asks others for
}

// Attributes of a worker's item. Its kind is the role and workerKind, its name the worker's id.
const (
	workerKind       = "#worker"
	beatAttribute    = "beat"     // another text each time
	phaseAttribute   = "phase"    // "", leavingPhase or blindPhase
	wantsAttribute   = "wants"    // shard ids, separated by spaces
	failoverAttrib   = "failover" // of its configuration
	leavingPhase     = "leaving"
	blindPhase       = "blind"
	buryAfterPeriods = 10 // failover times, before the item of a silent worker is deleted
)

// wantsLimit bounds the shards a worker asks for at a time.
const wantsLimit = 100

// blindAfter is how many calls of the lease table in a row must fail before a worker says that it is blind.
const blindAfter = 3

// blind reports whether this worker cannot do its part, since it cannot read or write the lease table. The others then
// do not count it, or they would leave it a share that it cannot take.
func (k *keeper) blind() bool { return k.unread >= blindAfter || k.unwritten >= blindAfter }

// noteWrite notes whether a write of the lease table was answered.
func (k *keeper) noteWrite(err error) {
	if _, refused := errors.AsType[*checkpoint.Refused](err); err == nil || refused {
		k.unwritten, k.proven = 0, true
		return
	}
	k.unwritten++
}

// probe finds out whether the lease table takes writes, where no other write would tell: it asks for a row that is
// there to be made, and expects the refusal.
func (k *keeper) probe(now time.Time) {
	if k.proven && k.unwritten < blindAfter || k.probing || !k.scanned {
		return
	}
	if k.nextProbe.After(now) {
		k.wake(k.nextProbe)
		return
	}
	for shard, s := range k.slots {
		if _, ok := s.sighting.Row(); !ok {
			continue
		}
		k.probing = true
		probe := checkpoint.Change{Op: checkpoint.Create, Shard: shard, Parent: s.parent()}
		k.call(now.Add(k.pace.call), func(ctx context.Context) func(time.Time) {
			err := k.config.Store.Apply(ctx, probe)
			return func(answered time.Time) {
				k.probing = false
				k.nextProbe = answered.Add(around(k.pace.beat))
				k.noteWrite(err)
			}
		})
		return
	}
}

// alive reports whether the worker gave a sign of life lately. Only what was seen counts: while the state table cannot
// be read nobody grows older.
func (k *keeper) alive(m *member) bool { return k.queried.Sub(m.changed) < k.pace.life }

// takesPart reports whether the worker is to be counted on.
func (k *keeper) takesPart(m *member) bool { return !m.out && k.alive(m) }

// meet tells the other workers of this one and asks what they told, when it is due.
func (k *keeper) meet(now time.Time) {
	if k.beating {
		return
	}
	if k.nextBeat.After(now) {
		k.wake(k.nextBeat)
		return
	}
	k.beating = true
	k.beats++
	k.look(now)
	k.plan(now)
	kind, name := k.config.Role+workerKind, k.config.Worker
	mine := map[string]string{
		beatAttribute:  strconv.FormatUint(k.beats, 10) + "@" + now.UTC().Format(time.RFC3339Nano),
		phaseAttribute: "",
		wantsAttribute: strings.Join(slices.Sorted(maps.Keys(k.wants)), " "),
		failoverAttrib: k.config.Failover.String(),
	}
	switch {
	case k.stopping:
		mine[phaseAttribute] = leavingPhase
	case k.blind():
		mine[phaseAttribute] = blindPhase
	}
	buried := k.bury()
	k.call(now.Add(k.pace.read), func(ctx context.Context) func(time.Time) {
		err := k.config.State.Put(ctx, kind, name, mine)
		for _, id := range buried {
			if err == nil { // its last word first: without the other item nobody would remember it
				err = k.config.State.Delete(ctx, k.config.Role+wordKind, id)
			}
			if err == nil {
				err = k.config.State.Delete(ctx, kind, id)
			}
		}
		var items map[string]map[string]string
		if err == nil {
			items, err = k.config.State.Query(ctx, kind)
		}
		return func(answered time.Time) {
			k.beating = false
			k.nextBeat = now.Add(around(k.pace.beat))
			k.metThem(items, err, now, answered)
		}
	})
}

// metThem takes what the other workers told in an exchange that began at asked.
func (k *keeper) metThem(items map[string]map[string]string, err error, asked, now time.Time) {
	if err != nil && !k.met && hopeless(err) {
		k.fatal = err
		return
	}
	k.met = true
	if changed, lasted := k.stateDown.note(err, now); changed && err != nil {
		k.config.Log.Warn("state table cannot be used, repeating", zap.Error(err))
	} else if changed {
		k.config.Log.Info("state table can be used again", zap.Duration("lasted", lasted))
	}
	if err != nil {
		return
	}
	k.greeted, k.asked, k.queried = true, asked, now
	k.wishes = wishesIn(items)
	delete(items, k.config.Worker)
	maps.DeleteFunc(k.members, func(id string, _ *member) bool { return items[id] == nil })
	for id, values := range items {
		m := k.members[id]
		if m == nil {
			m = &member{}
			k.members[id] = m
			if f := values[failoverAttrib]; f != k.config.Failover.String() && values[phaseAttribute] != releasePhase {
				k.config.Log.Warn("another worker has another failover time: its leases may be taken while it still works",
					zap.String("peer", id), zap.String("failover", f), zap.Duration("own_failover", k.config.Failover))
			}
		}
		if m.beat != values[beatAttribute] || m.changed.IsZero() {
			m.beat, m.changed = values[beatAttribute], now
		}
		m.out = values[phaseAttribute] != ""
		m.wants = nil
		if values[phaseAttribute] != releasePhase {
			m.wants = strings.Fields(values[wantsAttribute])
		}
	}
}

// bury returns the workers whose items are to be deleted: silent for so long that they will not come back.
func (k *keeper) bury() []string {
	var ids []string
	for id, m := range k.members {
		if k.queried.Sub(m.changed) > buryAfterPeriods*k.config.Failover {
			ids = append(ids, id)
		}
	}
	return ids
}

// farewell removes this worker's item, so that the others no longer count it. It need not succeed.
func (k *keeper) farewell() {
	if !k.greeted {
		return
	}
	ctx, cancel := context.WithTimeout(k.callCtx, k.pace.call)
	defer cancel()
	if err := k.config.State.Delete(ctx, k.config.Role+workerKind, k.config.Worker); err != nil {
		k.config.Log.Info("own item in the state table could not be removed", zap.Error(err))
	}
}

// fleet is who holds how much.
type fleet struct {
	shards int            // that can be worked on: listed, not finished, parents finished
	loose  bool           // some of them have no owner that takes part
	load   map[string]int // leases by owner, without those that may be taken
	live   []string       // workers that take part, sorted
	key    string         // the same as one text
}

// fleet counts. Workers that take part are this one, those with a fresh sign of life, and owners of live leases that
// never gave one, such as workers of another make; not those that say that they take no part.
func (k *keeper) fleet(now time.Time) fleet {
	f := fleet{load: map[string]int{}}
	live := map[string]bool{k.config.Worker: !k.stopping}
	for _, s := range k.slots {
		if s.active() {
			f.shards++
			f.load[k.config.Worker]++
			continue
		}
		row, ok := s.sighting.Row()
		if !s.listed || ok && row.Finished() || !k.parentsFinished(s) {
			continue
		}
		f.shards++
		owner := k.owner(s, now)
		m := k.members[owner]
		switch {
		case owner == "" || m != nil && !k.takesPart(m):
			f.loose = true
		case m == nil:
			live[owner] = true
		}
		if owner != "" {
			f.load[owner]++
		}
	}
	for id, m := range k.members {
		live[id] = k.takesPart(m)
	}
	for id, yes := range live {
		if yes {
			f.live = append(f.live, id)
		}
	}
	slices.Sort(f.live)
	f.key = strings.Join(f.live, " ")
	return f
}

// owner returns who holds a shard that is not ours; "" if it may be taken. A second process with our own id, whose
// leases are not ours, counts as somebody else.
func (k *keeper) owner(s *slot, now time.Time) string {
	row, ok := s.sighting.Row()
	if !ok || row.Free() || s.stale || !s.ripe.After(now) || s.machine != nil && s.machine.Mine(row) {
		return ""
	}
	if row.Owner == k.config.Worker || row.Owner == "" {
		return row.Owner + " (another)"
	}
	return row.Owner
}

// share is the most shards a worker holds in an even distribution.
func (f fleet) share() int {
	n := max(len(f.live), 1)
	return (f.shards + n - 1) / n
}

// rank returns this worker's place in the order in which the workers should take a shard: 0 first. It is the order of
// hashes of worker and shard together (rendezvous hashing, Thaler and Ravishankar 1998), so that several workers that
// find the same free shards mostly begin with different ones.
func (f fleet) rank(shard, worker string) int {
	mine, place := weight(shard, worker), 0
	for _, id := range f.live {
		if id != worker && weight(shard, id) > mine {
			place++
		}
	}
	return place
}

// place returns this worker's rank for a shard.
func (k *keeper) place(s *slot, f fleet) int {
	if s.placedIn != f.key {
		s.place, s.placedIn = f.rank(s.shard, k.config.Worker), f.key
	}
	return s.place
}

func weight(shard, worker string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(worker)) // a hash never returns an error
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(shard))
	x := h.Sum64()
	x ^= x >> 33 // FNV's last bytes hardly reach its high bits: Murmur3's finalizer spreads them
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}

// wantedByPeer reports whether another worker asks for a shard.
func (k *keeper) wantedByPeer(shard string) bool {
	for _, m := range k.members {
		if k.takesPart(m) && slices.Contains(m.wants, shard) {
			return true
		}
	}
	return false
}

// plan decides which shards to ask the other workers for. A shard is asked of its owner while that has at least two
// more than this worker, both counted as if all that is asked for had moved; so the asking ends when no two workers
// differ by more than one. While a shard lacks an owner nothing more is asked for: whoever takes that evens the shares
// without a drain.
func (k *keeper) plan(now time.Time) {
	old := k.wants
	k.wants = map[string]string{}
	if k.stopping || k.blind() || !k.proven || !k.greeted {
		return
	}
	f := k.fleet(now)
	owned := map[string][]*slot{}
	for _, s := range k.slots {
		owner := k.owner(s, now)
		m := k.members[owner]
		row, ok := s.sighting.Row()
		if m == nil || !k.takesPart(m) || f.loose && old[s.shard] == "" {
			continue
		}
		if s.handle != nil || !ok || row.Finished() || k.wantedByPeer(s.shard) {
			continue
		}
		if w, holds := k.wish(s.shard, now); holds && w.From == k.config.Worker {
			continue // an operator wanted it away from here
		}
		owned[owner] = append(owned[owner], s)
	}
	for _, slots := range owned {
		slices.SortFunc(slots, func(a, b *slot) int {
			if x, y := old[a.shard] != "", old[b.shard] != ""; x != y { // what was asked for already first
				if x {
					return -1
				}
				return 1
			}
			return cmp.Or(k.place(a, f)-k.place(b, f), strings.Compare(a.shard, b.shard))
		})
	}
	mine := f.load[k.config.Worker]
	for len(k.wants) < wantsLimit && mine < f.share() {
		most := ""
		for _, id := range slices.Sorted(maps.Keys(owned)) {
			if len(owned[id]) > 0 && (most == "" || f.load[id] > f.load[most]) {
				most = id
			}
		}
		if most == "" || f.load[most] < mine+2 {
			return
		}
		k.wants[owned[most][0].shard] = most
		owned[most] = owned[most][1:]
		f.load[most]--
		mine++
	}
}

// free reports whether a shard is this worker's to give: held, and not yet on its way out.
func (k *keeper) free(s *slot) bool {
	return s.active() && s.machine.Phase() == checkpoint.Held && s.ending == nil && !s.handle.asked
}

// grant drains the shards that workers with fewer shards ask for.
func (k *keeper) grant(now time.Time) {
	asked := false
	for _, m := range k.members {
		asked = asked || len(m.wants) > 0
	}
	if !asked {
		return
	}
	f := k.fleet(now)
	promised := map[string]int{}
	mine := f.load[k.config.Worker]
	for _, s := range k.slots {
		if s.active() && s.handle != nil && s.handle.asked {
			mine--
			promised[s.handTo]++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(k.members)) {
		m := k.members[id]
		if !k.takesPart(m) {
			continue
		}
		for _, shard := range m.wants {
			s := k.slots[shard]
			if s == nil || !k.free(s) {
				continue
			}
			if mine < f.load[id]+promised[id]+2 {
				break
			}
			mine--
			promised[id]++
			s.handTo = id
			s.handle.askFor()
			k.emit(leaseEvent{Kind: leaseWanted, Shard: shard, Old: s.machine.Pair(), New: s.machine.Pair(),
				Checkpoint: s.machine.Committed(), Peer: id})
		}
	}
}
