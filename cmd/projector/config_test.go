package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/cmd/internal/cli"
	"penstock/config"
)

var update = flag.Bool("update", false, "write golden files anew")

// runConfig runs the command in testdata/config, so that sources are named without the folders above it, and with no
// variables of ours but those given.
func runConfig(t *testing.T, environ map[string]string, args ...string) (stdout string, err error) {
	t.Helper()
	t.Chdir(filepath.Join("testdata", "config"))
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PENSTOCK_") {
			t.Setenv(name, "") // which counts as absent
		}
	}
	for name, value := range environ {
		t.Setenv(name, value)
	}
	var out bytes.Buffer
	c := configCommand()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SilenceErrors, c.SilenceUsage = true, true
	err = c.ExecuteContext(t.Context())
	return out.String(), err
}

// golden holds got against a file next to the configuration, where the test is by now.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), to be written anew by -update:\n%s", name, diff)
	}
}

// indented checks that a text is one line of JSON, and makes it readable.
func indented(t *testing.T, text string) string {
	t.Helper()
	if strings.Count(text, "\n") != 1 {
		t.Errorf("not one line: %s", text)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text), "", "  "); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return b.String()
}

// fromEverywhere gives a value by each layer.
var fromEverywhere = map[string]string{
	"PENSTOCK_LEASES_FAILOVER":     "40s",
	"PENSTOCK_TELEMETRY_LOG_LEVEL": "debug",
}

func TestConfigIsATable(t *testing.T) {
	out, err := runConfig(t, fromEverywhere, "--config", "penstock.yaml", "--generation", "3")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "effective.txt", out)
}

func TestConfigIsOneObjectOfJSON(t *testing.T) {
	out, err := runConfig(t, fromEverywhere, "--config", "penstock.yaml", "--generation", "3", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "effective.json", indented(t, out))
}

func TestConfigShowsNoSecret(t *testing.T) {
	for _, output := range []string{"text", "json"} {
		t.Run(output, func(t *testing.T) {
			for _, source := range []map[string]string{nil, {"PENSTOCK_CASSANDRA_PASSWORD": "correct horse battery staple"}} {
				t.Run("", func(t *testing.T) {
					out, err := runConfig(t, source, "--config", "penstock.yaml", "-o", output)
					if err != nil || strings.Contains(out, "horse") || !strings.Contains(out, "[secret]") {
						t.Errorf("%v: %s", err, out)
					}
				})
			}
		})
	}
}

func TestConfigTellsAllMistakesAtOnce(t *testing.T) {
	out, err := runConfig(t, nil, "--config", "mistakes.yaml")
	if exitCode(err) != cli.ExitConfig || out != "" {
		t.Fatalf("exit code %d, output %q", exitCode(err), out)
	}
	invalid, ok := errors.AsType[*config.Error](err)
	if !ok || len(invalid.Mistakes) != 5 {
		t.Errorf("got %v, want five mistakes", err)
	}
	golden(t, "mistakes.txt", err.Error()+"\n")
}

func TestConfigTellsMistakesToScripts(t *testing.T) {
	out, err := runConfig(t, nil, "--config", "mistakes.yaml", "-o", "json")
	if exitCode(err) != cli.ExitConfig {
		t.Errorf("exit code %d: %v", exitCode(err), err)
	}
	golden(t, "mistakes.json", indented(t, out))
}

func TestConfigOfAViewThatTheProgramLacksIsInvalid(t *testing.T) {
	_, err := runConfig(t, map[string]string{"PENSTOCK_VIEW_NAME": "ordr"}, "--config", "penstock.yaml")
	if exitCode(err) != cli.ExitConfig || !strings.Contains(err.Error(), "view.name") {
		t.Errorf("exit code %d: %v", exitCode(err), err)
	}
}

func TestConfigPrintsItsDocuments(t *testing.T) {
	schema, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"schema": schema, "docs": config.Documentation()} {
		t.Run(name, func(t *testing.T) {
			if out, err := runConfig(t, nil, name); err != nil || out != string(want) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestConfigCalledWrongly(t *testing.T) {
	for _, args := range [][]string{{"config", "print"}, {"config", "--colour"}, {"config", "-o", "yaml"}, {"config", "schema", "cassandra"}} {
		if code := execute(t.Context(), args); code != cli.ExitUsage {
			t.Errorf("%q: exit code %d, want %d", args, code, cli.ExitUsage)
		}
	}
}

// TestDocumentedReportsAreReal holds the two reports in docs/configuration.md against the types that are printed.
func TestDocumentedReportsAreReal(t *testing.T) {
	parts := strings.Split(string(config.Documentation()), "```json\n")
	if len(parts) != 3 {
		t.Fatalf("%d reports", len(parts)-1)
	}
	for i, part := range parts[1:] {
		text, _, _ := strings.Cut(part, "```")
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		var report configReport
		if err := d.Decode(&report); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := errors.Join(json.Unmarshal([]byte(text), &want), json.Unmarshal(again, &got)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || report.Version != configReportVersion || report.Valid != (i == 0) {
			t.Errorf("(-documented +printed):\n%s", diff)
		}
	}
}
