// Package recording keeps what the pipeline sends to Cassandra for a backlog, for loops over the bare driver that send the same.
package recording

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"

	"penstock/checkpoint/leasetable"
	"penstock/localstack"
	"penstock/order"
	"penstock/projector"
	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/sink/cassandra"
	"penstock/sink/deadletter"
	"penstock/stream"
	"penstock/view"
)

// Recording is what the pipeline sends for a whole backlog.
type Recording struct {
	File     string
	Events   int
	Requests int // single statements and batches
	Rows     int // statements
	Unmerged int // statements if none were merged
}

// Merged is the share of statements that never were sent, since another sets what they would have set.
func (r Recording) Merged() float64 { return 1 - float64(r.Rows)/float64(r.Unmerged) }

// A recording is a sequence of requests: the number of statements in one byte, then for each its length-prefixed text,
// the number of its values, and the values, each a kind in one byte and its bytes.
const (
	kindUnset byte = iota
	kindBytes
	kindInt64
)

// recorder sees every request as the driver is about to have sent it.
type recorder struct {
	mu        sync.Mutex
	out       *bufio.Writer
	err       error
	recording *Recording
}

// ObserveQuery implements gocql.QueryObserver.
func (r *recorder) ObserveQuery(_ context.Context, q gocql.ObservedQuery) {
	if q.Err == nil && len(q.Values) > 0 {
		r.request([]string{q.Statement}, [][]any{q.Values})
	}
}

// ObserveBatch implements gocql.BatchObserver.
func (r *recorder) ObserveBatch(_ context.Context, b gocql.ObservedBatch) {
	if b.Err == nil {
		r.request(b.Statements, b.Values)
	}
}

func (r *recorder) request(statements []string, values [][]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := []byte{byte(len(statements))}
	for i, s := range statements {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
		b = binary.AppendUvarint(b, uint64(len(values[i])))
		for _, v := range values[i] {
			switch v := v.(type) {
			case int64:
				b = binary.BigEndian.AppendUint64(append(b, kindInt64), uint64(v))
			case gocql.Marshaler:
				data, err := v.MarshalCQL(nil)
				r.err = errors.Join(r.err, err)
				b = binary.AppendUvarint(append(b, kindBytes), uint64(len(data)))
				b = append(b, data...)
			default:
				b = append(b, kindUnset)
			}
		}
	}
	if _, err := r.out.Write(b); err != nil {
		r.err = errors.Join(r.err, err)
	}
	r.recording.Requests++
	r.recording.Rows += len(statements)
}

// Source is a backlog of orders: a stream, and the keyspace that its rows go to, of one name on a stack.
type Source struct {
	Stack  *localstack.Stack
	Name   string
	Events int // in the stream
}

// Record drains the backlog once with the pipeline in this process, with leases of its own, and keeps what it sends in a file.
func Record(ctx context.Context, src Source, name string) (_ Recording, err error) {
	made := Recording{File: name, Events: src.Events}
	file, err := os.Create(name)
	if err != nil {
		return Recording{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	rec := &recorder{out: bufio.NewWriterSize(file, 1<<20), recording: &made}

	session, err := cassandra.Connect(cassandra.Config{
		Hosts: []string{src.Stack.Cassandra()[0].Addr().String()}, Datacenter: "dc1", Keyspace: src.Name,
		Consistency: "LOCAL_QUORUM", Timeout: 10 * time.Second, Log: zap.NewNop(),
		QueryObserver: rec, BatchObserver: rec,
	})
	if err != nil {
		return Recording{}, err
	}
	defer session.Close()
	writer, err := cassandra.NewWriter(session, cassandra.WriterConfig{View: order.View{}, Generation: 1, Limits: adaptive.Config{Max: 64}, Log: zap.NewNop()})
	if err != nil {
		return Recording{}, err
	}
	defer writer.Wait()
	counting := &counter{Writer: writer}
	p, err := src.projector(ctx, counting)
	if err != nil {
		return Recording{}, err
	}
	fetch, stop := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(fetch, ctx) }()
	for p.Counts().Applied < int64(src.Events) && len(ended) == 0 {
		time.Sleep(100 * time.Millisecond)
	}
	stop(projector.ErrStopped)
	if err := <-ended; err != nil {
		return Recording{}, err
	}
	made.Unmerged = int(counting.statements.Load())
	return made, errors.Join(rec.err, rec.out.Flush())
}

// counter counts what a writer would send if it merged nothing: a statement for each stamp of each mutation.
type counter struct {
	projector.Writer
	statements atomic.Int64
}

// Submit implements projector.Writer.
func (c *counter) Submit(ctx context.Context, from *sink.Source, writes []sink.Write) {
	for _, w := range writes {
		for _, m := range w.Mutations {
			stamps := map[view.Stamp]bool{}
			for _, cell := range m.Cells {
				stamps[cell.Stamp] = true
			}
			c.statements.Add(int64(len(stamps)))
		}
	}
	c.Writer.Submit(ctx, from, writes)
}

// projector returns one over the stream with leases of its own.
func (src Source) projector(ctx context.Context, w projector.Writer) (*projector.Projector, error) {
	conf := aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("penstock", "penstock", "")}
	kinesisConf, dynamoConf := conf.Copy(), conf.Copy()
	kinesisConf.BaseEndpoint = aws.String(src.Stack.Kinesis().URL())
	dynamoConf.BaseEndpoint = aws.String("http://" + src.Stack.DynamoDB().Addr().String())
	s := stream.New(kinesisConf, src.Name, zap.NewNop())
	description, err := s.Describe(ctx)
	if err != nil {
		return nil, err
	}
	metrics, err := projector.NewMetrics(noop.Meter{})
	if err != nil {
		return nil, err
	}
	dynamo := leasetable.NewClient(dynamoConf)
	leases, state := dynamo.Leases("recording"), dynamo.State("recording-state")
	for _, create := range []func(context.Context) (bool, error){leases.Create, state.Create} {
		if _, err := create(ctx); err != nil {
			return nil, err
		}
	}
	return projector.New(projector.Config{
		Worker: projector.NewWorkerID("recorder"), View: order.View{}, Generation: 1, Failover: 10 * time.Second,
		InFlight: 64 << 20, Drain: time.Minute, Log: zap.NewNop(),
	}, projector.Dependencies{
		Stream: s, Description: description, Leases: leases, State: state, Clock: dynamo.Clock,
		Writer: w, Parker: nothingIsParked{}, Metrics: metrics,
	})
}

// nothingIsParked refuses letters: the backlog has no poison.
type nothingIsParked struct{}

func (nothingIsParked) Park(_ context.Context, l deadletter.Letter) error {
	return fmt.Errorf("a record was parked: %s", l.Failure.Message)
}
