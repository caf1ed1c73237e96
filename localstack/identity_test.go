package localstack

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestSignalReachesThisVeryProcessOnly(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	// The same id, started at another time: a stranger who has got the number.
	stranger := Identity{PID: id.PID, Started: id.Started + "0"}
	if stranger.Running() {
		t.Error("a process with another start time counts as running")
	}
	if err := stranger.Signal(syscall.SIGKILL); !errors.Is(err, ErrNoProcess) {
		t.Errorf("signal to a stranger: %v", err)
	}
	if !id.Running() {
		t.Fatal("the process does not run, or the stranger was signalled")
	}
	if err := id.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("sleep was not killed")
	}
	if id.Running() {
		t.Error("a process that was waited for counts as running")
	}
	if err := id.Signal(syscall.SIGTERM); !errors.Is(err, ErrNoProcess) {
		t.Errorf("signal to an ended process: %v", err)
	}
}

func TestAProcessThatNobodyHasWaitedForDoesNotRun(t *testing.T) {
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	// The end of its output comes when it is ending; from there it is a zombie within an instant.
	if _, err := stdout.Read(make([]byte, 1)); err == nil {
		t.Fatal("cat said something")
	}
	eventually(t, func() bool { return !id.Running() })
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSupervisorIsReadFromTheFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := Supervisor(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is no stack's: %v", err)
	}
	if err := claimDir(dir); err != nil {
		t.Fatal(err)
	}
	id, err := Supervisor(dir)
	if err != nil || id.PID != os.Getpid() || !id.Running() {
		t.Errorf("supervisor %+v, %v", id, err)
	}
	if err := RemoveRemains(dir); err == nil {
		t.Error("the folder of a running supervisor was removed")
	}
	for _, content := range []string{"", "{}", `{"pid":-1,"started":"x"}`, `{"pid":12}`} {
		if err := os.WriteFile(filepath.Join(dir, supervisorFile), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if id, err := Supervisor(dir); err == nil {
			t.Errorf("%q names %+v", content, id)
		}
	}
}

func TestRemainsOfAKilledSupervisorAreRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "stack")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := RemoveRemains(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is no stack's: %v", err)
	}
	record := []byte(`{"pid":1,"started":"long ago"}`)
	if err := os.WriteFile(filepath.Join(dir, supervisorFile), record, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := RemoveRemains(dir); err != nil {
		t.Fatal(err)
	}
	if isDir(dir) {
		t.Error("the folder is still there")
	}
}
