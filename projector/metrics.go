package projector

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"penstock/checkpoint"
	"penstock/sink"
	"penstock/stream"
)

// Metrics are the instruments of one projector. Names follow the KCL (aws.kinesis.client.*) and OpenTelemetry's
// semantic conventions (db.client.*) where they have one.
type Metrics struct {
	meter        metric.Meter
	writes       metric.Float64Histogram
	letterErrors metric.Int64Counter
	lostLeases   metric.Int64Counter
	takenLeases  metric.Int64Counter
	renewals     metric.Float64Histogram
	writeLabels  sync.Map // of write to metric.MeasurementOption

	mu     sync.Mutex
	lag    map[string]time.Duration // of the shards this worker follows, by id, where it is known
	shards int
}

// NewMetrics creates the instruments.
func NewMetrics(m metric.Meter) (*Metrics, error) {
	x := &Metrics{meter: m, lag: map[string]time.Duration{}}
	var errs []error
	var err error
	x.writes, err = m.Float64Histogram("db.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("One attempt to write to one coordinator, without the wait for its permit."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	errs = append(errs, err)
	x.letterErrors, err = m.Int64Counter("penstock.dlq.write_failures", metric.WithDescription("Failed attempts to write a dead letter; the shard waits."))
	errs = append(errs, err)
	x.lostLeases, err = m.Int64Counter("aws.kinesis.client.lost_leases", metric.WithDescription("Leases lost to another worker or to time."))
	errs = append(errs, err)
	x.takenLeases, err = m.Int64Counter("penstock.leases.taken", metric.WithDescription("Leases this worker took, by reason: free, expired, or its own again."))
	errs = append(errs, err)
	x.renewals, err = m.Float64Histogram("aws.kinesis.client.renew_lease.duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10),
		metric.WithDescription("One renewal of a lease, which commits its checkpoint."))
	return x, errors.Join(append(errs, err)...)
}

// observe registers what is read off the ledger and the budget at every collection.
func (x *Metrics) observe(streamName string, ledger *checkpoint.Ledger, b *budget) error {
	m := x.meter
	var errs []error
	counter := func(name, help string) metric.Int64ObservableCounter {
		c, err := m.Int64ObservableCounter(name, metric.WithDescription(help))
		errs = append(errs, err)
		return c
	}
	gauge := func(name, unit, help string) metric.Int64ObservableGauge {
		g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(help))
		errs = append(errs, err)
		return g
	}
	read := counter("penstock.records.read", "Records taken from the stream.")
	applied := counter("penstock.records.applied", "Records whose every mutation Cassandra acknowledged.")
	parked := counter("penstock.records.parked", "Records whose dead letter is durable.")
	abandoned := counter("penstock.records.abandoned", "Records given up because the lease was lost or the process stopped; another worker reads them.")
	inFlight := gauge("penstock.records.in_flight", "", "Records without an outcome, counted in the trackers of the shards.")
	inUse := gauge("penstock.budget.in_use", "By", "Memory of records in flight and of replies awaited.")
	limit := gauge("penstock.budget.limit", "By", "Bound of penstock.budget.in_use.")
	lag := gauge("aws.kinesis.client.consumer.lag.duration", "ms", "MillisBehindLatest of the last reply, by shard.")
	leases := gauge("aws.kinesis.client.current_leases", "", "Leases this worker holds.")

	if err := errors.Join(errs...); err != nil {
		return err
	}

	// One callback for the five counts of the conservation law: they must be of one moment.
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		c := ledger.Snapshot()
		o.ObserveInt64(read, c.Read)
		o.ObserveInt64(applied, c.Applied)
		o.ObserveInt64(parked, c.Parked)
		o.ObserveInt64(inFlight, c.InFlight)
		o.ObserveInt64(abandoned, c.Abandoned)
		o.ObserveInt64(inUse, b.inUse())
		o.ObserveInt64(limit, b.total)
		x.mu.Lock()
		defer x.mu.Unlock()
		o.ObserveInt64(leases, int64(x.shards))
		for shard, behind := range x.lag {
			o.ObserveInt64(lag, behind.Milliseconds(), metric.WithAttributes(
				attribute.String("aws.kinesis.stream_name", streamName), attribute.String("aws.kinesis.shard.id", shard)))
		}
		return nil
	}, read, applied, parked, abandoned, inFlight, inUse, limit, lag, leases)
	return err
}

// fetched notes how far behind a batch was.
func (x *Metrics) fetched(shard string, b stream.Batch) {
	if !b.Known {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lag[shard] = b.Behind
}

// following notes how many shards this worker follows; ended, if not empty, is no longer among them.
func (x *Metrics) following(n int, ended string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.shards = n
	delete(x.lag, ended)
}

// Wrote notes one attempt to write: its coordinator, how long it took, and its error.
func (x *Metrics) Wrote(host string, took time.Duration, err error) {
	of := write{host: host}
	if err != nil {
		of.failed = sink.DispositionOf(err).String()
	}
	labels, ok := x.writeLabels.Load(of)
	if !ok {
		labels, _ = x.writeLabels.LoadOrStore(of, of.labels())
	}
	x.writes.Record(context.Background(), took.Seconds(), labels.(metric.MeasurementOption))
}

// write is what attempts are told apart by: a few values for each host, so their labels are made once.
type write struct{ host, failed string }

func (w write) labels() metric.MeasurementOption {
	attributes := []attribute.KeyValue{attribute.String("db.system.name", "cassandra"), attribute.String("server.address", w.host)}
	if w.failed != "" {
		attributes = append(attributes, attribute.String("error.type", w.failed))
	}
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}

// LetterFailed notes a failed attempt to write a dead letter.
func (x *Metrics) LetterFailed(error) { x.letterErrors.Add(context.Background(), 1) }

// lease notes an event in the life of a lease.
func (x *Metrics) lease(e leaseEvent) {
	switch e.Kind {
	case leaseRenewed:
		x.renewals.Record(context.Background(), e.Took.Seconds())
	case leaseLost:
		x.lostLeases.Add(context.Background(), 1)
	case leaseTaken:
		x.takenLeases.Add(context.Background(), 1, metric.WithAttributes(attribute.String("reason", string(e.Reason))))
	case leaseMissed, leaseUnanswered, leaseWanted, leaseReleased, leaseFinished:
	}
}
