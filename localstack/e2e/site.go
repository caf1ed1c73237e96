// Package e2e runs the real projector as its users do, from the order generator to rows in a real Cassandra, and compares
// what came of it with what should have.
//
// A [Site] is one deployment on a local stack: a stream, tables and a keyspace of its own. A [Daemon] is a process of the
// real binary, which can be killed. [Site.Account] reads rows and letters by plain clients and holds them against the
// generator's oracle; nothing of what it checks takes part in checking. The tests of this package are the end-to-end and
// fault tests; TestProve is what `make prove` runs.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"penstock/localstack"
	"penstock/localstack/emulator"
)

// Build builds the projector, and replay beside it, into dir and returns the path of the projector. Flags are those of go
// build. It must run in the module's tree.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	args := slices.Concat([]string{"build", "-o", dir + string(filepath.Separator)}, flags, []string{"penstock/cmd/projector", "penstock/cmd/replay"})
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the projector and replay: %w\n%s", err, out)
	}
	return filepath.Join(dir, "projector"), nil
}

// Site is one deployment of the projector on a local stack.
type Site struct {
	Name string // of application, stream, keyspace and prefix alike

	binary   string
	env      map[string]string // the stack's and the site's own
	children *localstack.Children
	logs     string // folder of the daemons' logs
}

// NewSite returns a site on the stack that env describes, as [localstack.Stack.Env] returns it or `devstack up` writes
// it; later settings in extra go before those of the site. The name is good for a keyspace. Nothing is created yet.
func NewSite(env []string, binary, logs, name string, children *localstack.Children, extra ...string) *Site {
	s := &Site{Name: name, binary: binary, env: map[string]string{}, children: children, logs: logs}
	for _, setting := range append(append([]string{}, env...),
		"PENSTOCK_APPLICATION="+name,
		"PENSTOCK_KINESIS_STREAM="+name,
		"PENSTOCK_CASSANDRA_KEYSPACE="+name,
		"PENSTOCK_DEAD_LETTERS_PREFIX="+name,
		"PENSTOCK_TELEMETRY_LISTEN=127.0.0.1:0",
		"PENSTOCK_TELEMETRY_ADMIN=127.0.0.1:0",
	) {
		key, value, _ := strings.Cut(setting, "=")
		s.env[key] = value
	}
	s.Set(extra...)
	return s
}

// Set changes settings for everything that is started from now on.
func (s *Site) Set(settings ...string) {
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		s.env[key] = value
	}
}

// environ is what a process of this site gets: this process's environment less other stacks' settings, and the site's.
func (s *Site) environ() []string {
	var out []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "PENSTOCK_") && !strings.HasPrefix(setting, "AWS_") {
			out = append(out, setting)
		}
	}
	for key, value := range s.env {
		out = append(out, key+"="+value)
	}
	return out
}

// Environ is what a process of this site gets.
func (s *Site) Environ() []string { return s.environ() }

// Setting returns the value of a setting, empty for none.
func (s *Site) Setting(key string) string { return s.env[key] }

// WriteEnv writes the site's settings to a file that a shell can source.
func (s *Site) WriteEnv(file string) error {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s.env)) {
		fmt.Fprintf(&b, "export %s='%s'\n", key, s.env[key])
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}

// Projector runs the projector with args to its end and returns what it printed. An error tells its exit code and what
// it said.
func (s *Site) Projector(ctx context.Context, args ...string) (stdout string, err error) {
	return s.run(ctx, s.binary, args)
}

// Replay runs replay, as Projector runs the projector.
func (s *Site) Replay(ctx context.Context, args ...string) (stdout string, err error) {
	return s.run(ctx, s.replay(), args)
}

// replay is the path of its binary, beside the projector's.
func (s *Site) replay() string { return filepath.Join(filepath.Dir(s.binary), "replay") }

func (s *Site) run(ctx context.Context, binary string, args []string) (stdout string, err error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = s.environ()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	name := filepath.Base(binary)
	if err := s.children.Start(cmd); err != nil {
		return "", fmt.Errorf("start %s: %w", name, err)
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// CreateStream creates the site's stream.
func (s *Site) CreateStream(ctx context.Context, shards int) error {
	_, err := s.Kinesis().CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &s.Name, ShardCount: aws.Int32(int32(shards))})
	if err != nil {
		return fmt.Errorf("create stream %s: %w", s.Name, err)
	}
	return nil
}

// Kinesis returns a plain client.
func (s *Site) Kinesis() *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region: s.env["AWS_REGION"], BaseEndpoint: aws.String(s.env["AWS_ENDPOINT_URL_KINESIS"]), Credentials: s.credentials(),
		HTTPClient: emulator.HTTPClient(),
	})
}

// S3 returns a plain client.
func (s *Site) S3() *s3.Client {
	return s3.New(s3.Options{
		Region: s.env["AWS_REGION"], BaseEndpoint: aws.String(s.env["AWS_ENDPOINT_URL_S3"]), Credentials: s.credentials(), UsePathStyle: true,
	})
}

func (s *Site) credentials() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(s.env["AWS_ACCESS_KEY_ID"], s.env["AWS_SECRET_ACCESS_KEY"], "")
}

// Cassandra opens a plain session.
func (s *Site) Cassandra() (*gocql.Session, error) {
	cluster := gocql.NewCluster(strings.Split(s.env["PENSTOCK_CASSANDRA_HOSTS"], ",")...)
	cluster.Consistency = gocql.LocalQuorum
	cluster.Timeout = 30 * time.Second // a schema change on a busy machine takes seconds
	cluster.Metadata.CacheMode = gocql.Disabled
	if user := s.env["PENSTOCK_CASSANDRA_USERNAME"]; user != "" {
		cluster.Authenticator = gocql.PasswordAuthenticator{Username: user, Password: s.env["PENSTOCK_CASSANDRA_PASSWORD"]}
	}
	if s.env["PENSTOCK_CASSANDRA_TLS"] == "required" {
		cluster.SslOpts = &gocql.SslOptions{
			CaPath: s.env["PENSTOCK_CASSANDRA_TLS_CA_FILE"], EnableHostVerification: true,
			CertPath: s.env["PENSTOCK_CASSANDRA_TLS_CERT_FILE"], KeyPath: s.env["PENSTOCK_CASSANDRA_TLS_KEY_FILE"],
		}
	}
	session, err := cluster.CreateSession()
	if err != nil {
		return nil, fmt.Errorf("connect to cassandra: %w", err)
	}
	return session, nil
}
