package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/localstack/stacktest"
)

// A daemon that is kept to a rate reads its backlog at that rate, and as fast as it can once SIGHUP has told it so.
func TestTheRateCapIsChangedWhileTheDaemonRuns(t *testing.T) {
	stacktest.Require(t)
	const shards, perSecond = 4, 40
	s := site(t, shards, nil)
	setup(t, s)
	file := filepath.Join(t.TempDir(), "penstock.yaml")
	limit := func(perSecond int) {
		t.Helper()
		if err := os.WriteFile(file, fmt.Appendf(nil, "pressure:\n  max_records_per_second: %d\n", perSecond), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	limit(perSecond)
	ctx := within(t, 3*time.Minute, "change the rate cap")
	oracle := seed(t, s, orders(t, 400, 8, 0.01), 0)
	d, err := s.Start(ctx, "a", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	fleet := &Fleet{Site: s, Shards: shards, running: []*Daemon{d}}
	defer fleet.Kill()
	readAtLeast := func(n int64) (int64, time.Time) {
		t.Helper()
		var read int64
		err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
			read = scrapes[0].Read
			return read >= n
		})
		if err != nil {
			t.Fatal(err)
		}
		return read, time.Now()
	}
	first, began := readAtLeast(1)
	second, ended := readAtLeast(first + 6*perSecond)
	rate := float64(second-first) / ended.Sub(began).Seconds()
	t.Logf("%d records in %s: %.1f a second", second-first, ended.Sub(began).Round(time.Millisecond), rate)
	if rate > 1.2*perSecond || rate < 0.7*perSecond {
		t.Errorf("%.1f records a second were read at a cap of %d", rate, perSecond)
	}

	limit(0)
	if err := d.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	reloaded, err := d.Await(ctx, func(e Entry) bool { return e.Message == "configuration reloaded" })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(reloaded.Raw, `"applied":["pressure.max_records_per_second"]`) {
		t.Errorf("the daemon said %s", reloaded.Raw)
	}
	finish(t, ctx, fleet, oracle)
	t.Logf("all done %s later", time.Since(reloaded.Time).Round(100*time.Millisecond))
}
