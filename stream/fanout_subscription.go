package stream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/go-json-experiment/json"
)

const (
	// subscriptionLife is how long the service answers one SubscribeToShard.
	subscriptionLife = 5 * time.Minute
	// subscriptionGuard is how long after one SubscribeToShard another for the same consumer and shard is refused.
	subscriptionGuard = 5 * time.Second
	// stalledAfter is how long a subscription may say nothing. One without records sends an event about every five
	// seconds.
	stalledAfter = 45 * time.Second
	// promptly is the same while a caller holds room for an event.
	promptly = 10 * time.Second
	// inTransit is how long an event may have been on its way, over a connection that is given up when nothing comes
	// over it for as long.
	inTransit = MaxSilence
	// waitedFor is how long reading must take to show that what came had not been there before.
	waitedFor = 5 * time.Millisecond
)

// MaxSilence is within how much time an HTTP/2 connection to Kinesis must notice that the other side does not answer:
// what a subscription says of the present is believed to be no older.
const MaxSilence = 10 * time.Second

// subscription is one call of SubscribeToShard on its way. It belongs to one goroutine, all but cancel.
type subscription struct {
	body   io.ReadCloser
	cancel context.CancelCauseFunc // ends it from any goroutine
	cause  func() error            // why it was ended; nil if it was not
	asked  time.Time
	opened time.Time // when the service granted it
	date   time.Time // of that, by the service's clock, to the second; zero if it does not say

	coming  *frame    // of the event that has begun; nil for none
	arrived time.Time // not after the event that has begun, or the last one
}

// Why a subscription is ended by us.
var (
	errNoAnswer = errors.New("no answer in time")
	errStalled  = errors.New("the subscription fell silent")
	errAway     = errors.New("events were not taken")
	errLeft     = errors.New("the subscription was closed")
	errCutShort = errors.New("the subscription ended before its time")
)

// subscribe begins a subscription, which ends with ctx. The error is the service's or the client's.
func (s *Stream) subscribe(ctx context.Context, in *kinesis.SubscribeToShardInput) (*subscription, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(callTimeout, func() { cancel(errNoAnswer) })
	sub := &subscription{cancel: cancel, cause: func() error { return context.Cause(ctx) }, asked: time.Now()}
	out, err := s.client.SubscribeToShard(ctx, in, func(o *kinesis.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			_, err := stack.Deserialize.Swap("OperationEventStreamDeserializer", takeBody{&sub.body})
			return err
		})
	})
	sub.opened = time.Now()
	sub.arrived = sub.opened
	if !timer.Stop() && err == nil {
		err = errNoAnswer
	}
	if err != nil {
		err = cmp.Or(sub.cause(), err)
		sub.close(errLeft)
		return nil, err
	}
	sub.date, _ = awsmiddleware.GetServerTime(out.ResultMetadata)
	return sub, nil
}

// takeBody stands in the place of the SDK's own reader of event streams, and leaves the body to us.
type takeBody struct{ body *io.ReadCloser }

// ID implements middleware.DeserializeMiddleware.
func (takeBody) ID() string { return "PenstockSubscription" }

// HandleDeserialize implements middleware.DeserializeMiddleware.
func (t takeBody) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
	out middleware.DeserializeOutput, metadata middleware.Metadata, err error) {
	out, metadata, err = next.HandleDeserialize(ctx, in)
	if response, ok := out.RawResponse.(*smithyhttp.Response); ok && response.Body != nil {
		*t.body = response.Body
	}
	if out.Result == nil {
		out.Result = &kinesis.SubscribeToShardOutput{}
	}
	return out, metadata, err
}

// letGo ends the subscription, from any goroutine, since nobody asks for what it brings. It reports whether that is why
// it ended.
func (s *subscription) letGo() bool {
	s.cancel(errAway)
	return errors.Is(s.cause(), errAway)
}

// close ends the subscription, if it has not ended already.
func (s *subscription) close(cause error) {
	s.cancel(cause)
	if s.body != nil {
		s.body.Close() // nothing more is wanted of it
	}
}

// await waits until an event begins, and gives the subscription up when none does within limit. At the end of the subscription it returns io.EOF if that was in order; otherwise
// what the service said, or why it was ended.
func (s *subscription) await(limit time.Duration) error {
	if s.coming != nil {
		return nil
	}
	timer := time.AfterFunc(limit, func() { s.cancel(errStalled) })
	defer timer.Stop()
	for {
		asked := time.Now()
		f, err := nextFrame(s.body)
		if err != nil {
			return cmp.Or(s.cause(), err)
		}
		if now := time.Now(); now.Sub(asked) >= waitedFor {
			s.arrived = now
		}
		if f.headers[":message-type"] == "event" && f.headers[":event-type"] == "SubscribeToShardEvent" {
			s.coming = &f
			return nil
		}
		if err := s.other(f); err != nil {
			return cmp.Or(s.cause(), err)
		}
	}
}

// other reads a frame that is no event with records: the answer's first, or one that holds an error.
func (s *subscription) other(f frame) error {
	buf := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buf)
	if err := f.read(s.body, buf); err != nil {
		return err
	}
	switch f.headers[":message-type"] {
	case "exception":
		var said struct{ Message string }
		// What it is stands in the header; what it says may be missing.
		_ = json.Unmarshal(buf.Bytes(), &said, json.MatchCaseInsensitiveNames(true))
		return exception(f.headers[":exception-type"], said.Message)
	case "error":
		return exception(f.headers[":error-code"], f.headers[":error-message"])
	}
	return nil
}

const subscribeOperation = "SubscribeToShard"

// exception is an error that came as an event, as the client would have it of an answer.
func exception(code, message string) error {
	var err error = &smithy.GenericAPIError{Code: cmp.Or(code, "UnknownError"), Message: message}
	switch code {
	case "ResourceInUseException":
		err = &types.ResourceInUseException{Message: &message}
	case "ResourceNotFoundException":
		err = &types.ResourceNotFoundException{Message: &message}
	}
	return &smithy.OperationError{ServiceID: kinesis.ServiceID, OperationName: subscribeOperation, Err: err}
}

// read returns the event that has begun, and how many bytes it has as the quota counts them.
func (s *subscription) read() (*reply, error) {
	timer := time.AfterFunc(callTimeout, func() { s.cancel(errStalled) })
	defer timer.Stop()
	buf := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buf)
	f := s.coming
	s.coming = nil
	if err := f.read(s.body, buf); err != nil {
		return nil, cmp.Or(s.cause(), err)
	}
	event := &reply{}
	if err := event.decode(buf); err != nil {
		return nil, fmt.Errorf("decode an event: %w", err)
	}
	return event, event.check()
}

// at returns a moment by the service's clock that is not after the last event was sent; zero if the service did not
// tell the time. Nothing in an event says when it was sent. It was after the subscription was asked for, and not much
// before it arrived; one that was there already when it was looked for may have arrived any time since one that was not.
func (s *subscription) at() time.Time {
	if s.date.IsZero() {
		return time.Time{}
	}
	granted := s.date.Add(-s.opened.Sub(s.asked))
	if sent := s.date.Add(s.arrived.Sub(s.opened) - inTransit); sent.After(granted) {
		return sent
	}
	return granted
}

// startingAfter is the position behind a sequence number.
func startingAfter(number string) *types.StartingPosition {
	return &types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: aws.String(number)}
}
