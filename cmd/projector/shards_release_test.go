package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
	"penstock/cmd/internal/cli"
)

func releasing(t *testing.T, row checkpoint.Row) (releaser, *storetest.Memory, *storetest.Items) {
	t.Helper()
	memory, items := &storetest.Memory{}, &storetest.Items{}
	if err := memory.Plant(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	return releaser{shard: shelfShard, leases: memory, state: items, role: "projector-g1", now: time.Now,
		by: "ann@bastion", reason: "test", wait: time.Minute}, memory, items
}

func TestAReleaseWaitsForTheNextOwner(t *testing.T) {
	for name, c := range map[string]struct {
		freed, taken time.Duration // 0: never
		next         string
		code         int
		says         string
	}{
		"another takes it":       {5 * time.Second, 5900 * time.Millisecond, "b", cli.ExitOK, "had a, has b now, after 6s"},
		"the same takes it":      {5 * time.Second, 7 * time.Second, "a", cli.ExitOK, "no other daemon took it"},
		"nobody takes it":        {5 * time.Second, 0, "", cli.ExitOK, "nobody has taken it yet"},
		"the drain does not end": {0, 0, "", cli.ExitDrainPartial, "a still has"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, memory, items := releasing(t, heldRow("a", "1001", 8*time.Second))
				plant := func(after time.Duration, owner string) {
					if after > 0 {
						row := heldRow(owner, "1002", 8*time.Second)
						row.Owner = owner
						time.AfterFunc(after, func() { _ = memory.Plant(context.Background(), row) }) // never fails
					}
				}
				plant(c.freed, "")
				plant(c.taken, c.next)
				report, err := r.release(t.Context())
				if exitCode(err) != c.code {
					t.Fatalf("%+v, %v", report, err)
				}
				text := report.text()
				if err != nil {
					text = err.Error()
				}
				if !strings.Contains(text, c.says) {
					t.Error(text)
				}
				wishes, err := items.Query(t.Context(), "projector-g1#worker")
				if wish := wishes["release "+shelfShard]; err != nil || wish["from"] != "a" || wish["by"] != "ann@bastion" || wish["reason"] != "test" {
					t.Errorf("%v %v", wishes, err)
				}
			})
		})
	}
}

func TestAReleaseNeedsAnOwnerThatHeedsIt(t *testing.T) {
	foreign := checkpoint.Row{Shard: shelfShard, Owner: "v", Timeout: time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano)}
	for says, row := range map[string]checkpoint.Row{
		"read to its end":        {Shard: shelfShard, Checkpoint: checkpoint.ShardEnd},
		"nobody holds":           {Shard: shelfShard},
		"no longer renews":       heldRow("a", "1001", -time.Minute),
		"a worker of another ma": foreign,
	} {
		r, _, items := releasing(t, row)
		if _, err := r.release(t.Context()); exitCode(err) != cli.ExitRefused || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
		if wishes, err := items.Query(t.Context(), "projector-g1#worker"); err != nil || len(wishes) > 0 {
			t.Errorf("%s: %v %v", says, wishes, err)
		}
	}
}
