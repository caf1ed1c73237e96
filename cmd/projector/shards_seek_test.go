package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
	"penstock/cmd/internal/cli"
	"penstock/projector"
	"penstock/stream"
)

// shelf is a shard of five records, one a minute.
type shelf struct{ first time.Time }

const (
	shelfShard = "shardId-000000000003"
	shelfStart = checkpoint.Sequence("1000")
)

func shelfAt(n int) checkpoint.Sequence {
	return checkpoint.Sequence([]string{"1000", "1001", "1002", "1003", "1004", "1005"}[n])
}

func (s shelf) arrival(n int) time.Time { return s.first.Add(time.Duration(n-1) * time.Minute) }

func (s shelf) PlaceOf(_ context.Context, shard stream.Shard, q checkpoint.Sequence) (stream.Place, error) {
	for n := range 6 {
		if q == shelfAt(n) && n == 0 {
			return stream.Place{After: q}, nil
		}
		if q == shelfAt(n) {
			return stream.Place{After: q, Arrival: s.arrival(n), Part: n == 4}, nil
		}
	}
	return stream.Place{}, stream.ErrNotOfShard
}

func (s shelf) PlaceBefore(_ context.Context, shard stream.Shard, t time.Time) (stream.Place, error) {
	place := stream.Place{After: shard.Start}
	for n := 1; n < 6; n++ {
		if s.arrival(n).Before(t) {
			place = stream.Place{After: shelfAt(n), Arrival: s.arrival(n)}
		}
	}
	return place, nil
}

func (s shelf) PlacePreceding(ctx context.Context, shard stream.Shard, q checkpoint.Sequence) (stream.Place, error) {
	at, err := s.PlaceOf(ctx, shard, q)
	if err != nil {
		return at, err
	}
	return s.PlaceBefore(ctx, shard, at.Arrival)
}

func (s shelf) Shards(context.Context) ([]stream.Shard, error) {
	return []stream.Shard{{ID: shelfShard, Start: shelfStart}}, nil
}

// seeking is a seeker over tables in memory.
func seeking(t *testing.T, row checkpoint.Row) (*seeker, *storetest.Memory, *storetest.Items) {
	t.Helper()
	memory, items := &storetest.Memory{}, &storetest.Items{}
	if row.Shard != "" {
		if err := memory.Plant(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	return &seeker{
		shard: stream.Shard{ID: shelfShard, Start: shelfStart, Parents: []string{"shardId-000000000001"}}, leases: memory, state: items,
		places: shelf{time.Now().Add(-time.Hour)}, role: "projector-g1", now: time.Now, by: "ann@bastion", reason: "test",
	}, memory, items
}

func heldRow(owner string, at checkpoint.Sequence, ends time.Duration) checkpoint.Row {
	return checkpoint.Row{Shard: shelfShard, Owner: owner, Timeout: checkpoint.Timeout(owner, time.Now().Add(ends), 11), Checkpoint: at}
}

func TestASeekSetsThePositionAndLeavesWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name     string
			row      checkpoint.Row
			to       target
			skip     bool
			reopen   bool
			want     checkpoint.Sequence
			goes     direction
			inText   string
			parented bool
		}{
			{name: "back to the beginning", row: heldRow("a", "1003", 8*time.Second), to: target{}, want: "1000", goes: seekBack, inText: "where the shard begins"},
			{name: "back to a time", row: heldRow("a", "1003", 8*time.Second), to: target{at: time.Now().Add(-59*time.Minute + time.Second)}, want: "1002", goes: seekBack},
			{name: "back to a record", row: heldRow("a", "1003", 8*time.Second), to: target{sequence: "1001"}, want: "1001", goes: seekBack},
			{name: "forward", row: heldRow("a", "1003", 8*time.Second), to: target{sequence: "1005"}, skip: true, want: "1005", goes: seekForward, inText: "is never read"},
			{name: "nowhere", row: heldRow("a", "1003", 8*time.Second), to: target{sequence: "1003"}, want: "1003", goes: seekNowhere},
			{name: "of a free row", row: checkpoint.Row{Shard: shelfShard, Checkpoint: "1003"}, to: target{}, want: "1000", goes: seekBack},
			{name: "of a row without a position", row: checkpoint.Row{Shard: shelfShard}, to: target{sequence: "1002"}, skip: true, want: "1002", goes: seekForward},
			{name: "of a shard without a row", to: target{sequence: "1002"}, skip: true, want: "1002", goes: seekForward, parented: true},
			{name: "of a finished shard", row: checkpoint.Row{Shard: shelfShard, Checkpoint: checkpoint.ShardEnd}, to: target{}, reopen: true, want: "1000", goes: seekBack},
			{name: "of a row with a position of another stream", row: heldRow("a", "900", 8*time.Second), to: target{}, skip: true, want: "1000", goes: seekForward},
			{name: "of a row whose foreign owner is gone", row: checkpoint.Row{Shard: shelfShard, Owner: "v", Timeout: "1999-12-31T23:00:00Z", Checkpoint: "1003"}, to: target{}, want: "1000", goes: seekBack},
		} {
			k, memory, items := seeking(t, c.row)
			k.skip, k.reopen = c.skip, c.reopen
			report, err := k.seek(t.Context(), c.to)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			row := memory.Row(shelfShard)
			if row.Checkpoint != c.want || row.Owner != "" || report.Direction != c.goes || report.To != string(c.want) || report.From != string(c.row.Checkpoint) {
				t.Errorf("%s: row %+v, report %+v", c.name, row, report)
			}
			if (row.Parent != "") != c.parented {
				t.Errorf("%s: parent %q", c.name, row.Parent)
			}
			if !strings.Contains(report.text(), c.inText) {
				t.Errorf("%s: %s", c.name, report.text())
			}
			got, known, err := projector.ReadSeek(t.Context(), items, "projector-g1", shelfShard)
			want := projector.Seek{By: "ann@bastion", Reason: "test", At: report.At, From: c.row.Checkpoint, To: c.want}
			if diff := cmp.Diff(want, got); err != nil || !known || diff != "" {
				t.Errorf("%s: word: %v %v %s", c.name, known, err, diff)
			}
		}
	})
}

func TestASeekIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		foreign := checkpoint.Row{Shard: shelfShard, Owner: "v", Timeout: time.Now().Add(5 * time.Second).UTC().Format(time.RFC3339Nano), Checkpoint: "1003"}
		for _, c := range []struct {
			name string
			row  checkpoint.Row
			to   target
			code int
			says string
		}{
			{"forward without --skip", heldRow("a", "1003", 8*time.Second), target{sequence: "1005"}, cli.ExitRefused, "--skip"},
			{"of a finished shard without --reopen", checkpoint.Row{Shard: shelfShard, Checkpoint: checkpoint.ShardEnd}, target{}, cli.ExitRefused, "--reopen"},
			{"while a foreign worker holds it", foreign, target{}, cli.ExitRefused, "another make"},
			{"while its owner cannot be read", checkpoint.Row{Shard: shelfShard, Wrong: checkpoint.OwnerAttribute}, target{}, cli.ExitRefused, "doctor"},
			{"to a record of another shard", heldRow("a", "1003", 8*time.Second), target{sequence: "77"}, cli.ExitUsage, "not a sequence number of this shard"},
		} {
			k, memory, items := seeking(t, c.row)
			_, err := k.seek(t.Context(), c.to)
			if exitCode(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", c.name, err)
			}
			if got := memory.Row(shelfShard); got != c.row {
				t.Errorf("%s: the row is %+v", c.name, got)
			}
			if _, known, _ := projector.ReadSeek(t.Context(), items, "projector-g1", shelfShard); known {
				t.Errorf("%s: left word", c.name)
			}
		}
	})
}

func TestADryRunOfASeekChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := heldRow("a", "1001", 8*time.Second)
		k, memory, items := seeking(t, row)
		k.dryRun = true
		report, err := k.seek(t.Context(), target{sequence: "1004"}) // forward: it says what --skip would leave out
		if err != nil || memory.Row(shelfShard) != row {
			t.Fatalf("%v; row %+v", err, memory.Row(shelfShard))
		}
		if _, known, _ := projector.ReadSeek(t.Context(), items, "projector-g1", shelfShard); known {
			t.Error("left word")
		}
		want := shelfShard + "\n" +
			"  from  1001, which arrived 1999-12-31T23:00:00Z\n" +
			"  to    1004, which arrived 1999-12-31T23:03:00Z\n" +
			"  what arrived after 1999-12-31T23:00:00Z, up to 1999-12-31T23:03:00Z, is never read\n" +
			"  nothing was changed: this is what would be done"
		if diff := cmp.Diff(want, report.text()); diff != "" {
			t.Error(diff)
		}
	})
}

// The owner renews its lease between the reading of the row and the write: the seek is made on the row as it is then, or
// not at all.
func TestASeekIsMadeOnTheRowAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, memory, items := seeking(t, heldRow("a", "1001", 8*time.Second))
		moves := 0
		memory.Script = func(c storetest.Call) storetest.Fault {
			if c.Change != nil && moves < 3 {
				moves++
				return storetest.Fault{Delay: time.Second}
			}
			return storetest.Fault{}
		}
		go func() { // ends after three renewals
			for i := range 3 {
				time.Sleep(time.Second - time.Millisecond)
				row := heldRow("a", shelfAt(2+i), 8*time.Second)
				_ = memory.Plant(context.Background(), row) // never fails
			}
		}()
		report, err := k.seek(t.Context(), target{sequence: "1004"})
		if exitCode(err) != cli.ExitRefused && report.Direction == seekForward {
			t.Errorf("went forward without --skip: %+v, %v", report, err)
		}
		k.skip = true
		report, err = k.seek(t.Context(), target{sequence: "1004"})
		if err != nil || memory.Row(shelfShard).Checkpoint != "1004" {
			t.Errorf("%+v, %v, row %+v", report, err, memory.Row(shelfShard))
		}
		if word, _, _ := projector.ReadSeek(t.Context(), items, "projector-g1", shelfShard); string(word.From) != report.From {
			t.Errorf("the word says from %s, the report from %s", word.From, report.From)
		}
	})
}

func TestASeekGivesUpOnARowThatNeverStandsStill(t *testing.T) {
	k, memory, items := seeking(t, heldRow("a", "1003", 8*time.Second))
	n := uint32(0)
	memory.Script = func(c storetest.Call) storetest.Fault {
		if c.Change != nil {
			n++
			row := heldRow("a", "1003", 8*time.Second)
			row.Timeout = checkpoint.Timeout("a", time.Now(), n)
			_ = memory.Plant(context.Background(), row) // never fails
		}
		return storetest.Fault{}
	}
	if _, err := k.seek(t.Context(), target{}); err == nil || n != seekTries {
		t.Errorf("%v after %d attempts", err, n)
	}
	if word, _, err := projector.ReadSeek(t.Context(), items, "projector-g1", shelfShard); err != nil || !word.At.IsZero() {
		t.Errorf("the word of a seek that was not made: %+v, %v", word, err)
	}
}

func TestASeekWithoutAnAnswerSaysSo(t *testing.T) {
	k, memory, _ := seeking(t, heldRow("a", "1003", 8*time.Second))
	memory.Script = func(c storetest.Call) storetest.Fault {
		if c.Change != nil {
			return storetest.Fault{Lose: storetest.ErrScripted}
		}
		return storetest.Fault{}
	}
	if _, err := k.seek(t.Context(), target{}); exitCode(err) != cli.ExitUnreachable || !errors.Is(err, storetest.ErrScripted) {
		t.Errorf("%v", err)
	}
}

func TestWhatASeekMeansIsReadFromItsText(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]target{
		"trim":                 {},
		"-2h":                  {at: now.Add(-2 * time.Hour)},
		"-1h30m":               {at: now.Add(-90 * time.Minute)},
		"2026-11-23T09:00:00Z": {at: now.Add(-time.Hour)},
		"49590338271490256608559692538361571095921575989136588898": {sequence: "49590338271490256608559692538361571095921575989136588898"},
	} {
		if got, err := parseTarget(text, now); err != nil || !got.at.Equal(want.at) || got.sequence != want.sequence {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "2h", "0s", "2026-11-23T10:00:01Z", "2026-11-23", "latest", "LATEST", "SHARD_END", "007", "12a", "-12"} {
		if got, err := parseTarget(text, now); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
