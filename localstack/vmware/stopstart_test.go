package vmware_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"

	"penstock/checkpoint/leasetable"
	"penstock/projector"
	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/stream"
	"penstock/view"
	"penstock/view/viewtest"
)

// ours is a projector that applies to the ledger.
type ours struct {
	viewtest.Stock
	*ledger

	mu     sync.Mutex
	coming map[*view.Mutation]string // data of projected records, by their first mutation
}

// Project implements view.View.
func (o *ours) Project(r view.Record) (view.Result, error) {
	result, err := o.Stock.Project(r)
	if err == nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.coming[&result.Mutations[0]] = string(r.Data)
	}
	return result, err
}

// Submit implements projector.Writer.
func (o *ours) Submit(_ context.Context, _ *sink.Source, writes []sink.Write) {
	for _, w := range writes {
		o.mu.Lock()
		data := o.coming[&w.Mutations[0]]
		delete(o.coming, &w.Mutations[0])
		o.mu.Unlock()
		o.apply(data)
		w.Record.Settle(nil)
	}
}

// Park implements projector.Parker. Nothing here is poison.
func (*ours) Park(_ context.Context, l deadletter.Letter) error {
	return errors.New("parked: " + string(l.Payload))
}

// runOurs runs a projector on the site's table until stop is called, which waits for its end.
func (s *site) runOurs(t *testing.T, name string) (stop func()) {
	t.Helper()
	conf := func(endpoint string) aws.Config {
		return aws.Config{Region: s.Region, BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider(s.AccessID, s.Secret, "")}
	}
	client := leasetable.NewClient(conf(s.DynamoDB))
	source := stream.New(conf(s.Kinesis), s.stream, zap.NewNop())
	found, err := source.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Leases(s.table).Create(t.Context()); err != nil { // which leaves one that is there
		t.Fatal(err)
	}
	state := client.State(s.table + "-state")
	if _, err := state.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	metrics, err := projector.NewMetrics(noop.NewMeterProvider().Meter(""))
	if err != nil {
		t.Fatal(err)
	}
	o := &ours{ledger: s.ledger, coming: map[*view.Mutation]string{}}
	p, err := projector.New(
		projector.Config{Worker: name, Version: "test", View: o, Generation: 1, Failover: 5 * time.Second, InFlight: 16 << 20, Drain: time.Minute, Log: zap.NewNop()},
		projector.Dependencies{Stream: source, Description: found, Leases: client.Leases(s.table), State: state, Clock: client.Clock,
			Writer: o, Parker: o, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	fetch, end := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(fetch, t.Context()) }() // ends with fetch; stop waits for it
	stop = sync.OnceFunc(func() {
		end(projector.ErrStopped)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// event is a record that the view of stock takes.
func event(n int) string {
	data, _ := json.Marshal(map[string]any{ // never fails
		"id": fmt.Sprint("e-", n), "type": "stock.changed", "warehouse": "W1", "sku": fmt.Sprint("S", n), "sequence": 1, "at": "2026-11-21T10:00:00Z", "on_hand": n})
	return string(data)
}

// round puts n records over all open shards and returns them.
func (s *site) round(t *testing.T, from, n int) (data []string) {
	t.Helper()
	shards := s.open(t)
	for i := range n {
		data = append(data, event(from+i))
		s.puts(t, shards[i%len(shards)], event(from+i))
	}
	return data
}

// rows returns the checkpoints that stand in the table.
func (s *site) rows(t *testing.T) map[string]string {
	t.Helper()
	at := map[string]string{}
	for _, d := range s.open(t) {
		at[*d.ShardId] = s.checkpoint(t, *d.ShardId)
	}
	return at
}

// A fleet of the other library is stopped, ours is started on its table, stopped, and the other goes on: nothing is lost,
// and nobody reads anew what the one before had committed.
func TestFleetsOfBothMakesTakeTurnsOnOneTable(t *testing.T) {
	s := newSite(t, 4)
	app := application{ledger: s.ledger}
	start := types.ShardIteratorTypeTrimHorizon

	one, two := s.worker(t, "v-1", start, app), s.worker(t, "v-2", start, app)
	takes(t, one, 2)
	takes(t, two, 2)
	first := s.round(t, 0, 40)
	s.await(t, first...)
	one.Stop()
	two.Stop()
	second := s.round(t, 100, 40) // while nobody runs
	left := s.rows(t)

	stop := s.runOurs(t, "p-1")
	s.await(t, second...)
	third := s.round(t, 200, 40)
	s.await(t, third...)
	stop()
	taken := s.rows(t)
	for shard, at := range taken {
		if at == left[shard] || at == "" {
			t.Errorf("%s: ours left the checkpoint at %q", shard, at)
		}
	}
	fourth := s.round(t, 300, 40)

	back := s.worker(t, "v-3", types.ShardIteratorTypeLatest, app) // its default, and harmless where there are checkpoints
	takes(t, back, 4)
	s.await(t, fourth...)
	fifth := s.round(t, 400, 40)
	s.await(t, fifth...)
	back.Stop()

	if missing := s.missing(); len(missing) > 0 {
		t.Errorf("lost: %v", missing)
	}
	for _, data := range slices.Sorted(maps.Keys(s.put)) {
		if n := s.times(data); n != 1 {
			t.Errorf("applied %d times: %s", n, data)
		}
	}
}

// A shard that is split while ours run has no row that the other library would begin at LATEST.
func TestTheTwinGoesOnWithChildrenThatOursFound(t *testing.T) {
	s := newSite(t, 2)
	stop := s.runOurs(t, "p-1")
	first := s.round(t, 0, 20)
	s.await(t, first...)
	s.split(t, s.open(t)[0])
	second := s.round(t, 100, 30)
	s.await(t, second...)
	stop()
	third := s.round(t, 200, 30)
	back := s.worker(t, "v-1", types.ShardIteratorTypeLatest, application{ledger: s.ledger})
	takes(t, back, 3)
	s.await(t, third...)
	if missing := s.missing(); len(missing) > 0 {
		t.Errorf("lost: %v", missing)
	}
}
