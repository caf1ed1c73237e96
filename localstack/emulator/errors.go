package emulator

import (
	"cmp"
	"fmt"
	"net/http"
)

// ErrorType is the name by which the service calls a kind of error, on the wire the member __type.
type ErrorType string

// The error types that the emulator sends by itself or that tests commonly ask [Server.Intercept] for.
const (
	AccessDenied       ErrorType = "AccessDeniedException"
	DryRunOperation    ErrorType = "DryRunOperationException"
	ExpiredIterator    ErrorType = "ExpiredIteratorException"
	ExpiredNextToken   ErrorType = "ExpiredNextTokenException"
	InternalFailure    ErrorType = "InternalFailure"
	InvalidArgument    ErrorType = "InvalidArgumentException"
	LimitExceeded      ErrorType = "LimitExceededException"
	RequestTooLarge    ErrorType = "RequestEntityTooLargeException"
	ResourceInUse      ErrorType = "ResourceInUseException"
	ResourceNotFound   ErrorType = "ResourceNotFoundException"
	Serialization      ErrorType = "SerializationException"
	ServiceUnavailable ErrorType = "ServiceUnavailable"
	ThroughputExceeded ErrorType = "ProvisionedThroughputExceededException"
	UnknownOperation   ErrorType = "UnknownOperationException"
	ValidationFailed   ErrorType = "ValidationException"
)

// APIError is an error as the service sends it.
type APIError struct {
	// Type is sent as __type and in the x-amzn-errortype header.
	Type ErrorType

	// Message is the text for people.
	Message string

	// Status is the HTTP status. 0 stands for the one the service uses with Type: 400, for [InternalFailure] 500, for
	// [ServiceUnavailable] 503, for [RequestTooLarge] 413.
	Status int
}

// Error returns type and message.
func (e *APIError) Error() string { return string(e.Type) + ": " + e.Message }

func (e *APIError) status() int {
	switch e.Type {
	case InternalFailure:
		return cmp.Or(e.Status, http.StatusInternalServerError)
	case ServiceUnavailable:
		return cmp.Or(e.Status, http.StatusServiceUnavailable)
	case RequestTooLarge:
		return cmp.Or(e.Status, http.StatusRequestEntityTooLarge)
	default:
		return cmp.Or(e.Status, http.StatusBadRequest)
	}
}

func apiErrorf(t ErrorType, format string, args ...any) *APIError {
	return &APIError{Type: t, Message: fmt.Sprintf(format, args...)}
}
