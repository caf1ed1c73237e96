package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/checkpoint"
	"penstock/cmd/internal/cli"
	"penstock/projector"
	"penstock/stream"
)

// everyState is a fleet with a shard in every state there is.
func everyState(t *testing.T) found {
	now := time.Date(2026, 11, 21, 10, 0, 0, 250e6, time.UTC)
	pause := func(reason string, since, length time.Duration) projector.Pause {
		p, err := projector.NewPause("ann@bastion", reason, now.Add(since), length)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	lift := func(reason string, since, length time.Duration) projector.Lift {
		return projector.Lift(pause(reason, since, length))
	}
	trip := func(since time.Duration) projector.Trip {
		return projector.Trip{Why: "100 records in a row have letters of code unknown_schema_version, and the next needs one, too",
			Code: "unknown_schema_version", Fingerprint: "2db68a812587aa58", Sequence: "1301", Arrival: now.Add(since - time.Second).UTC(), Worker: "a-1", At: now.Add(since).UTC()}
	}
	row := func(shard, owner string, end time.Duration, at checkpoint.Sequence) checkpoint.Row {
		r := checkpoint.Row{Shard: shard, Owner: owner, Checkpoint: at}
		if owner != "" {
			r.Timeout = checkpoint.Timeout(owner, now.Add(end), 4711)
		}
		return r
	}
	foreign := row("shard-07", "kcl-1", 0, "700")
	foreign.Timeout = now.Add(20 * time.Second).Format(time.RFC3339)
	untimed := row("shard-08", "kcl-2", 0, "800")
	untimed.Timeout = ""
	f := found{
		now: now,
		shards: []stream.Shard{
			{ID: "shard-00"}, {ID: "shard-01"}, {ID: "shard-02"}, {ID: "shard-03"}, {ID: "shard-04"}, {ID: "shard-05"},
			{ID: "shard-06", Parents: []string{"shard-01", "shard-05", "shard-gone"}}, {ID: "shard-07"}, {ID: "shard-08"}, {ID: "shard-09"},
			{ID: "shard-10"}, {ID: "shard-11"}, {ID: "shard-12"}, {ID: "shard-13"}, {ID: "shard-14"}, {ID: "shard-15"},
		},
		rows: map[string]checkpoint.Row{},
		pauses: projector.Pauses{
			"shard-02": pause("hot key, ticket 4711", -10*time.Minute, time.Hour),
			"shard-03": pause("not looked at yet", 0, time.Hour),
			"shard-05": pause("too late", -time.Minute, time.Hour),
			"shard-00": pause("over", -2*time.Hour, time.Hour),
			"shard-12": pause("whoever takes it", -time.Minute, time.Hour),
			"shard-10": pause("and then it died", -10*time.Minute, time.Hour),
		},
		trips: map[string]projector.Trip{
			"shard-13": trip(-time.Hour), "shard-14": trip(-time.Hour), "shard-15": trip(-time.Hour), "shard-05": trip(-time.Hour),
		},
		lifts: projector.Lifts{
			"shard-13": lift("the first try", -5*time.Hour, time.Hour), // before it tripped
			"shard-14": lift("release 1.4.1 is out", -10*time.Minute, time.Hour),
			"shard-15": lift("over", -30*time.Minute, 10*time.Minute),
		},
		words: map[string]projector.Word{
			"a-1": {At: now.Add(-time.Second), Shards: map[string]projector.ShardWord{
				"shard-00": {Lag: 1500 * time.Millisecond, Read: now.Add(-1200 * time.Millisecond)},
				"shard-02": {Read: now.Add(-10 * time.Minute), Paused: true},
				"shard-03": {Read: now.Add(-1100 * time.Millisecond)},
				"shard-11": {},
			}},
			"b-2": {At: now.Add(-5 * time.Minute), Shards: map[string]projector.ShardWord{
				"shard-10": {Lag: time.Hour, Read: now.Add(-5 * time.Minute), Paused: true},
			}},
		},
	}
	for _, r := range []checkpoint.Row{
		row("shard-00", "a-1", 8*time.Second, "100"),
		row("shard-01", "a-1", 8*time.Second, "110"),
		row("shard-02", "a-1", 8*time.Second, "200"),
		row("shard-03", "a-1", 8*time.Second, "300"),
		row("shard-04", "", 0, "400"),
		row("shard-05", "", 0, checkpoint.ShardEnd),
		foreign,
		untimed,
		row("shard-09", "", 0, "nine hundred"),
		row("shard-10", "b-2", -5*time.Minute, "1000"),
		row("shard-11", "a-1", 9*time.Second, ""),
		row("shard-13", "a-1", 9*time.Second, "1300"),
		row("shard-14", "a-1", 9*time.Second, "1400"),
		row("shard-15", "a-1", 9*time.Second, "1500"),
		row("shard-dropped", "", 0, "42"),
		row("shard-expired", "", 0, checkpoint.ShardEnd),
	} {
		f.rows[r.Shard] = r
	}
	return f
}

func TestListTellsOfEveryShardAndRow(t *testing.T) {
	f := everyState(t)
	report := shardsReport{Version: shardsReportVersion, Application: "shop", Stream: "orders", Generation: 1,
		At: f.now.UTC().Truncate(time.Millisecond), Shards: f.report()}
	text := report.text()
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(report); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "shards", "list.txt"), text+"\n")
	golden(t, filepath.Join("testdata", "shards", "list.json"), indented(t, line.String()))
	seen := map[shardState]bool{}
	for _, s := range report.Shards {
		seen[s.State] = true
	}
	for _, state := range []shardState{shardReading, shardPaused, shardTripped, shardFree, shardSilent, shardWaiting, shardFinished, shardForeign, shardUnreadable, shardUnlisted} {
		if !seen[state] {
			t.Errorf("no shard is %s", state)
		}
		if !strings.Contains(shardsListCommand().Long, "\n  "+string(state)+" ") {
			t.Errorf("the help does not explain %s", state)
		}
	}
}

func TestShardsCommandsRefuseWhatMakesNoSense(t *testing.T) {
	file := filepath.Join(t.TempDir(), "penstock.yaml") // must not be read: it is not there
	for _, args := range [][]string{
		{"shards"},
		{"shards", "halt"},
		{"shards", "list", "shard-00"},
		{"shards", "pause", "--for", "1h", "--reason", "why"},
		{"shards", "pause", "shard-00", "--all", "--for", "1h", "--reason", "why"},
		{"shards", "pause", "--all", "--reason", "why"},
		{"shards", "pause", "--all", "--for", "1h"},
		{"shards", "pause", "--all", "--for", "59s", "--reason", "why"},
		{"shards", "pause", "--all", "--for", "169h", "--reason", "why"},
		{"shards", "pause", "--all", "--for", "soon", "--reason", "why"},
		{"shards", "resume"},
		{"shards", "resume", "--all", "shard-00"},
		{"shards", "resume", "--all", "--for", "1h"},
		{"shards", "resume", "shard-00", "--reason", "why"},
		{"shards", "resume", "shard-00", "--letters"},
		{"shards", "resume", "shard-00", "--letters", "--for", "1h"},
		{"shards", "resume", "shard-00", "--letters", "--reason", "why"},
		{"shards", "resume", "--letters", "--for", "1h", "--reason", "why"},
		{"shards", "resume", "shard-00", "--letters", "--for", "59s", "--reason", "why"},
		{"shards", "resume", "shard-00", "--letters", "--for", "13h", "--reason", "why"},
		{"shards", "resume", "shard-00", "--letters", "--for", "1h", "--reason", "two\nlines"},
		{"shards", "seek", "--to", "trim", "--reason", "why"},
		{"shards", "seek", "shard-00", "shard-01", "--to", "trim", "--reason", "why"},
		{"shards", "seek", "shard-00", "--to", "trim"},
		{"shards", "seek", "shard-00", "--reason", "why"},
		{"shards", "seek", "shard-00", "--to", "yesterday", "--reason", "why"},
		{"shards", "seek", "shard-00", "--to", "trim", "--reason", " "},
		{"shards", "release", "shard-00", "--wait", "1s"},
		{"shards", "release", "shard-00", "--reason", "two\nlines"},
		{"shards", "release"},
	} {
		if len(args) > 2 {
			args = append(args, "--config", file)
		}
		if code := execute(t.Context(), args); code != cli.ExitUsage {
			t.Errorf("%q: exit code %d, want %d", args, code, cli.ExitUsage)
		}
	}
}

func TestAPauseNamesWhoAsks(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	if who := cli.UserAtHost(); !strings.HasSuffix(who, "@"+host) || strings.HasPrefix(who, "@") {
		t.Errorf("got %q", who)
	}
}
