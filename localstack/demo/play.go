package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"penstock/localstack/e2e"
	"penstock/localstack/shop"
)

// play follows a stream of orders with two daemons, kills one in the middle, starts it again, and compares.
func play(ctx context.Context, s *stage, o options) (err error) {
	orders, err := generator(o)
	if err != nil {
		return err
	}
	total := 0
	for range orders.Events() {
		total++
	}
	fleet := &e2e.Fleet{Site: s.site, Shards: shards}
	defer fleet.Kill()
	for _, name := range []string{"north", "south"} {
		if _, err := fleet.Start(ctx, name); err != nil {
			return err
		}
	}
	if err := fleet.AwaitBalance(ctx); err != nil {
		return err
	}
	say("two projectors share %d shards", shards)

	say("%d orders become %d records in the stream", o.orders, total)
	var seeding sync.WaitGroup
	var seeded shop.Seeded
	var seedErr error
	var sent atomic.Bool
	seeding.Go(func() {
		defer sent.Store(true)
		seeded, seedErr = shop.Seed(ctx, s.site.Kinesis(), s.site.Name, orders.Events(), shop.Options{Rate: seedRate})
	})
	defer seeding.Wait()

	progress := &bar{total: total}
	if err := fleet.Watch(ctx, func(scrapes []e2e.Scrape) bool {
		done, parked := fleet.Done(scrapes)
		progress.draw(done, parked, scrapes)
		return done >= total/2
	}); err != nil {
		return err
	}
	progress.end()
	if o.reshard {
		if err := reshard(ctx, s, fleet); err != nil {
			return err
		}
	}
	if err := crash(ctx, fleet); err != nil {
		return err
	}
	restarted := 1
	settled, cancel := context.WithTimeoutCause(ctx, settleTimeout, fmt.Errorf("not settled after %s", settleTimeout))
	defer cancel()
	idle := fleet.Idle()
	if err := fleet.Watch(settled, func(scrapes []e2e.Scrape) bool {
		done, parked := fleet.Done(scrapes)
		progress.draw(done, parked, scrapes)
		return idle(scrapes) && sent.Load()
	}); err != nil {
		return err
	}
	progress.end()
	seeding.Wait()
	if seedErr != nil {
		return seedErr
	}
	say("stopping both projectors")
	if err := fleet.Stop(ctx); err != nil {
		return err
	}

	say("comparing every row with the oracle")
	oracle := shop.NewOracle(orders.Events(), seeded.Acknowledged)
	result, err := s.site.Account(ctx, oracle)
	if err != nil {
		return err
	}
	for _, difference := range result.Differences {
		fmt.Println("  " + difference)
	}
	if err := show(ctx, s, oracle); err != nil {
		return err
	}
	fmt.Printf("demo: events=%d applied=%d parked=%d lost=%d rows=%d mismatched=%d restarted=%d seconds=%.0f\n",
		result.Events, result.Applied, result.Parked, result.Lost, result.Rows, result.Mismatched, restarted, time.Since(s.started).Seconds())
	if !result.Right() || result.Parked == 0 {
		return fmt.Errorf("something is lost or wrong: %+v", result.Account)
	}
	return nil
}

// reshard splits every shard and merges two, and waits until the daemons share what is open then.
func reshard(ctx context.Context, s *stage, fleet *e2e.Fleet) (err error) {
	before := fleet.Shards
	if fleet.Shards, err = s.site.SplitAll(ctx); err != nil {
		return err
	}
	say("%d shards are split into %d", before, fleet.Shards)
	if fleet.Shards, err = s.site.MergeFirst(ctx); err != nil {
		return err
	}
	say("two of them are merged: %d are open", fleet.Shards)
	if err := fleet.AwaitBalance(ctx); err != nil {
		return err
	}
	say("the projectors have read the old ones to their ends, and share the new ones")
	return nil
}

// crash kills a daemon, waits until the survivor reads its shards, and starts it again.
func crash(ctx context.Context, fleet *e2e.Fleet) error {
	victim := fleet.Running()[1]
	killed := time.Now()
	orphans, err := fleet.Crash(ctx, victim)
	if err != nil {
		return err
	}
	say("kill -9 of %s (pid %d), which followed %d shards", victim.Name, victim.PID(), len(orphans))
	for _, shard := range orphans {
		taken, err := fleet.AwaitReader(ctx, shard, killed)
		if err != nil {
			return err
		}
		say("%s reads %s %.1f s after the kill", fleet.Running()[0].Name, shard, taken.Sub(killed).Seconds())
	}
	say("starting %s again", victim.Name)
	if _, err := fleet.Start(ctx, victim.Name+"-again"); err != nil {
		return err
	}
	return fleet.AwaitBalance(ctx)
}

// indent puts spaces before every line.
func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}
