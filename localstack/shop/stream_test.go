package shop

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

func TestWhatIsSeededIsReadFromTheStream(t *testing.T) {
	client := kinesis.NewFromConfig(emulator.Start(t, emulator.Config{}).AWS())
	if _, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: new("orders"), ShardCount: new(int32(4))}); err != nil {
		t.Fatal(err)
	}
	events := busy(t, 30, 500)
	if _, err := Seed(t.Context(), client, "orders", slices.Values(events), Options{}); err != nil {
		t.Fatal(err)
	}

	shards, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: new("orders")})
	if err != nil {
		t.Fatal(err)
	}
	read := &wire{}
	for _, shard := range shards.Shards {
		records := readShard(t, client, *shard.ShardId)
		if len(records) == 0 {
			t.Errorf("no order is in %s", *shard.ShardId)
		}
		for _, r := range records {
			read.stored = append(read.stored, wireRecord{r.Data, *r.PartitionKey})
		}
	}
	if surplus := read.storedOnce(t, events); surplus != 0 {
		t.Errorf("%d records too many", surplus)
	}
}

func readShard(t *testing.T, client *kinesis.Client, shard string) []types.Record {
	t.Helper()
	at, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: new("orders"), ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	var records []types.Record
	for iterator := at.ShardIterator; ; {
		answer, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: iterator})
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, answer.Records...)
		if len(answer.Records) == 0 && *answer.MillisBehindLatest == 0 {
			return records
		}
		iterator = answer.NextShardIterator
	}
}
