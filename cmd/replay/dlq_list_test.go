package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/cmd/internal/cli"
	"penstock/objects"
	"penstock/objects/objectstest"
	"penstock/order"
	"penstock/sink/deadletter"
	"penstock/view"
)

const arrivedAt = "2026-11-21T10:00:00Z"

// letterBox returns a bucket for letters, and makes the environment in which commands find it. There is no Cassandra.
func letterBox(t *testing.T) *objects.Store {
	t.Helper()
	s3 := objectstest.Start(t, "letters")
	for key, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": s3.URL(), "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		"PENSTOCK_APPLICATION": "orders", "PENSTOCK_KINESIS_STREAM": "events", "PENSTOCK_CASSANDRA_HOSTS": "127.0.0.1:1",
		"PENSTOCK_CASSANDRA_DATACENTER": "dc1", "PENSTOCK_CASSANDRA_KEYSPACE": "shop", "PENSTOCK_CASSANDRA_REPLICATION_FACTOR": "3",
		"PENSTOCK_DEAD_LETTERS_BUCKET": "letters", "PENSTOCK_DEAD_LETTERS_PREFIX": "p", "PENSTOCK_CASSANDRA_TIMEOUT": "",
	} {
		if value != "" {
			t.Setenv(key, value)
		}
	}
	return s3.Store("letters", "p")
}

// park puts a letter as a daemon would.
func park(t *testing.T, store deadletter.Store, n int, change func(*deadletter.Letter)) deadletter.Letter {
	t.Helper()
	arrival, err := time.Parse(time.RFC3339, arrivedAt)
	if err != nil {
		t.Fatal(err)
	}
	l := deadletter.Letter{
		Target: deadletter.Target{View: order.View{}.Name(), Revision: order.View{}.Revision(), Generation: 1},
		Source: deadletter.Source{Stream: "events", Epoch: "1763700000", Shard: "shardId-000000000000", Sequence: fmt.Sprint(1000 + n),
			Arrival: arrival.Add(time.Duration(n) * time.Minute)},
		Event:   deadletter.Event{ID: fmt.Sprintf("e-%d", n), Type: "order.paid", Entity: fmt.Sprintf("o-%d", n), Attributes: []view.Attribute{{Name: "customer_id", Value: "c-1"}}},
		Failure: deadletter.NewFailure(&view.Poison{Stage: view.StageDecode, Code: view.CodeBadJSON, Err: errors.New("not one JSON object")}),
		Context: deadletter.Context{Version: "1.0.0", Worker: "w"},
		Payload: fmt.Appendf(nil, `{"n":%d`, n),
	}
	if change != nil {
		change(&l)
	}
	if err := deadletter.New(deadletter.Config{}, store).Park(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return l
}

// run runs a command and returns what it printed, said and exited with.
func run(t *testing.T, args ...string) (out, said string, code int) {
	t.Helper()
	c := dlqCommand()
	var stdout, stderr bytes.Buffer
	c.SetArgs(args)
	c.SetOut(&stdout)
	c.SetErr(&stderr)
	c.SilenceErrors, c.SilenceUsage = true, true
	err := c.ExecuteContext(t.Context())
	if err != nil {
		stderr.WriteString(err.Error())
	}
	return stdout.String(), stderr.String(), exitCode(err)
}

func record(t *testing.T, store deadletter.Shelf, run string, l deadletter.Letter, o deadletter.Outcome) {
	t.Helper()
	box := deadletter.NewBox(store, "order", 1)
	m, err := box.Find(l.Key())
	if err != nil {
		t.Fatal(err)
	}
	o.Letter, o.Key, o.At, o.Run = m.Identity, m.Key, time.Now(), run
	if err := box.Record(t.Context(), m.Day, run, time.Now(), 0, []deadletter.Outcome{o}); err != nil {
		t.Fatal(err)
	}
}

func TestListGroupsLettersByCause(t *testing.T) {
	store := letterBox(t)
	for n := range 3 {
		park(t, store, n, nil)
	}
	other := park(t, store, 1500, func(l *deadletter.Letter) { // a day later
		l.Failure = deadletter.NewFailure(&view.Poison{Stage: view.StageDecode, Code: view.CodeBadJSON, Err: errors.New(`cut off, "quoted, text"`)})
	})
	redriven := park(t, store, 5, nil)
	record(t, store, "r", redriven, deadletter.Outcome{State: deadletter.Redriven})

	out, said, code := run(t, "list")
	if code != 0 || said != "" {
		t.Fatalf("exit code %d, %s", code, said)
	}
	for _, want := range []string{"bad_json", "75.0 %", "25.0 %", "4 letters, 4 of them open", other.Key(), "decode: cut off", "2026-11-21T10:02:00Z"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	out, _, _ = run(t, "list", "--state", "all", "-o", "json")
	var report summaryReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if report.Version != 1 || report.Count != 5 || report.Open != 4 || len(report.Groups) != 2 || report.Groups[0].Count != 4 || report.Groups[0].Open != 3 {
		t.Errorf("%+v, %+v", report.Summary, report.Groups)
	}
	out, _, _ = run(t, "list", "-o", "csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 3 || rows[2][8] != `cut off, "quoted, text"` || rows[0][8] != "message" {
		t.Errorf("%q, %v", rows, err)
	}
	out, _, _ = run(t, "list", "--by", "code")
	if !strings.Contains(out, "2026-11-21T00:00:00Z  2026-11-22T00:00:00Z") || strings.Contains(out, "decode") {
		t.Errorf("by code letters are read:\n%s", out)
	}
}

func TestListTellsLettersOneByOne(t *testing.T) {
	store := letterBox(t)
	var keys []string
	for n := range 5 {
		keys = append(keys, park(t, store, n, func(l *deadletter.Letter) {
			if n == 2 {
				l.Event.Type, l.Payload = "order.\"x\",\ny", bytes.Repeat([]byte("x"), 100_000)
			}
		}).Key())
	}
	out, _, code := run(t, "list", "--letters", "-o", "json")
	var got []string
	for line := range strings.Lines(out) {
		var l letterReport
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, l.Key)
		if l.State != deadletter.Open || l.Code != view.CodeBadJSON || l.Arrival.IsZero() || l.Shard != "shardId-000000000000" || l.Entity == "" {
			t.Errorf("%+v", l)
		}
	}
	if code != 0 || !slices.Equal(got, keys) {
		t.Errorf("exit code %d, %q, want %q", code, got, keys)
	}
	out, _, _ = run(t, "list", "--letters", "-o", "csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 6 || rows[3][12] != "order.\"x\",\ny" {
		t.Errorf("%q, %v", rows, err)
	}
	out, _, _ = run(t, "list", "--letters")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 6 || !strings.HasSuffix(lines[5], keys[4]) {
		t.Errorf("a payload breaks lines:\n%s", out)
	}
}

func TestAnEmptySetIsNoFailure(t *testing.T) {
	store := letterBox(t)
	for _, format := range []string{"text", "json", "csv"} {
		out, said, code := run(t, "list", "-o", format)
		if code != 0 || !strings.Contains(said, "no letters") || format == "text" && out != "" {
			t.Errorf("%s: exit code %d, %q, %q", format, code, out, said)
		}
	}
	l := park(t, store, 1, nil)
	record(t, store, "r", l, deadletter.Outcome{State: deadletter.Redriven})
	if out, said, code := run(t, "list"); code != 0 || out != "" || !strings.Contains(said, "no letters") {
		t.Errorf("exit code %d, %q, %q", code, out, said)
	}
}

func TestListChoosesLetters(t *testing.T) {
	store := letterBox(t)
	for n := range 4 {
		park(t, store, n, func(l *deadletter.Letter) {
			l.Source.Shard = fmt.Sprintf("shardId-%012d", n%2)
			if n == 3 {
				l.Failure = deadletter.NewFailure(&view.Poison{Stage: view.StageDecode, Code: view.CodeUnknownType, Err: errors.New("x")})
				l.Event.Type, l.Event.Attributes = "order.lost", []view.Attribute{{Name: "customer_id", Value: "c-2"}}
			}
		})
	}
	record(t, store, "r", park(t, store, 9, nil), deadletter.Outcome{State: deadletter.Discarded, Reason: "x"})
	for filter, want := range map[string][]int{
		"":                                      {0, 1, 2, 3},
		"--since 2026-11-21T10:01:00Z":          {1, 2, 3},
		"--until 2026-11-21T10:01:00Z":          {0},
		"--since 2026-11-22":                    nil,
		"--until 2026-11-21":                    nil,
		"--since 36500d":                        {0, 1, 2, 3},
		"--shard shardId-000000000001":          {1, 3},
		"--code unknown_type":                   {3},
		"--code unknown_type,bad_json":          {0, 1, 2, 3},
		"--type order.lost":                     {3},
		"--order o-2":                           {2},
		"--customer c-2":                        {3},
		"--attribute customer_id=c-1":           {0, 1, 2},
		"--event e-1":                           {1},
		"--state discarded":                     {9},
		"--state all":                           {0, 1, 2, 3, 9},
		"--state redriven":                      nil,
		"--customer c-1 --shard shardId-none":   nil,
		"--order o-2 --code bad_json":           {2},
		"--fingerprint 0000000000000000":        nil,
		"--since 2026-11-21 --until 2026-11-22": {0, 1, 2, 3},
	} {
		out, said, code := run(t, append([]string{"list", "--letters", "-o", "json"}, strings.Fields(filter)...)...)
		var got []int
		for line := range strings.Lines(out) {
			var l letterReport
			var n int
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscanf(l.Event, "e-%d", &n); err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		slices.Sort(got)
		if code != 0 || !slices.Equal(got, want) {
			t.Errorf("%q: exit code %d, %v, want %v; %s", filter, code, got, want, said)
		}
	}
}

func TestListRefusesWhatMakesNoSense(t *testing.T) {
	letterBox(t)
	for args, says := range map[string]string{
		"list --since yesterday":                     `--since "yesterday"`,
		"list --until 10:00":                         `--until "10:00"`,
		"list --since 2026-11-22 --until 2026-11-21": "must be after",
		"list --code lost":                           `--code "lost"`,
		"list --state closed":                        `--state "closed"`,
		"list --attribute customer":                  "NAME=VALUE",
		"list --by shard":                            `--by "shard"`,
		"list --readers 0":                           "--readers 0",
		"list -o yaml":                               "text, json or csv",
		"list --metrics x --since 1h":                "no filter goes with it",
		"show nonsense":                              "must be a key",
		"show -o csv k":                              "text or json",
	} {
		if _, said, code := run(t, strings.Fields(args)...); code != cli.ExitUsage || !strings.Contains(said, says) {
			t.Errorf("%s: exit code %d, %s", args, code, said)
		}
	}
	if _, said, code := run(t, "show", "v1/view=order/gen=2/dt=2026-11-21/bad_json/1.s.2.0.json"); code != cli.ExitRefused || !strings.Contains(said, "--generation 2") {
		t.Errorf("another generation's letter: exit code %d, %s", code, said)
	}
	if _, said, code := run(t, "list", "--config", "nosuchfile.yaml"); code != cli.ExitConfig {
		t.Errorf("exit code %d, %s", code, said)
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	if _, said, code := run(t, "list"); code != cli.ExitUnreachable {
		t.Errorf("exit code %d, %s", code, said)
	}
}

func TestListWritesMetrics(t *testing.T) {
	store := letterBox(t)
	file := filepath.Join(t.TempDir(), "penstock.prom")
	read := func() map[string]string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		samples := map[string]string{}
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
				samples[name] = value
			}
		}
		return samples
	}
	const oldest = "penstock_dead_letters_oldest_open_timestamp_seconds"
	for range 2 { // a file that is there is replaced
		if _, said, code := run(t, "list", "--by", "code", "--metrics", file); code != 0 {
			t.Fatalf("exit code %d, %s", code, said)
		}
	}
	if got := read(); got[`penstock_dead_letters_open{code="bad_json"}`] != "0" || got[oldest] != "0" || len(got) != len(view.Codes())+1 {
		t.Errorf("none: %v", got)
	}
	park(t, store, 1, nil)
	record(t, store, "r", park(t, store, 2, nil), deadletter.Outcome{State: deadletter.Redriven})
	run(t, "list", "--metrics", file)
	if got := read(); got[`penstock_dead_letters_open{code="bad_json"}`] != "1" || got[oldest] == "0" {
		t.Errorf("one: %v", slices.Sorted(maps.Keys(got)))
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	if _, _, code := run(t, "list", "--metrics", filepath.Join(t.TempDir(), "no", "file")); code != cli.ExitFailed {
		t.Errorf("a file that cannot be written: exit code %d", code)
	}
}

func TestShowTellsAllOfALetter(t *testing.T) {
	store := letterBox(t)
	l := park(t, store, 1, nil)
	record(t, store, "r7", l, deadletter.Outcome{State: deadletter.Discarded, Reason: "a test's", By: "ann@desk"})
	out, said, code := run(t, "show", "--no-rows", store.Location(l.Key()))
	if code != 0 {
		t.Fatalf("exit code %d, %s", code, said)
	}
	for _, want := range []string{l.Key(), "discarded", "ann@desk, run r7", "a test's", `{"n":1`, "not one JSON object", "would fail again", "bad_json", "c-1"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	event, err := os.ReadFile("../../order/testdata/events/paid.json")
	if err != nil {
		t.Fatal(err)
	}
	good := park(t, store, 2, func(l *deadletter.Letter) { l.Payload = event })
	out, said, code = run(t, "show", "--no-rows", good.Key(), "-o", "json")
	var report showReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Fatalf("exit code %d, %s, %v", code, said, err)
	}
	if report.State != deadletter.Open || report.Redrive.Failure != nil || len(report.Redrive.Rows) != 2 || !bytes.Equal(report.Payload.Base64, event) {
		t.Errorf("%+v", report)
	}
	for _, row := range report.Redrive.Rows {
		if row.Exists != nil || len(row.Key) == 0 || len(row.Cells) == 0 || row.Cells[0].Effect != "unread" {
			t.Errorf("%+v", row)
		}
	}
	if _, said, code := run(t, "show", good.Key()); code != cli.ExitUnreachable || !strings.Contains(said, "--no-rows") {
		t.Errorf("without Cassandra: exit code %d, %s", code, said)
	}
	gone := strings.Replace(good.Key(), ".1002.", ".1003.", 1)
	if _, said, code := run(t, "show", "--no-rows", gone); code != cli.ExitFailed || !strings.Contains(said, "not found") {
		t.Errorf("no letter: exit code %d, %s", code, said)
	}
}
