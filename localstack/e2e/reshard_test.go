package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"penstock/localstack/stacktest"
)

// A stream is split, merged and split again while orders come in and two daemons follow it, one of which is killed: every
// record is read, and in the end the daemons share the shards that are open, and the others are finished.
func TestAStreamIsReshardedUnderLoad(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	reshardUnderLoad(t, site(t, 2, nil, "PENSTOCK_LEASES_FAILOVER="+failover.String()))
}

func reshardUnderLoad(t *testing.T, s *Site) {
	setup(t, s)
	ctx := within(t, 4*time.Minute, "a reshard under load")
	fleet := balanced(t, ctx, s, 2, "a", "b")
	w := newOrderWorkload(t, 1500, 32, 0.02)
	var seeding sync.WaitGroup
	var seedErr error
	seeding.Go(func() { seedErr = w.put(ctx, s, 600) })
	defer seeding.Wait()

	for _, step := range []struct {
		reshard func(context.Context) (int, error)
		open    int
		crash   bool
	}{{s.SplitAll, 4, false}, {s.MergeFirst, 3, true}, {s.SplitAll, 6, false}} {
		before, err := fleet.Scrape(ctx)
		if err != nil {
			t.Fatal(err)
		}
		settled, _ := fleet.Done(before)
		if err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
			done, _ := fleet.Done(scrapes)
			return done >= settled+500
		}); err != nil {
			t.Fatal(err)
		}
		if fleet.Shards, err = step.reshard(ctx); err != nil || fleet.Shards != step.open {
			t.Fatalf("%d shards are open, %v, want %d", fleet.Shards, err, step.open)
		}
		if !step.crash {
			continue
		}
		if _, err := fleet.Crash(ctx, fleet.Running()[1]); err != nil {
			t.Fatal(err)
		}
		if _, err := fleet.Start(ctx, "b-again"); err != nil {
			t.Fatal(err)
		}
	}
	seeding.Wait()
	if seedErr != nil {
		t.Fatal(seedErr)
	}
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.AwaitBalance(ctx); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	t.Log(w.check(t, s))
	finished := 0
	for shard, l := range leases(t, s) {
		if l.checkpoint == "SHARD_END" {
			finished++
		} else if l.owner != "" {
			t.Errorf("%s is still owned by %s", shard, l.owner)
		}
	}
	if finished != 7 { // the first two, two of their four children that were merged, and the three that were split last
		t.Errorf("%d shards are finished, want 7", finished)
	}
}
