package replay

import (
	"errors"
	"fmt"
	"runtime/debug"

	"penstock/sink/deadletter"
	"penstock/view"
)

// Project returns what a letter becomes now. Its payload is judged as the live pipeline would have judged it then: against
// the time at which the stream accepted it. The error is a [*view.Poison] if it would be parked again; any other is a
// fault of the view.
func Project(v view.View, l deadletter.Letter) (result view.Result, err error) {
	if l.Failure.Stage == view.StageDeaggregate {
		// The payload is what the stream has, not the event of one producer's call: nobody can tell where that begins.
		return view.Result{}, &view.Poison{Stage: l.Failure.Stage, Code: l.Failure.Code, Event: view.Event(l.Event), Err: errors.New(l.Failure.Message)}
	}
	defer func() {
		if p := recover(); p != nil {
			err = &view.Poison{Stage: view.StageProject, Code: view.CodePanic, Err: &panicError{p, debug.Stack()}}
		}
	}()
	result, err = v.Project(view.Record{
		Data:    l.Payload,
		Arrival: l.Source.Arrival,
		Position: view.Position{Stream: l.Source.Stream, Shard: l.Source.Shard, Sequence: l.Source.Sequence,
			SubSequence: l.Source.SubSequence},
	})
	if _, poison := view.AsPoison(err); err != nil && !poison {
		err = fmt.Errorf("project letter %s: %w", l.Key(), err)
	}
	return result, err
}

// panicError is what a view panicked with.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("the view panicked: %v", e.value) }

// failureOf describes why a letter failed again.
func failureOf(p *view.Poison) deadletter.Failure {
	f := deadletter.NewFailure(p)
	if panicked, ok := errors.AsType[*panicError](p); ok {
		f.Stack = string(panicked.stack)
	}
	return f
}

// Try is [Project] for people: that the letter would fail again is no error.
func Try(v view.View, l deadletter.Letter) (view.Result, *deadletter.Failure, error) {
	result, err := Project(v, l)
	if p, poison := view.AsPoison(err); poison {
		return view.Result{}, new(failureOf(p)), nil
	}
	return result, nil, err
}
