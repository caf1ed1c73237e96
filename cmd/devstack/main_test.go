package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/localstack"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "devstack-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "devstack")
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build devstack: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// run runs devstack to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	err := cmd.Run()
	exited, ok := errors.AsType[*exec.ExitError](err)
	if err != nil && !ok {
		t.Fatalf("devstack %s: %v", strings.Join(args, " "), err)
	}
	if ok {
		code = exited.ExitCode()
	}
	return code, out.String(), messages.String()
}

// foreground is a devstack that runs until it is told to end.
type foreground struct {
	*exec.Cmd
	stdout *bufio.Reader
	stderr *bytes.Buffer
}

func start(t *testing.T, args ...string) foreground {
	t.Helper()
	f := foreground{Cmd: exec.Command(binary, args...), stderr: new(bytes.Buffer)}
	f.Stderr = f.stderr
	stdout, err := f.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.stdout = bufio.NewReader(stdout)
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Process.Kill() })
	return f
}

// line returns the next line of standard output.
func (f foreground) line(t *testing.T) string {
	t.Helper()
	line, err := f.stdout.ReadString('\n')
	if err != nil {
		_ = f.Wait()
		t.Fatalf("%v; it said:\n%s", err, f.stderr)
	}
	return strings.TrimSpace(line)
}

// end signals it and returns its exit code.
func (f foreground) end(t *testing.T, sig os.Signal) int {
	t.Helper()
	if err := f.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	return f.code(t)
}

func (f foreground) code(t *testing.T) int {
	t.Helper()
	if _, err := io.Copy(io.Discard, f.stdout); err != nil {
		t.Fatal(err)
	}
	_ = f.Wait()
	return f.ProcessState.ExitCode()
}

// needJava skips tests that start DynamoDBLocal.
func needJava(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers of its own: left out by -short")
	}
	if err := localstack.CheckPrerequisites(t.Context(), localstack.Config{DynamoDB: true}); err != nil {
		t.Skipf("starts servers of its own: %v", err)
	}
}

// children returns the running processes whose parent is pid.
func children(t *testing.T, pid int) []localstack.Identity {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	if len(lists) == 0 {
		t.Skip("needs /proc with the children of a process")
	}
	var all []localstack.Identity
	for _, list := range lists {
		content, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that has ended meanwhile
		}
		for field := range strings.FieldsSeq(string(content)) {
			var child int
			if _, err := fmt.Sscan(field, &child); err != nil {
				t.Fatal(err)
			}
			id, err := localstack.Identify(child)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, id)
		}
	}
	return all
}

// eventually tries until it succeeds. It is for what other processes bring about and no channel tells.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-retry.C:
		}
	}
}

// eventuallyEnded waits until none of them runs.
func eventuallyEnded(t *testing.T, all ...localstack.Identity) {
	t.Helper()
	for _, id := range all {
		eventually(t, func() error {
			if id.Running() {
				return fmt.Errorf("process %d still runs", id.PID)
			}
			return nil
		})
	}
}

func missing(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
}

func TestWhatTheUserTypedWrongExitsWith2(t *testing.T) {
	for _, args := range [][]string{
		{}, {"fly"}, {"up", "now"}, {"up", "--bogus"}, {"up", "--cassandra-nodes", "2"}, {"up", "--s3-port", "70000"},
		{"up", "--detach", "--logs"}, {"down", "--env", "a", "--dir", "b"}, {"kinesis", "--shards", "-1"},
	} {
		code, stdout, stderr := run(t, args...)
		if code != exitUsage || stderr == "" {
			t.Errorf("devstack %s: exit %d, %q, %q", strings.Join(args, " "), code, stdout, stderr)
		}
	}
	t.Setenv("DEVSTACK_DIR", "")
	if code, _, stderr := run(t, "down"); code != exitUsage || !strings.Contains(stderr, "--env") {
		t.Errorf("down of nothing: exit %d, %s", code, stderr)
	}
}

func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"up", "--help"}, {"down", "--help"}, {"kinesis", "--help"}} {
		code, stdout, _ := run(t, args...)
		if code != exitOK || !strings.Contains(stdout, "Examples:") {
			t.Errorf("devstack %s: exit %d\n%s", strings.Join(args, " "), code, stdout)
		}
	}
}

func TestKinesisAlone(t *testing.T) {
	f := start(t, "kinesis", "--stream", "mine", "--shards", "2")
	if endpoint := f.line(t); !strings.HasPrefix(endpoint, "http://127.0.0.1:") {
		t.Errorf("endpoint %q", endpoint)
	}
	if code := f.end(t, syscall.SIGINT); code != exitOK {
		t.Errorf("exit %d\n%s", code, f.stderr)
	}
	if !strings.Contains(f.stderr.String(), "stream mine with 2 shards") {
		t.Errorf("it said\n%s", f.stderr)
	}
}
