package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/google/go-cmp/cmp"

	"penstock/localstack"
	"penstock/localstack/gameday/report"
)

func TestScenariosAreChosenByNumber(t *testing.T) {
	numbersOf := func(list string) (out []int) {
		chosen, err := chosen(list)
		if err != nil {
			return nil
		}
		for _, s := range chosen {
			out = append(out, s.number)
		}
		return out
	}
	for list, want := range map[string][]int{"": {1, 2, 3, 4, 5, 6, 7, 8, 9}, "4": {4}, "7, 2": {7, 2}, "10": nil, "x": nil, "2,": nil} {
		if diff := cmp.Diff(want, numbersOf(list)); diff != "" {
			t.Errorf("%q: %s", list, diff)
		}
	}
}

func TestEveryScenarioHasATitle(t *testing.T) {
	for _, s := range scenarios {
		if report.Title(s.number) == "?" {
			t.Errorf("scenario %d has none", s.number)
		}
	}
}

func TestFoldersOfKilledRunsAreRemoved(t *testing.T) {
	temporary := t.TempDir()
	me, err := localstack.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, started := range map[string]string{"runs": me.Started, "killed": "before the flood", "starting": ""} {
		stack := filepath.Join(temporary, folderPrefix+name, stackFolder)
		if err := os.MkdirAll(stack, 0o755); err != nil {
			t.Fatal(err)
		}
		if started == "" {
			continue
		}
		claim := fmt.Sprintf(`{"pid": %d, "started": %q}`, me.PID, started)
		if err := os.WriteFile(filepath.Join(stack, "supervisor.json"), []byte(claim), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(temporary); err != nil {
		t.Fatal(err)
	}
	for name, there := range map[string]bool{"runs": true, "killed": false, "starting": true} {
		if _, err := os.Stat(filepath.Join(temporary, folderPrefix+name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHintsOfARestartedNodeAreAllNew(t *testing.T) {
	before := hintCount{written: [3]float64{10, 20, 30}, process: [3]int{1, 2, 3}}
	after := hintCount{written: [3]float64{15, 25, 30}, process: [3]int{1, 7, 3}}
	if got := after.since(before); got != 5+25+0 {
		t.Errorf("%v", got)
	}
}

func TestATallyCountsWhatBelongsToTheFault(t *testing.T) {
	y := newTally()
	y.began = time.Now().Add(-20 * time.Second)
	at := func(s float64) time.Time { return y.began.Add(time.Duration(s * float64(time.Second))) }
	for s, err := range map[float64]error{
		1.5:  nil,
		11.5: gocql.ErrTimeoutNoResponse,
		12.5: nil,
		15.5: errors.New("connection reset"),
		19.5: fmt.Errorf("after the tail: %w", context.DeadlineExceeded),
	} {
		y.attempt(at(s-0.5), at(s), err)
	}
	y.attempt(at(12), at(13), context.Canceled) // called off by ourselves
	y.applied(7)
	y.givenUp(3)
	r := y.result(at(10), at(14), 3*time.Second)
	if r.From != 10 || r.To != 14 || r.Attempts != 3 || r.Successes != 1 || r.GivenUp != 3 {
		t.Errorf("%+v", r)
	}
	if diff := cmp.Diff(map[string]float64{"no answer": 1, "connection": 1}, r.Errors); diff != "" {
		t.Error(diff)
	}
	if len(r.Rows) != 21 || r.Rows[20] != 7 || r.P99[12] != 500 || r.P99[13] != 0 {
		t.Errorf("rows %v, p99 %v", r.Rows, r.P99)
	}
}
