package localstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How long a child may take to end after SIGTERM before it is killed.
const stopGrace = 10 * time.Second

// How long the copying of a killed child's output may take.
const outputGrace = 5 * time.Second

// Process is one server of the stack that is an operating system process: a Cassandra node or DynamoDBLocal. A test breaks it with
// Freeze, Kill and their opposites. All methods may be called from any goroutine, Restart by one at a time.
type Process struct {
	name    string
	addr    netip.AddrPort
	logFile string
	console io.Writer
	nursery *nursery
	// command makes a fresh command for each start.
	command func() *exec.Cmd
	// ready returns nil once the server answers as its clients use it.
	ready func(context.Context) error
	// died is told of an end that nobody asked for. It must not block.
	died func(error)

	mu  sync.Mutex
	run *run // the latest start; nil before the first
}

// run is one life of a process.
type run struct {
	cmd      *exec.Cmd
	intended atomic.Bool   // its end was asked for
	ended    chan struct{} // closed when it has been waited for
	err      error         // what Wait returned; read it after ended
}

func (r *run) alive() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// Name is the part's name in logs: "cassandra-1", "dynamodb".
func (p *Process) Name() string { return p.name }

// Addr is where clients reach it: the CQL port of a Cassandra node.
func (p *Process) Addr() netip.AddrPort { return p.addr }

// LogFile is the file with everything it has printed, over all its lives.
func (p *Process) LogFile() string { return p.logFile }

// PID is the id of its latest life, 0 before the first.
func (p *Process) PID() int {
	if r := p.current(); r != nil {
		return r.cmd.Process.Pid
	}
	return 0
}

// Freeze stops the process without ending it (SIGSTOP): it holds its ports and connections and answers nothing.
func (p *Process) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on (SIGCONT).
func (p *Process) Thaw() error { return p.signal(syscall.SIGCONT) }

// Kill ends the process at once (SIGKILL) and returns when it is gone. Its data stays; so does its port, where connections
// are refused until Restart.
func (p *Process) Kill() error {
	r := p.current()
	if r == nil || !r.alive() {
		return fmt.Errorf("kill %s: it does not run", p.name)
	}
	r.intended.Store(true)
	r.kill()
	<-r.ended
	return nil
}

// Restart starts the process again on its data and its port, after stopping it where it still runs, and returns when it answers.
func (p *Process) Restart(ctx context.Context) error {
	p.stop()
	return p.start(ctx)
}

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

func (p *Process) signal(sig syscall.Signal) error {
	r := p.current()
	if r == nil || !r.alive() {
		return fmt.Errorf("send %s to %s: it does not run", sig, p.name)
	}
	if err := r.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %s to %s: %w", sig, p.name, err)
	}
	return nil
}

// start spawns the process and returns when it answers, when it has died, or when ctx ends.
func (p *Process) start(ctx context.Context) error {
	r, err := p.spawn()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- p.ready(ctx) }()
	select {
	case err := <-ready:
		if err != nil {
			return fmt.Errorf("start %s: %w", p.name, err)
		}
		return nil
	case <-r.ended:
		cancel()
		<-ready
		return fmt.Errorf("start %s: %w", p.name, p.obituary(r))
	}
}

func (p *Process) spawn() (*run, error) {
	if err := os.MkdirAll(filepath.Dir(p.logFile), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	r := &run{cmd: p.command(), ended: make(chan struct{})}
	r.cmd.WaitDelay = outputGrace
	// Without a console the child writes to the file by itself, and goes on doing so if this process is suspended.
	var output io.Writer = log
	if p.console != nil {
		output = io.MultiWriter(log, p.console)
	}
	r.cmd.Stdout, r.cmd.Stderr = output, output
	if err := p.nursery.start(r.cmd); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	p.mu.Lock()
	p.run = r
	p.mu.Unlock()
	// Ends with the process, for which the stack's end waits.
	go func() {
		r.err = r.cmd.Wait()
		_ = log.Close()
		close(r.ended)
		if !r.intended.Load() {
			p.died(fmt.Errorf("%s: %w", p.name, p.obituary(r)))
		}
	}()
	return r, nil
}

// stop asks the process to end and kills it if it does not. It returns when the process is gone.
func (p *Process) stop() {
	r := p.current()
	if r == nil || !r.alive() {
		return
	}
	r.intended.Store(true)
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	// A frozen process receives the first signal only once it has been thawed.
	_ = r.cmd.Process.Signal(syscall.SIGCONT)
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-r.ended:
	case <-grace.C:
		r.kill()
		<-r.ended
	}
}

// kill ends the whole process group, which the child leads.
func (r *run) kill() {
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
}

// obituary says how a process ended and what it printed last.
func (p *Process) obituary(r *run) error {
	how := "exit status 0"
	if r.err != nil {
		how = r.err.Error()
	}
	return fmt.Errorf("process %d ended unexpectedly (%s); the end of %s:\n%s", r.cmd.Process.Pid, how, p.logFile, tail(p.logFile))
}
