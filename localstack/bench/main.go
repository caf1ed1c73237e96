// Bench compares the pipeline with a bare loop over the driver, in one run on one Cassandra.
//
// The pipeline, the real binary, drains a backlog of generated orders. What it sends after merging is recorded once; the
// bare loop, a process of its own, sends the same rows one by one, prepared, through the driver's own token-aware
// routing, at the best fixed concurrency found by trying. A second bare loop sends them in the pipeline's own batches,
// which is what is left of its cost once somebody has grouped the rows by their replicas. Rows are UPDATE statements
// sent. All are measured over the middle of their run, in alternating rounds, since the machine is nobody's alone.
//
// It prints one line "bench: NAME VALUE UNIT" a figure.
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
	"penstock/localstack/recording"
	"penstock/localstack/shop"
)

type options struct {
	orders int
	shards int
	nodes  int
	pairs  int
	warmUp time.Duration
	profiles
	bare string // recording to send: this process is the bare loop
	spec bareSpec
}

func main() {
	var o options
	flag.IntVar(&o.orders, "orders", 75_000, "orders in the backlog; each has about four events")
	flag.IntVar(&o.shards, "shards", 16, "shards of the stream")
	flag.IntVar(&o.nodes, "nodes", 1, "Cassandra nodes, 1 or 3; three replicate everything three times")
	flag.IntVar(&o.pairs, "pairs", 5, "rounds of alternating runs")
	flag.DurationVar(&o.warmUp, "warmup", time.Minute, "load before anything is measured")
	flag.StringVar(&o.cpu, "profile", "", "write a CPU profile of the last pipeline run, for go tool pprof, to this file, and one of its allocations to FILE.allocs")
	flag.StringVar(&o.compiler, "pgo", "", "write the same profile as the compiler takes it to this file")
	flag.StringVar(&o.bare, "bare", "", "used by bench itself: send this recording and end")
	flag.StringVar(&o.spec.host, "host", "", "with -bare: where Cassandra is")
	flag.BoolVar(&o.spec.rowByRow, "row-by-row", false, "with -bare: each row by itself")
	flag.IntVar(&o.spec.concurrency, "concurrency", 0, "with -bare: requests in flight")
	flag.DurationVar(&o.spec.atMost, "at-most", 0, "with -bare: end after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if o.bare != "" {
		err = runBare(ctx, o.bare, o.spec)
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// rig is everything that both sides run on.
type rig struct {
	dir       string
	stack     *localstack.Stack
	site      *e2e.Site
	children  *localstack.Children
	recording recording.Recording
	shards    int
}

func run(ctx context.Context, o options) (err error) {
	r := &rig{shards: o.shards}
	if r.dir, err = os.MkdirTemp("", "penstock-bench-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	r.children = localstack.NewChildren()
	defer r.children.Close()
	say("building the projector")
	binary, err := e2e.Build(ctx, r.dir, "-pgo=auto") // as it ships
	if err != nil {
		return err
	}
	config := localstack.Everything()
	config.Dir = filepath.Join(r.dir, "stack")
	config.Stream = ""
	config.CassandraNodes = o.nodes
	if o.nodes == 1 {
		config.HeapMiB = 2048
	}
	config.Load = true
	if r.stack, err = localstack.Start(ctx, config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stack.Stop()) }()
	r.site = e2e.NewSite(r.stack.Env(), binary, r.dir, "bench", r.children)
	if err := r.site.CreateStream(ctx, o.shards); err != nil {
		return err
	}
	if _, err := r.site.Projector(ctx, "setup"); err != nil {
		return err
	}
	if err := r.preload(ctx, o); err != nil {
		return err
	}
	return r.compare(ctx, o)
}

// meanGap is the mean distance between two events of one order, in orders placed meanwhile: three minutes at 5,000 orders
// a minute. Orders that live for days would meet themselves in one reply of GetRecords, and be merged, more rarely still.
const meanGap = 15_000

// preload fills the stream: orders interleaved as in live traffic, no duplicates, nothing damaged.
func (r *rig) preload(ctx context.Context, o options) error {
	generator, err := shop.New(shop.Config{Seed: 1, Orders: o.orders, Now: time.Now(), MeanGap: meanGap, DisplacedShare: 0.05})
	if err != nil {
		return err
	}
	seeded, err := shop.Seed(ctx, r.site.Kinesis(), r.site.Name, generator.Events(), shop.Options{})
	if err != nil {
		return err
	}
	r.recording.Events = seeded.Records
	say("the stream holds %d events in %d shards", seeded.Records, o.shards)
	return nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "— "+format+"\n", args...) }
