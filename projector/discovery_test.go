package projector

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"penstock/localstack/emulator"
	"penstock/stream"
)

// forgetful leaves a shard out of the service's listings.
type forgetful struct {
	aws.HTTPClient
	shard atomic.Pointer[string] // nil for none
}

func (f *forgetful) Do(r *http.Request) (*http.Response, error) {
	answer, err := f.HTTPClient.Do(r)
	out := f.shard.Load()
	if err != nil || out == nil || !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ListShards") {
		return answer, err
	}
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return nil, err
	}
	if err := answer.Body.Close(); err != nil {
		return nil, err
	}
	body["Shards"] = slices.DeleteFunc(body["Shards"].([]any), func(s any) bool { return s.(map[string]any)["ShardId"] == *out })
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return answer, nil
}

// discovering runs discovery of a stream of two shards, of which the listings may lack some.
func discovering(t *testing.T, finished map[string]bool) (f *forgetful, found *atomic.Pointer[listing], metrics *Metrics, logged *observer.ObservedLogs, relist chan<- struct{}) {
	server := emulator.StartInMemory(t, emulator.Config{})
	conf := server.AWS()
	f = &forgetful{HTTPClient: conf.HTTPClient}
	conf.HTTPClient = f
	client := kinesis.NewFromConfig(server.AWS())
	if _, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("stock"), ShardCount: aws.Int32(2)}); err != nil {
		t.Fatal(err)
	}
	source := stream.New(conf, "stock", zap.NewNop())
	description, err := source.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	metrics, err = NewMetrics(noop.NewMeterProvider().Meter(""))
	if err != nil {
		t.Fatal(err)
	}
	core, logged := observer.New(zap.InfoLevel)
	read := make(chan struct{})
	close(read)
	d := &discovery{stream: source, found: description, read: read, metrics: metrics, log: zap.New(core),
		seen: func() fleetSeen { return fleetSeen{finished: finished} }, retention: func(time.Duration) {}}
	ctx, cancel := context.WithCancel(t.Context())
	listings, again, ended := make(chan listing), make(chan struct{}, 1), make(chan error)
	found = &atomic.Pointer[listing]{}
	go func() { ended <- d.run(ctx, listings, again) }()
	go func() {
		for {
			select {
			case l := <-listings:
				found.Store(&l)
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f, found, metrics, logged, again
}

// A shard that one listing lacks is not gone, and is not said to be.
func TestOneListingThatLacksAShardChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, found, metrics, logged, relist := discovering(t, nil)
		time.Sleep(time.Second)
		f.shard.Store(aws.String("shardId-000000000001"))
		relist <- struct{}{}
		time.Sleep(time.Second)
		f.shard.Store(nil)
		l := *found.Load()
		if len(l.shards) != 2 || len(l.listed) != 1 {
			t.Errorf("there are %d shards, of which %d are listed", len(l.shards), len(l.listed))
		}
		time.Sleep(5 * time.Minute)
		if part := *metrics.coverage.Load(); part != 1 || logged.Len() > 0 {
			t.Errorf("coverage %v, logged %v", part, logged.All())
		}
	})
}

// A part of the ring that nobody reads is told of once, looked for every few seconds, and found as soon as it is there.
func TestAHoleOfTheRingIsToldAndClosed(t *testing.T) {
	const left = "shardId-000000000001"
	for name, finished := range map[string]map[string]bool{
		"a shard that was never listed":            nil,
		"an open shard that is called finished":    {left: true},
		"the only listed shard is called finished": {left: true, "shardId-000000000000": true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, found, metrics, logged, _ := discovering(t, finished)
				if finished == nil {
					f.shard.Store(aws.String(left))
				}
				time.Sleep(5 * time.Minute)
				told := logged.FilterMessageSnippet("read by nobody").All()
				if part := *metrics.coverage.Load(); part >= 1 || len(told) != 1 || !strings.Contains(told[0].Message, "projector doctor") {
					t.Fatalf("coverage %v, told %v", part, told)
				}
				clear(finished)
				f.shard.Store(nil)
				time.Sleep(2 * repairEvery)
				if part := *metrics.coverage.Load(); part != 1 || len(found.Load().shards) != 2 {
					t.Errorf("coverage %v with %d shards", part, len(found.Load().shards))
				}
				if logged.FilterMessageSnippet("is read again").Len() != 1 {
					t.Errorf("logged %v", logged.All())
				}
			})
		})
	}
}

// A shard that leaves the stream before it is read to its end is a loss; one that was read is none.
func TestAShardThatExpiresUnreadIsALoss(t *testing.T) {
	for _, read := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			finished := map[string]bool{"shardId-000000000001": read}
			f, found, _, logged, _ := discovering(t, finished)
			time.Sleep(time.Second)
			f.shard.Store(aws.String("shardId-000000000001"))
			time.Sleep(5 * time.Minute)
			if n := len(found.Load().shards); n != 1 {
				t.Errorf("there are %d shards", n)
			}
			if told := logged.FilterMessageSnippet("before it was read to its end").Len(); (told == 1) == read {
				t.Errorf("read %v, and told %d times", read, told)
			}
		})
	}
}

// Listings that lack one shard and then another do not make a hole.
func TestAHoleIsTheSameInSeveralListings(t *testing.T) {
	metrics, err := NewMetrics(noop.NewMeterProvider().Meter(""))
	if err != nil {
		t.Fatal(err)
	}
	core, logged := observer.New(zap.ErrorLevel)
	d := discovery{metrics: metrics, log: zap.New(core)}
	lower := stream.Shard{ID: "shardId-000000000000", Start: "1"}
	for i := range lower.Hashes.To {
		lower.Hashes.To[i] = 0xff
	}
	lower.Hashes.To[0] = 0x7f
	for i, told := range []int{0, 0, 0, 0, 1, 1} {
		var listing []stream.Shard
		if i >= holesBelieved-1 {
			listing = append(listing, lower)
		}
		d.lineage.See(listing, nil, nil)
		if !d.holed(nil) || logged.Len() != told {
			t.Errorf("after listing %d, told %v", i+1, logged.All())
		}
	}
}
