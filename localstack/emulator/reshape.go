package emulator

import (
	"slices"
	"time"
)

// bound returns where the k-th of n even parts of the hash keys 0 … 2^128−1 starts, ⌊k·2^128/n⌋; for k = n, 2^128. Parts of a
// multiple of n begin at the same keys, so that doubling splits each shard once.
func bound(k, n int) uint192 {
	start, _ := uint192{0, 0, uint64(k)}.dividedBy(uint64(n))
	return start
}

// divide makes n shards that share the hash keys evenly.
func divide(n int, epoch uint64, opened time.Time) []*shard {
	shards := make([]*shard, n)
	for i := range shards {
		shards[i] = newShard(uint32(i), epoch, bound(i, n), bound(i+1, n).decrement())
		shards[i].open(opened.UnixMilli())
	}
	return shards
}

// reshape is a change of a stream's layout on its way: splits and merges of open shards, of which any layout can be made. Each
// closes its parents at once, and what is written meanwhile waits for the layout that results; Server.mu is held from the first
// step until that is in place.
//
// A child's numbers follow all of its parents' numbers, since its epoch is later. The same goes for its times of arrival.
type reshape struct {
	now    time.Time
	epoch  uint64   // the least of a child
	last   uint64   // the greatest given to one
	shards []*shard // all there have been, by index
	open   []*shard // by hash range
}

// split divides the i-th open shard; the second child begins with the hash key at, which is one of the shard's but not its first.
func (r *reshape) split(i int, at uint192) {
	parent := r.open[i]
	low, high := r.child(parent.from, at.decrement(), parent), r.child(at, parent.to, parent)
	r.succeed([]*shard{parent}, []*shard{low, high})
	r.open = slices.Replace(r.open, i, i+1, low, high)
}

// merge makes one of the i-th open shard and the one after it.
func (r *reshape) merge(i int) { r.mergeInto(i, r.open[i], r.open[i+1]) }

// mergeInto merges the i-th open shard and the one after it, which are parent and adjacent in either order.
func (r *reshape) mergeInto(i int, parent, adjacent *shard) {
	child := r.child(r.open[i].from, r.open[i+1].to, parent, adjacent)
	r.succeed([]*shard{parent, adjacent}, []*shard{child})
	r.open = slices.Replace(r.open, i, i+2, child)
}

// spread brings about n open shards that share the hash keys evenly. What is not at a bound is split there, and the parts between
// bounds are merged; shards that are as they should be stay. As in the service, shards may come and go on the way.
func (r *reshape) spread(n int) {
	for k := 1; k < n; k++ {
		at := bound(k, n)
		if i := holder(r.open, at); r.open[i].from != at {
			r.split(i, at)
		}
	}
	for k := range n {
		for last := bound(k+1, n).decrement(); r.open[k].to != last; {
			r.merge(k)
		}
	}
}

// child makes a shard that is known by its index from now on and takes records after succeed.
func (r *reshape) child(from, to uint192, parents ...*shard) *shard {
	epoch := r.epoch
	for _, parent := range parents {
		epoch = max(epoch, parent.epoch+1)
	}
	r.last = max(r.last, epoch)
	child := newShard(uint32(len(r.shards)), epoch, from, to)
	child.parents = parents
	r.shards = append(r.shards, child)
	return child
}

// succeed closes parents and opens their children.
func (r *reshape) succeed(parents, children []*shard) {
	var latest int64
	for _, parent := range parents {
		latest = max(latest, parent.close(r.now, children))
	}
	for _, child := range children {
		child.open(latest)
	}
}

// reshape changes a stream's layout; s.mu is held for writing.
func (s *Server) reshape(st *stream, now time.Time, change func(*reshape)) {
	was := st.current.Load()
	r := &reshape{now: now, epoch: max(s.lastEpoch+1, uint64(max(0, now.Unix()))), shards: was.shards, open: slices.Clone(was.open)}
	change(r)
	s.lastEpoch = max(s.lastEpoch, r.last)
	s.shards += len(r.open) - len(was.open)
	is := *was
	is.shards, is.open = r.shards, r.open
	st.current.Store(&is)
}
