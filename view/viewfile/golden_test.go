package viewfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/view"
)

// TestExamplesWriteWhatTheInterpreterWrote holds the mutations of the examples' events, stamps included, against what was
// written under the same version of the interpreter.
func TestExamplesWriteWhatTheInterpreterWrote(t *testing.T) {
	for _, file := range exampleFiles(t) {
		name := filepath.Base(filepath.Dir(file))
		v := loadExample(t, name)
		events, err := filepath.Glob(filepath.Join("examples", name, "events", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, event := range events {
			data, err := os.ReadFile(event)
			if err != nil {
				t.Fatal(err)
			}
			result, err := v.Project(view.Record{Data: data, Arrival: goldenArrival})
			if err != nil {
				continue // what is poison may be accepted one day
			}
			fmt.Fprintf(&b, "%s\n%s", filepath.Base(event), describe(result))
		}
		if err := checkGolden(filepath.Join("testdata", "golden", name+".txt"), interpreter, v.Revision(), b.String(), *update); err != nil {
			t.Error(err)
		}
	}
}

// checkGolden compares what is written now with what the golden file says was written. With update it writes files that
// are missing, or of another interpreter or another view.
func checkGolden(file string, interpreter int, revision, got string, update bool) error {
	head := fmt.Sprintf("interpreter %d, revision %s\n", interpreter, revision)
	golden, err := os.ReadFile(file)
	switch {
	case err == nil && string(golden) == head+got:
		return nil
	case err == nil && strings.HasPrefix(string(golden), head):
		return fmt.Errorf("%s: the same file writes other cells under the same interpreter. Tables already written would mix both, silently. "+
			"Undo the change, or raise interpreter, then run go test ./view/viewfile -update\ngot:\n%s\nwant:\n%s", file, head+got, golden)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	case !update:
		return fmt.Errorf("%s is missing, or of another interpreter or view: run go test ./view/viewfile -update", file)
	}
	return os.WriteFile(file, []byte(head+got), 0o644)
}

func TestGoldenFilesAreGuardedByTheInterpreter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "golden.txt")
	for _, s := range []struct {
		what        string
		interpreter int
		revision    string
		got         string
		update      bool
		wantErr     string
	}{
		{"a missing file fails", 1, "r", "a\n", false, "is missing"},
		{"a missing file is written on update", 1, "r", "a\n", true, ""},
		{"the same output passes", 1, "r", "a\n", false, ""},
		{"changed output fails on update too", 1, "r", "b\n", true, "raise interpreter"},
		{"another interpreter asks for an update", 2, "r", "b\n", false, "run go test"},
		{"another interpreter is written on update", 2, "r", "b\n", true, ""},
		{"another view is written on update", 2, "s", "c\n", true, ""},
	} {
		err := checkGolden(file, s.interpreter, s.revision, s.got, s.update)
		if s.wantErr == "" && err != nil || s.wantErr != "" && (err == nil || !strings.Contains(err.Error(), s.wantErr)) {
			t.Errorf("%s: got error %v, want %q", s.what, err, s.wantErr)
		}
	}
}
