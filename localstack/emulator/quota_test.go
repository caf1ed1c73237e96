package emulator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

func TestReadsBeyondTheQuotaOfCallsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota})
		r.create("orders", 2)
		iterator := r.horizon("orders")
		get := func() error {
			_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
			return err
		}
		for i := range 5 {
			if err := get(); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		typed[*types.ProvisionedThroughputExceededException](t, get())
		other := r.iterator(kinesis.GetShardIteratorInput{StreamName: aws.String("orders"), ShardId: aws.String("shardId-000000000001"),
			ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if out := r.get(other); out == nil {
			t.Error("the other shard has a quota of its own")
		}
		time.Sleep(500 * time.Millisecond) // one second after the first call
		if err := get(); err != nil {
			t.Error(err)
		}
		typed[*types.ProvisionedThroughputExceededException](t, get())
	})
}

func TestReadsBeyondTheQuotaOfBytesAreRefusedUntilPaidFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ReadQuota{BytesPerSecond: 1000}})
		r.create("orders", 1)
		iterator := r.horizon("orders")
		get := func() error {
			out, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
			if err == nil {
				iterator = *out.NextShardIterator
			}
			return err
		}
		r.put("orders", "k", make([]byte, 2499))
		if err := get(); err != nil { // 2.5 s of the quota, of which one in advance
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		typed[*types.ProvisionedThroughputExceededException](t, get())
		time.Sleep(time.Millisecond)
		for range 100 {
			if err := get(); err != nil { // calls that read nothing cost nothing
				t.Fatal(err)
			}
		}
	})
}

func TestReplyHoldsAtMostTenMiBAndThenTheShardRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ReadQuota{BytesPerSecond: 1 << 30}})
		r.create("orders", 1)
		const size = 1<<20 - 3
		for range 12 {
			r.put("orders", "key", make([]byte, size))
		}
		first := r.get(r.horizon("orders"))
		if len(first.Records) != 10 || *first.MillisBehindLatest == 0 {
			t.Errorf("%d records, %d ms behind", len(first.Records), *first.MillisBehindLatest)
		}
		time.Sleep(5*time.Second - time.Millisecond)
		_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: first.NextShardIterator})
		typed[*types.ProvisionedThroughputExceededException](t, err)
		time.Sleep(time.Millisecond)
		rest := r.get(*first.NextShardIterator)
		if len(rest.Records) != 2 || *rest.MillisBehindLatest != 0 {
			t.Errorf("%d records, %d ms behind", len(rest.Records), *rest.MillisBehindLatest)
		}
	})
}
