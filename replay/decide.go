package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"penstock/sink/deadletter"
)

// Decider closes letters, and opens them again, by an operator's word. Nothing is deleted.
type Decider struct {
	Box     *deadletter.Box
	By      string // who asks
	Run     string // names this run: no other may have the name
	Release string // of the program
	began   time.Time
	batches int
}

// FinalError says that a letter is closed for good.
type FinalError struct {
	Key   string
	State deadletter.State
}

func (e *FinalError) Error() string {
	return fmt.Sprintf("letter %s is %s, which is final", e.Key, e.State)
}

// DecideAll gives every letter that a filter chooses the same outcome, and returns how many. Letters whose state it would
// not change are left out.
func (d *Decider) DecideAll(ctx context.Context, f Filter, o deadletter.Outcome, readers int) (n int, err error) {
	return d.decideAll(ctx, f, o, readers, true)
}

// CountDecided returns how many letters DecideAll would close or open again, and records nothing.
func (d *Decider) CountDecided(ctx context.Context, f Filter, o deadletter.Outcome, readers int) (n int, err error) {
	return d.decideAll(ctx, f, o, readers, false)
}

func (d *Decider) decideAll(ctx context.Context, f Filter, o deadletter.Outcome, readers int, record bool) (n int, err error) {
	f.States = OpenStates
	if o.State == deadletter.Reopened {
		f.States = []deadletter.State{deadletter.Discarded}
	}
	var day string
	var pending []deadletter.Outcome
	flush := func() error {
		if !record || len(pending) == 0 {
			pending = nil
			return nil
		}
		err := d.record(ctx, day, pending)
		pending = nil
		return err
	}
	for found, err := range Walk(ctx, d.Box, f, Marks, readers) {
		if err != nil {
			return n, fmt.Errorf("read letters: %w", err)
		}
		if found.Day != day || len(pending) == deadletter.MaxBatch {
			if err := flush(); err != nil {
				return n, err
			}
			day = found.Day
		}
		pending = append(pending, d.outcome(found.Mark, found.Fate, o))
		n++
	}
	return n, flush()
}

// Decide gives one letter an outcome. The error is a [*FinalError] if it is closed for good, and one that says so if its
// state would not change.
func (d *Decider) Decide(ctx context.Context, m deadletter.Mark, o deadletter.Outcome) error {
	fates, err := d.Box.Fates(ctx, m.Day)
	if err != nil {
		return err
	}
	fate := fates.Of(m.Identity)
	switch state := fate.State(); {
	case state == deadletter.Redriven || state == deadletter.Superseded:
		return &FinalError{m.Key, state}
	case o.State == deadletter.Reopened && state != deadletter.Discarded:
		return fmt.Errorf("letter %s is %s, not discarded: there is nothing to undo", m.Key, state)
	case o.State == deadletter.Discarded && !slices.Contains(OpenStates, state):
		return fmt.Errorf("letter %s is %s already", m.Key, state)
	}
	return d.record(ctx, m.Day, []deadletter.Outcome{d.outcome(m, fate, o)})
}

func (d *Decider) outcome(m deadletter.Mark, fate deadletter.Fate, o deadletter.Outcome) deadletter.Outcome {
	o.Letter, o.Key, o.By, o.Run, o.Release = m.Identity, m.Key, d.By, d.Run, d.Release
	o.At = fate.After(time.Now())
	return o
}

func (d *Decider) record(ctx context.Context, day string, outcomes []deadletter.Outcome) error {
	if d.began.IsZero() {
		d.began = time.Now()
	}
	n := d.batches
	d.batches++
	if err := d.Box.Record(ctx, day, d.Run, d.began, n, outcomes); err != nil {
		return fmt.Errorf("record outcomes: %w", err)
	}
	return nil
}
