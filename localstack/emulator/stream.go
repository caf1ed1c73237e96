package emulator

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// stream is one incarnation of a stream: deleted and created again under its name, it is another. Its fields do not change.
type stream struct {
	name      string
	arn       string
	epoch     uint64 // second of creation, made unique within the server; names the incarnation
	created   time.Time
	onDemand  bool
	retention time.Duration
	maxRecord int      // bytes of partition key and data
	shards    []*shard // by index; with no reshard, also by hash range
}

// divide makes n shards that share the hash keys 0 … 2^128−1 evenly; the last one takes what remains.
func divide(n int, epoch uint64) []*shard {
	beyond := uint192{0, 0, 1} // 2^128
	width, _ := beyond.dividedBy(uint64(n))
	shards := make([]*shard, n)
	var from uint192
	for i := range shards {
		next := beyond
		if i < n-1 {
			next = from.plus(width)
		}
		shards[i] = newShard(uint32(i), epoch, from, next.decrement())
		from = next
	}
	return shards
}

const shardIDPrefix = "shardId-"

func shardID(index uint32) string { return fmt.Sprintf(shardIDPrefix+"%012d", index) }

// parseShardID reads what shardID writes.
func parseShardID(id string) (uint32, bool) {
	digits, _ := strings.CutPrefix(id, shardIDPrefix)
	index, err := strconv.ParseUint(digits, 10, 32)
	return uint32(index), err == nil && shardID(uint32(index)) == id
}

// shard returns the shard with an id, or nil.
func (st *stream) shard(id string) *shard {
	index, ok := parseShardID(id)
	if !ok || int(index) >= len(st.shards) {
		return nil
	}
	return st.shards[index]
}

// route returns the shard that takes a hash key below 2^128.
func (st *stream) route(hash uint192) *shard {
	i := sort.Search(len(st.shards), func(i int) bool { return st.shards[i].to.compare(hash) >= 0 })
	return st.shards[i]
}

// hashKey returns the hash key of a partition key.
func hashKey(partitionKey []byte) uint192 {
	sum := md5.Sum(partitionKey)
	return uint192{binary.BigEndian.Uint64(sum[8:]), binary.BigEndian.Uint64(sum[:8]), 0}
}
