package localstack

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

var (
	//go:embed cassandra/cassandra.yaml.tmpl
	cassandraYAML string
	//go:embed cassandra/jvm.options
	cassandraFlags string
	//go:embed cassandra/logback.xml
	cassandraLogback []byte
)

var cassandraYAMLTemplate = template.Must(template.New("cassandra.yaml").Option("missingkey=error").Parse(cassandraYAML))

// The tokens of three nodes divide the ring of Murmur3 evenly: -2⁶³, -2⁶³+2⁶⁴/3, -2⁶³+2·2⁶⁴/3. A single node takes the first.
var ringTokens = []int64{-9223372036854775808, -3074457345618258603, 3074457345618258602}

// Each node of three is alone in its rack, as a node per availability zone would be.
var racks = []string{"az-a", "az-b", "az-c"}

// cassandraNode is what one node is started with.
type cassandraNode struct {
	index    int // 0 is the seed
	dir      string
	lib      string // folder of the jars
	javaHome string
	heapMiB  int
	load     bool
	addrs    nodeAddresses
	enter    []string // before every command that is to run on the node's host
	seed     netip.AddrPort
	security CassandraSecurity
	settings map[string]string // further lines of cassandra.yaml
}

func (n cassandraNode) name() string { return fmt.Sprintf("cassandra-%d", n.index+1) }

// prepare writes the node's configuration below its folder.
func (n cassandraNode) prepare() error {
	conf := filepath.Join(n.dir, "conf")
	for _, dir := range []string{conf, filepath.Join(n.dir, "tmp")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("configure %s: %w", n.name(), err)
		}
	}
	var yaml bytes.Buffer
	err := cassandraYAMLTemplate.Execute(&yaml, map[string]any{
		"Token":       ringTokens[n.index],
		"Load":        n.load,
		"Seed":        n.seed.String(),
		"Ring":        n.addrs.storage.Addr().String(),
		"Clients":     n.addrs.cql.Addr().String(),
		"StoragePort": n.addrs.storage.Port(),
		"CQLPort":     n.addrs.cql.Port(),
		"Dir":         n.dir,
		"Security":    n.security,
		"Settings":    n.settings,
	})
	if err != nil {
		return fmt.Errorf("configure %s: %w", n.name(), err)
	}
	for name, content := range map[string][]byte{
		"cassandra.yaml":              yaml.Bytes(),
		"logback.xml":                 cassandraLogback,
		"cassandra-rackdc.properties": fmt.Appendf(nil, "dc=%s\nrack=%s\n", datacenter, racks[n.index]),
	} {
		if err := os.WriteFile(filepath.Join(conf, name), content, 0o644); err != nil {
			return fmt.Errorf("configure %s: %w", n.name(), err)
		}
	}
	return nil
}

// command is what bin/cassandra of the distribution would run in the foreground.
func (n cassandraNode) command() *exec.Cmd {
	conf := filepath.Join(n.dir, "conf")
	tmp := filepath.Join(n.dir, "tmp")
	args := []string{
		// A small start, so that a stack that is not under load stays small.
		fmt.Sprintf("-Xms%dm", heapLeast),
		fmt.Sprintf("-Xmx%dm", n.heapMiB),
		"-javaagent:" + filepath.Join(n.lib, "jamm-0.4.0.jar"),
		"-Dlogback.configurationFile=" + filepath.Join(conf, "logback.xml"),
		"-Dcassandra.config=file://" + filepath.Join(conf, "cassandra.yaml"),
		"-Dcassandra.storagedir=" + n.dir,
		"-Dcassandra.logdir=" + filepath.Join(n.dir, "logs"),
		fmt.Sprintf("-Dcassandra.jmx.local.port=%d", n.addrs.jmx.Port()),
		// Native libraries are unpacked here and not in the user's or the system's folders.
		"-Djava.io.tmpdir=" + tmp,
		"-Djna.tmpdir=" + tmp,
	}
	args = append(args, flagLines(cassandraFlags)...)
	if n.security.Login {
		args = append(args,
			"-Dcassandra.superuser_setup_delay_ms=0",        // otherwise 10 s after the node answers
			"-Dcassandra.auth_bcrypt_gensalt_log2_rounds=4") // passwords of tests are no secrets
	}
	args = append(args,
		"-cp", conf+string(os.PathListSeparator)+filepath.Join(n.lib, "*"),
		"org.apache.cassandra.service.CassandraDaemon")
	return n.java(args)
}

// java returns a command that runs on the node's host.
func (n cassandraNode) java(args []string) *exec.Cmd {
	line := slices.Concat(n.enter, []string{javaCommand(n.javaHome)}, args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = n.dir
	return cmd
}

// flagLines returns the lines that are neither empty nor comments.
func flagLines(file string) []string {
	var flags []string
	for line := range strings.Lines(file) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			flags = append(flags, line)
		}
	}
	return flags
}
