package projector

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/sink/deadletter"
	"penstock/view"
)

// A release that makes every event poison must not turn the stream into letters. Each shard has a breaker, which is asked
// before a letter is written; the letter that would be one too many is not written, and its record keeps no outcome. The
// shard then settles what is in flight, says so in the state table, and gives its lease back, so that nothing of it is
// held in memory. Whoever takes the lease reads nothing while the trip stands, and begins again at the checkpoint, with
// the record that the breaker tripped at, once an operator has lifted it. A lift has an end. While it lasts nothing is
// counted, and from then on the count is a new one.

// breaker is the breaker of one shard, with what is kept of it for other owners. It belongs to the shard's goroutine, as
// what it counts does.
type breaker struct {
	shard    string
	board    *board
	start    checkpoint.Sequence // where this owner began
	worker   string
	since    time.Time // when this owner began
	progress *progress
	count    *deadletter.Breaker
	log      *zap.Logger

	recalled bool // what was counted before
	unsaved  int  // letters since the count was last saved
	last     checkpoint.Sequence
	trip     *Trip // of this owner
	told     bool  // and the state table has it
	shown    Trip  // that was logged, of whomever
}

// saveEvery is how many letters a killed process may have let through that the next owner's count does not know of.
const saveEvery = 25

// tallyCall bounds what reading or saving the count may hold a letter up: it is worth little, and a table that hangs must
// not slow the shard down.
const tallyCall = 500 * time.Millisecond

// errTripped ends a shard's loop because its breaker has tripped.
var errTripped = errors.New("the breaker has tripped")

// admit returns nil if a record may have a letter, and errTripped if the shard stands still instead, which it logs once.
func (b *breaker) admit(work context.Context, r refusal) error {
	if err := work.Err(); err != nil {
		return cmp.Or(context.Cause(work), err) // a lease that is no longer believed in has no cause yet
	}
	n := int64(r.record.ticket)
	if b.trip != nil {
		return errTripped
	}
	if b.board.lifted(b.shard) {
		b.recalled = true
		b.count.Reset(n)
		return nil
	}
	b.recall(work)
	if b.count.Letter(n, r.poison.Code) {
		if r.record.Sequence.Compare(b.last) > 0 {
			b.last = r.record.Sequence
		}
		if b.unsaved++; b.unsaved >= saveEvery {
			b.save(work)
		}
		return nil
	}
	b.trip = &Trip{
		Why: b.count.Tripped().Why(), Code: r.poison.Code, Fingerprint: deadletter.NewFailure(r.poison).Fingerprint,
		Sequence: r.record.Sequence, Arrival: r.record.Arrival, Worker: b.worker, At: b.board.now(),
	}
	b.board.trip(b.shard, *b.trip)
	b.shown = *b.trip
	b.log.Error("the breaker has tripped, the shard stands still", zap.String("why", b.trip.Sentence(b.shard)),
		zap.String("sequence", string(b.trip.Sequence)), zap.String("fingerprint", b.trip.Fingerprint))
	b.tell(work)
	return errTripped
}

// holds returns a channel while the shard stands still because of a trip, by this worker or another. It is closed when it
// is worth asking again.
func (b *breaker) holds() <-chan struct{} {
	if again := b.board.lookedSince(b.since); again != nil {
		return again
	}
	trip, again := b.board.tripped(b.shard)
	switch {
	case trip == nil && b.shown != Trip{}:
		by := b.board.lift(b.shard)
		b.log.Info("the breaker is lifted, the shard resumes", zap.String("by", by.By), zap.String("reason", by.Reason), zap.Time("until", by.Until))
		b.shown = Trip{}
	case trip != nil && b.shown != *trip:
		if trip.Worker != b.worker { // which has said so
			b.log.Warn("the breaker has tripped before, the shard stands still", zap.String("why", trip.Sentence(b.shard)))
		}
		b.shown = *trip
		b.progress.awaits(trip.Arrival, time.Now())
	}
	return again
}

// announce repeats until the trip of this owner stands in the state table, if there is one: the next must know of it
// before it has the lease. It ends with fetch, for which one attempt must do.
func (b *breaker) announce(fetch context.Context) {
	for b.trip != nil && !b.told {
		b.tell(fetch)
		if b.told || pause(fetch, around(boardEvery)) != nil {
			return
		}
	}
}

// tell tries once to write the trip into the state table, and that there is nothing to go on counting from.
func (b *breaker) tell(ctx context.Context) {
	// Without cancel: a process that is about to stop must leave word, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), boardCall)
	defer cancel()
	err := WriteTrip(ctx, b.board.state, b.board.role, b.shard, *b.trip)
	if err == nil {
		err = b.write(ctx)
	}
	b.told = err == nil
	if err != nil {
		b.log.Warn("that the breaker has tripped cannot be written into the state table, repeating", zap.Error(err))
	}
}

// Attributes of a count. Its kind is the role and tallyKind, its name the shard's id.
const (
	tallyKind      = "#letters"
	tallyAttribute = "tally" // an object of JSON
	lastAttribute  = "last"  // the sequence number of the newest letter counted
)

// recall goes on with what earlier owners counted, the first time that a letter is needed. Without an answer the count is
// a new one: that lets as many letters through as the breaker allows, once more.
func (b *breaker) recall(ctx context.Context) {
	if b.recalled {
		return
	}
	b.recalled = true
	ctx, cancel := context.WithTimeout(ctx, tallyCall)
	defer cancel()
	items, err := b.board.state.Query(ctx, b.board.role+tallyKind)
	var tally deadletter.Tally
	if text, ok := items[b.shard][tallyAttribute]; err == nil && ok {
		err = json.Unmarshal([]byte(text), &tally)
	}
	if err != nil {
		b.log.Warn("what the breaker counted before is not known, it counts anew", zap.Error(err))
		return
	}
	b.last = checkpoint.Sequence(items[b.shard][lastAttribute])
	if b.start.Compare(b.last) > 0 {
		tally.InARow = 0 // of the records since, the last had none
	}
	b.count.Continue(tally)
}

// forget removes the count of a shard that was read to its end. It need not succeed.
func (b *breaker) forget(ctx context.Context) {
	if b.recalled {
		_ = b.board.state.Delete(ctx, b.board.role+tallyKind, b.shard)
	}
}

// save keeps the count for the next owner. It need not succeed.
func (b *breaker) save(ctx context.Context) {
	if b.unsaved == 0 || b.trip != nil {
		return
	}
	b.unsaved = 0
	ctx, cancel := context.WithTimeout(ctx, tallyCall)
	defer cancel()
	if err := b.write(ctx); err != nil {
		b.log.Debug("what the breaker has counted was not saved", zap.Error(err))
	}
}

func (b *breaker) write(ctx context.Context) error {
	text, err := json.Marshal(b.count.Tally())
	if err != nil {
		return fmt.Errorf("what the breaker of %s has counted: %w", b.shard, err)
	}
	return b.board.state.Put(ctx, b.board.role+tallyKind, b.shard, map[string]string{
		tallyAttribute: string(text), lastAttribute: string(b.last),
	})
}

// Trip is why a shard stands still: its breaker has tripped. It is a note in the state table, under the fleet's role,
// which holds for whoever owns the shard until it is lifted: until there is a [Lift] that ends after it.
type Trip struct {
	Why         string    // a clause
	Code        view.Code // of the record that would have had the next letter
	Fingerprint string    // of that record, too, and what follows
	Sequence    checkpoint.Sequence
	Arrival     time.Time
	Worker      string
	At          time.Time // by the service's clock
}

// Sentence says why a shard stands still, and what lifts that.
func (t Trip) Sentence(shard string) string {
	return fmt.Sprintf("%s is not read, since %s: put right what is wrong, and then, or to have letters of them all the same: %s",
		shard, t.Why, LiftCommand(shard))
}

// LiftCommand is what an operator types to lift a trip.
func LiftCommand(shard string) string {
	return fmt.Sprintf("projector shards resume %s --letters --for 1h --reason TEXT", shard)
}

// Attributes of a trip's item, besides those of a pause. Its kind is the role and tripKind, its name the shard's id.
const (
	tripKind          = "#breaker"
	codeAttribute     = "code"
	fingerAttribute   = "fingerprint"
	sequenceAttribute = "sequence"
	arrivalAttribute  = "arrival"
)

// ReadTrips returns the last trip of every shard of a role that had one, lifted or not.
func ReadTrips(ctx context.Context, state interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}, role string) (map[string]Trip, error) {
	items, err := state.Query(ctx, role+tripKind)
	if err != nil {
		return nil, fmt.Errorf("read which breakers have tripped: %w", err)
	}
	trips := make(map[string]Trip, len(items))
	for shard, values := range items {
		trips[shard] = Trip{
			Why: values[whyAttribute], Code: view.Code(values[codeAttribute]), Fingerprint: values[fingerAttribute],
			Sequence: checkpoint.Sequence(values[sequenceAttribute]), Arrival: parseTime(values[arrivalAttribute]),
			Worker: values[byAttribute], At: parseTime(values[atAttribute]),
		}
	}
	return trips, nil
}

// WriteTrip keeps a shard's trip in place of an earlier one.
func WriteTrip(ctx context.Context, state interface {
	Put(ctx context.Context, kind, name string, values map[string]string) error
}, role, shard string, t Trip) error {
	err := state.Put(ctx, role+tripKind, shard, map[string]string{
		whyAttribute: t.Why, codeAttribute: string(t.Code), fingerAttribute: t.Fingerprint, sequenceAttribute: string(t.Sequence),
		arrivalAttribute: t.Arrival.UTC().Format(time.RFC3339Nano), byAttribute: t.Worker, atAttribute: t.At.UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		return fmt.Errorf("write that the breaker of %s has tripped: %w", shard, err)
	}
	return nil
}

// Lift is an operator's word that a shard, or [AllShards], may have as many letters as it needs, for a while. It lifts
// every trip before its end. The last one of each name stays in the state table, so that others can see who did it and
// why.
type Lift Pause

// The bounds of a lift. They are a pause's, since who has given a word should still be there when it ends.
const (
	MinLift = MinPause
	MaxLift = MaxPause
)

// NewLift returns a lift of a length within [MinLift] and [MaxLift] that begins now, by the service's clock. The reason is
// one line of 1 to 256 bytes.
func NewLift(by, reason string, now time.Time, length time.Duration) (Lift, error) {
	if length < MinLift || length > MaxLift {
		return Lift{}, fmt.Errorf("lift for %s: must be %s to %s", length, MinLift, MaxLift)
	}
	p, err := NewPause(by, reason, now, length)
	return Lift(p), err
}

// Lifts are the lifts of a fleet, over or not, by shard id or [AllShards].
type Lifts map[string]Lift

// Of returns the lift that holds for a shard longest, over or not; the zero lift for none.
func (l Lifts) Of(shard string) Lift {
	if all := l[AllShards]; all.Until.After(l[shard].Until) {
		return all
	}
	return l[shard]
}

// Lifted reports whether a trip of a shard is lifted.
func (l Lifts) Lifted(shard string, t Trip) bool { return t.At.Before(l.Of(shard).Until) }

// liftKind and the role are the kind of a lift's item; its name is the shard's id or AllShards, its attributes a pause's.
const liftKind = "#lift"

// ReadLifts returns the lifts of a role.
func ReadLifts(ctx context.Context, state interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}, role string) (Lifts, error) {
	items, err := state.Query(ctx, role+liftKind)
	if err != nil {
		return nil, fmt.Errorf("read which breakers are lifted: %w", err)
	}
	lifts := make(Lifts, len(items))
	for name, values := range items {
		lifts[name] = Lift(pauseOf(values))
	}
	return lifts, nil
}

// WriteLift lifts a shard's breaker, or that of [AllShards], in place of an earlier lift of it.
func WriteLift(ctx context.Context, state interface {
	Put(ctx context.Context, kind, name string, values map[string]string) error
}, role, shard string, l Lift) error {
	if err := state.Put(ctx, role+liftKind, shard, Pause(l).attributes()); err != nil {
		return fmt.Errorf("lift the breaker of %s: %w", shard, err)
	}
	return nil
}
