// Demo runs the whole of Penstock on this machine: it starts a real Cassandra, a DynamoDB, an S3 and a Kinesis, lets two
// projectors follow a stream of generated orders, kills one of them half-way and starts it again, and then compares every
// row with what it should be. With -dev it keeps stack and projector running instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"penstock/localstack"
	"penstock/localstack/e2e"
	"penstock/localstack/shop"
)

const (
	site   = "orders"
	shards = 4
	// seedRate leaves time for the kill to come in the middle, events a second.
	seedRate = 1500
	// settleTimeout bounds the wait for the rest after the last event was sent.
	settleTimeout = 3 * time.Minute
)

func main() {
	var o options
	flag.IntVar(&o.orders, "orders", 5000, "number of orders; each has about four events")
	flag.Uint64Var(&o.seed, "seed", 205, "picks the orders")
	flag.BoolVar(&o.reshard, "reshard", false, "split all shards half-way, and merge two of them")
	flag.StringVar(&o.reader, "reader", "polling", "how shards are read: polling or fanout")
	flag.BoolVar(&o.dev, "dev", false, "keep stack and projector running, and say what to type")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, o)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo: interrupted; everything is stopped")
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type options struct {
	orders  int
	seed    uint64
	reshard bool
	reader  string
	dev     bool
}

// stage is a stack with one site on it, everything set up and nothing running yet.
type stage struct {
	started  time.Time
	dir      string
	stack    *localstack.Stack
	children *localstack.Children
	site     *e2e.Site
}

// run builds the stage, plays, and takes the stage down again, whatever happens.
func run(ctx context.Context, o options) (err error) {
	s := &stage{started: time.Now()}
	s.dir, err = os.MkdirTemp("", "penstock-demo-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	s.children = localstack.NewChildren()
	defer s.children.Close()

	say("building the projector")
	binary, err := e2e.Build(ctx, s.dir, "-pgo=off") // it takes a minute more to build what saves a few per cent
	if err != nil {
		return err
	}
	config := localstack.Everything()
	config.Dir = filepath.Join(s.dir, "stack")
	config.Stream = "" // the site has its own
	config.Progress = os.Stderr
	s.stack, err = localstack.Start(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stack.Stop()) }()

	s.site = e2e.NewSite(s.stack.Env(), binary, s.dir, site, s.children, "PENSTOCK_KINESIS_READER="+o.reader)
	if err := s.site.CreateStream(ctx, shards); err != nil {
		return err
	}
	say("projector setup")
	ready, err := s.site.Projector(ctx, "setup")
	if err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, ready)
	if o.dev {
		return develop(ctx, s)
	}
	return play(ctx, s, o)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "— "+format+"\n", args...) }

// generator returns the orders of a run.
func generator(o options) (*shop.Shop, error) {
	return shop.New(shop.Config{
		Seed: o.seed, Orders: o.orders, Now: time.Now(),
		DamagedShare: 0.005, DuplicateShare: 0.02, DisplacedShare: 0.05, PlacedV2Share: 0.1,
	})
}
