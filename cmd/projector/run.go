package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/checkpoint/leasetable"
	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/diagnosis"
	"penstock/objects"
	"penstock/projector"
	"penstock/sink"
	"penstock/sink/cassandra"
	"penstock/sink/deadletter"
	"penstock/stream"
	"penstock/view"
)

func runCommand() *cobra.Command {
	var s cli.Settings
	c := &cobra.Command{
		Use:   "run",
		Short: "Follow the stream and keep the view up to date",
		Long: `Run follows the stream until it is told to stop. It shares the shards with every other daemon of the
same application, and waits for what is out of reach: an absent Cassandra, S3 or DynamoDB is not a failure.

SIGHUP reads the configuration again, applies what can change while running, and logs what needs a
restart. A configuration with a mistake changes nothing.

SIGTERM or SIGINT drains: no more records are taken, those in flight are settled, checkpoints are
committed and leases released. After drain_timeout, or at a second signal, the rest is abandoned to
the next owner of the shards, and the exit code is 8.`,
		Example: "  projector run --config penstock.yaml\n  PENSTOCK_TELEMETRY_LISTEN=:9100 projector run --config penstock.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, v, err := s.LoadView(c)
			if err != nil {
				return err
			}
			log, level, err := cli.NewLogger(conf.Telemetry.LogLevel)
			if err != nil {
				return err
			}
			fetch, work, release := stopOnSignals(c.Context(), conf.DrainTimeout, log)
			defer release()
			return run(fetch, work, conf, v, &reloader{
				running: conf, applied: conf, load: func() (*config.Config, error) { return s.Load(c) }, level: level, log: log,
			})
		},
	}
	s.Bind(c)
	return c
}

// Why a drain is cut short.
var (
	errDrainTimeout = errors.New("drain_timeout is over")
	errSecondSignal = errors.New("second signal")
)

// stopOnSignals returns the two contexts of a run. The first SIGTERM or SIGINT ends fetch; a second one, or the drain
// timeout, ends work.
func stopOnSignals(parent context.Context, drain time.Duration, log *zap.Logger) (fetch, work context.Context, release func()) {
	work, abort := context.WithCancelCause(parent)
	fetch, stop := context.WithCancelCause(work)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case got := <-signals:
			log.Info("draining", zap.Stringer("signal", got), zap.Duration("at_most", drain))
			stop(projector.ErrStopped)
		case <-done:
			return
		}
		select {
		case <-signals:
			abort(errSecondSignal)
		case <-time.After(drain):
			abort(errDrainTimeout)
		case <-done:
		}
	}()
	return fetch, work, func() {
		signal.Stop(signals)
		close(done)
		<-ended
		stop(nil)
		abort(nil)
	}
}

// run connects everything and follows the stream.
func run(fetch, work context.Context, conf *config.Config, v view.View, reload *reloader) error {
	log := reload.log
	limitMemory(int64(conf.Pressure.InFlight))
	told, err := newTelemetry()
	if err != nil {
		return err
	}
	metrics, err := projector.NewMetrics(told.provider.Meter("penstock"))
	if err != nil {
		return err
	}
	tracer, stopTracing, err := newTracer(work, log)
	if err != nil {
		return err
	}
	defer stopTracing()
	stopPublic, err := serve("telemetry.listen", conf.Telemetry.Listen, told.public(), log)
	if err != nil {
		return err
	}
	defer stopPublic()
	stopAdmin, err := serve("telemetry.admin", conf.Telemetry.Admin, told.admin(), log)
	if err != nil {
		return err
	}
	defer stopAdmin()

	parts, err := connect(fetch, conf, v, log)
	if errors.Is(err, projector.ErrStopped) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parts.session.Close()
	generation := view.Generation(conf.View.Generation)
	limits, debt := cli.WriterLimits(conf)
	writer, err := cassandra.NewWriter(parts.session, cassandra.WriterConfig{
		View: v, Generation: generation, Limits: limits, Debt: debt, Log: log.Named("writer"), Observe: metrics.Wrote,
	})
	if err != nil {
		return err
	}
	defer writer.Wait()

	worker := projector.NewWorkerID(conf.Leases.Worker)
	replicas, err := cassandra.NewReplicaWatch(writer, cassandra.ReplicaWatchConfig{
		Role: projector.Role(generation), Worker: worker, State: parts.state, Log: log.Named("replicas"),
	})
	if err != nil {
		return err
	}
	p, err := projector.New(projector.Config{
		Worker:     worker,
		Version:    cli.Version(),
		Context:    deadletter.Context{Commit: commit(), Config: conf.Digest(), Host: hostname()},
		View:       v,
		Generation: generation,
		Start:      stream.Start{At: conf.Kinesis.Start.At},
		Failover:   conf.Leases.Failover,
		Letters:    conf.DeadLetters.Prefix,
		InFlight:   int64(conf.Pressure.InFlight),
		MaxRecords: conf.Pressure.MaxRecordsPerSecond,
		OnLoss:     onLoss(conf),
		Breaker:    breaker(conf),
		Drain:      conf.DrainTimeout,
		Log:        log,
	}, projector.Dependencies{
		Stream:      parts.stream,
		Description: parts.description,
		Consumer:    parts.consumer,
		Leases:      parts.leases,
		State:       parts.state,
		Clock:       parts.dynamo.Clock,
		Writer:      writer,
		Parker:      deadletter.New(deadletter.Config{Log: log.Named("deadletter"), Failed: metrics.LetterFailed}, parts.bucket),
		Progress:    cassandra.NewProgress(parts.session, v, generation),
		Metrics:     metrics,
		Load:        func(now time.Time) projector.Load { return loadOf(writer.Pressure(now)) },
		Tracer:      tracer,
	})
	if err != nil {
		return err
	}
	reload.writer, reload.reader = writer, p
	var reloading sync.WaitGroup
	defer reloading.Wait()
	watching, unwatch := context.WithCancel(fetch) // which goes on when Run ends by itself
	defer unwatch()
	reloading.Go(func() { reload.watch(watching) })
	// Also during a drain, which writes.
	watchingReplicas, unwatchReplicas := context.WithCancel(work)
	var watched sync.WaitGroup
	watched.Go(func() { replicas.Run(watchingReplicas) })
	defer watched.Wait()
	defer unwatchReplicas()
	asked := pressureOf(writer, p)
	told.pressure.Store(&asked)
	live := p.Live
	told.live.Store(&live)
	told.ready.Store(true)
	unready := context.AfterFunc(fetch, func() { told.ready.Store(false) })
	defer unready()

	began := time.Now()
	err = p.Run(fetch, work)
	last := p.Epitaph()
	cut := context.Cause(work)
	why := "asked to"
	if failed := cmp.Or(err, cut); failed != nil {
		why = failed.Error()
	}
	log.Info("stopped", zap.String("why", why),
		zap.String("leases_released", fmt.Sprintf("%d of %d", last.Released, last.Leases)),
		zap.Int64("read", last.Counts.Read), zap.Int64("applied", last.Counts.Applied), zap.Int64("parked", last.Counts.Parked),
		zap.Int64("abandoned", last.Counts.Abandoned), zap.Duration("ran", time.Since(began).Round(time.Millisecond)))
	if err == nil && cut != nil {
		return cli.Exit(cli.ExitDrainPartial, fmt.Errorf("drain incomplete: %w: %d records were abandoned and will be read again", cut, last.Counts.Abandoned))
	}
	return err
}

// breaker is how many letters of a shard are too many.
func breaker(conf *config.Config) deadletter.BreakerConfig {
	d := conf.DeadLetters
	return deadletter.BreakerConfig{SharePercent: d.BreakerPercent, MinRecords: d.BreakerRecords, InARow: d.BreakerInARow}
}

func onLoss(conf *config.Config) projector.OnLoss {
	if conf.Kinesis.OnLoss == config.OnLossContinue {
		return projector.ContinueAfterLoss
	}
	return projector.StopOnLoss
}

// limitMemory keeps the process within twice the records in flight and 64 MiB, unless GOMEMLIMIT says otherwise: records,
// what is projected from them, and replies being decoded. The runtime's limit is soft and does not count the program's
// own text, which are given 32 MiB of that. Below the limit there is little reason to collect: an idle process stays
// small all the same, since it collects at five times what it needs.
func limitMemory(inFlight int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(2*inFlight + 32<<20)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// parts are the systems around the daemon, found to be there and fit.
type parts struct {
	stream      *stream.Stream
	description stream.Description
	consumer    *stream.Consumer // nil where shards are polled
	rows        []checkpoint.Row // of the lease table, at start
	dynamo      *leasetable.Client
	leases      *leasetable.Table
	state       *leasetable.State
	session     *cassandra.Session
	bucket      *objects.Store
}

// connect finds out whether everything is there, and waits for what does not answer. The error is one that waiting does
// not help, or the cause of ctx's end.
func connect(ctx context.Context, conf *config.Config, v view.View, log *zap.Logger) (*parts, error) {
	awsConf, err := cli.LoadAWS(ctx, log)
	if err != nil {
		return nil, err
	}
	if err := conf.CheckRegion(awsConf.Region); err != nil {
		return nil, err
	}
	p := &parts{stream: stream.New(awsConf, conf.Kinesis.StreamName(), log), dynamo: leasetable.NewClient(awsConf)}
	p.leases, p.state = tables(p.dynamo, conf)
	// One attempt each: the parker repeats, and knows for how long.
	p.bucket, err = objects.New(awsConf, objects.Config{Bucket: conf.DeadLetters.Bucket, Prefix: conf.DeadLetters.Prefix, KMSKey: conf.DeadLetters.KMSKey, Attempts: 1})
	if err != nil {
		return nil, err
	}
	await := func(what string, try func() error, fatal func(error) bool) error {
		return await(ctx, log, what, try, fatal)
	}
	if err := await("kinesis", func() (err error) {
		p.description, err = p.stream.Describe(ctx)
		return err
	}, refusedByKinesis); err != nil {
		return nil, err
	}
	if err := conf.CheckStream(p.description.ARN); err != nil {
		return nil, err
	}
	if conf.Kinesis.Reader == config.ReaderFanOut {
		if err := await("kinesis", func() (err error) {
			p.consumer, err = p.stream.FindConsumer(ctx, p.description.ARN, conf.ConsumerName())
			return err
		}, refusedByKinesis); err != nil {
			return nil, err
		}
	}
	for _, check := range []func(context.Context) error{p.leases.Check, p.state.Check} {
		if err := await("dynamodb", func() error { return check(ctx) }, hopeless); err != nil {
			return nil, err
		}
	}
	if err := p.refuseForeignLeases(ctx, await); err != nil {
		return nil, err
	}
	if err := p.recogniseStream(ctx, projector.Role(view.Generation(conf.View.Generation)), log, await); err != nil {
		return nil, err
	}
	// An S3 that does not answer is not waited for: only a shard that meets poison needs it.
	if err := p.bucket.CheckBucket(ctx); objects.ClassOf(err) == objects.Fatal {
		return nil, fmt.Errorf("dead_letters.bucket: %w", err)
	} else if err != nil {
		log.Warn("dead letters cannot be written at present", zap.Error(err))
	}
	generation := view.Generation(conf.View.Generation)
	err = await("cassandra", func() (err error) {
		if p.session == nil {
			if p.session, err = cassandra.Connect(cli.CassandraConfig(conf, log)); err != nil {
				return err
			}
		}
		if err := p.session.CheckSchema(ctx, v, generation); err != nil {
			return err
		}
		return p.session.CheckRevision(ctx, v, generation)
	}, func(err error) bool { return sink.DispositionOf(err) == sink.Fatal })
	if err == nil {
		return p, nil
	}
	if p.session != nil {
		p.session.Close()
	}
	return nil, err
}

func refusedByKinesis(err error) bool {
	failed, ok := errors.AsType[*stream.Error](err)
	return ok && failed.Kind == stream.Fatal
}

// refuseForeignLeases ends a daemon that would work on the leases of another stream: it would never read the shards that
// these call finished.
func (p *parts) refuseForeignLeases(ctx context.Context, await func(what string, try func() error, fatal func(error) bool) error) error {
	var shards []stream.Shard
	if err := await("kinesis", func() (err error) {
		shards, err = p.stream.Shards(ctx)
		return err
	}, refusedByKinesis); err != nil {
		return err
	}
	if err := await("dynamodb", func() (err error) {
		p.rows, err = p.leases.Rows(ctx)
		return err
	}, hopeless); err != nil {
		return err
	}
	if f := foreignLeases(p.leases.Name(), p.rows, shards); f.Level == diagnosis.Refused {
		return cli.Exit(cli.ExitRefused, fmt.Errorf("leases in table %s %s: %s", f.Name, f.Found, f.Do))
	}
	return nil
}

// recogniseStream ends a daemon whose leases are of an earlier stream of this name, and notes of which stream they are
// while there is no note or no lease.
func (p *parts) recogniseStream(ctx context.Context, role string, log *zap.Logger,
	await func(what string, try func() error, fatal func(error) bool) error) error {
	return await("dynamodb", func() error {
		noted, known, err := projector.NotedStream(ctx, p.state, role, p.stream.Name())
		if err != nil {
			return err
		}
		switch same := projector.SameStream(noted, p.description); {
		case known && same == nil:
			return nil
		case known && len(p.rows) > 0:
			return same
		case len(p.rows) > 0:
			log.Warn("the leases did not say of which stream they are: they are taken for those of this one",
				zap.String("arn", p.description.ARN), zap.Time("created", p.description.Created))
		}
		return projector.NoteStream(ctx, p.state, role, p.stream.Name(), p.description)
	}, func(err error) bool { return errors.Is(err, projector.ErrOtherStream) || hopeless(err) })
}

// await tries until it succeeds, fails for good, or ctx ends.
func await(ctx context.Context, log *zap.Logger, what string, try func() error, fatal func(error) bool) error {
	for attempt := 0; ; attempt++ {
		err := try()
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err == nil || fatal(err) {
			return err
		}
		wait := min(time.Second<<min(attempt, 4), 10*time.Second)
		log.Warn("waiting for "+what, zap.Error(err))
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
