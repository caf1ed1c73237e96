package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// readView knows of a text its first line, which is name and revision.
func readView(file string, text []byte) (name, revision string, err error) {
	first, _, _ := strings.Cut(string(text), "\n")
	name, revision, ok := strings.Cut(first, " ")
	if !ok {
		return "", "", &Error{Mistakes: []Mistake{
			{Key: "tables", Rule: "is missing: give at least one", Origin: Origin{Layer: File, Name: file, Line: 9, Column: 1}},
			{Key: "event.id", Rule: "is no path: begin it with /", Origin: Origin{Layer: File, Name: file, Line: 3, Column: 7}},
		}}
	}
	return name, revision, nil
}

// viewIn writes a view's file and returns its path.
func viewIn(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "view.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheViewInAFileGivesItsName(t *testing.T) {
	path := viewIn(t, "shelf 7f\n")
	for name, env := range map[string][]string{
		"no name given":   {"PENSTOCK_VIEW_FILE=" + path},
		"its name given":  {"PENSTOCK_VIEW_FILE=" + path, "PENSTOCK_VIEW_NAME=shelf"},
		"an empty one is": {"PENSTOCK_VIEW_FILE=" + path, "PENSTOCK_VIEW_NAME="},
	} {
		c := load(t, Sources{Env: append(slices.Clone(requiredByEnvironment), env...), Views: []string{"order"}, ReadView: readView})
		if diff := cmp.Diff(View{Name: "shelf", File: path, Revision: "7f", Generation: 1}, c.View); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got := c.Origin("view.name").String(); got != "PENSTOCK_VIEW_FILE" {
			t.Errorf("%s: it comes from %s", name, got)
		}
	}
	c := load(t, Sources{Env: requiredByEnvironment, Views: []string{"order"}, ReadView: readView})
	if diff := cmp.Diff(View{Name: "order", Generation: 1}, c.View); diff != "" {
		t.Errorf("without a file (-want +got):\n%s", diff)
	}
}

func TestAFileThatGivesNoViewIsAMistake(t *testing.T) {
	folder := t.TempDir()
	shelf, broken, long := viewIn(t, "shelf 7f\n"), viewIn(t, "?\n"), viewIn(t, strings.Repeat("s", 41)+" 7f\n")
	for _, test := range []struct {
		name, yaml string // in line 1 and after it
		want       []string
	}{
		{"not there", "view: {file: /nowhere/view.yaml}\n", []string{`:1: view.file = "/nowhere/view.yaml": must be a readable file: no such file or directory`}},
		{"a folder", "view: {file: " + folder + "}\n", []string{`:1: view.file = "` + folder + `": must be a readable file: is a directory`}},
		{"empty path", "view: {file: \"\"}\n", []string{`:1: view.file: must be the path of a readable file`}},
		{"another name", "view:\n  name: order\n  file: " + shelf + "\n", []string{`:2: view.name = "order": contradicts view.file: the view in ` + shelf + ` is shelf`}},
		{"a name that cannot be", "view:\n  name: Shelf\n  file: " + shelf + "\n",
			[]string{`:2: view.name = "Shelf": must be up to 40 lower-case letters, digits and underscores`}},
		{"a name that is too long", "view: {file: " + long + "}\n", []string{`:1: view.file = "` + shown(Key{}, []string{long}) + `": the name of the view in it, ` +
			strings.Repeat("s", 41) + `, must be up to 40 lower-case letters, digits and underscores`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.yaml)
			_, err := Load(Sources{File: path, Env: requiredByEnvironment, Views: []string{"order"}, ReadView: readView})
			var got []string
			for _, m := range mistakesOf(t, err) {
				got = append(got, strings.TrimPrefix(m.String(), path))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}

	t.Run("all that is wrong in both files", func(t *testing.T) {
		path := filepath.Join(filepath.Dir(broken), "penstock.yaml") // which is before view.yaml
		if err := os.WriteFile(path, []byte("\n\n\n\nview:\n  file: "+broken+"\n  colour: red\ndrain_timeout: 0s\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Sources{File: path, Env: requiredByEnvironment, ReadView: readView})
		want := "configuration invalid: 4 mistakes" +
			"\n  " + path + ":7: view.colour: is no key of ours" +
			"\n  " + path + `:8: drain_timeout = "0s": must be 1s to 10m` +
			"\n  " + broken + ":3:7: event.id: is no path: begin it with /" +
			"\n  " + broken + ":9:1: tables: is missing: give at least one"
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("a reader that fails otherwise", func(t *testing.T) {
		_, err := Load(Sources{Env: append(slices.Clone(requiredByEnvironment), "PENSTOCK_VIEW_FILE="+shelf),
			ReadView: func(string, []byte) (string, string, error) { return "", "", errors.New("must be short") }})
		if got := mistakesOf(t, err); len(got) != 1 || !strings.HasSuffix(got[0].String(), ": must be short") {
			t.Errorf("%v", err)
		}
	})
}

func TestAnotherDefinitionIsAChangeOfTheFile(t *testing.T) {
	path := viewIn(t, "shelf 7f\n")
	with := func(text string) *Config {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return load(t, Sources{Env: append(slices.Clone(requiredByEnvironment), "PENSTOCK_VIEW_FILE="+path), ReadView: readView})
	}
	running := with("shelf 7f\n")
	for text, want := range map[string][]string{
		"shelf 7f\n# a comment\n": nil,
		"shelf 80\n":              {"view.file=" + path},
		"rack 7f\n":               {"view.name=rack"},
		"rack 80\n":               {"view.name=rack", "view.file=" + path},
	} {
		if safe, restart := Changes(running, with(text)); safe != nil || !slices.Equal(names(restart), want) {
			t.Errorf("%q: safe %q, restart %q, want %q", text, names(safe), names(restart), want)
		}
	}
	without := load(t, Sources{Env: requiredByEnvironment, ReadView: readView})
	if _, restart := Changes(running, without); !slices.Equal(names(restart), []string{"view.name=order", "view.file="}) {
		t.Errorf("without a file: restart %q", names(restart))
	}
}
