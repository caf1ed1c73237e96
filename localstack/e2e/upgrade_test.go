package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/localstack/shop"
)

// A release that does not know the second schema version parks its events and nothing else but the damaged ones; once a
// release that does has redriven them, and the shop has sent corrected events, the rows are as if nothing had ever been parked.
func TestAnUpgradeAppliesWhatTheReleaseBeforeParked(t *testing.T) {
	t.Parallel()
	s := site(t, 2, nil)
	setup(t, s)
	old := filepath.Join(folder, "old")
	if err := os.MkdirAll(old, 0o755); err != nil {
		t.Fatal(err)
	}
	before, err := Build(t.Context(), old, "-pgo=off", "-tags=without_placed_v2")
	if err != nil {
		t.Fatal(err)
	}
	current := s.binary
	// Few enough of the second version that its letters are no reason to stop a shard.
	generator, err := shop.New(shop.Config{Seed: 12, Orders: 400, Now: time.Now(), DamagedShare: 0.01, DuplicateShare: 0.02, DisplacedShare: 0.05, PlacedV2Share: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	oracle := seed(t, s, generator, 0)

	run := func(binary, name string) {
		t.Helper()
		s.binary = binary
		fleet := &Fleet{Site: s, Shards: 2}
		defer fleet.Kill()
		ctx := within(t, time.Minute, name)
		if _, err := fleet.Start(ctx, name); err != nil {
			t.Fatal(err)
		}
		if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
			t.Fatal(err)
		}
		if err := fleet.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	account := func(stage shop.Stage) shop.Account {
		t.Helper()
		result, err := s.AccountAt(t.Context(), oracle, stage)
		if err != nil {
			t.Fatal(err)
		}
		if result.Mismatched > 0 || result.Lost > 0 || result.Strangers > 0 {
			t.Errorf("%s: %+v\n%s", stage, result.Account, strings.Join(result.Differences, "\n"))
		}
		return result.Account
	}

	run(before, "before")
	parked := oracle.Parked(shop.BeforeUpgrade)
	if a := account(shop.BeforeUpgrade); a.Parked != parked || a.Both != 0 || parked < 2*oracle.Damaged() {
		t.Errorf("%d of %d letters, %d of them of damaged events: %+v", a.Parked, parked, oracle.Damaged(), a)
	}

	if _, err := shop.Seed(t.Context(), s.Kinesis(), s.Name, generator.Corrections(), shop.Options{}); err != nil {
		t.Fatal(err)
	}
	run(current, "current")
	ctx := within(t, time.Minute, "a redrive")
	redrive := []string{"dlq", "redrive", "--since", "1h", "--code", "unknown_schema_version", "--run", "-o", "json"}
	out, err := s.Replay(ctx, redrive...)
	var report struct{ Redriven, Failed int }
	if err := errors.Join(err, json.Unmarshal([]byte(out), &report)); err != nil || report.Redriven != parked-oracle.Damaged() || report.Failed != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if out, err := s.Replay(ctx, redrive...); err != nil || !strings.Contains(out, `"selected":0`) {
		t.Errorf("a redrive of what is closed: %s, %v", out, err)
	}
	if a := account(shop.AfterRedrive); a.Parked != parked || a.Both != parked-oracle.Damaged() || a.Corrected != oracle.Damaged() {
		t.Errorf("%d letters, %d of damaged events: %+v", parked, oracle.Damaged(), a)
	}
}
