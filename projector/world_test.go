package projector

import (
	"bytes"
	gocmp "cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
	"penstock/localstack/emulator"
	"penstock/sink/deadletter"
	"penstock/stream"
	"penstock/view"
	"penstock/view/viewtest"
)

// world is everything around projectors, in memory and in virtual time: a stream on the emulator, a lease table, a
// state table, the rows and the letters. It knows of every record what became of it, by itself, and watches over the
// invariants:
//
//   - a checkpoint never moves back, and never passes a record that is neither in the rows nor in a letter;
//   - a record that can be applied has no letter, and one that cannot has exactly one;
//   - read = applied + parked + in flight + abandoned in each process at every observation;
//   - what is in flight stays within the budget, and at the end nothing of it is left;
//   - what is published as settled through a time is: no record that arrived before it is without outcome;
//   - at the end the rows are the fold of the records that can be applied.
type world struct {
	t       *testing.T
	start   time.Time
	server  *emulator.Running
	stream  *stream.Stream
	found   stream.Description
	reader  *stream.Consumer // of all daemons; nil: they poll
	client  *kinesis.Client
	store   *storetest.Memory
	items   *storetest.Items
	running sync.WaitGroup
	over    chan struct{}

	inFlight int64         // of each daemon, bytes
	debt     int64         // what may be in use above that
	latency  time.Duration // of a write or a letter, at most
	plant    plant         // what is broken on purpose
	// records a second of each daemon; 0 for no cap
	maxRecords int
	breaker    deadletter.BreakerConfig
	log        *zap.Logger // of the daemons; nil for none
	meter      metric.Meter
	clock      func() checkpoint.Clock // of the daemons; nil: nothing is known of it
	load       func(time.Time) Load    // of their writers; nil: it is not measured
	tracer     trace.Tracer
	parker     func(*daemon) Parker // of a daemon; nil: one in memory

	mu      sync.Mutex // never held while waiting
	rng     *rand.Rand
	broken  []string
	kinds   map[string]kind // by data
	facts   map[position]*fact
	order   map[string][]checkpoint.Sequence // of each shard
	checked map[string]int                   // how many records of a shard are behind its checkpoint
	newest  map[string]checkpoint.Sequence   // projected, of each shard
	coming  map[*view.Mutation]position      // of projected records, by their first mutation
	rows    map[string][]view.Cell
	want    map[string][]view.Cell
	letters map[string]string    // keys by id
	claims  map[string]time.Time // published, of each shard
	daemons []*daemon
	slow    barrier          // writes wait here
	s3      barrier          // letters wait here
	tables  error            // what calls of the lease and state tables fail with
	notes   *storetest.Fault // what calls of daemons to the state table alone meet; nil for nothing
	refusal error            // what writes fail with
	// blind is the planted fault of a classifier: records that it finds are poison for the view, whatever they are.
	blind func(position) bool
}

type position struct {
	shard    string
	sequence checkpoint.Sequence
}

// barrier holds up who waits at it while it is down.
type barrier struct{ gate chan struct{} }

func (w *world) lower(b *barrier) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.gate == nil {
		b.gate = make(chan struct{})
	}
}

func (w *world) raise(b *barrier) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.gate != nil {
		close(b.gate)
		b.gate = nil
	}
}

// pass waits until the barrier is up, and reports how it was found. The error is the cause of ctx's end.
func (w *world) pass(ctx context.Context, b *barrier) (waited bool, err error) {
	for {
		w.mu.Lock()
		gate := b.gate
		w.mu.Unlock()
		if gate == nil {
			return waited, nil
		}
		waited = true
		select {
		case <-gate:
		case <-ctx.Done():
			return waited, context.Cause(ctx)
		}
	}
}

func newWorld(t *testing.T, seed uint64, shards int32) *world {
	t.Helper()
	server := emulator.StartInMemory(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota})
	w := &world{
		t: t, start: time.Now(), server: server, items: &storetest.Items{}, over: make(chan struct{}),
		stream: stream.New(server.AWS(), "stock", zap.NewNop()), client: kinesis.NewFromConfig(server.AWS()),
		log: zap.NewNop(), inFlight: 1 << 20, latency: 300 * time.Millisecond, meter: noop.NewMeterProvider().Meter(""), rng: rand.New(rand.NewPCG(seed, 2)),
		kinds: map[string]kind{}, facts: map[position]*fact{}, order: map[string][]checkpoint.Sequence{}, checked: map[string]int{},
		newest: map[string]checkpoint.Sequence{}, coming: map[*view.Mutation]position{},
		rows: map[string][]view.Cell{}, want: map[string][]view.Cell{}, letters: map[string]string{}, claims: map[string]time.Time{},
	}
	w.store = &storetest.Memory{Script: w.script, Applied: w.committed}
	w.items.Script = w.scriptNotes
	_, err := w.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("stock"), ShardCount: &shards})
	if err != nil {
		t.Fatal(err)
	}
	if w.found, err = w.stream.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// put writes n events of stock, so many in a hundred of them poison in one of the given ways, each with some padding.
func (w *world) put(seed uint64, n, percent, padding int, poisons ...kind) {
	w.t.Helper()
	events, _ := viewtest.StockEvents(seed, n)
	for chunk := range slices.Chunk(events, max(1, min(500, 4<<20/(padding+1)))) {
		in := &kinesis.PutRecordsInput{StreamName: aws.String("stock")}
		kinds := make([]kind, len(chunk))
		for i, e := range chunk {
			if n := number(e.ID); len(poisons) > 0 && n%100 < percent { // the same for both of a pair of duplicates
				kinds[i] = poisons[n%len(poisons)]
			}
			data := slices.Concat([]byte(`{"padding":"`), bytes.Repeat([]byte("x"), padding), []byte(`",`), e.Data[1:])
			if kinds[i] == garbled {
				data = data[:len(data)-1]
			}
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String(e.ID), Data: data})
		}
		w.mu.Lock() // a projector may see a record before its writer has the answer
		for i, r := range in.Records {
			w.kinds[string(r.Data)] = kinds[i]
		}
		w.mu.Unlock()
		out, err := w.client.PutRecords(w.t.Context(), in)
		if err != nil {
			w.t.Fatal(err)
		}
		w.mu.Lock()
		for i, place := range out.Records {
			at := position{*place.ShardId, checkpoint.Sequence(*place.SequenceNumber)}
			w.order[at.shard] = append(w.order[at.shard], at.sequence)
			w.factLocked(at, in.Records[i].Data).arrivedBy(time.Now())
			if kinds[i] != sound {
				continue
			}
			result, err := viewtest.Stock{}.Project(view.Record{Data: in.Records[i].Data})
			if err != nil {
				w.t.Fatal(err)
			}
			for _, m := range result.Mutations {
				w.want[m.RowKey()] = view.Merge(w.want[m.RowKey()], m.Cells)
			}
		}
		w.mu.Unlock()
	}
}

// number maps an event to a number that is as good as random.
func number(id string) int {
	h := fnv.New32a()
	h.Write([]byte(id)) // never fails
	return int(h.Sum32() >> 4)
}

// factLocked returns what is known of a record.
func (w *world) factLocked(at position, data []byte) *fact {
	f := w.facts[at]
	if f == nil {
		f = &fact{kind: w.kinds[string(data)], data: data}
		w.facts[at] = f
	}
	return f
}

func (w *world) breach(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breachLocked(format, args...)
}

func (w *world) breachLocked(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf("%v: ", time.Since(w.start))+fmt.Sprintf(format, args...))
}

func (w *world) intN(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// linger waits as long as a call takes. The error is the cause of ctx's end.
func (w *world) linger(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(w.intN(int(w.latency)))):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// script decides on every call of the lease and the state table.
func (w *world) script(c storetest.Call) storetest.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.daemons {
		if d.name == c.Caller && d.dead {
			return storetest.Fault{Hang: true}
		}
	}
	return storetest.Fault{Delay: time.Duration(w.rng.IntN(20)) * time.Millisecond, Fail: w.tables}
}

// scriptNotes decides on every call of the state table. Operators, who have no name, reach it always.
func (w *world) scriptNotes(c storetest.Call) storetest.Fault {
	w.mu.Lock()
	notes := w.notes
	w.mu.Unlock()
	switch {
	case c.Caller == "":
		return storetest.Fault{}
	case notes != nil:
		return *notes
	}
	return w.script(c)
}

// committed checks a change of the lease table against what is known of the records.
func (w *world) committed(caller string, c checkpoint.Change, before, after checkpoint.Row) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if after.Position().Compare(before.Position()) < 0 {
		w.breachLocked("%s moved the checkpoint of %s back from %q to %q", c.Op, c.Shard, before.Checkpoint, after.Checkpoint)
	}
	if c.Commit == "" {
		return
	}
	order := w.order[c.Shard]
	for ; w.checked[c.Shard] < len(order); w.checked[c.Shard]++ {
		at := position{c.Shard, order[w.checked[c.Shard]]}
		if at.sequence.Compare(c.Commit) > 0 {
			break
		}
		if f := w.facts[at]; !f.applied && !f.parked {
			w.breachLocked("%s by %s committed %s of %s beyond record %s, which has no outcome", c.Op, caller, c.Commit, c.Shard, at.sequence)
		}
	}
}

// daemon is one process.
type daemon struct {
	*Projector
	name string
	stop context.CancelCauseFunc
	drop context.CancelCauseFunc
	done chan error // holds what Run returned

	// Guarded by world.mu:
	dead  bool // killed: nothing it does has an effect
	idle  bool // told to end
	ended bool // Run has returned
}

// join starts a daemon.
func (w *world) join() *daemon {
	w.t.Helper()
	metrics, err := NewMetrics(w.meter)
	if err != nil {
		w.t.Fatal(err)
	}
	d := &daemon{done: make(chan error, 1)}
	w.mu.Lock()
	d.name = fmt.Sprint("d", len(w.daemons))
	w.mu.Unlock()
	var leases checkpoint.Store = w.store.As(d.name)
	if w.plant == newestAsWatermark {
		leases = eager{leases, w}
	}
	var parker Parker = memoryParker{w, d}
	if w.parker != nil {
		parker = w.parker(d)
	}
	d.Projector, err = New(
		Config{Worker: d.name, Version: "test", View: watched{world: w}, Generation: 1, Failover: failover, InFlight: w.inFlight, MaxRecords: w.maxRecords, Breaker: w.breaker, Drain: time.Minute, Log: gocmp.Or(w.log, zap.NewNop())},
		Dependencies{Stream: w.stream, Description: w.found, Consumer: w.reader, Leases: leases, State: w.items.As(d.name), Clock: w.clock,
			Writer: memoryWriter{w, d}, Parker: parker, Progress: memoryProgress{w, d}, Metrics: metrics, Load: w.load, Tracer: w.tracer})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.daemons = append(w.daemons, d)
	w.mu.Unlock()
	work, drop := context.WithCancelCause(w.t.Context())
	fetch, stop := context.WithCancelCause(work)
	d.stop, d.drop = stop, drop
	w.running.Go(func() {
		err := d.Run(fetch, work)
		w.set(func() { d.ended = true })
		d.done <- err
	})
	w.running.Go(func() { w.observe(d) })
	return d
}

// observe looks at a daemon again and again until it or the world ends.
func (w *world) observe(d *daemon) {
	for !w.get(func() bool { return d.ended }) {
		w.balance(d)
		if err := d.Live(); err != nil && !w.get(func() bool { return d.ended }) {
			w.breach("%s: %v", d.name, err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-w.over:
			return
		}
	}
}

func (w *world) balance(d *daemon) checkpoint.Counts {
	c := d.Counts()
	if c.Read != c.Applied+c.Parked+c.InFlight+c.Abandoned {
		w.breach("%s: the counts do not balance: %+v", d.name, c)
	}
	if used := d.budget.inUse(); used > w.inFlight+w.debt || used < 0 {
		w.breach("%s: %d bytes in use of %d", d.name, used, w.inFlight)
	}
	return c
}

// quit is SIGTERM, and the drain's time is limited.
func (w *world) quit(d *daemon, drain time.Duration) {
	w.mu.Lock()
	d.idle = true
	w.mu.Unlock()
	d.stop(ErrStopped)
	w.running.Go(func() {
		select {
		case <-time.After(drain):
			d.drop(errDrainCut)
		case <-w.over:
		}
	})
}

var (
	errDrainCut = errors.New("drain timeout")
	errKilled   = errors.New("killed")
)

// kill is SIGKILL: from now on nothing the daemon does has an effect.
func (w *world) kill(d *daemon) {
	w.mu.Lock()
	d.dead, d.idle = true, true
	w.mu.Unlock()
	d.drop(errKilled)
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) get(what func() bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return what()
}

// settled reports whether every record has its outcome.
func (w *world) settled() bool {
	return w.get(func() bool {
		for _, f := range w.facts {
			if !f.applied && !f.parked {
				return false
			}
		}
		return true
	})
}

// allCommitted reports whether every shard's checkpoint is its last record.
func (w *world) allCommitted() bool {
	for _, shard := range w.shards() {
		committed := w.store.Row(shard).Checkpoint
		if !w.get(func() bool { return committed == w.order[shard][len(w.order[shard])-1] }) {
			return false
		}
	}
	return true
}

// behind returns the records of a shard without an outcome.
func (w *world) behind(shard string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for at, f := range w.facts {
		if at.shard == shard && !f.applied && !f.parked {
			n++
		}
	}
	return n
}

// await waits until done reports true, at most for limit, and reports how long that took.
func (w *world) await(done func() bool, limit time.Duration) (took time.Duration, ok bool) {
	began := time.Now()
	for time.Since(began) < limit {
		if done() {
			return time.Since(began), true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began), false
}

// calm ends all faults from outside.
func (w *world) calm() {
	w.set(func() { w.tables, w.refusal, w.blind = nil, nil, nil })
	w.raise(&w.slow)
	w.raise(&w.s3)
	w.server.Intercept(nil)
	w.resume(AllShards)
}

// end lets a calm world come to rest, stops all daemons, and reports every invariant that did not hold.
func (w *world) end() []string {
	w.calm()
	w.mu.Lock()
	daemons := slices.Clone(w.daemons)
	w.mu.Unlock()
	if !slices.ContainsFunc(daemons, func(d *daemon) bool { return w.get(func() bool { return !d.idle }) }) {
		daemons = append(daemons, w.join())
	}
	if _, ok := w.await(w.settled, 5*time.Minute); !ok {
		w.breach("five minutes in calm were not enough: %s", w.missing())
	}
	if _, ok := w.await(w.allCommitted, time.Minute); !ok {
		w.breach("a minute in calm was not enough to commit what is settled")
	}
	for _, d := range daemons {
		if !w.get(func() bool { return d.idle }) {
			w.quit(d, time.Minute)
		}
	}
	for _, d := range daemons {
		if err := <-d.done; err != nil && !w.get(func() bool { return d.dead }) && !errors.Is(err, errDrainCut) {
			w.breach("%s ended with %v", d.name, err)
		}
	}
	close(w.over)
	w.running.Wait()
	for _, d := range daemons {
		if c := w.balance(d); c.InFlight != 0 {
			w.breach("%s ended with %+v", d.name, c)
		}
		if d.budget.used != 0 || d.budget.debts != 0 || len(d.budget.byShard) != 0 {
			w.breach("%s ended with %d bytes in use, by %v", d.name, d.budget.used, d.budget.byShard)
		}
	}
	w.compare()
	return w.broken
}

// missing names some records without an outcome.
func (w *world) missing() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for at, f := range w.facts {
		if !f.applied && !f.parked {
			out = append(out, fmt.Sprintf("%s/%s (kind %d)", at.shard, at.sequence, f.kind))
		}
	}
	slices.Sort(out)
	return fmt.Sprintf("%d records, %v", len(out), out[:min(3, len(out))])
}

// compare looks at what all this was for.
func (w *world) compare() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := cmp.Diff(w.want, w.rows, cmp.Comparer(func(a, b view.Value) bool { return a == b })); d != "" {
		w.breachLocked("the rows are not the fold of the events (-want +got):\n%s", d)
	}
	poison := 0
	for at, f := range w.facts {
		if f.kind != sound {
			poison++
		}
		if f.kind != sound && !f.parked {
			w.breachLocked("poison record %s of %s has no letter", at.sequence, at.shard)
		}
	}
	if len(w.letters) != poison {
		w.breachLocked("%d letters for %d poison records", len(w.letters), poison)
	}
	for shard, order := range w.order {
		if got, last := w.store.Row(shard).Checkpoint, order[len(order)-1]; got != last {
			w.breachLocked("at the end %s has checkpoint %q, its last record is %s", shard, got, last)
		}
	}
}

// shards returns the ids of the shards that have records, sorted.
func (w *world) shards() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.order))
}
