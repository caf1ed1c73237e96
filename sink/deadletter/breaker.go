package deadletter

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"penstock/view"
)

// BreakerConfig is how many letters of one shard are too many. The zero value never trips; a part that is zero does not
// count.
type BreakerConfig struct {
	// SharePercent of the records seen may have letters, once MinRecords were seen. 100 never trips.
	SharePercent int
	MinRecords   int
	// InARow is how many records one after another, in the stream's order, may have letters of one code.
	InARow int
}

// Check refuses what makes no sense.
func (c BreakerConfig) Check() error {
	switch {
	case c.SharePercent < 0 || c.SharePercent > 100:
		return fmt.Errorf("breaker: share of %d percent: must be 0 to 100", c.SharePercent)
	case c.SharePercent > 0 && c.MinRecords < 1:
		return fmt.Errorf("breaker: share of at least %d records: must be at least 1", c.MinRecords)
	case c.InARow < 0:
		return fmt.Errorf("breaker: %d letters in a row: must be 0 or more", c.InARow)
	}
	return nil
}

// Bound is how many letters a shard can get at most, if every record from some moment on needs one, before the breaker
// trips: where all are of one code and come in the stream's order, and where they are not or do not. In another order it
// holds as long as fewer records are in flight than the window has without these letters. It is 0 where the breaker has no bound.
func (c BreakerConfig) Bound() (oneCode, anyCode int) {
	if c.SharePercent > 0 && c.SharePercent < 100 {
		anyCode = max(c.MinRecords-1, c.SharePercent*windowBuckets*c.MinRecords/100)
	}
	oneCode = c.InARow
	if oneCode == 0 || anyCode > 0 && anyCode < oneCode {
		oneCode = anyCode
	}
	return oneCode, anyCode
}

// windowBuckets is the length of the sliding window in buckets of MinRecords records each. The newest bucket fills up
// while the window stands; with it the oldest is dropped. The window counts records, not time: on a quiet shard minutes
// would never hold enough of them, and a pause would empty it.
const windowBuckets = 10

// Breaker stops a shard whose letters say that not the events are wrong but who reads them. It is a pure state machine,
// asked before a letter is written; a record that is applied costs it nothing. Records are known to it by their number,
// counted up from 0 in the stream's order for as long as one owner reads the shard. It belongs to one goroutine.
//
// It judges by the stream's order and not by that of the answers: letters of a reply are decided before the writer has
// settled the rest of the reply, and would always look like many in a row.
type Breaker struct {
	config BreakerConfig
	offset int64 // of the numbers of this owner's records: what earlier owners saw

	from    int64                       // the first record that counts
	seen    int64                       // records up to the newest that a letter was asked for
	buckets map[int64]map[view.Code]int // letters, by record / MinRecords
	runs    []run                       // of letters one after another, by their first; only those near the window
	trip    *Trip
}

// run is letters of one code, of records one after another.
type run struct {
	first, last int64
	code        view.Code
}

func (r run) length() int64 { return r.last - r.first + 1 }

// Trip is why the breaker stopped the shard.
type Trip struct {
	Code    view.Code // of the letter that was not written
	Letters int       // that one more is too many to: in a row, or of the records seen
	Seen    int64     // records that these letters are of; 0 for a run
	Most    view.Code // the commonest code, and how many of the letters have it
	Of      int
}

// Why is the reason as a clause.
func (t Trip) Why() string {
	if t.Seen == 0 {
		return fmt.Sprintf("%d records in a row have letters of code %s, and the next needs one, too", t.Letters, t.Code)
	}
	return fmt.Sprintf("%d of the last %d records have letters, most of them of code %s (%d), and the next needs one, too", t.Letters, t.Seen, t.Most, t.Of)
}

// Tally is what a breaker has counted, as it is kept for the shard's next owner. The zero value is a new count.
type Tally struct {
	Seen    int64               `json:"seen"`              // records, in the window
	Letters []map[view.Code]int `json:"letters,omitempty"` // by bucket, the newest last
	Code    view.Code           `json:"code,omitempty"`    // of the run that ends with the newest letter
	InARow  int64               `json:"in_a_row,omitzero"`
}

// NewBreaker returns a breaker that begins to count.
func NewBreaker(c BreakerConfig) *Breaker {
	return &Breaker{config: c, buckets: map[int64]map[view.Code]int{}}
}

// Continue goes on from an earlier count, in place of its own: the first record of this owner comes after those that the
// count has seen, and after the last of its run.
func (b *Breaker) Continue(t Tally) {
	*b = *NewBreaker(b.config)
	if t.Seen <= 0 {
		return
	}
	b.offset, b.seen = t.Seen, t.Seen
	newest := b.bucket(t.Seen - 1)
	for i, letters := range t.Letters {
		for code, n := range letters {
			b.add(max(0, newest-int64(len(t.Letters)-1-i)), code, n) // its buckets need not have begun where these do
		}
	}
	if t.InARow > 0 {
		b.runs = []run{{t.Seen - t.InARow, t.Seen - 1, t.Code}}
	}
}

// Reset begins a new count behind record n, and lifts a trip.
func (b *Breaker) Reset(n int64) {
	*b = Breaker{config: b.config, offset: b.offset, from: b.offset + n + 1, seen: b.offset + n + 1, buckets: map[int64]map[view.Code]int{}}
}

// Tripped returns why the breaker has tripped; nil if it has not.
func (b *Breaker) Tripped() *Trip { return b.trip }

// Letter asks whether record n may have a letter. If so the letter is counted; each record asks once. If not, the breaker
// has tripped, and every further letter is refused until it is reset.
func (b *Breaker) Letter(n int64, code view.Code) (ok bool) {
	if b.trip != nil {
		return false
	}
	at := b.offset + n
	seen := max(b.seen, at+1)
	joined, i, j := b.join(at, code)
	if most := int64(b.config.InARow); most > 0 && joined.length() > most {
		b.trip = &Trip{Code: code, Letters: int(joined.length() - 1), Most: code, Of: int(joined.length() - 1)}
		return false
	}
	if t := b.share(seen); t != nil {
		t.Code = code
		b.trip = t
		return false
	}
	b.seen = seen
	b.runs = slices.Replace(b.runs, i, j, joined)
	b.count(at, code)
	b.forget()
	return true
}

// join returns the run that a letter makes with those beside it, which are runs[i:j].
func (b *Breaker) join(at int64, code view.Code) (joined run, i, j int) {
	i, _ = slices.BinarySearchFunc(b.runs, at, func(r run, at int64) int { return cmp.Compare(r.first, at) })
	joined, j = run{at, at, code}, i
	if i < len(b.runs) && b.runs[i].first == at+1 && b.runs[i].code == code {
		joined.last, j = b.runs[i].last, i+1
	}
	if i > 0 && b.runs[i-1].last == at-1 && b.runs[i-1].code == code {
		joined.first, i = b.runs[i-1].first, i-1
	}
	return joined, i, j
}

// share returns a trip if one more letter is more than the share of the window that ends with record seen-1.
func (b *Breaker) share(seen int64) *Trip {
	if b.config.SharePercent == 0 || b.config.SharePercent == 100 {
		return nil
	}
	begin := max(b.from, b.begin(seen)*int64(b.config.MinRecords))
	records := seen - begin
	if records < int64(b.config.MinRecords) {
		return nil
	}
	codes := map[view.Code]int{}
	letters := 0
	for bucket, of := range b.buckets {
		if bucket < b.begin(seen) {
			continue
		}
		for code, n := range of {
			codes[code] += n
			letters += n
		}
	}
	if int64(letters+1)*100 <= int64(b.config.SharePercent)*records {
		return nil
	}
	t := &Trip{Letters: letters, Seen: records}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		if codes[code] > t.Of {
			t.Most, t.Of = code, codes[code]
		}
	}
	return t
}

// bucket is that of a record. Without a share there is one.
func (b *Breaker) bucket(at int64) int64 { return at / int64(max(1, b.config.MinRecords)) }

// begin is the oldest bucket of the window that ends with record seen-1.
func (b *Breaker) begin(seen int64) int64 { return max(0, b.bucket(seen-1)-windowBuckets+1) }

// count counts a letter. Cassandra's refusal of a record may come when the window has left the record behind; it counts
// with the oldest, or a flood of such refusals would count for nothing.
func (b *Breaker) count(at int64, code view.Code) {
	b.add(max(b.bucket(at), b.begin(b.seen)), code, 1)
}

func (b *Breaker) add(bucket int64, code view.Code, n int) {
	if b.buckets[bucket] == nil {
		b.buckets[bucket] = map[view.Code]int{}
	}
	b.buckets[bucket][code] += n
}

// forget drops what the window has left behind.
func (b *Breaker) forget() {
	begin := b.begin(b.seen)
	maps.DeleteFunc(b.buckets, func(bucket int64, _ map[view.Code]int) bool { return bucket < begin })
	oldest := b.seen - windowBuckets*int64(max(b.config.MinRecords, b.config.InARow))
	b.runs = slices.DeleteFunc(b.runs, func(r run) bool { return r.last < oldest })
}

// Tally returns the count, for the shard's next owner. One that has tripped has nothing to hand on: whoever reads the
// shard after the lift counts anew.
func (b *Breaker) Tally() Tally {
	if b.trip != nil || b.seen == b.from {
		return Tally{}
	}
	begin := b.begin(b.seen)
	start := max(b.from, begin*int64(max(1, b.config.MinRecords)))
	t := Tally{Seen: b.seen - start}
	// The next owner's buckets begin with its count, so they are filled from the newest on.
	for bucket := b.bucket(start); bucket <= b.bucket(b.seen-1); bucket++ {
		t.Letters = append(t.Letters, maps.Clone(b.buckets[bucket]))
	}
	if n := len(b.runs); n > 0 && b.runs[n-1].last == b.seen-1 {
		t.Code, t.InARow = b.runs[n-1].code, b.runs[n-1].length()
	}
	return t
}
