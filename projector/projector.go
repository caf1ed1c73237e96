// Package projector follows the shards of a stream and keeps a view up to date with them.
//
// A [Projector] holds the leases of some shards and runs one loop for each, which is told in shard.go. Around the loops
// stand three goroutines: the supervisor, which starts and ends loops; the lease keeper, which takes, renews and gives
// back leases; and discovery, which lists the stream's shards. Delivery is at least once, and the writes converge: a
// record may be read and applied any number of times, by any number of workers, and the rows are the same.
package projector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/stream"
	"penstock/view"
)

// Config configures a [Projector].
type Config struct {
	Worker     string             // unique to this process: see [NewWorkerID]
	Version    string             // of the program, for dead letters
	Context    deadletter.Context // what else they say of this process; what it leaves open is filled in
	View       view.View
	Generation view.Generation
	Start      stream.Start             // where shards without a checkpoint begin
	Failover   time.Duration            // after which the leases of a silent worker are taken
	Letters    string                   // what the keys of dead letters begin with, for the log
	InFlight   int64                    // memory for records in flight over all shards, bytes; at least 1 MiB
	MaxRecords int                      // records a second to read over all shards; 0 for no cap
	OnLoss     OnLoss                   // what a shard does when records left the stream unread
	Breaker    deadletter.BreakerConfig // how many letters are too many
	Drain      time.Duration            // how long records in flight are waited for when Run ends by itself
	Log        *zap.Logger
}

// Dependencies are the systems a projector works with.
type Dependencies struct {
	Stream      *stream.Stream
	Description stream.Description // of Stream, as it was found at start
	Consumer    *stream.Consumer   // as which shards are subscribed to; nil: they are polled
	Leases      checkpoint.Store
	State       StateTable
	Clock       func() checkpoint.Clock // what is known of the local clock's error
	Writer      Writer
	Parker      Parker
	Progress    ProgressStore // where readers learn how fresh the view is; nil: it is not published
	Metrics     *Metrics
	Load        func(now time.Time) Load // what metrics tell of Writer; nil: nothing
	Tracer      trace.Tracer             // nil: no spans
}

// Projector follows the shards of one stream. Run it once.
type Projector struct {
	config    Config
	deps      Dependencies
	ledger    *checkpoint.Ledger
	budget    *budget
	rate      *rateCap
	board     *board
	metrics   *Metrics
	keeper    *keeper
	publisher *publisher
	trend     trend
	ticked    atomic.Pointer[time.Time] // when the supervisor last came round
	relist    chan struct{}             // holds one when the shards should be listed soon
	retention atomic.Int64              // of the stream, nanoseconds
	onLoss    atomic.Uint32             // an OnLoss

	// Owned by the supervisor.
	listed  map[string]stream.Shard // as discovery saw them last
	unfound map[string]int          // shards that the service did not know when they were read, and how often in a row
	failed  error                   // the first that repeating does not help
	running int
	last    Epitaph
}

// New returns a projector. It starts nothing.
func New(c Config, d Dependencies) (*Projector, error) {
	if c.InFlight < 1<<20 {
		return nil, fmt.Errorf("in flight %d bytes: must be at least 1 MiB", c.InFlight)
	}
	if err := view.Check(c.View); err != nil {
		return nil, err
	}
	if err := c.Breaker.Check(); err != nil {
		return nil, err
	}
	p := &Projector{
		relist:    make(chan struct{}, 1),
		config:    c,
		deps:      d,
		ledger:    checkpoint.NewLedger(),
		budget:    newBudget(c.InFlight),
		rate:      newRateCap(c.MaxRecords),
		board:     newBoard(Role(c.Generation), c.Worker, d.State, d.Clock, c.Log),
		metrics:   d.Metrics,
		publisher: newPublisher(d.Progress, d.Metrics.progressFailed, c.Log),
		listed:    map[string]stream.Shard{},
		unfound:   map[string]int{},
	}
	p.retention.Store(int64(d.Description.Retention))
	p.SetOnLoss(c.OnLoss)
	var err error
	p.keeper, err = newKeeper(keeperConfig{
		Role:     Role(c.Generation), // what this fleet's notes in the state table are kept under
		Worker:   c.Worker,
		Failover: c.Failover,
		Store:    d.Leases,
		State:    d.State,
		Clock:    d.Clock,
		Log:      c.Log.Named("leases"),
		OnEvent:  p.metrics.lease,
	})
	if err != nil {
		return nil, err
	}
	if err := p.metrics.observe(observed{
		stream: d.Stream.Name(), view: c.View.Name(), version: c.Version, retention: p.kept,
		ledger: p.ledger, budget: p.budget, breaker: p.board.breaker, fleet: p.keeper.Seen, call: p.call(), paused: p.board.paused, clock: p.board.clock, load: d.Load,
	}); err != nil {
		return nil, fmt.Errorf("register the projector's metrics: %w", err)
	}
	p.tick()
	return p, nil
}

// SetMaxRecords changes the cap on records a second, also while Run runs; 0 for none.
func (p *Projector) SetMaxRecords(perSecond int) { p.rate.set(perSecond) }

// SetOnLoss changes what a shard does when records left the stream unread, also while Run runs: one that stands still
// looks within half a minute.
func (p *Projector) SetOnLoss(o OnLoss) { p.onLoss.Store(uint32(o)) }

// Counts returns the outcomes of all records so far.
func (p *Projector) Counts() checkpoint.Counts { return p.ledger.Snapshot() }

// Epitaph is what is left to say of a projector that has stopped.
type Epitaph struct {
	Counts   checkpoint.Counts
	Leases   int // shards followed when it began to stop
	Released int // leases of these that were given back; the others expire
}

func (e *Epitaph) note(loop ended) {
	e.Leases++
	if loop.released {
		e.Released++
	}
}

// Epitaph returns what is left to say once Run has returned.
func (p *Projector) Epitaph() Epitaph {
	e := p.last
	e.Counts = p.ledger.Snapshot()
	return e
}

// stalled is how long the supervisor and the keeper may be silent. Neither does anything that takes time.
const stalled = 30 * time.Second

// Live reports an error when the projector's own loops no longer turn. It says nothing of the systems around it. It is
// meaningful while Run runs.
func (p *Projector) Live() error {
	for _, loop := range []struct {
		name string
		last time.Time
	}{{"supervisor", *p.ticked.Load()}, {"lease keeper", p.keeper.LastTurn()}} {
		if silent := time.Since(loop.last); silent > stalled {
			return fmt.Errorf("the %s has not come round for %s", loop.name, silent.Round(time.Second))
		}
	}
	return nil
}

func (p *Projector) tick() { p.ticked.Store(new(time.Now())) }

// ended is what became of a shard's loop.
type ended struct {
	shard    string
	err      error
	released bool // its lease was given back
}

// Run follows shards until fetch ends, with the cause [ErrStopped]: then it takes no more records, waits until those it has are settled, gives its
// leases back with their checkpoints and returns nil. When work ends first, what is not settled by then is abandoned.
// Run returns an error when it ends by itself, because of something an operator must change.
func (p *Projector) Run(fetch, work context.Context) error {
	fetch, stop := context.WithCancelCause(fetch)
	defer stop(nil)
	work, abort := context.WithCancelCause(work)
	defer abort(nil)
	listings := make(chan listing)
	loops := make(chan ended)
	var running sync.WaitGroup
	running.Go(func() {
		// It renews until the last shard has given its lease back: without that a drain could outlive its lease.
		if err := p.keeper.Run(fetch); err != nil {
			stop(fmt.Errorf("keep the leases: %w", err))
		}
	})
	running.Go(func() {
		if err := p.discovery().run(fetch, listings, p.relist); err != nil {
			stop(err)
		}
	})
	running.Go(func() { p.board.run(fetch) })
	publishing, stopPublishing := context.WithCancel(work)
	defer stopPublishing()
	running.Go(func() { p.publisher.run(publishing) })

	turn := time.NewTicker(time.Second)
	defer turn.Stop()
	stopping := fetch.Done()
	for stopping != nil || p.running > 0 {
		p.tick()
		select {
		case l := <-listings:
			p.list(l)
		case l := <-p.keeper.Acquired():
			p.start(fetch, work, &running, l, loops)
		case e := <-loops:
			p.end(e, stop)
			if fetch.Err() != nil {
				p.last.note(e)
			}
		case now := <-turn.C:
			p.metrics.check(now)
			_, _, behind := p.metrics.worst(now)
			p.trend.note(now, behind, p.metrics.busy())
		case <-stopping:
			stopping = nil
			if cause := context.Cause(fetch); cause != ErrStopped { // nobody else limits this drain
				defer time.AfterFunc(p.config.Drain, func() { abort(cause) }).Stop()
			}
		}
	}
	stopPublishing()
	running.Wait()
	if cause := context.Cause(fetch); cause != ErrStopped {
		return cause
	}
	return p.failed
}

// ErrStopped is the cause with which a caller ends Run's fetch context when that is not an error.
var ErrStopped = errors.New("stopped")

func (p *Projector) discovery() *discovery {
	return &discovery{
		stream: p.deps.Stream, found: p.deps.Description, read: p.keeper.Read(), seen: p.keeper.Seen, metrics: p.metrics, log: p.config.Log,
		retention: func(d time.Duration) { p.retention.Store(int64(d)) },
		announcer: announcer{store: p.deps.Progress, failed: p.metrics.progressFailed, log: p.config.Log, told: map[string]bool{}, ended: map[string]bool{}},
	}
}

// kept is how long the stream keeps records at present.
func (p *Projector) kept() time.Duration { return time.Duration(p.retention.Load()) }

// list tells the keeper which shards there are.
func (p *Projector) list(l listing) {
	refs := make([]ShardRef, len(l.shards), len(l.shards)+len(l.missing))
	clear(p.listed)
	for i, s := range l.shards {
		p.listed[s.ID] = s
		refs[i] = ShardRef{ID: s.ID, Parents: s.Parents}
	}
	for _, id := range l.missing {
		refs = append(refs, ShardRef{ID: id, Missing: true})
	}
	maps.DeleteFunc(p.unfound, func(id string, _ int) bool { return !l.listed[id] }) // expired
	p.keeper.SetShards(refs)
}

// start runs the loop of a shard whose lease was acquired.
func (p *Projector) start(fetch, work context.Context, running *sync.WaitGroup, l *lease, loops chan<- ended) {
	log := p.config.Log.With(zap.String("shard", l.Shard()))
	listed := p.listed[l.Shard()]
	listed.ID = l.Shard() // a newer list may have dropped it since the lease was taken
	tracker := p.ledger.NewTracker(l.Checkpoint())
	told := newProgress(tracker, time.Now())
	s := &shard{
		id:       l.Shard(),
		source:   sink.Source{Name: l.Shard()},
		lease:    l,
		reader:   p.reader(listed, l.Checkpoint()),
		view:     p.config.View,
		writer:   p.deps.Writer,
		parker:   p.deps.Parker,
		budget:   p.budget,
		board:    p.board,
		rate:     p.rate,
		breaker:  p.breaker(l, told, log),
		tracker:  tracker,
		progress: told,
		store:    p.deps.Progress,
		losses:   p.lossRules(l.Shard()),
		letter:   p.letter(l.Shard()),
		letters:  p.config.Letters,
		metrics:  p.metrics,
		tracing:  newTracing(p.deps.Tracer, p.deps.Stream.Name(), l.Shard()),
		log:      log,
		refused:  newRefusals(),

		costPerRecord: 8 << 10,
	}
	p.running++
	p.metrics.following(p.running, "")
	p.metrics.follow(s.id, s.progress)
	p.board.follow(s.id)
	p.publisher.follow(s.id, s.progress)
	p.rate.follow(s.id)
	log.Info("shard starts", zap.String("checkpoint", string(l.Checkpoint())))
	running.Go(func() {
		err := s.run(fetch, work)
		loops <- ended{s.id, err, s.released}
	})
}

// unfoundBelieved is how often in a row the service may not know a shard that it lists.
const unfoundBelieved = 3

// end takes note that a shard's loop ended. What repeating does not help ends the projector.
func (p *Projector) end(e ended, stop context.CancelCauseFunc) {
	p.running--
	p.metrics.following(p.running, e.shard)
	p.board.leave(e.shard)
	p.publisher.leave(e.shard)
	p.rate.leave(e.shard)
	unfound := stream.NotFound(e.err)
	if e.err == nil || unfound { // it was read to its end, and others follow on it; or it has expired, as the list shows
		select {
		case p.relist <- struct{}{}:
		default:
		}
	}
	if !unfound {
		delete(p.unfound, e.shard)
	} else if p.unfound[e.shard]++; p.unfound[e.shard] < unfoundBelieved {
		return
	}
	if failed, ok := errors.AsType[*stream.Error](e.err); ok && failed.Kind == stream.Fatal {
		p.fail(e.err, stop)
	}
	if sink.DispositionOf(e.err) == sink.Fatal {
		p.fail(e.err, stop)
	}
}

// fail ends the projector. While it drains already, the error is what Run returns nevertheless.
func (p *Projector) fail(err error, stop context.CancelCauseFunc) {
	p.failed = cmp.Or(p.failed, err)
	stop(err)
}

// breaker returns the breaker of a shard whose lease was acquired.
func (p *Projector) breaker(l *lease, told *progress, log *zap.Logger) *breaker {
	return &breaker{
		shard: l.Shard(), board: p.board, start: l.Checkpoint(), worker: p.config.Worker, since: time.Now(), progress: told,
		count: deadletter.NewBreaker(p.config.Breaker), log: log,
	}
}

// letter returns what all dead letters of a shard have in common.
func (p *Projector) letter(shard string) deadletter.Letter {
	by := p.config.Context
	by.Version, by.Worker = p.config.Version, p.config.Worker
	if v, ok := p.config.View.(interface{ Types() []string }); ok && by.Schemas == nil {
		by.Schemas = v.Types()
	}
	return deadletter.Letter{
		Target: deadletter.Target{View: p.config.View.Name(), Revision: p.config.View.Revision(), Generation: p.config.Generation},
		Source: deadletter.Source{
			Stream: p.deps.Stream.Name(),
			ARN:    p.deps.Description.ARN,
			Epoch:  strconv.FormatInt(p.deps.Description.Created.Unix(), 10),
			Shard:  shard,
		},
		Context: by,
	}
}
