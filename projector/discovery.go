package projector

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"penstock/stream"
)

const (
	// discoverEvery is the pause between two listings of the stream's shards, within a half more or less.
	discoverEvery = 30 * time.Second
	// repairEvery is the pause while nobody reads a part of the ring, or a parent is missing.
	repairEvery = 2 * time.Second
	// holesBelieved is how many listings in a row must show the same hole until it is said to be one. Between the end of
	// a shard and the listing of those that follow on it there is one for a moment.
	holesBelieved = 3
)

// discovery finds out which shards the stream has, and whether it is still the same stream. It belongs to one goroutine.
type discovery struct {
	stream    *stream.Stream
	found     stream.Description // at start
	read      <-chan struct{}    // closed when the lease table was read once
	seen      func() fleetSeen
	metrics   *Metrics
	announcer announcer
	log       *zap.Logger

	lineage   stream.Lineage
	failures  int // in a row
	hole      []stream.HashRange
	holes     int // listings in a row that showed it
	retention func(time.Duration)
}

// listing is what discovery found.
type listing struct {
	shards  []stream.Shard  // that there are
	missing []string        // parents of these that were never listed
	listed  map[string]bool // by the last listing alone
}

// run lists the stream's shards, as soon as the lease table was read, again and again, and whenever relist says so, until
// ctx ends. The error is one that repeating does not help.
func (d *discovery) run(ctx context.Context, listings chan<- listing, relist <-chan struct{}) error {
	select {
	case <-d.read: // what was begun is known, so that no listing makes its children begin
	case <-ctx.Done():
		return nil
	}
	wait := time.Duration(0)
	for {
		select {
		case <-time.After(wait):
		case <-relist:
		case <-ctx.Done():
			return nil
		}
		shards, err := d.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if failed, ok := errors.AsType[*stream.Error](err); errors.Is(err, ErrOtherStream) || ok && failed.Kind == stream.Fatal {
			return err
		}
		if err != nil {
			d.log.Warn("shards cannot be listed, repeating", zap.Error(err))
			wait = rand.N(min(500*time.Millisecond<<min(d.failures, 6), discoverEvery))
			d.failures++
			continue
		}
		d.failures = 0
		seen := d.seen()
		finished := seen.finished
		d.bury(d.lineage.See(shards, seen.begun, seen.read), finished)
		select {
		case listings <- newListing(&d.lineage, shards):
		case <-ctx.Done():
			return nil
		}
		wait = discoverEvery/2 + rand.N(discoverEvery)
		if d.holed(finished) || len(d.lineage.Missing()) > 0 {
			wait = around(repairEvery)
		}
		d.announcer.announce(ctx, d.lineage.Shards(), finished)
	}
}

func newListing(known *stream.Lineage, listed []stream.Shard) listing {
	l := listing{shards: known.Shards(), missing: known.Missing(), listed: make(map[string]bool, len(listed))}
	for _, s := range listed {
		l.listed[s.ID] = true
	}
	return l
}

// look asks for the stream's description, which changes with its retention, and for its shards.
func (d *discovery) look(ctx context.Context) ([]stream.Shard, error) {
	now, err := d.stream.Describe(ctx)
	if err != nil {
		return nil, err
	}
	if err := SameStream(d.found, now); err != nil {
		return nil, err
	}
	d.retention(now.Retention)
	return d.stream.Shards(ctx)
}

// bury takes note of shards that the stream no longer has.
func (d *discovery) bury(gone []stream.Shard, finished map[string]bool) {
	for _, s := range gone {
		if finished[s.ID] {
			continue
		}
		d.metrics.lost()
		d.log.Error("shard was gone from the stream before it was read to its end", zap.String("shard", s.ID), zap.Stringer("hash_keys", s.Hashes))
	}
}

// holed looks whether every part of the ring is read by somebody, now or in time, and says so when that changes.
func (d *discovery) holed(finished map[string]bool) bool {
	holes := d.lineage.Holes(finished)
	d.metrics.covered(stream.Coverage(holes))
	if len(holes) == 0 {
		if d.holes >= holesBelieved {
			d.log.Info("all of the ring is read again")
		}
		d.holes = 0
		return false
	}
	if d.holes < holesBelieved && !slices.Equal(holes, d.hole) {
		d.hole, d.holes = holes, 0
	}
	if d.holes++; d.holes == holesBelieved {
		d.log.Error("records of a part of the ring are read by nobody: run projector doctor",
			zap.Stringers("hash_keys", holes), zap.Float64("coverage", stream.Coverage(holes)))
	}
	return true
}
