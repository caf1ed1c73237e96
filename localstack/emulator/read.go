package emulator

import (
	"context"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	maxReadRecords = 10_000
	maxReadBytes   = 10 << 20
)

func (s *Server) getRecords(ctx context.Context, q *request) error {
	var in struct {
		ShardIterator string
		StreamARN     string
		Limit         *int
		DryRun        bool
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	limit := maxReadRecords
	if in.Limit != nil {
		limit = *in.Limit
	}
	if limit < 1 || limit > maxReadRecords {
		return apiErrorf(InvalidArgument, "Limit %d is outside 1 to %d", limit, maxReadRecords)
	}
	t, ok := openToken(in.ShardIterator, iteratorToken, s.seed)
	if !ok {
		return apiErrorf(InvalidArgument, "Invalid ShardIterator.")
	}
	st, err := s.findIncarnation(ctx, q, t, shardID(t.shard))
	if err != nil {
		return err
	}
	if in.StreamARN != "" && in.StreamARN != st.arn {
		return apiErrorf(InvalidArgument, "StreamARN %s is not the one of the iterator", in.StreamARN)
	}
	now := time.Now()
	if t.expired(now, iteratorLife) {
		return apiErrorf(ExpiredIterator, "Iterator expired. The iterator was created at time %s while right now it is %s "+
			"which is further in the future than the tolerated delay of %d milliseconds.",
			time.UnixMilli(t.issued).UTC().Format(time.RFC1123), now.UTC().Format(time.RFC1123), iteratorLife.Milliseconds())
	}
	current := st.current.Load()
	sh := current.shards[t.shard] // within bounds: shards are never taken from a stream, and the seal is ours
	if err := refuseDryRun(in.DryRun); err != nil {
		return err
	}
	if !sh.admitRead(now, s.config.ReadQuota) {
		return s.throughputExceeded(st, sh)
	}

	x := sh.read(now, current.retention, t.index, limit)
	r := records{room: maxReadBytes}
	q.out = append(q.out, `{"Records":[`...)
	q.out = r.append(q.out, sh, x)
	q.out = append(q.out, `],"MillisBehindLatest":`...)
	q.out = strconv.AppendInt(q.out, r.behind(now, x), 10)
	if x.ends(r.count) {
		q.out = appendChildren(q.out, x.children)
	} else {
		t.issued, t.index = now.UnixMilli(), x.start+uint64(r.count)
		q.out = append(q.out, `,"NextShardIterator":"`...)
		q.out = t.appendSealed(q.out, s.seed)
		q.out = append(q.out, '"')
	}
	q.out = append(q.out, '}')
	sh.spendRead(now, s.config.ReadQuota, r.bytes, r.full || r.bytes >= maxReadBytes)
	return nil
}

// records counts what one reply or event holds.
type records struct {
	room  int // bytes that fit
	count int
	bytes int   // partition keys and data
	last  int64 // arrival of the last record
	full  bool  // stopped for want of room
}

// append appends the excerpt's records as JSON until the room is used up; a single record always fits.
func (r *records) append(dst []byte, sh *shard, x excerpt) []byte {
	for _, run := range x.runs {
		for _, e := range run {
			if r.count > 0 {
				if r.bytes+len(e.bytes) > r.room {
					r.full = true
					return dst
				}
				dst = append(dst, ',')
			}
			dst = append(dst, `{"SequenceNumber":"`...)
			dst = sh.sequenceOf(x.start+uint64(r.count), e.arrival).append(dst)
			dst = append(dst, `","ApproximateArrivalTimestamp":`...)
			dst = appendMillis(dst, e.arrival)
			dst = append(dst, `,"Data":"`...)
			dst = base64.StdEncoding.AppendEncode(dst, e.data())
			dst = append(dst, '"')
			if e.keyLen > 0 {
				dst = append(dst, `,"PartitionKey":`...)
				dst = appendText(dst, e.key())
			}
			dst = append(dst, '}')
			r.count++
			r.bytes += len(e.bytes)
			r.last = e.arrival
		}
	}
	return dst
}

// behind returns MillisBehindLatest: 0 if and only if no record waits behind the reply, else the age of the reply's last record,
// but at least 1.
func (r *records) behind(now time.Time, x excerpt) int64 {
	if x.start+uint64(r.count) == x.next {
		return 0
	}
	return max(1, now.UnixMilli()-r.last)
}

// appendChildren appends the member that says what a shard that has ended is followed by.
func appendChildren(dst []byte, children []*shard) []byte {
	type childShard struct {
		ShardId      string
		ParentShards []string
		HashKeyRange hashKeyRange
	}
	described := make([]childShard, len(children))
	for i, child := range children {
		described[i] = childShard{ShardId: child.id, HashKeyRange: child.hashKeys()}
		for _, parent := range child.parents {
			described[i].ParentShards = append(described[i].ParentShards, parent.id)
		}
	}
	raw, _ := json.Marshal(described) // strings only, which do not fail
	dst = append(dst, `,"ChildShards":`...)
	return append(dst, raw...)
}

// appendMillis appends milliseconds as seconds with three decimals.
func appendMillis(dst []byte, ms int64) []byte {
	dst = strconv.AppendInt(dst, ms/1000, 10)
	rest := ms % 1000
	return append(dst, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}
