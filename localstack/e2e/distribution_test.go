package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/stacktest"
)

// A stream in on-demand mode begins to spread its records over all shards by itself while orders come in and two daemons
// follow it, one of which is killed. From then on the events of one order are in several shards at once, read by both
// daemons in any order, whatever their partition key. The rows are those of the events.
func TestAStreamSpreadsItsRecordsUnderLoad(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	s := site(t, 0, nil, "PENSTOCK_LEASES_FAILOVER="+failover.String())
	ctx := within(t, 4*time.Minute, "a stream that spreads its records")
	client := s.Kinesis()
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &s.Name,
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}}); err != nil {
		t.Fatal(err)
	}
	setup(t, s)
	open, err := s.OpenShards(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fleet := balanced(t, ctx, s, len(open), "a", "b")
	w := newOrderWorkload(t, 1000, 33, 0.02)
	var seeding sync.WaitGroup
	var seedErr error
	seeding.Go(func() { seedErr = w.put(ctx, s, 600) })
	defer seeding.Wait()
	settle := func(more int) {
		t.Helper()
		before, _ := fleet.Done(must(fleet.Scrape(ctx))(t))
		if err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
			done, _ := fleet.Done(scrapes)
			return done >= before+more
		}); err != nil {
			t.Fatal(err)
		}
	}
	settle(500)
	described, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s.Name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.UpdateStreamRecordDistributionStrategy(ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{
		StreamARN: described.StreamDescriptionSummary.StreamARN, RecordDistributionStrategy: types.RecordDistributionStrategyAuto,
	}); err != nil {
		t.Fatal(err)
	}
	settle(500)
	if _, err := fleet.Crash(ctx, fleet.Running()[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.Start(ctx, "b-again"); err != nil {
		t.Fatal(err)
	}
	seeding.Wait()
	if seedErr != nil {
		t.Fatal(seedErr)
	}
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	t.Log(w.check(t, s))
	if n := keysInSeveralShards(t, client, s.Name); n == 0 {
		t.Error("every partition key is in one shard: the stream did not spread its records")
	}
}

// keysInSeveralShards counts the partition keys whose records are in more than one shard.
func keysInSeveralShards(t *testing.T, client *kinesis.Client, stream string) int {
	t.Helper()
	listed, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: &stream})
	if err != nil {
		t.Fatal(err)
	}
	shards := map[string]map[string]bool{} // by key
	for _, shard := range listed.Shards {
		at, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: &stream, ShardId: shard.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		out, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: at.ShardIterator})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Records {
			key := aws.ToString(r.PartitionKey)
			if shards[key] == nil {
				shards[key] = map[string]bool{}
			}
			shards[key][*shard.ShardId] = true
		}
	}
	n := 0
	for _, in := range shards {
		if len(in) > 1 {
			n++
		}
	}
	return n
}
