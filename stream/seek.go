package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/checkpoint"
)

// Place is a place between two records of a shard, as an operator looks for it.
type Place struct {
	After   checkpoint.Sequence // the record before it, or the shard's starting sequence number if there is none
	Arrival time.Time           // of that record; zero if there is none, or if the stream no longer has it
	Part    bool                // that record is an aggregate of several
}

// ErrNotOfShard: a sequence number is not one of the shard that it was looked for in.
var ErrNotOfShard = errors.New("not a sequence number of this shard")

const (
	// firstStep is how far before the time that is looked for the search begins. Each step back is twice the one before,
	// so that a quiet year takes some thirty calls, and a busy second no more than what arrived in two.
	firstStep = time.Second
	// glances is how many empty replies are borne when one record is looked at, which is there or is not.
	glances = 20
)

// PlaceOf returns the place after a record. The error wraps [ErrNotOfShard] if the service does not know the sequence
// number in this shard; any other is an [*Error], or the end of ctx.
func (s *Stream) PlaceOf(ctx context.Context, shard Shard, sequence checkpoint.Sequence) (Place, error) {
	if sequence == shard.Start {
		return Place{After: sequence}, nil
	}
	iterator := func(kind types.ShardIteratorType) (*string, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		out, err := s.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &s.name, ShardId: &shard.ID,
			ShardIteratorType: kind, StartingSequenceNumber: aws.String(string(sequence))})
		if _, ok := errors.AsType[*types.InvalidArgumentException](err); ok {
			return nil, fmt.Errorf("%w: %s of %s: %w", ErrNotOfShard, sequence, shard.ID, err)
		}
		if err != nil {
			return nil, s.wrap("get an iterator of "+shard.ID+" in", err)
		}
		return out.ShardIterator, nil
	}
	if _, err := iterator(types.ShardIteratorTypeAfterSequenceNumber); err != nil {
		return Place{}, err
	}
	at, err := iterator(types.ShardIteratorTypeAtSequenceNumber)
	if err != nil {
		return Place{}, err
	}
	r := s.Reader(shard, "", Start{})
	r.iterator = at
	place := Place{After: sequence}
	err = r.scan(ctx, 1, glances, func(record Record) bool {
		if record.Sequence == sequence {
			place.Arrival, place.Part = record.Arrival, record.More
		}
		return false
	})
	return place, err
}

// PlaceBefore returns the place after the last record that arrived before a time. That is the shard's beginning if no such
// record is left. The time must not lie in the future. Errors are as of [Stream.PlaceOf].
func (s *Stream) PlaceBefore(ctx context.Context, shard Shard, t time.Time) (Place, error) {
	return s.lastOf(ctx, shard, t, func(r Record) bool { return r.Arrival.Before(t) })
}

// PlacePreceding returns the place before a record, whose own position may be part of an aggregate: after the record
// before it. Errors are as of [Stream.PlaceOf].
func (s *Stream) PlacePreceding(ctx context.Context, shard Shard, sequence checkpoint.Sequence) (Place, error) {
	at, err := s.PlaceOf(ctx, shard, sequence)
	if err != nil {
		return Place{}, err
	}
	if at.Arrival.IsZero() { // the stream no longer has it, nor what came before
		return Place{After: shard.Start}, nil
	}
	return s.lastOf(ctx, shard, at.Arrival, func(r Record) bool { return r.Sequence.Compare(sequence) < 0 })
}

// lastOf returns the place after the last record of which holds is true: it is true of all records up to some that
// arrived about t, and false of those that follow.
func (s *Stream) lastOf(ctx context.Context, shard Shard, t time.Time, holds func(Record) bool) (Place, error) {
	d, err := s.Describe(ctx)
	if err != nil {
		return Place{}, err
	}
	for step := firstStep; ; step *= 2 {
		start := Start{At: t.Add(-step)}
		all := step > d.Retention
		if all {
			start = Start{}
		}
		place := Place{After: shard.Start}
		err := s.Reader(shard, "", start).scan(ctx, MaxReplyRecords, 0, func(r Record) bool {
			if !holds(r) {
				return false
			}
			place = Place{After: r.Sequence, Arrival: r.Arrival, Part: place.Part && place.After == r.Sequence || r.More}
			return true
		})
		if err != nil || all || place.After != shard.Start {
			return place, err
		}
	}
}

// scan reads records until take returns false, the shard's end, or a reply says that there is nothing more; or until empty
// replies came in a row, unless that is 0.
func (r *Reader) scan(ctx context.Context, limit, empty int, take func(Record) bool) error {
	for silent := 0; ; {
		if err := r.Ready(ctx); err != nil {
			return err
		}
		batch, err := r.Next(ctx, limit)
		if err != nil {
			return err
		}
		for _, record := range batch.Records {
			if !take(record) {
				return nil
			}
		}
		if batch.Failed != nil {
			continue
		}
		if batch.End || batch.Known && batch.Behind == 0 {
			return nil
		}
		if len(batch.Records) > 0 {
			silent = 0
			continue
		}
		if silent++; silent == empty {
			return nil
		}
	}
}
