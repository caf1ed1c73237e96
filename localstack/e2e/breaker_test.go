package e2e

import (
	"strings"
	"testing"
	"time"

	"penstock/localstack/stacktest"
)

// Every event is poison, as under a release that understands none. Each shard stops after a bounded number of letters, says
// why and what lifts that, and a daemon that comes later reads nothing. Lifted, every event gets its letter.
func TestABreakerStopsAFleetThatUnderstandsNothing(t *testing.T) {
	stacktest.Require(t)
	const shards, bound = 2, 99 // of each shard: one less than the records that must have been seen
	s := site(t, shards, nil, "PENSTOCK_LEASES_FAILOVER="+failover.String(), "PENSTOCK_DEAD_LETTERS_BREAKER_RECORDS=100")
	setup(t, s)
	ctx := within(t, time.Minute, "trip and lift")
	oracle := seed(t, s, orders(t, 150, 29, 1), 0)
	fleet := &Fleet{Site: s, Shards: shards}
	defer fleet.Kill()
	if _, err := fleet.Start(ctx, "first"); err != nil {
		t.Fatal(err)
	}
	tripped := func(shard listedShard) bool {
		return shard.State == "tripped" && shard.Trip != nil && shard.Owner != ""
	}
	before := awaitShards(t, ctx, s, "the breakers trip", tripped)
	for id, shard := range before {
		if want := "projector shards resume " + id + " --letters --for 1h --reason TEXT"; shard.Trip.Command != want || !strings.Contains(shard.Trip.Why, "letters") {
			t.Errorf("%s: %+v, want the command %s", id, shard.Trip, want)
		}
	}
	parked := 0
	for letter, err := range s.Letters(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		for _, shard := range before {
			if strings.Contains(letter.Key, "."+shard.Trip.Sequence+".") {
				t.Errorf("the record that tripped the breaker has a letter: %s", letter.Key)
			}
		}
		parked++
	}
	if parked == 0 || parked > shards*bound {
		t.Errorf("%d letters, want %d at most", parked, shards*bound)
	}
	if err := fleet.Stop(ctx); err != nil { // which waits for no lift
		t.Fatal(err)
	}
	stopped := listShards(t, ctx, s)

	second, err := fleet.Start(ctx, "second")
	if err != nil {
		t.Fatal(err)
	}
	for id, shard := range awaitShards(t, ctx, s, "the next owner honours the trips", tripped) {
		if _, err := second.Await(ctx, func(e Entry) bool {
			return e.Shard == id && e.Message == "the breaker has tripped before, the shard stands still"
		}); err != nil {
			t.Fatal(err)
		}
		if *shard.Trip != *before[id].Trip || shard.Checkpoint != stopped[id].Checkpoint || stopped[id].Owner != "" {
			t.Errorf("%s: %+v, was %+v without a daemon", id, shard, stopped[id])
		}
	}
	scrape, err := second.Scrape(ctx)
	if err != nil || scrape.Read != 0 {
		t.Errorf("the next owner read %d records, %v", scrape.Read, err)
	}
	_, page, err := second.Get(ctx, "/metrics")
	if err != nil || strings.Count(string(page), `state="tripped"} 1`) != shards {
		t.Errorf("%v: the metrics do not say that %d shards have tripped", err, shards)
	}

	out, err := s.Projector(ctx, "shards", "resume", "--all", "--letters", "--for", "10m", "--reason", "they are all damaged")
	if err != nil || !strings.HasPrefix(out, "all shards: the breaker is lifted until ") || !strings.HasSuffix(strings.TrimSpace(out), "; 2 had tripped") {
		t.Fatal(out, err)
	}
	for id, shard := range awaitShards(t, ctx, s, "the lift is honoured", func(shard listedShard) bool { return shard.State == "reading" }) {
		if shard.Trip != nil || shard.Lift == nil || shard.Lift.Reason != "they are all damaged" || !strings.Contains(shard.Lift.By, "@") {
			t.Errorf("%s: %+v", id, shard)
		}
	}
	finish(t, ctx, fleet, oracle)
}
