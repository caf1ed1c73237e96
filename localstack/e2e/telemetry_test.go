package e2e

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Read by the plain driver, not through sink/cassandra.
const selectProgress = "SELECT shard, settled_through FROM %s.view_progress WHERE name = 'order' AND generation = 1"

// What a running daemon tells: its metrics are those of the page, readers of the view learn that it has caught up, and
// its last line accounts for everything.
func TestADaemonTellsHowFreshTheViewIs(t *testing.T) {
	t.Parallel()
	const shards = 3
	s := site(t, shards, nil)
	setup(t, s)
	ctx := within(t, 2*time.Minute, "a fresh view")
	fleet := &Fleet{Site: s, Shards: shards}
	defer fleet.Kill()
	daemon, err := fleet.Start(ctx, "only")
	if err != nil {
		t.Fatal(err)
	}
	oracle := seed(t, s, orders(t, 200, 7, 0.02), 0)
	seeded := time.Now()
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	check(t, s, oracle)

	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for fresh := 0; fresh < shards; {
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		fresh = 0
		var shard string
		var through time.Time
		rows := session.Query(fmt.Sprintf(selectProgress, s.Name)).Iter()
		for rows.Scan(&shard, &through) {
			if through.After(time.Now()) {
				t.Errorf("%s is settled through %v, which is to come", shard, through)
			}
			if through.After(seeded) {
				fresh++
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}

	_, answer, err := daemon.Get(ctx, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader(answer)).Lint()
	if err != nil {
		t.Errorf("the answer cannot be parsed: %v", err)
	}
	for _, p := range problems {
		if p.Metric != "aws_kinesis_client_consumer_lag_duration_milliseconds" { // the KCL's name
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(answer))
	if err != nil {
		t.Fatal(err)
	}
	runtime := regexp.MustCompile("^(go|process|promhttp|target)_")
	for name := range families {
		if !runtime.MatchString(name) && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("%s is not in docs/metrics.md", name)
		}
	}
	for _, name := range []string{"penstock_view_freshness_seconds", "penstock_view_watermark_age_seconds", "penstock_freshness_checks_total", "penstock_dlq_written_total"} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}

	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	last, err := daemon.Await(ctx, func(e Entry) bool { return e.Message == "stopped" })
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"why":"asked to"`, `"leases_released":"3 of 3"`, `"abandoned":0`} {
		if !strings.Contains(last.Raw, part) {
			t.Errorf("the last line lacks %s: %s", part, last.Raw)
		}
	}
}
