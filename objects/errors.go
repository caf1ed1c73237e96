package objects

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Class says what to do about an error.
type Class uint8

// The closed set of classes.
const (
	Unknown   Class = iota // nobody has classified it
	Transient              // repeat: no answer, or a fault of the service; the request may have been carried out
	Overload               // repeat, and more slowly
	Fatal                  // repeating does not help until somebody changes bucket, key or rights
)

func (c Class) String() string {
	switch c {
	case Unknown:
		return "unknown"
	case Transient:
		return "transient"
	case Overload:
		return "overload"
	case Fatal:
		return "fatal"
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// Error is a failed request, classified.
type Error struct {
	Op       string // "put", "get", "list" or "check"
	Location string // what it was about, such as "s3://bucket/prefix/key"
	Class    Class
	Code     string // S3's own code, empty if it did not answer
	Err      error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: %s: %v", e.Op, e.Location, e.Class, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// ExistsError says that an object was not written because its key is taken.
type ExistsError struct {
	Location string
	Err      error
}

func (e *ExistsError) Error() string { return fmt.Sprintf("put %s: exists already", e.Location) }

func (e *ExistsError) Unwrap() error { return e.Err }

// NotFoundError says that there is no object under a key.
type NotFoundError struct {
	Location string
	Err      error
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("get %s: not found", e.Location) }

func (e *NotFoundError) Unwrap() error { return e.Err }

// ClassOf returns the class of an error of this package, and [Unknown] for any other.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Unknown
}

// bodyError is an answer that broke off in the middle, or whose bytes did not match their checksum.
type bodyError struct{ error }

func (e *bodyError) Unwrap() error { return e.error }

func (s *Store) failed(op, key string, err error) error {
	code, status := answer(err)
	location := s.Location(key)
	switch {
	case op == "put" && status == http.StatusPreconditionFailed:
		return &ExistsError{Location: location, Err: err}
	case op == "get" && code == "NoSuchKey":
		return &NotFoundError{Location: location, Err: err}
	}
	return &Error{Op: op, Location: location, Class: classify(code, status, err), Code: code, Err: s.blameKey(op, code, status, err)}
}

// blameKey says that a key of AWS KMS may be what a request was refused for. S3's code for a key that the identity may not
// use is that of any other missing right.
func (s *Store) blameKey(op, code string, status int, err error) error {
	action, used := map[string]string{"put": generateKey, "get": decrypt}[op]
	if s.kmsKey == "" || !used || status != http.StatusForbidden && !strings.HasPrefix(code, kmsCodes) {
		return err
	}
	return fmt.Errorf("with dead_letters.kms_key this takes %s on %s, too: %w", action, s.kmsKey, err)
}

// Rights that S3 needs of its caller for objects that are encrypted with a key of AWS KMS
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html), and how its codes for such keys begin.
const (
	generateKey = "kms:GenerateDataKey"
	decrypt     = "kms:Decrypt"
	kmsCodes    = "KMS."
)

// answer returns what S3 said: its code and the HTTP status, both zero if there was no answer.
func answer(err error) (code string, status int) {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code = api.ErrorCode()
	}
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = response.HTTPStatusCode()
	}
	return code, status
}

// classes are S3's codes that say more than their HTTP status
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
var classes = map[string]Class{
	"SlowDown":                     Overload,
	"ServiceUnavailable":           Overload,
	"ThrottlingException":          Overload,
	"KMS.ThrottlingException":      Overload,
	"RequestLimitExceeded":         Overload,
	"BandwidthLimitExceeded":       Overload,
	"RequestTimeout":               Transient, // a 400: the body did not arrive in time
	"IncompleteBody":               Transient,
	"BadDigest":                    Transient, // damaged on the way
	"XAmzContentSHA256Mismatch":    Transient, // the same, found by the signature
	"XAmzContentChecksumMismatch":  Transient, // the same, found by the checksum
	"ConditionalRequestConflict":   Transient, // a 409: another writer of the key is at work
	"OperationAborted":             Transient,
	"NoSuchBucket":                 Fatal,
	"InvalidBucketName":            Fatal,
	"PermanentRedirect":            Fatal, // another region's bucket
	"MovedPermanently":             Fatal, // the same, to a HEAD request
	"AuthorizationHeaderMalformed": Fatal, // the same, by the signature's region
	"ExpiredToken":                 Fatal,
	"InvalidToken":                 Fatal,
	"RequestTimeTooSkewed":         Fatal, // this machine's clock is off
}

func classify(code string, status int, err error) Class {
	if class, ok := classes[code]; ok {
		return class
	}
	if strings.HasPrefix(code, kmsCodes) { // a key that is disabled, deleted, or not for this
		return Fatal
	}
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return Overload
	case status >= 500, status == http.StatusRequestTimeout:
		return Transient
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusMovedPermanently:
		return Fatal
	case status == http.StatusNotFound: // of the bucket: a missing key never gets here
		return Fatal
	case status != 0:
		return Unknown
	}
	if _, ok := errors.AsType[*bodyError](err); ok {
		return Transient
	}
	if _, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return Transient
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return Transient
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Transient
	}
	return Unknown // such as credentials that cannot be had: the SDK has no type for it
}
