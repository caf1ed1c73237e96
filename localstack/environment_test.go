package localstack

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAShellThatSourcesTheFileHasTheEnvironment(t *testing.T) {
	port := func(host string) netip.AddrPort { return netip.MustParseAddrPort(host + ":4711") }
	s := &Stack{
		dir: "/tmp/it's a \"folder\" with $HOME and `ls` and \\", stream: "orders", bucket: "letters",
		kinesis: &Server{addr: port("127.0.0.1")}, s3: &Server{addr: port("127.0.0.1")}, dynamoDB: &Process{addr: port("127.0.0.1")},
		nodes: []*Process{{addr: port("127.0.0.1")}, {addr: port("127.0.0.2")}, {addr: port("127.0.0.3")}},
	}
	file := filepath.Join(t.TempDir(), "env")
	if err := s.WriteEnv(file); err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command("env", "-i", "PATH="+os.Getenv("PATH"), "sh", "-c", `. "$0" && env`, file).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(output)), "\n")
	for _, pair := range s.Env() {
		if !slices.Contains(got, pair) {
			t.Errorf("the shell does not have %q in\n%s", pair, output)
		}
	}
	for _, pair := range []string{
		"PENSTOCK_CASSANDRA_HOSTS=127.0.0.1:4711,127.0.0.2:4711,127.0.0.3:4711", "PENSTOCK_CASSANDRA_REPLICATION_FACTOR=3",
		"AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:4711", "PENSTOCK_DEAD_LETTERS_BUCKET=letters",
	} {
		if !slices.Contains(got, pair) {
			t.Errorf("the shell does not have %q", pair)
		}
	}

	dir, err := DirOfEnv(file)
	if err != nil || dir != s.dir {
		t.Errorf("the folder is read back as %q, %v", dir, err)
	}
	left, err := filepath.Glob(file + "*")
	if err != nil || len(left) != 1 {
		t.Errorf("files: %v, %v", left, err)
	}
}

func TestPartsThatDoNotRunAreNotInTheEnvironment(t *testing.T) {
	s := &Stack{dir: "/x", stream: "orders", bucket: "letters"}
	for _, pair := range s.Env() {
		if strings.Contains(pair, "ENDPOINT") || strings.Contains(pair, "CASSANDRA") || strings.Contains(pair, "BUCKET") {
			t.Errorf("%s, but nothing runs", pair)
		}
	}
}

func TestReadEnvRefusesWhatItDidNotWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	for content, wrong := range map[string]string{
		"export A=1\nB=2\n": "line 2 is no export",
		"export A\n":        "line 1 is no export",
		"export A=1\n":      "does not name DEVSTACK_DIR",
	} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := DirOfEnv(file); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestShellQuoteIsUndone(t *testing.T) {
	for _, value := range []string{"", "plain-1.0:/,@", "a b", "'", "''", `\`, "$(x)", "ü", "it's"} {
		if diff := cmp.Diff(value, shellUnquote(shellQuote(value))); diff != "" {
			t.Error(diff)
		}
	}
}
