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

// A daemon that is kept to a rate reads its backlog at that rate, and as fast as it can once SIGHUP has told it so. What it
// measures others would disturb, so it runs alone.
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

// Target and bounds of the writer change at SIGHUP, as operators see it.
func TestTheWritersBoundsAreChangedWhileTheDaemonRuns(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	s := site(t, 1, nil)
	setup(t, s)
	file := filepath.Join(t.TempDir(), "penstock.yaml")
	configure := func(target string, least, most int) {
		t.Helper()
		text := fmt.Appendf(nil, "pressure:\n  target_latency: %s\n  min_requests_per_host: %d\n  max_requests_per_host: %d\n", target, least, most)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("300ms", 64, 64)
	ctx := within(t, 2*time.Minute, "change the writer's bounds")
	d, err := s.Start(ctx, "a", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	limits := func() (limit int, target float64) {
		t.Helper()
		for {
			page, err := d.Pressure(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Writer.Hosts) > 0 {
				return page.Writer.Hosts[0].Limit, page.Writer.Hosts[0].Target
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			}
		}
	}
	if limit, target := limits(); limit != 64 || target != 0.1 { // a third of the target of the 99th percentile
		t.Errorf("at start the limit is %d and the target %v s", limit, target)
	}
	configure("30ms", 2, 3)
	if err := d.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Await(ctx, func(e Entry) bool { return e.Message == "configuration reloaded" }); err != nil {
		t.Fatal(err)
	}
	for {
		limit, target := limits()
		if limit == 3 && target == 0.01 {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond): // the line comes before the change
		case <-ctx.Done():
			t.Fatalf("after SIGHUP the limit is %d and the target %v s", limit, target)
		}
	}
}
