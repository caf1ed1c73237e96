package stream

import (
	"bytes"
	"cmp"
	"math/big"
	"slices"
)

// Lineage is what is known of a stream's shards from all listings so far. One listing proves little: it is put together
// from several places of the service, and one that lacks a shard has been seen. So a shard that was listed is gone only
// when it is missing from several listings in a row, and until then it is still a parent that its children wait for.
// The zero value knows nothing. It belongs to one goroutine.
type Lineage struct {
	shards map[string]lineal
	buried map[string]bool // what is gone
}

type lineal struct {
	Shard
	listed bool // at some time; else only the id is known
	missed int  // listings in a row that lacked it
}

// goneAfter is how many listings in a row must lack a shard. The KCL believes in a hole of the ring after as many.
const goneAfter = 3

// See takes a listing in, and returns the shards that are gone by now: closed ones whose retention is over. A parent that
// was never listed counts as one that the listing lacks, and if it was not begun either, it goes unmentioned in the end.
// Only if its child was read already, and it was not begun, it is gone from the first: else each start of a process would
// wait for parents that expired long ago.
func (l *Lineage) See(listing []Shard, begun, read map[string]bool) (gone []Shard) {
	shards := make(map[string]lineal, len(listing))
	for _, s := range listing {
		shards[s.ID] = lineal{Shard: s, listed: true}
	}
	for id, k := range l.shards {
		if _, listed := shards[id]; listed {
			continue
		}
		if k.missed++; k.missed < goneAfter {
			shards[id] = k
			continue
		}
		if l.buried == nil {
			l.buried = map[string]bool{}
		}
		l.buried[id] = true
		if k.listed || begun[id] {
			gone = append(gone, k.Shard)
		}
	}
	for _, s := range listing {
		for _, parent := range s.Parents {
			if _, known := shards[parent]; !known && !l.buried[parent] && (begun[parent] || !read[s.ID]) {
				shards[parent] = lineal{Shard: Shard{ID: parent}, missed: 1}
			}
		}
	}
	l.shards = shards
	slices.SortFunc(gone, byID)
	return gone
}

// Shards returns the shards there are, by id, without those that are missing.
func (l *Lineage) Shards() []Shard {
	shards := make([]Shard, 0, len(l.shards))
	for _, k := range l.shards {
		if k.listed {
			shards = append(shards, k.Shard)
		}
	}
	slices.SortFunc(shards, byID)
	return shards
}

func byID(a, b Shard) int { return cmp.Compare(a.ID, b.ID) }

// Missing returns the ids of parents that were never listed and are not gone yet.
func (l *Lineage) Missing() (ids []string) {
	for id, k := range l.shards {
		if !k.listed {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Holes returns the parts of the ring that nobody reads nor ever will, as things are: records put there would be lost
// in silence. Every key of the ring must belong to a shard on which no other follows and which is not read to its end.
// After a shard was finished there is a hole until its children are listed; one that stays is a fault of the lease
// table or of the listing.
func (l *Lineage) Holes(finished map[string]bool) []HashRange {
	followed := map[string]bool{}
	for _, k := range l.shards {
		for _, parent := range k.Parents {
			followed[parent] = true
		}
	}
	var covered []HashRange
	for id, k := range l.shards {
		if followed[id] || finished[id] {
			continue
		}
		if k.Hashes == (HashRange{}) {
			return nil // the service does not say what the shard has
		}
		covered = append(covered, k.Hashes)
	}
	slices.SortFunc(covered, func(a, b HashRange) int { return bytes.Compare(a.From[:], b.From[:]) })
	var holes []HashRange
	next, all := hashKey{}, false // the first key not known to be covered; all: there is none
	for _, r := range covered {
		if !all && bytes.Compare(next[:], r.From[:]) < 0 {
			holes = append(holes, HashRange{next, r.From.before()})
		}
		if !all && bytes.Compare(next[:], r.To[:]) <= 0 {
			next, all = r.To.after()
		}
	}
	if !all {
		holes = append(holes, HashRange{next, maxHashKey})
	}
	return holes
}

// Coverage returns which part of the ring is outside of holes, 0 to 1.
func Coverage(holes []HashRange) float64 {
	size := new(big.Int).Lsh(big.NewInt(1), 8*uint(len(hashKey{})))
	missing := new(big.Int)
	for _, h := range holes {
		width := new(big.Int).Sub(new(big.Int).SetBytes(h.To[:]), new(big.Int).SetBytes(h.From[:]))
		missing.Add(missing, width.Add(width, big.NewInt(1)))
	}
	part, _ := new(big.Rat).SetFrac(missing, size).Float64()
	return 1 - part
}

// String returns the range as the service writes it.
func (r HashRange) String() string {
	return new(big.Int).SetBytes(r.From[:]).String() + "-" + new(big.Int).SetBytes(r.To[:]).String()
}

var maxHashKey = hashKey(bytes.Repeat([]byte{0xff}, len(hashKey{})))

// after returns the next key; last is true if there is none.
func (k hashKey) after() (next hashKey, last bool) {
	next = k
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return next, false
		}
	}
	return next, true
}

// before returns the key before one that is not the first.
func (k hashKey) before() hashKey {
	for i := len(k) - 1; i >= 0; i-- {
		if k[i]--; k[i] != 0xff {
			break
		}
	}
	return k
}
