package cassandra

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"go.uber.org/zap"

	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/view"
	"penstock/view/viewtest"
)

// scripted is a cluster of hosts that answer as a test says, in virtual time. Every host is a replica of everything.
type scripted struct {
	writer *Writer
	hosts  []*host

	mu       sync.Mutex
	answer   func(at *host, r *request) error // nil is success
	delay    func(at *host) time.Duration
	attempts map[*host]int
	schema   error
}

// newScripted is a cluster of three whose hosts answer after five milliseconds.
func newScripted(t *testing.T) *scripted {
	c := &scripted{attempts: map[*host]int{}}
	for _, id := range []string{"a", "b", "c"} {
		h := &host{id: id, address: id}
		h.up.Store(true)
		c.hosts = append(c.hosts, h)
	}
	session := &Session{router: newRouter("ks", "dc1")}
	session.router.ring.Store(newRing(c.hosts, replication{}))
	w, err := NewWriter(session, WriterConfig{View: viewtest.Stock{}, Generation: 1, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	c.writer = w
	c.answer = func(*host, *request) error { return nil }
	c.delay = func(*host) time.Duration { return 5 * time.Millisecond }
	w.checkSchema = func(context.Context) error { return c.schema }
	w.execute = func(_ *worker, ctx context.Context, r *request, _ []statement) error {
		at := ctx.Value(pinnedHostKey{}).(*host)
		c.mu.Lock()
		c.attempts[at]++
		wait, answer := c.delay(at), c.answer
		c.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return answer(at, r)
	}
	return c
}

// script changes how hosts answer.
func (c *scripted) script(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// write submits so many records of one row each and returns what each was settled with.
func (c *scripted) write(t *testing.T, n int) []error {
	mutations := make([]view.Mutation, n)
	for i := range mutations {
		mutations[i] = changeOf(fmt.Sprint("w", i), "a")[0]
	}
	return apply(c.writer, t.Context(), mutations)
}

func (c *scripted) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.attempts {
		n += k
	}
	return n
}

func (c *scripted) stateOf(h *host) adaptive.State {
	c.writer.gate.mu.Lock()
	defer c.writer.gate.mu.Unlock()
	return c.writer.gate.limiterOf(h, time.Now()).State()
}

// For each class of errors that one host of three answers with: every record is applied, through the others; the host is in
// quarantine soon, and out of it when it answers again; and what is sent is hardly more than what is needed.
func TestWhatEachErrorOfOneHostLeadsTo(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		after time.Duration
	}{
		"write time-out":               {answer(gocql.ErrCodeWriteTimeout), 2 * time.Second},
		"no answer":                    {gocql.ErrTimeoutNoResponse, 3 * time.Second},
		"connection closed":            {gocql.ErrConnectionClosed, 0},
		"connection reset":             {io.EOF, 0},
		"no connection":                {gocql.ErrNoConnections, 0},
		"no streams":                   {gocql.ErrNoStreams, 0},
		"not yet part of the cluster":  {answer(gocql.ErrCodeBootstrapping), time.Millisecond},
		"too few replicas, it says":    {answer(gocql.ErrCodeUnavailable), time.Millisecond},
		"overloaded":                   {answer(gocql.ErrCodeOverloaded), time.Millisecond},
		"replicas failed":              {&gocql.RequestErrWriteFailure{ErrorMap: gocql.ErrorMap{"x": 5}}, time.Millisecond},
		"no space for changed data":    {answer(gocql.ErrCodeCDCWriteFailure), time.Millisecond},
		"statement not prepared there": {answer(gocql.ErrCodeUnprepared), time.Millisecond},
		"something unexplained":        {answer(gocql.ErrCodeServer), time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newScripted(t)
				bad, broken := cluster.hosts[1], true
				cluster.script(func() {
					healthy := cluster.delay
					cluster.delay = func(at *host) time.Duration {
						if at == bad && broken {
							return c.after
						}
						return healthy(at)
					}
					cluster.answer = func(at *host, _ *request) error {
						if at == bad && broken {
							return c.err
						}
						return nil
					}
				})
				successes := cluster.run(t, 12*time.Second)
				if got := cluster.stateOf(bad); got != adaptive.Quarantined {
					t.Errorf("the host is %s", got)
				}
				if attempts := cluster.total(); float64(attempts) > 1.1*float64(successes) {
					t.Errorf("%d attempts for %d requests", attempts, successes)
				}
				cluster.script(func() { broken = false })
				cluster.run(t, 12*time.Second)
				if got := cluster.stateOf(bad); got == adaptive.Quarantined {
					t.Error("the host answers again and is still in quarantine")
				}
				cluster.writer.Wait()
			})
		})
	}
}

// run lets four sources write ten rows after ten rows for a time, and returns how many requests that took at least.
func (c *scripted) run(t *testing.T, d time.Duration) (requests int) {
	var mu sync.Mutex
	var writing sync.WaitGroup
	end := time.Now().Add(d)
	for range 4 {
		writing.Go(func() {
			for time.Now().Before(end) {
				for i, err := range c.write(t, maxRequestMutations) {
					if err != nil {
						t.Errorf("record %d: %v", i, err)
					}
				}
				mu.Lock()
				requests++
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	return requests
}

// What repeating does not help ends the writer's part at once, and is told as what it is.
func TestWhatIsFatalIsNotRepeated(t *testing.T) {
	for name, err := range map[string]error{
		"no rights": answer(gocql.ErrCodeUnauthorized), "syntax": answer(gocql.ErrCodeSyntax), "closed": gocql.ErrSessionClosed,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := newScripted(t)
				cluster.script(func() { cluster.answer = func(*host, *request) error { return err } })
				for _, got := range cluster.write(t, 3) {
					if sink.DispositionOf(got) != sink.Fatal || !errors.Is(got, err) {
						t.Errorf("settled with %v", got)
					}
				}
				cluster.writer.Wait()
				if n := cluster.total(); n != 1 {
					t.Errorf("%d attempts", n)
				}
			})
		})
	}
}

// A table that is gone is not called invalid at first, but answered with something unexplained: nobody waits for that to
// pass.
func TestAnUnexplainedErrorIsReasonToLookAtTheSchema(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newScripted(t)
		cluster.schema = &SchemaError{}
		cluster.script(func() { cluster.answer = func(*host, *request) error { return answer(gocql.ErrCodeServer) } })
		began := time.Now()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		stopped := errors.New("stopped by the first")
		var settled sync.WaitGroup
		records := make([]awaited, 200)
		writes := make([]sink.Write, len(records))
		for i := range writes {
			settled.Add(1)
			records[i].settled = &settled
			writes[i] = sink.Write{Mutations: changeOf(fmt.Sprint("w", i), "a"), Record: stopping{&records[i], func() { cancel(stopped) }}}
		}
		cluster.writer.Submit(ctx, new(sink.Source), writes)
		settled.Wait()
		broken := 0
		for i := range records {
			if _, ok := errors.AsType[*SchemaError](records[i].err); ok {
				broken++
			} else if !errors.Is(records[i].err, stopped) {
				t.Errorf("record %d: %v", i, records[i].err)
			}
		}
		if took := time.Since(began); broken == 0 || took > time.Second {
			t.Errorf("%d of %d told of the schema, after %s", broken, len(records), took)
		}
		cluster.writer.Wait()
	})
}

// stopping is a record that stops everything when it cannot be applied.
type stopping struct {
	*awaited
	stop func()
}

// Settle implements sink.Settler.
func (s stopping) Settle(err error) {
	if err != nil {
		s.stop()
	}
	s.awaited.Settle(err)
}

// poisonous is whether a request holds the record that no server takes, with its values.
func poisonous(r *request) bool {
	for _, p := range r.parts {
		if p.mutation.Key[0].Text() == "w7" && r.suspicion == nil {
			return true
		}
	}
	return false
}

// An outage of everything in the middle of which a record is poison: the outage parks nothing, however long it takes, and
// in the end the one record is.
func TestPoisonInTheMiddleOfAnOutageIsTheOnlyOneRefused(t *testing.T) {
	for name, outage := range map[string]error{
		"overload": answer(gocql.ErrCodeOverloaded), "time-outs": answer(gocql.ErrCodeWriteTimeout), "unexplained": answer(gocql.ErrCodeServer),
	} {
		for poisonName, poison := range map[string]error{"invalid": answer(gocql.ErrCodeInvalid), "unexplained": answer(gocql.ErrCodeServer)} {
			t.Run(name+", "+poisonName, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cluster := newScripted(t)
					out := true
					cluster.script(func() {
						cluster.answer = func(_ *host, r *request) error {
							switch {
							case poisonous(r) && poisonName == "invalid":
								return poison // a coordinator finds that out by itself
							case out:
								return outage
							case poisonous(r):
								return poison
							}
							return nil
						}
					})
					time.AfterFunc(10*time.Minute, func() { cluster.script(func() { out = false }) })
					began := time.Now()
					for i, err := range cluster.write(t, 60) {
						p, refused := view.AsPoison(err)
						switch {
						case refused != (i == 7):
							t.Errorf("record %d: %v", i, err)
						case refused && (p.Stage != view.StageWrite || p.Tries < 2 || p.First.Before(began) || len(p.Causes) == 0 || len(p.Causes) > p.Tries):
							t.Errorf("refused as %+v", p)
						case !refused && err != nil:
							t.Errorf("record %d: %v", i, err)
						}
					}
					if took := time.Since(began); took < 10*time.Minute || took > 12*time.Minute {
						t.Errorf("settled after %s, the outage took 10 minutes", took)
					}
					cluster.writer.Wait()
					if n := cluster.total(); n > 4000 {
						t.Errorf("%d attempts in an outage of ten minutes", n)
					}
				})
			})
		}
	}
}

// One host after another is down for a while, as when a cluster is restarted; one is replaced by another in the end.
func TestAllIsWrittenWhileHostsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newScripted(t)
		var down *host
		cluster.script(func() {
			cluster.answer = func(at *host, _ *request) error {
				if at == down {
					return gocql.ErrConnectionClosed
				}
				return nil
			}
		})
		var writing sync.WaitGroup
		writing.Go(func() {
			for range 600 {
				for i, err := range cluster.write(t, 50) {
					if err != nil {
						t.Errorf("record %d: %v", i, err)
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
		for _, h := range cluster.hosts {
			cluster.script(func() { down = h })
			time.Sleep(2 * time.Second) // until the driver notices
			h.up.Store(false)
			time.Sleep(10 * time.Second)
			cluster.script(func() { down = nil })
			h.up.Store(true)
			time.Sleep(3 * time.Second)
		}
		replacement := &host{id: "d", address: "d"}
		replacement.up.Store(true)
		cluster.writer.session.router.ring.Store(newRing([]*host{cluster.hosts[1], cluster.hosts[2], replacement}, replication{}))
		writing.Wait()
		cluster.writer.Wait()
		if cluster.attempts[replacement] == 0 {
			t.Error("the new host was sent nothing")
		}
	})
}

// A host that answers slowly is sent less, and the others no less than before.
func TestASlowHostDoesNotSlowTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := newScripted(t)
		slow := cluster.hosts[0]
		var settled sync.WaitGroup
		const pages, page = 400, 50 * maxRequestMutations
		submit := func() {
			for range pages {
				writes := make([]sink.Write, page)
				for i := range writes {
					settled.Add(1)
					writes[i] = sink.Write{Mutations: changeOf(fmt.Sprint("w", i), "a"), Record: &awaited{settled: &settled}}
				}
				cluster.writer.Submit(t.Context(), new(sink.Source), writes)
			}
		}
		submit()
		began := time.Now()
		settled.Wait()
		healthy := time.Since(began)
		cluster.script(func() {
			cluster.delay = func(at *host) time.Duration {
				if at == slow {
					return 400 * time.Millisecond
				}
				return 5 * time.Millisecond
			}
		})
		submit()
		began = time.Now()
		settled.Wait()
		if took := time.Since(began); took > 4*healthy+5*time.Second {
			t.Errorf("with one slow host %s, without %s", took, healthy)
		}
		cluster.script(func() {
			if a, b := cluster.attempts[slow], cluster.attempts[cluster.hosts[1]]; a > b*2/3 {
				t.Errorf("the slow host was sent %d requests, another %d", a, b)
			}
		})
		cluster.writer.Wait()
	})
}
