package cassandra

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/sink"
	"penstock/sink/adaptive"
)

// answer is an error of the server, as the driver shows it.
type answer int

func (a answer) Code() int       { return int(a) }
func (a answer) Message() string { return "says no" }
func (a answer) Error() string   { return fmt.Sprintf("code %#x", int(a)) }

func TestEveryErrorHasItsDisposition(t *testing.T) {
	for _, test := range []struct {
		err  error
		want sink.Disposition
	}{
		{answer(gocql.ErrCodeServer), sink.Unknown},
		{answer(gocql.ErrCodeProtocol), sink.Fatal},
		{answer(gocql.ErrCodeCredentials), sink.Fatal},
		{answer(gocql.ErrCodeUnavailable), sink.Overload},
		{answer(gocql.ErrCodeOverloaded), sink.Overload},
		{answer(gocql.ErrCodeBootstrapping), sink.Transient},
		{answer(gocql.ErrCodeTruncate), sink.Transient},
		{answer(gocql.ErrCodeWriteTimeout), sink.Overload},
		{answer(gocql.ErrCodeReadTimeout), sink.Overload},
		{answer(gocql.ErrCodeReadFailure), sink.Transient},
		{answer(gocql.ErrCodeFunctionFailure), sink.Fatal},
		{answer(gocql.ErrCodeWriteFailure), sink.Unknown},
		{&gocql.RequestErrWriteFailure{}, sink.Unknown},
		{&gocql.RequestErrWriteFailure{ErrorMap: gocql.ErrorMap{"a": 2}}, sink.Transient},         // a time-out
		{&gocql.RequestErrWriteFailure{ErrorMap: gocql.ErrorMap{"a": 3, "b": 5}}, sink.Transient}, // another schema; down
		{&gocql.RequestErrWriteFailure{ErrorMap: gocql.ErrorMap{"a": 5, "b": 0}}, sink.Unknown},
		{answer(gocql.ErrCodeCDCWriteFailure), sink.Transient},
		{answer(gocql.ErrCodeCASWriteUnknown), sink.Overload},
		{answer(gocql.ErrCodeSyntax), sink.Fatal},
		{answer(gocql.ErrCodeUnauthorized), sink.Fatal},
		{answer(gocql.ErrCodeInvalid), sink.Poison},
		{answer(gocql.ErrCodeConfig), sink.Fatal},
		{answer(gocql.ErrCodeAlreadyExists), sink.Fatal},
		{answer(gocql.ErrCodeUnprepared), sink.Transient},
		{answer(0x7777), sink.Unknown},
		{&gocql.RequestErrWriteTimeout{}, sink.Unknown}, // without its frame it has no code; with one, the code decides
		{gocql.ErrTimeoutNoResponse, sink.Overload},
		{gocql.ErrNoStreams, sink.Overload},
		{context.DeadlineExceeded, sink.Overload},
		{gocql.ErrConnectionClosed, sink.Transient},
		{gocql.ErrNoConnections, sink.Transient},
		{gocql.ErrNoConnectionsStarted, sink.Transient},
		{io.EOF, sink.Transient},
		{io.ErrUnexpectedEOF, sink.Transient},
		{net.ErrClosed, sink.Transient},
		{&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, sink.Transient},
		{gocql.ErrSessionClosed, sink.Fatal},
		{gocql.MarshalError("cannot"), sink.Poison},
		{&sink.Error{Disposition: sink.Fatal, Err: errors.New("decided before")}, sink.Fatal},
		{errors.New("anything else"), sink.Unknown},
	} {
		if got := classify(test.err); got != test.want {
			t.Errorf("%v: %s, want %s", test.err, got, test.want)
		}
		if got := classify(fmt.Errorf("wrapped: %w", test.err)); got != test.want {
			t.Errorf("wrapped %v: %s, want %s", test.err, got, test.want)
		}
	}
}

// What an error says of its host's load decides how much the host is sent next, and is another question than what
// becomes of the write.
func TestEveryErrorHasItsOutcome(t *testing.T) {
	for _, test := range []struct {
		err  error
		want adaptive.Outcome
	}{
		{nil, adaptive.Success},
		{answer(gocql.ErrCodeUnavailable), adaptive.Unavailable},
		{answer(gocql.ErrCodeOverloaded), adaptive.Overloaded},
		{gocql.ErrNoStreams, adaptive.Overloaded},
		{answer(gocql.ErrCodeBootstrapping), adaptive.Lost},
		{gocql.ErrNoConnections, adaptive.Lost},
		{gocql.ErrConnectionClosed, adaptive.Lost},
		{io.EOF, adaptive.Lost},
		{&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, adaptive.Lost},
		{gocql.ErrTimeoutNoResponse, adaptive.Failed},
		{context.DeadlineExceeded, adaptive.Failed},
		{answer(gocql.ErrCodeWriteTimeout), adaptive.Failed},
		{answer(gocql.ErrCodeCASWriteUnknown), adaptive.Failed},
		{answer(gocql.ErrCodeCDCWriteFailure), adaptive.Failed},
		{&gocql.RequestErrWriteFailure{ErrorMap: gocql.ErrorMap{"a": 2}}, adaptive.Failed},
		{answer(gocql.ErrCodeServer), adaptive.Failed},
		{errors.New("anything else"), adaptive.Failed},
		{answer(gocql.ErrCodeUnprepared), adaptive.Failed},
		{answer(gocql.ErrCodeInvalid), adaptive.Ignored},
		{answer(gocql.ErrCodeSyntax), adaptive.Ignored},
		{answer(gocql.ErrCodeUnauthorized), adaptive.Ignored},
		{gocql.MarshalError("cannot"), adaptive.Ignored},
	} {
		if got := outcomeOf(test.err); got != test.want {
			t.Errorf("%v: %s, want %s", test.err, got, test.want)
		}
		if test.err == nil {
			continue
		}
		if got := outcomeOf(fmt.Errorf("wrapped: %w", test.err)); got != test.want {
			t.Errorf("wrapped %v: %s, want %s", test.err, got, test.want)
		}
	}
}

// Outside a write there is no record that could be at fault.
func TestNoRecordIsBlamedOutsideAWrite(t *testing.T) {
	if err := wrap("read", answer(gocql.ErrCodeInvalid)); sink.DispositionOf(err) != sink.Fatal {
		t.Errorf("%s, want fatal", sink.DispositionOf(err))
	}
	if wrap("read", nil) != nil {
		t.Error("nil is an error")
	}
}
