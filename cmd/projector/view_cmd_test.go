package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"penstock/cmd/internal/cli"
	"penstock/view/viewfile"
)

// exampleViews are the folders of examples that the format's own package has.
const exampleViews = "../../view/viewfile/examples"

// inViews changes to the folder of this file's test data, so that files are named without the folders above them.
func inViews(t *testing.T) {
	t.Helper()
	t.Chdir(filepath.Join("testdata", "viewcmd"))
}

// runView runs projector view with these arguments. Standard error ends in the message of the error, as it does in a
// terminal.
func runView(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, diagnostics bytes.Buffer
	c := viewCommand()
	c.SetArgs(args)
	c.SetIn(strings.NewReader(stdin))
	c.SetOut(&out)
	c.SetErr(&diagnostics)
	c.SilenceErrors, c.SilenceUsage = true, true
	err := c.ExecuteContext(t.Context())
	if err != nil {
		diagnostics.WriteString("projector: " + err.Error() + "\n")
	}
	return out.String(), diagnostics.String(), exitCode(err)
}

const arrival = "2026-11-21T10:00:00Z"

func TestViewCommandsPrintWhatTheyFind(t *testing.T) {
	for _, test := range []struct {
		name string // of the golden file; what ends in .json is one line of it
		args []string
		code int
	}{
		{"lint.txt", []string{"lint", "devices/view.yaml"}, cli.ExitOK},
		{"lint.json", []string{"lint", "devices/view.yaml", "-o", "json"}, cli.ExitOK},
		{"refused.txt", []string{"lint", "refused.yaml"}, cli.ExitConfig},
		{"refused.json", []string{"lint", "refused.yaml", "-o", "json"}, cli.ExitConfig},
		{"explain.txt", []string{"explain", "devices/view.yaml", "devices/events/registered.json", "--keyspace", "plant", "--generation", "2", "--arrival", arrival}, cli.ExitOK},
		{"explain.json", []string{"explain", "devices/view.yaml", "devices/events/registered.json", "--arrival", arrival, "-o", "json"}, cli.ExitOK},
		{"poison.txt", []string{"explain", "devices/view.yaml", "devices/events/tampered.json", "--arrival", arrival}, cli.ExitDifferent},
		{"poison.json", []string{"explain", "devices/view.yaml", "devices/events/tampered.json", "--arrival", arrival, "-o", "json"}, cli.ExitDifferent},
		{"test.txt", []string{"test", "devices"}, cli.ExitOK},
		{"test.json", []string{"test", "devices", "--seed", "7", "-o", "json"}, cli.ExitOK},
		{"actual.yaml", []string{"test", "devices", "--actual"}, cli.ExitOK},
		{"differs.txt", []string{"test", "differs"}, cli.ExitDifferent},
		{"differs.json", []string{"test", "differs", "-o", "json"}, cli.ExitDifferent},
	} {
		t.Run(test.name, func(t *testing.T) {
			inViews(t)
			stdout, stderr, code := runView(t, "", test.args...)
			if code != test.code {
				t.Fatalf("exit code %d, want %d: %s", code, test.code, stderr)
			}
			if (stderr == "") != (code == cli.ExitOK) {
				t.Errorf("exit code %d, and standard error is %q", code, stderr)
			}
			if filepath.Ext(test.name) == ".json" {
				stdout = indented(t, stdout)
			}
			golden(t, test.name, stdout)
		})
	}
}

// What scaffold proposes is accepted, and what it is unsure of stands on standard error and in the file.
func TestScaffoldProposesAFile(t *testing.T) {
	samples := []string{"devices/events/registered.json", "devices/events/reports.ndjson"}
	inViews(t)
	proposal, doubts, code := runView(t, "", append([]string{"scaffold"}, samples...)...)
	if code != cli.ExitOK {
		t.Fatalf("exit code %d: %s", code, doubts)
	}
	golden(t, "scaffold.yaml", proposal)
	golden(t, "scaffold.txt", doubts)
	if stdout, stderr, code := runView(t, proposal, "lint", "-"); code != cli.ExitOK {
		t.Errorf("the proposal: exit code %d:\n%s%s", code, stdout, stderr)
	}
	if doubts == "" {
		t.Error("nothing is in doubt")
	}
	for doubt := range strings.Lines(doubts) {
		if text, ok := strings.CutPrefix(doubt, "unsure: "); !ok || !strings.Contains(proposal, "# ? "+text) {
			t.Errorf("%q is not in the file", doubt)
		}
	}
	stdout, stderr, _ := runView(t, "", append([]string{"scaffold", "-o", "json"}, samples...)...)
	if stderr != "" {
		t.Errorf("beside JSON: %s", stderr)
	}
	golden(t, "scaffold.json", indented(t, stdout))
}

// Events come in a file each or in lines, and records of a change feed may be empty.
func TestSamplesMayStandInAnyFiles(t *testing.T) {
	inViews(t)
	together, err := os.ReadFile("devices/events/reports.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	apart := []string{"scaffold", filepath.Join(dir, "tombstone.json")}
	if err := os.WriteFile(apart[1], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(together)), "\n") {
		file := filepath.Join(dir, string(rune('a'+i))+".json")
		if err := os.WriteFile(file, []byte("\uFEFF"+strings.ReplaceAll(line, ",", ",\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		apart = append(apart, file)
	}
	want, _, _ := runView(t, string(together), "scaffold", "-")
	if got, stderr, code := runView(t, "", apart...); got != want || code != cli.ExitOK || got == "" {
		t.Errorf("exit code %d: %s\n%s\nfrom one file:\n%s", code, stderr, got, want)
	}
}

func TestViewCommandsSayWhatIsWrongWithTheirInput(t *testing.T) {
	const noView = "- a list\n"
	for _, test := range []struct {
		name  string
		args  []string
		stdin string
		code  int
		words string // of standard error
	}{
		{"lint of a missing file", []string{"lint", "none.yaml"}, "", cli.ExitFailed, "none.yaml: no such file"},
		{"lint of a folder", []string{"lint", "devices"}, "", cli.ExitFailed, "devices: is a directory"},
		{"lint of no YAML", []string{"lint", "-"}, "view: [", cli.ExitConfig, "stdin is refused: 1 mistake"},
		{"lint of another document", []string{"lint", "-"}, noView, cli.ExitConfig, "stdin is refused: 1 mistake"},
		{"lint of nothing", []string{"lint", "-"}, "", cli.ExitConfig, "stdin is refused: 1 mistake"},
		{"lint of bytes", []string{"lint", "-"}, "view: \xff", cli.ExitConfig, "stdin is refused: 1 mistake"},
		{"explain by a missing file", []string{"explain", "none.yaml", "-"}, "{}", cli.ExitFailed, "none.yaml: no such file"},
		{"explain by a refused file", []string{"explain", "refused.yaml", "-"}, "{}", cli.ExitConfig, "  refused.yaml:14:23: tables.devices_by_site.columns.reports.type: a counter"},
		{"explain of a missing event", []string{"explain", "devices/view.yaml", "none.json"}, "", cli.ExitFailed, "none.json: no such file"},
		{"explain of a folder", []string{"explain", "devices/view.yaml", "devices"}, "", cli.ExitFailed, "devices: is a directory"},
		{"explain of no JSON", []string{"explain", "devices/view.yaml", "-"}, "{", cli.ExitDifferent, "stdin would be parked: bad_json"},
		{"explain of nothing", []string{"explain", "devices/view.yaml", "-"}, "", cli.ExitDifferent, "stdin would be parked: bad_json"},
		{"explain of a type that is not named", []string{"explain", "devices/view.yaml", "-"},
			`{"id":"1","kind":"device.lost","device":"d","site":"s","seq":1,"at":"2026-11-21T08:00:00Z"}`, cli.ExitDifferent, "stdin would be parked: unknown_type"},
		{"scaffold of a missing file", []string{"scaffold", "none.json"}, "", cli.ExitFailed, "none.json: no such file"},
		{"scaffold of a folder", []string{"scaffold", "devices"}, "", cli.ExitFailed, "devices: is a directory"},
		{"scaffold of nothing", []string{"scaffold", "-"}, " \n", cli.ExitFailed, "there is no event in -"},
		{"scaffold of no JSON", []string{"scaffold", "-"}, "{}\n{}\n{\"a\": 1,}\n", cli.ExitFailed, "stdin: line 3: event 3 is not JSON"},
		{"scaffold of half an event", []string{"scaffold", "-"}, "{}\n{\"a\"", cli.ExitFailed, "stdin: line 2: event 2 is not JSON"},
		{"scaffold of a number", []string{"scaffold", "-"}, "{}\n7\n", cli.ExitFailed, "read sample 2 of 2"},
		{"test of a missing folder", []string{"test", "none"}, "", cli.ExitFailed, "open the folder: open none: no such file"},
		{"test of a file", []string{"test", "refused.yaml"}, "", cli.ExitFailed, "open the folder: open refused.yaml: not a directory"},
		{"test of a folder without a view", []string{"test", "devices/events"}, "", cli.ExitFailed, "read the view: openat view.yaml: no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inViews(t)
			_, stderr, code := runView(t, test.stdin, test.args...)
			if code != test.code || !strings.Contains(stderr, test.words) {
				t.Errorf("exit code %d, want %d; standard error, which should have %q:\n%s", code, test.code, test.words, stderr)
			}
		})
	}
}

func TestViewCommandsCalledWrongly(t *testing.T) {
	for _, args := range [][]string{
		{"view"},
		{"view", "check"},
		{"view", "lint"},
		{"view", "lint", "a", "b"},
		{"view", "lint", "a", "-o", "yaml"},
		{"view", "explain", "a"},
		{"view", "explain", "-", "-"},
		{"view", "explain", "a", "b", "-o", "yaml"},
		{"view", "explain", "a", "b", "--arrival", "yesterday"},
		{"view", "explain", "a", "b", "--arrival", "2026-11-21T10:00:00"},
		{"view", "test"},
		{"view", "test", ".", "--seed", "-1"},
		{"view", "test", ".", "-o", "yaml"},
		{"view", "test", ".", "--actual", "-o", "json"},
		{"view", "scaffold"},
		{"view", "scaffold", "a", "-o", "yaml"},
		{"view", "schema", "a"},
	} {
		if code := execute(t.Context(), args); code != cli.ExitUsage {
			t.Errorf("%q: exit code %d, want %d", args, code, cli.ExitUsage)
		}
	}
}

func TestWhetherAnEventIsInTimeIsItsArrivals(t *testing.T) {
	inViews(t)
	const event = `{"id":"e-9","kind":"device.reported","device":"d","site":"s","seq":9,"at":"2026-11-21T08:00:00Z","battery":1,"readings":[]}`
	for at, want := range map[string]int{"2026-11-21T07:55:00Z": cli.ExitOK, "2026-11-21T07:54:59Z": cli.ExitDifferent, "": cli.ExitOK} {
		args := []string{"explain", "devices/view.yaml", "-"}
		if at != "" {
			args = append(args, "--arrival", at)
		}
		if stdout, stderr, code := runView(t, event, args...); code != want {
			t.Errorf("arrival %q: exit code %d, want %d\n%s%s", at, code, want, stdout, stderr)
		}
	}
}

// An event of a type that is ignored is applied, and says so.
func TestAnEventThatChangesNothingIsExplained(t *testing.T) {
	inViews(t)
	stdout, _, code := runView(t, `{"id":"e","kind":"device.rebooted","device":"d","site":"s","seq":0,"at":"2026-11-21T08:00:00Z"}`, "explain", "devices/view.yaml", "-")
	if code != cli.ExitOK || !strings.Contains(stdout, "\nchanges  nothing") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
}

func TestALongValueIsCutInTheTableAndWholeInTheCQL(t *testing.T) {
	inViews(t)
	model := strings.Repeat("ä", 500)
	event := `{"id":"e","kind":"device.registered","device":"d","site":"s","seq":1,"at":"2026-11-21T08:00:00Z","model":"` + model + `","tags":[]}`
	stdout, _, _ := runView(t, event, "explain", "devices/view.yaml", "-")
	if strings.Count(stdout, model) != 1 || strings.Count(stdout, "'"+strings.Repeat("ä", widest-1)+"…") != 1 {
		t.Errorf("got:\n%s", stdout)
	}
}

// The rows that test prints are those that it then takes as expected.
func TestActualRowsAreExpectedRows(t *testing.T) {
	for _, name := range exampleNames(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(exampleViews, name))); err != nil {
				t.Fatal(err)
			}
			actual, stderr, code := runView(t, "", "test", dir, "--actual")
			if code != cli.ExitOK {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			file := filepath.Join(dir, viewfile.FileExpect)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(string(before), "rows:\n")
			if err := os.WriteFile(file, []byte(head+actual), 0o600); err != nil {
				t.Fatal(err)
			}
			if stdout, stderr, code := runView(t, "", "test", dir, "--seed", "99"); code != cli.ExitOK {
				t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
			}
		})
	}
}

func TestEveryExampleIsCleanAndPassesItsTest(t *testing.T) {
	for _, name := range exampleNames(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(exampleViews, name)
			stdout, stderr, code := runView(t, "", "lint", filepath.Join(dir, viewfile.FileView))
			if code != cli.ExitOK || !strings.Contains(stdout, ", 0 warnings") {
				t.Errorf("lint: exit code %d:\n%s%s", code, stdout, stderr)
			}
			stdout, stderr, code = runView(t, "", "test", dir, "--seed", "7")
			if code != cli.ExitOK {
				t.Errorf("test: exit code %d:\n%s%s", code, stdout, stderr)
			}
		})
	}
}

// exampleNames returns the folders of examples, among them those that are known to be there.
func exampleNames(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(exampleViews)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, known := range []string{"order", "profiles", "shipments", "stock"} {
		if !slices.Contains(names, known) {
			t.Fatalf("no example %s in %q", known, names)
		}
	}
	return names
}

func TestTheSchemaOfAViewIsCurrent(t *testing.T) {
	stdout, _, code := runView(t, "", "schema")
	if code != cli.ExitOK || stdout != string(viewfile.JSONSchema()) {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	golden(t, filepath.Join("..", "..", "docs", "penstock-view.schema.json"), stdout)
}

// TestEveryViewCommandHasExamples holds that help shows how each is typed.
func TestEveryViewCommandHasExamples(t *testing.T) {
	group := viewCommand()
	for _, c := range append(group.Commands(), group) {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if !strings.Contains(c.Example, "projector view ") || c.Short == "" {
			t.Errorf("%s: %q, example %q", c.Name(), c.Short, c.Example)
		}
	}
	var out bytes.Buffer
	group.SetArgs([]string{"lint", "--help"})
	group.SetOut(&out)
	if err := group.Execute(); err != nil || !strings.Contains(out.String(), "exit code") {
		t.Errorf("%v: %s", err, out.String())
	}
}
