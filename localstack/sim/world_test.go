package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/zap"

	"penstock/checkpoint/storetest"
	"penstock/localstack/emulator"
	"penstock/projector"
	"penstock/stream"
	"penstock/view"
)

const (
	streamName = "stock"
	failover   = 5 * time.Second
	inFlight   = 1 << 20 // of each process, bytes
	// settledWithin bounds how long a fleet may take to come to rest once all faults have stopped: a take-over, discovery's
	// longest pause of 45 s, and generations of shards that are read one after another.
	settledWithin = 2 * time.Minute
	mostWorkers   = 4 // alive at a time
)

// world is everything around the projectors of one schedule.
type world struct {
	ctx     context.Context
	seed    uint64
	plant   plant
	start   time.Time
	server  *emulator.Running
	client  *kinesis.Client
	found   stream.Description
	leases  *storetest.Memory
	state   *stateTable
	running sync.WaitGroup
	over    chan struct{} // closed when nothing more is observed

	mu        sync.Mutex // never held while waiting, nor while a table is called
	ledger    *ledger
	processes []*process
	draws     map[string]uint64
	coming    map[*view.Mutation]position // of projected records, by their first mutation
	windows   map[window]time.Time        // until when
	auto      bool                        // the stream's record distribution is AUTO
	happened  map[string]int
	broken    []string
	trace     []string // what was done, for those who read a failure
}

// window is a fault while it lasts; who is "" for everybody.
type window struct {
	act act
	who string
}

// result is what a schedule ended in.
type result struct {
	broken   []string // invariants that did not hold; none is success
	trace    []string
	happened map[string]int
	virtual  time.Duration
	rest     time.Duration // how long the fleet took to come to rest
}

// run plays a schedule. It is called in a bubble.
func run(ctx context.Context, s schedule, p plant) result {
	w, err := newWorld(ctx, s, p)
	if err != nil {
		return result{broken: []string{err.Error()}}
	}
	for range s.workers {
		w.join()
	}
	for _, step := range s.steps {
		time.Sleep(step.after)
		w.do(step)
		if w.failed() {
			break
		}
	}
	rest := w.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	return result{broken: w.broken, trace: w.trace, happened: w.happened, virtual: time.Since(w.start), rest: rest}
}

func newWorld(ctx context.Context, s schedule, p plant) (*world, error) {
	w := &world{
		ctx: ctx, seed: s.seed, plant: p, start: time.Now(), over: make(chan struct{}),
		server: emulator.ListenInMemory(context.WithoutCancel(ctx), emulator.New(emulator.Config{Unlimited: true, ReadQuota: emulator.ServiceReadQuota})),
		ledger: newLedger(), draws: map[string]uint64{}, coming: map[*view.Mutation]position{}, windows: map[window]time.Time{}, happened: map[string]int{},
	}
	w.leases = &storetest.Memory{Script: w.scriptLeases, Applied: w.changed, Weakness: p.weakness()}
	w.state = &stateTable{world: w, items: &storetest.Items{Script: w.scriptState}}
	w.client = kinesis.NewFromConfig(w.server.AWS())
	w.server.Intercept(w.intercept)
	_, err := w.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String(streamName), ShardCount: aws.Int32(int32(s.shards))})
	if err == nil {
		w.found, err = stream.New(w.server.AWS(), streamName, zap.NewNop()).Describe(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, w.server.Close())
	}
	w.relist()
	return w, nil
}

// draw returns a number below n that depends on the seed, on who asks for what, and on how often he did.
func (w *world) draw(what string, n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draws[what]++
	h := fnv.New64a()
	fmt.Fprint(h, what, w.draws[what]) // a hash never returns an error
	return rand.New(rand.NewPCG(w.seed, h.Sum64())).IntN(n)
}

// upTo draws a duration above 0.
func (w *world) upTo(what string, most time.Duration) time.Duration {
	return time.Duration(1 + w.draw(what, int(most)))
}

func (w *world) breach(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breachLocked(format, args...)
}

func (w *world) breachLocked(format string, args ...any) {
	if len(w.broken) < 20 {
		w.broken = append(w.broken, fmt.Sprintf("%v: ", time.Since(w.start))+fmt.Sprintf(format, args...))
	}
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.broken) > 0
}

// count notes that something happened, so that a reader sees what was searched.
func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.happened[what]++
}

func (w *world) tell(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%v: ", time.Since(w.start))+fmt.Sprintf(format, args...))
}

// during reports whether a fault lasts, for everybody or for one.
func (w *world) during(a act, who string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	return now.Before(w.windows[window{a, ""}]) || who != "" && now.Before(w.windows[window{a, who}])
}

// do lets a step happen.
func (w *world) do(s step) {
	switch s.act {
	case put, putAggregates, flood:
		w.put(s)
	case join:
		if len(w.alive()) < mostWorkers {
			w.count(s.act.String())
			w.join()
		}
	case crash, stop, freeze, skewed, ambiguous:
		w.doTo(s)
	case split, merge, scale, spread:
		w.reshard(s)
	case pause, resume, seek, release:
		w.operate(s)
	default:
		w.tell("%s for %s", s.act, s.last)
		w.count(s.act.String())
		w.open(window{act: s.act}, s.last)
	}
}

// doTo lets a step happen to a worker.
func (w *world) doTo(s step) {
	alive := w.alive()
	if len(alive) == 0 {
		return
	}
	p := alive[s.pick%len(alive)]
	w.tell("%s %s", s.act, p.name)
	w.count(s.act.String())
	switch s.act {
	case crash:
		p.crash()
	case stop:
		p.quit(10 * time.Second)
	case freeze:
		p.freeze(s.last)
	case skewed:
		p.skew()
	default:
		w.open(window{s.act, p.name}, s.last)
	}
}

// open begins a fault.
func (w *world) open(f window, last time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until := time.Now().Add(last); until.After(w.windows[f]) {
		w.windows[f] = until
	}
}

// alive returns the workers that were neither crashed nor told to stop, in the order in which they joined.
func (w *world) alive() []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.processes), func(p *process) bool { return p.dead || p.leaving })
}

// end stops all faults, waits until the fleet is at rest, stops it, and holds all that is left against the events. It
// returns how long the fleet took to come to rest.
func (w *world) end() (rest time.Duration) {
	w.mu.Lock()
	clear(w.windows)
	processes := slices.Clone(w.processes)
	w.mu.Unlock()
	for _, p := range processes {
		p.thaw()
	}
	w.resumeAll()
	w.lift(projector.MaxLift)
	if len(w.alive()) == 0 {
		w.join()
	}
	w.putEverywhere()
	rest = w.awaitRest()
	w.mu.Lock()
	processes = slices.Clone(w.processes)
	w.mu.Unlock()
	for _, p := range processes {
		p.quit(time.Minute)
	}
	for _, p := range processes {
		p.await()
	}
	close(w.over)
	w.running.Wait()
	for _, p := range processes {
		p.audit()
	}
	if err := w.server.Close(); err != nil {
		w.breach("the emulator ended with %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledger.sum(w.happened)
	if len(w.broken) == 0 { // else it would follow from that
		w.broken = w.ledger.compare()
	}
	return rest
}

// awaitRest waits until the fleet is at rest. After a breach there is nothing to wait for.
func (w *world) awaitRest() time.Duration {
	began := time.Now()
	for {
		unrest := w.unrest()
		if unrest == "" || w.failed() {
			return time.Since(began)
		}
		if time.Since(began) > settledWithin {
			w.breach("%s of calm were not enough: %s", settledWithin, unrest)
			return time.Since(began)
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// unrest says what is still to be done; "" if nothing is.
func (w *world) unrest() string {
	w.mu.Lock()
	shards := w.ledger.shardIDs()
	missing := w.ledger.missing()
	alive := map[string]bool{}
	for _, p := range w.processes {
		alive[p.name] = !p.dead && !p.leaving
	}
	w.mu.Unlock()
	if missing != "" {
		return missing
	}
	for _, id := range shards {
		row := w.leases.Row(id)
		w.mu.Lock()
		sh := w.ledger.shards[id]
		closed, last := sh.closed, sh.last()
		w.mu.Unlock()
		switch {
		case closed && !row.Finished():
			return fmt.Sprintf("%s is closed and read, and not finished: %+v", id, row)
		case closed:
		case row.Finished():
			return fmt.Sprintf("%s is open and finished", id)
		case !alive[row.Owner]:
			return fmt.Sprintf("%s has no living owner: %+v", id, row)
		case last != "" && row.Checkpoint != last:
			return fmt.Sprintf("%s is settled to %s and committed to %s", id, last, row.Checkpoint)
		}
	}
	return ""
}
