package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
	"penstock/cmd/internal/cli"
	"penstock/stream"
)

var examTime = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// everyAilment is a table with each thing that can be wrong with one.
func everyAilment() exam {
	later := func(d time.Duration) string { return examTime.Add(d).Format(time.RFC3339Nano) }
	x := exam{table: "orders", failover: 10 * time.Second, retention: 24 * time.Hour, now: examTime, watched: true,
		shards: []stream.Shard{
			{ID: "shard-00", Start: "100"}, {ID: "shard-01", Start: "101"},
			{ID: "shard-02", Start: "102", Parents: []string{"shard-00", "shard-01"}},
			{ID: "shard-03", Start: "103"}, {ID: "shard-04", Start: "104"}, {ID: "shard-05", Start: "105"}, {ID: "shard-06", Start: "106"},
			{ID: "shard-07", Start: "107"}, {ID: "shard-08", Start: "108"}, {ID: "shard-09", Start: "109"}, {ID: "shard-10", Start: "110"},
			{ID: "shard-11", Start: "111", Parents: []string{"shard-gone"}}, {ID: "shard-12", Start: "112"},
		},
		listedBefore: map[string]bool{"shard-late": true},
		before:       map[string]checkpoint.Row{}, after: map[string]checkpoint.Row{},
	}
	for _, s := range x.shards {
		x.listedBefore[s.ID] = true
	}
	row := func(r checkpoint.Row, before string) {
		x.after[r.Shard] = r
		if before != "" {
			r.Timeout = before
		}
		x.before[r.Shard] = r
	}
	ours := func(shard, owner string, end time.Duration, at checkpoint.Sequence) checkpoint.Row {
		return checkpoint.Row{Shard: shard, Owner: owner, Timeout: checkpoint.Timeout(owner, examTime.Add(end), 4711), Checkpoint: at}
	}
	row(checkpoint.Row{Shard: "shard-00", Checkpoint: checkpoint.ShardEnd}, "")
	row(ours("shard-01", "a", 8*time.Second, "1010"), later(-3*time.Second)) // alive
	row(checkpoint.Row{Shard: "shard-02", Checkpoint: "1020"}, "")           // ahead of shard-01
	row(checkpoint.Row{Shard: "shard-03", Checkpoint: checkpoint.ShardEnd}, "")
	row(checkpoint.Row{Shard: "shard-04", Owner: "v", Checkpoint: "1040"}, "")
	row(checkpoint.Row{Shard: "shard-05", Wrong: checkpoint.CheckpointAttribute | checkpoint.OwnerAttribute, Timeout: later(-time.Hour)}, "")
	row(checkpoint.Row{Shard: "shard-06", Owner: "v", Timeout: "tomorrow", Checkpoint: "LATEST"}, "")
	row(checkpoint.Row{Shard: "shard-07", Empty: checkpoint.OwnerAttribute | checkpoint.CheckpointAttribute, Timeout: later(-time.Hour)}, "")
	row(checkpoint.Row{Shard: "shard-08", Owner: "v", Timeout: later(8 * time.Second), Checkpoint: "1080"}, later(-time.Second))
	row(checkpoint.Row{Shard: "shard-09", Owner: "v", Timeout: later(2 * time.Minute), Checkpoint: "1090"}, later(time.Minute)) // alive, clock ahead
	row(checkpoint.Row{Shard: "shard-10", Owner: "v", Timeout: later(30 * 24 * time.Hour), Checkpoint: "1100"}, "")             // dead, clock far ahead
	row(ours("shard-12", "b", -time.Minute, "1120"), "")                                                                        // dead: others take it over
	row(checkpoint.Row{Shard: "shard-gone", Checkpoint: checkpoint.ShardEnd}, "")
	row(checkpoint.Row{Shard: "shard-late", Checkpoint: "7"}, "") // listed a moment ago
	row(checkpoint.Row{Shard: "shard-lost", Checkpoint: "7", Timeout: later(-25 * time.Hour)}, "")
	row(checkpoint.Row{Shard: "shard-other", Checkpoint: "7", Timeout: later(-time.Hour)}, "")
	return x
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	x := everyAilment()
	report := doctorReport{Version: doctorReportVersion, Table: x.table, Rows: len(x.after), Shards: len(x.shards), At: x.now, Findings: x.findings()}
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(report); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "doctor", "doctor.txt"), report.text()+"\n")
	golden(t, filepath.Join("testdata", "doctor", "doctor.json"), indented(t, line.String()))
	for _, kind := range []ailment{ailOrphan, ailWedged, ailFinishedOpen, ailNoRow, ailChildAhead, ailSkewedClock, ailForeign} {
		if !slices.ContainsFunc(report.Findings, func(f finding) bool { return f.Kind == kind }) {
			t.Errorf("nothing is %s", kind)
		}
		if !strings.Contains(doctorCommand().Long, "\n  "+string(kind)+" ") {
			t.Errorf("the help does not explain %s", kind)
		}
	}
	if code := exitCode(report.verdict()); code != cli.ExitDifferent {
		t.Errorf("exit code %d", code)
	}
}

func TestDoctorTouchesNoLiveLease(t *testing.T) {
	x := everyAilment()
	for id, row := range x.after { // everybody is alive
		if !row.Free() {
			moved := row
			moved.Timeout += "0"
			x.before[id] = moved
		}
	}
	for _, f := range x.findings() {
		if row := x.after[f.Shard]; f.Can && !row.Free() {
			t.Errorf("would touch %+v: %+v", row, f)
		}
	}
}

func TestDoctorFindsNothingInASoundTable(t *testing.T) {
	x := everyAilment()
	for id := range x.after {
		if !slices.Contains([]string{"shard-00", "shard-01", "shard-12"}, id) {
			delete(x.after, id)
		}
	}
	x.shards = slices.DeleteFunc(x.shards, func(s stream.Shard) bool { return x.after[s.ID].Shard == "" && s.ID != "shard-02" })
	x.after["shard-02"] = checkpoint.Row{Shard: "shard-02", Checkpoint: "102"} // at its beginning
	if found := x.findings(); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	x.after = map[string]checkpoint.Row{} // nor in one that was not used yet
	if found := x.findings(); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

func TestDoctorLeavesATableOfAnotherStreamAlone(t *testing.T) {
	x := everyAilment()
	x.shards = []stream.Shard{{ID: "another-00", Start: "1"}}
	x.listedBefore = map[string]bool{"another-00": true}
	found := x.findings()
	if len(found) == 0 {
		t.Fatal("nothing found")
	}
	for _, f := range found {
		if f.Can && f.Kind == ailOrphan {
			t.Errorf("would delete %+v", f)
		}
	}
}

// ward is a stream and a table for the doctor.
type ward struct {
	shelf
	shards []stream.Shard
}

func (w ward) Shards(context.Context) ([]stream.Shard, error) { return w.shards, nil }

func newDoctor(t *testing.T) (*doctor, *storetest.Memory) {
	t.Helper()
	x := everyAilment()
	memory := &storetest.Memory{}
	for _, row := range x.after {
		if err := memory.Plant(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	return &doctor{
		table: "orders", leases: memory, stream: ward{shelf{time.Now()}, x.shards}, failover: x.failover,
		now:         func() time.Time { return time.Now().Add(examTime.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))) }, // a bubble begins in 2000
		description: stream.Description{Retention: x.retention}, messages: io.Discard,
	}, memory
}

// alive renews the leases of the living as long as ctx lasts.
func alive(ctx context.Context, memory *storetest.Memory, now func() time.Time) {
	for n := uint32(1); ; n++ {
		select {
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
			return
		}
		row := memory.Row("shard-01")
		row.Timeout = checkpoint.Timeout("a", now().Add(10*time.Second), n)
		_ = memory.Plant(ctx, row) // never fails
		for shard, ahead := range map[string]time.Duration{"shard-08": 10 * time.Second, "shard-09": 2 * time.Minute} {
			row := memory.Row(shard)
			row.Timeout = now().Add(ahead).UTC().Format(time.RFC3339Nano)
			_ = memory.Plant(ctx, row) // never fails
		}
	}
}

func TestDoctorRepairsWhatItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, memory := newDoctor(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); alive(ctx, memory, d.now) }() // ends by stop
		defer func() { stop(); <-done }()

		report, err := d.examine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.treat(t.Context(), &report); err != nil || memory.Row("shard-03").Checkpoint != checkpoint.ShardEnd {
			t.Errorf("without --yes: %v, %+v", err, memory.Row("shard-03"))
		}
		d.yes = true
		if err := d.treat(t.Context(), &report); err != nil {
			t.Fatal(err)
		}
		for shard, want := range map[string]checkpoint.Row{
			"shard-00":    {Shard: "shard-00", Checkpoint: checkpoint.ShardEnd},
			"shard-03":    {Shard: "shard-03", Checkpoint: "103"},
			"shard-04":    {Shard: "shard-04", Checkpoint: "1040"},
			"shard-05":    {Shard: "shard-05", Timeout: examTime.Add(-time.Hour).Format(time.RFC3339Nano)},
			"shard-06":    {Shard: "shard-06"},
			"shard-07":    {Shard: "shard-07", Timeout: examTime.Add(-time.Hour).Format(time.RFC3339Nano)},
			"shard-10":    {Shard: "shard-10", Timeout: examTime.Add(30 * 24 * time.Hour).Format(time.RFC3339Nano), Checkpoint: "1100"},
			"shard-11":    {Shard: "shard-11", Checkpoint: "111", Parent: "shard-gone"},
			"shard-gone":  {},
			"shard-lost":  {},
			"shard-other": {Shard: "shard-other", Checkpoint: "7", Timeout: examTime.Add(-time.Hour).Format(time.RFC3339Nano)},
		} {
			if got := memory.Row(shard); got != want {
				t.Errorf("%s is %+v, want %+v", shard, got, want)
			}
		}
		for _, shard := range []string{"shard-01", "shard-08", "shard-09"} {
			if memory.Row(shard).Owner == "" {
				t.Errorf("%s was taken from its living owner", shard)
			}
		}
		if code := exitCode(report.verdict()); code != cli.ExitDifferent { // the living are still there
			t.Errorf("exit code %d", code)
		}
		again, err := d.examine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range again.Findings {
			if f.Can && f.Shard != "shard-late" { // which is by now missing from two listings
				t.Errorf("not repaired: %+v", f)
			}
		}
	})
}

func TestDoctorLeavesARowThatChangedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, memory := newDoctor(t)
		d.yes = true
		report, err := d.examine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		taken := memory.Row("shard-10")
		taken.Owner = "somebody"
		if err := memory.Plant(t.Context(), taken); err != nil {
			t.Fatal(err)
		}
		if err := d.treat(t.Context(), &report); err != nil || memory.Row("shard-10") != taken {
			t.Errorf("%v, %+v", err, memory.Row("shard-10"))
		}
		if code := exitCode(report.verdict()); code != cli.ExitPartly {
			t.Errorf("exit code %d", code)
		}
		memory.Script = func(c storetest.Call) storetest.Fault { return storetest.Fault{Fail: storetest.ErrScripted} }
		if err := d.treat(t.Context(), &report); exitCode(err) != cli.ExitUnreachable || !errors.Is(err, storetest.ErrScripted) {
			t.Errorf("without an answer: %v", err)
		}
	})
}

func TestDoctorAsksOnATerminal(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "Y\n": true, "\n": false, "": false, "no\n": false} {
		var said bytes.Buffer
		d := doctor{asks: true, messages: &said, answers: strings.NewReader(answer)}
		if got := d.agreed("do it?"); got != want || said.String() != "do it? [y/N] " {
			t.Errorf("%q: %v, said %q", answer, got, said.String())
		}
	}
	if (&doctor{}).agreed("do it?") {
		t.Error("nobody was there to be asked")
	}
}

func TestDoctorRefusesWhatMakesNoSense(t *testing.T) {
	for _, args := range [][]string{
		{"doctor", "orders"}, {"doctor", "--yes"}, {"doctor", "--repair", "--import", "kcl"}, {"doctor", "-o", "csv"},
	} {
		if code := execute(t.Context(), args); code != cli.ExitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}
