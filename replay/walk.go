package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/sync/semaphore"

	"penstock/objects"
	"penstock/sink/deadletter"
)

// Found is a letter that was come upon.
type Found struct {
	deadletter.Mark
	Fate deadletter.Fate
	// Letter is as much of it as was asked for. Where nothing was read, and where it is unreadable, it is the zero value.
	Letter deadletter.Letter
	// Unreadable says what is wrong with an object that stands under a letter's key and is none, or is damaged.
	Unreadable error
}

// Depth is how much is read of each letter.
type Depth uint8

const (
	Marks Depth = iota // what a listing shows; letters only where the filter needs them
	Heads              // all but the payload
	Whole              // the payload, too
)

// DefaultReaders is how many letters are read at once.
const DefaultReaders = 64

// maxReading bounds the bytes of the objects that are read at once, or wait for their turn.
const maxReading = 32 << 20

// Walk hands out the letters that a filter chooses, by day, code and position. It lists a day after the other, keeps the
// fates of one day and reads the letters themselves with so many readers at once. An error is the last thing it yields,
// and is one of the store's or of ctx.
func Walk(ctx context.Context, box *deadletter.Box, f Filter, depth Depth, readers int) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		if readers < 1 {
			yield(Found{}, fmt.Errorf("read letters: %d at once: must be at least 1", readers))
			return
		}
		days, err := box.Days(ctx)
		if err != nil {
			yield(Found{}, err)
			return
		}
		for _, day := range days {
			may, look := f.includesDay(day)
			if !may {
				continue
			}
			w := walk{box: box, filter: f, depth: depth, readers: readers}
			if w.depth == Marks && (look || f.readsLetters()) {
				w.depth = Heads
			}
			if !w.day(ctx, day, yield) {
				return
			}
		}
	}
}

type walk struct {
	box     *deadletter.Box
	filter  Filter
	depth   Depth
	readers int
}

// reading is a letter on its way.
type reading struct {
	Found
	weight int64
	err    error
	done   chan struct{}
}

// day returns whether the walk goes on.
func (w walk) day(ctx context.Context, day string, yield func(Found, error) bool) bool {
	fates, err := w.box.Fates(ctx, day)
	if err != nil {
		return yieldError(yield, err)
	}
	if w.depth == Marks {
		for m, err := range w.box.Marks(ctx, day) {
			if err != nil {
				return yieldError(yield, err)
			}
			if fate := fates.Of(m.Identity); w.filter.mark(m, fate) && !yield(Found{Mark: m, Fate: fate}, nil) {
				return false
			}
		}
		return true
	}
	return w.read(ctx, day, fates, yield)
}

// read hands letters out in the order of the listing, while readers are some letters ahead.
func (w walk) read(ctx context.Context, day string, fates *deadletter.Fates, yield func(Found, error) bool) bool {
	ctx, stop := context.WithCancel(ctx)
	room := semaphore.NewWeighted(maxReading)
	work := make(chan *reading)
	order := make(chan *reading, 2*w.readers) // as the listing has them
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	var listed error // read once order is closed
	running.Go(func() {
		defer close(order)
		defer close(work)
		listed = w.list(ctx, day, fates, room, work, order)
	})
	for range w.readers {
		running.Go(func() {
			for r := range work {
				w.fetch(ctx, r)
				close(r.done)
			}
		})
	}
	for r := range order {
		<-r.done // whatever is in order is in work, which is read to its end
		room.Release(r.weight)
		if _, gone := errors.AsType[*objects.NotFoundError](r.err); gone {
			continue // its retention has ended since it was listed
		}
		if r.err != nil {
			return yieldError(yield, r.err)
		}
		if r.Unreadable == nil && !w.filter.letter(r.Letter) || r.Unreadable != nil && w.filter.readsLetters() {
			continue // what cannot be read has none of the properties that were asked for
		}
		if !yield(r.Found, nil) {
			return false
		}
	}
	if listed != nil {
		return yieldError(yield, listed)
	}
	return true
}

// list passes a day's letters to the readers, in order.
func (w walk) list(ctx context.Context, day string, fates *deadletter.Fates, room *semaphore.Weighted, work, order chan<- *reading) error {
	for m, err := range w.box.Marks(ctx, day) {
		if err != nil {
			return err
		}
		fate := fates.Of(m.Identity)
		if !w.filter.mark(m, fate) {
			continue
		}
		r := &reading{Found: Found{Mark: m, Fate: fate}, weight: min(max(m.Bytes, 1), maxReading), done: make(chan struct{})}
		if err := room.Acquire(ctx, r.weight); err != nil {
			return err
		}
		select {
		case order <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
		work <- r // readers take everything, also once ctx has ended: then it is done at once
	}
	return nil
}

func (w walk) fetch(ctx context.Context, r *reading) {
	get := w.box.Head
	if w.depth == Whole {
		get = w.box.Letter
	}
	r.Letter, r.err = get(ctx, r.Mark)
	if r.err == nil || ctx.Err() != nil {
		return
	}
	_, failed := errors.AsType[*objects.Error](r.err)
	_, gone := errors.AsType[*objects.NotFoundError](r.err)
	if !failed && !gone {
		r.Unreadable, r.err = r.err, nil
	}
}

func yieldError(yield func(Found, error) bool, err error) bool {
	yield(Found{}, err)
	return false
}
