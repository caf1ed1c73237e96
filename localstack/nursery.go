package localstack

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
)

var errNurseryClosed = errors.New("the stack has been stopped")

// nursery starts all child processes of a stack from one operating system thread that lives as long as the stack.
//
// Linux ties a child's parent-death signal to the thread that forked it, not to the process. Go moves goroutines between threads and
// ends idle ones, so a child started from any goroutine could be killed while its supervisor is well.
type nursery struct {
	births chan birth
	quit   chan struct{}
	done   chan struct{}
}

type birth struct {
	cmd    *exec.Cmd
	result chan error
}

// newNursery starts the goroutine that owns the thread; close ends it.
func newNursery() *nursery {
	n := &nursery{births: make(chan birth), quit: make(chan struct{}), done: make(chan struct{})}
	go n.loop()
	return n
}

func (n *nursery) loop() {
	defer close(n.done)
	// Never unlocked: the thread ends with the goroutine, and with the thread whatever child might still be alive.
	runtime.LockOSThread()
	for {
		select {
		case b := <-n.births:
			b.result <- b.cmd.Start()
		case <-n.quit:
			return
		}
	}
}

// start starts cmd in a process group of its own, so that Ctrl-C on the terminal reaches only the supervisor, and bound to die with it.
// What else its attributes ask for, such as namespaces of its own, holds as well.
func (n *nursery) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	bindToParent(cmd.SysProcAttr)
	b := birth{cmd: cmd, result: make(chan error, 1)}
	select {
	case n.births <- b:
		return <-b.result
	case <-n.done:
		return errNurseryClosed
	}
}

// close must be called once, when all children have been waited for.
func (n *nursery) close() {
	close(n.quit)
	<-n.done
}
