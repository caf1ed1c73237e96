package leasetable

import (
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"penstock/checkpoint"
)

// Error is a failed call of DynamoDB. It wraps the client's error and, where the failure is one of those that package
// checkpoint names, that too: ErrThrottled, ErrTableMissing or ErrDenied. Any other failure is transient.
type Error struct {
	Op    string // the operation in the words of the service, such as UpdateItem
	Table string
	kind  error // nil if transient
	cause error
}

func (e *Error) Error() string {
	switch e.kind {
	case checkpoint.ErrTableMissing:
		return fmt.Sprintf("%s: DynamoDB table %q does not exist in this account and region: "+
			"run \"projector setup\" or correct the application's name: %v", e.Op, e.Table, e.cause)
	case checkpoint.ErrDenied:
		return fmt.Sprintf("%s: the AWS credentials do not allow this on DynamoDB table %q: %v", e.Op, e.Table, e.cause)
	}
	return fmt.Sprintf("%s on DynamoDB table %q: %v", e.Op, e.Table, e.cause)
}

// Unwrap returns the kind of failure, if it has one, and the cause.
func (e *Error) Unwrap() []error {
	if e.kind == nil {
		return []error{e.cause}
	}
	return []error{e.kind, e.cause}
}

// Codes by which the service names failures; the typed errors of the client cover a part of them only.
var (
	throttledCodes = []string{"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded",
		"LimitExceededException", "TooManyRequestsException"}
	deniedCodes = []string{"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException",
		"MissingAuthenticationTokenException", "MissingAuthenticationToken", "IncompleteSignatureException",
		"ExpiredTokenException", "InvalidClientTokenId", "OptInRequired", "SubscriptionRequiredException"}
)

// failure classifies an error of the client, once for the whole program.
func failure(op, table string, err error) error {
	e := &Error{Op: op, Table: table, cause: err}
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case is[*types.ResourceNotFoundException](err):
		e.kind = checkpoint.ErrTableMissing
	case ok && slices.Contains(throttledCodes, api.ErrorCode()):
		e.kind = checkpoint.ErrThrottled
	case ok && slices.Contains(deniedCodes, api.ErrorCode()):
		e.kind = checkpoint.ErrDenied
	}
	return e
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
