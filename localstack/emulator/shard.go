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
	keyLen  int32 // 0 where there is no partition key
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
	from, to uint192  // hash keys, both included
	parents  []*shard // none, the shard it was split from, or the two it was merged from

	mu          sync.Mutex
	chunks      [][]entry // all full but the last
	base        uint64    // index of chunks[0][0]
	first       uint64    // index of the oldest record kept
	next        uint64    // index of the record to come
	opened      int64     // ms since 1970
	closed      int64     // ms since 1970; says something only where there are children
	lastArrival int64     // ms since 1970; from the beginning no less than opened
	children    []*shard  // of a closed shard: one or two; no record comes after them
	expired     bool      // closed for longer than its retention
	changed     chan struct{}
	reads       readUse
	writes      writeUse
}

func newShard(index uint32, epoch uint64, from, to uint192) *shard {
	return &shard{id: shardID(index), index: index, epoch: epoch, from: from, to: to, base: 1, first: 1, next: 1}
}

func (s *shard) startingSequence() sequence {
	return sequence{epoch: s.epoch, shard: s.index, second: s.epoch}
}

// endingIndex stands above every record's.
const endingIndex = 1<<63 - 1

// endingSequence returns the number after all of a shard's that was closed at a time in ms.
func (s *shard) endingSequence(closed int64) sequence {
	return s.sequenceOf(endingIndex, closed)
}

// sequenceOf returns the sequence number of the record with an index that arrived at a time in ms.
func (s *shard) sequenceOf(index uint64, arrival int64) sequence {
	return sequence{epoch: s.epoch, shard: s.index, index: index, second: uint64(arrival/1000) & maxSecond}
}

// open lets the shard take records from a time in ms on.
func (s *shard) open(at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened, s.lastArrival = at, at
}

// close ends the shard at now, or when its last record arrived if that is later, and returns that time in ms.
func (s *shard) close(now time.Time, children []*shard) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.children = max(now.UnixMilli(), s.lastArrival), children
	s.signal()
	return s.closed
}

// changes returns a channel that is closed at the next record or at the shard's end.
func (s *shard) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// signal wakes those who wait for a change; s.mu is held.
func (s *shard) signal() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// outcome is what becomes of a record that is offered to a shard.
type outcome byte

const (
	stored    outcome = iota
	throttled         // beyond the shard's quota
	shut              // the shard takes no more records
)

// append stores a record that arrives at now and returns its sequence number. It keeps bytes.
func (s *shard) append(now time.Time, retention time.Duration, quota WriteQuota, bytes []byte, keyLen int) (sequence, outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.children != nil {
		return sequence{}, shut
	}
	if !s.writes.admit(now, quota, len(bytes)) {
		return sequence{}, throttled
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
	s.signal()
	return s.sequenceOf(s.next-1, arrival), stored
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

// trim forgets what is past its retention, for good: a longer retention does not bring it back.
func (s *shard) trim(now time.Time, retention time.Duration) {
	horizon := now.Add(-retention).UnixMilli()
	s.first = s.since(horizon)
	if s.children != nil && s.closed < horizon {
		s.expired = true
		s.chunks = nil
		return
	}
	dead := int(s.first-s.base) / chunkEntries
	if dead == 0 {
		return
	}
	clear(s.chunks[:dead])
	s.chunks = s.chunks[dead:]
	s.base += uint64(dead) * chunkEntries
}

// lifetime is when a shard took records, as known at one moment.
type lifetime struct {
	opened, closed int64 // ms since 1970; closed says something only of a shard that is not open
	open           bool
	expired        bool // closed for longer than its retention
}

// life returns the shard's lifetime as known at now.
func (s *shard) life(now time.Time, retention time.Duration) lifetime {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(now, retention)
	return lifetime{opened: s.opened, closed: s.closed, open: s.children == nil, expired: s.expired}
}

// excerpt is a part of a shard's log as it stood at one moment.
type excerpt struct {
	runs     [][]entry
	start    uint64   // index of the first entry of runs
	next     uint64   // index of the shard's record to come
	children []*shard // of a closed shard
}

// ends says whether nothing can come after the first count entries.
func (x excerpt) ends(count int) bool { return x.children != nil && x.start+uint64(count) == x.next }

// read returns up to limit records from an index on; what is trimmed is passed over.
func (s *shard) read(now time.Time, retention time.Duration, from uint64, limit int) excerpt {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(now, retention)
	from = min(max(from, s.first), s.next)
	x := excerpt{start: from, next: s.next, children: s.children}
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

// locate finds the place of one of the shard's numbers: its StartingSequenceNumber, that of a record, one of the continuation
// numbers after it, or its EndingSequenceNumber. What comes after the number begins with the index after; what comes at it, with
// the index at. Of records already trimmed the time of arrival is not known any more and not checked.
func (s *shard) locate(seq sequence, now time.Time) (at, after uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq.epoch != s.epoch || seq.shard != s.index {
		return 0, 0, false
	}
	if seq.index >= s.next {
		return s.next, s.next, s.children != nil && seq == s.endingSequence(s.closed)
	}
	if seq.index > 0 && seq.index < s.first {
		return seq.index, seq.index + 1, true
	}
	own, last := s.epoch, max(now.UnixMilli(), s.lastArrival)
	if seq.index > 0 {
		own = s.sequenceOf(0, s.at(seq.index).arrival).second
	}
	if seq.index+1 < s.next && seq.index+1 >= s.first {
		last = s.at(seq.index + 1).arrival
	}
	if seq.second == own {
		return seq.index, seq.index + 1, true
	}
	return seq.index + 1, seq.index + 1, seq.second > own && seq.second <= s.sequenceOf(0, last).second
}

// continuation returns the number at now for a reader who has read up to the record with an index, 0 for none: one between that
// record's and the next one's, since time counts as progress. A record that is on its way arrives no earlier than a number that was
// given before it.
func (s *shard) continuation(index uint64, now time.Time) sequence {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := now.UnixMilli()
	switch {
	case index+1 == s.next:
		at = max(at, s.lastArrival)
		s.lastArrival = at
	case index+1 >= s.first:
		at = min(at, s.at(index+1).arrival)
	}
	seq := s.sequenceOf(index, at)
	switch {
	case index == 0:
		seq.second = max(seq.second, s.epoch)
	case index >= s.first: // a clock that was set back does not count
		seq.second = max(seq.second, s.sequenceOf(index, s.at(index).arrival).second)
	}
	return seq
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
