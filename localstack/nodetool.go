package localstack

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Nodetool runs nodetool with args on the host of a Cassandra node, 0 being the first, and returns what it printed. It takes a second or
// two of a processor, and is killed when ctx ends.
func (s *Stack) Nodetool(ctx context.Context, node int, args ...string) (string, error) {
	if node < 0 || node >= len(s.cassandra) {
		return "", fmt.Errorf("nodetool %s: there is no node %d", strings.Join(args, " "), node)
	}
	n := s.cassandra[node]
	cmd := n.nodetool(args)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := s.nursery.start(cmd); err != nil {
		return "", fmt.Errorf("nodetool %s on %s: %w", strings.Join(args, " "), n.name(), err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("nodetool %s on %s: %w: %s", strings.Join(args, " "), n.name(), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// NodeDir is the folder of a Cassandra node, 0 being the first, with its data, commit log and hints.
func (s *Stack) NodeDir(node int) string { return s.cassandra[node].dir }

// nodetool is what bin/nodetool of the distribution would run.
func (n cassandraNode) nodetool(args []string) *exec.Cmd {
	var line []string
	for _, flag := range flagLines(cassandraFlags) {
		if strings.HasPrefix(flag, "--add-") {
			line = append(line, flag)
		}
	}
	conf := filepath.Join(n.dir, "conf")
	line = append(line, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+PerfDisableSharedMem",
		"-Djava.io.tmpdir="+filepath.Join(n.dir, "tmp"),
		// It keeps a history of its commands below the home.
		"-Duser.home="+filepath.Join(n.dir, "tmp"),
		"-Dlogback.configurationFile="+filepath.Join(conf, "logback.xml"),
		"-cp", conf+string(os.PathListSeparator)+filepath.Join(n.lib, "*"),
		"org.apache.cassandra.tools.NodeTool", "-p", strconv.Itoa(int(n.addrs.jmx.Port())))
	return n.java(append(line, args...))
}
