package stream

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"pgregory.net/rapid"

	"penstock/checkpoint"
	"penstock/localstack/emulator"
)

// What may become of a call to subscribe, and of an event.
var (
	callFaults = append(slices.Clone(faults), fault{"another is too young", func(context.Context) error {
		return &emulator.APIError{Type: emulator.ResourceInUse}
	}})
	eventFaults = []fault{
		{"none", func(context.Context) error { return nil }},
		{"none", func(context.Context) error { return nil }},
		{"end", func(context.Context) error { return emulator.ErrEnd }},
		{"cut", func(context.Context) error { return emulator.ErrCut }},
		{"cut before", func(context.Context) error { return fmt.Errorf("cut") }},
		{"slow", func(ctx context.Context) error { return sleep(ctx, 20*time.Second) }},
		{"silent", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		{"internal failure", func(context.Context) error { return &emulator.APIError{Type: emulator.InternalFailure} }},
		{"taken over", func(context.Context) error { return &emulator.APIError{Type: emulator.ResourceInUse} }},
		{"kms throttles", func(context.Context) error { return &emulator.APIError{Type: "KMSThrottlingException"} }},
	}
)

// season is a stretch of a stream's life: records are put, then time passes, and then a shard may be split.
type season struct {
	records int
	size    int // bytes of each, or a little more
	pause   time.Duration
	split   bool
}

// Whatever becomes of calls and subscriptions, however long the caller is away, and while shards are split: each record is
// handed out once, those of a shard in the order in which they were put.
func TestFanOutLosesNothingAndRepeatsNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		calls := rapid.SliceOfN(rapid.SampledFrom(callFaults), 0, 6).Draw(rt, "calls")
		events := rapid.SliceOfN(rapid.SampledFrom(eventFaults), 1, 12).Draw(rt, "events")
		away := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 0, 0, 400 * time.Millisecond, 3 * time.Second, 6 * time.Second}), 1, 6).Draw(rt, "away")
		seasons := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) season {
			return season{
				records: rapid.IntRange(0, 12).Draw(rt, "records"),
				size:    rapid.SampledFrom([]int{0, 0, 100 << 10}).Draw(rt, "size"),
				pause:   rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, 6 * time.Minute}).Draw(rt, "pause"),
				split:   rapid.IntRange(0, 3).Draw(rt, "split") == 0,
			}
		}), 1, 5).Draw(rt, "seasons")
		inBubble(t, func(t *testing.T) {
			r := start(t, emulator.Config{Retention: 8760 * time.Hour}, 1)
			consumer := r.consumer("view")
			first := r.only()
			var called, sent atomic.Int64
			r.server.Intercept(func(ctx context.Context, c emulator.Call) error {
				switch n := 0; c.Action {
				case "SubscribeToShard":
					if n = int(called.Add(1)); n <= len(calls) {
						return calls[n-1].hook(ctx)
					}
				case "SubscribeToShardEvent":
					if n = int(sent.Add(1)); n <= len(events) {
						return events[n-1].hook(ctx)
					}
				}
				return nil
			})
			total := 0
			for _, s := range seasons {
				total += s.records
			}
			var living sync.WaitGroup
			defer living.Wait()
			living.Go(func() { r.live(seasons) })

			read := map[string][]int{}
			after := map[string]checkpoint.Sequence{}
			all, asked := 0, 0
			reader := r.FanOut(consumer, first, "", Start{}, newLedger())
			for shard, left := first, []Shard(nil); ; asked++ {
				if all == total && sent.Load() > int64(len(events)) && called.Load() > 1 {
					break
				}
				if asked > 5000 {
					t.Fatalf("%d of %d records were handed out after %d batches", all, total, asked)
				}
				if err := reader.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(away[asked%len(away)])
				batch, err := reader.Next(t.Context(), 1)
				if err != nil {
					t.Fatal(err)
				}
				for _, record := range batch.Records {
					n, err := strconv.Atoi(string(record.Data[:8]))
					if err != nil {
						t.Fatal(err)
					}
					read[shard.ID] = append(read[shard.ID], n)
					after[shard.ID] = record.Sequence
					all++
				}
				if !batch.End {
					// A shard is read by turns, as if its lease went from one to another.
					if next := append(left, shard); len(left) > 0 && asked%7 == 0 {
						reader.Close()
						shard, left = next[0], next[1:]
						reader = r.FanOut(consumer, shard, after[shard.ID], Start{}, newLedger())
					}
					continue
				}
				left = append(left, r.children(shard.ID)...)
				if len(left) == 0 {
					t.Fatalf("%s has no children", shard.ID)
				}
				shard, left = left[0], left[1:]
				reader = r.FanOut(consumer, shard, after[shard.ID], Start{}, newLedger())
			}
			reader.Close()
			seen := map[int]bool{}
			for id, numbers := range read {
				if !slices.IsSorted(numbers) {
					t.Errorf("%s was read as %v", id, numbers)
				}
				for _, n := range numbers {
					if seen[n] {
						t.Errorf("record %d was handed out twice", n)
					}
					seen[n] = true
				}
			}
			r.server.Intercept(nil)
		})
	})
}

// live puts records and splits shards.
func (r *rig) live(seasons []season) {
	n := 0
	for _, s := range seasons {
		for range s.records {
			data := fmt.Appendf(nil, "%08d", n)
			data = append(data, make([]byte, s.size)...)
			if _, err := r.client.PutRecord(r.Context(), &kinesis.PutRecordInput{
				StreamName: aws.String(name), PartitionKey: aws.String(strconv.Itoa(n)), Data: data}); err != nil {
				r.Error(err)
				return
			}
			n++
		}
		time.Sleep(s.pause)
		if s.split {
			r.splitOpen()
		}
	}
}

// splitOpen splits an open shard in the middle.
func (r *rig) splitOpen() {
	out, err := r.client.ListShards(r.Context(), &kinesis.ListShardsInput{
		StreamName: aws.String(name), ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}})
	if err != nil {
		r.Error(err)
		return
	}
	last, _ := new(big.Int).SetString(*out.Shards[0].HashKeyRange.EndingHashKey, 10)
	begin, _ := new(big.Int).SetString(*out.Shards[0].HashKeyRange.StartingHashKey, 10)
	middle := last.Add(last, begin).Rsh(last, 1).String()
	if _, err := r.client.SplitShard(r.Context(), &kinesis.SplitShardInput{
		StreamName: aws.String(name), ShardToSplit: out.Shards[0].ShardId, NewStartingHashKey: &middle}); err != nil {
		r.Error(err)
	}
	time.Sleep(time.Second) // the stream is UPDATING
}

// children returns the shards that follow on one.
func (r *rig) children(parent string) (children []Shard) {
	shards, err := r.Shards(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, s := range shards {
		if slices.Contains(s.Parents, parent) {
			children = append(children, s)
		}
	}
	return children
}
