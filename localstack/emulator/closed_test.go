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

func TestClosedShardsAreFilteredByWhenTheyWereOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		created := time.Now()
		r.create("orders", 2) // 0 and 1 at the creation
		time.Sleep(time.Hour)
		split := time.Now()
		r.split("orders", firstShard, "1000") // into 2 and 3 after 1 h
		time.Sleep(time.Hour)
		merged := time.Now()
		r.merge("orders", "shardId-000000000003", "shardId-000000000001") // into 4 after 2 h
		list := func(f *types.ShardFilter) string {
			out, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders"), ShardFilter: f})
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, sh := range out.Shards {
				ids = append(ids, strings.TrimLeft((*sh.ShardId)[len("shardId-"):], "0"))
			}
			return strings.Join(ids, ",")
		}
		at := func(moment time.Time) *types.ShardFilter {
			return &types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: &moment}
		}
		from := func(moment time.Time) *types.ShardFilter {
			return &types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: &moment}
		}
		horizon := &types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}
		for _, c := range []struct {
			name   string
			filter *types.ShardFilter
			want   string // the first shard is an empty name
		}{
			{"none", nil, ",1,2,3,4"},
			{"from horizon", &types.ShardFilter{Type: types.ShardFilterTypeFromTrimHorizon}, ",1,2,3,4"},
			{"latest", &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}, "2,4"},
			{"at horizon", horizon, ",1"},
			{"at creation", at(created), ",1"},
			{"at split", at(split), ",1,2,3"},
			{"after split", at(split.Add(time.Millisecond)), "1,2,3"},
			{"at merge", at(merged), "1,2,3,4"},
			{"now", at(time.Now().Add(time.Minute)), "2,4"},
			{"from creation", from(created), ",1,2,3,4"},
			{"from split", from(split), ",1,2,3,4"},
			{"after split", from(split.Add(time.Millisecond)), "1,2,3,4"},
			{"from merge", from(merged.Add(time.Millisecond)), "2,4"},
			{"after shard", &types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shardId-000000000002")}, "3,4"},
		} {
			if got := list(c.filter); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}

		time.Sleep(24*time.Hour - time.Hour)
		if got := list(horizon); got != ",1,2,3" { // the horizon is at the split
			t.Errorf("at horizon a day after the split: %s", got)
		}
		time.Sleep(time.Millisecond)
		if got := list(nil); got != "1,2,3,4" {
			t.Errorf("listed a day after the split: %s", got)
		}
		if got := list(horizon); got != "1,2,3" {
			t.Errorf("at horizon a day after the split: %s", got)
		}
		time.Sleep(time.Hour)
		if got := list(nil); got != "2,4" {
			t.Errorf("listed a day after the merge: %s", got)
		}
	})
}

func TestAClosedShardVanishesWithItsLastRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		r.putMany("orders", 3)
		r.split("orders", firstShard, half)
		time.Sleep(24 * time.Hour)
		iterator := r.horizon("orders")
		if got := r.data(iterator); len(got) != 3 {
			t.Errorf("%d records after 24 h", len(got))
		}
		if got := lineage(listAll(r, "orders", nil)); got != "0 1<0* 2<0*" {
			t.Errorf("listed %s", got)
		}
		time.Sleep(time.Millisecond)
		if got := lineage(listAll(r, "orders", nil)); got != "1<0* 2<0*" { // children go on naming their parent
			t.Errorf("listed %s", got)
		}
		described, err := r.client.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String("orders")})
		if err != nil || lineage(described.StreamDescription.Shards) != "1<0* 2<0*" {
			t.Errorf("described %+v, %v", described, err)
		}
		_, err = r.client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: aws.String("orders"), ShardId: aws.String(firstShard), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		typed[*types.ResourceNotFoundException](t, err)
		last := r.get(iterator) // one given before still leads on
		if len(last.Records) != 0 || last.NextShardIterator != nil || len(last.ChildShards) != 2 {
			t.Errorf("last answer is %+v", last)
		}
	})
}

func TestPagesPassOverShardsThatAreNotShown(t *testing.T) {
	r := start(t, emulator.Config{UpdateTime: -1})
	r.create("orders", 8)
	if err := r.rescale("orders", 16); err != nil {
		t.Fatal(err)
	}
	var paged []string
	for in := (&kinesis.ListShardsInput{StreamName: aws.String("orders"), MaxResults: aws.Int32(5), ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}}); in != nil; {
		out, err := r.client.ListShards(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, sh := range out.Shards {
			paged = append(paged, *sh.ShardId)
		}
		if in = nil; out.NextToken != nil {
			in = &kinesis.ListShardsInput{NextToken: out.NextToken, MaxResults: aws.Int32(5)}
		}
	}
	if len(paged) != 16 || paged[0] != "shardId-000000000008" || paged[15] != "shardId-000000000023" {
		t.Errorf("paged %v", paged)
	}
}
