package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"penstock/localstack"
)

// A stack whose only process is DynamoDBLocal starts in two seconds.
var small = []string{"up", "--cassandra-nodes", "0"}

func withFlags(flags ...string) []string { return append(append([]string(nil), small...), flags...) }

func TestUpInTheForegroundEndsWithCtrlC(t *testing.T) {
	needJava(t)
	dir, env := filepath.Join(t.TempDir(), "stack"), filepath.Join(t.TempDir(), "env")
	f := start(t, withFlags("--dir", dir, "--env", env, "--logs", "--stream", "mine")...)
	if line := f.line(t); line != ready {
		t.Fatalf("standard output: %q", line)
	}
	if named, err := localstack.DirOfEnv(env); err != nil || named != dir {
		t.Errorf("the environment names %q, %v", named, err)
	}
	servers := children(t, f.Process.Pid)
	if len(servers) != 1 {
		t.Errorf("children: %v", servers)
	}
	if code := f.end(t, syscall.SIGINT); code != exitOK {
		t.Errorf("exit %d\n%s", code, f.stderr)
	}
	for _, id := range servers {
		if id.Running() {
			t.Errorf("process %d still runs", id.PID)
		}
	}
	missing(t, dir, env)
	for _, part := range []string{"dynamodb    | Initializing DynamoDB Local", "stream mine with 4 shards", "stopping"} {
		if !strings.Contains(f.stderr.String(), part) {
			t.Errorf("%q is not in\n%s", part, f.stderr)
		}
	}
}

func TestAServerThatDiesEndsUpWith1AndItsLog(t *testing.T) {
	needJava(t)
	dir := filepath.Join(t.TempDir(), "stack")
	f := start(t, withFlags("--dir", dir)...)
	if line := f.line(t); line != ready {
		t.Fatalf("standard output: %q", line)
	}
	for _, id := range children(t, f.Process.Pid) {
		if err := id.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if code := f.code(t); code != exitFailed || !strings.Contains(f.stderr.String(), "Initializing DynamoDB Local") {
		t.Errorf("exit %d\n%s", code, f.stderr)
	}
}

func TestDetachReturnsWhenReadyAndDownEndsIt(t *testing.T) {
	needJava(t)
	dir, env := filepath.Join(t.TempDir(), "stack"), filepath.Join(t.TempDir(), "env")
	code, stdout, stderr := run(t, withFlags("--detach", "--dir", dir, "--env", env)...)
	if code != exitOK || stdout != ready+"\n" || !strings.Contains(stderr, "dynamodb answers") {
		t.Fatalf("exit %d, %q\n%s", code, stdout, stderr)
	}
	supervisor, err := localstack.Supervisor(dir)
	if err != nil || !supervisor.Running() {
		t.Fatalf("supervisor %+v, %v", supervisor, err)
	}
	servers := children(t, supervisor.PID)
	if code, _, stderr := run(t, "down", "--env", env); code != exitOK {
		t.Errorf("down: exit %d\n%s", code, stderr)
	}
	for _, id := range append(servers, supervisor) {
		if id.Running() {
			t.Errorf("process %d still runs", id.PID)
		}
	}
	missing(t, dir, env)
	if code, _, stderr := run(t, "down", "--dir", dir); code != exitOK || !strings.Contains(stderr, "no stack") {
		t.Errorf("down again: exit %d\n%s", code, stderr)
	}
}

func TestAKilledSupervisorTakesItsServersAlong(t *testing.T) {
	needJava(t)
	dir, env := filepath.Join(t.TempDir(), "stack"), filepath.Join(t.TempDir(), "env")
	if code, _, stderr := run(t, withFlags("--detach", "--dir", dir, "--env", env)...); code != exitOK {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	supervisor, err := localstack.Supervisor(dir)
	if err != nil {
		t.Fatal(err)
	}
	servers := children(t, supervisor.PID)
	if len(servers) != 1 {
		t.Errorf("children: %v", servers)
	}
	if err := supervisor.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventuallyEnded(t, append(servers, supervisor)...)
	if code, _, stderr := run(t, "down", "--env", env); code != exitOK || !strings.Contains(stderr, "removing what it left") {
		t.Errorf("down: exit %d\n%s", code, stderr)
	}
	missing(t, dir, env)
}

func TestADetachedStartThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	needJava(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	dir := filepath.Join(t.TempDir(), "stack")
	code, stdout, stderr := run(t, withFlags("--detach", "--dir", dir, "--s3-port", taken)...)
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit %d, %q\n%s", code, stdout, stderr)
	}
	missing(t, dir)
}

func TestAStackEndsWithItsOwner(t *testing.T) {
	needJava(t)
	owner := exec.Command("sleep", "1000")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "stack")
	if code, _, stderr := run(t, withFlags("--detach", "--dir", dir, "--owner", strconv.Itoa(owner.Process.Pid))...); code != exitOK {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	supervisor, err := localstack.Supervisor(dir)
	if err != nil {
		t.Fatal(err)
	}
	servers := children(t, supervisor.PID)
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait()
	eventuallyEnded(t, append(servers, supervisor)...)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is still there (%v)", err)
	}
}

func TestAnInterruptedDetachLeavesNothing(t *testing.T) {
	needJava(t)
	dir := filepath.Join(t.TempDir(), "stack")
	f := start(t, withFlags("--detach", "--dir", dir)...)
	// The supervisor claims its folder at the very beginning.
	var supervisor localstack.Identity
	eventually(t, func() (err error) { supervisor, err = localstack.Supervisor(dir); return err })
	if code := f.end(t, syscall.SIGINT); code == exitOK {
		t.Errorf("exit %d\n%s", code, f.stderr)
	}
	eventuallyEnded(t, supervisor)
	missing(t, dir)
}
