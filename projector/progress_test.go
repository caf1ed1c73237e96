package projector

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/stream"
)

// memoryProgress keeps what is published, and holds every claim against what is known of the records.
type memoryProgress struct {
	*world
	daemon *daemon
}

func (p memoryProgress) Publish(ctx context.Context, through map[string]time.Time) error {
	if err := p.linger(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for shard, t := range through {
		p.publishLocked(shard, t)
	}
	return nil
}

func (p memoryProgress) publishLocked(shard string, through time.Time) {
	if p.plant == nowAsProgress {
		through = time.Now()
	}
	if p.daemon.dead || !through.After(p.claims[shard]) {
		return
	}
	p.claims[shard] = through
	for at, f := range p.facts {
		if at.shard == shard && f.arrived.Before(through) && !f.applied && !f.parked {
			p.breachLocked("%s published %s as settled beyond record %s of %v", p.daemon.name, shard, at.sequence, f.arrived)
		}
	}
}

func (p memoryProgress) Through(ctx context.Context, shard string) (time.Time, error) {
	if err := p.linger(ctx); err != nil {
		return time.Time{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claims[shard], nil
}

func (p memoryProgress) PublishEnd(_ context.Context, shard string) error {
	p.breach("%s published the end of %s, which is open", p.daemon.name, shard)
	return nil
}

// claimed returns how old what is published of the shard furthest behind is.
func (w *world) claimed() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	oldest := time.Duration(0)
	for _, through := range w.claims {
		oldest = max(oldest, time.Since(through))
	}
	return oldest
}

func TestWhatIsPublishedFollowsTheClockWhenThereIsNothingToDoAndStandsWhenWritesDo(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 21, 3)
		w.latency = 20 * time.Millisecond
		d := w.join()
		w.await(func() bool { return w.following(d) == 3 }, time.Minute)
		time.Sleep(20 * time.Second)
		if n := w.get(func() bool { return len(w.claims) == 3 }); !n {
			t.Errorf("claims of %v, want three shards", w.claims)
		}
		if behind := w.claimed(); behind > 5*time.Second {
			t.Errorf("idle, and what is published is %s old", behind)
		}
		w.put(21, 200, 0, 0)
		if took, ok := w.await(w.settled, time.Minute); !ok {
			t.Errorf("not settled after %s", took)
		}
		time.Sleep(5 * time.Second)
		if behind := w.claimed(); behind > 5*time.Second {
			t.Errorf("caught up, and what is published is %s old", behind)
		}
		return w.end()
	}))
}

// A shard that nobody has begun with must hold the watermark back, and one whose worker died before it could publish
// the end must not.
func TestListedShardsAreAnnouncedUntilThatSucceeds(t *testing.T) {
	store := &scriptedProgress{fail: []string{"child", "parent end"}} // the first words, and then the end
	failures := 0
	a := announcer{store: store, failed: func() { failures++ }, log: zap.NewNop(), told: map[string]bool{}, ended: map[string]bool{}}
	for range 4 {
		a.announce(t.Context(), []stream.Shard{{ID: "parent"}, {ID: "child"}}, map[string]bool{"parent": true, "trimmed": true})
	}
	want := []string{"child 1970-01-01T00:00:00.001Z, parent 1970-01-01T00:00:00.001Z", "parent end"}
	if d := cmp.Diff(want, store.calls); d != "" || failures != 2 {
		t.Errorf("%d failures (-want +got):\n%s", failures, d)
	}
}

// The children may have been read for long when the end of their parent is found: what the service says of the parent's
// end does not hold for them.
func TestTheEndOfAShardIsPublishedAfterTheFirstWordOnItsChildren(t *testing.T) {
	arrival := time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		batch stream.Batch
		want  []string
		fail  []string
	}{
		"records were read": {
			stream.Batch{Records: []stream.Record{{Arrival: arrival}}, Known: true, At: arrival.Add(time.Hour)},
			[]string{"c1 2026-11-21T12:00:00Z, c2 2026-11-21T12:00:00Z", "s end"}, nil},
		"none were": {
			stream.Batch{Known: true, At: arrival},
			[]string{"c1 1970-01-01T00:00:00.001Z, c2 1970-01-01T00:00:00.001Z", "s end"}, nil},
		"some calls fail": {
			stream.Batch{Records: []stream.Record{{Arrival: arrival}}},
			[]string{"c1 2026-11-21T12:00:00Z, c2 2026-11-21T12:00:00Z", "c1 2026-11-21T12:00:00Z, c2 2026-11-21T12:00:00Z", "s end"},
			[]string{"c1", "s end"}},
		"all calls fail": {stream.Batch{}, nil, []string{"c1", "c1", "c1"}},
	} {
		t.Run(name, func(t *testing.T) {
			metrics, err := NewMetrics(noop.NewMeterProvider().Meter(""))
			if err != nil {
				t.Fatal(err)
			}
			store := &scriptedProgress{fail: c.fail}
			s := &shard{id: "s", store: store, log: zap.NewNop(), metrics: metrics, progress: newProgress(checkpoint.NewLedger().NewTracker(""), time.Now())}
			s.progress.read(c.batch, time.Now())
			s.publishEnd(t.Context(), []string{"c1", "c2"})
			if d := cmp.Diff(c.want, store.calls); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestProgressClaimsWhatIsSettledAndNotWhatIsRead(t *testing.T) {
	begin := time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	tracker := checkpoint.NewLedger().NewTracker("")
	p := newProgress(tracker, at(0))
	holds := func(what string, through time.Time, now time.Time, age time.Duration) {
		t.Helper()
		if got := p.settledThrough(); !got.Equal(through) {
			t.Errorf("%s: settled through %v, want %v", what, got, through)
		}
		if got := p.age(now); got != age {
			t.Errorf("%s: age %v, want %v", what, got, age)
		}
	}
	holds("before the first answer", time.Time{}, at(7), 7*time.Second)
	p.read(stream.Batch{Failed: &stream.Error{}, Took: time.Second}, at(8))
	holds("without an answer", time.Time{}, at(8), 8*time.Second)

	first, second := tracker.Add("1", at(-100)), tracker.Add("2", at(-90))
	p.read(stream.Batch{Records: []stream.Record{{Arrival: at(-100)}, {Arrival: at(-90)}}, Known: true, Behind: time.Minute, At: at(9)}, at(10))
	holds("two in flight", at(-100), at(10), 110*time.Second)
	tracker.Settle(second, checkpoint.Applied)
	holds("the later one settled", at(-100), at(10), 110*time.Second)
	tracker.Settle(first, checkpoint.Parked)
	holds("both settled, more to read", at(-90), at(10), time.Minute)

	p.read(stream.Batch{Known: true, At: at(20)}, at(21))
	holds("caught up", at(19), at(22), 0)
	holds("not asked for a while", at(19), at(31), 10*time.Second)
	third := tracker.Add("3", at(40))
	p.read(stream.Batch{Records: []stream.Record{{Arrival: at(40)}}, Known: true, At: at(41)}, at(41))
	holds("the newest in flight", at(40), at(42), 2*time.Second)
	tracker.Close()
	tracker.Settle(third, checkpoint.Applied) // too late
	holds("abandoned", at(40), at(42), 2*time.Second)
}

func TestTheCheckpointLagIsWhatACrashWouldRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := checkpoint.NewLedger().NewTracker("5")
		p := newProgress(tracker, time.Now())
		expect := func(records int64, stands time.Duration) {
			t.Helper()
			if n, d := p.uncommitted(time.Now()); n != records || d != stands {
				t.Errorf("%d records for %s, want %d for %s", n, d, records, stands)
			}
		}
		settle := func(s checkpoint.Sequence) { tracker.Settle(tracker.Add(s, time.Now()), checkpoint.Applied) }
		expect(0, 0)
		settle("6")
		time.Sleep(3 * time.Second)
		expect(1, 3*time.Second)
		first := p.Watermark()
		settle("7")
		settle("8")
		second := p.Watermark() // the first write has no answer yet
		time.Sleep(time.Second)
		expect(3, 4*time.Second)
		p.commit(first)
		expect(2, time.Second)
		p.commit(second)
		expect(0, 0)
		p.commit(first) // an old answer
		p.commit("4")   // of an earlier lease
		expect(0, 0)
	})
}

// What operators are told of a shard whose writes stand still, and of one that has caught up.
func TestStalledWritesShowInTheFreshness(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 22, 2)
		reader := sdk.NewManualReader()
		w.meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
		d := w.join()
		w.await(func() bool { return w.following(d) == 2 }, time.Minute)
		time.Sleep(3 * time.Second)
		now := scrape(t, reader)
		if age, headroom := now["penstock.view.watermark.age"], now["penstock.retention.headroom"]; age != 0 || headroom != 24*3600 {
			t.Errorf("idle: age %v s, headroom %v s", age, headroom)
		}
		if now["penstock.freshness.checks{fresh}"] == 0 || now["aws.kinesis.client.total_leases"] != 2 ||
			now["aws.kinesis.client.workers"] != 1 || now["penstock.leases.unowned"] != 0 || now["penstock.build_info{test}"] != 1 {
			t.Errorf("idle: %v", now)
		}
		w.lower(&w.slow)
		w.put(22, 50, 0, 0)
		before := now
		time.Sleep(time.Minute)
		now = scrape(t, reader)
		if age := now["penstock.view.watermark.age"]; age < 58 || age > 62 {
			t.Errorf("stalled for a minute: age %v s", age)
		}
		if headroom := now["penstock.retention.headroom"]; headroom < 24*3600-62 || headroom > 24*3600-58 {
			t.Errorf("stalled for a minute: headroom %v s", headroom)
		}
		stale := now["penstock.freshness.checks{stale}"] - before["penstock.freshness.checks{stale}"]
		if stale < 90 || stale > 104 { // of two shards, each second from the tenth on
			t.Errorf("stalled for a minute: %v stale checks", stale)
		}
		w.raise(&w.slow)
		w.await(w.settled, time.Minute)
		time.Sleep(5 * time.Second)
		now = scrape(t, reader)
		if now["penstock.view.watermark.age"] != 0 || now["penstock.view.freshness count"] < 50 ||
			now["penstock.records.unaccounted"] != 0 || now["penstock.checkpoint.age"] > failover.Seconds() {
			t.Errorf("caught up: %v", now)
		}
		return w.end()
	}))
}

// scrape returns the sums of all series of each metric, and for some attributes those with it.
func scrape(t *testing.T, reader sdk.Reader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	add := func(name string, attributes attribute.Set, value float64) {
		got[name] += value
		for _, known := range []attribute.Key{resultAttribute, versionAttribute} {
			if v, ok := attributes.Value(known); ok {
				got[name+"{"+v.AsString()+"}"] += value
			}
		}
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(m.Name+" count", p.Attributes, float64(p.Count))
				}
			}
		}
	}
	return got
}

// measurements returns the names of the attributes that each metric was measured with.
func measurements(t *testing.T, reader sdk.Reader) map[string][]string {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	add := func(name string, attributes attribute.Set) {
		names := got[name]
		for _, a := range attributes.ToSlice() {
			names = append(names, string(a.Key))
		}
		got[name] = names
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			got[m.Name] = nil
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes)
				}
			}
		}
	}
	return got
}

// scriptedProgress keeps the calls that succeed. A call fails if it begins as the first in fail does.
type scriptedProgress struct {
	fail  []string
	calls []string
}

func (s *scriptedProgress) note(call string) error {
	if len(s.fail) > 0 && strings.HasPrefix(call, s.fail[0]) {
		s.fail = s.fail[1:]
		return errors.New("no quorum")
	}
	s.calls = append(s.calls, call)
	return nil
}

func (s *scriptedProgress) Publish(_ context.Context, through map[string]time.Time) error {
	var told []string
	for _, shard := range slices.Sorted(maps.Keys(through)) {
		told = append(told, shard+" "+through[shard].UTC().Format(time.RFC3339Nano))
	}
	if told == nil {
		return nil
	}
	return s.note(strings.Join(told, ", "))
}

func (s *scriptedProgress) Through(context.Context, string) (time.Time, error) {
	return time.Time{}, nil
}

func (s *scriptedProgress) PublishEnd(_ context.Context, shard string) error {
	return s.note(shard + " end")
}

func TestWhatIsNewOfAllShardsIsPublishedInOneCall(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, time.November, 21, 12, 0, second, 0, time.UTC) }
	caughtUp := func(p *progress, second int) {
		p.read(stream.Batch{Known: true, At: at(second + 1)}, at(second+1)) // which says what was a second before
	}
	store := &scriptedProgress{}
	failures := 0
	p := newPublisher(store, func() { failures++ }, zap.NewNop())
	shards := map[string]*progress{}
	for _, id := range []string{"a", "b", "unknown"} {
		shards[id] = newProgress(checkpoint.NewLedger().NewTracker(""), at(0))
		p.follow(id, shards[id])
	}
	turn := func() { p.publish(t.Context()) }
	caughtUp(shards["a"], 1)
	caughtUp(shards["b"], 2)
	turn()
	turn() // nothing is new
	caughtUp(shards["b"], 3)
	store.fail = []string{"b"}
	turn()
	caughtUp(shards["a"], 4)
	turn()
	p.leave("a")
	caughtUp(shards["a"], 5)
	turn()
	p.follow("a", shards["a"]) // back again: whoever had it meanwhile may have published less
	turn()
	want := []string{
		"a 2026-11-21T12:00:01Z, b 2026-11-21T12:00:02Z", "a 2026-11-21T12:00:04Z, b 2026-11-21T12:00:03Z", "a 2026-11-21T12:00:05Z"}
	if d := cmp.Diff(want, store.calls); d != "" || failures != 1 {
		t.Errorf("%d failures (-want +got):\n%s", failures, d)
	}
}
