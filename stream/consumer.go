package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/diagnosis"
)

// Consumer is a name that is registered with a stream for enhanced fan-out. Each has a throughput of its own in every
// shard, and one subscription to it: two readers under one name take it from each other.
type Consumer struct {
	Name   string
	ARN    string
	Active bool // it can subscribe
}

// ErrNoConsumer: the stream has no consumer of that name.
var ErrNoConsumer = errors.New("consumer is not registered")

// consumerPoll is the pause between two looks at a consumer that is being made. The service allows 20 a second.
const consumerPoll = 500 * time.Millisecond

// FindConsumer returns the consumer of a name, of the stream with the given ARN. The error is an [*Error]; it wraps
// [ErrNoConsumer] if there is none.
func (s *Stream) FindConsumer(ctx context.Context, streamARN, name string) (*Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := s.client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: &streamARN, ConsumerName: &name})
	if NotFound(err) {
		return nil, &Error{Kind: Fatal, Stream: s.name, Op: "find consumer " + name + " of", Err: fmt.Errorf("%w: run projector setup", ErrNoConsumer)}
	}
	if err != nil {
		return nil, s.wrap("find consumer "+name+" of", err)
	}
	d := out.ConsumerDescription
	if d == nil || d.ConsumerARN == nil {
		return nil, s.wrap("find consumer "+name+" of", errIncomplete)
	}
	return &Consumer{Name: name, ARN: *d.ConsumerARN, Active: d.ConsumerStatus == types.ConsumerStatusActive}, nil
}

// Register registers a consumer, unless there is one of the name, and waits until it can subscribe. It reports whether
// it did. The error is an [*Error], or the cause of ctx's end.
func (s *Stream) Register(ctx context.Context, streamARN, name string) (created bool, err error) {
	for {
		c, err := s.FindConsumer(ctx, streamARN, name)
		switch {
		case errors.Is(err, ErrNoConsumer): // as is one that is about to be gone, in a while
			made, err := s.register(ctx, streamARN, name)
			if err != nil {
				return false, err
			}
			created = created || made
		case err != nil:
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			return false, err
		case c.Active:
			return created, nil
		}
		if err := sleep(ctx, consumerPoll); err != nil {
			return false, err
		}
	}
}

// register asks for a consumer. That there is one already, which others may have made at this moment, is no error.
func (s *Stream) register(ctx context.Context, streamARN, name string) (created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = s.client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: &streamARN, ConsumerName: &name})
	if _, exists := errors.AsType[*types.ResourceInUseException](err); exists {
		return false, nil
	}
	if err != nil {
		return false, s.wrap("register consumer "+name+" of", err)
	}
	return true, nil
}

// subscribingRights finds out whether a consumer is there, and asks for the right to subscribe as it, by a dry run.
func (s *Stream) subscribingRights(ctx context.Context, streamARN, name, shard string) []diagnosis.Finding {
	const describe, subscribe = "kinesis:DescribeStreamConsumer", "kinesis:" + subscribeOperation
	if streamARN == "" { // consumers are found by it
		return []diagnosis.Finding{{System: system, Item: "consumer", Name: name, Level: diagnosis.Warn,
			Found: "could not be looked for without the stream's ARN", Do: "allow kinesis:DescribeStreamSummary and check again"}}
	}
	c, err := s.FindConsumer(ctx, streamARN, name)
	if errors.Is(err, ErrNoConsumer) {
		return []diagnosis.Finding{{System: system, Item: "consumer", Name: name, Level: diagnosis.Missing,
			Found: "is not registered with the stream", Do: "run projector setup, which registers it"}, allowed(describe)}
	}
	if err != nil {
		return []diagnosis.Finding{s.finding("consumer", name, describe, err)}
	}
	f := diagnosis.Finding{System: system, Item: "consumer", Name: name, Level: diagnosis.OK, Found: "is there: " + c.ARN}
	if !c.Active {
		f.Level, f.Found, f.Do = diagnosis.Warn, "is being made or deleted: "+c.ARN, "wait a moment and check again"
		return []diagnosis.Finding{f, allowed(describe)}
	}
	return []diagnosis.Finding{f, allowed(describe), s.subscribingRight(ctx, c, shard, subscribe)}
}

func (s *Stream) subscribingRight(ctx context.Context, c *Consumer, shard, action string) diagnosis.Finding {
	sub, err := s.subscribe(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: &c.ARN, ShardId: &shard, DryRun: aws.Bool(true),
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	})
	if sub != nil { // the server does not know of dry runs
		sub.close(errLeft)
	}
	// Whoever is refused since a fleet subscribed a moment ago may subscribe.
	if _, inUse := errors.AsType[*types.ResourceInUseException](err); !inUse && !wouldSucceed(err) {
		return s.finding("right", action, action, err)
	}
	return allowed(action)
}
