package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"penstock/localstack/gameday/report"
	"penstock/localstack/zones"
)

// The zone that faults befall. It is not that of the seed node.
const victim = 1

// scenario is a fault and what is asked of writers in it.
type scenario struct {
	number int // its title is the report's
	fault  fault
	stops  bool // nothing can be written while the fault holds
	// tail is how many seconds after the fault its attempts still count: answers come late, and retries later.
	tail     int
	contrast bool // the naive writer goes through it, too
	search   bool // the best fixed limit is looked for
	settings []string
	// needs is a configuration key without which the scenario shows nothing.
	needs string
}

// fault breaks something and mends it again. Every function may be nil.
type fault struct {
	prepare func(context.Context, *rig) error // before the writer starts
	begin   func(context.Context, *rig, load) error
	during  func(context.Context, *rig, load) // until its context ends with the fault
	end     func(context.Context, *rig) error
	restore func(context.Context, *rig) error // after the writer has ended; undoes prepare
}

// load is what was going on when a fault began.
type load struct {
	keyspace string
	requests float64 // a second, to all nodes
}

const usualTail = 5

var scenarios = []scenario{
	{number: 1, tail: usualTail, search: true},
	{number: 2, fault: freeze(victim), tail: usualTail, contrast: true, search: true},
	{number: 3, fault: kill, tail: usualTail},
	{number: 4, fault: cut, tail: usualTail, contrast: true, search: true},
	{number: 5, fault: slow, tail: usualTail},
	{number: 6, fault: limited, tail: usualTail},
	{number: 7, fault: freeze(0, 1, 2), stops: true, tail: 60, contrast: true},
	{number: 8, fault: compact, tail: usualTail},
	{number: 9, fault: cut, tail: usualTail,
		settings: []string{"PENSTOCK_PRESSURE_DEBT_BUDGET=4MiB"}, needs: "pressure.debt_budget"},
}

// stage plays one scenario once with every writer that it is for.
func (r *rig) stage(ctx context.Context, s scenario) error {
	say("scenario %d: %s", s.number, report.Title(s.number))
	if s.needs != "" {
		// It documents every key it has.
		if printed, err := r.warm.Projector(ctx, "config", "docs"); err != nil || !strings.Contains(printed, s.needs) {
			return errors.Join(fmt.Errorf("this projector has no %s, which the scenario is about", s.needs), err)
		}
	}
	result, err := r.drain(ctx, s)
	if errors.Is(err, errTooShort) {
		say("scenario %d: %v: once more with a larger one", s.number, err)
		result, err = r.drain(ctx, s)
	}
	if err != nil {
		if ctx.Err() == nil { // the next scenario is to find the ring whole
			err = errors.Join(err, r.calm(ctx))
		}
		return err
	}
	if err := r.keep(s, result); err != nil {
		return err
	}
	if !result.Right() {
		return fmt.Errorf("lost %d, mismatched %d, parked %d", result.Lost, result.Mismatched, result.Parked)
	}
	if s.contrast {
		result, err := r.naive(ctx, s)
		if err != nil {
			return fmt.Errorf("naive writer: %w", err)
		}
		if err := r.keep(s, result); err != nil {
			return err
		}
	}
	if s.search {
		result, err := r.search(ctx, s)
		if err != nil {
			return fmt.Errorf("search of a fixed limit: %w", err)
		}
		return r.keep(s, result)
	}
	return nil
}

// keep appends a result to the file and says what it came to.
func (r *rig) keep(s scenario, result report.Result) error {
	result.Scenario, result.Revision = s.number, r.revision
	say("scenario %d: %s", s.number, result)
	return report.Append(resultsFile(r.report), result)
}

// strike lets a fault happen to whatever writes at the moment: lead seconds after began, for faultTime. It returns when the time that
// belongs to it is over, and from when to when the fault held.
func (r *rig) strike(ctx context.Context, s scenario, began time.Time, now func() load) (from, to time.Time, err error) {
	if err := until(ctx, began.Add(lead*time.Second)); err != nil {
		return from, to, err
	}
	l := now()
	if s.fault.begin != nil {
		if err := s.fault.begin(ctx, r, l); err != nil {
			return from, to, errors.Join(err, r.mend(s))
		}
	}
	from = time.Now() // some faults take seconds to begin and to end
	during := make(chan struct{})
	holding, over := context.WithDeadline(ctx, from.Add(faultTime*time.Second))
	go func() {
		defer close(during)
		if s.fault.during != nil {
			s.fault.during(holding, r, l)
		}
	}()
	err = until(ctx, from.Add(faultTime*time.Second))
	over()
	to = time.Now()
	err = errors.Join(err, r.mend(s))
	<-during
	if err != nil {
		return from, to, err
	}
	return from, to, until(ctx, to.Add(time.Duration(max(aftermath, s.tail+1))*time.Second))
}

// mend ends a fault, also when everything else has been called off.
func (r *rig) mend(s scenario) error {
	if s.fault.end == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), 2*time.Minute, errors.New("the fault did not end within two minutes"))
	defer cancel()
	return s.fault.end(ctx, r)
}

// calm waits until the nodes know each other again and owe each other nothing.
func (r *rig) calm(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("the ring was not whole within two minutes"))
	defer cancel()
	if err := r.stack.AwaitRing(ctx); err != nil {
		return err
	}
	return each(func(i int) error {
		_, err := r.stack.Nodetool(ctx, i, "truncatehints")
		return err
	})
}

// each does the same for all zones at once.
func each(do func(i int) error) error {
	errs := make(chan error, zones.Count)
	for i := range zones.Count {
		go func() { errs <- do(i) }()
	}
	var all error
	for range zones.Count {
		all = errors.Join(all, <-errs)
	}
	return all
}

// until waits for a moment.
func until(ctx context.Context, moment time.Time) error {
	timer := time.NewTimer(time.Until(moment))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
