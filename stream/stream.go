// Package stream reads Kinesis: which shards a stream has, and the records of a shard in order, within the shard's
// quotas. It is the only importer of the Kinesis client.
//
// A reader never skips. It knows the last record it handed out and goes on after that, whatever happens to iterators
// and connections; what passes by itself is waited for, so that an error from a reader is one for an operator.
package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"

	"penstock/checkpoint"
)

// callTimeout bounds one call. GetRecords may carry 10 MB.
const callTimeout = 30 * time.Second

// Stream is one Kinesis stream. It is safe for concurrent use.
type Stream struct {
	name   string
	client *kinesis.Client
	log    *zap.Logger
}

// New returns the stream of the given name, which need not exist.
func New(c aws.Config, name string, log *zap.Logger) *Stream {
	client := kinesis.NewFromConfig(c, func(o *kinesis.Options) {
		o.Retryer = aws.NopRetryer{} // repeating is ours: it knows the quotas and the iterator's age
	})
	return &Stream{name: name, client: client, log: log}
}

// Name returns the stream's name.
func (s *Stream) Name() string { return s.name }

// Description is what the service says about a stream.
type Description struct {
	ARN       string
	Created   time.Time // tells a stream from an earlier one of the same name
	Retention time.Duration
}

// Describe returns the stream's description. The error is an [*Error].
func (s *Stream) Describe(ctx context.Context) (Description, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := s.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s.name})
	if err != nil {
		return Description{}, s.wrap("describe stream", err)
	}
	d := out.StreamDescriptionSummary
	if d == nil || d.StreamCreationTimestamp == nil {
		return Description{}, s.wrap("describe stream", errIncomplete)
	}
	return Description{
		ARN:       aws.ToString(d.StreamARN),
		Created:   *d.StreamCreationTimestamp,
		Retention: time.Duration(aws.ToInt32(d.RetentionPeriodHours)) * time.Hour,
	}, nil
}

// Shard is a shard the service lists: open, or closed and still within the retention.
type Shard struct {
	ID      string
	Parents []string            // one after a split, two after a merge, whether still listed or not
	Start   checkpoint.Sequence // comes before every record of the shard
	Hashes  HashRange           // of the keys whose records it takes
}

// Shards lists the stream's shards. The error is an [*Error].
func (s *Stream) Shards(ctx context.Context) ([]Shard, error) {
	var shards []Shard
	in := &kinesis.ListShardsInput{StreamName: &s.name}
	for {
		out, err := s.listShards(ctx, in)
		if err != nil {
			return nil, s.wrap("list shards", err)
		}
		for _, d := range out.Shards {
			if d.ShardId == nil || d.SequenceNumberRange == nil {
				return nil, s.wrap("list shards", errIncomplete)
			}
			shard := Shard{ID: *d.ShardId, Start: checkpoint.Sequence(aws.ToString(d.SequenceNumberRange.StartingSequenceNumber))}
			for _, parent := range []*string{d.ParentShardId, d.AdjacentParentShardId} {
				if parent != nil {
					shard.Parents = append(shard.Parents, *parent)
				}
			}
			if h := d.HashKeyRange; h != nil {
				var err1, err2 error
				shard.Hashes.From, err1 = parseHashKey(aws.ToString(h.StartingHashKey))
				shard.Hashes.To, err2 = parseHashKey(aws.ToString(h.EndingHashKey))
				if err := errors.Join(err1, err2); err != nil {
					return nil, s.wrap("list shards", fmt.Errorf("%w: %w", errIncomplete, err))
				}
			}
			shards = append(shards, shard)
		}
		if out.NextToken == nil {
			return shards, nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

func (s *Stream) listShards(ctx context.Context, in *kinesis.ListShardsInput) (*kinesis.ListShardsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.client.ListShards(ctx, in)
}

// Kind is what an error of the service means for the caller.
type Kind uint8

const (
	Transient Kind = iota // passes by itself: repeat
	Throttled             // passes too, if fewer calls are made
	Rewind                // the iterator is no longer valid: get a new one after the last record fetched
	Fatal                 // an operator's matter: no such stream, no rights, an impossible position
)

// Error is a classified error of the service.
type Error struct {
	Kind   Kind
	Stream string
	Op     string
	Err    error
}

// Error says what was tried, what came of it, and what an operator does about it, if it does not pass by itself.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: %v", e.Op, e.Stream, e.Err)
	if do := e.advice(); do != "" {
		return text + ": " + do
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// NotFound reports whether err is the service's word that it has no such stream, or no such shard any more.
func NotFound(err error) bool {
	_, ok := errors.AsType[*types.ResourceNotFoundException](err)
	return ok
}

var errIncomplete = errors.New("the service's answer lacks required members")

func (s *Stream) wrap(op string, err error) error {
	return &Error{Kind: classify(err), Stream: s.name, Op: op, Err: err}
}

// classify decides what an error of the client means. Errors that are not the service's are of the network, which
// passes.
func classify(err error) Kind {
	if _, ok := errors.AsType[*types.ExpiredIteratorException](err); ok {
		return Rewind
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return Transient
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return Transient
	}
	switch api.ErrorCode() {
	case "ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException", "KMSThrottlingException":
		return Throttled
	case "ResourceNotFoundException", "InvalidArgumentException", "ValidationException", "ValidationError", "AccessDeniedException",
		"UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationTokenException",
		"InvalidClientTokenId", "OptInRequired", "NotAuthorized", "UnknownOperationException",
		"KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException", "KMSOptInRequired":
		return Fatal
	}
	return Transient // InternalFailure, ServiceUnavailable, an expired token that is about to be renewed, and what is not known yet
}
