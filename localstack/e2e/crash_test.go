package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"penstock/localstack/stacktest"
)

// failover in the rounds of the crash proof.
const failover = 3 * time.Second

// Five rounds of what make prove P=crash does, which together have all of its troubles, and one with a view that is not
// of orders.
func TestNothingIsLostWhenADaemonIsKilled(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	for i, x := range []trouble{
		{},
		{freeze: true, reshard: true},
		{spread: true, clock: 2 * time.Minute},
		{freeze: true, aggregated: true, throttled: true},
		{reshard: true, aggregated: true, clock: -2 * time.Minute, throttled: true},
	} {
		t.Run(x.String(), func(t *testing.T) {
			t.Parallel()
			crashOrders(t, x, uint64(i))
		})
	}
	t.Run("another view", func(t *testing.T) {
		t.Parallel()
		crashRound(t, newStockWorkload(4, 3000), trouble{}, 4)
	})
}

func crashOrders(t *testing.T, x trouble, seed uint64) {
	orders := newOrderWorkload(t, 800, seed, 0.02)
	if x.aggregated {
		crashRound(t, &aggregatedWorkload{orders, rand.New(rand.NewPCG(seed, 3))}, x, seed)
		return
	}
	crashRound(t, orders, x, seed)
}

// TestProve is what make prove runs: PROVE names the proof, RUNS the number of rounds, SEED the first.
func TestProve(t *testing.T) {
	proof := os.Getenv("PROVE")
	if proof == "" {
		t.Skip("a long proof: run through make prove P=crash RUNS=20")
	}
	if proof != "crash" {
		t.Fatalf("PROVE=%s: there is no such proof; there is crash", proof)
	}
	number := func(name string, otherwise uint64) uint64 {
		if os.Getenv(name) == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(os.Getenv(name), 10, 32)
		if err != nil {
			t.Fatalf("%s=%s: must be a number", name, os.Getenv(name))
		}
		return n
	}
	first, rounds := number("SEED", 1), number("RUNS", 20)
	for round := first; round < first+rounds; round++ {
		x := drawTrouble(rand.New(rand.NewPCG(round, 1205)))
		if !t.Run(fmt.Sprintf("seed=%d", round), func(t *testing.T) { crashOrders(t, x, round) }) {
			t.Fatalf("again: make prove P=crash RUNS=1 SEED=%d; to go on after it: RUNS=%d SEED=%d", round, first+rounds-round-1, round+1)
		}
	}
}

// crashRound lets two daemons follow a stream that is being filled, harms one at a moment that seed picks, amid other
// trouble, lets it come back, and compares every row.
func crashRound(t *testing.T, w workload, x trouble, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 205))
	s := site(t, 0, nil, "PENSTOCK_LEASES_FAILOVER="+failover.String(), "PENSTOCK_VIEW_NAME="+w.view())
	ctx := within(t, 4*time.Minute, "crash round")
	shards, err := x.createStream(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	setup(t, s)
	moment := random.IntN(w.records())

	fleet := &Fleet{Site: s, Shards: shards}
	defer fleet.Kill()
	dynamo, refused := x.dynamo(t, s)
	if _, err := fleet.startWith(ctx, "a", dynamo); err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.Start(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if random.IntN(3) > 0 { // else the crash may fall into the sharing
		if err := fleet.AwaitBalance(ctx); err != nil {
			t.Fatal(err)
		}
	}
	choice := random.IntN(2)
	harmed := make(chan error, 1)
	var orphans []string
	var at time.Time
	var thaw func() error
	go func() {
		harmed <- func() error {
			if err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
				if len(scrapes[choice].Lag) == 0 { // it has nothing yet to be killed over
					choice = 1 - choice
				}
				done, _ := fleet.Done(scrapes)
				return done >= moment && len(scrapes[choice].Lag) > 0
			}); err != nil {
				return err
			}
			var err error
			if fleet.Shards, err = x.stir(ctx, s, shards); err != nil {
				return err
			}
			at = time.Now()
			orphans, thaw, err = x.harm(ctx, fleet, fleet.Running()[choice])
			return err
		}()
	}()
	if err := w.put(ctx, s, 2000); err != nil {
		t.Fatal(err)
	}
	if err := <-harmed; err != nil {
		t.Fatal(err)
	}
	slowest := takeOver(ctx, t, fleet, orphans, at, x)
	if err := thaw(); err != nil {
		t.Fatal(err)
	}
	if !x.freeze {
		if _, err := fleet.Start(ctx, "again"); err != nil {
			t.Fatal(err)
		}
	}
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if x.throttled && refused.Load() == 0 {
		t.Error("no write of a lease was refused")
	}
	t.Logf("crash: seed=%d trouble=%q harmed=%c at=%d/%d shards=%d takeover=%.1fs refused=%d %s",
		seed, x, 'a'+rune(choice), moment, w.records(), len(orphans), slowest.Seconds(), refused.Load(), w.check(t, s))
}

// takeOver waits until the others read the shards of a daemon that was harmed, and returns how long the last one took. A
// shard that was split or merged may have been at its end already, and those that follow on it are others.
func takeOver(ctx context.Context, t *testing.T, fleet *Fleet, orphans []string, harmed time.Time, x trouble) (slowest time.Duration) {
	t.Helper()
	if x.reshard {
		return 0
	}
	for _, shard := range orphans {
		taken, err := fleet.AwaitReader(ctx, shard, harmed)
		if err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, taken.Sub(harmed))
	}
	return slowest
}
