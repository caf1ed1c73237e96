package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/cmd/internal/cli"
	"penstock/stream"
)

// kclReadings are what a table of the Kinesis Client Library shows, time after time; the last for ever.
type kclReadings struct {
	readings [][]leasetable.KCLLease
	read     int
}

func (k *kclReadings) KCLLeases(context.Context, string) ([]leasetable.KCLLease, error) {
	at := min(k.read, len(k.readings)-1)
	k.read++
	return k.readings[at], nil
}

func importing(t *testing.T, readings ...[]leasetable.KCLLease) *doctor {
	t.Helper()
	d, memory := newDoctor(t)
	for _, id := range []string{"shard-00", "shard-01", "shard-02", "shard-03"} {
		if err := memory.Plant(t.Context(), checkpoint.Row{Shard: id, Checkpoint: "4711"}); err != nil {
			t.Fatal(err)
		}
	}
	d.kcl = &kclReadings{readings: readings}
	d.stream = ward{shelf{time.Now()}, []stream.Shard{
		{ID: "shard-00", Start: "100"}, // has a row
		{ID: "new-1", Start: "1000"}, {ID: "new-2", Start: "1000"}, {ID: "new-3", Start: "1000"}, {ID: "new-4", Start: "1000"},
		{ID: "new-5", Start: "1000"}, {ID: "new-6", Start: "1000"}, {ID: "new-7", Start: "1000"}, {ID: "new-8", Start: "1000"},
		{ID: "child", Start: "1000", Parents: []string{"new-5", "new-6"}},
	}}
	return d
}

var kclLeases = []leasetable.KCLLease{
	{Key: "shard-00", Counter: 7, Checkpoint: "1002"},
	{Key: "new-1", Counter: 7, Checkpoint: "1002"},
	{Key: "new-2", Counter: 7, Checkpoint: "1003", SubSequence: 5},
	{Key: "new-3", Counter: 7, Checkpoint: "TRIM_HORIZON"},
	{Key: "new-4", Counter: 7, Checkpoint: "1004"}, // the first member of an aggregate was done, not the rest
	{Key: "new-5", Counter: 7, Checkpoint: checkpoint.ShardEnd},
	{Key: "new-6", Counter: 7, Checkpoint: "AT_TIMESTAMP", Owner: "dead"},
	{Key: "new-7", Counter: 7, Checkpoint: "77"},                // of another stream
	{Key: "new-8", Counter: 7, Checkpoint: checkpoint.ShardEnd}, // though it takes records
	{Key: "child", Counter: 7, Checkpoint: "LATEST"},
	{Key: "expired", Counter: 7, Checkpoint: checkpoint.ShardEnd},
}

func TestAnImportContinuesEveryLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := importing(t, kclLeases)
		r, err := d.planImport(t.Context(), "java")
		if err != nil {
			t.Fatal(err)
		}
		rows, _ := d.leases.Rows(t.Context())
		if n := len(rows); n != len(everyAilment().after) {
			t.Errorf("%d rows after the plan", n)
		}
		if code := exitCode(r.verdict()); code != cli.ExitPartly { // new-7 cannot be imported
			t.Errorf("exit code %d", code)
		}
		if err := d.apply(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		got := map[string]checkpoint.Row{}
		rows, _ = d.leases.Rows(t.Context())
		for _, row := range rows {
			if !strings.HasPrefix(row.Shard, "shard-") {
				got[row.Shard] = row
			}
		}
		want := map[string]checkpoint.Row{}
		for id, at := range map[string]checkpoint.Sequence{
			"new-1": "1002", "new-2": "1002", "new-3": "1000", "new-4": "1003", "new-5": checkpoint.ShardEnd, "new-6": "1000", "new-8": "1000",
		} {
			want[id] = checkpoint.Row{Shard: id, Checkpoint: at}
		}
		want["child"] = checkpoint.Row{Shard: "child", Checkpoint: "1000", Parent: "new-5"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, i := range r.Leases {
			if i.Shard == "shard-00" && (i.Made || i.Found != alreadyThere) {
				t.Errorf("%+v", i)
			}
		}
		again, err := d.planImport(t.Context(), "java")
		if err != nil || again.count(func(i imported) bool { return i.change.Op != 0 }) > 0 {
			t.Errorf("the second import: %v: %s", err, again.text())
		}
	})
}

func TestAnImportIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		moved := []leasetable.KCLLease{{Key: "new-1", Counter: 8, Checkpoint: "1002", Owner: "alive"}}
		for says, readings := range map[string][][]leasetable.KCLLease{
			"has no leases":      {{}},
			"several streams":    {{{Key: "1:orders:2:new-1", MultiStream: true, Checkpoint: "1002"}}},
			"are alive":          {{{Key: "new-1", Counter: 7, Checkpoint: "1002", Owner: "alive"}}, moved},
			"alive, by the leas": {{{Key: "new-1", Counter: 7, Checkpoint: "1002"}}, {}},
			"of another stream":  {{{Key: "other-1", Counter: 7, Checkpoint: "1002"}}},
		} {
			d := importing(t, readings...)
			r, err := d.planImport(t.Context(), "java")
			if exitCode(err) != cli.ExitRefused || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v %+v", says, err, r)
			}
		}
	})
}
