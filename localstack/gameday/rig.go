package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"penstock/localstack"
	"penstock/localstack/e2e"
	"penstock/localstack/recording"
	"penstock/localstack/shop"
	"penstock/localstack/zones"
)

const (
	shards = 8
	// A backlog lasts until so many seconds after the fault at so many times the best speed seen, the warm-up's at first, in which
	// servers are cold; and it is never so large that reading all its rows takes minutes.
	reach      = 15
	headroom   = 1.4
	mostOrders = 60_000
	// The daemon shares the processors with what feeds it and gets less than the bare driver alone, of which its first backlog is sized.
	daemonPart = 0.5
	// Servers are warm when ten seconds bring less than so many times the rows of any ten before, or after so long.
	warmEnough = 1.05
	warmTime   = 2 * time.Minute
	warmLimit  = 16 // requests in flight to each host
	// Seconds before the fault, of it, and after it.
	lead, faultTime, aftermath = 15, 30, 30
	// Events a second that arrive while all this goes on: 5,000 orders a minute have about four each.
	liveRate = 300
	// The mean distance between two events of one order, in orders placed meanwhile, as in the bench of the pipeline.
	meanGap = 15_000
)

// stackFolder is the stack's, in the folder of the run.
const stackFolder = "stack"

// rig is what all scenarios run on.
type rig struct {
	options
	network  *zones.Network
	stack    *localstack.Stack
	children *localstack.Children
	warm     *e2e.Site // where the recording was made, and is replayed
	recorded recording.Recording
	speed    float64 // events/s, the best seen
	runs     int     // so far
}

// stackConfig is the stack's configuration in a network; without one it is good for [localstack.Fetch].
func stackConfig(n *zones.Network, dir string) localstack.Config {
	c := localstack.Everything()
	c.Dir = filepath.Join(dir, stackFolder)
	c.Stream = ""
	c.CassandraNodes = zones.Count
	c.HeapMiB = 2048
	// A killed node may lose what it acknowledged in its last tenth of a second; the others have it.
	c.Load = true
	// So that hints are on the disk, to be weighed, a second after they were written.
	c.CassandraSettings = map[string]string{"hints_flush_period": "1000ms"}
	if n != nil {
		for i := range zones.Count {
			c.Hosts = append(c.Hosts, localstack.Host{Clients: n.Clients(i), Ring: n.Ring(i), Enter: n.Enter(i)})
		}
	}
	return c
}

// newRig starts everything and warms it up.
func newRig(ctx context.Context, o options) (_ *rig, err error) {
	r := &rig{options: o, children: localstack.NewChildren()}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.network, err = zones.Build(ctx); err != nil {
		return nil, err
	}
	say("starting three nodes, one after another")
	if r.stack, err = localstack.Start(ctx, stackConfig(r.network, o.inside)); err != nil {
		return nil, err
	}
	return r, r.warmUp(ctx)
}

func (r *rig) close() error {
	var err error
	if r.stack != nil {
		err = r.stack.Stop()
	}
	r.children.Close()
	return err
}

// site returns a new deployment with a stream.
func (r *rig) site(ctx context.Context, name string, settings ...string) (*e2e.Site, error) {
	s := e2e.NewSite(r.stack.Env(), filepath.Join(r.inside, "projector"), r.inside, name, r.children, settings...)
	if err := s.CreateStream(ctx, shards); err != nil {
		return nil, err
	}
	if _, err := s.Projector(ctx, "setup"); err != nil {
		return nil, err
	}
	return s, nil
}

// newShop returns so many orders of a seed, none of them damaged: what is parked in a game day should not have been.
func newShop(seed uint64, orders int) (*shop.Shop, error) {
	return shop.New(shop.Config{Seed: seed, Orders: orders, Now: time.Now(), MeanGap: meanGap, DisplacedShare: 0.05})
}

// warmUp records what the pipeline sends, and then has the servers compile what they run: whoever comes first is not to find them slower
// than whoever comes last.
func (r *rig) warmUp(ctx context.Context) (err error) {
	if r.warm, err = r.site(ctx, "warm"); err != nil {
		return err
	}
	orders, err := newShop(1, r.orders)
	if err != nil {
		return err
	}
	seeded, err := shop.Seed(ctx, r.warm.Kinesis(), r.warm.Name, orders.Events(), shop.Options{})
	if err != nil {
		return err
	}
	began := time.Now()
	r.recorded, err = recording.Record(ctx, recording.Source{Stack: r.stack, Name: r.warm.Name, Events: seeded.Records},
		filepath.Join(r.inside, "recording"))
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	r.speed = float64(seeded.Records) / time.Since(began).Seconds()
	say("recorded %d events at %.0f a second, %.1f rows each, %.1f rows in a request", seeded.Records, r.speed, r.rowsPerEvent(),
		float64(r.recorded.Rows)/float64(r.recorded.Requests))
	p, err := r.newPuller()
	if err != nil {
		return err
	}
	defer p.close()
	before := 0.0
	for end := time.Now().Add(warmTime); time.Now().Before(end); {
		warming, cancel := context.WithTimeout(ctx, tryTime)
		now := p.pull(warming, warmLimit).Rows
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		say("warming up: %.0f rows/s", now)
		if before > 0 && now < warmEnough*before {
			break
		}
		before = max(before, now)
	}
	r.speed = max(r.speed, daemonPart*before/r.rowsPerEvent())
	return r.calm(ctx)
}

func (r *rig) rowsPerEvent() float64 { return float64(r.recorded.Rows) / float64(r.recorded.Events) }

// backlog is how many orders keep the daemon busy through a fault; one that stops it altogether takes none of them.
func (r *rig) backlog(stops bool) int {
	seconds := lead + faultTime + reach
	if stops {
		seconds -= faultTime
	}
	return min(int(headroom*r.speed*float64(seconds)/r.eventsPerOrder()), mostOrders)
}

func (r *rig) eventsPerOrder() float64 { return float64(r.recorded.Events) / float64(r.orders) }

// hintBytes is what the hints folders of all nodes hold.
func (r *rig) hintBytes() int64 {
	var sum int64
	for i := range zones.Count {
		files, _ := filepath.Glob(filepath.Join(r.stack.NodeDir(i), "hints", "*.hints"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil { // it may have been delivered just now
				sum += info.Size()
			}
		}
	}
	return sum
}

// hintCount is how many hints each node has written since it started, by its own count, and which process that was.
type hintCount struct {
	written [zones.Count]float64
	process [zones.Count]int
}

func (r *rig) countHints(ctx context.Context) (hintCount, error) {
	var c hintCount
	err := each(func(i int) error {
		c.process[i] = r.stack.Cassandra()[i].PID()
		out, err := r.stack.Nodetool(ctx, i, "sjk", "mx", "-b", "org.apache.cassandra.metrics:type=Storage,name=TotalHints", "-f", "Count", "-mg")
		if err != nil {
			return err
		}
		fields := strings.Fields(out)
		if len(fields) == 0 {
			return fmt.Errorf("node %d does not tell its hints", i+1)
		}
		c.written[i], err = strconv.ParseFloat(fields[len(fields)-1], 64)
		return err
	})
	return c, err
}

// since is how many were written after an earlier count. A node that was restarted meanwhile began again at 0.
func (c hintCount) since(earlier hintCount) float64 {
	sum := 0.0
	for i, written := range c.written {
		sum += written
		if c.process[i] == earlier.process[i] {
			sum -= earlier.written[i]
		}
	}
	return sum
}
