package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/localstack"
	"penstock/localstack/shop"
	"penstock/localstack/stacktest"
)

// One binary and one starter of processes for all tests of the package.
var (
	folder   string
	children *localstack.Children
	binary   = sync.OnceValues(func() (string, error) { return Build(context.Background(), folder, "-pgo=off", "-tags=viewtest") })
)

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "penstock-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	children = localstack.NewChildren()
	code := m.Run()
	children.Close()
	if code == 0 {
		os.RemoveAll(folder)
	} else {
		fmt.Fprintln(os.Stderr, "the daemons' logs are in", folder)
	}
	os.Exit(code)
}

// site returns a site with its stream, on the shared stack, or on another if its environment is given.
func site(t *testing.T, shards int, env []string, extra ...string) *Site {
	t.Helper()
	if env == nil {
		stacktest.Require(t)
		env = stackEnv()
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	s := NewSite(env, path, folder, stacktest.Name(t), children, extra...)
	if shards > 0 {
		if err := s.CreateStream(t.Context(), shards); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		// Keeps a long run of rounds within the memory of one Cassandra.
		session, err := s.Cassandra()
		if err != nil {
			return
		}
		defer session.Close()
		if err := session.Query("DROP KEYSPACE IF EXISTS " + s.Name).Exec(); err != nil {
			t.Log(err)
		}
	})
	return s
}

// setup runs projector setup.
func setup(t *testing.T, s *Site) {
	t.Helper()
	if _, err := s.Projector(t.Context(), "setup"); err != nil {
		t.Fatal(err)
	}
}

// stackEnv is the shared stack as with-stack.sh describes it.
func stackEnv() []string {
	var env []string
	for _, setting := range os.Environ() {
		if strings.HasPrefix(setting, "PENSTOCK_") || strings.HasPrefix(setting, "AWS_") {
			env = append(env, setting)
		}
	}
	return env
}

// balanced starts daemons on a site and returns once they share its shards. They end with the test.
func balanced(t *testing.T, ctx context.Context, s *Site, shards int, daemons ...string) *Fleet {
	t.Helper()
	fleet := &Fleet{Site: s, Shards: shards}
	t.Cleanup(fleet.Kill)
	for _, name := range daemons {
		if _, err := fleet.Start(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := fleet.AwaitBalance(ctx); err != nil {
		t.Fatal(err)
	}
	return fleet
}

// orders returns a generator for a run that begins now, of events in both schema versions.
func orders(t *testing.T, n int, seed uint64, damaged float64) *shop.Shop {
	t.Helper()
	s, err := shop.New(shop.Config{Seed: seed, Orders: n, Now: time.Now(), DamagedShare: damaged, DuplicateShare: 0.02, DisplacedShare: 0.05, PlacedV2Share: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seed puts the generator's events into the site's stream and returns the oracle for what was acknowledged.
func seed(t *testing.T, s *Site, generator *shop.Shop, rate float64) *shop.Oracle {
	t.Helper()
	seeded, err := shop.Seed(t.Context(), s.Kinesis(), s.Name, generator.Events(), shop.Options{Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	return shop.NewOracle(generator.Events(), seeded.Acknowledged)
}

// check compares rows and letters with the oracle, and wants exactly the damaged events parked.
func check(t *testing.T, s *Site, oracle *shop.Oracle) Result {
	t.Helper()
	result, err := s.Account(t.Context(), oracle)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Right() || result.Parked != oracle.Damaged() || result.Both != 0 {
		t.Errorf("damaged %d, result %+v\n%s", oracle.Damaged(), result.Account, strings.Join(result.Differences, "\n"))
	}
	return result
}

// within returns a context that ends after d, with a cause that says what was waited for.
func within(t *testing.T, d time.Duration, what string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("%s: not within %s", what, d))
	t.Cleanup(cancel)
	return ctx
}
