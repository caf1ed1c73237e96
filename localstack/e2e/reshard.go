package e2e

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// OpenShards returns the open shards of the site's stream, by their place in the ring, once nobody is changing it.
func (s *Site) OpenShards(ctx context.Context) ([]types.Shard, error) {
	client := s.Kinesis()
	active := kinesis.NewStreamExistsWaiter(client, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 200*time.Millisecond
	})
	if err := active.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &s.Name}, time.Minute); err != nil {
		return nil, fmt.Errorf("wait for stream %s: %w", s.Name, err)
	}
	out, err := client.ListShards(ctx, &kinesis.ListShardsInput{
		StreamName: &s.Name, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}})
	if err != nil {
		return nil, fmt.Errorf("list the open shards of %s: %w", s.Name, err)
	}
	slices.SortFunc(out.Shards, func(a, b types.Shard) int { return firstKey(a).Cmp(firstKey(b)) })
	return out.Shards, nil
}

func firstKey(s types.Shard) *big.Int {
	n, _ := new(big.Int).SetString(*s.HashKeyRange.StartingHashKey, 10)
	return n
}

// SplitAll splits each open shard in the middle and returns how many are open then.
func (s *Site) SplitAll(ctx context.Context) (int, error) {
	shards, err := s.OpenShards(ctx)
	if err != nil {
		return 0, err
	}
	for _, shard := range shards {
		last, _ := new(big.Int).SetString(*shard.HashKeyRange.EndingHashKey, 10)
		middle := last.Add(last, firstKey(shard)).Rsh(last, 1).String()
		if _, err := s.OpenShards(ctx); err != nil { // which waits
			return 0, err
		}
		if _, err := s.Kinesis().SplitShard(ctx, &kinesis.SplitShardInput{
			StreamName: &s.Name, ShardToSplit: shard.ShardId, NewStartingHashKey: &middle}); err != nil {
			return 0, fmt.Errorf("split %s: %w", *shard.ShardId, err)
		}
	}
	return 2 * len(shards), nil
}

// MergeFirst merges the first two open shards and returns how many are open then.
func (s *Site) MergeFirst(ctx context.Context) (int, error) {
	shards, err := s.OpenShards(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := s.Kinesis().MergeShards(ctx, &kinesis.MergeShardsInput{
		StreamName: &s.Name, ShardToMerge: shards[0].ShardId, AdjacentShardToMerge: shards[1].ShardId}); err != nil {
		return 0, fmt.Errorf("merge %s: %w", *shards[0].ShardId, err)
	}
	return len(shards) - 1, nil
}
