package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"penstock/checkpoint"
	"penstock/projector"
	"penstock/sink/deadletter"
	"penstock/stream"
)

// process is one worker: a real projector, and between it and everything else what a crash cuts and a freeze holds.
type process struct {
	*projector.Projector
	world  *world
	name   string
	end    context.CancelCauseFunc // of fetch
	drop   context.CancelCauseFunc // of work
	done   chan error              // holds what Run returned
	logged *observer.ObservedLogs  // errors
	lacked map[any]int             // shards that the last listing lacked: in how many in a row; discovery alone lists

	// Guarded by world.mu:
	dead    bool              // crashed: nothing it does has an effect
	leaving bool              // told to stop
	ended   bool              // Run has returned
	frozen  chan struct{}     // closed at the thaw; nil if it runs
	ahead   time.Duration     // how wrong its clock is
	drift   float64           // and how much more it gets a second
	wrong   time.Time         // from when on
	inHand  map[string]int    // bytes of records that its writer has, by shard
	counted checkpoint.Counts // what the world saw of its records
}

var (
	errCrashed  = errors.New("crashed")
	errDrainCut = errors.New("drain timeout")
)

// tight is a breaker that the poison of a schedule trips now and then.
var tight = deadletter.BreakerConfig{SharePercent: 25, MinRecords: 20, InARow: 3}

// join starts a worker.
func (w *world) join() {
	w.mu.Lock()
	p := &process{world: w, name: fmt.Sprint("w", len(w.processes)), done: make(chan error, 1), inHand: map[string]int{}}
	w.mu.Unlock()
	w.tell("join %s", p.name)
	metrics, err := projector.NewMetrics(noop.NewMeterProvider().Meter(""))
	if err != nil {
		w.breach("%v", err)
		return
	}
	core, logged := observer.New(zap.ErrorLevel)
	p.logged = logged
	config := w.server.AWS()
	config.HTTPClient = wire{p}
	p.Projector, err = projector.New(
		projector.Config{
			Worker: p.name, Version: "simulated", View: watched{process: p}, Generation: 1,
			Failover: w.plant.failover(p.name), InFlight: w.plant.inFlight(), Drain: time.Minute, Log: zap.New(core), Breaker: tight,
		},
		projector.Dependencies{
			Stream: stream.New(config, streamName, zap.NewNop()), Description: w.found,
			Leases: leaseTable{p, w.leases.As(p.name)}, State: itemsOf{p}, Clock: p.clock,
			Writer: writer{p}, Parker: parker{p}, Metrics: metrics,
		})
	if err != nil {
		w.breach("%v", err)
		return
	}
	work, drop := context.WithCancelCause(w.ctx)
	fetch, end := context.WithCancelCause(work)
	p.end, p.drop = end, drop
	w.mu.Lock()
	w.processes = append(w.processes, p)
	w.mu.Unlock()
	w.running.Go(func() {
		err := p.Run(fetch, work)
		w.mu.Lock()
		p.ended = true
		w.mu.Unlock()
		p.done <- err
	})
	w.running.Go(p.observe)
	if w.plant == leftRunning {
		go func() { select {} }()
	}
}

// observe looks at the process again and again until it ends.
func (p *process) observe() {
	for {
		p.balance()
		p.world.mu.Lock()
		ended := p.ended
		p.world.mu.Unlock()
		if ended {
			return
		}
		if err := p.Live(); err != nil {
			p.world.breach("%s: %v", p.name, err)
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-p.world.over:
			return
		}
	}
}

// note counts what the world sees of the process's records.
func (p *process) note(add func(*checkpoint.Counts)) {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	add(&p.counted)
}

func (p *process) balance() checkpoint.Counts {
	c := p.Counts()
	if c.Read != c.Applied+c.Parked+c.InFlight+c.Abandoned {
		p.world.breach("%s: the counts do not balance: %+v", p.name, c)
	}
	return c
}

// audit holds what the process counted against what the world saw, once it has ended. What came after a lease was lost
// the process counts as abandoned, so the world may have seen more outcomes than it, and never fewer.
func (p *process) audit() {
	c := p.balance()
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	p.world.happened["records abandoned"] += int(c.Abandoned)
	if saw := p.counted; c.InFlight != 0 || c.Read != saw.Read || c.Applied > saw.Applied || c.Parked > saw.Parked {
		p.world.breachLocked("%s ended with %+v, and what was seen of it is %+v", p.name, c, saw)
	}
	for _, e := range p.logged.All() {
		if strings.HasPrefix(e.Message, "the breaker has tripped") {
			p.world.happened["breakers tripped"]++
			continue
		}
		if p.dead {
			break
		}
		p.world.breachLocked("%s logged %q with %v", p.name, e.Message, e.ContextMap())
	}
}

// quit is SIGTERM; the drain's time is limited.
func (p *process) quit(drain time.Duration) {
	p.world.mu.Lock()
	told := p.leaving
	p.leaving = true
	p.world.mu.Unlock()
	if told {
		return
	}
	p.end(projector.ErrStopped)
	p.world.running.Go(func() {
		select {
		case <-time.After(drain):
			p.drop(errDrainCut)
		case <-p.world.over:
		}
	})
}

// crash is SIGKILL, or a machine that loses its power: from now on nothing that the process does has an effect. Its
// goroutines are ended, so that nothing of it is left.
func (p *process) crash() {
	p.world.mu.Lock()
	p.dead, p.leaving = true, true
	p.world.mu.Unlock()
	p.thaw()
	p.drop(errCrashed)
}

// await waits until Run has returned.
func (p *process) await() {
	select {
	case err := <-p.done:
		p.world.mu.Lock()
		dead := p.dead
		p.world.mu.Unlock()
		if err != nil && !dead && !errors.Is(err, errDrainCut) {
			p.world.breach("%s ended with %v", p.name, err)
		}
	case <-time.After(5 * time.Minute):
		p.world.breach("%s does not end", p.name)
	}
}

// freeze is SIGSTOP for a while, as far as others can tell.
func (p *process) freeze(last time.Duration) {
	p.world.mu.Lock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
		p.world.running.Go(func() {
			select {
			case <-time.After(last):
				p.thaw()
			case <-p.world.over:
			}
		})
	}
	p.world.mu.Unlock()
}

func (p *process) thaw() {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// pass holds what the process sends or is sent while it is frozen, and for ever once it is dead. The error is the cause
// of ctx's end.
func (p *process) pass(ctx context.Context) error {
	for {
		p.world.mu.Lock()
		dead, frozen := p.dead, p.frozen
		p.world.mu.Unlock()
		switch {
		case dead:
			<-ctx.Done()
			return errCrashed
		case frozen == nil:
			return cause(ctx)
		}
		<-frozen // its time-outs are not noticed meanwhile
	}
}

// cause returns why ctx has ended; nil if it has not.
func cause(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

// linger waits as long as a call takes. The error is the cause of ctx's end.
func (p *process) linger(ctx context.Context, what string, most time.Duration) error {
	select {
	case <-time.After(p.world.upTo(p.name+what, most)):
	case <-ctx.Done():
	}
	return p.pass(ctx)
}

// skew makes the clock wrong by up to an hour, and drift by up to a second in ten.
func (p *process) skew() {
	ahead := p.world.upTo(p.name+"skew", 2*time.Hour) - time.Hour
	drift := p.world.upTo(p.name+"drift", 200*time.Millisecond) - 100*time.Millisecond
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	p.ahead, p.drift, p.wrong = ahead, drift.Seconds(), time.Now()
}

// clock is what the process believes of its clock. All processes of a bubble have one clock, so it is the belief that is
// wrong: the same to those who read what it writes.
func (p *process) clock() checkpoint.Clock {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	if p.wrong.IsZero() {
		return checkpoint.Clock{Known: true}
	}
	return checkpoint.Clock{Known: true, Ahead: p.ahead + time.Duration(p.drift*float64(time.Since(p.wrong)))}
}
