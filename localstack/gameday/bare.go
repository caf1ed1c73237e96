package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/localstack/gameday/report"
	"penstock/localstack/recording"
	"penstock/localstack/zones"
)

// What the naive writer is set to: figures that many a service has.
const (
	naiveLimit   = 64 // requests in flight, to the whole cluster
	naiveTimeout = 3 * time.Second
	naiveRetries = 3
)

const (
	// How long each limit of the search is tried where there is no fault.
	tryTime = 10 * time.Second
	// A worker whose request failed rests, or a host that refuses at once would take all the requests there are.
	restTime = 100 * time.Millisecond
)

// triedLimits are few, since each takes a fault of its own.
var triedLimits = []int{4, 8, 16, 32}

// naive lets the driver's own routing, one fixed limit for the whole cluster and three retries send what the pipeline has been recorded
// to send, in the same batches, through a scenario. What fails in the end is dropped.
func (r *rig) naive(ctx context.Context, s scenario) (report.Result, error) {
	replay, err := recording.Open(r.recorded.File, false)
	if err != nil {
		return report.Result{}, err
	}
	t := newTally()
	session, err := r.session(t, func(c *gocql.ClusterConfig) {
		c.Timeout = naiveTimeout
		c.RetryPolicy = &gocql.SimpleRetryPolicy{NumRetries: naiveRetries}
		c.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy("dc1"), gocql.ShuffleReplicas())
	})
	if err != nil {
		return report.Result{}, err
	}
	defer session.Close()
	working, stop := context.WithCancel(ctx)
	var sending sync.WaitGroup
	var next atomic.Int64
	for range naiveLimit {
		sending.Go(func() { // ends with working
			for working.Err() == nil {
				q := replay.Request(int(next.Add(1)-1) % replay.Len())
				err := send(working, session, q)
				switch {
				case err == nil:
					t.applied(len(q.Statements))
				case working.Err() == nil:
					t.givenUp(len(q.Statements))
				}
			}
		})
	}
	weighing := make(chan []int64, 1)
	go func() { weighing <- r.weigh(working, t.began) }()
	from, to, err := r.strike(ctx, s, t.began, func() load { return load{keyspace: r.warm.Name} })
	stop()
	sending.Wait()
	hints := <-weighing
	if err != nil {
		return report.Result{}, err
	}
	result := t.result(from, to, time.Duration(s.tail)*time.Second)
	result.Writer, result.Hints = report.Naive, hints
	return result, r.calm(ctx)
}

// search finds the fixed limit for each host that gets most through a fault: workers of one host each take the next request there is,
// and one that fails is left to whoever is next. Every node is a replica of every row, so all workers may take all requests.
func (r *rig) search(ctx context.Context, s scenario) (result report.Result, err error) {
	p, err := r.newPuller()
	if err != nil {
		return result, err
	}
	defer p.close()
	result = report.Result{Writer: report.Fixed, At: time.Now().UTC().Truncate(time.Second), Limits: map[int]report.Tried{}}
	for _, limit := range triedLimits {
		if result.Limits[limit], err = r.try(ctx, s, func(ctx context.Context) report.Tried { return p.pull(ctx, limit) }); err != nil {
			return result, err
		}
	}
	return result, nil
}

// try measures over one fault, from its first second, as the daemon was measured: what servers do changes while a fault lasts.
func (r *rig) try(ctx context.Context, s scenario, pull func(context.Context) report.Tried) (report.Tried, error) {
	if s.fault.begin == nil {
		trying, cancel := context.WithTimeout(ctx, tryTime)
		defer cancel()
		return pull(trying), context.Cause(ctx)
	}
	if err := s.fault.begin(ctx, r, load{}); err != nil {
		return report.Tried{}, errors.Join(err, r.mend(s))
	}
	trying, cancel := context.WithTimeout(ctx, faultTime*time.Second)
	defer cancel()
	tried := pull(trying)
	if err := errors.Join(context.Cause(ctx), r.mend(s)); err != nil {
		return report.Tried{}, err
	}
	return tried, r.calm(ctx)
}

// puller has a session of the bare driver to each host. They are opened before a fault, in which some hosts could not be reached.
type puller struct {
	tally    *tally
	replay   *recording.Replay
	sessions [zones.Count]*gocql.Session
}

func (r *rig) newPuller() (_ *puller, err error) {
	p := &puller{tally: newTally()}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.replay, err = recording.Open(r.recorded.File, false); err != nil {
		return nil, err
	}
	for i := range p.sessions {
		host := r.network.Clients(i).String()
		if p.sessions[i], err = r.session(p.tally, func(c *gocql.ClusterConfig) {
			c.Hosts = []string{host}
			c.Timeout = naiveTimeout
			c.HostFilter = gocql.WhiteListHostFilter(host)
		}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *puller) close() {
	for _, s := range p.sessions {
		if s != nil {
			s.Close()
		}
	}
}

// pull sends until ctx ends with so many requests in flight to each host.
func (p *puller) pull(ctx context.Context, limit int) report.Tried {
	p.tally.restart()
	began := p.tally.began
	var next atomic.Int64
	again := make(chan int, len(p.sessions)*limit) // no worker has more than one that failed
	take := func() int {
		select {
		case i := <-again:
			return i
		default:
			return int(next.Add(1)-1) % p.replay.Len()
		}
	}
	var sending sync.WaitGroup
	for _, session := range p.sessions {
		for range limit {
			sending.Go(func() { // ends with ctx
				for ctx.Err() == nil {
					i := take()
					q := p.replay.Request(i)
					if send(ctx, session, q) == nil {
						p.tally.applied(len(q.Statements))
						continue
					}
					again <- i
					_ = until(ctx, time.Now().Add(restTime))
				}
			})
		}
	}
	sending.Wait()
	result := p.tally.result(began, time.Now(), 0)
	return report.Tried{Rows: result.Goodput(), P99: result.FaultP99()}
}

// session opens one of the bare driver.
func (r *rig) session(t *tally, adjust func(*gocql.ClusterConfig)) (*gocql.Session, error) {
	var hosts []string
	for i := range zones.Count {
		hosts = append(hosts, r.network.Clients(i).String())
	}
	cluster := gocql.NewCluster(hosts...)
	cluster.Consistency = gocql.LocalQuorum
	cluster.DefaultTimestamp = false
	cluster.Metadata.CacheMode = gocql.KeyspaceOnly
	if t != nil {
		cluster.QueryObserver, cluster.BatchObserver = t, t
	}
	adjust(cluster)
	return cluster.CreateSession()
}

// send sends a request as the pipeline grouped it. All of it may be repeated, as the rows' timestamps are their own.
func send(ctx context.Context, session *gocql.Session, q recording.Request) error {
	if len(q.Statements) == 1 {
		return session.Query(q.Statements[0], q.Values[0]...).Idempotent(true).ExecContext(ctx)
	}
	batch := session.Batch(gocql.UnloggedBatch).DefaultTimestamp(false)
	for i, s := range q.Statements {
		batch.Query(s, q.Values[i]...)
		batch.Entries[i].Idempotent = true
	}
	return batch.ExecContext(ctx)
}

// weigh looks at the hints once a second until ctx ends.
func (r *rig) weigh(ctx context.Context, began time.Time) (hints []int64) {
	for until(ctx, began.Add(time.Duration(len(hints))*time.Second)) == nil {
		hints = append(hints, r.hintBytes())
	}
	return hints
}

// tally counts by second what a bare writer does. It observes every attempt of the driver.
type tally struct {
	began time.Time

	mu      sync.Mutex
	seconds []tallied
	dropped float64
}

type tallied struct {
	rows      float64
	durations []time.Duration // of attempts that ended
	attempts  float64
	errors    map[string]float64
}

func newTally() *tally { return &tally{began: time.Now()} }

// restart forgets everything.
func (t *tally) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began, t.seconds, t.dropped = time.Now(), nil, 0
}

// at must be called with the lock held.
func (t *tally) at(moment time.Time) *tallied {
	n := max(0, int(moment.Sub(t.began).Seconds()))
	for len(t.seconds) <= n {
		t.seconds = append(t.seconds, tallied{errors: map[string]float64{}})
	}
	return &t.seconds[n]
}

func (t *tally) applied(rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at(time.Now()).rows += float64(rows)
}

func (t *tally) givenUp(rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped += float64(rows)
}

// ObserveQuery implements gocql.QueryObserver.
func (t *tally) ObserveQuery(_ context.Context, q gocql.ObservedQuery) {
	if len(q.Values) > 0 { // the driver asks for itself, too
		t.attempt(q.Start, q.End, q.Err)
	}
}

// ObserveBatch implements gocql.BatchObserver.
func (t *tally) ObserveBatch(_ context.Context, b gocql.ObservedBatch) {
	t.attempt(b.Start, b.End, b.Err)
}

func (t *tally) attempt(start, end time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.at(end)
	s.attempts++
	s.durations = append(s.durations, end.Sub(start))
	if err != nil {
		s.errors[classOf(err)]++
	}
}

// classOf names an error of the driver for a table.
func classOf(err error) string {
	if server, ok := errors.AsType[gocql.RequestError](err); ok {
		switch server.Code() {
		case gocql.ErrCodeUnavailable:
			return "unavailable"
		case gocql.ErrCodeOverloaded:
			return "overloaded"
		case gocql.ErrCodeWriteTimeout:
			return "write timeout"
		}
		return "server"
	}
	if errors.Is(err, gocql.ErrTimeoutNoResponse) || errors.Is(err, context.DeadlineExceeded) {
		return "no answer"
	}
	return "connection"
}

func (t *tally) result(from, to time.Time, tail time.Duration) report.Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	second := func(m time.Time) int { return int(m.Sub(t.began).Seconds() + 0.5) }
	r := report.Result{At: t.began.UTC().Truncate(time.Second), From: second(from), To: second(to), GivenUp: t.dropped, Errors: map[string]float64{}}
	for n, s := range t.seconds {
		r.Rows = append(r.Rows, s.rows)
		slices.Sort(s.durations)
		p99 := 0.0
		if len(s.durations) > 0 {
			p99 = s.durations[(len(s.durations)*99)/100].Seconds() * 1000
		}
		r.P99 = append(r.P99, p99)
		if n < r.From || n > second(to.Add(tail)) {
			continue
		}
		r.Attempts += s.attempts
		r.Successes += s.attempts
		for class, count := range s.errors {
			r.Errors[class] += count
			r.Successes -= count
		}
	}
	return r
}
