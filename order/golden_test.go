package order

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/view"
)

var update = flag.Bool("update", false, "write golden files that are missing or of another revision")

// goldenArrival is when the events in testdata/events arrived in the stream.
var goldenArrival = time.Date(2026, 11, 21, 10, 0, 1, 0, time.UTC)

// goldenEvents returns the events in testdata/events by name.
func goldenEvents(t testing.TB) map[string][]byte {
	files, err := filepath.Glob("testdata/events/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden events: %v", err)
	}
	events := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		events[strings.TrimSuffix(filepath.Base(file), ".json")] = data
	}
	return events
}

func project(data []byte) (view.Result, error) {
	return View{}.Project(view.Record{Data: data, Arrival: goldenArrival})
}

func TestProjectWritesWhatItsRevisionWrote(t *testing.T) {
	types := map[string]bool{}
	for name, data := range goldenEvents(t) {
		t.Run(name, func(t *testing.T) {
			result, err := project(data)
			if err != nil {
				t.Fatal(err)
			}
			types[schemaName(result.Event.Type, result.Event.SchemaVersion)] = true
			file := filepath.Join("testdata/golden", name+".txt")
			if err := checkGolden(file, Revision, describe(result), *update); err != nil {
				t.Error(err)
			}
		})
	}
	for _, typ := range (View{}).Types() {
		if !types[typ] {
			t.Errorf("no golden event of type %s", typ)
		}
	}
}

func TestEveryGoldenFileHasItsEvent(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	events := goldenEvents(t)
	for _, file := range files {
		if _, ok := events[strings.TrimSuffix(filepath.Base(file), ".txt")]; !ok {
			t.Errorf("%s: no such event in testdata/events: what a revision writes for an event stays on record", file)
		}
	}
}

// checkGolden compares what is written now with what the golden file says was written. With update it writes files that
// are missing or of another revision, and no others: under one revision the output of an event never changes.
func checkGolden(file, revision, got string, update bool) error {
	got = "revision " + revision + "\n" + got
	golden, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		if !update {
			return fmt.Errorf("%s is missing: run go test ./order -update to write it", file)
		}
		return os.WriteFile(file, []byte(got), 0o644)
	}
	if err != nil {
		return err
	}
	if got == string(golden) {
		return nil
	}
	first, _, _ := strings.Cut(string(golden), "\n")
	if first == "revision "+revision {
		return fmt.Errorf("%s: the view writes other cells for this event under the same revision %s. "+
			"Tables already written would mix both, silently. Undo the change, or give order.Revision a new value, "+
			"then run go test ./order -update.\ngot:\n%s\nwant:\n%s", file, revision, got, golden)
	}
	if !update {
		return fmt.Errorf("%s: is of %s, not of %s: run go test ./order -update, and build the new revision "+
			"in a new generation of tables", file, first, revision)
	}
	return os.WriteFile(file, []byte(got), 0o644)
}

func TestGoldenFilesAreGuardedByTheRevision(t *testing.T) {
	file := filepath.Join(t.TempDir(), "event.txt")
	steps := []struct {
		what          string
		revision, got string
		update        bool
		wantErr       string
	}{
		{"a missing file fails", "r/1", "a\n", false, "is missing: run"},
		{"a missing file is written on update", "r/1", "a\n", true, ""},
		{"the same output passes", "r/1", "a\n", false, ""},
		{"changed output fails", "r/1", "b\n", false, "give order.Revision a new value"},
		{"changed output fails on update too", "r/1", "b\n", true, "give order.Revision a new value"},
		{"the file was left alone", "r/1", "a\n", false, ""},
		{"a new revision asks for an update", "r/2", "b\n", false, "run go test ./order -update, and build the new revision"},
		{"a new revision is written on update", "r/2", "b\n", true, ""},
		{"the new output passes", "r/2", "b\n", false, ""},
	}
	for _, s := range steps {
		err := checkGolden(file, s.revision, s.got, s.update)
		if s.wantErr == "" && err != nil || s.wantErr != "" && (err == nil || !strings.Contains(err.Error(), s.wantErr)) {
			t.Errorf("%s: got error %v, want %q", s.what, err, s.wantErr)
		}
	}
}

// describe spells a result out, one line for each cell, keys and values in hexadecimal as Cassandra stores them.
func describe(result view.Result) string {
	var b strings.Builder
	e := result.Event
	fmt.Fprintf(&b, "event id=%q type=%q schema=%d version=%d time=%s entity=%q attributes=%q traceparent=%q\n",
		e.ID, e.Type, e.SchemaVersion, e.EntityVersion, e.Time.Format(time.RFC3339Nano), e.Entity, e.Attributes, e.TraceParent)
	for _, m := range result.Mutations {
		fmt.Fprintf(&b, "mutation %s", m.Table)
		for _, v := range m.Key {
			fmt.Fprintf(&b, " %x", v.Bytes())
		}
		b.WriteByte('\n')
		for _, c := range view.Merge(m.Cells, nil) {
			fmt.Fprintf(&b, "  %s[%x] = %x @%d\n", c.Column, c.Path.Bytes(), c.Value.Bytes(), c.Stamp)
		}
	}
	return b.String()
}
