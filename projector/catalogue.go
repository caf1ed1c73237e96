package projector

import (
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel/metric"
)

// Kind is how the values of an instrument are to be read.
type Kind string

// The kinds of instruments.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Instrument is an entry of the catalogue of metrics. Dashboards and alerts are built on its name, type, unit and
// attributes: to change one of them is to break those.
type Instrument struct {
	Name       string   // OpenTelemetry's; Prometheus has underscores for dots, and suffixes for unit and type
	Kind       Kind     //
	Unit       string   // UCUM: "s", "By"; empty for plain numbers
	Attributes []string // never ids of orders or customers; shards are few enough
	Meaning    string
	Question   string // of an operator, that it answers

	sampled bool      // read at every collection, not told when something happens
	bounds  []float64 // of a histogram's buckets
}

// instrument is an entry's place in the catalogue.
type instrument int

const (
	recordsRead instrument = iota
	recordsApplied
	recordsParked
	recordsAbandoned
	recordsInFlight
	recordsUnaccounted
	recordsForeign

	viewFreshness
	watermarkAge
	freshnessChecks
	retentionHeadroom
	losses
	ringCoverage
	progressFailures

	consumerLag
	recordsProcessed
	recordsSize
	getRecordsDuration
	subscriptions
	subscriptionEnds
	processDuration

	writeDuration
	writeAttempts
	writeSuccesses
	limiterLimit
	limiterInFlight
	limiterQueued
	limiterBackOff
	limiterIdle
	limiterLatency
	limiterTarget
	limiterDecisions
	replicaState
	replicaDebt
	debtCap
	hintsLeft
	retryTokens
	letters
	newFingerprints
	letterFailures
	letterConflicts
	breakerState

	checkpointLag
	checkpointAge
	currentLeases
	totalLeases
	neededLeases
	unownedLeases
	pausedShards
	workers
	lostLeases
	takenLeases
	renewals
	clockOffset

	budgetInUse
	budgetLimit
	buildInfo

	instruments // how many there are
)

// Names of attributes, as OpenTelemetry's conventions and the KCL have them where they do.
const (
	streamAttribute    = "aws.kinesis.stream_name"
	shardAttribute     = "aws.kinesis.shard.id"
	worstAttribute     = "worst_shard"
	viewAttribute      = "view"
	resultAttribute    = "result"
	reasonAttribute    = "reason"
	errorAttribute     = "error.type"
	systemAttribute    = "messaging.system"
	operationAttribute = "messaging.operation.name"
	sourceAttribute    = "messaging.destination.name"
	databaseAttribute  = "db.system.name"
	serverAttribute    = "server.address"
	rackAttribute      = "rack"
	actionAttribute    = "action"
	causeAttribute     = "cause"
	stateAttribute     = "state"
	versionAttribute   = "version"
)

var (
	callBounds  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	freshBounds = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400}
)

// catalogue declares every instrument, in the order in which docs/metrics.md tells of them. The KCL's names
// (aws.kinesis.client.*) are those of its OpenTelemetry export, so that its dashboards go on working.
var catalogue = [instruments]Instrument{
	recordsRead: {Name: "penstock.records.read", Kind: Counter, sampled: true,
		Meaning:  "Records taken from the stream.",
		Question: "How fast do we read? It is one of the five counts of one moment: read = applied + parked + in flight + abandoned."},
	recordsApplied: {Name: "penstock.records.applied", Kind: Counter, sampled: true,
		Meaning:  "Records whose every mutation Cassandra acknowledged.",
		Question: "How fast does the view take in events?"},
	recordsParked: {Name: "penstock.records.parked", Kind: Counter, sampled: true,
		Meaning:  "Records whose dead letter is durable.",
		Question: "Are events being left out of the view? Each has a letter that says why."},
	recordsAbandoned: {Name: "penstock.records.abandoned", Kind: Counter, sampled: true,
		Meaning:  "Records given up because the lease was lost or the process stopped; another worker reads them.",
		Question: "How much work is done twice?"},
	recordsInFlight: {Name: "penstock.records.in_flight", Kind: Gauge, sampled: true,
		Meaning:  "Records without an outcome, counted in the trackers of the shards.",
		Question: "Is work piling up in the process?"},
	recordsUnaccounted: {Name: "penstock.records.unaccounted", Kind: Gauge, sampled: true,
		Meaning:  "Read, less applied, parked, in flight and abandoned, all of one moment.",
		Question: "Was a record lost count of? Anything but 0 is a fault of Penstock: stop, and keep the logs."},
	recordsForeign: {Name: "penstock.records.foreign", Kind: Counter,
		Meaning:  "Records of aggregates whose key belongs to another shard than the one they were found in. They are applied like all others.",
		Question: "Do producers aggregate with a stale map of the shards? They do for a while after a reshard."},

	viewFreshness: {Name: "penstock.view.freshness", Kind: Histogram, Unit: "s", bounds: freshBounds, Attributes: []string{streamAttribute, viewAttribute},
		Meaning:  "From an event's own time, or its arrival in the stream where it has none, until Cassandra acknowledged all it writes; once a record applied.",
		Question: "How old is a change when customers can see it?"},
	watermarkAge: {Name: "penstock.view.watermark.age", Kind: Gauge, Unit: "s", Attributes: []string{streamAttribute, worstAttribute}, sampled: true,
		Meaning:  "Age of the oldest event without outcome, read or not, of the shard where that is oldest among those this worker follows; 0 when caught up.",
		Question: "How far behind is the view, and which shard holds it back? It rises while a shard stands still."},
	freshnessChecks: {Name: "penstock.freshness.checks", Kind: Counter, Attributes: []string{resultAttribute},
		Meaning:  "One look a second at each shard followed: fresh when the age of its oldest event without outcome is at most 10 s, otherwise stale.",
		Question: "What share of the time is the view fresh, also when there is little traffic?"},
	retentionHeadroom: {Name: "penstock.retention.headroom", Kind: Gauge, Unit: "s", Attributes: []string{streamAttribute, worstAttribute}, sampled: true,
		Meaning:  "The stream's retention less the age of the oldest event without outcome, of the shard where that is least.",
		Question: "How long until events are lost unread? Raise the retention before it nears 0."},
	losses: {Name: "penstock.losses", Kind: Counter,
		Meaning:  "Spans of a shard, or what was left of it, that left the stream before they were read. Each is logged with its bounds.",
		Question: "Were events lost, since nobody read them within the stream's retention? Anything but 0 needs a rebuild or a repair."},
	ringCoverage: {Name: "penstock.ring.coverage", Kind: Gauge, Unit: "1", sampled: true,
		Meaning:  "Part of the hash keys whose records somebody reads or will read, as the list of shards and the lease table have it.",
		Question: "Are there records that nobody will read? It is 1, and less for a moment after a reshard."},
	progressFailures: {Name: "penstock.view.progress.failures", Kind: Counter,
		Meaning:  "Failed attempts to publish in view_progress how far a shard is settled.",
		Question: "Is what readers are told of the view's freshness older than it needs to be?"},

	consumerLag: {Name: "aws.kinesis.client.consumer.lag.duration", Kind: Gauge, Unit: "ms", Attributes: []string{streamAttribute, shardAttribute}, sampled: true,
		Meaning:  "MillisBehindLatest of the last answer, by shard.",
		Question: "Is what we read old?"},
	recordsProcessed: {Name: "aws.kinesis.client.records_processed", Kind: Counter, Attributes: []string{streamAttribute, shardAttribute}, sampled: true,
		Meaning:  "Records read of a shard since this worker follows it.",
		Question: "Which shard is hot?"},
	recordsSize: {Name: "aws.kinesis.client.records.size", Kind: Counter, Unit: "By", Attributes: []string{streamAttribute, shardAttribute}, sampled: true,
		Meaning:  "Data and partition keys read of a shard since this worker follows it.",
		Question: "How near is a shard to its 2 MB/s?"},
	getRecordsDuration: {Name: "messaging.client.operation.duration", Kind: Histogram, Unit: "s", bounds: callBounds,
		Attributes: []string{systemAttribute, operationAttribute, sourceAttribute, errorAttribute},
		Meaning:    "One call of GetRecords, or of SubscribeToShard with kinesis.reader: fanout. error.type is throttled, transient or rewind, and absent when the service answered.",
		Question:   "Is Kinesis slow, or throttled by other consumers of the stream?"},
	subscriptions: {Name: "penstock.subscriptions.begun", Kind: Counter,
		Meaning:  "Subscriptions to shards that Kinesis granted, with kinesis.reader: fanout. One lasts five minutes at most.",
		Question: "How often is reading interrupted? More than once in five minutes for a shard has a reason, which penstock.subscriptions.ended tells."},
	subscriptionEnds: {Name: "penstock.subscriptions.ended", Kind: Counter, Attributes: []string{reasonAttribute},
		Meaning:  "Subscriptions that ended, by why: turnover, shard_end and closed are in order; pressure: events were not taken; stall: it fell silent; taken_over: somebody else subscribed as our consumer; error.",
		Question: "Why does fan-out pause? Pressure means that writing does not keep up; taken_over that two fleets share one kinesis.consumer."},
	processDuration: {Name: "messaging.process.duration", Kind: Histogram, Unit: "s", bounds: append([]float64{.0001, .0005}, callBounds...),
		Attributes: []string{systemAttribute, operationAttribute, sourceAttribute},
		Meaning:    "Projecting the records of one batch.",
		Question:   "Is the view's own function what takes the time?"},

	writeDuration: {Name: "db.client.operation.duration", Kind: Histogram, Unit: "s", bounds: callBounds,
		Attributes: []string{databaseAttribute, serverAttribute, errorAttribute},
		Meaning:    "One attempt to write to one coordinator, without the wait for its permit. error.type is the disposition: transient, overload, poison, unknown, fatal.",
		Question:   "Which host is slow, and which refuses?"},
	writeAttempts: {Name: "penstock.write.attempts", Kind: Counter, sampled: true,
		Meaning:  "Requests to write that hosts answered or left unanswered, without those whose answer says nothing about load.",
		Question: "How often is a write tried? Attempts by successes stay below 1.1, also in an outage."},
	writeSuccesses: {Name: "penstock.write.successes", Kind: Counter, sampled: true,
		Meaning:  "Requests to write that were acknowledged.",
		Question: "How much does Cassandra take?"},
	limiterLimit: {Name: "penstock.limiter.limit", Kind: Gauge, Attributes: []string{serverAttribute, rackAttribute}, sampled: true,
		Meaning:  "Requests that may be in flight at a host; 0 in quarantine, and low for a moment while its idle latency is measured.",
		Question: "Which host takes less than it did, or less than the others? /debug/pressure says why."},
	limiterInFlight: {Name: "penstock.limiter.inflight", Kind: Gauge, Attributes: []string{serverAttribute, rackAttribute}, sampled: true,
		Meaning:  "Requests in flight at a host.",
		Question: "Is the limit used? If not, Cassandra is not what the view waits for."},
	limiterQueued: {Name: "penstock.limiter.queued", Kind: Gauge, sampled: true,
		Meaning:  "Requests that wait for a permit of any of their hosts.",
		Question: "Does the view wait for Cassandra?"},
	limiterBackOff: {Name: "penstock.limiter.backoff", Kind: Gauge, sampled: true,
		Meaning:  "Failed requests that wait for their pause and for the budget, to be repeated.",
		Question: "How much has failed and not got through yet?"},
	limiterIdle: {Name: "penstock.limiter.rtt.min", Kind: Gauge, Unit: "s", Attributes: []string{serverAttribute, rackAttribute}, sampled: true,
		Meaning:  "Latency of a host that is almost idle, measured about every ten seconds; absent until then.",
		Question: "Is a host slow even when it has nothing to do? Then it is its disk, its memory or the network, and not its load."},
	limiterLatency: {Name: "penstock.limiter.rtt.p75", Kind: Gauge, Unit: "s", Attributes: []string{serverAttribute, rackAttribute}, sampled: true,
		Meaning:  "75th percentile of a host's latencies in the last window of time, by which its limit is steered; absent until there is one.",
		Question: "How fast is a host now?"},
	limiterTarget: {Name: "penstock.limiter.target", Kind: Gauge, Unit: "s", Attributes: []string{serverAttribute, rackAttribute}, sampled: true,
		Meaning:  "What the 75th percentile is steered to: the limit grows below it and shrinks above.",
		Question: "Is the limit where it should be? The target by the 75th percentile is the gradient."},
	limiterDecisions: {Name: "penstock.limiter.decisions", Kind: Counter, Attributes: []string{serverAttribute, rackAttribute, actionAttribute, causeAttribute}, sampled: true,
		Meaning: "Decisions on a host's limit. Action: grow, shrink, hold, drop (to nothing, for quarantine). Cause: latency, overdue (answers that do not come), " +
			"overload, warning, unused, drain, silence, connection, isolation (cut off from its replicas), return, configuration.",
		Question: "Why is a limit what it is?"},
	replicaState: {Name: "penstock.replica.state", Kind: Gauge, Attributes: []string{serverAttribute, rackAttribute, stateAttribute}, sampled: true,
		Meaning:  "1 for the state that a host is in, 0 for the others: normal, draining (for about 50 ms, to measure it), quarantined, down (as the driver sees it).",
		Question: "Which hosts are not written to, and since when?"},
	replicaDebt: {Name: "penstock.replica.debt", Kind: Gauge, Unit: "By", Attributes: []string{serverAttribute, rackAttribute}, sampled: true,
		Meaning:  "Mutations that a replica was owed while it was absent and has not been given yet, as estimated; absent without debt.",
		Question: "How far is a replica behind, and how long will it be busy catching up?"},
	debtCap: {Name: "penstock.replica.debt.cap", Kind: Gauge, sampled: true,
		Meaning:  "Requests a second that the debt allows; absent while nothing is capped.",
		Question: "Is the writer slowed so that an absent replica is not owed more than it can be given back?"},
	hintsLeft: {Name: "penstock.replica.hints.left", Kind: Gauge, Unit: "s", Attributes: []string{serverAttribute, rackAttribute}, sampled: true,
		Meaning:  "How long coordinators still store hints for an absent replica; 0 when they refuse to.",
		Question: "How long until an absent replica needs a repair?"},
	retryTokens: {Name: "penstock.retry.tokens", Kind: Gauge, sampled: true,
		Meaning:  "Tokens left of the budget for repetitions, of 500. A repetition costs 14, or 5 where a host asked for less; a success gives one back.",
		Question: "Do failed writes wait because nothing succeeds? Then it is near 0."},
	letters: {Name: "penstock.dlq.written", Kind: Counter, Attributes: []string{reasonAttribute},
		Meaning:  "Dead letters that are durable, by the code of the reason.",
		Question: "What is wrong with the events that are parked?"},
	newFingerprints: {Name: "penstock.dlq.fingerprints.first_seen", Kind: Counter,
		Meaning:  "Dead letters with a fingerprint that none of this process's letters had before, of the last 1,000 fingerprints.",
		Question: "Do events fail in a way that is new? After a start everything is."},
	letterFailures: {Name: "penstock.dlq.write_failures", Kind: Counter,
		Meaning:  "Failed attempts to write a dead letter; the shard waits.",
		Question: "Does a shard stand still because S3 does not take its letter?"},
	letterConflicts: {Name: "penstock.dlq.conflicts", Kind: Counter,
		Meaning:  "Attempts to write a dead letter under a key that holds another payload, or a letter that cannot be read; the shard stands still.",
		Question: "Do two records claim one position of the stream, or is a stored letter damaged? Somebody has to look."},
	breakerState: {Name: "penstock.breaker.state", Kind: Gauge, Attributes: []string{streamAttribute, shardAttribute, stateAttribute}, sampled: true,
		Meaning:  "1 for the state that a shard's breaker is in, 0 for the others: counting, tripped (the shard is not read), lifted (by an operator, for a while; nothing is counted).",
		Question: "Does a shard stand still because too many of its events are poison? projector shards list says why, and what lifts it."},

	checkpointLag: {Name: "penstock.checkpoint.lag.records", Kind: Gauge, Attributes: []string{streamAttribute, shardAttribute}, sampled: true,
		Meaning:  "Settled records that the committed checkpoint has not passed yet, by shard.",
		Question: "How much would be read again after a crash, besides what is in flight?"},
	checkpointAge: {Name: "penstock.checkpoint.age", Kind: Gauge, Unit: "s", Attributes: []string{streamAttribute, shardAttribute}, sampled: true,
		Meaning:  "Since the watermark was taken that is committed, while there is more to commit; otherwise 0. By shard.",
		Question: "Do checkpoints still get through to DynamoDB?"},
	currentLeases: {Name: "aws.kinesis.client.current_leases", Kind: Gauge, sampled: true,
		Meaning:  "Leases this worker holds and follows.",
		Question: "Is the work spread evenly?"},
	totalLeases: {Name: "aws.kinesis.client.total_leases", Kind: Gauge, sampled: true,
		Meaning:  "Shards that can be worked on, as this worker sees them: listed, not finished, their parents finished.",
		Question: "How many shards does the fleet share?"},
	neededLeases: {Name: "aws.kinesis.client.needed_leases", Kind: Gauge, sampled: true,
		Meaning:  "Leases this worker lacks to an even share.",
		Question: "Does a new worker get its share?"},
	unownedLeases: {Name: "penstock.leases.unowned", Kind: Gauge, sampled: true,
		Meaning:  "Of the shards that can be worked on, those that nobody holds or whose owner is silent.",
		Question: "Are there shards that nobody reads?"},
	pausedShards: {Name: "penstock.shards.paused", Kind: Gauge, sampled: true,
		Meaning:  "Shards this worker follows and does not read, since an operator paused them.",
		Question: "Does a shard stand still because somebody wants it to? projector shards list says who, why and until when."},
	workers: {Name: "aws.kinesis.client.workers", Kind: Gauge, sampled: true,
		Meaning:  "Workers that take part, as this worker sees them, itself included.",
		Question: "Do all workers see each other?"},
	lostLeases: {Name: "aws.kinesis.client.lost_leases", Kind: Counter,
		Meaning:  "Leases lost to another worker or to time.",
		Question: "Do leases wander? Clocks, starved processors and a throttled table are the usual causes."},
	takenLeases: {Name: "penstock.leases.taken", Kind: Counter, Attributes: []string{reasonAttribute},
		Meaning:  "Leases this worker took, by reason: free, expired, or its own again.",
		Question: "Was a worker taken over from?"},
	renewals: {Name: "aws.kinesis.client.renew_lease.duration", Kind: Histogram, Unit: "s", bounds: callBounds,
		Meaning:  "One renewal of a lease, which commits its checkpoint.",
		Question: "Is the lease table slow?"},
	clockOffset: {Name: "penstock.clock.offset", Kind: Gauge, Unit: "s", sampled: true,
		Meaning:  "How far the service's clock is ahead of this machine's, by the dates of DynamoDB's answers, to about a second; absent while not known.",
		Question: "Is this machine's clock right? Penstock's own leases do not depend on it, those of other consumers do."},

	budgetInUse: {Name: "penstock.budget.in_use", Kind: Gauge, Unit: "By", sampled: true,
		Meaning:  "Memory of records in flight and of replies awaited.",
		Question: "Is reading held back because writing does not keep up? Then it is near its limit."},
	budgetLimit: {Name: "penstock.budget.limit", Kind: Gauge, Unit: "By", sampled: true,
		Meaning:  "Bound of penstock.budget.in_use.",
		Question: "How much may be in flight?"},
	buildInfo: {Name: "penstock.build_info", Kind: Gauge, Attributes: []string{versionAttribute}, sampled: true,
		Meaning:  "1, with the version of the program.",
		Question: "Do all workers run one version?"},
}

// Catalogue returns every instrument of a projector, in the order in which they are best read.
func Catalogue() []Instrument { return slices.Clone(catalogue[:]) }

// made are the instruments of the catalogue, each where its kind has it.
type made struct {
	counters   [instruments]metric.Int64Counter
	histograms [instruments]metric.Float64Histogram
	numbers    [instruments]metric.Int64Observable   // sampled
	floats     [instruments]metric.Float64Observable // sampled, in seconds or parts of one
}

// build makes every instrument of the catalogue.
func build(m metric.Meter) (*made, error) {
	var out made
	var errs []error
	for i, entry := range catalogue {
		var err error
		help, unit := metric.WithDescription(entry.Meaning), metric.WithUnit(entry.Unit)
		switch {
		case entry.Kind == Histogram:
			out.histograms[i], err = m.Float64Histogram(entry.Name, help, unit, metric.WithExplicitBucketBoundaries(entry.bounds...))
		case entry.Kind == Counter && entry.sampled:
			out.numbers[i], err = m.Int64ObservableCounter(entry.Name, help, unit)
		case entry.Kind == Counter:
			out.counters[i], err = m.Int64Counter(entry.Name, help, unit)
		case entry.Unit == "s" || entry.Unit == "1":
			out.floats[i], err = m.Float64ObservableGauge(entry.Name, help, unit)
		default:
			out.numbers[i], err = m.Int64ObservableGauge(entry.Name, help, unit)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("instrument %s: %w", entry.Name, err))
		}
	}
	return &out, errors.Join(errs...)
}

// sampled returns what a callback must name to be allowed to observe it.
func (x *made) sampled() []metric.Observable {
	var out []metric.Observable
	for i := range catalogue {
		if x.numbers[i] != nil {
			out = append(out, x.numbers[i])
		}
		if x.floats[i] != nil {
			out = append(out, x.floats[i])
		}
	}
	return out
}
