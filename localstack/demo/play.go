package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
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
	fleet := &fleet{total: total}
	defer fleet.kill()
	for _, name := range []string{"north", "south"} {
		if err := fleet.start(ctx, s.site, name); err != nil {
			return err
		}
	}
	say("two projectors share %d shards", shards)
	if err := fleet.balanced(ctx); err != nil {
		return err
	}

	say("%d orders become %d records in the stream", o.orders, total)
	var seeding sync.WaitGroup
	var seeded shop.Seeded
	var seedErr error
	seeding.Go(func() {
		seeded, seedErr = shop.Seed(ctx, s.site.Kinesis(), s.site.Name, orders.Events(), shop.Options{Rate: seedRate})
	})
	defer seeding.Wait()

	if err := fleet.watch(ctx, func() bool { return fleet.done() >= total/2 }); err != nil {
		return err
	}
	if err := fleet.crash(ctx, s.site); err != nil {
		return err
	}
	seeding.Wait()
	if seedErr != nil {
		return seedErr
	}
	settled, cancel := context.WithTimeoutCause(ctx, settleTimeout, fmt.Errorf("not settled after %s", settleTimeout))
	defer cancel()
	if err := fleet.watch(settled, fleet.idle()); err != nil {
		return err
	}
	say("stopping both projectors")
	if err := fleet.stop(ctx); err != nil {
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
		result.Events, result.Applied, result.Parked, result.Lost, result.Rows, result.Mismatched, fleet.restarted, time.Since(s.started).Seconds())
	if !result.Right() || result.Parked == 0 {
		return fmt.Errorf("something is lost or wrong: %+v", result.Account)
	}
	return nil
}

// fleet is the daemons of the demo.
type fleet struct {
	total     int
	daemons   []*e2e.Daemon
	before    int // records done by daemons that are gone
	restarted int
	bar       bar
}

func (f *fleet) start(ctx context.Context, site *e2e.Site, name string) error {
	d, err := site.Start(ctx, name)
	if err != nil {
		return err
	}
	f.daemons = append(f.daemons, d)
	return nil
}

// balanced waits until each daemon follows an equal share of the shards.
func (f *fleet) balanced(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("the projectors did not share the shards within a minute"))
	defer cancel()
	for {
		even := true
		for _, d := range f.daemons {
			scrape, err := d.Scrape(ctx)
			even = even && err == nil && len(scrape.Lag) == shards/len(f.daemons)
		}
		if even {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// crash kills a daemon, waits until the survivor reads its shards, and starts it again.
func (f *fleet) crash(ctx context.Context, site *e2e.Site) error {
	victim, survivor := f.daemons[1], f.daemons[0]
	last, err := victim.Scrape(ctx)
	if err != nil {
		return err
	}
	f.bar.clear()
	say("kill -9 of %s (pid %d), which follows %d shards", victim.Name, victim.PID(), len(last.Lag))
	killed := time.Now()
	if err := victim.Kill(); err != nil {
		return err
	}
	f.daemons = f.daemons[:1]
	f.before += int(last.Applied + last.Parked)
	for shard := range last.Lag {
		taken, err := survivor.Await(ctx, func(e e2e.Entry) bool {
			return e.Message == "shard starts" && e.Shard == shard && e.Time.After(killed)
		})
		if err != nil {
			return err
		}
		say("%s reads %s %.1f s after the kill", survivor.Name, shard, taken.Time.Sub(killed).Seconds())
	}
	f.restarted++
	say("starting %s again", victim.Name)
	if err := f.start(ctx, site, victim.Name+"-again"); err != nil {
		return err
	}
	return f.balanced(ctx)
}

// done is how many records have an outcome, as far as the daemons have told.
func (f *fleet) done() int {
	n := f.before
	for _, s := range f.bar.scrapes {
		n += int(s.Applied + s.Parked)
	}
	return n
}

// watch shows progress until done.
func (f *fleet) watch(ctx context.Context, done func() bool) error {
	defer f.bar.clear()
	for {
		f.bar.scrapes = f.bar.scrapes[:0]
		for _, d := range f.daemons {
			scrape, err := d.Scrape(ctx)
			if err != nil {
				return err
			}
			if !scrape.Conserved() {
				return fmt.Errorf("%s does not account for every record: %+v", d.Name, scrape)
			}
			f.bar.scrapes = append(f.bar.scrapes, scrape)
		}
		f.bar.draw(f.done(), f.total)
		if done() {
			return nil
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
}

// idle is done when for two seconds every shard was followed, none was behind, and nothing was in flight.
func (f *fleet) idle() func() bool {
	var since time.Time
	return func() bool {
		followed, quiet := 0, true
		for _, s := range f.bar.scrapes {
			behind, _ := s.Behind(len(s.Lag))
			followed += len(s.Lag)
			quiet = quiet && behind == 0 && s.InFlight == 0
		}
		if followed != shards || !quiet {
			since = time.Time{}
			return false
		}
		if since.IsZero() {
			since = time.Now()
		}
		return time.Since(since) > 2*time.Second
	}
}

func (f *fleet) stop(ctx context.Context) error {
	for _, d := range f.daemons {
		if err := d.Stop(ctx); err != nil {
			return err
		}
	}
	f.daemons = nil
	return nil
}

// kill ends what is left after a failure.
func (f *fleet) kill() {
	for _, d := range f.daemons {
		_ = d.Kill()
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// indent puts spaces before every line.
func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}
