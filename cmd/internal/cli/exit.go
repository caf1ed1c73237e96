package cli

import (
	"errors"

	"penstock/config"
	"penstock/sink/cassandra"
)

// Exit codes. Where two apply, the smaller counts.
const (
	ExitOK           = 0
	ExitFailed       = 1
	ExitUsage        = 2
	ExitConfig       = 3
	ExitUnreachable  = 4
	ExitPartly       = 5
	ExitRefused      = 6
	ExitDifferent    = 7
	ExitDrainPartial = 8
)

// ExitError is an error that knows the exit code it asks for.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }

func (e *ExitError) Unwrap() error { return e.Err }

// Exit returns err with the exit code it asks for.
func Exit(code int, err error) error { return &ExitError{Code: code, Err: err} }

// ExitCode returns the code for an error of a command that was called rightly.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if e, ok := errors.AsType[*ExitError](err); ok {
		return e.Code
	}
	if _, ok := errors.AsType[*config.Error](err); ok {
		return ExitConfig
	}
	if _, ok := errors.AsType[*cassandra.RevisionError](err); ok {
		return ExitRefused
	}
	if e, ok := errors.AsType[*cassandra.SchemaError](err); ok && e.Owned {
		return ExitRefused
	}
	if _, ok := errors.AsType[*cassandra.UnsupportedError](err); ok {
		return ExitRefused
	}
	return ExitFailed
}

// UnreachableUnless marks an error that would pass by itself: its system does not answer.
func UnreachableUnless(fatal bool, err error) error {
	if fatal {
		return err
	}
	return Exit(ExitUnreachable, err)
}
