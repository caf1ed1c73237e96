package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"penstock/diagnosis"
)

// outlasts is the retention below which an outage over a weekend loses events.
const outlasts = 72 * time.Hour

// Diagnose finds out whether the stream is there and whether the configured identity may read it. Reading rights are
// asked for by DryRun, a parameter that makes Kinesis answer whether a call would be allowed in place of carrying it
// out. It returns what it was told of the stream too, as far as it was: the zero Description, and nil for the shards.
func (s *Stream) Diagnose(ctx context.Context) ([]diagnosis.Finding, Description, []Shard) {
	return s.diagnose(ctx, func(_ Description, shard string) []diagnosis.Finding { return s.readingRights(ctx, shard) })
}

// DiagnoseFanOut is Diagnose for a reader that subscribes as the consumer of a name: it finds out whether that is there,
// and whether the identity may subscribe.
func (s *Stream) DiagnoseFanOut(ctx context.Context, consumer string) ([]diagnosis.Finding, Description, []Shard) {
	return s.diagnose(ctx, func(d Description, shard string) []diagnosis.Finding {
		return s.subscribingRights(ctx, d.ARN, consumer, shard)
	})
}

func (s *Stream) diagnose(ctx context.Context, rights func(d Description, shard string) []diagnosis.Finding) ([]diagnosis.Finding, Description, []Shard) {
	const describe = "kinesis:DescribeStreamSummary"
	var findings []diagnosis.Finding
	description, err := s.Describe(ctx)
	if err != nil {
		failed := s.finding("stream", s.name, describe, err)
		if failed.Level != diagnosis.Denied {
			return []diagnosis.Finding{failed}, description, nil
		}
		findings = append(findings, failed)
	} else {
		findings = append(findings,
			diagnosis.Finding{System: system, Item: "stream", Name: s.name, Level: diagnosis.OK, Found: "is there: " + description.ARN},
			retention(s.name, description.Retention),
			allowed(describe))
	}
	shards, err := s.Shards(ctx)
	if err != nil {
		return append(findings, s.finding("right", "kinesis:ListShards", "kinesis:ListShards", err)), description, nil
	}
	findings = append(findings, allowed("kinesis:ListShards"))
	if len(shards) == 0 {
		return findings, description, shards
	}
	return append(findings, rights(description, shards[0].ID)...), description, shards
}

const system = "kinesis"

func retention(stream string, kept time.Duration) diagnosis.Finding {
	f := diagnosis.Finding{System: system, Item: "retention", Name: stream, Level: diagnosis.OK,
		Found: fmt.Sprintf("keeps records for %d h", int(kept.Hours()))}
	if kept < outlasts {
		f.Level = diagnosis.Warn
		f.Do = fmt.Sprintf("raise the stream's retention to %d h or more: an outage longer than the retention loses events", int(outlasts.Hours()))
	}
	return f
}

// readingRights asks for what a reader does, in its order, since one call takes what the one before returns.
func (s *Stream) readingRights(ctx context.Context, shard string) []diagnosis.Finding {
	const seek, read = "kinesis:GetShardIterator", "kinesis:GetRecords"
	in := &kinesis.GetShardIteratorInput{
		StreamName: &s.name, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon, DryRun: aws.Bool(true),
	}
	if _, err := s.client.GetShardIterator(ctx, in); !wouldSucceed(err) {
		return []diagnosis.Finding{s.finding("right", seek, seek, err), {System: system, Item: "right", Name: read,
			Level: diagnosis.Warn, Found: "could not be asked for without an iterator", Do: "allow " + seek + " and check again"}}
	}
	in.DryRun = nil
	iterator, err := s.client.GetShardIterator(ctx, in)
	if err != nil {
		return []diagnosis.Finding{s.finding("right", seek, seek, err)}
	}
	findings := []diagnosis.Finding{allowed(seek)}
	_, err = s.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator.ShardIterator, Limit: aws.Int32(1), DryRun: aws.Bool(true)})
	if !wouldSucceed(err) {
		return append(findings, s.finding("right", read, read, err))
	}
	return append(findings, allowed(read))
}

// wouldSucceed reads the answer to a dry run. A server that does not know of dry runs carries the call out, which does
// no harm for those made here.
func wouldSucceed(err error) bool {
	if err == nil {
		return true
	}
	_, ok := errors.AsType[*types.DryRunOperationException](err)
	return ok
}

func allowed(action string) diagnosis.Finding {
	return diagnosis.Finding{System: system, Item: "right", Name: action, Level: diagnosis.OK, Found: "is allowed"}
}

// The answers to an identity that is not allowed, and to one that is not known
// (https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html).
var (
	deniedCodes  = []string{"AccessDeniedException", "NotAuthorized", "OptInRequired", "KMSAccessDeniedException"}
	unknownCodes = []string{"UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignature",
		"MissingAuthenticationTokenException", "InvalidClientTokenId", "ExpiredTokenException"}
)

// finding turns the error of an action into what it says about the thing that was looked at.
func (s *Stream) finding(item, name, action string, err error) diagnosis.Finding {
	f := diagnosis.Finding{System: system, Item: item, Name: name, Level: diagnosis.Unreachable, Found: err.Error(),
		Do: "see whether Kinesis answers at its endpoint from here (AWS_ENDPOINT_URL_KINESIS, AWS_REGION), and check again"}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return f
	}
	code := api.ErrorCode()
	switch {
	case code == "ResourceNotFoundException":
		f.Level, f.Found = diagnosis.Missing, "does not exist in this account and region"
	case slices.Contains(deniedCodes, code):
		f.Level, f.Found = diagnosis.Denied, fmt.Sprintf("%s is not allowed: %s", action, api.ErrorMessage())
	case slices.Contains(unknownCodes, code):
		f.Level, f.Found = diagnosis.Denied, fmt.Sprintf("the identity is not accepted: %s: %s", code, api.ErrorMessage())
	case classify(err) == Fatal: // it does answer, and would answer the same again
		f.Level, f.Found = diagnosis.Different, fmt.Sprintf("%s is refused: %s: %s", action, code, api.ErrorMessage())
	default:
		return f
	}
	f.Do = advice(code, action, s.name)
	return f
}

// advice says what an operator does about e, and nothing if it passes by itself.
func (e *Error) advice() string {
	api, ok := errors.AsType[smithy.APIError](e.Err)
	if e.Kind != Fatal || !ok {
		return ""
	}
	action := "the call"
	if op, ok := errors.AsType[*smithy.OperationError](e.Err); ok {
		action = "kinesis:" + op.OperationName
	}
	return advice(api.ErrorCode(), action, e.Stream)
}

func advice(code, action, stream string) string {
	switch {
	case code == "ResourceNotFoundException" && action == "kinesis:"+subscribeOperation:
		return "run projector check: the consumer is no longer registered with the stream, or the shard is gone"
	case code == "ResourceNotFoundException":
		return "create it, or correct kinesis.stream or AWS_REGION: Penstock creates no streams"
	case code == "KMSAccessDeniedException":
		return fmt.Sprintf("allow kms:Decrypt on the key of stream %s to this identity", stream)
	case strings.HasPrefix(code, "KMS"): // not there, disabled, about to be deleted, not subscribed to
		return fmt.Sprintf("make the KMS key of stream %s usable again: its records cannot be read without it", stream)
	case slices.Contains(unknownCodes, code):
		return "correct the credentials of AWS, or this machine's clock"
	case slices.Contains(deniedCodes, code):
		return fmt.Sprintf("allow %s on stream %s to this identity", action, stream)
	case code == "UnknownOperationException":
		return "see whether it is Kinesis that answers at AWS_ENDPOINT_URL_KINESIS"
	}
	return "run projector check: the lease table may hold positions of another stream, or of an earlier one of this name"
}
