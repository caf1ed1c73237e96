package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/localstack/e2e"
	"penstock/localstack/gameday/report"
	"penstock/localstack/shop"
)

// How long one run of the daemon may take: a backlog that was sized for two minutes, on a machine that others use, and every row read.
const drainTimeout = 10 * time.Minute

// errTooShort means that the rest of the fault was spent on the live stream, so that rates say nothing.
var errTooShort = errors.New("the backlog was read to its end before the fault was over")

// drain lets the real daemon drain a backlog and follow a live stream through a scenario, and holds every row against the oracle.
func (r *rig) drain(ctx context.Context, s scenario) (result report.Result, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, drainTimeout, errors.New("the run took longer than ten minutes"))
	defer cancel()
	r.runs++
	if s.fault.restore != nil {
		defer func() {
			restoring, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			err = errors.Join(err, s.fault.restore(restoring, r))
		}()
	}
	if s.fault.prepare != nil {
		if err := s.fault.prepare(ctx, r); err != nil {
			return result, err
		}
	}
	site, err := r.site(ctx, fmt.Sprintf("day%d", r.runs), s.settings...)
	if err != nil {
		return result, err
	}
	input, err := newInput(r, site, r.backlog(s.stops))
	if err != nil {
		return result, err
	}
	if err := input.preload(ctx); err != nil {
		return result, err
	}
	hints, err := r.countHints(ctx)
	if err != nil {
		return result, err
	}
	fleet := &e2e.Fleet{Site: site, Shards: shards, Poll: time.Second}
	defer fleet.Kill()
	daemon, err := fleet.Start(ctx, "daemon")
	if err != nil {
		return result, err
	}
	watch := r.watch(ctx, daemon)
	defer watch.stop()
	live := make(chan error, 1)
	go func() { live <- input.trickle(ctx) }()
	from, to, err := r.strike(ctx, s, watch.began, func() load { return load{site.Name, watch.requests()} })
	if err = errors.Join(err, <-live); err != nil {
		return result, err
	}
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		return result, fmt.Errorf("wait until all is applied: %w", err)
	}
	watch.stop()
	if err := fleet.Stop(ctx); err != nil {
		return result, err
	}
	result = watch.result(from, to, time.Duration(s.tail)*time.Second, r.rowsPerEvent())
	r.speed = max(r.speed, result.Before()/r.rowsPerEvent())
	tooShort := result.Drained > 0 && result.Drained <= result.To
	if err := r.stack.AwaitRing(ctx); err != nil {
		return result, err
	}
	after, err := r.countHints(ctx)
	if err != nil {
		return result, err
	}
	result.HintsWritten = after.since(hints)
	account, err := site.Account(ctx, input.oracle())
	if err != nil {
		return result, err
	}
	for _, d := range account.Differences {
		say("difference: %s", d)
	}
	result.Events, result.Lost, result.Mismatched, result.Parked = account.Events, account.Lost, account.Mismatched+account.Strangers, account.Parked
	if err := r.remove(ctx, site); err != nil {
		return result, err
	}
	if tooShort && result.Right() {
		return result, errTooShort
	}
	return result, nil
}

// remove drops what a run has left on the servers, so that the next finds them as this one did.
func (r *rig) remove(ctx context.Context, site *e2e.Site) error {
	session, err := site.Cassandra()
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.Query("DROP KEYSPACE " + site.Name).ExecContext(ctx); err != nil {
		return fmt.Errorf("drop keyspace %s: %w", site.Name, err)
	}
	if _, err := site.Kinesis().DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &site.Name}); err != nil {
		return fmt.Errorf("delete stream %s: %w", site.Name, err)
	}
	return r.calm(ctx)
}

// input is what one run of the daemon reads: a backlog, and what arrives while it is drained.
type input struct {
	site          *e2e.Site
	backlog, live *shop.Shop
	old, fresh    shop.Seeded
}

func newInput(r *rig, site *e2e.Site, orders int) (*input, error) {
	in := &input{site: site}
	var err error
	if in.backlog, err = newShop(uint64(2*r.runs), orders); err != nil {
		return nil, err
	}
	in.live, err = newShop(uint64(2*r.runs+1), int(liveRate*float64(lead+faultTime+aftermath)/r.eventsPerOrder()))
	return in, err
}

func (in *input) preload(ctx context.Context) (err error) {
	in.old, err = shop.Seed(ctx, in.site.Kinesis(), in.site.Name, in.backlog.Events(), shop.Options{})
	say("%d events wait", in.old.Records)
	return err
}

func (in *input) trickle(ctx context.Context) (err error) {
	in.fresh, err = shop.Seed(ctx, in.site.Kinesis(), in.site.Name, in.live.Events(), shop.Options{Rate: liveRate})
	return err
}

func (in *input) oracle() *shop.Oracle {
	return shop.NewOracle(in.events(), func(id string) bool { return in.old.Acknowledged(id) || in.fresh.Acknowledged(id) })
}

func (in *input) events() iter.Seq[shop.Event] {
	return func(yield func(shop.Event) bool) {
		for _, s := range []*shop.Shop{in.backlog, in.live} {
			for e := range s.Events() {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// watch looks at a daemon and at the hints of the nodes once a second.
type watch struct {
	began time.Time
	end   context.CancelFunc
	ended chan struct{}

	mu      sync.Mutex
	samples []report.Sample
	hints   []int64
}

func (r *rig) watch(ctx context.Context, d *e2e.Daemon) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{began: time.Now(), end: cancel, ended: make(chan struct{})}
	go func() { // ends with stop
		defer close(w.ended)
		for n := 0; until(ctx, w.began.Add(time.Duration(n)*time.Second)) == nil; n++ {
			hints := r.hintBytes()
			status, text, err := d.Get(ctx, "/metrics")
			if err != nil || status != http.StatusOK {
				continue // a second without a sample
			}
			sample, err := report.ParseSample(text, time.Now())
			if err != nil {
				continue
			}
			w.mu.Lock()
			w.samples = append(w.samples, sample)
			for len(w.hints) <= n {
				w.hints = append(w.hints, hints)
			}
			w.mu.Unlock()
		}
	}()
	return w
}

// stop ends the watching. It may be called again.
func (w *watch) stop() {
	w.end()
	<-w.ended
}

// requests is how many attempts a second succeeded over the last five seconds.
func (w *watch) requests() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.samples)
	if n < 6 {
		return 0
	}
	_, successes, _ := report.AttemptsBetween(w.samples[n-6], w.samples[n-1])
	return successes / w.samples[n-1].At.Sub(w.samples[n-6].At).Seconds()
}

// result is what was seen of a fault, and of so much time after it.
func (w *watch) result(from, to time.Time, tail time.Duration, rowsPerEvent float64) report.Result {
	second := func(t time.Time) int { return int(t.Sub(w.began).Seconds() + 0.5) }
	r := report.Result{Writer: report.Daemon, At: w.began.UTC().Truncate(time.Second), From: second(from), To: second(to), Hints: w.hints}
	r.Rows, r.P99, r.Debt = report.BySecond(w.samples, rowsPerEvent)
	r.Drained = report.DrainedAt(w.samples)
	first, last := report.SampleAt(w.samples, from), report.SampleAt(w.samples, to.Add(tail))
	r.Attempts, r.Successes, r.Errors = report.AttemptsBetween(first, last)
	return r
}

// resultsFile is where all results are kept.
func resultsFile(folder string) string { return filepath.Join(folder, report.ResultsFile) }
