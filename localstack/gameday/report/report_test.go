package report

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const metricsText = `# TYPE penstock_records_applied_total counter
penstock_records_applied_total %d
# TYPE aws_kinesis_client_consumer_lag_duration_milliseconds gauge
aws_kinesis_client_consumer_lag_duration_milliseconds{aws_kinesis_shard_id="a"} 1500
aws_kinesis_client_consumer_lag_duration_milliseconds{aws_kinesis_shard_id="b"} 4500
# TYPE db_client_operation_duration_seconds histogram
db_client_operation_duration_seconds_bucket{server_address="x",le="0.01"} 90
db_client_operation_duration_seconds_bucket{server_address="x",le="0.1"} 100
db_client_operation_duration_seconds_bucket{server_address="x",le="+Inf"} 100
db_client_operation_duration_seconds_count{server_address="x"} 100
db_client_operation_duration_seconds_sum{server_address="x"} 1
db_client_operation_duration_seconds_bucket{server_address="y",le="0.01"} 10
db_client_operation_duration_seconds_bucket{server_address="y",le="0.1"} 10
db_client_operation_duration_seconds_bucket{server_address="y",le="+Inf"} 10
db_client_operation_duration_seconds_count{server_address="y"} 10
db_client_operation_duration_seconds_sum{server_address="y"} 1
db_client_operation_duration_seconds_bucket{error_type="overload",server_address="y",le="0.01"} 0
db_client_operation_duration_seconds_bucket{error_type="overload",server_address="y",le="0.1"} 0
db_client_operation_duration_seconds_bucket{error_type="overload",server_address="y",le="+Inf"} 2
db_client_operation_duration_seconds_count{error_type="overload",server_address="y"} 2
db_client_operation_duration_seconds_sum{error_type="overload",server_address="y"} 6
`

func TestASampleSumsHostsAndKeepsClassesApart(t *testing.T) {
	s, err := ParseSample([]byte(strings.Replace(metricsText, "%d", "77", 1)), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Applied != 77 || s.HasDebt || s.Behind != 4500*time.Millisecond {
		t.Errorf("%+v", s)
	}
	if got, want := s.Attempts[""], (Histogram{[]float64{0.01, 0.1}, []float64{100, 110}, 110}); !cmp.Equal(got, want) {
		t.Errorf("successes: %s", cmp.Diff(want, got))
	}
	attempts, successes, errors := AttemptsBetween(Sample{}, s)
	if attempts != 112 || successes != 110 || !cmp.Equal(errors, map[string]float64{"overload": 2}) {
		t.Errorf("%v attempts, %v successes, %v", attempts, successes, errors)
	}
	with, err := ParseSample([]byte("# TYPE penstock_replica_debt_bytes gauge\npenstock_replica_debt_bytes{replica=\"a\"} 3\npenstock_replica_debt_bytes{replica=\"b\"} 4\n"), time.Time{})
	if err != nil || !with.HasDebt || with.Debt != 7 {
		t.Errorf("%+v, %v", with, err)
	}
}

func TestQuantilesAreInterpolated(t *testing.T) {
	h := Histogram{Bounds: []float64{1, 2, 4}, Counts: []float64{50, 100, 100}, Total: 110}
	for share, want := range map[float64]float64{0.25: 0.55, 0.75: 1.65, 0.99: 4} {
		if got := h.Quantile(share); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: %v, want %v", share, got, want)
		}
	}
	if got := (Histogram{}).Quantile(0.99); got != 0 {
		t.Errorf("of none: %v", got)
	}
}

func TestSecondsWithoutASampleGetTheMeanAroundThem(t *testing.T) {
	began := time.Now()
	at := func(s float64, applied float64) Sample {
		return Sample{At: began.Add(time.Duration(s * float64(time.Second))), Applied: applied}
	}
	rows, p99, debt := BySecond([]Sample{at(0, 0), at(1, 10), at(3, 50), at(4.1, 50)}, 2)
	if diff := cmp.Diff([]float64{20, 40, 40, 0}, rows); diff != "" || len(p99) != 4 || len(debt) != 0 {
		t.Errorf("%s p99 %v, debt %v", diff, p99, debt)
	}
}

func TestTheDrainEndsWhenNothingIsBehindAnyMore(t *testing.T) {
	began := time.Now()
	var samples []Sample
	for i, behind := range []time.Duration{0, 0, 9, 8, 1, 9, 0} {
		samples = append(samples, Sample{At: began.Add(time.Duration(i) * time.Second), Behind: behind * time.Second})
	}
	if got := DrainedAt(samples); got != 4 {
		t.Errorf("%d", got)
	}
	if got := DrainedAt(samples[:4]); got != 0 {
		t.Errorf("before it ended: %d", got)
	}
}

func TestARateIsSteadyWithinAFifth(t *testing.T) {
	for _, c := range []struct {
		name  string
		rates []float64
		after int
		ok    bool
	}{
		{"at once", []float64{100, 110, 90, 100, 100, 100}, 0, true},
		{"after a fall", []float64{1000, 10, 30, 85, 100, 100, 110, 100}, 3, true},
		{"one second near it is chance", []float64{0, 100, 0, 0, 100, 100, 100, 100, 100, 100}, 4, true},
		{"too short", []float64{100, 100, 100}, 0, false},
		{"nothing moves", make([]float64, 30), 0, false},
	} {
		if after, ok := Steady(c.rates); after != c.after || ok != c.ok {
			t.Errorf("%s: %d, %t", c.name, after, ok)
		}
	}
}

// run is a result with a fault from second 2 to 6.
func run(scenario int, writer string, rate float64) Result {
	r := Result{Scenario: scenario, Writer: writer, From: 2, To: 6, Attempts: 105, Successes: 100}
	for range 10 {
		r.Rows, r.P99 = append(r.Rows, rate), append(r.P99, 12)
	}
	return r
}

func TestGoalsFindWhatIsNotReached(t *testing.T) {
	best := Result{Scenario: 2, Writer: Fixed, Limits: map[int]Tried{4: {900, 50}, 8: {1000, 100}, 16: {1100, 101}}}
	owed := run(4, Daemon, 1000)
	owed.Debt, owed.Hints = []float64{0, 9 << 20, 100}, []int64{1 << 20, 11 << 20, 2 << 20}
	right := []Result{run(2, Daemon, 950), run(2, Naive, 50), best, owed}
	for _, g := range goals(right) {
		if !g.reached {
			t.Errorf("not reached: %+v", g)
		}
	}
	for name, spoil := range map[string]func(r *Result){
		"nothing lost":     func(r *Result) { r.Lost = 1 },
		"attempts":         func(r *Result) { r.Attempts = 120 },
		"best fixed limit": func(r *Result) { r.Rows = make([]float64, 10) },
		"contrast":         func(r *Result) { r.Rows = make([]float64, 10) },
	} {
		spoilt := append([]Result{}, right...)
		spoil(&spoilt[0])
		missed := 0
		for _, g := range goals(spoilt) {
			if strings.Contains(g.name, name) && !g.reached {
				missed++
			}
		}
		if missed != 1 {
			t.Errorf("%s: %d goals were missed", name, missed)
		}
	}
	owed.Debt[1] = 5 << 20
	if all := goals([]Result{owed}); all[len(all)-1].reached {
		t.Errorf("half the hints were not foretold: %+v", all)
	}
}

func TestTheReportGrowsOverSeveralCalls(t *testing.T) {
	dir := t.TempDir()
	if err := Render(dir); err == nil {
		t.Error("there is nothing to render")
	}
	for _, r := range []Result{run(2, Daemon, 1000), run(2, Naive, 10), run(2, Daemon, 3000), {Scenario: 2, Writer: Fixed, Limits: map[int]Tried{8: {100, 20}, 4: {200, 10}}}} {
		if err := Append(filepath.Join(dir, ResultsFile), r); err != nil {
			t.Fatal(err)
		}
		if err := Render(dir); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"| 2 one node frozen | 2 | 2000 (1000 to 3000) |", "| 2 one node frozen | 1 | 10 |", "4: 200 (10), 8: 100 (20)", "(scenario-2.svg)"} {
		if !strings.Contains(string(page), part) {
			t.Errorf("%q is not in\n%s", part, page)
		}
	}
	drawn, err := os.ReadFile(filepath.Join(dir, "scenario-2.svg"))
	if err != nil || strings.Count(string(drawn), "<polyline") != 6 {
		t.Errorf("%v: want two lines for each of three runs:\n%s", err, drawn)
	}
}

func TestNobodyAttemptsOrSucceeds(t *testing.T) {
	if got := (Result{}).AttemptsPerSuccess(); got != 0 {
		t.Errorf("no attempts: %v", got)
	}
	if got := (Result{Attempts: 5}).AttemptsPerSuccess(); !math.IsInf(got, 1) {
		t.Errorf("no successes: %v", got)
	}
}
