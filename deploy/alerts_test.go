package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ruleFile is a file of Prometheus' alerting rules, as far as the tests below read it.
type ruleFile struct {
	Groups []struct {
		Rules []rule
	}
}

type rule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

// unitTests is a file of promtool's unit tests.
type unitTests struct {
	Files []string `yaml:"rule_files"`
	Tests []struct {
		Alerts []struct {
			Name     string     `yaml:"alertname"`
			Expected []struct{} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// alertFiles returns the files of rules, each with its file of unit tests beside it.
func alertFiles(t *testing.T) map[string]string {
	t.Helper()
	all, err := filepath.Glob("alerts/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, file := range all {
		if !strings.HasSuffix(file, "_test.yaml") {
			files[file] = strings.TrimSuffix(file, ".yaml") + "_test.yaml"
		}
	}
	if len(files) == 0 || len(all) != 2*len(files) {
		t.Fatalf("the files are %q: want rules, each with tests beside them", all)
	}
	return files
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// The rules are read and run by Prometheus' own tool. It has a module of its own, since it needs hundreds of others; to build it
// takes minutes the first time, and nothing once the go command has it in its cache.
func TestPromtoolPassesTheAlerts(t *testing.T) {
	for rules, tests := range alertFiles(t) {
		if said, err := promtool(t, "check", "rules", "--lint=all", "--lint-fatal", rules); err != nil {
			t.Errorf("%s: %v\n%s", rules, err, said)
		}
		if said, err := promtool(t, "test", "rules", tests); err != nil {
			t.Errorf("%s: %v\n%s", tests, err, said)
		}
	}
}

// A rule that fires at nothing, or at anything, must not pass.
func TestPromtoolFindsAFaultInARule(t *testing.T) {
	rules, err := os.ReadFile("alerts/dead-letters.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("alerts/dead-letters_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	faulty := strings.Replace(string(rules), `state="tripped"}) == 1`, `state="tripped"}) == 2`, 1)
	if faulty == string(rules) {
		t.Fatal("the fault was not planted")
	}
	for name, text := range map[string]string{"dead-letters.yaml": faulty, "dead-letters_test.yaml": string(tests)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said, err := promtool(t, "test", "rules", filepath.Join(folder, "dead-letters_test.yaml"))
	if err == nil || !strings.Contains(said, "PenstockBreakerTripped") {
		t.Errorf("%v\n%s", err, said)
	}
}

// promtool runs Prometheus' tool, without the service discovery that most of its dependencies are for.
func promtool(t *testing.T, args ...string) (said string, err error) {
	t.Helper()
	for i, arg := range args {
		if strings.HasSuffix(arg, ".yaml") {
			if args[i], err = filepath.Abs(arg); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Not go tool, which takes no tags, and so would build all of it.
	run := []string{"-C", "../tools/promtool", "run", "-mod=readonly", "-tags=remove_all_sd", "github.com/prometheus/prometheus/cmd/promtool"}
	c := exec.CommandContext(t.Context(), "go", append(run, args...)...)
	c.Env = append(os.Environ(), "GOFLAGS=") // the flags of the tests would be another build
	out, err := c.CombinedOutput()
	return string(out), err
}

// Each alert has a test that fires it and one that does not.
func TestEveryAlertIsTestedBothWays(t *testing.T) {
	for file, tests := range alertFiles(t) {
		var rules ruleFile
		var units unitTests
		readYAML(t, file, &rules)
		readYAML(t, tests, &units)
		if !slices.Equal(units.Files, []string{filepath.Base(file)}) {
			t.Errorf("%s tests %q", tests, units.Files)
		}
		fires, silent := map[string]bool{}, map[string]bool{}
		for _, test := range units.Tests {
			for _, a := range test.Alerts {
				fires[a.Name] = fires[a.Name] || len(a.Expected) > 0
				silent[a.Name] = silent[a.Name] || len(a.Expected) == 0
			}
		}
		for _, group := range rules.Groups {
			for _, r := range group.Rules {
				if !fires[r.Alert] || !silent[r.Alert] {
					t.Errorf("%s: a test that fires it %t, and one that does not %t", r.Alert, fires[r.Alert], silent[r.Alert])
				}
			}
		}
	}
}

// textfileMetrics are those that no daemon exports: they come from replay dlq, by a text file.
var textfileMetrics = []string{"penstock_dead_letters_open", "penstock_dead_letters_oldest_open_timestamp_seconds"}

// An alert asks for metrics that there are, says how bad it is, and names a part of a page that says what to do.
func TestEveryAlertHasMetricsAndARunbook(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := append([]string{"process_start_time_seconds"}, textfileMetrics...)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		known = append(known, row[1])
	}
	for file := range alertFiles(t) {
		var rules ruleFile
		readYAML(t, file, &rules)
		for _, group := range rules.Groups {
			for _, r := range group.Rules {
				for _, fault := range faultsOf(t, r, known) {
					t.Errorf("%s: %s", r.Alert, fault)
				}
			}
		}
	}
}

func TestFaultsOfAlertsAreReported(t *testing.T) {
	good := rule{Alert: "PenstockBreakerTripped", Expr: "penstock_breaker_state == 1",
		Labels:      map[string]string{"severity": "page"},
		Annotations: map[string]string{"summary": "s", "description": "d", "runbook": "docs/runbooks/dead-letters.md#penstockbreakertripped"}}
	known := []string{"penstock_breaker_state"}
	if faults := faultsOf(t, good, known); len(faults) > 0 {
		t.Errorf("a good one has faults: %q", faults)
	}
	for says, plant := range map[string]func(*rule){
		"penstock_breaker_states": func(r *rule) { r.Expr = "penstock_breaker_states == 1" },
		"no metric":               func(r *rule) { r.Expr = "vector(1)" },
		"severity":                func(r *rule) { r.Labels = map[string]string{"severity": "low"} },
		"description": func(r *rule) {
			r.Annotations = map[string]string{"summary": "s", "runbook": good.Annotations["runbook"]}
		},
		"heading": func(r *rule) { r.Alert = "PenstockBreakerTrips" },
	} {
		r := good
		plant(&r)
		if faults := faultsOf(t, r, known); !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, says) }) {
			t.Errorf("%s: the faults found are %q", says, faults)
		}
	}
}

var metricName = regexp.MustCompile(`\b(penstock|aws_kinesis_client|messaging|db_client|process|go)_[a-z0-9_]+`)

func faultsOf(t *testing.T, r rule, known []string) (faults []string) {
	t.Helper()
	metrics := metricName.FindAllString(r.Expr, -1)
	if len(metrics) == 0 {
		faults = append(faults, "it asks for no metric")
	}
	for _, m := range metrics {
		if !slices.Contains(known, m) {
			faults = append(faults, m+" is no metric")
		}
	}
	if s := r.Labels["severity"]; s != "page" && s != "ticket" {
		faults = append(faults, "severity "+s+": must be page or ticket")
	}
	for _, part := range []string{"summary", "description"} {
		if r.Annotations[part] == "" {
			faults = append(faults, "it has no "+part)
		}
	}
	path, anchor, _ := strings.Cut(r.Annotations["runbook"], "#")
	page, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		return append(faults, err.Error())
	}
	if anchor != strings.ToLower(r.Alert) || !slices.Contains(strings.Split(string(page), "\n"), "## "+r.Alert) {
		faults = append(faults, r.Annotations["runbook"]+" is not the heading of this alert")
	}
	return faults
}
