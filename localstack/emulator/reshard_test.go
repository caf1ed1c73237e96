package emulator_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

// half is the hash key in the middle of all.
const half = "170141183460469231731687303715884105728"

// settle lets the stream become ACTIVE.
func settle() { time.Sleep(updateTime) }

func (r *rig) trySplit(stream, shard, at string) error {
	_, err := r.client.SplitShard(r.Context(), &kinesis.SplitShardInput{StreamName: &stream, ShardToSplit: &shard, NewStartingHashKey: &at})
	return err
}

func (r *rig) split(stream, shard, at string) {
	r.Helper()
	if err := r.trySplit(stream, shard, at); err != nil {
		r.Error(err)
	}
}

func (r *rig) tryMerge(stream, shard, adjacent string) error {
	_, err := r.client.MergeShards(r.Context(), &kinesis.MergeShardsInput{StreamName: &stream, ShardToMerge: &shard, AdjacentShardToMerge: &adjacent})
	return err
}

func (r *rig) merge(stream, shard, adjacent string) {
	r.Helper()
	if err := r.tryMerge(stream, shard, adjacent); err != nil {
		r.Error(err)
	}
}

func (r *rig) rescale(stream string, n int32) error {
	_, err := r.client.UpdateShardCount(r.Context(), &kinesis.UpdateShardCountInput{StreamName: &stream, TargetShardCount: &n, ScalingType: types.ScalingTypeUniformScaling})
	return err
}

func (r *rig) summary(stream string) *types.StreamDescriptionSummary {
	r.Helper()
	out, err := r.client.DescribeStreamSummary(r.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
	if err != nil {
		r.Fatal(err)
	}
	return out.StreamDescriptionSummary
}

func (r *rig) horizonOf(stream, shard string) string {
	r.Helper()
	return r.iterator(kinesis.GetShardIteratorInput{StreamName: &stream, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
}

func childIDs(children []types.ChildShard) string {
	var ids []string
	for _, c := range children {
		ids = append(ids, *c.ShardId)
	}
	return strings.Join(ids, " ")
}

// lineage draws shards as "1<0" for a child of 0 and "3<1+2" for one of 1 and 2; an open one ends in a star.
func lineage(shards []types.Shard) string {
	short := func(id *string) string {
		return strings.TrimLeft((*id)[len("shardId-"):len(*id)-1], "0") + (*id)[len(*id)-1:]
	}
	var all []string
	for _, sh := range shards {
		text := short(sh.ShardId)
		if sh.ParentShardId != nil {
			text += "<" + short(sh.ParentShardId)
		}
		if sh.AdjacentParentShardId != nil {
			text += "+" + short(sh.AdjacentParentShardId)
		}
		if sh.SequenceNumberRange.EndingSequenceNumber == nil {
			text += "*"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// ring fails unless the open shards share the hash keys without gap and without overlap.
func ring(t *testing.T, shards []types.Shard) {
	t.Helper()
	open := slices.DeleteFunc(slices.Clone(shards), func(sh types.Shard) bool { return sh.SequenceNumberRange.EndingSequenceNumber != nil })
	slices.SortFunc(open, func(a, b types.Shard) int {
		return toInt(*a.HashKeyRange.StartingHashKey).Cmp(toInt(*b.HashKeyRange.StartingHashKey))
	})
	next := new(big.Int)
	for _, sh := range open {
		if toInt(*sh.HashKeyRange.StartingHashKey).Cmp(next) != 0 {
			t.Fatalf("%s starts at %s, want %s", *sh.ShardId, *sh.HashKeyRange.StartingHashKey, next)
		}
		next.Add(toInt(*sh.HashKeyRange.EndingHashKey), big.NewInt(1))
	}
	if next.Cmp(new(big.Int).Lsh(big.NewInt(1), 128)) != 0 {
		t.Fatalf("open shards end before %s", next)
	}
}

func TestASplitShardClosesAndItsRecordsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		numbers := r.putMany("orders", 3)
		before := r.iterator(kinesis.GetShardIteratorInput{StreamName: aws.String("orders"), ShardIteratorType: types.ShardIteratorTypeLatest})
		r.split("orders", firstShard, half)
		shards := listAll(r, "orders", nil)
		ring(t, shards)
		if got := lineage(shards); got != "0 1<0* 2<0*" {
			t.Fatalf("lineage is %s", got)
		}
		if *shards[2].HashKeyRange.StartingHashKey != half {
			t.Errorf("second child starts at %s", *shards[2].HashKeyRange.StartingHashKey)
		}
		end := *shards[0].SequenceNumberRange.EndingSequenceNumber
		for _, sh := range shards[1:] {
			if start := *sh.SequenceNumberRange.StartingSequenceNumber; toInt(start).Cmp(toInt(end)) <= 0 || toInt(end).Cmp(toInt(numbers[2])) <= 0 {
				t.Errorf("%s starts at %s; its parent's last record is %s, its end %s", *sh.ShardId, start, numbers[2], end)
			}
		}

		out, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: aws.String(r.horizon("orders")), Limit: aws.Int32(2)})
		if err != nil || len(out.Records) != 2 || out.NextShardIterator == nil || len(out.ChildShards) != 0 {
			t.Errorf("amid a closed shard: %+v, %v", out, err)
		}
		for name, iterator := range map[string]string{"amid": *out.NextShardIterator, "before the split": before, "after the end": r.after("orders", end)} {
			last := r.get(iterator)
			if last.NextShardIterator != nil || childIDs(last.ChildShards) != "shardId-000000000001 shardId-000000000002" || *last.MillisBehindLatest != 0 {
				t.Errorf("%s: last answer is %+v", name, last)
			}
			for i, child := range last.ChildShards {
				if len(child.ParentShards) != 1 || child.ParentShards[0] != firstShard || *child.HashKeyRange.StartingHashKey != []string{"0", half}[i] {
					t.Errorf("%s: child is %+v", name, child)
				}
			}
		}

		for _, hash := range []string{"0", half} {
			put, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte("x"), ExplicitHashKey: &hash})
			if err != nil || *put.ShardId == firstShard {
				t.Errorf("put to a split shard: %v", err)
			}
		}
	})
}

func TestMergedShardsHaveOneChildOfTwoParents(t *testing.T) {
	for name, order := range map[string][2]string{
		"lower first":  {"shardId-000000000001", "shardId-000000000002"},
		"higher first": {"shardId-000000000002", "shardId-000000000001"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, emulator.Config{})
			r.create("orders", 4)
			r.merge("orders", order[0], order[1])
			shards := listAll(r, "orders", nil)
			ring(t, shards)
			child := shards[4]
			if *child.ParentShardId != order[0] || *child.AdjacentParentShardId != order[1] ||
				*child.HashKeyRange.StartingHashKey != *shards[1].HashKeyRange.StartingHashKey || *child.HashKeyRange.EndingHashKey != *shards[2].HashKeyRange.EndingHashKey {
				t.Errorf("child is %+v", child)
			}
			for _, parent := range order {
				last := r.get(r.horizonOf("orders", parent))
				if last.NextShardIterator != nil || len(last.ChildShards) != 1 || fmt.Sprint(last.ChildShards[0].ParentShards) != fmt.Sprint(order) {
					t.Errorf("last answer of %s is %+v", parent, last)
				}
			}
			if n := *r.summary("orders").OpenShardCount; n != 3 {
				t.Errorf("%d open shards", n)
			}
		})
	}
}

func TestReshardRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ShardLimit: 8})
		r.create("orders", 2)
		const low, high = firstShard, "shardId-000000000001"
		typed[*types.ResourceNotFoundException](t, r.trySplit("absent", low, "5"))
		typed[*types.ResourceNotFoundException](t, r.trySplit("orders", "shardId-000000000002", "5"))
		typed[*types.ResourceNotFoundException](t, r.trySplit("orders", "shard", "5"))
		for _, at := range []string{"", "x", "0", "1", "-5", "05", "170141183460469231731687303715884105727", half, "340282366920938463463374607431768211456"} {
			typed[*types.InvalidArgumentException](t, r.trySplit("orders", low, at))
		}
		typed[*types.ResourceNotFoundException](t, r.tryMerge("orders", low, "shardId-000000000002"))
		typed[*types.InvalidArgumentException](t, r.tryMerge("orders", low, low))
		if s := r.summary("orders"); s.StreamStatus != types.StreamStatusActive || *s.OpenShardCount != 2 {
			t.Errorf("refusals left the stream %s with %d shards", s.StreamStatus, *s.OpenShardCount)
		}

		r.split("orders", low, "2") // the least there is
		settle()
		r.split("orders", high, "340282366920938463463374607431768211454") // the greatest
		settle()
		typed[*types.InvalidArgumentException](t, r.trySplit("orders", low, "1000"))
		typed[*types.InvalidArgumentException](t, r.tryMerge("orders", low, high))
		typed[*types.InvalidArgumentException](t, r.tryMerge("orders", "shardId-000000000002", "shardId-000000000005"))
		ring(t, listAll(r, "orders", nil))

		r.create("more", 4)
		typed[*types.LimitExceededException](t, r.trySplit("orders", "shardId-000000000003", "1000"))
		typed[*types.LimitExceededException](t, r.rescale("more", 5))

		_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{
			StreamName: aws.String("free"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
		typed[*types.LimitExceededException](t, err)
		r.delete("more")
		_, err = r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{
			StreamName: aws.String("free"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
		if err != nil {
			t.Fatal(err)
		}
		typed[*types.ValidationException](t, r.trySplit("free", low, "1000"))
		typed[*types.ValidationException](t, r.tryMerge("free", low, high))
		typed[*types.ValidationException](t, r.rescale("free", 5))
	})
}

func TestOpenShardsCountAgainstTheLimitAndClosedOnesDoNot(t *testing.T) {
	r := start(t, emulator.Config{ShardLimit: 4, UpdateTime: -1})
	tryCreate := func(stream string, shards int32) error {
		_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: &shards})
		return err
	}
	r.create("orders", 1)
	r.split("orders", firstShard, half)
	r.merge("orders", "shardId-000000000001", "shardId-000000000002")
	r.split("orders", "shardId-000000000003", half)
	typed[*types.LimitExceededException](t, tryCreate("more", 3))
	r.create("more", 2)
	r.delete("orders")
	typed[*types.LimitExceededException](t, tryCreate("again", 3))
	r.create("again", 2)
}

func TestUpdateShardCountScalesEvenly(t *testing.T) {
	for _, c := range []struct{ from, to, known int }{ // known: open and closed shards afterwards
		{1, 2, 3}, {2, 4, 6}, {4, 2, 6}, {2, 3, 7}, {3, 2, 7}, {4, 5, 15}, {3, 6, 9}, {100, 200, 300}, {4, 4, 4},
	} {
		t.Run(fmt.Sprint(c.from, " to ", c.to), func(t *testing.T) {
			r := start(t, emulator.Config{})
			r.create("orders", int32(c.from))
			out, err := r.client.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{
				StreamName: aws.String("orders"), TargetShardCount: aws.Int32(int32(c.to)), ScalingType: types.ScalingTypeUniformScaling})
			if err != nil {
				t.Fatal(err)
			}
			if int(*out.CurrentShardCount) != c.from || int(*out.TargetShardCount) != c.to || *out.StreamName != "orders" || *out.StreamARN != arnOf("orders") {
				t.Errorf("answer is %+v", out)
			}
			shards := listAll(r, "orders", nil)
			ring(t, shards)
			if open := int(*r.summary("orders").OpenShardCount); open != c.to || len(shards) != c.known {
				t.Errorf("%d shards, %d of them open: %s", len(shards), open, lineage(shards))
			}
			size := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(int64(c.to)))
			for _, sh := range shards {
				if sh.SequenceNumberRange.EndingSequenceNumber != nil {
					continue
				}
				span := new(big.Int).Sub(toInt(*sh.HashKeyRange.EndingHashKey), toInt(*sh.HashKeyRange.StartingHashKey))
				if d := span.Sub(span, size); d.CmpAbs(big.NewInt(1)) > 0 {
					t.Errorf("%s is off an even share by %s", *sh.ShardId, d)
				}
			}
			children(t, shards)
		})
	}
}

// children fails unless each shard begins, by its number, after all of its parents that are still listed, which are closed.
func children(t *testing.T, shards []types.Shard) {
	t.Helper()
	byID := map[string]types.Shard{}
	for _, sh := range shards {
		byID[*sh.ShardId] = sh
		for _, id := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
			if id == nil {
				continue
			}
			parent, known := byID[*id]
			if !known {
				continue // past its retention
			}
			if parent.SequenceNumberRange.EndingSequenceNumber == nil {
				t.Errorf("%s has the parent %s, which is not closed", *sh.ShardId, *id)
			} else if toInt(*parent.SequenceNumberRange.EndingSequenceNumber).Cmp(toInt(*sh.SequenceNumberRange.StartingSequenceNumber)) >= 0 {
				t.Errorf("%s starts before its parent %s ends", *sh.ShardId, *id)
			}
		}
	}
}

func TestUpdateShardCountRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startLimited(t, emulator.Config{ShardLimit: 10})
		r.create("orders", 4)
		typed[*types.InvalidArgumentException](t, r.rescale("orders", 9))
		typed[*types.InvalidArgumentException](t, r.rescale("orders", 1))
		typed[*types.ValidationException](t, r.rescale("orders", 0))
		_, err := r.client.UpdateShardCount(t.Context(), &kinesis.UpdateShardCountInput{
			StreamName: aws.String("orders"), TargetShardCount: aws.Int32(5), ScalingType: "RANDOM"})
		typed[*types.ValidationException](t, err)
		for i := range 10 {
			if err := r.rescale("orders", int32(4+i%2)); err != nil {
				t.Fatalf("scaling %d: %v", i, err)
			}
			time.Sleep(time.Hour)
		}
		typed[*types.LimitExceededException](t, r.rescale("orders", 6))
		time.Sleep(14*time.Hour - time.Millisecond)
		typed[*types.LimitExceededException](t, r.rescale("orders", 6))
		time.Sleep(time.Millisecond) // 24 hours after the first
		if err := r.rescale("orders", 6); err != nil {
			t.Error(err)
		}
	})
}

func TestAStreamIsUpdatingForAWhileAndTakesNoOtherChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{UpdateTime: time.Minute})
		r.create("orders", 2)
		r.split("orders", firstShard, "1000")
		r.put("orders", "k", []byte("x")) // reading and writing go on
		if got := r.summary("orders").StreamStatus; got != types.StreamStatusUpdating {
			t.Errorf("stream is %s", got)
		}
		streams, err := r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
		if err != nil || streams.StreamSummaries[0].StreamStatus != types.StreamStatusUpdating {
			t.Errorf("listed stream is %+v, %v", streams, err)
		}
		_, increase := r.client.IncreaseStreamRetentionPeriod(t.Context(), &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: aws.String("orders"), RetentionPeriodHours: aws.Int32(48)})
		_, remove := r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String("orders")})
		_, mode := r.client.UpdateStreamMode(t.Context(), &kinesis.UpdateStreamModeInput{
			StreamARN: aws.String(arnOf("orders")), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
		for _, err := range []error{increase, remove, mode, r.rescale("orders", 4), r.trySplit("orders", "shardId-000000000001", half), r.tryMerge("orders", "shardId-000000000002", "shardId-000000000003")} {
			typed[*types.ResourceInUseException](t, err)
		}
		time.Sleep(time.Minute)
		if got := r.summary("orders").StreamStatus; got != types.StreamStatusActive {
			t.Errorf("stream is %s after the update", got)
		}
		r.merge("orders", "shardId-000000000002", "shardId-000000000003")
	})
}

func TestScaleActsForTheServiceAndHasNoLimits(t *testing.T) {
	r := start(t, emulator.Config{})
	_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{
		StreamName: aws.String("orders"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{64, 1, 3} { // at once
		if err := r.Scale("orders", n); err != nil {
			t.Fatal(err)
		}
		shards := listAll(r, "orders", nil)
		ring(t, shards)
		children(t, shards)
		if s := r.summary("orders"); int(*s.OpenShardCount) != n || s.StreamStatus != types.StreamStatusActive {
			t.Errorf("%d open shards, want %d; stream is %s", *s.OpenShardCount, n, s.StreamStatus)
		}
	}
	if err := r.Scale("orders", 0); err == nil {
		t.Error("scaled to no shard")
	}
	if err := r.Scale("absent", 1); err == nil {
		t.Error("scaled a stream that does not exist")
	}
}
