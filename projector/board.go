package projector

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/stream"
)

// board is where operators and this worker leave word for each other, in the state table: the operators' pauses, which
// breakers have tripped and which of these the operators lifted, and how the worker's shards stand. One goroutine, in run,
// reads the table, about once a second and when a shard begins; the shards only look at what it found. While the table is
// out of reach what was last known holds, a pause and a lift until their ends.
type board struct {
	role   string
	worker string
	state  StateTable
	clock  func() checkpoint.Clock
	log    *zap.Logger

	told bool // a word of ours may stand in the table; owned by run

	asked chan struct{} // holds one when a look is wanted soon

	mu        sync.Mutex
	known     bool      // what the pauses are
	looked    time.Time // when the last look began that has ended
	pauses    Pauses
	trips     map[string]Trip // of the table
	own       map[string]Trip // of this worker, which the table need not have yet
	lifts     Lifts
	news      chan struct{} // closed when a shard should look again
	following map[string]ShardWord
}

const (
	boardEvery = time.Second                // between two looks at the pauses
	tellEvery  = 2                          // looks, between two words
	boardCall  = 2 * time.Second            // the deadline of a call
	boardSlow  = 2*boardCall + 2*boardEvery // longer than it can be from one look to the next
	// boardPatience is how long a new process waits for its first look: it cannot know what was paused before it came. Then it reads, since
	// nothing may depend on this table.
	boardPatience = 10 * time.Second
)

func newBoard(role, worker string, state StateTable, clock func() checkpoint.Clock, log *zap.Logger) *board {
	if clock == nil {
		clock = func() checkpoint.Clock { return checkpoint.Clock{} }
	}
	return &board{role: role, worker: worker, state: state, clock: clock, log: log,
		asked: make(chan struct{}, 1), own: map[string]Trip{}, news: make(chan struct{}), following: map[string]ShardWord{}}
}

// now is the service's clock, by which pauses end.
func (b *board) now() time.Time { return time.Now().Add(b.clock().Ahead) }

// run looks and tells until ctx ends, and then takes its word back.
func (b *board) run(ctx context.Context) {
	defer b.farewell(ctx)
	began := time.Now()
	for turn := 0; ; {
		b.look(ctx, time.Since(began) > boardPatience)
		if turn%tellEvery == 0 {
			b.tell(ctx)
		}
		select {
		case <-time.After(around(boardEvery)):
			turn++
		case <-b.asked:
		case <-ctx.Done():
			return
		}
	}
}

// look reads the pauses, the trips and the lifts. Failures are the keeper's to log, which uses the same table more often.
func (b *board) look(ctx context.Context, impatient bool) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, boardCall)
	defer cancel()
	pauses, noPauses := ReadPauses(ctx, b.state, b.role)
	trips, noTrips := ReadTrips(ctx, b.state, b.role)
	lifts, noLifts := ReadLifts(ctx, b.state, b.role) // after the trips: a trip that is known is lifted if it was when it was read
	b.mu.Lock()
	defer b.mu.Unlock()
	if noPauses == nil {
		b.pauses = pauses
	}
	if noTrips == nil && noLifts == nil {
		b.trips, b.lifts = trips, lifts
	}
	if errors.Join(noPauses, noTrips, noLifts) == nil || impatient {
		b.known = true
	}
	b.looked = began
	b.wakeLocked()
}

// wake makes every shard that is held look again.
func (b *board) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wakeLocked()
}

func (b *board) wakeLocked() {
	close(b.news)
	b.news = make(chan struct{})
}

// tell writes how the shards stand. A word that does not get through is made up for by the next.
func (b *board) tell(ctx context.Context) {
	word := b.word()
	if len(word.Shards) == 0 && !b.told {
		return
	}
	values, err := word.attributes()
	if err != nil {
		b.log.Error("how the shards stand cannot be told", zap.Error(err))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, boardCall)
	defer cancel()
	b.told = true
	if err := b.state.Put(ctx, b.role+wordKind, b.worker, values); err != nil {
		b.log.Debug("how the shards stand was not told", zap.Error(err))
	}
}

func (b *board) word() Word {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := Word{At: b.now(), Shards: make(map[string]ShardWord, len(b.following))}
	for id, s := range b.following {
		_, s.Paused = b.pauses.Of(id, w.At)
		w.Shards[id] = s
	}
	return w
}

// farewell removes this worker's word. It need not succeed.
func (b *board) farewell(ctx context.Context) {
	if !b.told {
		return
	}
	// Without cancel: ctx has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), boardCall)
	defer cancel()
	if err := b.state.Delete(ctx, b.role+wordKind, b.worker); err != nil {
		b.log.Debug("own word in the state table could not be removed", zap.Error(err))
	}
}

// hold says whether a shard must not be read: then again is a channel that is closed when it is worth asking again.
// The pause is nil while it is not known yet what is paused.
func (b *board) hold(shard string) (pause *Pause, again <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known {
		return nil, b.news
	}
	now := b.now()
	if p, paused := b.pauses.Of(shard, now); paused {
		if left := p.Until.Sub(now); left < boardSlow {
			time.AfterFunc(left, b.wake) // the next look may come late, if the table does not answer
		}
		return &p, b.news
	}
	return nil, nil
}

// trip notes that this worker's breaker of a shard has tripped.
func (b *board) trip(shard string, t Trip) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.own[shard] = t
}

// tripped returns the trip that keeps a shard from being read: then again is a channel that is closed when it is worth
// asking again.
func (b *board) tripped(shard string) (trip *Trip, again <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.trippedLocked(shard); ok {
		return &t, b.news
	}
	return nil, nil
}

func (b *board) trippedLocked(shard string) (Trip, bool) {
	for _, trips := range []map[string]Trip{b.own, b.trips} {
		if t, ok := trips[shard]; ok && !b.lifts.Lifted(shard, t) {
			return t, true
		}
	}
	return Trip{}, false
}

// lift returns the last lift of a shard's breaker.
func (b *board) lift(shard string) Lift {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lifts.Of(shard)
}

// lifted reports whether a shard may have as many letters as it needs.
func (b *board) lifted(shard string) bool { return b.now().Before(b.lift(shard).Until) }

// The states of a breaker.
const (
	breakerCounting = "counting"
	breakerTripped  = "tripped"
	breakerLifted   = "lifted"
)

func breakerStates() []string { return []string{breakerCounting, breakerTripped, breakerLifted} }

// breaker returns the state of a shard's breaker.
func (b *board) breaker(shard string) string {
	if b.lifted(shard) {
		return breakerLifted
	}
	if trip, _ := b.tripped(shard); trip != nil {
		return breakerTripped
	}
	return breakerCounting
}

// lookedSince returns nil once a look that began since a moment has ended, well or not, and before that a channel that is
// closed when it is worth asking again. A shard that comes from another owner may have tripped just before.
func (b *board) lookedSince(since time.Time) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.looked.Before(since) {
		return nil
	}
	return b.news
}

// follow and leave say which shards this worker follows.
func (b *board) follow(shard string) {
	b.note(shard, ShardWord{})
	select {
	case b.asked <- struct{}{}:
	default:
	}
}

func (b *board) leave(shard string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.following, shard)
}

// fetched notes how far behind a batch was.
func (b *board) fetched(shard string, batch stream.Batch) {
	if batch.Known {
		b.note(shard, ShardWord{Lag: batch.Behind, Read: b.now()})
	}
}

func (b *board) note(shard string, w ShardWord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.following[shard] = w
}

// pausing counts the shards of this worker that are paused, with the pause of one of them.
func (b *board) pausing() (n int, one Pause) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.following {
		if p, paused := b.pauses.Of(id, now); paused {
			n++
			if p.Until.After(one.Until) {
				one = p
			}
		}
	}
	return n, one
}

// tripping counts the shards of this worker whose breaker has tripped, with the sentence of the first of them.
func (b *board) tripping() (n int, sentence string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(b.following)) {
		if t, tripped := b.trippedLocked(id); tripped {
			n++
			sentence = cmp.Or(sentence, t.Sentence(id))
		}
	}
	return n, sentence
}

// paused counts the shards of this worker that are paused.
func (b *board) paused() int {
	n, _ := b.pausing()
	return n
}
