package emulator_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"penstock/localstack/emulator"
)

// ignoreSerde passes over the unexported marker in the SDK's types.
var ignoreSerde = cmp.Exporter(func(reflect.Type) bool { return true })

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server, a real client that tries once, and what most tests do with the two.
type rig struct {
	*testing.T
	*emulator.Running
	client *kinesis.Client
}

func start(t *testing.T, config emulator.Config) *rig {
	return newRig(t, emulator.Start(t, config))
}

// startInBubble is start for a testing/synctest bubble.
func startInBubble(t *testing.T, config emulator.Config) *rig {
	return newRig(t, emulator.StartInMemory(t, config))
}

func newRig(t *testing.T, srv *emulator.Running) *rig {
	client := kinesis.NewFromConfig(srv.AWS(), func(o *kinesis.Options) { o.RetryMaxAttempts = 1 })
	return &rig{T: t, Running: srv, client: client}
}

func (r *rig) create(stream string, shards int32) {
	r.Helper()
	_, err := r.client.CreateStream(r.Context(), &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: &shards})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) delete(stream string) {
	r.Helper()
	if _, err := r.client.DeleteStream(r.Context(), &kinesis.DeleteStreamInput{StreamName: &stream}); err != nil {
		r.Fatal(err)
	}
}

// put writes one record and returns its sequence number.
func (r *rig) put(stream, key string, data []byte) string {
	r.Helper()
	out, err := r.client.PutRecord(r.Context(), &kinesis.PutRecordInput{StreamName: &stream, PartitionKey: &key, Data: data})
	if err != nil {
		r.Fatal(err)
	}
	return *out.SequenceNumber
}

// putMany writes n records "0", "1", … to a stream of one shard and returns their sequence numbers.
func (r *rig) putMany(stream string, n int) []string {
	r.Helper()
	in := &kinesis.PutRecordsInput{StreamName: &stream}
	for i := range n {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("key"), Data: fmt.Append(nil, i)})
	}
	out, err := r.client.PutRecords(r.Context(), in)
	if err != nil {
		r.Fatal(err)
	}
	var numbers []string
	for _, e := range out.Records {
		numbers = append(numbers, *e.SequenceNumber)
	}
	return numbers
}

// iterator returns an iterator for the first shard of a stream.
func (r *rig) iterator(in kinesis.GetShardIteratorInput) string {
	r.Helper()
	if in.ShardId == nil {
		in.ShardId = aws.String("shardId-000000000000")
	}
	out, err := r.client.GetShardIterator(r.Context(), &in)
	if err != nil {
		r.Fatal(err)
	}
	return *out.ShardIterator
}

func (r *rig) horizon(stream string) string {
	r.Helper()
	return r.iterator(kinesis.GetShardIteratorInput{StreamName: &stream, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
}

func (r *rig) after(stream, number string) string {
	r.Helper()
	return r.iterator(kinesis.GetShardIteratorInput{StreamName: &stream,
		ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: &number})
}

func (r *rig) get(iterator string) *kinesis.GetRecordsOutput {
	r.Helper()
	out, err := r.client.GetRecords(r.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
	if err != nil {
		r.Fatal(err)
	}
	return out
}

// data returns what the records from an iterator on hold.
func (r *rig) data(iterator string) []string {
	r.Helper()
	got := []string{}
	for _, record := range r.get(iterator).Records {
		got = append(got, string(record.Data))
	}
	return got
}

// typed asserts that the client decoded err as the SDK's own type T.
func typed[T error](t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[T](err); !ok {
		t.Errorf("error is %v, want a %T", err, *new(T))
	}
}

// code asserts the code of an error for which the SDK has no type.
func code(t *testing.T, err error, want string) {
	t.Helper()
	if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != want {
		t.Errorf("error is %v, want code %s", err, want)
	}
}
