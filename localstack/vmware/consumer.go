package vmware

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"google.golang.org/protobuf/encoding/protowire"
)

// consume reads a shard from the lease's taking to its end, or until the worker stops or an error comes: the library
// gives the shard up for any, and takes it again at one of the next synchronisations.
func (w *Worker) consume(ctx context.Context, s *shard) {
	defer func() { _ = w.release(ctx, s) }() // which the library logs
	if !w.awaitParent(ctx, s) {
		return
	}
	iterator, err := w.iterator(ctx, s)
	if err != nil {
		return
	}
	lost := make(chan struct{})
	done := make(chan struct{})
	defer close(done)
	w.work.Go(func() { w.renew(ctx, s, done, sync.OnceFunc(func() { close(lost) })) })
	c := Checkpointer{worker: w, shard: s, ctx: ctx}
	for {
		out, err := w.config.Kinesis.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator, Limit: aws.Int32(10_000)})
		if _, throttled := errors.AsType[*types.ProvisionedThroughputExceededException](err); err != nil && !throttled {
			return
		}
		if err == nil {
			if records := deaggregate(out.Records); len(records) > 0 {
				w.config.Processor.ProcessRecords(s.id, records, c)
			}
			if iterator = out.NextShardIterator; iterator == nil {
				w.config.Processor.Shutdown(s.id, true, c)
				return
			}
		}
		wait := time.Duration(0)
		if err != nil || len(out.Records) == 0 && aws.ToInt64(out.MillisBehindLatest) < w.config.Idle.Milliseconds() {
			wait = w.config.Idle
		}
		select {
		case <-w.stopped:
			w.config.Processor.Shutdown(s.id, false, c)
			return
		case <-lost:
			return // and nobody is told
		case <-time.After(wait):
		}
	}
}

// awaitParent waits until the first parent is at its end, or has no checkpoint, which counts as deleted. The lease is not
// renewed meanwhile. Unlike the library's it ends when the worker stops, or no test could.
func (w *Worker) awaitParent(ctx context.Context, s *shard) bool {
	for s.parent != "" {
		parent := &shard{id: s.parent}
		known, err := w.fetchCheckpoint(ctx, parent)
		if err != nil {
			return false
		}
		if !known || parent.at() == shardEnd {
			return true
		}
		select {
		case <-w.stopped:
			return false
		case <-time.After(w.config.ParentPoll):
		}
	}
	return true
}

// iterator begins after the checkpoint, and without one at the configured position, whatever shard it is.
func (w *Worker) iterator(ctx context.Context, s *shard) (*string, error) {
	if _, err := w.fetchCheckpoint(ctx, s); err != nil {
		return nil, err
	}
	in := &kinesis.GetShardIteratorInput{StreamName: &w.config.Stream, ShardId: &s.id, ShardIteratorType: w.config.Start}
	if at := s.at(); at != "" {
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &at
	}
	out, err := w.config.Kinesis.GetShardIterator(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.ShardIterator, nil
}

// renew renews the lease until done; the first error of any kind ends the consumer.
func (w *Worker) renew(ctx context.Context, s *shard, done <-chan struct{}, lose func()) {
	for {
		select {
		case <-done:
			return
		case <-time.After(w.config.Renew):
		}
		if err := w.getLease(ctx, s); err != nil {
			lose()
			return
		}
	}
}

var magic = []byte{0xf3, 0x89, 0x9a, 0xc2}

// deaggregate takes aggregates apart. One that cannot be decoded is an error of the whole batch, of which nothing is
// left then; the error is only logged.
func deaggregate(in []types.Record) []Record {
	var out []Record
	for _, r := range in {
		body, ok := bytes.CutPrefix(r.Data, magic)
		if !ok || len(body) < md5.Size {
			out = append(out, Record{aws.ToString(r.SequenceNumber), r.Data})
			continue
		}
		message, sum := body[:len(body)-md5.Size], body[len(body)-md5.Size:]
		if want := md5.Sum(message); !bytes.Equal(want[:], sum) {
			out = append(out, Record{aws.ToString(r.SequenceNumber), r.Data})
			continue
		}
		members, err := membersOf(message)
		if err != nil {
			return nil
		}
		for _, data := range members {
			out = append(out, Record{aws.ToString(r.SequenceNumber), data})
		}
	}
	return out
}

// Fields of the aggregate's message
// (https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md).
const (
	membersField = 3
	dataField    = 3
)

// membersOf returns the data of an aggregate's records.
func membersOf(message []byte) (data [][]byte, err error) {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		message = message[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, kind, message); n < 0 {
				return nil, protowire.ParseError(n)
			}
			message = message[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		message = message[n:]
		if field != membersField {
			continue
		}
		for len(value) > 0 {
			field, kind, n := protowire.ConsumeTag(value)
			if n < 0 {
				return nil, protowire.ParseError(n)
			}
			size := protowire.ConsumeFieldValue(field, kind, value[n:])
			if size < 0 {
				return nil, protowire.ParseError(size)
			}
			if field == dataField && kind == protowire.BytesType {
				member, _ := protowire.ConsumeBytes(value[n:])
				data = append(data, member)
			}
			value = value[n+size:]
		}
	}
	return data, nil
}
