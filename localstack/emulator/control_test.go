package emulator_test

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/google/go-cmp/cmp"

	"penstock/localstack/emulator"
)

func TestStreamIsActiveOnceCreatedAndGoneOnceDeleted(t *testing.T) {
	r := start(t, emulator.Config{Retention: 90 * time.Minute})
	r.create("orders", 3)

	out, err := r.client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	got := out.StreamDescriptionSummary
	if age := time.Since(*got.StreamCreationTimestamp); age < 0 || age > time.Minute {
		t.Errorf("created %s ago", age)
	}
	got.StreamCreationTimestamp = nil
	want := &types.StreamDescriptionSummary{
		StreamName:           aws.String("orders"),
		StreamARN:            aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/orders"),
		StreamStatus:         types.StreamStatusActive,
		StreamModeDetails:    &types.StreamModeDetails{StreamMode: types.StreamModeProvisioned},
		RetentionPeriodHours: aws.Int32(2),
		EncryptionType:       types.EncryptionTypeNone,
		EnhancedMonitoring:   []types.EnhancedMetrics{{ShardLevelMetrics: []types.MetricsName{}}},
		OpenShardCount:       aws.Int32(3),
		ConsumerCount:        aws.Int32(0),
		MaxRecordSizeInKiB:   aws.Int32(1024),
	}
	if diff := cmp.Diff(want, got, ignoreSerde); diff != "" {
		t.Error(diff)
	}
	if err := kinesis.NewStreamExistsWaiter(r.client).Wait(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String("orders")}, time.Second); err != nil {
		t.Errorf("waiter: %v", err)
	}

	r.delete("orders")
	_, err = r.client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
	typed[*types.ResourceNotFoundException](t, err)
	_, err = r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String("orders")})
	typed[*types.ResourceNotFoundException](t, err)
}

func TestOnDemandStreamStartsWithFourShards(t *testing.T) {
	r := start(t, emulator.Config{})
	_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{
		StreamName: aws.String("s"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.client.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String("s")})
	if err != nil {
		t.Fatal(err)
	}
	if d := out.StreamDescription; len(d.Shards) != 4 || d.StreamModeDetails.StreamMode != types.StreamModeOnDemand {
		t.Errorf("%d shards, mode %s", len(d.Shards), d.StreamModeDetails.StreamMode)
	}
}

func TestCreateStreamRefusals(t *testing.T) {
	r := start(t, emulator.Config{ShardLimit: 5})
	r.create("orders", 3)
	create := func(in kinesis.CreateStreamInput) error {
		_, err := r.client.CreateStream(t.Context(), &in)
		return err
	}
	typed[*types.ResourceInUseException](t, create(kinesis.CreateStreamInput{StreamName: aws.String("orders"), ShardCount: aws.Int32(1)}))
	typed[*types.LimitExceededException](t, create(kinesis.CreateStreamInput{StreamName: aws.String("more"), ShardCount: aws.Int32(3)}))
	typed[*types.ValidationException](t, create(kinesis.CreateStreamInput{StreamName: aws.String("no such name"), ShardCount: aws.Int32(1)}))
	typed[*types.ValidationException](t, create(kinesis.CreateStreamInput{StreamName: aws.String("none"), ShardCount: aws.Int32(0)}))
	typed[*types.InvalidArgumentException](t, create(kinesis.CreateStreamInput{
		StreamName: aws.String("big"), ShardCount: aws.Int32(1), MaxRecordSizeInKiB: aws.Int32(20000)}))
	typed[*types.InvalidArgumentException](t, create(kinesis.CreateStreamInput{
		StreamName: aws.String("auto"), ShardCount: aws.Int32(1), RecordDistributionStrategy: types.RecordDistributionStrategyAuto}))

	r.delete("orders")
	r.create("more", 5) // the deleted stream's shards count no more
}

func TestStreamIsNamedByNameOrARN(t *testing.T) {
	r := start(t, emulator.Config{Account: "123456789012", Region: "eu-west-1"})
	r.create("orders", 1)
	const arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
	describe := func(in kinesis.DescribeStreamSummaryInput) error {
		_, err := r.client.DescribeStreamSummary(t.Context(), &in)
		return err
	}
	for _, in := range []kinesis.DescribeStreamSummaryInput{
		{StreamARN: aws.String(arn)},
		{StreamARN: aws.String(arn), StreamName: aws.String("orders")},
	} {
		if err := describe(in); err != nil {
			t.Error(err)
		}
	}
	typed[*types.InvalidArgumentException](t, describe(kinesis.DescribeStreamSummaryInput{}))
	typed[*types.InvalidArgumentException](t, describe(kinesis.DescribeStreamSummaryInput{StreamARN: aws.String(arn), StreamName: aws.String("other")}))
	typed[*types.ResourceNotFoundException](t, describe(kinesis.DescribeStreamSummaryInput{
		StreamARN: aws.String("arn:aws:kinesis:eu-west-1:999999999999:stream/orders")}))

	out, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamARN: aws.String(arn), PartitionKey: aws.String("k"), Data: []byte("x")})
	if err != nil || *out.ShardId != "shardId-000000000000" {
		t.Errorf("put by ARN: %v", err)
	}
}

func TestShardsShareTheHashKeysWithoutGap(t *testing.T) {
	r := start(t, emulator.Config{})
	for _, n := range []int{1, 2, 3, 7, 100} {
		name := fmt.Sprint("s", n)
		r.create(name, int32(n))
		shards := listAll(r, name, nil)
		if len(shards) != n {
			t.Fatalf("%d shards listed, want %d", len(shards), n)
		}
		next := new(big.Int)
		for i, sh := range shards {
			if want := fmt.Sprintf("shardId-%012d", i); *sh.ShardId != want {
				t.Errorf("shard %d is %s", i, *sh.ShardId)
			}
			if *sh.HashKeyRange.StartingHashKey != next.String() {
				t.Errorf("of %d shards, %d starts at %s, want %s", n, i, *sh.HashKeyRange.StartingHashKey, next)
			}
			end, _ := new(big.Int).SetString(*sh.HashKeyRange.EndingHashKey, 10)
			next.Add(end, big.NewInt(1))
			if sh.SequenceNumberRange.EndingSequenceNumber != nil || sh.ParentShardId != nil {
				t.Errorf("open first shard says %+v", sh)
			}
		}
		if next.Cmp(new(big.Int).Lsh(big.NewInt(1), 128)) != 0 {
			t.Errorf("last shard ends before %s", next)
		}
	}
}

func listAll(r *rig, stream string, pageSize *int32) []types.Shard {
	r.Helper()
	var shards []types.Shard
	in := &kinesis.ListShardsInput{StreamName: &stream, MaxResults: pageSize}
	for {
		out, err := r.client.ListShards(r.Context(), in)
		if err != nil {
			r.Fatal(err)
		}
		shards = append(shards, out.Shards...)
		if out.NextToken == nil {
			return shards
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken, MaxResults: pageSize}
	}
}

func TestListingsGiveTheSameOverPages(t *testing.T) {
	r := start(t, emulator.Config{ShardLimit: 2000})
	r.create("many", 1001)
	whole := listAll(r, "many", nil)
	if len(whole) != 1001 {
		t.Fatalf("%d shards", len(whole))
	}
	for _, size := range []int32{7, 1000, 5000} {
		if diff := cmp.Diff(whole, listAll(r, "many", &size), ignoreSerde); diff != "" {
			t.Errorf("pages of %d: %s", size, diff)
		}
	}

	var described []types.Shard
	in := &kinesis.DescribeStreamInput{StreamName: aws.String("many")}
	for {
		out, err := r.client.DescribeStream(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		described = append(described, out.StreamDescription.Shards...)
		if !*out.StreamDescription.HasMoreShards {
			break
		}
		in.ExclusiveStartShardId = described[len(described)-1].ShardId
	}
	if diff := cmp.Diff(whole, described, ignoreSerde); diff != "" {
		t.Errorf("DescribeStream: %s", diff)
	}
}

func TestListShardsFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		before := time.Now()
		time.Sleep(time.Second)
		r.create("orders", 4)
		count := func(in kinesis.ListShardsInput) int {
			in.StreamName = aws.String("orders")
			out, err := r.client.ListShards(t.Context(), &in)
			if err != nil {
				t.Fatal(err)
			}
			return len(out.Shards)
		}
		filter := func(f types.ShardFilter) kinesis.ListShardsInput { return kinesis.ListShardsInput{ShardFilter: &f} }
		for name, want := range map[string]struct {
			in kinesis.ListShardsInput
			n  int
		}{
			"latest":       {filter(types.ShardFilter{Type: types.ShardFilterTypeAtLatest}), 4},
			"horizon":      {filter(types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}), 4},
			"from horizon": {filter(types.ShardFilter{Type: types.ShardFilterTypeFromTrimHorizon}), 4},
			"after shard":  {filter(types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shardId-000000000001")}), 2},
			"after last":   {filter(types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shardId-000000000003")}), 0},
			"at now":       {filter(types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: new(time.Now())}), 4},
			"at before":    {filter(types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: &before}), 0},
			"at creation":  {filter(types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: new(before.Add(time.Second))}), 4},
			"just before":  {filter(types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: new(before.Add(time.Second - time.Millisecond))}), 0},
			"from before":  {filter(types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: &before}), 4},
			"from now":     {filter(types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: new(time.Now())}), 4},
			"exclusive":    {kinesis.ListShardsInput{ExclusiveStartShardId: aws.String("shardId-000000000000")}, 3},
			"incarnation":  {kinesis.ListShardsInput{StreamCreationTimestamp: new(time.Now())}, 4},
		} {
			if got := count(want.in); got != want.n {
				t.Errorf("%s: %d shards, want %d", name, got, want.n)
			}
		}
		list := func(in kinesis.ListShardsInput) error {
			_, err := r.client.ListShards(t.Context(), &in)
			return err
		}
		typed[*types.InvalidArgumentException](t, list(kinesis.ListShardsInput{StreamName: aws.String("orders"), NextToken: aws.String("x")}))
		typed[*types.InvalidArgumentException](t, list(kinesis.ListShardsInput{NextToken: aws.String("garbage")}))
		typed[*types.InvalidArgumentException](t, list(kinesis.ListShardsInput{StreamName: aws.String("orders"), ExclusiveStartShardId: aws.String("shard-1")}))
		for _, f := range []types.ShardFilter{
			{Type: "AT_ODDS"},
			{Type: types.ShardFilterTypeAfterShardId},
			{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shard-1")},
			{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shardId-000000000001"), Timestamp: &before},
			{Type: types.ShardFilterTypeAtTimestamp},
			{Type: types.ShardFilterTypeFromTimestamp},
			{Type: types.ShardFilterTypeFromTimestamp, Timestamp: &before, ShardId: aws.String("shardId-000000000001")},
			{Type: types.ShardFilterTypeAtLatest, Timestamp: &before},
			{Type: types.ShardFilterTypeAtTrimHorizon, ShardId: aws.String("shardId-000000000001")},
		} {
			typed[*types.InvalidArgumentException](t, list(kinesis.ListShardsInput{StreamName: aws.String("orders"), ShardFilter: &f}))
		}
		typed[*types.InvalidArgumentException](t, list(kinesis.ListShardsInput{StreamName: aws.String("orders"),
			ExclusiveStartShardId: aws.String("shardId-000000000000"),
			ShardFilter:           &types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shardId-000000000001")}}))
		typed[*types.ResourceNotFoundException](t, list(kinesis.ListShardsInput{StreamName: aws.String("orders"), StreamCreationTimestamp: &before}))
		typed[*types.ResourceNotFoundException](t, list(kinesis.ListShardsInput{StreamName: aws.String("other")}))
	})
}

func TestFilteredListingKeepsItsFilterOverPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 7)
		for name, f := range map[string]types.ShardFilter{
			"after shard":  {Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shardId-000000000001")},
			"at timestamp": {Type: types.ShardFilterTypeAtTimestamp, Timestamp: new(time.Now())},
			"at latest":    {Type: types.ShardFilterTypeAtLatest},
		} {
			whole, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders"), ShardFilter: &f})
			if err != nil {
				t.Fatal(err)
			}
			var paged []types.Shard
			for in := (&kinesis.ListShardsInput{StreamName: aws.String("orders"), ShardFilter: &f, MaxResults: aws.Int32(2)}); in != nil; {
				out, err := r.client.ListShards(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				paged, in = append(paged, out.Shards...), nil
				if out.NextToken != nil {
					in = &kinesis.ListShardsInput{NextToken: out.NextToken, MaxResults: aws.Int32(2)}
				}
			}
			if diff := cmp.Diff(whole.Shards, paged, ignoreSerde); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})
}

func TestNextTokensExpireAfter300Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 3)
		r.create("others", 1)
		shards, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders"), MaxResults: aws.Int32(1)})
		if err != nil {
			t.Fatal(err)
		}
		streams, err := r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{Limit: aws.Int32(1)})
		if err != nil {
			t.Fatal(err)
		}
		listShards := func() error {
			_, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{NextToken: shards.NextToken})
			return err
		}
		listStreams := func() error {
			_, err := r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{NextToken: streams.NextToken})
			return err
		}
		time.Sleep(300 * time.Second)
		if err := errors.Join(listShards(), listStreams()); err != nil {
			t.Errorf("at 300 s: %v", err)
		}
		time.Sleep(time.Millisecond)
		typed[*types.ExpiredNextTokenException](t, listShards())
		typed[*types.ExpiredNextTokenException](t, listStreams())
	})
}

func TestListStreamsOverPages(t *testing.T) {
	r := start(t, emulator.Config{})
	var want []string
	for i := range 12 {
		want = append(want, fmt.Sprintf("s%02d", i))
	}
	for _, name := range slices.Backward(want) {
		r.create(name, 1)
	}
	var got []string
	pages := kinesis.NewListStreamsPaginator(r.client, &kinesis.ListStreamsInput{Limit: aws.Int32(5)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, out.StreamNames...)
		if len(out.StreamSummaries) != len(out.StreamNames) {
			t.Errorf("%d summaries for %d names", len(out.StreamSummaries), len(out.StreamNames))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	out, err := r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{ExclusiveStartStreamName: aws.String("s09")})
	if err != nil || !slices.Equal(out.StreamNames, want[10:]) || *out.HasMoreStreams {
		t.Errorf("after s09: %v, %v", out, err)
	}
}
