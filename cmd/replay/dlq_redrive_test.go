package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/cmd/internal/cli"
	"penstock/objects"
	"penstock/replay"
	"penstock/sink/cassandra"
	"penstock/sink/deadletter"
	"penstock/view"
)

func TestRedriveRefusesWhatMakesNoSense(t *testing.T) {
	store := letterBox(t)
	key := park(t, store, 1, nil).Key()
	for args, says := range map[string]string{
		"redrive":                                        "a time bound is required",
		"redrive --code bad_json --run":                  "a time bound is required",
		"redrive --since 1h --rate 0":                    "--rate 0",
		"redrive --since 1h --rate NaN":                  "--rate NaN",
		"redrive --since 1h --rate 1e9":                  "--rate 1e+09",
		"redrive --since 1h --readers 1000":              "--readers 1000",
		"redrive --since 1h --state redriven":            `--state "redriven"`,
		"redrive --since 1h --state all":                 "only open letters",
		"redrive " + key + " --since 1h":                 "no filter goes with it",
		"redrive nonsense":                               "must be a key",
		"discard --since 1h":                             "--reason is required",
		"discard --reason x":                             "a time bound is required",
		"discard --reason x --code bad_json --run":       "a time bound is required",
		"discard " + key + " --reason x --run":           "neither a filter nor --run",
		"discard " + key + " --reason x --code bad_json": "neither a filter nor --run",
		"discard --corrected-by x --since 1h":            "closes the letter of one KEY",
		"discard " + key + " --corrected-by x --undo":    "cannot be undone",
		"discard " + key + " --corrected-by nosuchfile":  "nosuchfile",
		"sample " + key:                                  "--out is required",
		"sample " + key + " --out x --code bad_json":     "no filter goes with it",
		"redrive --since 1h --until 2h":                  "must be after",
	} {
		if _, said, code := run(t, strings.Fields(args)...); code != cli.ExitUsage || !strings.Contains(said, says) {
			t.Errorf("%s: exit code %d, %s", args, code, said)
		}
	}
	for _, reason := range []string{strings.Repeat("x", maxReason+1), "two\nlines"} {
		if _, said, code := run(t, "discard", key, "--reason", reason); code != cli.ExitUsage || !strings.Contains(said, "--reason") {
			t.Errorf("reason %.20q: exit code %d, %s", reason, code, said)
		}
	}
	other := strings.Replace(key, "gen=1", "gen=3", 1)
	for _, args := range []string{"redrive " + other, "discard " + other + " --reason x", "sample " + other + " --out -"} {
		if _, said, code := run(t, strings.Fields(args)...); code != cli.ExitRefused || !strings.Contains(said, "--generation 3") {
			t.Errorf("%s: exit code %d, %s", args, code, said)
		}
	}
	for _, args := range []string{"redrive --since 1h", "redrive --since 1h --run", "redrive " + key} {
		if _, said, code := run(t, strings.Fields(args)...); code != cli.ExitUnreachable {
			t.Errorf("%s without Cassandra: exit code %d, %s", args, code, said)
		}
	}
}

func TestWhatARedriveEndedWithIsItsExitCode(t *testing.T) {
	fatal := errors.New("no such table")
	for name, c := range map[string]struct {
		report replay.Redriven
		err    error
		code   int
	}{
		"all redriven":                     {replay.Redriven{Selected: 2, Redriven: 2}, nil, 0},
		"none chosen":                      {replay.Redriven{}, nil, 0},
		"one failed again":                 {replay.Redriven{Selected: 2, Redriven: 1, Failed: 1}, nil, cli.ExitPartly},
		"one unreadable":                   {replay.Redriven{Selected: 2, Redriven: 1, Unreadable: 1}, nil, cli.ExitPartly},
		"the first all failed":             {replay.Redriven{Selected: 50, Failed: 50}, replay.ErrFirstFailed, cli.ExitPartly},
		"interrupted":                      {replay.Redriven{Selected: 2, Redriven: 2, Stopped: "interrupted"}, nil, cli.ExitPartly},
		"ended by an error in the middle":  {replay.Redriven{Selected: 2, Redriven: 1, Unsettled: 1}, fatal, cli.ExitPartly},
		"ended by an error at once":        {replay.Redriven{Selected: 2, Unsettled: 2}, fatal, cli.ExitFailed},
		"storage does not answer":          {replay.Redriven{}, &objects.Error{Class: objects.Transient, Err: fatal}, cli.ExitUnreachable},
		"another revision is in the table": {replay.Redriven{}, &cassandra.RevisionError{View: "order", Stored: "a", Ours: "b"}, cli.ExitRefused},
	} {
		if err := verdict(c.report, c.err); exitCode(err) != c.code || (err == nil) != (c.code == 0) {
			t.Errorf("%s: %v, exit code %d, want %d", name, err, exitCode(err), c.code)
		}
	}
	refused := &cassandra.RevisionError{View: "order", Generation: 1, Stored: "order/0", Ours: "order/1"}
	if text := refused.Error(); !strings.Contains(text, "order/0") || !strings.Contains(text, "order/1") {
		t.Errorf("a refusal names both revisions: %s", text)
	}
}

func TestDiscardsAreMadeUndoneAndAudited(t *testing.T) {
	store := letterBox(t)
	first, second := park(t, store, 1, nil), park(t, store, 2, nil)
	open := func(want int) {
		t.Helper()
		var report summaryReport
		out, said, _ := run(t, "list", "-o", "json")
		if err := json.Unmarshal([]byte(out), &report); err != nil || report.Summary.Open != want {
			t.Fatalf("open %s, %v, want %d; %s", out, err, want, said)
		}
	}
	out, said, code := run(t, "discard", "--since", "2026-11-21", "--reason", "load test")
	if code != 0 || !strings.Contains(out, "2 letters would be discarded") || !strings.Contains(said, "--run") {
		t.Errorf("a dry run: exit code %d, %s, %s", code, out, said)
	}
	open(2)
	if out, said, code = run(t, "discard", "--since", "2026-11-21", "--reason", "load test", "--run"); code != 0 || !strings.Contains(out, "2 letters discarded") {
		t.Errorf("exit code %d, %s, %s", code, out, said)
	}
	open(0)
	if _, said, code = run(t, "discard", first.Key(), "--reason", "again"); code != cli.ExitRefused || !strings.Contains(said, "already") {
		t.Errorf("exit code %d, %s", code, said)
	}
	if _, said, code = run(t, "discard", first.Key(), "--undo", "--reason", "it was needed"); code != 0 {
		t.Errorf("exit code %d, %s", code, said)
	}
	open(1)
	out, _, _ = run(t, "show", "--no-rows", first.Key(), "-o", "json")
	var report showReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || len(report.Outcomes) != 2 {
		t.Fatalf("%s, %v", out, err)
	}
	for i, want := range []string{"load test", "it was needed"} {
		if o := report.Outcomes[i]; o.Reason != want || o.By != cli.UserAtHost() || o.Run == "" || time.Since(o.At) > time.Hour {
			t.Errorf("%+v, want the reason %q and who it was", o, want)
		}
	}
	if _, said, code = run(t, "discard", "--since", "2026-11-21", "--undo", "--reason", "all of them", "--run"); code != 0 {
		t.Errorf("exit code %d, %s", code, said)
	}
	open(2)
	record(t, store, "r", second, deadletter.Outcome{State: deadletter.Redriven})
	if _, said, code = run(t, "discard", second.Key(), "--reason", "x"); code != cli.ExitRefused || !strings.Contains(said, "final") {
		t.Errorf("exit code %d, %s", code, said)
	}
	if out, said, code = run(t, "discard", "--until", "2026-11-20", "--reason", "x", "--run"); code != 0 || !strings.Contains(said, "no letters") {
		t.Errorf("none: exit code %d, %s, %s", code, out, said)
	}
	gone := strings.Replace(first.Key(), ".1001.", ".1003.", 1)
	if _, said, code = run(t, "discard", gone, "--reason", "x"); code != cli.ExitFailed || !strings.Contains(said, "not found") {
		t.Errorf("no letter: exit code %d, %s", code, said)
	}
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, said, code = run(t, "discard", first.Key(), "--corrected-by", file); code != cli.ExitRefused || !strings.Contains(said, "bad_json") {
		t.Errorf("a correction that is poison: exit code %d, %s", code, said)
	}
}

func TestSamplesAreThePayloadByteForByte(t *testing.T) {
	store := letterBox(t)
	payload := []byte("{\"a\": 1}\x00\xff\n")
	l := park(t, store, 1, func(l *deadletter.Letter) { l.Payload = payload })
	file := filepath.Join(t.TempDir(), "event.json")
	if out, said, code := run(t, "sample", l.Key(), "--as-event", "--out", file); code != 0 || !strings.Contains(out, fmt.Sprint(len(payload), " bytes")) {
		t.Fatalf("exit code %d, %s, %s", code, out, said)
	}
	got, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err != nil || statErr != nil || !bytes.Equal(got, payload) || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, %v, %v", got, err, info.Mode())
	}
	if _, said, code := run(t, "sample", l.Key(), "--as-event", "--out", file); code != cli.ExitFailed || !strings.Contains(said, "exists") {
		t.Errorf("a file that is there: exit code %d, %s", code, said)
	}
	if out, _, code := run(t, "sample", "--code", "bad_json", "--as-event", "--out", "-"); code != 0 || out != string(payload) {
		t.Errorf("exit code %d, %q", code, out)
	}
	out, _, _ := run(t, "sample", l.Key(), "--out", "-")
	if back, err := deadletter.Decode([]byte(out)); err != nil || back.Key() != l.Key() {
		t.Errorf("the letter itself: %v, %v", back, err)
	}
	if out, said, code := run(t, "sample", "--code", "unknown_type", "--as-event", "--out", "-"); code != 0 || out != "" || !strings.Contains(said, "no letters") {
		t.Errorf("none: exit code %d, %q, %s", code, out, said)
	}
}

func TestARedrivesOutcomesAreMetrics(t *testing.T) {
	text := redriveMetrics(replay.Redriven{Redriven: 7, Failed: 2, Codes: map[view.Code]int{}})
	for _, want := range []string{`penstock_dead_letters_redriven{outcome="redriven"} 7`, `penstock_dead_letters_redriven{outcome="failed"} 2`, "# TYPE penstock_dead_letters_redriven gauge"} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestProgressTellsRateAndWhatIsLeft(t *testing.T) {
	for want, p := range map[string]replay.Progress{
		"12 letters: 10 redriven, 2 failed again, 6/s":                                {Redriven: 10, Failed: 2, Rate: 6},
		"13 of 100 letters: 10 redriven, 2 failed again, 1 unreadable, 6/s, 15s left": {Redriven: 10, Failed: 2, Unreadable: 1, Total: 100, Rate: 6, Left: 14_600 * time.Millisecond},
	} {
		if got := progressText(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Every command has an example, and helps without a configuration.
func TestEveryCommandHelps(t *testing.T) {
	for _, name := range []string{"list", "show", "sample", "redrive", "discard"} {
		out, said, code := run(t, name, "--help")
		if code != 0 || !strings.Contains(out, "Examples:\n  replay dlq "+name) || !strings.Contains(out, "--config") {
			t.Errorf("%s: exit code %d, %s, %s", name, code, out, said)
		}
	}
	for _, args := range [][]string{{"dlq"}, {"dlq", "lost"}, {"dlq", "show"}, {"dlq", "list", "--lost"}} {
		if code := execute(t.Context(), args); code != cli.ExitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}
