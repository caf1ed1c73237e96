package emulator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is one line of a [Script]: which calls meet what. [ParseFault] reads one from text.
type Fault struct {
	// Action is the API's name of the calls that match, for example GetRecords, or SubscribeToShardEvent for the events of
	// subscriptions; empty stands for every action and every event.
	Action string

	// After is how many matching calls pass before the fault begins.
	After int

	// Count is how many calls the fault hits before it is over; 0 is without end.
	Count int

	// Share is the part of the matching calls that is hit, 0 to 1; 0 stands for all. Which ones is drawn: with the same Seed, and
	// calls in the same order, the same.
	Share float64
	Seed  uint64

	// Effect is what a hit call meets: one of this package's, or any hook, another script among them.
	Effect Hook
}

// Script returns a hook for [Server.Intercept] that goes through the faults in their order for each call. An effect that lets the
// call through, as [Delay] does, leaves it to the faults after it; one that does not ends the call, and the faults after it neither
// see nor count it. A fault that could never be meant, with an unknown action, a number out of range or no effect, panics.
func Script(faults ...Fault) Hook {
	script := make([]*line, len(faults))
	for i, f := range faults {
		if err := f.check(); err != nil {
			panic(fmt.Errorf("emulator: fault %d of the script: %w", i+1, err))
		}
		script[i] = &line{Fault: f, draw: rand.New(rand.NewPCG(f.Seed, uint64(i)))}
	}
	return func(ctx context.Context, call Call) error {
		for _, l := range script {
			if !l.hits(call.Action) {
				continue
			}
			if err := l.Effect(ctx, call); err != nil {
				return err
			}
		}
		return nil
	}
}

func (f Fault) check() error {
	switch {
	case f.Action != "" && f.Action != eventAction && actions[f.Action] == nil:
		known := append(slices.Collect(maps.Keys(actions)), eventAction)
		slices.Sort(known)
		return fmt.Errorf("action %q is not one of %s", f.Action, strings.Join(known, ", "))
	case f.After < 0:
		return fmt.Errorf("after %d is negative", f.After)
	case f.Count < 0:
		return fmt.Errorf("count %d is negative", f.Count)
	case !(f.Share >= 0 && f.Share <= 1): // so that NaN is refused
		return fmt.Errorf("share %g is outside 0 to 1", f.Share)
	case f.Effect == nil:
		return errors.New("no effect")
	default:
		return nil
	}
}

// line is a fault at work.
type line struct {
	Fault

	mu     sync.Mutex
	passed int // matching calls, up to After
	hit    int // calls, up to Count
	draw   *rand.Rand
}

// hits says whether a call meets the effect, and counts it.
func (l *line) hits(action string) bool {
	if l.Action != "" && l.Action != action {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.Count > 0 && l.hit == l.Count:
		return false
	case l.passed < l.After:
		l.passed++
		return false
	case l.Share > 0 && l.draw.Float64() >= l.Share:
		return false
	}
	if l.Count > 0 {
		l.hit++
	}
	return true
}

// Throttle refuses a call with the error by which the service says that there are too many of its kind:
// [ThroughputExceeded] for the actions on records, [LimitExceeded] for the others.
func Throttle(_ context.Context, call Call) error {
	if recordActions[call.Action] {
		return apiErrorf(ThroughputExceeded, "Rate exceeded for stream %s.", call.Stream)
	}
	return rateExceeded(call.Action)
}

// Fail answers a call with [InternalFailure], status 500.
func Fail(_ context.Context, call Call) error {
	return apiErrorf(InternalFailure, "%s failed for an internal reason.", call.Action)
}

// Deny refuses a call as one that no policy allows, with [AccessDenied].
func Deny(_ context.Context, call Call) error {
	return apiErrorf(AccessDenied, "User is not authorized to perform: kinesis:%s on resource: stream/%s "+
		"because no identity-based policy allows the kinesis:%s action", call.Action, call.Stream, call.Action)
}

// Refuse returns an effect that answers with any error of the service.
func Refuse(e *APIError) Hook {
	return func(context.Context, Call) error { return e }
}

// Delay returns an effect that lets a call through after d. It ends early, and the call with it, when the client gives up.
func Delay(d time.Duration) Hook {
	return func(ctx context.Context, _ Call) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Hang answers nothing until the client gives up or the server stops. Of an event it makes a subscription that has fallen silent,
// without an end.
func Hang(ctx context.Context, _ Call) error {
	<-ctx.Done()
	return ctx.Err()
}

// End is [ErrEnd] as an effect; it means something for events only.
func End(context.Context, Call) error { return ErrEnd }

// Cut is [ErrCut] as an effect.
func Cut(context.Context, Call) error { return ErrCut }

// LoseAnswer is [ErrLoseAnswer] as an effect.
func LoseAnswer(context.Context, Call) error { return ErrLoseAnswer }
