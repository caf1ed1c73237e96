package projector

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/localstack/stacktest"
)

// cut is a lease table whose connection can be cut.
type cut struct {
	checkpoint.Store
	down *atomic.Bool
}

var errCut = errors.New("connection is cut")

func (c cut) Rows(ctx context.Context) ([]checkpoint.Row, error) {
	if c.down.Load() {
		return nil, errCut
	}
	return c.Store.Rows(ctx)
}

func (c cut) Apply(ctx context.Context, change checkpoint.Change) error {
	if c.down.Load() {
		return errCut
	}
	return c.Store.Apply(ctx, change)
}

// settledAt is a tracker that stands still.
type settledAt checkpoint.Sequence

func (s settledAt) Watermark() checkpoint.Sequence { return checkpoint.Sequence(s) }

// The simulation's fleet on the real DynamoDB in real time: two keepers share four shards, one is cut off and the
// other takes over, and gives everything back at the end.
func TestKeepersOnDynamoDB(t *testing.T) {
	stack := stacktest.Require(t)
	idle := goleak.IgnoreCurrent()
	const failover = 2 * time.Second
	prefix := stack.TablePrefix(t)
	client := leasetable.NewClient(aws.Config{Region: stack.Region, BaseEndpoint: &stack.DynamoDB,
		Credentials: credentials.NewStaticCredentialsProvider(stack.AccessID, stack.Secret, "")})
	leases, state := client.Leases(prefix+"orders"), client.State(prefix+"orders-state")
	for _, create := range []func(context.Context) (bool, error){leases.Create, state.Create} {
		if _, err := create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	shards := []ShardRef{{ID: "shardId-000000000000"}, {ID: "shardId-000000000001"}, {ID: "shardId-000000000002"}, {ID: "shardId-000000000003"}}
	const position checkpoint.Sequence = "49590338271490256608559692538361571095921575989136588898"

	type worker struct {
		keeper *keeper
		down   atomic.Bool
		held   atomic.Int64
		ended  chan error
		stop   context.CancelFunc
	}
	var running sync.WaitGroup
	start := func(name string) *worker {
		w := &worker{ended: make(chan error, 1)}
		k, err := newKeeper(keeperConfig{Role: "projector-g1", Worker: NewWorkerID(name), Failover: failover,
			Store: cut{leases, &w.down}, State: state, Clock: client.Clock, Log: zaptest.NewLogger(t).Named(name)})
		if err != nil {
			t.Fatal(err)
		}
		w.keeper = k
		k.SetShards(shards)
		ctx, stop := context.WithCancel(t.Context())
		w.stop = stop
		running.Go(func() { w.ended <- k.Run(ctx) })
		running.Go(func() {
			for {
				select {
				case l := <-k.Acquired():
					l.CommitFrom(settledAt(position))
					w.held.Add(1)
					running.Go(func() {
						select {
						case <-l.Lost():
						case <-l.HandOver():
						}
						w.held.Add(-1)
						if err := l.Release(context.WithoutCancel(ctx)); err != nil && !errors.Is(err, checkpoint.ErrLeaseLost) {
							t.Error(err)
						}
					})
				case <-k.stopped:
					return
				}
			}
		})
		return w
	}
	until := func(what string, done func() bool) time.Duration {
		began := time.Now()
		for tick := time.NewTicker(10 * time.Millisecond); !done(); <-tick.C {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("never came: %s", what)
			}
		}
		return time.Since(began)
	}

	a := start("a")
	until("a holds all", func() bool { return a.held.Load() == 4 })
	b := start("b")
	t.Log("balanced after", until("two each", func() bool { return a.held.Load() == 2 && b.held.Load() == 2 }))
	a.down.Store(true)
	took := until("b holds all", func() bool { return b.held.Load() == 4 })
	t.Logf("failover time %v, taken over after %v", failover, took)
	if took > failover+2*time.Second { // a busy machine is given a second more than virtual time
		t.Error("too slow")
	}
	if a.held.Load() != 0 {
		t.Error("the worker that was cut off still believes in a lease")
	}
	a.down.Store(false)
	until("two each again", func() bool { return a.held.Load() == 2 && b.held.Load() == 2 })
	for _, w := range []*worker{a, b} {
		w.stop()
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
	}
	running.Wait()
	rows, err := leases.Rows(t.Context())
	if err != nil || len(rows) != len(shards) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows {
		if !row.Free() || row.Checkpoint != position {
			t.Errorf("row is left as %+v", row)
		}
	}
	if items, err := state.Query(t.Context(), "projector-g1"+workerKind); err != nil || len(items) != 0 {
		t.Errorf("items left in the state table: %v, %v", items, err)
	}
	goleak.VerifyNone(t, idle, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}
