package localstack

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// supervisorVariable makes the test binary a supervisor that starts a child, says its id and waits to be killed.
const supervisorVariable = "LOCALSTACK_TEST_SUPERVISOR"

func TestMain(m *testing.M) {
	if os.Getenv(supervisorVariable) == "" {
		os.Exit(m.Run())
	}
	n := newNursery()
	child := exec.Command("sleep", "1000")
	if err := n.start(child); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(child.Process.Pid)
	_ = child.Wait()
	os.Exit(1)
}

func TestChildrenEndWithASupervisorThatIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	supervisor := exec.Command(os.Args[0])
	supervisor.Env = append(os.Environ(), supervisorVariable+"=yes")
	supervisor.Stderr = os.Stderr
	stdout, err := supervisor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	child, err := Identify(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := supervisor.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := supervisor.Wait(); err == nil {
		t.Error("the supervisor was not killed")
	}
	eventually(t, func() bool { return !child.Running() })
}

// A child started the plain way would die with the thread of the goroutine that started it, while its supervisor is well.
func TestChildrenOutliveTheThreadOfWhoeverAskedForThem(t *testing.T) {
	n := newNursery()
	defer n.close()
	child := exec.Command("sleep", "1000")
	asked := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		asked <- n.start(child)
	}()
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	id, err := Identify(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	// Threads come and go.
	for range 20 {
		ended := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(ended)
		}()
		<-ended
	}
	if !id.Running() {
		t.Error("the child died with a thread")
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	if child.Wait() == nil {
		t.Error("sleep ended by itself")
	}
}
