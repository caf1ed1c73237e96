package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"penstock/cmd/internal/cli"
	"penstock/view"
)

const shelvesFile = "testdata/view/shelves.yaml"

// shelves returns the file's text with lines added behind others, each given with what is in front of it.
func shelves(t *testing.T, added ...string) string {
	t.Helper()
	b, err := os.ReadFile(shelvesFile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(added); i += 2 {
		if !strings.Contains(text, added[i]+"\n") {
			t.Fatalf("no line %q in\n%s", added[i], text)
		}
		text = strings.Replace(text, added[i]+"\n", added[i]+"\n"+added[i+1]+"\n", 1)
	}
	return text
}

// The lines that shelves are added behind.
const (
	columnLine = "      on_hand: {type: int, class: revisable}"
	setLine    = "        on_hand: {path: /on_hand, optional: true}"
)

func mustRead(t *testing.T, text string) cli.FileView {
	t.Helper()
	v, err := cli.ReadView("shelves.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// absolute is the path of a file for a test that changes the folder.
func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigShowsTheViewInAFile(t *testing.T) {
	path := absolute(t, shelvesFile)
	out, err := runConfig(t, map[string]string{"PENSTOCK_VIEW_FILE": path}, "--config", "penstock.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][]string{"view.name": {"shelves", "PENSTOCK_VIEW_FILE"}, "view.file": {path, "PENSTOCK_VIEW_FILE"}} {
		if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
			return slices.Equal(strings.Fields(line), append([]string{key}, want...))
		}) {
			t.Errorf("%s is not %s in\n%s", key, want, out)
		}
	}
}

func TestConfigTellsTheMistakesInAViewsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shelves.yaml")
	text := strings.NewReplacer("provenance: last", "provenance: first", "class: revisable", "class: sometimes").Replace(shelves(t))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := runConfig(t, map[string]string{"PENSTOCK_VIEW_FILE": path}, "--config", "mistakes.yaml", "-o", "json")
	if exitCode(err) != cli.ExitConfig {
		t.Errorf("exit code %d: %v", exitCode(err), err)
	}
	var report configReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	var got []string
	others := 0
	for _, m := range report.Mistakes {
		if m.Source == nil || m.Source.Name != path {
			others++
			continue
		}
		got = append(got, fmt.Sprintf("%s %d:%d", m.Key, m.Source.Line, m.Source.Column))
		if told := fmt.Sprintf("%s:%d:%d: %s: %s", path, m.Source.Line, m.Source.Column, m.Key, m.Rule); !strings.Contains(err.Error(), told) {
			t.Errorf("%q is not said in %v", told, err)
		}
	}
	if diff := cmp.Diff([]string{"tables.shelf.provenance 15:17", "tables.shelf.columns.on_hand.class 17:35"}, got); diff != "" {
		t.Errorf("mistakes in the file (-want +got):\n%s", diff)
	}
	if others == 0 {
		t.Error("those of the configuration are not told")
	}
}

func TestWhatAnAuthorShouldKnowIsLogged(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	mustRead(t, shelves(t)).Warn(zap.New(core))
	before := logged.Len()
	mustRead(t, shelves(t, columnLine, "      colour: {type: text, class: revisable}")).Warn(zap.New(core))
	entries := logged.All()[before:]
	found := slices.ContainsFunc(entries, func(e observer.LoggedEntry) bool {
		fields := e.ContextMap()
		return fields["file"] == "shelves.yaml" && fields["line"].(int64) > 0 && strings.Contains(fields["reason"].(string), "nothing sets colour")
	})
	if !found || len(entries) != before+1 {
		t.Errorf("%d entries before, then %+v", before, entries)
	}
}

func TestAFileIsHeldAgainstWhatIsRegistered(t *testing.T) {
	registered := mustRead(t, shelves(t)).Definition()
	colour := []string{columnLine, "      colour: {type: text, class: revisable}", setLine, "        colour: {path: /colour, optional: true}"}
	for name, c := range map[string]struct {
		text  string
		added []view.ColumnRef
		says  string
	}{
		"the same":       {"# with a comment\n" + shelves(t), nil, ""},
		"a column more":  {shelves(t, colour...), []view.ColumnRef{{Table: "shelf", Column: "colour"}}, ""},
		"another source": {strings.Replace(shelves(t), "/on_hand", "/reserved", 1), nil, "on_hand"},
		"both":           {strings.Replace(shelves(t, colour...), "/on_hand", "/reserved", 1), nil, "on_hand"},
	} {
		added, differs, err := mustRead(t, c.text).Compare(registered)
		if err != nil || (len(differs) == 0) != (c.says == "") || !strings.Contains(strings.Join(differs, "; "), c.says) {
			t.Errorf("%s: differs %q, %v, want %q", name, differs, err, c.says)
		}
		if diff := cmp.Diff(c.added, added); diff != "" {
			t.Errorf("%s: columns (-want +got):\n%s", name, diff)
		}
	}
	if _, _, err := mustRead(t, shelves(t)).Compare([]byte("view: [")); err == nil {
		t.Error("a definition that is none is compared")
	}
}

func TestSetupPrintsTheColumnsOfAView(t *testing.T) {
	for key, value := range map[string]string{
		"APPLICATION": "orders", "KINESIS_STREAM": "events", "CASSANDRA_HOSTS": "nosuchhost.invalid", "CASSANDRA_KEYSPACE": "shop",
		"CASSANDRA_DATACENTER": "dc1", "CASSANDRA_REPLICATION_FACTOR": "3", "CASSANDRA_CONSISTENCY": "", "DEAD_LETTERS_BUCKET": "letters",
		"VIEW_FILE": shelvesFile,
	} {
		t.Setenv("PENSTOCK_"+key, value)
	}
	c := setupCommand()
	var out bytes.Buffer
	c.SetArgs([]string{"--print", "--generation", "2"})
	c.SetOut(&out)
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := mustRead(t, shelves(t))
	at := 0
	for _, want := range []string{
		"CREATE TABLE IF NOT EXISTS shop.shelf_g2 (",
		"CREATE TABLE IF NOT EXISTS shop.view_state (",
		"ALTER TABLE shop.view_state ADD IF NOT EXISTS (definitions map<int, text>, additions map<text, text>);",
		`ALTER TABLE shop.shelf_g2 ADD IF NOT EXISTS ("on_hand" int);`,
		"INSERT INTO shop.view_state",
		"revisions[2] = '" + v.Revision() + "'",
		"definitions[2] = '" + strings.ReplaceAll(string(v.Definition()), "'", "''") + "' WHERE name = 'shelves'",
		"\n-- Columns that were added",
	} {
		i := strings.Index(out.String()[at:], want)
		if i < 0 {
			t.Fatalf("%q does not stand there, or not in this order, in\n%s", want, out.String())
		}
		at += i
	}
}
