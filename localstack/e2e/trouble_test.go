package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/shop"
)

// trouble is what befalls a fleet in one round of the crash proof.
type trouble struct {
	freeze     bool          // a daemon is stopped for longer than its leases live and goes on, in place of being killed
	reshard    bool          // shards are split and merged meanwhile
	spread     bool          // the stream begins to spread its records over all shards by itself
	aggregated bool          // producers put several events into one record
	clock      time.Duration // how far the clock of the service is ahead of that of the first daemon
	throttled  bool          // DynamoDB refuses half of all writes of leases
}

// frozenFor is longer than any lease of a round lives.
const frozenFor = 15 * time.Second

func drawTrouble(random *rand.Rand) trouble {
	x := trouble{freeze: random.IntN(3) == 0, aggregated: random.IntN(3) == 0, throttled: random.IntN(3) == 0}
	switch random.IntN(3) { // a stream that spreads its records is split by the service alone
	case 0:
		x.reshard = true
	case 1:
		x.spread = true
	}
	if random.IntN(3) == 0 {
		x.clock = []time.Duration{-2 * time.Minute, 2 * time.Minute}[random.IntN(2)]
	}
	return x
}

func (x trouble) String() string {
	words := []string{map[bool]string{true: "freeze", false: "kill"}[x.freeze]}
	for _, more := range []struct {
		is   bool
		word string
	}{{x.reshard, "reshard"}, {x.spread, "spread"}, {x.aggregated, "aggregated"}, {x.throttled, "throttled"}} {
		if more.is {
			words = append(words, more.word)
		}
	}
	if x.clock != 0 {
		words = append(words, "clock "+x.clock.String())
	}
	return strings.Join(words, ", ")
}

// createStream creates the site's stream and returns how many shards it has.
func (x trouble) createStream(ctx context.Context, s *Site) (shards int, err error) {
	if !x.spread {
		const shards = 4
		return shards, s.CreateStream(ctx, shards)
	}
	if _, err := s.Kinesis().CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &s.Name,
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}}); err != nil {
		return 0, fmt.Errorf("create stream %s: %w", s.Name, err)
	}
	open, err := s.OpenShards(ctx)
	return len(open), err
}

// stir changes the stream, and returns how many shards are open then.
func (x trouble) stir(ctx context.Context, s *Site, shards int) (open int, err error) {
	switch {
	case x.reshard:
		if _, err := s.SplitAll(ctx); err != nil {
			return 0, err
		}
		return s.MergeFirst(ctx)
	case x.spread:
		described, err := s.Kinesis().DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s.Name})
		if err != nil {
			return 0, fmt.Errorf("describe stream %s: %w", s.Name, err)
		}
		if _, err := s.Kinesis().UpdateStreamRecordDistributionStrategy(ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{
			StreamARN: described.StreamDescriptionSummary.StreamARN, RecordDistributionStrategy: types.RecordDistributionStrategyAuto,
		}); err != nil {
			return 0, fmt.Errorf("spread the records of %s: %w", s.Name, err)
		}
	}
	return shards, nil
}

// harm kills a daemon, or freezes it until thaw is called, and returns the shards it followed.
func (x trouble) harm(ctx context.Context, f *Fleet, victim *Daemon) (orphans []string, thaw func() error, err error) {
	if !x.freeze {
		orphans, err = f.Crash(ctx, victim)
		return orphans, func() error { return nil }, err
	}
	began := time.Now()
	orphans, err = f.Freeze(ctx, victim)
	return orphans, func() error {
		if err := pause(ctx, time.Until(began.Add(frozenFor))); err != nil {
			return err
		}
		return f.Thaw(victim)
	}, err
}

// Freeze stops a daemon in the midst of what it does, takes it out of the fleet, and returns the shards it followed.
func (f *Fleet) Freeze(ctx context.Context, victim *Daemon) (shards []string, err error) {
	last, err := victim.Scrape(ctx)
	if err != nil {
		return nil, err
	}
	if err := victim.Signal(syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("freeze daemon %s: %w", victim.Name, err)
	}
	for i, d := range f.running {
		if d == victim {
			f.running = append(f.running[:i:i], f.running[i+1:]...)
		}
	}
	for shard := range last.Lag {
		shards = append(shards, shard)
	}
	return shards, nil
}

// Thaw lets a frozen daemon go on.
func (f *Fleet) Thaw(d *Daemon) error {
	f.running = append(f.running, d)
	if err := d.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("thaw daemon %s: %w", d.Name, err)
	}
	return nil
}

// dynamo stands between a daemon and the site's DynamoDB, where that is part of the trouble, and returns the endpoint for
// the daemon. Its answers bear another time, and it refuses every second write of a lease, as a table does whose capacity
// is used up.
func (x trouble) dynamo(t *testing.T, s *Site) (endpoint string, refused *atomic.Int64) {
	t.Helper()
	target, err := url.Parse(s.env["AWS_ENDPOINT_URL_DYNAMODB"])
	if err != nil {
		t.Fatal(err)
	}
	refused = new(atomic.Int64)
	if x.clock == 0 && !x.throttled {
		return target.String(), refused
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if at, err := http.ParseTime(r.Header.Get("Date")); err == nil {
				r.Header.Set("Date", at.Add(x.clock).UTC().Format(http.TimeFormat))
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }, // the daemon was killed
	}
	var writes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if x.throttled && strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateItem") && writes.Add(1)%2 == 0 {
			refused.Add(1)
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.Header().Set("Date", time.Now().Add(x.clock).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"the level of configured provisioned throughput was exceeded"}`)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, refused
}

// startWith starts a daemon that reaches DynamoDB at an endpoint of its own.
func (f *Fleet) startWith(ctx context.Context, name, dynamo string) (*Daemon, error) {
	before := f.Site.env["AWS_ENDPOINT_URL_DYNAMODB"]
	f.Site.Set("AWS_ENDPOINT_URL_DYNAMODB=" + dynamo)
	defer f.Site.Set("AWS_ENDPOINT_URL_DYNAMODB=" + before)
	return f.Start(ctx, name)
}

// aggregatedWorkload is generated orders as the Kinesis Producer Library puts them.
type aggregatedWorkload struct {
	*orderWorkload
	random *rand.Rand
}

func (w *aggregatedWorkload) put(ctx context.Context, s *Site, perSecond float64) error {
	begun, sent := time.Now(), 0
	var chunk []shop.Event
	send := func() error {
		if len(chunk) == 0 {
			return nil
		}
		data := chunk[0].Payload
		if len(chunk) > 1 {
			data = aggregateOf(chunk)
		}
		if _, err := s.Kinesis().PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &s.Name, Data: data, PartitionKey: &chunk[0].OrderID}); err != nil {
			return fmt.Errorf("put an aggregate: %w", err)
		}
		sent += len(chunk)
		chunk = chunk[:0]
		return pause(ctx, time.Until(begun.Add(time.Duration(float64(sent)/perSecond*float64(time.Second)))))
	}
	size := 1
	for e := range w.generator.Events() {
		if chunk = append(chunk, e); len(chunk) < size {
			continue
		}
		if err := send(); err != nil {
			return err
		}
		size = 1 + w.random.IntN(60)
	}
	return send()
}

func (w *aggregatedWorkload) check(t *testing.T, s *Site) string {
	r := check(t, s, shop.NewOracle(w.generator.Events(), func(string) bool { return true }))
	return fmt.Sprintf("events=%d applied=%d parked=%d lost=%d mismatched=%d", r.Events, r.Applied, r.Parked, r.Lost, r.Mismatched)
}

var _ workload = (*aggregatedWorkload)(nil)
