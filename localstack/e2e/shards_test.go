package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"penstock/localstack/stacktest"
)

// listed is what `projector shards list -o json` prints, as far as the test below wants to know it.
type listed struct {
	Version int
	Shards  []listedShard
}

type listedShard struct {
	Shard, State, Owner, Checkpoint string

	Lag *struct {
		Millis int64 `json:"ms"`
		Stale  bool
	}
	Pause *struct {
		By, Reason string
		Confirmed  bool
	}
	Trip *struct{ Why, Code, Fingerprint, Sequence, Worker, Command string }
	Lift *struct{ By, Reason string }
}

func listShards(t *testing.T, ctx context.Context, s *Site) map[string]listedShard {
	t.Helper()
	out, err := s.Projector(ctx, "shards", "list", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list listed
	if err := json.Unmarshal([]byte(out), &list); err != nil || list.Version != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	shards := map[string]listedShard{}
	for _, s := range list.Shards {
		shards[s.Shard] = s
	}
	return shards
}

// awaitShards lists until every shard is as wanted.
func awaitShards(t *testing.T, ctx context.Context, s *Site, what string, wanted func(listedShard) bool) map[string]listedShard {
	t.Helper()
	for {
		shards, all := listShards(t, ctx, s), true
		for _, shard := range shards {
			all = all && wanted(shard)
		}
		if all {
			return shards
		}
		if err := pause(ctx, poll); err != nil {
			t.Fatalf("%s: %v: %+v", what, err, shards)
		}
	}
}

// One shard of a running fleet is paused: it alone stands still, also after a restart of the whole fleet, and goes on
// when it is resumed. The list says so at every step, whether daemons run or not.
func TestAPausedShardStandsStillUntilItIsResumed(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	const shards = 4
	s := site(t, shards, nil, "PENSTOCK_LEASES_FAILOVER="+failover.String())
	setup(t, s)
	ctx := within(t, 3*time.Minute, "pause and resume")
	for id, shard := range listShards(t, ctx, s) {
		if shard.State != "free" || shard.Owner != "" || shard.Lag != nil {
			t.Errorf("%s before the first daemon: %+v", id, shard)
		}
	}
	fleet := balanced(t, ctx, s, shards, "a", "b")
	fresh := func(shard listedShard) bool { return shard.Lag != nil && !shard.Lag.Stale && shard.Lag.Millis == 0 }
	running := awaitShards(t, ctx, s, "all shards are read", func(shard listedShard) bool { return shard.State == "reading" && fresh(shard) })
	if len(running) != shards {
		t.Fatalf("%d shards are listed: %+v", len(running), running)
	}

	_, err := s.Projector(ctx, "shards", "pause", "shardId-4711", "--for", "10m", "--reason", "mistaken")
	const still = "shardId-000000000001"
	if err == nil || !strings.Contains(err.Error(), "exit status 2") || !strings.Contains(err.Error(), still) {
		t.Errorf("pausing a shard that is not there: %v", err)
	}
	asked := time.Now()
	if _, err := s.Projector(ctx, "shards", "pause", still, "--for", "10m", "--reason", "repair of rack 2"); err != nil {
		t.Fatal(err)
	}
	paused := func(shard listedShard) bool {
		if shard.Shard != still {
			return shard.State == "reading" && shard.Pause == nil
		}
		return shard.State == "paused" && shard.Pause != nil && shard.Pause.Confirmed
	}
	before := awaitShards(t, ctx, s, "the pause is confirmed", paused)
	t.Logf("confirmed after %.1fs", time.Since(asked).Seconds())
	if p := before[still].Pause; p.Reason != "repair of rack 2" || !strings.Contains(p.By, "@") {
		t.Errorf("the list says %+v", p)
	}

	oracle := seed(t, s, orders(t, 300, 7, 0.02), 0)
	stands := func(shard listedShard) bool {
		if shard.Shard == still {
			return paused(shard) && shard.Checkpoint == before[still].Checkpoint
		}
		return paused(shard) && fresh(shard) && shard.Checkpoint != before[shard.Shard].Checkpoint
	}
	awaitShards(t, ctx, s, "the other shards go on", stands)
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for id, shard := range listShards(t, ctx, s) {
		if shard.Owner != "" || (shard.Pause != nil) != (id == still) {
			t.Errorf("%s without a daemon: %+v", id, shard)
		}
	}
	again, err := fleet.Start(ctx, "again")
	if err != nil {
		t.Fatal(err)
	}
	said := func(message string) func(Entry) bool {
		return func(e Entry) bool { return e.Message == message && e.Shard == still }
	}
	if _, err := again.Await(ctx, said("shard is paused")); err != nil {
		t.Fatal(err)
	}
	after := awaitShards(t, ctx, s, "the next owner honours the pause", paused)
	if got, want := after[still].Checkpoint, before[still].Checkpoint; got != want {
		t.Errorf("%s was read from %q to %q while it was paused", still, want, got)
	}

	if _, err := s.Projector(ctx, "shards", "resume", still); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Await(ctx, said("shard resumes")); err != nil {
		t.Fatal(err)
	}
	finish(t, ctx, fleet, oracle)
}
