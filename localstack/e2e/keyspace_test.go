package e2e

import (
	"strings"
	"testing"
	"time"

	"penstock/localstack/stacktest"
)

// A keyspace that is dropped under a daemon is no record's fault and does not pass: the daemon stops and says what is
// missing, parks nothing, and keeps the checkpoint it had.
func TestADroppedKeyspaceStopsTheDaemonAndKeepsTheCheckpoint(t *testing.T) {
	stacktest.Require(t)
	const shards = 2
	s := site(t, shards, nil, "PENSTOCK_LEASES_FAILOVER=3s") // commits once a second
	setup(t, s)
	ctx := within(t, 90*time.Second, "the end of a daemon that lost its keyspace")
	stop := flow(t, ctx, s, orders(t, 5000, 22, 0), 300)
	defer stop()
	d, err := s.Start(ctx, "only")
	if err != nil {
		t.Fatal(err)
	}
	fleet := &Fleet{Site: s, Shards: shards, running: []*Daemon{d}}
	defer fleet.Kill()
	if err := fleet.Watch(ctx, func([]Scrape) bool {
		rows := leases(t, s)
		return len(rows) == shards && rows[shardName(0)].checkpoint != "" && rows[shardName(1)].checkpoint != ""
	}); err != nil {
		t.Fatal(err)
	}
	before := leases(t, s)
	s.cql(t, "DROP KEYSPACE %s")
	code, err := d.Exit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	entries := d.Entries()
	if last := entries[len(entries)-1].Raw; !strings.Contains(last, "the keyspace does not exist") {
		t.Errorf("its last word: %s", last)
	}
	for letter, err := range s.Letters(ctx) {
		t.Errorf("parked: %+v, %v", letter, err)
	}
	for shard, l := range leases(t, s) {
		if l.owner != "" || compare(l.checkpoint, before[shard].checkpoint) < 0 {
			t.Errorf("%s has owner %q and checkpoint %s, was %s", shard, l.owner, l.checkpoint, before[shard].checkpoint)
		}
	}
}
