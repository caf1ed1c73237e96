package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go/middleware"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"

	"penstock/checkpoint/leasetable"
	"penstock/localstack/emulator"
	"penstock/projector"
	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/stream"
	"penstock/view/viewtest"
)

const (
	application = "fleet"
	streamName  = "quiet"
)

// fleet is some workers, and a look at their lease table that is not counted.
type fleet struct {
	workers []*worker
	leases  *leasetable.Table
}

// worker is one projector with clients of its own.
type worker struct {
	name      string
	projector *projector.Projector
	counted   *counted
	end       context.CancelCauseFunc // abruptly
	ended     context.Context
}

func newFleet(ctx context.Context, env []string, o options) (*fleet, error) {
	settings := map[string]string{}
	for _, setting := range env {
		key, value, _ := strings.Cut(setting, "=")
		settings[key] = value
	}
	conf := func(client aws.HTTPClient) aws.Config {
		return aws.Config{
			Region: settings["AWS_REGION"], HTTPClient: client,
			Credentials:   credentials.NewStaticCredentialsProvider(settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"], ""),
			ConfigSources: []any{endpoints(settings)},
		}
	}
	plain := conf(emulator.HTTPClient())
	f := &fleet{leases: leasetable.NewClient(plain).Leases(application)}
	state := leasetable.NewClient(plain).State(application + "-state")
	if _, err := state.Create(ctx); err != nil {
		return nil, err
	}
	if _, err := f.leases.Create(ctx); err != nil {
		return nil, err
	}
	if err := createStream(ctx, kinesis.NewFromConfig(plain), streamName, o.shards); err != nil {
		return nil, err
	}
	for i := range o.workers {
		w := &worker{name: fmt.Sprintf("worker-%d", i+1), counted: &counted{}}
		w.ended, w.end = context.WithCancelCause(context.WithoutCancel(ctx))
		c := conf(&mortal{emulator.HTTPClient(), w.ended})
		c.APIOptions = append(c.APIOptions, w.counted.middleware)
		if err := w.build(ctx, c, o); err != nil {
			return nil, err
		}
		f.workers = append(f.workers, w)
	}
	return f, nil
}

func (w *worker) build(ctx context.Context, c aws.Config, o options) error {
	source := stream.New(c, streamName, zap.NewNop())
	description, err := source.Describe(ctx)
	if err != nil {
		return err
	}
	metrics, err := projector.NewMetrics(noop.NewMeterProvider().Meter(""))
	if err != nil {
		return err
	}
	client := leasetable.NewClient(c)
	w.projector, err = projector.New(projector.Config{
		Worker: w.name, Version: "bench", View: viewtest.Stock{}, Generation: 1, Failover: o.failover,
		InFlight: 64 << 20, Drain: time.Second, Log: zap.NewNop(),
	}, projector.Dependencies{
		Stream: source, Description: description, Clock: client.Clock, Metrics: metrics,
		Leases: client.Leases(application), State: client.State(application + "-state"),
		Writer: nothingToWrite{}, Parker: nothingToPark{},
	})
	return err
}

var (
	errStopped = errors.New("the measurement is over")
	errDied    = errors.New("died")
)

func (w *worker) run(ctx context.Context) {
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.ended, func() { cancel(context.Cause(w.ended)) })()
	if err := w.projector.Run(work, work); err != nil && w.ended.Err() == nil && ctx.Err() == nil {
		say("%s: %v", w.name, err)
	}
}

// die ends a worker as SIGKILL would: from now on nothing that it sends arrives.
func (w *worker) die() { w.end(errDied) }

func (f *fleet) stop() {
	for _, w := range f.workers {
		w.end(errStopped)
	}
}

// asked returns what all workers have asked of DynamoDB.
func (f *fleet) asked() (all asked) {
	for _, w := range f.workers {
		a := w.counted.total()
		all.reads, all.writes = all.reads+a.reads, all.writes+a.writes
		all.readUnits, all.writeUnits = all.readUnits+a.readUnits, all.writeUnits+a.writeUnits
	}
	return all
}

// mortal is a client that sends nothing once its worker has ended.
type mortal struct {
	aws.HTTPClient
	ended context.Context
}

func (m *mortal) Do(r *http.Request) (*http.Response, error) {
	if err := context.Cause(m.ended); err != nil {
		return nil, err
	}
	return m.HTTPClient.Do(r)
}

// endpoints are where the services are, as the SDK asks for them.
type endpoints map[string]string

// GetServiceBaseEndpoint returns the endpoint of a service, as the environment has it.
func (e endpoints) GetServiceBaseEndpoint(_ context.Context, sdkID string) (string, bool, error) {
	at, ok := e["AWS_ENDPOINT_URL_"+strings.ToUpper(strings.ReplaceAll(sdkID, " ", "_"))]
	return at, ok, nil
}

// GetIgnoreConfiguredEndpoints says that they are to be used.
func (endpoints) GetIgnoreConfiguredEndpoints(context.Context) (bool, bool, error) {
	return false, true, nil
}

// asked is what was asked of DynamoDB: requests, and capacity units as it counts them itself.
type asked struct {
	reads, writes         int64
	readUnits, writeUnits float64
}

// counted counts the requests of one worker.
type counted struct {
	reads, writes         atomic.Int64
	readUnits, writeUnits atomic.Int64 // in hundredths
}

func (c *counted) total() asked {
	return asked{c.reads.Load(), c.writes.Load(), float64(c.readUnits.Load()) / 100, float64(c.writeUnits.Load()) / 100}
}

// middleware asks DynamoDB for the units that each request takes, and counts both.
func (c *counted) middleware(s *middleware.Stack) error {
	return s.Initialize.Add(middleware.InitializeMiddlewareFunc("Counted", func(ctx context.Context, in middleware.InitializeInput,
		next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		const total = types.ReturnConsumedCapacityTotal
		switch p := in.Parameters.(type) {
		case *dynamodb.ScanInput:
			p.ReturnConsumedCapacity = total
		case *dynamodb.QueryInput:
			p.ReturnConsumedCapacity = total
		case *dynamodb.GetItemInput:
			p.ReturnConsumedCapacity = total
		case *dynamodb.UpdateItemInput:
			p.ReturnConsumedCapacity = total
		case *dynamodb.PutItemInput:
			p.ReturnConsumedCapacity = total
		case *dynamodb.DeleteItemInput:
			p.ReturnConsumedCapacity = total
		}
		out, metadata, err := next.HandleInitialize(ctx, in)
		if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); refused {
			c.write(nil) // of which it does not say how many units it took
		}
		switch r := out.Result.(type) {
		case *dynamodb.ScanOutput:
			c.read(r.ConsumedCapacity)
		case *dynamodb.QueryOutput:
			c.read(r.ConsumedCapacity)
		case *dynamodb.GetItemOutput:
			c.read(r.ConsumedCapacity)
		case *dynamodb.UpdateItemOutput:
			c.write(r.ConsumedCapacity)
		case *dynamodb.PutItemOutput:
			c.write(r.ConsumedCapacity)
		case *dynamodb.DeleteItemOutput:
			c.write(r.ConsumedCapacity)
		}
		return out, metadata, err
	}), middleware.After)
}

func (c *counted) read(units *types.ConsumedCapacity) {
	c.reads.Add(1)
	c.readUnits.Add(hundredths(units))
}

func (c *counted) write(units *types.ConsumedCapacity) {
	c.writes.Add(1)
	c.writeUnits.Add(hundredths(units))
}

func hundredths(units *types.ConsumedCapacity) int64 {
	if units == nil {
		return 0
	}
	return int64(aws.ToFloat64(units.CapacityUnits) * 100)
}

// The stream is quiet: no record is ever written or parked.
type (
	nothingToWrite struct{}
	nothingToPark  struct{}
)

var errNotQuiet = errors.New("the stream is not quiet")

// Submit implements projector.Writer.
func (nothingToWrite) Submit(_ context.Context, _ *sink.Source, writes []sink.Write) {
	for _, w := range writes {
		w.Record.Settle(errNotQuiet)
	}
}

// Park implements projector.Parker.
func (nothingToPark) Park(context.Context, deadletter.Letter) error { return errNotQuiet }
