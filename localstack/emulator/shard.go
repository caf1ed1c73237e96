package emulator

import (
	"sort"
	"sync"
	"time"
)

// chunkEntries is how many records one chunk of a shard's log holds. Chunks are never moved or grown, so a reader may hold a part
// of one without the lock while the log goes on; and they are dropped whole, so trimmed records stay in memory until the last of
// their chunk goes.
const chunkEntries = 256

// entry is one record: partition key and data in one piece of memory, which the records of one request share.
type entry struct {
	bytes   []byte
	keyLen  int32
	arrival int64 // ms since 1970; never falls within a shard
}

func (e entry) key() []byte  { return e.bytes[:e.keyLen] }
func (e entry) data() []byte { return e.bytes[e.keyLen:] }

// shard is one shard's log. Records have indices from 1 on without holes, which makes a position an array index; index 0 is the
// shard's StartingSequenceNumber.
type shard struct {
	id       string
	index    uint32
	epoch    uint64
	from, to uint192 // hash keys, both included

	mu          sync.Mutex
	chunks      [][]entry // all full but the last
	base        uint64    // index of chunks[0][0]
	first       uint64    // index of the oldest record kept
	next        uint64    // index of the record to come
	lastArrival int64
	reads       readUse
	writes      writeUse
}

func newShard(index uint32, epoch uint64, from, to uint192) *shard {
	return &shard{id: shardID(index), index: index, epoch: epoch, from: from, to: to, base: 1, first: 1, next: 1}
}

func (s *shard) startingSequence() sequence {
	return sequence{epoch: s.epoch, shard: s.index, second: s.epoch}
}

// sequenceOf returns the sequence number of the record with an index that arrived at a time in ms.
func (s *shard) sequenceOf(index uint64, arrival int64) sequence {
	return sequence{epoch: s.epoch, shard: s.index, index: index, second: uint64(arrival/1000) & maxSecond}
}

// append stores a record that arrives at now and returns its sequence number, or false where the quota refuses it. It keeps bytes.
func (s *shard) append(now time.Time, retention time.Duration, quota WriteQuota, bytes []byte, keyLen int) (sequence, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.writes.admit(now, quota, len(bytes)) {
		return sequence{}, false
	}
	// A wall clock may be set back; arrival times that fell would make a search by time wrong.
	arrival := max(now.UnixMilli(), s.lastArrival)
	s.lastArrival = arrival
	last := len(s.chunks) - 1
	if last < 0 || len(s.chunks[last]) == chunkEntries {
		// Once per chunk is often enough for a shard that nobody reads.
		s.trim(now, retention)
		s.chunks = append(s.chunks, make([]entry, 0, chunkEntries))
		last = len(s.chunks) - 1
	}
	s.chunks[last] = append(s.chunks[last], entry{bytes: bytes, keyLen: int32(keyLen), arrival: arrival})
	s.next++
	return s.sequenceOf(s.next-1, arrival), true
}

// at returns the entry with an index in [base, next).
func (s *shard) at(index uint64) entry {
	offset := index - s.base
	return s.chunks[offset/chunkEntries][offset%chunkEntries]
}

// since returns the index of the first record kept that arrived at or after a time in ms; next if there is none.
func (s *shard) since(ms int64) uint64 {
	n := sort.Search(int(s.next-s.first), func(i int) bool { return s.at(s.first+uint64(i)).arrival >= ms })
	return s.first + uint64(n)
}

// trim forgets what is past its retention.
func (s *shard) trim(now time.Time, retention time.Duration) {
	s.first = s.since(now.Add(-retention).UnixMilli())
	dead := int(s.first-s.base) / chunkEntries
	if dead == 0 {
		return
	}
	clear(s.chunks[:dead])
	s.chunks = s.chunks[dead:]
	s.base += uint64(dead) * chunkEntries
}

// excerpt is a part of a shard's log as it stood at one moment.
type excerpt struct {
	runs  [][]entry
	start uint64 // index of the first entry of runs
	next  uint64 // index of the shard's record to come
}

// read returns up to limit records from an index on; what is trimmed is passed over.
func (s *shard) read(now time.Time, retention time.Duration, from uint64, limit int) excerpt {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(now, retention)
	from = min(max(from, s.first), s.next)
	x := excerpt{start: from, next: s.next}
	for at, left := from, min(uint64(limit), s.next-from); left > 0; {
		offset := at - s.base
		run := s.chunks[offset/chunkEntries][offset%chunkEntries:]
		run = run[:min(uint64(len(run)), left)]
		x.runs = append(x.runs, run)
		at += uint64(len(run))
		left -= uint64(len(run))
	}
	return x
}

// end returns the index of the record to come.
func (s *shard) end() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// gave says whether seq is one of the shard's numbers: its StartingSequenceNumber, or that of a record. Of records already trimmed
// the time of arrival is not known any more and not checked.
func (s *shard) gave(seq sequence) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case seq.epoch != s.epoch || seq.shard != s.index || seq.index >= s.next:
		return false
	case seq.index == 0:
		return seq == s.startingSequence()
	case seq.index < s.first:
		return true
	default:
		return seq == s.sequenceOf(seq.index, s.at(seq.index).arrival)
	}
}

// arrivedSince returns the index of the first record kept that arrived at or after t.
func (s *shard) arrivedSince(now time.Time, retention time.Duration, t time.Time) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(now, retention)
	return s.since(t.UnixMilli())
}

func (s *shard) admitIterator(now time.Time, quota ReadQuota) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads.iterators.admit(now, quota.CallsPerSecond)
}

func (s *shard) admitRead(now time.Time, quota ReadQuota) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads.admit(now, quota)
}

func (s *shard) spendRead(now time.Time, quota ReadQuota, bytes int, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads.spend(now, quota, bytes, full)
}
