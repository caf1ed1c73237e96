package projector

import "sync"

// budget bounds the memory of records in flight over all shards of the process, in bytes. No shard may hold more than
// half of it, so that one whose writes do not get through leaves room for the others.
//
// Room is reserved before a call whose reply has not been seen, for the largest reply there is, and corrected to what
// the records really take once they are there. The correction may leave a shard with more than its half, by part of one
// reply. That is its own debt: the shard gets no room until it is paid back, and the others keep what its half leaves
// them. Replies that are corrected up to halves may exceed the total as well: with reservations of a quarter, of which
// four can be on their way, what is held is at most twice the total, and the debts.
type budget struct {
	total int64

	mu      sync.Mutex
	used    int64
	debts   int64 // of used, what shards hold above their halves
	byShard map[string]int64
	waiting map[string]wait // one for each shard at most
	freed   chan struct{}   // closed when anything is given back, if anybody waits for that
}

// wait is a shard that waits until it may hold n bytes more.
type wait struct {
	n, ahead int64
	fits     chan struct{} // closed when it may
}

func newBudget(total int64) *budget {
	return &budget{total: total, byShard: map[string]int64{}, waiting: map[string]wait{}}
}

// largest is the most that one shard can reserve at once.
func (b *budget) largest() int64 { return b.total / 2 }

// tryReserve takes n bytes for shard, at most largest, unless it holds more than ahead already. If that is so or there is
// no room, it returns a channel that is closed when it is worth trying again. A shard waits for one reservation at a time.
func (b *budget) tryReserve(shard string, n, ahead int64) (ok bool, again <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fits(shard, n, ahead) {
		delete(b.waiting, shard)
		b.add(shard, n)
		return true, nil
	}
	w := wait{n, ahead, make(chan struct{})}
	b.waiting[shard] = w
	return false, w.fits
}

func (b *budget) fits(shard string, n, ahead int64) bool {
	held := b.byShard[shard]
	return b.used-b.debts+n <= b.total && held+n <= b.largest() && held <= ahead
}

// correct changes what shard holds by delta bytes: up or down after a reservation, down when a record is settled.
func (b *budget) correct(shard string, delta int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(shard, delta)
	if delta >= 0 {
		return
	}
	for waiter, w := range b.waiting {
		if b.fits(waiter, w.n, w.ahead) {
			close(w.fits)
			delete(b.waiting, waiter)
		}
	}
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}

func (b *budget) add(shard string, delta int64) {
	b.used += delta
	b.debts -= b.debt(shard)
	b.byShard[shard] += delta
	b.debts += b.debt(shard)
	if b.byShard[shard] == 0 {
		delete(b.byShard, shard)
	}
}

// debt is what a shard holds above its half.
func (b *budget) debt(shard string) int64 { return max(0, b.byShard[shard]-b.largest()) }

// settled returns a channel that is closed when something is given back.
func (b *budget) settled() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.freed == nil {
		b.freed = make(chan struct{})
	}
	return b.freed
}

// held returns the bytes of one shard.
func (b *budget) held(shard string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byShard[shard]
}

// inUse returns the bytes in flight.
func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
