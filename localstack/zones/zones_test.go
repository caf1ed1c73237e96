package zones

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"penstock/localstack"
)

// roleVariable makes the test binary another process: the one that builds zones, a server in a zone, or a client in a zone.
const (
	roleVariable    = "ZONES_TEST_ROLE"
	addressVariable = "ZONES_TEST_ADDRESS"
)

// What no link on one machine takes, and what a test waits for an answer that does not come.
const patience = 700 * time.Millisecond

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "build":
		err = cutAndDelay()
	case "serve":
		err = echo()
	case "supervise":
		err = supervise()
	case "call":
		_, err = roundTrip(netip.MustParseAddrPort(os.Getenv(addressVariable)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestZonesAreCutAndDelayedOneByOne(t *testing.T) {
	if err := Check(); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := role(ctx, nil, "build")
	Isolate(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join("/run/netns", name)); err == nil {
			t.Errorf("the namespace %s is left", name)
		}
	}
}

func TestWhatRunsInAZoneEndsWithItsSupervisor(t *testing.T) {
	if err := Check(); err != nil {
		t.Skip(err)
	}
	supervisor := role(t.Context(), nil, "supervise")
	supervisor.Stderr = os.Stderr
	stdout, err := supervisor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	Isolate(supervisor)
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(stdout, &pid); err != nil {
		t.Fatal(err)
	}
	child, err := localstack.Identify(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := supervisor.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = supervisor.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := await(ctx, func() error {
		if child.Running() {
			return fmt.Errorf("process %d still runs", pid)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestTheMachinesOwnNetworkIsLeftAlone(t *testing.T) {
	if _, err := Build(t.Context()); err == nil {
		t.Error("zones were built outside a network of their own")
	}
}

// role returns the test binary as another process, behind what enters a zone.
func role(ctx context.Context, enter []string, name string) *exec.Cmd {
	line := append(enter, os.Args[0])
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	return cmd
}

// supervise starts a process in a zone, says its id and waits to be killed.
func supervise() error {
	n, err := Build(context.Background())
	if err != nil {
		return err
	}
	line := append(n.Enter(0), "sleep", "1000")
	child := exec.Command(line[0], line[1:]...)
	children := localstack.NewChildren()
	if err := children.Start(child); err != nil {
		return err
	}
	// Entering is over when the command has become the one behind it.
	if err := await(context.Background(), func() error {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child.Process.Pid))
		if err == nil && string(name) != "sleep\n" {
			err = fmt.Errorf("it is %s", name)
		}
		return err
	}); err != nil {
		return err
	}
	fmt.Println(child.Process.Pid)
	return child.Wait()
}

// cutAndDelay is the test itself, in a network of its own.
func cutAndDelay() error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	n, err := Build(ctx)
	if err != nil {
		return err
	}
	for i := range Count {
		server := role(ctx, n.Enter(i), "serve")
		if err := server.Start(); err != nil {
			return err
		}
		defer func() { cancel(); _ = server.Wait() }()
		if err := await(ctx, func() error { _, err := roundTrip(n.client(i)); return err }); err != nil {
			return err
		}
	}
	call := func(from, to int) error {
		cmd := role(ctx, n.Enter(from), "call")
		cmd.Env = append(cmd.Env, addressVariable+"="+netip.AddrPortFrom(n.Ring(to), echoPort).String())
		return cmd.Run()
	}
	// A busy machine may be late with an answer, and a bridge with a link that has come back.
	reach := func(want map[[2]int]bool) error {
		return await(ctx, func() error {
			for pair, reached := range want {
				if err := call(pair[0], pair[1]); (err == nil) != reached {
					return fmt.Errorf("%s to %s: %w", names[pair[0]], names[pair[1]], err)
				}
			}
			return nil
		})
	}
	if err := reach(map[[2]int]bool{{0, 1}: true, {1, 0}: true, {1, 2}: true}); err != nil {
		return fmt.Errorf("at first: %w", err)
	}
	if err := n.Cut(ctx, 0); err != nil {
		return err
	}
	if err := reach(map[[2]int]bool{{0, 1}: false, {1, 0}: false, {0, 2}: false, {1, 2}: true}); err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	if err := await(ctx, func() error { _, err := roundTrip(n.client(0)); return err }); err != nil {
		return fmt.Errorf("clients of a zone that is cut off: %w", err)
	}
	if err := n.Heal(ctx, 0); err != nil {
		return err
	}
	if err := reach(map[[2]int]bool{{0, 1}: true, {1, 0}: true}); err != nil {
		return fmt.Errorf("healed: %w", err)
	}
	return slowDown(ctx, n)
}

// slowDown holds a connection while its zone becomes slow and quick again.
func slowDown(ctx context.Context, n *Network) error {
	const mean, jitter = 100 * time.Millisecond, 20 * time.Millisecond
	conn, err := net.DialTimeout("tcp", n.client(1).String(), patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := n.Delay(ctx, 1, mean, jitter); err != nil {
		return err
	}
	if took, err := exchange(conn); err != nil || took < mean-jitter {
		return fmt.Errorf("slow: took %s: %w", took, err)
	}
	quick := func(took time.Duration, err error) error {
		if err == nil && took >= mean-jitter {
			err = fmt.Errorf("took %s", took)
		}
		return err
	}
	if err := await(ctx, func() error { return quick(roundTrip(n.client(0))) }); err != nil {
		return fmt.Errorf("the zone beside the slow one: %w", err)
	}
	if err := n.Hasten(1); err != nil {
		return err
	}
	if err := await(ctx, func() error { return quick(exchange(conn)) }); err != nil {
		return fmt.Errorf("quick again: %w", err)
	}
	return nil
}

const echoPort = 9042

func (n *Network) client(i int) netip.AddrPort { return netip.AddrPortFrom(n.Clients(i), echoPort) }

// echo serves until it is killed.
func echo() error {
	listener, err := net.Listen("tcp4", fmt.Sprintf(":%d", echoPort))
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() { _, _ = io.Copy(conn, conn) }()
	}
}

// roundTrip is how long a new connection takes to bring a byte back.
func roundTrip(to netip.AddrPort) (time.Duration, error) {
	began := time.Now()
	conn, err := net.DialTimeout("tcp", to.String(), patience)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_, err = exchange(conn)
	return time.Since(began), err
}

func exchange(conn net.Conn) (time.Duration, error) {
	began := time.Now()
	if err := conn.SetDeadline(began.Add(patience)); err != nil {
		return 0, err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return time.Since(began), err
}

// await tries again until it succeeds.
func await(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
