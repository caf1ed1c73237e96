package cassandra

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/sink"
	"penstock/sink/adaptive"
)

// classify decides, once and for all, what an error of the driver means. All writes are idempotent with fixed stamps,
// so everything whose outcome is open is repeated.
func classify(err error) sink.Disposition {
	if classified, ok := errors.AsType[*sink.Error](err); ok {
		return classified.Disposition
	}
	if failed, ok := errors.AsType[*gocql.RequestErrWriteFailure](err); ok {
		return classifyFailure(failed.ErrorMap)
	}
	// The driver returns most server errors by pointer and a bare errorFrame, which is not exported, for the rest:
	// the code is what they share.
	if server, ok := errors.AsType[gocql.RequestError](err); ok {
		if isUndecided(server) {
			return sink.Overload // like any read with too few replicas
		}
		return classifyCode(server.Code())
	}
	switch {
	case errors.Is(err, gocql.ErrTimeoutNoResponse),
		errors.Is(err, gocql.ErrNoStreams),
		errors.Is(err, context.DeadlineExceeded):
		return sink.Overload
	case errors.Is(err, gocql.ErrConnectionClosed),
		errors.Is(err, gocql.ErrNoConnections),
		errors.Is(err, gocql.ErrNoConnectionsStarted),
		errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed):
		return sink.Transient
	case errors.Is(err, gocql.ErrSessionClosed):
		return sink.Fatal
	}
	if _, ok := errors.AsType[gocql.MarshalError](err); ok {
		return sink.Poison
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return sink.Transient
	}
	return sink.Unknown
}

// failureUnknown is what a replica gives as its reason when it threw something nobody has a code for
// (org.apache.cassandra.exceptions.RequestFailureReason 5.0). All others pass: a time-out, a node that is down, a schema that
// is not agreed upon yet.
const failureUnknown = 0

// classifyFailure decides by the reasons of the replicas that failed. Before protocol version 5 there are none.
func classifyFailure(reasons gocql.ErrorMap) sink.Disposition {
	for _, reason := range reasons {
		if reason == failureUnknown {
			return sink.Unknown
		}
	}
	if len(reasons) == 0 {
		return sink.Unknown
	}
	return sink.Transient
}

// outcomeOf says what an attempt's error tells of its host's load. It looks at the same errors as classify does.
func outcomeOf(err error) adaptive.Outcome {
	if err == nil {
		return adaptive.Success
	}
	if server, ok := errors.AsType[gocql.RequestError](err); ok {
		switch server.Code() {
		case gocql.ErrCodeUnavailable:
			return adaptive.Unavailable
		case gocql.ErrCodeOverloaded:
			return adaptive.Overloaded
		case gocql.ErrCodeBootstrapping: // not ready to coordinate: none of its answers will be another
			return adaptive.Lost
		}
	}
	switch {
	case errors.Is(err, gocql.ErrNoStreams):
		return adaptive.Overloaded
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, gocql.ErrTimeoutNoResponse):
		return adaptive.Failed
	}
	switch classify(err) {
	case sink.Poison, sink.Fatal:
		return adaptive.Ignored
	case sink.Overload, sink.Unknown:
		return adaptive.Failed
	case sink.Transient:
		if _, answered := errors.AsType[gocql.RequestError](err); answered {
			return adaptive.Failed
		}
	}
	return adaptive.Lost
}

// classifyCode follows the native protocol's error codes.
func classifyCode(code int) sink.Disposition {
	switch code {
	case gocql.ErrCodeUnavailable, // fewer live replicas than the level asks for, known before anything was sent
		gocql.ErrCodeOverloaded,
		gocql.ErrCodeWriteTimeout, // unknown whether it was applied; a hint may still apply it
		gocql.ErrCodeReadTimeout,
		gocql.ErrCodeCASWriteUnknown:
		return sink.Overload
	case gocql.ErrCodeBootstrapping,
		gocql.ErrCodeReadFailure,
		gocql.ErrCodeCDCWriteFailure,
		gocql.ErrCodeTruncate,
		gocql.ErrCodeUnprepared: // the driver prepares again; a storm of evictions may still let it through
		return sink.Transient
	case gocql.ErrCodeInvalid: // also a table that is gone: the writer looks at the schema before it believes this
		return sink.Poison
	case gocql.ErrCodeSyntax,
		gocql.ErrCodeUnauthorized,
		gocql.ErrCodeCredentials,
		gocql.ErrCodeConfig,
		gocql.ErrCodeAlreadyExists,
		gocql.ErrCodeProtocol,
		gocql.ErrCodeFunctionFailure:
		return sink.Fatal
	}
	return sink.Unknown // ErrCodeServer among them: anything the server did not handle
}
