// Package deploy_test checks the files that Penstock is deployed with.
package deploy_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"penstock/config"
)

// Dockerfile and compose file are read by the parsers of the programs that take them. Those are in the module of tools, since
// nothing else here needs them, and so are the tests.
func TestContainerFiles(t *testing.T) {
	said, err := exec.CommandContext(t.Context(), "go", "-C", "../tools", "test", "-count=1", "-v", "./deploy").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	passed := 0
	for line := range strings.Lines(string(said)) {
		switch {
		case strings.HasPrefix(line, "--- PASS"):
			passed++
		case strings.HasPrefix(line, "--- SKIP"):
			t.Log(strings.TrimSpace(line))
		}
	}
	if passed < 5 {
		t.Errorf("%d tests passed:\n%s", passed, said)
	}
}

// What the compose file sets for the projector is a configuration without a mistake.
func TestComposeConfiguresTheProjector(t *testing.T) {
	text, err := os.ReadFile("../localstack/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct{ Environment map[string]string }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"setup", "projector"} {
		var environment []string
		for name, value := range file.Services[service].Environment {
			environment = append(environment, name+"="+value)
		}
		if _, err := config.Load(config.Sources{Env: environment}); err != nil {
			t.Errorf("%s: %v", service, err)
		}
		if _, err := config.Load(config.Sources{Env: append(environment, "PENSTOCK_APPLICATIONS=orders")}); err == nil {
			t.Error("a variable that the projector does not know must be a mistake")
		}
	}
}
