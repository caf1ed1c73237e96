package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"

	"penstock/checkpoint/leasetable"
	"penstock/order"
	"penstock/projector"
	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/sink/cassandra"
	"penstock/sink/deadletter"
	"penstock/stream"
	"penstock/view"
)

// recording is what the pipeline sends for the whole backlog.
type recording struct {
	file     string
	events   int
	requests int // single statements and batches
	rows     int // statements
	unmerged int // statements if none were merged
}

// merged is the share of statements that never were sent, since another sets what they would have set.
func (r recording) merged() float64 { return 1 - float64(r.rows)/float64(r.unmerged) }

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
	recording *recording
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
	r.recording.requests++
	r.recording.rows += len(statements)
}

// record drains the backlog once with the pipeline in this process and keeps what it sends.
func (r *rig) record(ctx context.Context) (err error) {
	r.recording.file = filepath.Join(r.dir, "recording")
	file, err := os.Create(r.recording.file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	rec := &recorder{out: bufio.NewWriterSize(file, 1<<20), recording: &r.recording}

	session, err := cassandra.Connect(cassandra.Config{
		Hosts: []string{r.stack.Cassandra()[0].Addr().String()}, Datacenter: "dc1", Keyspace: r.site.Name,
		Consistency: "LOCAL_QUORUM", Timeout: 10 * time.Second, Log: zap.NewNop(),
		QueryObserver: rec, BatchObserver: rec,
	})
	if err != nil {
		return err
	}
	defer session.Close()
	writer, err := cassandra.NewWriter(session, cassandra.WriterConfig{View: order.View{}, Generation: 1, Limits: adaptive.Config{Max: 64}, Log: zap.NewNop()})
	if err != nil {
		return err
	}
	defer writer.Wait()
	counting := &counter{Writer: writer}
	p, err := r.inProcess(ctx, counting)
	if err != nil {
		return err
	}
	fetch, stop := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(fetch, ctx) }()
	for p.Counts().Applied < int64(r.recording.events) && len(ended) == 0 {
		time.Sleep(100 * time.Millisecond)
	}
	stop(projector.ErrStopped)
	if err := <-ended; err != nil {
		return err
	}
	r.recording.unmerged = int(counting.statements.Load())
	return errors.Join(rec.err, rec.out.Flush())
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

// inProcess returns a projector over the rig's stream with leases of its own.
func (r *rig) inProcess(ctx context.Context, w projector.Writer) (*projector.Projector, error) {
	conf := aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("penstock", "penstock", "")}
	kinesisConf, dynamoConf := conf.Copy(), conf.Copy()
	kinesisConf.BaseEndpoint = aws.String(r.stack.Kinesis().URL())
	dynamoConf.BaseEndpoint = aws.String("http://" + r.stack.DynamoDB().Addr().String())
	s := stream.New(kinesisConf, r.site.Name, zap.NewNop())
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

// replay is a recording in memory, as bytes: what is decoded all at once would be marked by every collection of garbage,
// which no bare loop would have to pay for.
type replay struct {
	data     []byte
	requests []span
	rows     int
	texts    map[string]string // equal texts are one string
}

// span is where a request's statements begin in the data, and how many they are.
type span struct{ at, statements int }

// request is a recorded request, ready to be bound.
type request struct {
	statements []string
	values     [][]any
}

// openReplay reads a recording: request by request, or row by row, where only the statements of one row stay together.
func openReplay(file string, rowByRow bool) (*replay, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &replay{data: data, texts: map[string]string{}}
	for d := (decoder{data}); len(d.rest) > 0; {
		var row string // of the statement before
		for i := range d.byte() {
			at := len(data) - len(d.rest)
			text := string(d.take(d.number()))
			r.texts[text] = text
			_, where, _ := strings.Cut(text, " WHERE ")
			keys := strings.Count(where, "?")
			var key []byte
			for left := d.number(); left > 0; left-- {
				before := d.rest
				d.value()
				if left <= uint64(keys) {
					key = append(key, before[:len(before)-len(d.rest)]...)
				}
			}
			r.rows++
			same := row == text+string(key)
			row = text + string(key)
			if i == 0 || rowByRow && !same {
				r.requests = append(r.requests, span{at: at})
			}
			r.requests[len(r.requests)-1].statements++
		}
	}
	return r, nil
}

// request decodes the i-th request.
func (r *replay) request(i int) request {
	d, n := decoder{r.data[r.requests[i].at:]}, r.requests[i].statements
	out := request{make([]string, n), make([][]any, n)}
	for i := range n {
		out.statements[i] = r.texts[string(d.take(d.number()))]
		values := make([]any, d.number())
		for k := range values {
			values[k] = d.value()
		}
		out.values[i] = values
	}
	return out
}

// decoder reads what recorder wrote.
type decoder struct{ rest []byte }

func (d *decoder) take(n uint64) []byte {
	taken := d.rest[:n:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) value() any {
	switch d.byte() {
	case kindBytes:
		return raw(d.take(d.number()))
	case kindInt64:
		return int64(binary.BigEndian.Uint64(d.take(8)))
	}
	return gocql.UnsetValue
}

// raw binds bytes as they are.
type raw []byte

// MarshalCQL implements gocql.Marshaler.
func (r raw) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return r, nil }
