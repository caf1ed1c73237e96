package projector

import (
	"context"

	"penstock/checkpoint"
	"penstock/stream"
)

// recordReader reads one shard, for its loop alone: by polling, [stream.Reader], or by subscriptions, [stream.FanOut].
type recordReader interface {
	// Ready waits until there may be something to read. The error is the cause of ctx's end.
	Ready(ctx context.Context) error
	// Next returns the next batch, which may be empty. The error is the cause of ctx's end, or one that repeating does not help.
	Next(ctx context.Context, limit int) (stream.Batch, error)
	// Close ends what is open at the service. Nothing is read afterwards.
	Close()
}

// reader returns a reader of a shard, as the projector was told to read.
func (p *Projector) reader(shard stream.Shard, after checkpoint.Sequence) recordReader {
	if p.deps.Consumer == nil {
		return p.deps.Stream.Reader(shard, after, p.config.Start)
	}
	return p.deps.Stream.FanOut(p.deps.Consumer, shard, after, p.config.Start, p.metrics)
}

// call names what readers ask the service for.
func (p *Projector) call() string {
	if p.deps.Consumer == nil {
		return "GetRecords"
	}
	return "SubscribeToShard"
}
