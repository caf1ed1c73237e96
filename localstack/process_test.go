package localstack

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// eventually looks until condition holds. It is for what the operating system brings about and no channel tells.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatal("it has not come about")
		case <-look.C:
		}
	}
}

// testProcess returns a process that runs a shell script and is ready at once.
func testProcess(t *testing.T, script string) (*Process, chan error) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	n := newNursery()
	died := make(chan error, 1)
	p := &Process{
		name: "script", logFile: filepath.Join(t.TempDir(), "logs", "script.log"), nursery: n,
		command: func() *exec.Cmd { return exec.Command("sh", "-c", script) },
		ready:   func(context.Context) error { return nil },
		died:    func(err error) { died <- err },
	}
	t.Cleanup(func() {
		p.stop()
		n.close()
		goleak.VerifyNone(t, before)
	})
	return p, died
}

func TestADeathNobodyAskedForIsToldWithTheEndOfTheLog(t *testing.T) {
	p, died := testProcess(t, "echo first; read line <&9; echo out of memory >&2; exit 3")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	command := p.command
	p.command = func() *exec.Cmd {
		cmd := command()
		cmd.ExtraFiles = []*os.File{nil, nil, nil, nil, nil, nil, read} // descriptor 9
		return cmd
	}
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	read.Close()
	write.Close()
	err = <-died
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "first\nout of memory") {
		t.Errorf("%v", err)
	}
}

func TestADeathBeforeReadyEndsTheStart(t *testing.T) {
	p, _ := testProcess(t, "echo port already in use; exit 1")
	p.ready = func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := p.start(t.Context()); err == nil || !strings.Contains(err.Error(), "port already in use") {
		t.Errorf("%v", err)
	}
}

func TestKillIsNoUnexpectedDeathAndRestartBringsItBack(t *testing.T) {
	p, died := testProcess(t, "exec sleep 1000")
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, err := Identify(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if first.Running() {
		t.Error("it runs after Kill")
	}
	for name, act := range map[string]func() error{"kill": p.Kill, "freeze": p.Freeze, "thaw": p.Thaw} {
		if act() == nil {
			t.Errorf("%s of a process that does not run succeeded", name)
		}
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := Identify(p.PID())
	if err != nil || second == first {
		t.Errorf("after Restart: %+v, %v", second, err)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second.Running() {
		t.Error("Restart left the former life running")
	}
	select {
	case err := <-died:
		t.Errorf("taken for unexpected: %v", err)
	default:
	}
}

func TestAFrozenProcessCanBeThawedAndStopped(t *testing.T) {
	p, _ := testProcess(t, "exec cat")
	command, toChild := p.command, io.WriteCloser(nil)
	p.command = func() *exec.Cmd {
		cmd := command()
		var err error
		if toChild, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(toChild, "while frozen\n"); err != nil {
		t.Fatal(err)
	}
	if said := tail(p.logFile); said != "" {
		t.Errorf("a frozen process said %q", said)
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return tail(p.logFile) == "while frozen" })
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p.stop()
	if took := time.Since(began); took >= stopGrace {
		t.Errorf("it did not end by itself, %s", took)
	}
}

func TestAStoppedStackStartsNothing(t *testing.T) {
	n := newNursery()
	n.close()
	if err := n.start(exec.Command("true")); !errors.Is(err, errNurseryClosed) {
		t.Errorf("%v", err)
	}
}

func TestChildrenAreNotInTheGroupThatCtrlCReaches(t *testing.T) {
	p, _ := testProcess(t, "exec sleep 1000")
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	group, err := syscall.Getpgid(p.PID())
	if err != nil || group != p.PID() {
		t.Errorf("process group %d of process %d, %v", group, p.PID(), err)
	}
}
