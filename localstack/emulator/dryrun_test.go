package emulator_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

// dryRuns makes one dry run of each action on records and returns the errors by action.
func dryRuns(r *rig, stream string, data []byte, iterator string) map[string]error {
	dry := aws.Bool(true)
	_, put := r.client.PutRecord(r.Context(), &kinesis.PutRecordInput{
		StreamName: &stream, PartitionKey: aws.String("k"), Data: data, DryRun: dry})
	_, puts := r.client.PutRecords(r.Context(), &kinesis.PutRecordsInput{StreamName: &stream, DryRun: dry,
		Records: []types.PutRecordsRequestEntry{{PartitionKey: aws.String("k"), Data: data}}})
	_, at := r.client.GetShardIterator(r.Context(), &kinesis.GetShardIteratorInput{StreamName: &stream, DryRun: dry,
		ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	_, get := r.client.GetRecords(r.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator, DryRun: dry})
	return map[string]error{"PutRecord": put, "PutRecords": puts, "GetShardIterator": at, "GetRecords": get}
}

func TestDryRunWritesReadsAndSpendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota,
			WriteQuota: emulator.WriteQuota{RecordsPerSecond: 1}})
		r.create("orders", 1)
		first := r.horizon("orders")
		for range 10 {
			for _, err := range dryRuns(r, "orders", []byte("dry"), first) {
				typed[*types.DryRunOperationException](t, err)
			}
		}
		r.put("orders", "k", []byte("meant"))
		for range 4 {
			r.horizon("orders")
		}
		for range 5 {
			if got := r.data(first); len(got) != 1 || got[0] != "meant" {
				t.Errorf("read %q", got)
			}
		}
		for _, err := range dryRuns(r, "orders", []byte("dry"), first) { // quotas used up
			typed[*types.DryRunOperationException](t, err)
		}
	})
}

func TestDryRunTellsWhatWouldHaveFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		iterator := r.horizon("orders")

		r.Intercept(emulator.Script(emulator.Fault{Effect: emulator.Deny}))
		for action, err := range dryRuns(r, "orders", []byte("x"), iterator) {
			typed[*types.AccessDeniedException](t, err)
			if err == nil || !strings.Contains(err.Error(), "kinesis:"+action) {
				t.Errorf("%s: %v", action, err)
			}
		}
		r.Intercept(nil)

		absent := dryRuns(r, "absent", []byte("x"), "garbage")
		typed[*types.InvalidArgumentException](t, absent["GetRecords"])
		delete(absent, "GetRecords")
		for _, err := range absent {
			typed[*types.ResourceNotFoundException](t, err)
		}

		large := dryRuns(r, "orders", make([]byte, 2<<20), iterator)
		typed[*types.InvalidArgumentException](t, large["PutRecord"])
		typed[*types.InvalidArgumentException](t, large["PutRecords"])
		typed[*types.DryRunOperationException](t, large["GetRecords"])

		time.Sleep(5*time.Minute + time.Millisecond)
		typed[*types.ExpiredIteratorException](t, dryRuns(r, "orders", []byte("x"), iterator)["GetRecords"])
	})
}
