package viewfile

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the rows that the examples end in; read them before you keep them")

func TestExamplesEndInWhatTheyExpect(t *testing.T) {
	folders, err := filepath.Glob("examples/*")
	if err != nil || len(folders) < 4 {
		t.Fatalf("%d examples: %v", len(folders), err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			if *update {
				writeRows(t, folder)
			}
			report, err := Test(os.DirFS(folder), 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range report.Differences {
				t.Error(d)
			}
			for _, w := range report.Warnings {
				t.Error(w)
			}
			if report.Events == 0 || report.Rows == 0 || report.Orders == 0 {
				t.Errorf("%+v", report)
			}
		})
	}
}

// writeRows replaces the rows in an example's expect.yaml, and nothing before them. Other rows for the same events are
// another meaning of the same file: see [interpreter].
func writeRows(t *testing.T, folder string) {
	t.Helper()
	report, err := Test(os.DirFS(folder), 1)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, FileExpect)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(text, []byte("rows:"))
	if err := os.WriteFile(file, append(head, report.Actual...), 0o644); err != nil {
		t.Fatal(err)
	}
}
