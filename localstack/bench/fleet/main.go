// Bench fleet measures what a fleet without a leader costs its lease table: five workers, each with clients of its own,
// share a stream of a thousand quiet shards on the real DynamoDBLocal. It prints how long it takes until every shard is
// owned, until all have as many as each other, until the shards of a dead worker are read by the others, and what is
// asked of DynamoDB while nothing happens.
//
// It prints one line "bench: NAME VALUE UNIT" a figure. A request is one that was answered by DynamoDB, so each page of a
// Scan is one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/checkpoint"
	"penstock/localstack"
)

type options struct {
	shards, workers int
	failover        time.Duration
	steady          time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.shards, "shards", 1000, "shards of the stream")
	flag.IntVar(&o.workers, "workers", 5, "workers that share them, at least 2")
	flag.DurationVar(&o.failover, "failover", 10*time.Second, "failover time of the leases")
	flag.DurationVar(&o.steady, "steady", time.Minute, "how long the steady state is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settling bounds each of the waits; a fleet that takes longer has failed.
const settling = 5 * time.Minute

func run(ctx context.Context, o options) (err error) {
	if o.workers < 2 {
		return fmt.Errorf("-workers %d: must be at least 2, since one dies", o.workers)
	}
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	stack, err := localstack.Start(ctx, localstack.Config{Dir: filepath.Join(dir, "stack"), DynamoDB: true, Volatile: true, Kinesis: true, ShardLimit: o.shards})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	f, err := newFleet(ctx, stack.Env(), o)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer f.stop()
	return f.measure(ctx, &running, o)
}

// createStream creates the stream and waits until it can be read.
func createStream(ctx context.Context, client *kinesis.Client, name string, shards int) error {
	count := int32(shards)
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &count,
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeProvisioned}}); err != nil {
		return fmt.Errorf("create stream %s: %w", name, err)
	}
	return nil
}

// measure goes through the life of the fleet.
func (f *fleet) measure(ctx context.Context, running *sync.WaitGroup, o options) error {
	began := time.Now()
	for _, w := range f.workers {
		running.Go(func() { w.run(ctx) })
	}
	if err := f.await(ctx, "every shard is owned", func(owners map[string]int) bool { return sum(owners) == o.shards }); err != nil {
		return err
	}
	figure("all_owned", time.Since(began).Seconds(), "s")
	if err := f.await(ctx, "the shards are shared evenly", func(owners map[string]int) bool {
		return sum(owners) == o.shards && len(owners) == o.workers && spread(owners) <= 1
	}); err != nil {
		return err
	}
	figure("balanced", time.Since(began).Seconds(), "s")

	if err := pause(ctx, 2*o.failover); err != nil { // requests of what moved are over
		return err
	}
	before, from := f.asked(), time.Now()
	if err := pause(ctx, o.steady); err != nil {
		return err
	}
	now, each := f.asked(), time.Since(from).Seconds()*float64(o.shards)
	figure("write_requests", float64(now.writes-before.writes)/each, "/shard/s")
	figure("read_requests", float64(now.reads-before.reads)/each, "/shard/s")
	figure("write_units", (now.writeUnits-before.writeUnits)/each, "/shard/s")
	figure("read_units", (now.readUnits-before.readUnits)/each, "/shard/s")

	victim := f.workers[0]
	victim.die()
	died := time.Now()
	if err := f.await(ctx, "the shards of the dead worker are taken", func(owners map[string]int) bool {
		return sum(owners) == o.shards && owners[victim.name] == 0
	}); err != nil {
		return err
	}
	figure("taken_over", time.Since(died).Seconds(), "s")
	return nil
}

// await looks at the lease table until it is as wanted.
func (f *fleet) await(ctx context.Context, what string, done func(owners map[string]int) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settling, fmt.Errorf("%s: not within %s", what, settling))
	defer cancel()
	for {
		rows, err := f.leases.Rows(ctx)
		if err != nil {
			return err
		}
		owners := owned(rows)
		if done(owners) {
			say("%s: %v", what, owners)
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// owned counts the rows of each owner.
func owned(rows []checkpoint.Row) map[string]int {
	owners := map[string]int{}
	for _, r := range rows {
		if !r.Free() {
			owners[r.Owner]++
		}
	}
	return owners
}

func sum(owners map[string]int) (n int) {
	for _, has := range owners {
		n += has
	}
	return n
}

// spread is by how many shards the owner of most has more than that of fewest.
func spread(owners map[string]int) int {
	least, most := sum(owners), 0
	for _, n := range owners {
		least, most = min(least, n), max(most, n)
	}
	return most - least
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func figure(name string, value float64, unit string) {
	fmt.Printf("bench: %s %.3g %s\n", name, value, unit)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "— "+format+"\n", args...) }
