package projector

import (
	"context"
	"fmt"
	"time"
)

// Release is an operator's wish that a worker drains a shard and gives its lease back, so that another takes it. It
// stands among the signs of life of the fleet, where every worker sees it within about a second, and is heeded once.
// Nobody need take it back: it ends by itself, and the fleet buries it like the sign of a worker that died.
type Release struct {
	From   string    // the worker that has the lease; it alone heeds the wish
	By     string    // who wishes it, such as "ann@host"
	Reason string    // for other people; may be empty
	Until  time.Time // by the service's clock
}

// Attributes of a wish besides those of a pause. Its kind is the role and workerKind, its name wishName and the shard.
const (
	releasePhase    = "release" // which says to workers of every release that this is nobody to count on
	wishFrom        = "from"
	wishName        = "release " // no worker's id has a space
	releaseShyParts = 2          // of the failover time, for which a shard that was given back so is left to others
)

// WriteRelease leaves the wish that a shard be given back, in place of an earlier one.
func WriteRelease(ctx context.Context, state interface {
	Put(ctx context.Context, kind, name string, values map[string]string) error
}, role, shard string, r Release) error {
	until := r.Until.UTC().Format(time.RFC3339Nano)
	err := state.Put(ctx, role+workerKind, wishName+shard, map[string]string{
		phaseAttribute: releasePhase, wantsAttribute: shard, beatAttribute: until, wishFrom: r.From,
		byAttribute: r.By, whyAttribute: r.Reason, untilAttribute: until,
	})
	if err != nil {
		return fmt.Errorf("write the wish that %s be released: %w", shard, err)
	}
	return nil
}

// wishesIn returns the wishes among the items of the fleet, by shard.
func wishesIn(items map[string]map[string]string) map[string]Release {
	wishes := map[string]Release{}
	for _, values := range items {
		if values[phaseAttribute] != releasePhase {
			continue
		}
		wishes[values[wantsAttribute]] = Release{From: values[wishFrom], By: values[byAttribute], Reason: values[whyAttribute],
			Until: parseTime(values[untilAttribute])}
	}
	return wishes
}

// wish returns the wish that holds for a shard.
func (k *keeper) wish(shard string, now time.Time) (r Release, ok bool) {
	r, ok = k.wishes[shard]
	return r, ok && now.Add(k.config.Clock().Ahead).Before(r.Until)
}

// obey drains the shards that operators wish to be given back.
func (k *keeper) obey(now time.Time) {
	for shard := range k.wishes {
		w, ok := k.wish(shard, now)
		s := k.slots[shard]
		if !ok || w.From != k.config.Worker || s == nil || s.handle == nil || !k.free(s) || s.heeded == w {
			continue
		}
		s.heeded = w
		s.handle.askFor()
		k.emit(leaseEvent{Kind: leaseWanted, Shard: shard, Old: s.machine.Pair(), New: s.machine.Pair(),
			Checkpoint: s.machine.Committed(), Peer: w.By, Wish: w.Reason})
	}
}

// shy reports whether a shard that this worker gave back by an operator's wish is still left to the others. There must
// be others.
func (k *keeper) shy(s *slot, now time.Time) bool {
	if s.heeded == (Release{}) || !s.touched.Add(k.config.Failover/releaseShyParts).After(now) {
		return false
	}
	for _, m := range k.members {
		if k.takesPart(m) {
			return true
		}
	}
	return false
}

// bidden reports whether an operator wishes that another worker than the last has a shard. Then it is taken also by one
// that has its share already.
func (k *keeper) bidden(shard string, now time.Time) bool {
	w, ok := k.wish(shard, now)
	return ok && w.From != k.config.Worker
}
