package localstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"golang.org/x/sync/errgroup"

	"penstock/localstack/emulator"
)

// How long the processes may take until they answer. A Cassandra node takes about ten seconds on two idle cores.
const startTimeout = 4 * time.Minute

// Stack is a set of running servers. Start makes it, Stop ends it; in between its parts can be broken one by one.
type Stack struct {
	dir      string
	madeDir  bool // Start made the folder, so Stop removes it
	stream   string
	bucket   string
	security CassandraSecurity
	progress *lines
	console  *lines // nil without one

	addresses    addresses
	reservations []*reservation
	nursery      *nursery

	nodes     []*Process
	cassandra []cassandraNode // what they were started with
	dynamoDB  *Process
	s3        *Server
	kinesis   *Server
	streams   *emulator.Server

	failOnce sync.Once
	failed   chan struct{} // closed when a child has died unexpectedly
	failure  error         // read it after failed

	stopOnce sync.Once
	stopErr  error
}

// Start starts the parts that cfg names and returns when all of them answer. When it fails, or ctx ends, nothing is left running; after a
// failure the folder's logs stay. A missing Java, Maven or artifact is a [*PrerequisiteError].
func Start(ctx context.Context, cfg Config) (*Stack, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("start the local stack: %w", err)
	}
	cfg = cfg.withDefaults()
	var writing sync.Mutex
	s := &Stack{
		stream: cfg.Stream, bucket: cfg.Bucket, security: cfg.Security,
		progress: &lines{mu: &writing, to: cfg.Progress},
		nursery:  newNursery(),
		failed:   make(chan struct{}),
	}
	if cfg.Console != nil {
		s.console = &lines{mu: &writing, to: cfg.Console}
	}
	if err := s.start(ctx, cfg); err != nil {
		// After a cancelled start nobody asks for the logs.
		if ctx.Err() == nil {
			s.fail(err)
		}
		return nil, errors.Join(fmt.Errorf("start the local stack: %w", err), s.Stop())
	}
	return s, nil
}

// CheckPrerequisites returns a [*PrerequisiteError] when this machine lacks what the configured parts need: a JDK, and Maven where
// the cache does not have the jars. It starts and downloads nothing.
func CheckPrerequisites(ctx context.Context, cfg Config) error {
	sets := cfg.jarSets()
	if len(sets) == 0 {
		return nil
	}
	if _, err := findJava(ctx, javaCandidates()); err != nil {
		return err
	}
	cache, err := cfg.cacheDir()
	if err != nil {
		return err
	}
	if (jars{cache: cache}).needMaven(sets) {
		_, err := findMaven()
		return err
	}
	return nil
}

// Fetch downloads what Start would download for cfg. A process in a network of its own starts the stack from what is there then.
func Fetch(ctx context.Context, cfg Config) error {
	if err := CheckPrerequisites(ctx, cfg); err != nil {
		return err
	}
	n := newNursery()
	defer n.close()
	cfg = cfg.withDefaults()
	_, _, err := resolveJars(ctx, cfg, n, &lines{mu: new(sync.Mutex), to: cfg.Progress})
	return err
}

func (s *Stack) start(ctx context.Context, cfg Config) error {
	if err := CheckPrerequisites(ctx, cfg); err != nil {
		return err
	}
	if err := s.makeDir(cfg.Dir); err != nil {
		return err
	}
	s.progress.printf("everything is below %s", s.dir)
	if err := s.assignPorts(cfg); err != nil {
		return err
	}
	if err := s.serve(cfg); err != nil {
		return err
	}
	if err := s.launch(ctx, cfg); err != nil {
		return err
	}
	return s.provision(ctx, cfg)
}

// makeDir makes the stack's folder and marks it as this process's.
func (s *Stack) makeDir(wanted string) error {
	if wanted == "" {
		made, err := os.MkdirTemp("", "penstock-devstack-")
		if err != nil {
			return fmt.Errorf("make the stack's folder: %w", err)
		}
		s.dir, s.madeDir = made, true
		return claimDir(made)
	}
	// Children run in folders of their own, and their class paths name this one.
	dir, err := filepath.Abs(wanted)
	if err != nil {
		return fmt.Errorf("make the stack's folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the stack's folder: %w", err)
		}
		s.madeDir = true
	case err != nil:
		return fmt.Errorf("make the stack's folder: %w", err)
	case len(entries) > 0:
		// Whatever it holds would be removed at the end.
		return fmt.Errorf("the stack's folder %s is not empty", dir)
	}
	s.dir = dir
	return claimDir(dir)
}

// serve starts the parts of this process.
func (s *Stack) serve(cfg Config) error {
	if cfg.Kinesis {
		s.streams = emulator.New(emulator.Config{Region: region, ReadQuota: cfg.ReadQuota, WriteQuota: cfg.WriteQuota, ShardLimit: cfg.ShardLimit, Unlimited: true})
		s.kinesis = &Server{name: "kinesis", addr: s.addresses.kinesis, handler: s.streams}
		if err := s.kinesis.Resume(); err != nil {
			return err
		}
		s.progress.printf("kinesis answers on %s", s.kinesis.Addr())
	}
	if cfg.S3 {
		s.s3 = &Server{name: "s3", addr: s.addresses.s3, handler: newS3()}
		if err := s.s3.Resume(); err != nil {
			return err
		}
		s.progress.printf("s3 answers on %s", s.s3.Addr())
	}
	return nil
}

func newS3() http.Handler {
	return gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
}

// launch starts the processes: DynamoDBLocal beside the Cassandra nodes, those one after another, as a ring demands.
func (s *Stack) launch(ctx context.Context, cfg Config) error {
	if len(cfg.jarSets()) == 0 {
		return nil
	}
	if err := s.prepare(ctx, cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if s.dynamoDB != nil {
		group.Go(func() error { return s.first(ctx, s.dynamoDB) })
	}
	group.Go(func() error {
		for _, node := range s.nodes {
			if err := s.first(ctx, node); err != nil {
				return err
			}
		}
		return s.AwaitRing(ctx)
	})
	return group.Wait()
}

// prepare resolves the jars and configures the processes. Nothing is started before everything is downloaded: the time-out of a start
// does not count downloads.
func (s *Stack) prepare(ctx context.Context, cfg Config) error {
	java, libs, err := resolveJars(ctx, cfg, s.nursery, s.progress)
	if err != nil {
		return err
	}
	if cfg.DynamoDB {
		local := dynamoDBLocal{
			dir: filepath.Join(s.dir, "dynamodb"), lib: libs[dynamoDBJars.name], javaHome: java, addr: s.addresses.dynamoDB,
			volatile: cfg.Volatile,
		}
		if err := local.prepare(); err != nil {
			return err
		}
		s.dynamoDB = s.process("dynamodb", local.addr, local.command, local.ready)
	}
	for i, addrs := range s.addresses.nodes {
		node := cassandraNode{
			index: i, dir: filepath.Join(s.dir, fmt.Sprintf("cassandra-%d", i+1)), lib: libs[cassandraJars.name], javaHome: java,
			heapMiB: cfg.HeapMiB, load: cfg.Load, addrs: addrs, seed: s.addresses.nodes[0].storage,
			security: cfg.Security, settings: cfg.CassandraSettings,
		}
		if len(cfg.Hosts) > 0 {
			node.enter = cfg.Hosts[i].Enter
		}
		if err := node.prepare(); err != nil {
			return err
		}
		s.cassandra = append(s.cassandra, node)
		s.nodes = append(s.nodes, s.process(node.name(), addrs.cql, node.command, node.ready))
	}
	return nil
}

// resolveJars returns the JDK's home, and by set the folder with the jars of what cfg runs.
func resolveJars(ctx context.Context, cfg Config, n *nursery, progress *lines) (java string, libs map[string]string, err error) {
	if java, err = findJava(ctx, javaCandidates()); err != nil {
		return "", nil, err
	}
	cache, err := cfg.cacheDir()
	if err != nil {
		return "", nil, err
	}
	cached := jars{cache: cache, javaHome: java, nursery: n, progress: progress}
	libs = make(map[string]string)
	for _, set := range cfg.jarSets() {
		if libs[set.name], err = cached.resolve(ctx, set); err != nil {
			return "", nil, err
		}
	}
	return java, libs, nil
}

func (s *Stack) process(name string, addr netip.AddrPort, command func() *exec.Cmd, ready func(context.Context) error) *Process {
	p := &Process{
		name: name, addr: addr, command: command, ready: ready,
		logFile: filepath.Join(s.dir, logsDir, name+".log"), nursery: s.nursery, died: s.fail,
	}
	if s.console != nil {
		p.console = s.console.prefixed(name)
	}
	return p
}

// first starts a process for the first time.
func (s *Stack) first(ctx context.Context, p *Process) error {
	began := time.Now()
	if err := p.start(ctx); err != nil {
		return err
	}
	s.progress.printf("%s answers on %s after %s (pid %d)", p.Name(), p.Addr(), seconds(time.Since(began)), p.PID())
	return nil
}

// fail records the first failure.
func (s *Stack) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = err
		close(s.failed)
	})
}

// Wait returns nil when ctx ends, or an error with the end of its log as soon as a child has died that nobody killed through its Process.
func (s *Stack) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.failed:
		return s.failure
	}
}

// Stop ends all parts, waits for them and removes the folder; after a failure it leaves the folder's logs. A child that does not end by
// itself is killed after ten seconds. Stop is safe to call again.
func (s *Stack) Stop() error {
	s.stopOnce.Do(func() { s.stopErr = s.stop() })
	return s.stopErr
}

func (s *Stack) stop() error {
	var ending sync.WaitGroup
	for _, p := range s.processes() {
		ending.Go(p.stop)
	}
	ending.Wait()
	s.nursery.close()
	for _, server := range []*Server{s.s3, s.kinesis} {
		if server != nil {
			server.stop()
		}
	}
	for _, r := range s.reservations {
		r.release()
	}
	if s.dir == "" {
		return nil
	}
	if err := s.clean(); err != nil {
		return fmt.Errorf("stop the local stack: %w", err)
	}
	return nil
}

func (s *Stack) clean() error {
	select {
	case <-s.failed:
		if isDir(filepath.Join(s.dir, logsDir)) {
			return emptyDir(s.dir, logsDir)
		}
	default:
	}
	if s.madeDir {
		return os.RemoveAll(s.dir)
	}
	return emptyDir(s.dir, "")
}

func (s *Stack) processes() []*Process {
	all := append([]*Process(nil), s.nodes...)
	if s.dynamoDB != nil {
		all = append(all, s.dynamoDB)
	}
	return all
}

// Dir is the folder with everything the stack writes; what the children print is in its folder logs.
func (s *Stack) Dir() string { return s.dir }

// Cassandra returns the nodes; none when Cassandra does not run.
func (s *Stack) Cassandra() []*Process { return append([]*Process(nil), s.nodes...) }

// DynamoDB returns DynamoDBLocal, nil when it does not run.
func (s *Stack) DynamoDB() *Process { return s.dynamoDB }

// S3 returns the S3 server, nil when it does not run.
func (s *Stack) S3() *Server { return s.s3 }

// Kinesis returns the Kinesis server, nil when it does not run.
func (s *Stack) Kinesis() *Server { return s.kinesis }

// Emulator returns what answers behind Kinesis, for tests that script its faults; nil when Kinesis does not run.
func (s *Stack) Emulator() *emulator.Server { return s.streams }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
