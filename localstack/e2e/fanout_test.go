package e2e

import (
	"bytes"
	"errors"
	"iter"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/localstack/shop"
	"penstock/localstack/stacktest"
)

const byFanOut = "PENSTOCK_KINESIS_READER=fanout"

// As by polling, so by enhanced fan-out: shards come and go, a daemon is killed, and nothing is lost.
func TestAStreamIsReshardedUnderLoadByFanOut(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	reshardUnderLoad(t, site(t, 2, nil, byFanOut, "PENSTOCK_LEASES_FAILOVER="+failover.String()))
}

// Without its consumer a daemon does not start, and says what to do; setup registers it, for each generation one.
func TestFanOutNeedsItsConsumer(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	s := site(t, 1, nil)
	setup(t, s) // for polling
	s.Set(byFanOut)
	ctx := within(t, time.Minute, "the consumer")
	d, err := s.Start(ctx, "early")
	if err != nil {
		t.Fatal(err)
	}
	if code, err := d.Exit(ctx); err != nil || code != 1 {
		t.Errorf("without the consumer: exit code %d, %v, want 1", code, err)
	}
	if !strings.Contains(d.tail(), "consumer is not registered: run projector setup") {
		t.Errorf("without the consumer it says: %s", d.tail())
	}
	out, err := s.Projector(ctx, "check")
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 7 || !strings.Contains(out, "consumer "+s.Name) || !strings.Contains(out, "registers it") {
		t.Errorf("check: %v: %s", err, out)
	}
	if out, err = s.Projector(ctx, "setup"); err != nil || !strings.Contains(out, "consumer "+s.Name+" of stream "+s.Name+": created") {
		t.Fatalf("setup: %v: %s", err, out)
	}
	if out, err = s.Projector(ctx, "setup", "--generation", "2"); err != nil || !strings.Contains(out, "consumer "+s.Name+"-g2 of stream "+s.Name+": created") {
		t.Errorf("setup of generation 2: %v: %s", err, out)
	}
	if out, err = s.Projector(ctx, "check"); err != nil || !strings.Contains(out, "kinesis:SubscribeToShard") {
		t.Errorf("check: %v: %s", err, out)
	}
	fleet := &Fleet{Site: s, Shards: 1}
	defer fleet.Kill()
	if d, err = fleet.Start(ctx, "late"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kinesis().PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &s.Name, PartitionKey: aws.String("k"), Data: []byte("poison")}); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return scrapes[0].Parked == 1 }); err != nil {
		t.Fatal(err)
	}
	_, metrics, err := d.Get(ctx, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"penstock_subscriptions_begun_total 1\n", `messaging_operation_name="SubscribeToShard"`} {
		if !bytes.Contains(metrics, []byte(want)) {
			t.Errorf("the metrics do not hold %q", want)
		}
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// With Cassandra frozen, 64 subscriptions have more to bring than the process may hold: they are let go, and begun again
// when there is room.
func TestCassandraFreezesUnderManySubscriptions(t *testing.T) {
	t.Parallel()
	stack := breakable(t)
	const inFlight, shards = 32 << 20, 64
	s := site(t, shards, stack.Env(), byFanOut, "PENSTOCK_PRESSURE_IN_FLIGHT=32MiB")
	setup(t, s)
	generator := orders(t, 700, 4, 0)
	seeded, err := shop.Seed(t.Context(), s.Kinesis(), s.Name, padded(generator.Events(), 100<<10), shop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 5*time.Minute, "cassandra frozen under fan-out")
	cassandra := stack.Cassandra()[0]
	fleet := &Fleet{Site: s, Shards: shards}
	defer fleet.Kill()
	d, err := fleet.Start(ctx, "only")
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return len(scrapes[0].Lag) == shards }); err != nil { // all are read
		t.Fatal(err)
	}
	if err := cassandra.Freeze(); err != nil {
		t.Fatal(err)
	}
	kept := watchMemory(ctx, t, d, inFlight)
	err = pause(ctx, 20*time.Second) // the length of the fault
	_, metrics, scraped := d.Get(ctx, "/metrics")
	if thawed := cassandra.Thaw(); err != nil || thawed != nil || scraped != nil {
		t.Fatal(err, thawed, scraped)
	}
	for line := range strings.Lines(string(metrics)) {
		if strings.HasPrefix(line, "penstock_subscriptions_") || strings.HasPrefix(line, "penstock_budget_") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if bytes.Contains(metrics, []byte("penstock_subscriptions_ended_total{reason=\"pressure\"} 0\n")) {
		t.Error("no subscription was let go")
	}
	finish(t, ctx, fleet, shop.NewOracle(generator.Events(), seeded.Acknowledged))
	kept()
}

// padded gives each event blanks behind it, which mean nothing in JSON.
func padded(events iter.Seq[shop.Event], size int) iter.Seq[shop.Event] {
	blanks := bytes.Repeat([]byte(" "), size)
	return func(yield func(shop.Event) bool) {
		for e := range events {
			e.Payload = append(bytes.Clone(e.Payload), blanks...)
			if !yield(e) {
				return
			}
		}
	}
}
