package emulator_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

func (r *rig) retainLonger(stream string, hours int32) error {
	_, err := r.client.IncreaseStreamRetentionPeriod(r.Context(), &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: &stream, RetentionPeriodHours: &hours})
	return err
}

func (r *rig) retainShorter(stream string, hours int32) error {
	_, err := r.client.DecreaseStreamRetentionPeriod(r.Context(), &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: &stream, RetentionPeriodHours: &hours})
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLongerRetentionKeepsWhatIsThereAndBringsNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		r.put("orders", "k", []byte("old"))
		r.split("orders", firstShard, half)
		time.Sleep(13 * time.Hour)
		r.put("orders", "k", []byte("young")) // to a child
		time.Sleep(12 * time.Hour)
		must(t, r.retainLonger("orders", 48)) // untouched since, the first shard is past 24 h
		if got := *r.summary("orders").RetentionPeriodHours; got != 48 {
			t.Errorf("retention is %d h", got)
		}
		if got := lineage(listAll(r, "orders", nil)); got != "1<0* 2<0*" {
			t.Errorf("listed %s", got)
		}
		time.Sleep(36 * time.Hour) // the young record is 48 h old
		read := func() string {
			return fmt.Sprint(r.data(r.horizonOf("orders", "shardId-000000000001")), r.data(r.horizonOf("orders", "shardId-000000000002")))
		}
		if got := read(); got != "[] [young]" && got != "[young] []" {
			t.Errorf("read %s", got)
		}
		time.Sleep(time.Millisecond)
		if got := read(); got != "[] []" {
			t.Errorf("read %s past the retention", got)
		}
	})
}

func TestShorterRetentionTrimsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{Retention: 48 * time.Hour})
		r.create("orders", 1)
		r.put("orders", "k", []byte("old"))
		time.Sleep(30 * time.Hour)
		r.put("orders", "k", []byte("young"))
		must(t, r.retainShorter("orders", 24))
		settle()
		must(t, r.retainLonger("orders", 96))
		if got := fmt.Sprint(r.data(r.horizon("orders"))); got != "[young]" {
			t.Errorf("read %s", got)
		}
	})
}

func TestRetentionRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{Retention: 48 * time.Hour})
		r.create("orders", 1)
		for _, err := range []error{
			r.retainLonger("orders", 48), r.retainLonger("orders", 47), r.retainLonger("orders", 8761),
			r.retainShorter("orders", 48), r.retainShorter("orders", 49), r.retainShorter("orders", 23), r.retainShorter("orders", -1),
		} {
			typed[*types.InvalidArgumentException](t, err)
		}
		typed[*types.ResourceNotFoundException](t, r.retainLonger("absent", 72))
		must(t, r.retainLonger("orders", 8760))
		settle()
		must(t, r.retainShorter("orders", 24))
	})
}

func TestRetainKnowsNoLeastTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		r.put("orders", "k", []byte("old"))
		time.Sleep(time.Second)
		must(t, r.Retain("orders", time.Second))
		if got := fmt.Sprint(r.data(r.horizon("orders"))); got != "[old]" {
			t.Errorf("read %s at the end of the retention", got)
		}
		time.Sleep(time.Millisecond)
		if got := fmt.Sprint(r.data(r.horizon("orders"))); got != "[]" {
			t.Errorf("read %s past the retention", got)
		}
		if err := r.Retain("orders", 0); err == nil {
			t.Error("retained for no time")
		}
		if err := r.Retain("absent", time.Hour); err == nil {
			t.Error("retained records of a stream that does not exist")
		}
	})
}

// createOnDemand makes a stream of four shards.
func (r *rig) createOnDemand(stream string, strategy types.RecordDistributionStrategy) {
	r.Helper()
	_, err := r.client.CreateStream(r.Context(), &kinesis.CreateStreamInput{StreamName: &stream, RecordDistributionStrategy: strategy,
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	must(r.T, err)
}

func (r *rig) distribute(stream string, strategy types.RecordDistributionStrategy) error {
	_, err := r.client.UpdateStreamRecordDistributionStrategy(r.Context(), &kinesis.UpdateStreamRecordDistributionStrategyInput{
		StreamARN: aws.String(arnOf(stream)), RecordDistributionStrategy: strategy})
	return err
}

// spread puts n records with one key, which may be nil, and returns how many went to each shard.
func (r *rig) spread(stream string, n int, key *string) map[string]int {
	r.Helper()
	in := &kinesis.PutRecordsInput{StreamName: &stream}
	for range n {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: key, Data: []byte("x"), ExplicitHashKey: aws.String("0")})
	}
	out, err := r.client.PutRecords(r.Context(), in)
	must(r.T, err)
	shards := map[string]int{}
	for _, e := range out.Records {
		shards[*e.ShardId]++
	}
	return shards
}

func TestAutoDistributionSpreadsOneKeyOverAllShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.createOnDemand("orders", types.RecordDistributionStrategyAuto)
		if got := r.summary("orders").RecordDistributionStrategy; got != types.RecordDistributionStrategyAuto {
			t.Errorf("strategy is %q", got)
		}
		if got := fmt.Sprint(r.spread("orders", 100, aws.String("one"))); got != "map[shardId-000000000000:25 shardId-000000000001:25 shardId-000000000002:25 shardId-000000000003:25]" {
			t.Errorf("spread as %s", got)
		}
		if got := len(r.spread("orders", 4, nil)); got != 4 {
			t.Errorf("records without a key are in %d shards", got)
		}
		for _, sh := range listAll(r, "orders", nil) {
			records := r.get(r.horizonOf("orders", *sh.ShardId)).Records
			if len(records) != 26 || aws.ToString(records[0].PartitionKey) != "one" || records[25].PartitionKey != nil || string(records[25].Data) != "x" {
				t.Errorf("%s holds %d records", *sh.ShardId, len(records))
			}
		}
		out, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), Data: []byte("alone")})
		if err != nil || out.ShardId == nil {
			t.Errorf("one record without a key: %v", err)
		}
		_, err = r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), Data: []byte("x"), PartitionKey: aws.String("")})
		typed[*types.ValidationException](t, err)

		s := r.subscribe(r.register("orders", "view"), firstShard, fromHorizon)
		if event := s.next(); len(event.Records) < 26 || event.Records[25].PartitionKey != nil {
			t.Errorf("subscription brings %d records", len(event.Records))
		}
	})
}

func TestDistributionIsSwitchedWhileRecordsCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.createOnDemand("orders", "")
		if got := r.summary("orders").RecordDistributionStrategy; got != types.RecordDistributionStrategyUserPartitionKey {
			t.Errorf("strategy is %q", got)
		}
		key := aws.String("one")
		for _, c := range []struct {
			strategy types.RecordDistributionStrategy
			shards   int
		}{{types.RecordDistributionStrategyUserPartitionKey, 1}, {types.RecordDistributionStrategyAuto, 4}, {types.RecordDistributionStrategyUserPartitionKey, 1}} {
			must(t, r.distribute("orders", c.strategy))
			settle()
			if got := len(r.spread("orders", 20, key)); got != c.shards {
				t.Errorf("%s: one key is in %d shards", c.strategy, got)
			}
		}
		_, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), Data: []byte("x")})
		typed[*types.ValidationException](t, err)

		must(t, r.distribute("orders", types.RecordDistributionStrategyAuto))
		must(t, r.Scale("orders", 7))
		if got := len(r.spread("orders", 70, nil)); got != 7 {
			t.Errorf("after scaling, records are in %d shards", got)
		}
	})
}

func TestDistributionRefusals(t *testing.T) {
	r := start(t, emulator.Config{UpdateTime: -1})
	r.create("orders", 2)
	r.createOnDemand("free", "")
	typed[*types.InvalidArgumentException](t, r.distribute("orders", types.RecordDistributionStrategyAuto))
	typed[*types.InvalidArgumentException](t, r.distribute("free", "RANDOM"))
	typed[*types.ResourceNotFoundException](t, r.distribute("absent", types.RecordDistributionStrategyAuto))
	if got := r.summary("orders").RecordDistributionStrategy; got != "" {
		t.Errorf("a provisioned stream has the strategy %q", got)
	}
}

func (r *rig) mode(stream string, mode types.StreamMode) error {
	_, err := r.client.UpdateStreamMode(r.Context(), &kinesis.UpdateStreamModeInput{StreamARN: aws.String(arnOf(stream)), StreamModeDetails: &types.StreamModeDetails{StreamMode: mode}})
	return err
}

func TestModeIsSwitchedTwiceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startLimited(t, emulator.Config{})
		r.create("orders", 3)
		typed[*types.InvalidArgumentException](t, r.mode("orders", types.StreamModeProvisioned))
		typed[*types.ValidationException](t, r.mode("orders", "FREE"))
		must(t, r.mode("orders", types.StreamModeOnDemand))
		settle()
		if s := r.summary("orders"); s.StreamModeDetails.StreamMode != types.StreamModeOnDemand || *s.OpenShardCount != 3 {
			t.Errorf("switched to %+v", s)
		}
		must(t, r.distribute("orders", types.RecordDistributionStrategyAuto))
		settle()
		typed[*types.InvalidArgumentException](t, r.mode("orders", types.StreamModeProvisioned))
		must(t, r.distribute("orders", types.RecordDistributionStrategyUserPartitionKey))
		settle()
		must(t, r.mode("orders", types.StreamModeProvisioned))
		settle()
		typed[*types.LimitExceededException](t, r.mode("orders", types.StreamModeOnDemand))
		must(t, r.rescale("orders", 6))
		time.Sleep(24 * time.Hour)
		must(t, r.mode("orders", types.StreamModeOnDemand))
	})
}

func TestRecordSizeIsRaisedAndLowered(t *testing.T) {
	r := start(t, emulator.Config{UpdateTime: -1})
	r.create("orders", 1)
	size := func(kib int32) error {
		_, err := r.client.UpdateMaxRecordSize(t.Context(), &kinesis.UpdateMaxRecordSizeInput{StreamARN: aws.String(arnOf("orders")), MaxRecordSizeInKiB: &kib})
		return err
	}
	put := func() error {
		_, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: make([]byte, 2<<20-1)})
		return err
	}
	typed[*types.InvalidArgumentException](t, put())
	must(t, size(2048))
	must(t, put())
	if got := *r.summary("orders").MaxRecordSizeInKiB; got != 2048 {
		t.Errorf("size is %d KiB", got)
	}
	must(t, size(1024))
	typed[*types.InvalidArgumentException](t, put())
	typed[*types.ValidationException](t, size(1023))
	typed[*types.ValidationException](t, size(10241))
}

func TestAStreamCreatedAnewIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{CreateTime: time.Minute})
		status := func() types.StreamStatus { return r.summary("orders").StreamStatus }
		r.create("orders", 2)
		if got := status(); got != types.StreamStatusCreating {
			t.Errorf("stream is %s at first", got)
		}
		described, err := r.client.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String("orders")})
		if err != nil || len(described.StreamDescription.Shards) != 0 || *r.summary("orders").OpenShardCount != 0 {
			t.Errorf("at first the stream has %+v, %v", described, err)
		}
		_, err = r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte("x")})
		typed[*types.ResourceNotFoundException](t, err)
		_, err = r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders")})
		typed[*types.ResourceInUseException](t, err)
		_, err = r.tryRegister("orders", "view")
		typed[*types.ResourceInUseException](t, err)
		_, err = r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String("orders")})
		typed[*types.ResourceInUseException](t, err)
		time.Sleep(time.Minute)
		if got := status(); got != types.StreamStatusActive {
			t.Errorf("stream is %s after a minute", got)
		}
		r.split("orders", firstShard, "1000")
		settle()
		before, created := listAll(r, "orders", nil), *r.summary("orders").StreamCreationTimestamp

		r.delete("orders")
		if got := status(); got != types.StreamStatusDeleting {
			t.Errorf("deleted stream is %s", got)
		}
		r.put("orders", "k", []byte("x")) // still taken
		_, err = r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("orders"), ShardCount: aws.Int32(1)})
		typed[*types.ResourceInUseException](t, err)
		time.Sleep(time.Minute)
		_, err = r.client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("orders")})
		typed[*types.ResourceNotFoundException](t, err)
		streams, err := r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
		if err != nil || len(streams.StreamNames) != 0 {
			t.Errorf("listed %v, %v", streams, err)
		}

		r.create("orders", 2)
		time.Sleep(time.Minute)
		after := listAll(r, "orders", nil)
		if got := lineage(after); got != "0* 1*" {
			t.Errorf("the new stream has %s", got)
		}
		if now := *r.summary("orders").StreamCreationTimestamp; !now.After(created) {
			t.Errorf("created at %s, before at %s", now, created)
		}
		for _, old := range before {
			for _, sh := range after {
				if toInt(*sh.SequenceNumberRange.StartingSequenceNumber).Cmp(toInt(*old.SequenceNumberRange.StartingSequenceNumber)) <= 0 {
					t.Errorf("%s does not follow the old %s", *sh.ShardId, *old.ShardId)
				}
			}
		}
	})
}

func TestNoMoreThanFiveStreamsAreCreatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{CreateTime: time.Minute})
		for i := range 5 {
			r.create(fmt.Sprint("s", i), 1)
		}
		_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("sixth"), ShardCount: aws.Int32(1)})
		typed[*types.LimitExceededException](t, err)
		time.Sleep(time.Minute)
		r.create("sixth", 1)
	})
}
