package deploy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

var composeFile = filepath.Join(root, "localstack", "compose.yaml")

// loadCompose reads a compose file as docker compose does: against the schema, with every reference resolved.
func loadCompose(t *testing.T, text string) *types.Project {
	t.Helper()
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(composeFile),
		ConfigFiles: []types.ConfigFile{{Filename: composeFile, Content: []byte(text)}},
		Environment: types.Mapping{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func readCompose(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestComposeStartsThingsInOrder(t *testing.T) {
	for _, fault := range composeFaults(loadCompose(t, readCompose(t))) {
		t.Error(fault)
	}
}

func TestFaultsOfComposeAreReported(t *testing.T) {
	good := readCompose(t)
	for name, plant := range map[string]struct{ old, new, says string }{
		"a moving tag":                 {"cassandra:5.0.9", "cassandra:latest", "cassandra:latest"},
		"no tag":                       {"cassandra:5.0.9", "cassandra", "cassandra"},
		"a LocalStack with an account": {"localstack:4.14.0", "localstack:2026.3.0", "4.14.0"},
		"a port for everybody":         {`"127.0.0.1:4566:4566"`, `"4566:4566"`, "127.0.0.1"},
		"setup does not wait":          {"condition: service_healthy\n      cassandra:", "condition: service_started\n      cassandra:", "setup must wait"},
		"run does not wait for setup":  {"service_completed_successfully", "service_started", "projector must wait"},
		"setup is repeated for ever":   {`restart: "no"`, "restart: always", "restart"},
		"one service too many":         {"SERVICES: kinesis,dynamodb,s3", "SERVICES: kinesis,dynamodb,s3,sqs", "SERVICES"},
		"a root file system to write":  {"read_only: true", "read_only: false", "read-only"},
		"another stream":               {"      <<: *names\n      SERVICES", "      PENSTOCK_DEAD_LETTERS_BUCKET: b\n      SERVICES", "PENSTOCK_KINESIS_STREAM"},
		"no health check":              {"interval: 5s\n      timeout: 10s", "disable: true\n      timeout: 10s", "health check"},
	} {
		t.Run(name, func(t *testing.T) {
			planted := strings.Replace(good, plant.old, plant.new, 1)
			if planted == good {
				t.Fatalf("%q is not in the file", plant.old)
			}
			faults := composeFaults(loadCompose(t, planted))
			if !slices.ContainsFunc(faults, func(fault string) bool { return strings.Contains(fault, plant.says) }) {
				t.Errorf("got %q, want a report with %q", faults, plant.says)
			}
		})
	}
}

func composeFaults(project *types.Project) (faults []string) {
	report := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if names := project.ServiceNames(); !slices.Equal(names, []string{"cassandra", "localstack", "projector", "setup"}) {
		report("the services are %q", names)
		return faults
	}
	for name, service := range project.Services {
		if _, tag, tagged := strings.Cut(service.Image, ":"); !tagged || tag == "latest" {
			report("%s: image %s is not pinned", name, service.Image)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				report("%s: port %s must be on 127.0.0.1 only: nothing here asks for a password", name, port.Published)
			}
		}
	}
	localstack, cassandra := project.Services["localstack"], project.Services["cassandra"]
	if localstack.Image != "localstack/localstack:4.14.0" {
		report("image %s: 4.14.0 is the last that needs no account", localstack.Image)
	}
	if !strings.HasPrefix(cassandra.Image, "cassandra:5.0.") {
		report("image %s: want Cassandra 5.0", cassandra.Image)
	}
	if services := value(localstack, "SERVICES"); services != "kinesis,dynamodb,s3" {
		report("SERVICES is %q", services)
	}
	for _, server := range []types.ServiceConfig{localstack, cassandra} {
		if check := server.HealthCheck; check == nil || check.Disable || len(check.Test) < 2 {
			report("%s has no health check", server.Name)
		}
	}
	setup, run := project.Services["setup"], project.Services["projector"]
	for _, server := range []string{"localstack", "cassandra"} {
		if setup.DependsOn[server].Condition != types.ServiceConditionHealthy {
			report("setup must wait until %s is healthy", server)
		}
	}
	if run.DependsOn["setup"].Condition != types.ServiceConditionCompletedSuccessfully {
		report("projector must wait until setup has ended well")
	}
	if setup.Restart != types.RestartPolicyNo {
		report("setup has restart %q: it runs once", setup.Restart)
	}
	for service, command := range map[*types.ServiceConfig]string{&setup: "setup", &run: "run"} {
		if !slices.Equal(service.Command, []string{command}) {
			report("%s runs %q", service.Name, service.Command)
		}
		if !service.ReadOnly || service.User != "" || !slices.Equal(service.CapDrop, []string{"ALL"}) {
			report("%s must run as the image's user, on a read-only root file system and without capabilities", service.Name)
		}
		for _, shared := range []string{"PENSTOCK_KINESIS_STREAM", "PENSTOCK_DEAD_LETTERS_BUCKET"} {
			if got := value(*service, shared); got == "" || got != value(localstack, shared) {
				report("%s of %s is %q, and %q is what gets created", shared, service.Name, got, value(localstack, shared))
			}
		}
	}
	return faults
}

// value of a variable in a service's environment; empty if it is not there.
func value(service types.ServiceConfig, name string) string {
	if v := service.Environment[name]; v != nil {
		return *v
	}
	return ""
}

// LocalStack answers these (https://docs.localstack.cloud/aws/capabilities/config/initialization-hooks).
func TestLocalStackIsHealthyWhenItsScriptsHaveRun(t *testing.T) {
	for _, program := range []string{"sh", "curl", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	test := loadCompose(t, readCompose(t)).Services["localstack"].HealthCheck.Test
	const script = `{"stage":"READY","name":"10-stream-and-bucket.sh","state":%q}`
	for name, c := range map[string]struct {
		status  int
		answer  string
		healthy bool
	}{
		"ready":              {200, `{"completed":true,"scripts":[` + fmt.Sprintf(script, "SUCCESSFUL") + `]}`, true},
		"script at work":     {200, `{"completed":false,"scripts":[` + fmt.Sprintf(script, "RUNNING") + `]}`, false},
		"stage not complete": {200, `{"completed":false,"scripts":[` + fmt.Sprintf(script, "SUCCESSFUL") + `]}`, false},
		"script failed":      {200, `{"completed":true,"scripts":[` + fmt.Sprintf(script, "ERROR") + `]}`, false},
		"script not found":   {200, `{"completed":true,"scripts":[]}`, false},
		"not up":             {503, ``, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/_localstack/init/ready" {
					http.NotFound(w, r)
					return
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.answer)
			}))
			defer server.Close()
			command := strings.Replace(test[1], "http://localhost:4566", server.URL, 1)
			said, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
			if healthy := err == nil; healthy != c.healthy {
				t.Errorf("healthy is %t, want %t: %s", healthy, c.healthy, said)
			}
		})
	}
}

// The stand-in for awslocal keeps a file for everything that was created, and fails when asked to create it again.
const awslocal = `#!/bin/sh
case "$1 $2" in
"kinesis describe-stream-summary") test -e "$FOLDER/stream-$4" ;;
"kinesis create-stream") test ! -e "$FOLDER/stream-$4" && : >"$FOLDER/stream-$4" ;;
"kinesis wait") test "$3" = stream-exists && test -e "$FOLDER/stream-$5" ;;
"s3api head-bucket") test -e "$FOLDER/bucket-$4" ;;
"s3 mb") name=${3#s3://} && test ! -e "$FOLDER/bucket-$name" && : >"$FOLDER/bucket-$name" ;;
*) echo "unexpected: $*" >&2; exit 2 ;;
esac
`

func TestTheScriptCreatesStreamAndBucketOnce(t *testing.T) {
	script := filepath.Join(root, "localstack", "ready.d", "10-stream-and-bucket.sh")
	info, err := os.Stat(script)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode()&0o111 != 0o111 {
		t.Errorf("mode %s: LocalStack runs only what is executable", info.Mode())
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "awslocal"), []byte(awslocal), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context, environment ...string) error {
		cmd := exec.CommandContext(ctx, script)
		cmd.Env = append([]string{"FOLDER=" + folder, "PATH=" + folder + ":" + os.Getenv("PATH")}, environment...)
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, said)
		}
		return nil
	}
	for round := range 2 {
		if err := run(t.Context(), "PENSTOCK_KINESIS_STREAM=orders", "PENSTOCK_DEAD_LETTERS_BUCKET=letters"); err != nil {
			t.Errorf("run %d: %v", round+1, err)
		}
	}
	for _, created := range []string{"stream-orders", "bucket-letters"} {
		if _, err := os.Stat(filepath.Join(folder, created)); err != nil {
			t.Error(err)
		}
	}
	if err := run(t.Context(), "PENSTOCK_KINESIS_STREAM=orders"); err == nil {
		t.Error("without the name of a bucket it must fail")
	}
}

func TestDockerComposeTakesTheFile(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "docker", "compose", "version").Run(); err != nil {
		t.Skip("docker compose is not there: the file was only read by its library")
	}
	cmd := exec.CommandContext(t.Context(), "docker", "compose", "-f", composeFile, "config", "--quiet")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}
