package emulator

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// stream is one incarnation of a stream: deleted and created again under its name, it is another.
type stream struct {
	name    string
	arn     string
	epoch   uint64 // second of creation, made unique within the server; names the incarnation
	created time.Time
	ready   time.Time     // CREATING before
	turns   atomic.Uint64 // taken by shards under AUTO

	// current is the stream as it is now. Readers take it once for a request; it is replaced under Server.mu.
	current atomic.Pointer[state]

	// The rest is guarded by Server.mu.
	updated      time.Time // UPDATING before
	deleted      bool
	gone         time.Time // of a deleted stream: DELETING before, unknown from then on
	consumers    map[string]*consumer
	lastConsumer int64       // second in the last consumer's ARN
	rescales     []time.Time // when UpdateShardCount was called, oldest first
	modeSwitches []time.Time // when the mode was switched, oldest first
}

// state is a stream's settings and layout at one moment. It is never changed: a change of the stream makes another.
type state struct {
	onDemand  bool
	auto      bool // record distribution AUTO
	retention time.Duration
	maxRecord int      // bytes of partition key and data
	shards    []*shard // all there have been, by index; append-only, so that states share its memory
	open      []*shard // those that take records, by hash range; together they cover every hash key once
}

const (
	statusActive   = "ACTIVE"
	statusCreating = "CREATING"
	statusDeleting = "DELETING"
	statusUpdating = "UPDATING"
)

// status is the stream's status at now; Server.mu is held.
func (st *stream) status(now time.Time) string {
	switch {
	case st.deleted:
		return statusDeleting
	case st.creating(now):
		return statusCreating
	case now.Before(st.updated):
		return statusUpdating
	default:
		return statusActive
	}
}

// creating says whether the stream has no shards to show yet.
func (st *stream) creating(now time.Time) bool { return now.Before(st.ready) }

// isGone says whether the stream is deleted and no more DELETING; Server.mu is held.
func (st *stream) isGone(now time.Time) bool { return st.deleted && !now.Before(st.gone) }

const shardIDPrefix = "shardId-"

func shardID(index uint32) string { return fmt.Sprintf(shardIDPrefix+"%012d", index) }

// parseShardID reads what shardID writes.
func parseShardID(id string) (uint32, bool) {
	digits, _ := strings.CutPrefix(id, shardIDPrefix)
	index, err := strconv.ParseUint(digits, 10, 32)
	return uint32(index), err == nil && shardID(uint32(index)) == id
}

// shard returns the shard with an id, or nil where there is none or its retention is over.
func (c *state) shard(id string, now time.Time) *shard {
	index, ok := parseShardID(id)
	if !ok || int(index) >= len(c.shards) || c.shards[index].life(now, c.retention).expired {
		return nil
	}
	return c.shards[index]
}

// route returns the open shard for a record with a hash key below 2^128. Under AUTO the shards take turns, whatever the key.
func (st *stream) route(c *state, hash uint192) *shard {
	if c.auto {
		return c.open[st.turns.Add(1)%uint64(len(c.open))]
	}
	return c.open[holder(c.open, hash)]
}

// holder returns the position of the shard that takes a hash key among shards that cover all of them.
func holder(open []*shard, hash uint192) int {
	return sort.Search(len(open), func(i int) bool { return open[i].to.compare(hash) >= 0 })
}

// hashKey returns the hash key of a partition key.
func hashKey(partitionKey []byte) uint192 {
	sum := md5.Sum(partitionKey)
	return uint192{binary.BigEndian.Uint64(sum[8:]), binary.BigEndian.Uint64(sum[:8]), 0}
}
