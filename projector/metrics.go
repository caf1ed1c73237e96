package projector

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"penstock/checkpoint"
	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/stream"
)

// Metrics are the instruments of one projector: see [Catalogue].
type Metrics struct {
	meter       metric.Meter
	made        *made
	writeLabels sync.Map // of write to []metric.RecordOption

	// Made once, when the stream's name is known.
	stream   string
	fresh    []metric.RecordOption
	answers  map[stream.Kind][]metric.RecordOption // of failed calls, by kind
	answered []metric.RecordOption
	projects []metric.RecordOption
	checks   map[bool][]metric.AddOption // by whether it was fresh

	fingerprints fingerprints

	throttled atomic.Int64 // when Kinesis last refused a call, nanoseconds since 1970

	coverage atomic.Pointer[float64] // of the ring; nil while it is not known

	mu       sync.Mutex
	lag      map[string]time.Duration // of the shards this worker follows, by id, where it is known
	shards   int
	followed map[string]*followed
}

// followed is a shard this worker follows.
type followed struct {
	*progress
	of      metric.MeasurementOption // stream and shard
	worst   metric.MeasurementOption
	breaker map[string]metric.MeasurementOption // by the breaker's state
}

// NewMetrics creates the instruments.
func NewMetrics(m metric.Meter) (*Metrics, error) {
	made, err := build(m)
	if err != nil {
		return nil, err
	}
	return &Metrics{meter: m, made: made, lag: map[string]time.Duration{}, followed: map[string]*followed{}}, nil
}

// of returns attributes, in pairs of name and value, as they are given with a measurement.
func of(pairs ...string) metric.MeasurementOption {
	var attributes []attribute.KeyValue
	for i := 0; i < len(pairs); i += 2 {
		attributes = append(attributes, attribute.String(pairs[i], pairs[i+1]))
	}
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}

// begin makes counters of failures start at 0: of one that only appears with the first failure, the increase is missed.
func (x *Metrics) begin() {
	for _, i := range []instrument{letterFailures, letterConflicts, newFingerprints, lostLeases, losses, progressFailures, recordsForeign, subscriptions} {
		x.made.counters[i].Add(context.Background(), 0)
	}
	for _, why := range stream.Endings() {
		x.made.counters[subscriptionEnds].Add(context.Background(), 0, of(reasonAttribute, string(why)))
	}
	for _, result := range x.checks {
		x.made.counters[freshnessChecks].Add(context.Background(), 0, result...)
	}
}

// observed is what is read at every collection.
type observed struct {
	stream    string
	view      string
	version   string
	retention func() time.Duration // of the stream
	ledger    *checkpoint.Ledger
	budget    *budget
	breaker   func(shard string) string // its state
	fleet     func() fleetSeen
	call      string     // by which shards are read
	paused    func() int // shards, by operators
	clock     func() checkpoint.Clock
	load      func(time.Time) Load // of the writer; nil: it is not measured
}

// observe prepares the attributes and registers what is read at every collection.
func (x *Metrics) observe(o observed) error {
	x.stream = o.stream
	x.fresh = []metric.RecordOption{of(streamAttribute, o.stream, viewAttribute, o.view)}
	call := []string{systemAttribute, "aws.kinesis", operationAttribute, o.call, sourceAttribute, o.stream}
	x.answered = []metric.RecordOption{of(call...)}
	x.answers = map[stream.Kind][]metric.RecordOption{}
	for kind, name := range map[stream.Kind]string{stream.Transient: "transient", stream.Throttled: "throttled", stream.Rewind: "rewind"} {
		x.answers[kind] = []metric.RecordOption{of(append(slices.Clone(call), errorAttribute, name)...)}
	}
	x.projects = []metric.RecordOption{of(systemAttribute, "aws.kinesis", operationAttribute, "project", sourceAttribute, o.stream)}
	x.checks = map[bool][]metric.AddOption{true: {of(resultAttribute, "fresh")}, false: {of(resultAttribute, "stale")}}
	versioned := of(versionAttribute, o.version)
	x.begin()

	// One callback for the five counts of the conservation law: they must be of one moment.
	_, err := x.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		number := func(i instrument, n int64, options ...metric.ObserveOption) {
			to.ObserveInt64(x.made.numbers[i], n, options...)
		}
		c := o.ledger.Snapshot()
		number(recordsRead, c.Read)
		number(recordsApplied, c.Applied)
		number(recordsParked, c.Parked)
		number(recordsInFlight, c.InFlight)
		number(recordsAbandoned, c.Abandoned)
		number(recordsUnaccounted, c.Read-c.Applied-c.Parked-c.InFlight-c.Abandoned)
		number(budgetInUse, o.budget.inUse())
		number(budgetLimit, o.budget.total)
		number(buildInfo, 1, versioned)
		seen := o.fleet()
		number(totalLeases, int64(seen.shards))
		number(neededLeases, int64(seen.needed))
		number(unownedLeases, int64(seen.unowned))
		number(pausedShards, int64(o.paused()))
		number(workers, int64(seen.workers))
		if clock := o.clock(); clock.Known {
			to.ObserveFloat64(x.made.floats[clockOffset], clock.Ahead.Seconds())
		}
		if part := x.coverage.Load(); part != nil {
			to.ObserveFloat64(x.made.floats[ringCoverage], *part)
		}
		if o.load != nil {
			x.observeLoad(to, o.load(time.Now()))
		}
		x.observeShards(to, o.retention(), o.breaker, time.Now())
		return nil
	}, x.made.sampled()...)
	return err
}

// observeShards tells of each shard followed, and of the one that is furthest behind.
func (x *Metrics) observeShards(to metric.Observer, retention time.Duration, breaker func(shard string) string, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	to.ObserveInt64(x.made.numbers[currentLeases], int64(x.shards))
	var worst *followed
	var oldest time.Duration
	for id, f := range x.followed {
		if behind, known := x.lag[id]; known {
			to.ObserveInt64(x.made.numbers[consumerLag], behind.Milliseconds(), f.of)
		}
		to.ObserveInt64(x.made.numbers[recordsProcessed], f.records.Load(), f.of)
		to.ObserveInt64(x.made.numbers[recordsSize], f.bytes.Load(), f.of)
		records, stands := f.uncommitted(now)
		to.ObserveInt64(x.made.numbers[checkpointLag], records, f.of)
		to.ObserveFloat64(x.made.floats[checkpointAge], stands.Seconds(), f.of)
		state := breaker(id)
		for _, one := range breakerStates() {
			is := int64(0)
			if one == state {
				is = 1
			}
			to.ObserveInt64(x.made.numbers[breakerState], is, f.breaker[one])
		}
		if age := f.age(now); worst == nil || age > oldest {
			worst, oldest = f, age
		}
	}
	if worst != nil {
		to.ObserveFloat64(x.made.floats[watermarkAge], oldest.Seconds(), worst.worst)
		to.ObserveFloat64(x.made.floats[retentionHeadroom], (retention - oldest).Seconds(), worst.worst)
	}
}

// worst returns how many shards are followed, and which is furthest behind by how much.
func (x *Metrics) worst(now time.Time) (shards int, worst string, behind time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, f := range x.followed {
		if age := f.age(now); worst == "" || age > behind {
			worst, behind = id, age
		}
	}
	return len(x.followed), worst, behind
}

// busy returns how long each shard has spent in the view's function.
func (x *Metrics) busy() map[string]time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	busy := make(map[string]time.Duration, len(x.followed))
	for id, f := range x.followed {
		busy[id] = time.Duration(f.busy.Load())
	}
	return busy
}

// throttledJustNow reports whether Kinesis refused a call lately.
func (x *Metrics) throttledJustNow(now time.Time) bool {
	return now.Sub(time.Unix(0, x.throttled.Load())) < justThrottled
}

// fetched notes how a call went that brought a batch, and how far behind that was. A subscription brings many by one call.
func (x *Metrics) fetched(shard string, b stream.Batch) {
	options := x.answered
	if failed, ok := errors.AsType[*stream.Error](b.Failed); ok {
		options = x.answers[failed.Kind]
		if failed.Kind == stream.Throttled {
			x.throttled.Store(time.Now().UnixNano())
		}
	}
	if !b.Pushed {
		x.made.histograms[getRecordsDuration].Record(context.Background(), b.Took.Seconds(), options...)
	}
	if b.Foreign > 0 {
		x.made.counters[recordsForeign].Add(context.Background(), int64(b.Foreign))
	}
	if !b.Known {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lag[shard] = b.Behind
}

// Subscribed implements stream.Subscriptions.
func (x *Metrics) Subscribed() { x.made.counters[subscriptions].Add(context.Background(), 1) }

// Unsubscribed implements stream.Subscriptions.
func (x *Metrics) Unsubscribed(why stream.Ending) {
	x.made.counters[subscriptionEnds].Add(context.Background(), 1, of(reasonAttribute, string(why)))
}

// projected notes how long the records of a batch took to be projected.
func (x *Metrics) projected(took time.Duration) {
	x.made.histograms[processDuration].Record(context.Background(), took.Seconds(), x.projects...)
}

// follow begins to tell of a shard.
func (x *Metrics) follow(shard string, p *progress) {
	breaker := map[string]metric.MeasurementOption{}
	for _, state := range breakerStates() {
		breaker[state] = of(streamAttribute, x.stream, shardAttribute, shard, stateAttribute, state)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.followed[shard] = &followed{p, of(streamAttribute, x.stream, shardAttribute, shard), of(streamAttribute, x.stream, worstAttribute, shard), breaker}
}

// following notes how many shards this worker follows; ended, if not empty, is no longer among them.
func (x *Metrics) following(n int, ended string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.shards = n
	delete(x.lag, ended)
	delete(x.followed, ended)
}

// check looks whether each shard is fresh.
func (x *Metrics) check(now time.Time) {
	x.mu.Lock()
	shards := slices.Collect(maps.Values(x.followed))
	x.mu.Unlock()
	for _, f := range shards {
		x.made.counters[freshnessChecks].Add(context.Background(), 1, x.checks[f.age(now) <= freshWithin]...)
	}
}

// applied notes that what happened at the given time can be seen.
func (x *Metrics) applied(happened time.Time) {
	x.made.histograms[viewFreshness].Record(context.Background(), max(0, time.Since(happened).Seconds()), x.fresh...)
}

// parked notes a letter.
func (x *Metrics) parked(why deadletter.Failure) {
	x.made.counters[letters].Add(context.Background(), 1, of(reasonAttribute, string(why.Code)))
	if x.fingerprints.add(why.Fingerprint) {
		x.made.counters[newFingerprints].Add(context.Background(), 1)
	}
}

// fingerprints are those of this process's letters, the newest of them.
type fingerprints struct {
	mu    sync.Mutex
	known map[string]bool
	queue []string // in the order in which they came
}

// maxFingerprints bounds the memory. What is forgotten counts as new when it comes again: where causes do not group, the
// counter should go on rising rather than fall silent.
const maxFingerprints = 1000

// add reports whether a fingerprint was not known.
func (f *fingerprints) add(fingerprint string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known[fingerprint] {
		return false
	}
	if f.known == nil {
		f.known = map[string]bool{}
	}
	if len(f.queue) == maxFingerprints {
		delete(f.known, f.queue[0])
		f.queue = f.queue[1:]
	}
	f.known[fingerprint] = true
	f.queue = append(f.queue, fingerprint)
	return true
}

// lost notes that something left the stream unread.
func (x *Metrics) lost() { x.made.counters[losses].Add(context.Background(), 1) }

// covered notes which part of the ring is read.
func (x *Metrics) covered(part float64) { x.coverage.Store(&part) }

// progressFailed notes a failed publication.
func (x *Metrics) progressFailed() { x.made.counters[progressFailures].Add(context.Background(), 1) }

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
	x.made.histograms[writeDuration].Record(context.Background(), took.Seconds(), labels.([]metric.RecordOption)...)
}

// write is what attempts are told apart by: a few values for each host, so their labels are made once.
type write struct{ host, failed string }

func (w write) labels() []metric.RecordOption {
	pairs := []string{databaseAttribute, "cassandra", serverAttribute, w.host}
	if w.failed != "" {
		pairs = append(pairs, errorAttribute, w.failed)
	}
	return []metric.RecordOption{of(pairs...)}
}

// LetterFailed notes a failed attempt to write a dead letter.
func (x *Metrics) LetterFailed(err error) {
	x.made.counters[letterFailures].Add(context.Background(), 1)
	if _, ok := errors.AsType[*deadletter.ConflictError](err); ok {
		x.made.counters[letterConflicts].Add(context.Background(), 1)
	}
}

// lease notes an event in the life of a lease.
func (x *Metrics) lease(e leaseEvent) {
	switch e.Kind {
	case leaseRenewed:
		x.made.histograms[renewals].Record(context.Background(), e.Took.Seconds())
		x.mu.Lock()
		f := x.followed[e.Shard]
		x.mu.Unlock()
		if f != nil {
			f.commit(e.Checkpoint)
		}
	case leaseLost:
		x.made.counters[lostLeases].Add(context.Background(), 1)
	case leaseTaken:
		x.made.counters[takenLeases].Add(context.Background(), 1, of(reasonAttribute, string(e.Reason)))
	case leaseMissed, leaseUnanswered, leaseWanted, leaseReleased, leaseFinished:
	}
}
