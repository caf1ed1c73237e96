package emulator_test

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

func TestServerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	srv, err := emulator.Listen(ctx, emulator.New(emulator.Config{}), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := kinesis.NewFromConfig(srv.AWS(), func(o *kinesis.Options) { o.RetryMaxAttempts = 1 })
	if _, err := client.ListStreams(t.Context(), &kinesis.ListStreamsInput{}); err != nil {
		t.Fatal(err)
	}
	if _, err := emulator.Listen(ctx, emulator.New(emulator.Config{}), strings.TrimPrefix(srv.Endpoint, "http://")); err == nil {
		t.Error("two servers listen on one port")
	}
	cancel()
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.ListStreams(t.Context(), &kinesis.ListStreamsInput{}); err == nil {
		t.Error("a server that ended answers")
	}
}

func TestStreamsOutliveAListener(t *testing.T) {
	core := emulator.New(emulator.Config{})
	for i := range 3 {
		srv, err := emulator.Listen(t.Context(), core, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, srv)
		if i == 0 {
			r.create("orders", 1)
		}
		r.put("orders", "k", fmt.Append(nil, i))
		if got := len(r.get(r.horizon("orders")).Records); got != i+1 {
			t.Errorf("listener %d: %d records", i, got)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Writers and readers at once: each reader sees every record once, and each writer's in its order.
func TestReadersFollowWriters(t *testing.T) {
	const writers, batches, batch = 3, 20, 50
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	first := r.horizon("orders")
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for b := range batches {
				in := &kinesis.PutRecordsInput{StreamName: aws.String("orders")}
				for i := range batch {
					in.Records = append(in.Records, types.PutRecordsRequestEntry{
						PartitionKey: aws.String(fmt.Sprint(w)), Data: fmt.Append(nil, b*batch+i)})
				}
				if _, err := r.client.PutRecords(t.Context(), in); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			iterator, next, total := first, map[string]int{}, 0
			for total < writers*batches*batch {
				out, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
				if err != nil {
					t.Error(err)
					return
				}
				for _, record := range out.Records {
					if got, want := string(record.Data), fmt.Sprint(next[*record.PartitionKey]); got != want {
						t.Errorf("writer %s: read %s, want %s", *record.PartitionKey, got, want)
						return
					}
					next[*record.PartitionKey]++
					total++
				}
				iterator = *out.NextShardIterator
			}
		})
	}
	wg.Wait()
}

// Without patientTransport one call in twenty breaks its connection here, some of them with the answer.
func TestAnswersFasterThanTheRequestIsWrittenBreakNoConnection(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
		if info.Err != nil {
			t.Errorf("write request: %v", info.Err)
		}
	}})
	for range 500 {
		if _, err := r.client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("orders")}); err != nil {
			t.Fatal(err)
		}
	}
}
