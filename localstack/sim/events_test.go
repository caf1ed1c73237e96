package sim

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"hash/fnv"
	"math/big"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"google.golang.org/protobuf/encoding/protowire"

	"penstock/checkpoint"
	"penstock/view/viewtest"
)

// put writes events of stock to the stream, one in ten of them poison.
func (w *world) put(s step) {
	n, padding, together := 4+3*s.pick, 0, 1
	switch s.act {
	case putAggregates:
		together = 1 + s.pick%5
	case flood:
		n, padding = 300, 8<<10
	}
	events, _ := viewtest.StockEvents(w.seed%(1<<32)+uint64(s.number), n)
	w.tell("%s: %d events, %d together", s.act, len(events), together)
	w.count(s.act.String())
	var records [][][]byte
	for chunk := range slices.Chunk(events, together) {
		var members [][]byte
		for _, e := range chunk {
			members = append(members, w.data(e, padding))
		}
		records = append(records, members)
	}
	w.send(records, nil)
}

// putEverywhere writes an event to the first hash key of every open shard. A shard that nobody reads cannot hide behind
// having nothing to read then.
func (w *world) putEverywhere() {
	const number = 1 << 20 // no step has it
	open := w.openShards()
	events, _ := viewtest.StockEvents(w.seed%(1<<32)+number, len(open))
	var records [][][]byte
	var keys []*string
	for i, s := range open {
		records = append(records, [][]byte{w.data(events[i], 0)})
		keys = append(keys, aws.String(s.from.String()))
	}
	w.tell("an event to each of %d shards", len(open))
	w.send(records, keys)
}

// data returns what an event is in the stream.
func (w *world) data(e viewtest.StockRecord, padding int) []byte {
	of := kindOf(e.ID)
	data := slices.Concat([]byte(`{"padding":"`), bytes.Repeat([]byte("x"), padding), []byte(`",`), e.Data[1:])
	if of == garbled {
		data = data[:len(data)-1]
	}
	w.mu.Lock() // a projector may see a record before its writer has the answer
	defer w.mu.Unlock()
	w.ledger.kinds[string(data)] = of
	return data
}

// send puts records, each of one member or several, where the hash keys say, if there are any.
func (w *world) send(records [][][]byte, keys []*string) {
	in := &kinesis.PutRecordsInput{StreamName: aws.String(streamName)}
	for i, members := range records {
		key := fmt.Sprint("key ", w.draw("partition key", 1<<30))
		to := types.PutRecordsRequestEntry{Data: members[0]}
		if len(members) > 1 {
			to.Data = aggregate(key, members)
		}
		if !w.auto || w.draw("has a partition key", 2) == 0 {
			to.PartitionKey = &key
		}
		if keys != nil {
			to.ExplicitHashKey = keys[i]
		}
		in.Records = append(in.Records, to)
	}
	out, err := w.client.PutRecords(w.ctx, in)
	if err != nil {
		w.breach("put: %v", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, place := range out.Records {
		sequence := checkpoint.Sequence(*place.SequenceNumber)
		sh := w.ledger.shard(*place.ShardId)
		sh.order = append(sh.order, entry{sequence, len(records[i])})
		for sub, data := range records[i] {
			w.heldAgainst(position{sh.id, sequence, int64(sub)}, data)
			if err := w.ledger.expect(data); err != nil {
				w.breachLocked("%v", err)
			}
		}
	}
}

// kindOf says what is the matter with an event: the same for both of a pair of duplicates.
func kindOf(id string) kind {
	h := fnv.New32a()
	h.Write([]byte(id)) // a hash never returns an error
	if n := h.Sum32() >> 4; n%100 < 10 {
		return []kind{garbled, refused, panics}[n%3]
	}
	return sound
}

// aggregate puts records together as the Kinesis Producer Library does: magic, a message with a table of keys and the
// records, and its MD5.
func aggregate(key string, datas [][]byte) []byte {
	message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
	for _, data := range datas {
		record := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 0)
		record = protowire.AppendBytes(protowire.AppendTag(record, 3, protowire.BytesType), data)
		message = protowire.AppendBytes(protowire.AppendTag(message, 3, protowire.BytesType), record)
	}
	sum := md5.Sum(message)
	return slices.Concat([]byte{0xf3, 0x89, 0x9a, 0xc2}, message, sum[:])
}

// mostShards bounds the open shards, so that a schedule stays short.
const mostShards = 6

// reshard changes the stream's shards. What the service refuses, because a change is on its way or the mode is another,
// does not happen.
func (w *world) reshard(s step) {
	open := w.openShards()
	var err error
	switch {
	case s.act == spread:
		err = w.spread()
	case w.auto || s.act == scale:
		n := min(max(1, 1+s.pick%5, (len(open)+1)/2), 2*len(open), mostShards)
		if w.auto {
			err = w.server.Scale(streamName, n)
			break
		}
		_, err = w.client.UpdateShardCount(w.ctx, &kinesis.UpdateShardCountInput{
			StreamName: aws.String(streamName), TargetShardCount: aws.Int32(int32(n)), ScalingType: types.ScalingTypeUniformScaling})
	case s.act == split && len(open) < mostShards:
		sh := open[s.pick%len(open)]
		middle := new(big.Int).Add(sh.from, sh.to)
		_, err = w.client.SplitShard(w.ctx, &kinesis.SplitShardInput{
			StreamName: aws.String(streamName), ShardToSplit: &sh.id, NewStartingHashKey: aws.String(middle.Rsh(middle, 1).String())})
	case s.act == merge && len(open) > 1:
		i := s.pick % (len(open) - 1)
		_, err = w.client.MergeShards(w.ctx, &kinesis.MergeShardsInput{
			StreamName: aws.String(streamName), ShardToMerge: &open[i].id, AdjacentShardToMerge: &open[i+1].id})
	default:
		return
	}
	w.tell("%s of %d shards: %v", s.act, len(open), err)
	if err == nil {
		w.count(s.act.String())
	}
	w.relist()
}

// spread makes the stream one on which the shards take turns, whatever a record's key.
func (w *world) spread() error {
	if w.auto {
		return nil
	}
	_, err := w.client.UpdateStreamMode(w.ctx, &kinesis.UpdateStreamModeInput{
		StreamARN: &w.found.ARN, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	if err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond) // it is UPDATING
	_, err = w.client.UpdateStreamRecordDistributionStrategy(w.ctx, &kinesis.UpdateStreamRecordDistributionStrategyInput{
		StreamARN: &w.found.ARN, RecordDistributionStrategy: types.RecordDistributionStrategyAuto})
	w.auto = err == nil
	return err
}

// relist takes note of the stream's shards. It takes no virtual time.
func (w *world) relist() {
	in := &kinesis.DescribeStreamInput{StreamName: aws.String(streamName)}
	for {
		out, err := w.client.DescribeStream(w.ctx, in)
		if err != nil {
			w.breach("describe the stream: %v", err)
			return
		}
		w.mu.Lock()
		for _, d := range out.StreamDescription.Shards {
			s := w.ledger.shard(*d.ShardId)
			s.parents = nil
			for _, parent := range []*string{d.ParentShardId, d.AdjacentParentShardId} {
				if parent != nil {
					s.parents = append(s.parents, *parent)
				}
			}
			s.from, _ = new(big.Int).SetString(*d.HashKeyRange.StartingHashKey, 10)
			s.to, _ = new(big.Int).SetString(*d.HashKeyRange.EndingHashKey, 10)
			s.start = checkpoint.Sequence(*d.SequenceNumberRange.StartingSequenceNumber)
			s.closed = d.SequenceNumberRange.EndingSequenceNumber != nil
			in.ExclusiveStartShardId = d.ShardId
		}
		w.mu.Unlock()
		if !*out.StreamDescription.HasMoreShards {
			return
		}
	}
}

// openShards returns the open shards in the order of their hash keys.
func (w *world) openShards() []*shard {
	w.mu.Lock()
	defer w.mu.Unlock()
	var open []*shard
	for _, s := range w.ledger.shards {
		if !s.closed {
			open = append(open, s)
		}
	}
	slices.SortFunc(open, func(a, b *shard) int { return a.from.Cmp(b.from) })
	return open
}
