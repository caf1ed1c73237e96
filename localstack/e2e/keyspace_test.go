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
	t.Parallel()
	stacktest.Require(t)
	ctx := within(t, 90*time.Second, "the end of a daemon that lost its keyspace")
	s, d, stop, before := daemonWithCommits(t, ctx, orders(t, 5000, 22, 0), 300)

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
