package e2e

import (
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

// Three rounds of what make prove P=crash does, and one with a view that is not of orders.
func TestNothingIsLostWhenADaemonIsKilled(t *testing.T) {
	stacktest.Require(t)
	for round := range uint64(3) {
		t.Run(fmt.Sprintf("seed=%d", round), func(t *testing.T) { crashOrders(t, round) })
	}
	t.Run("another view", func(t *testing.T) { crashRound(t, newStockWorkload(4, 3000), 4) })
}

func crashOrders(t *testing.T, round uint64) {
	crashRound(t, newOrderWorkload(t, 800, round, 0.02), round)
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
		t.Run(fmt.Sprintf("seed=%d", round), func(t *testing.T) { crashOrders(t, round) })
	}
}

// crashRound lets two daemons follow a stream that is being filled, kills one at a moment that seed picks, starts it
// again, and compares every row.
func crashRound(t *testing.T, w workload, seed uint64) {
	const shards = 4
	random := rand.New(rand.NewPCG(seed, 205))
	s := site(t, shards, nil, "PENSTOCK_LEASES_FAILOVER="+failover.String(), "PENSTOCK_VIEW_NAME="+w.view())
	setup(t, s)
	moment := random.IntN(w.records())

	ctx := within(t, 3*time.Minute, "crash round")
	fleet := &Fleet{Site: s, Shards: shards}
	defer fleet.Kill()
	for _, name := range []string{"a", "b"} {
		if _, err := fleet.Start(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if random.IntN(3) > 0 { // else the crash may fall into the sharing
		if err := fleet.AwaitBalance(ctx); err != nil {
			t.Fatal(err)
		}
	}
	crashed := make(chan error, 1)
	var orphans []string
	var killed time.Time
	choice := random.IntN(2)
	go func() {
		err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
			if len(scrapes[choice].Lag) == 0 { // it has nothing yet to be killed over
				choice = 1 - choice
			}
			done, _ := fleet.Done(scrapes)
			return done >= moment && len(scrapes[choice].Lag) > 0
		})
		if err == nil {
			killed = time.Now()
			orphans, err = fleet.Crash(ctx, fleet.Running()[choice])
		}
		crashed <- err
	}()
	if err := w.put(ctx, s, 2000); err != nil {
		t.Fatal(err)
	}
	if err := <-crashed; err != nil {
		t.Fatal(err)
	}
	var slowest time.Duration
	for _, shard := range orphans {
		taken, err := fleet.AwaitReader(ctx, shard, killed)
		if err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, taken.Sub(killed))
	}
	if _, err := fleet.Start(ctx, "again"); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("crash: seed=%d killed=%c at=%d/%d shards=%d takeover=%.1fs %s",
		seed, 'a'+rune(choice), moment, w.records(), len(orphans), slowest.Seconds(), w.check(t, s))
}
