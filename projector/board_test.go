package projector

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
)

// worldRole is the role of a world's daemons in the state table.
var worldRole = Role(1)

// pause writes an operator's pause into the world's state table.
func (w *world) pause(shard string, length time.Duration) {
	w.t.Helper()
	p, err := NewPause("ann@host", "the replicas are behind", time.Now(), length)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := WritePause(w.t.Context(), w.items, worldRole, shard, p); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) resume(shard string) {
	w.t.Helper()
	if err := RemovePause(w.t.Context(), w.items, worldRole, shard); err != nil {
		w.t.Fatal(err)
	}
}

// readUpTo returns the newest record of a shard that any daemon projected.
func (w *world) readUpTo(shard string) (s checkpoint.Sequence) {
	w.set(func() { s = w.newest[shard] })
	return s
}

// honoured is how long a pause may take to have its effect: a look at the table, and a reply on its way.
const honoured = 2 * time.Second

// While one shard of several is paused under load, nothing more of it is read, what was read is settled and committed,
// poison included, its lease is kept, and the others go on. Resumed, it goes on where it was.
func TestAPausedShardSettlesWhatItReadAndReadsNoMore(t *testing.T) {
	for seed := range uint64(5) {
		holds(t, inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, seed, 3)
			put := func(n uint64) { w.put(100*seed+n, 60, 10, 0, garbled, refused, panics) }
			put(0)
			d := w.join()
			w.await(func() bool { return d.Counts().Read > 30 }, time.Minute)
			paused := w.shards()[0]
			w.pause(paused, 10*time.Minute)
			for n := range uint64(8) { // load goes on while the pause is noticed
				time.Sleep(honoured / 8)
				put(1 + n)
			}
			stood := w.readUpTo(paused)
			lease := w.store.Row(paused)
			for n := range uint64(10) {
				put(20 + n)
				time.Sleep(6 * time.Second)
			}
			row := w.store.Row(paused)
			if got := w.readUpTo(paused); got != stood {
				t.Errorf("%s was paused at %s and read on to %s", paused, stood, got)
			}
			if got := w.watermark(paused); got != stood || row.Checkpoint != stood {
				t.Errorf("%s read up to %s, settled %s, committed %s", paused, stood, got, row.Checkpoint)
			}
			if row.Owner != d.name || row.Timeout == lease.Timeout {
				t.Errorf("the lease of %s is not kept: %+v, was %+v", paused, row, lease)
			}
			if w.behind(paused) == 0 {
				t.Errorf("nothing waits in %s: this seed shows nothing", paused)
			}
			for _, other := range w.shards()[1:] {
				if w.behind(other) != 0 {
					t.Errorf("%s is not paused and has %d records left", other, w.behind(other))
				}
			}
			w.resume(paused)
			if took, ok := w.await(w.settled, 30*time.Second); !ok {
				t.Errorf("not caught up %s after the pause: %s", took, w.missing())
			}
			return w.end()
		}))
	}
}

// A pause is not the owner's but the shard's.
func TestAPauseSurvivesItsOwner(t *testing.T) {
	for _, end := range []string{"kill", "quit"} {
		holds(t, inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, 7, 2)
			a := w.join()
			w.put(7, 100, 5, 0, garbled)
			w.await(w.settled, time.Minute)
			w.pause(AllShards, 10*time.Minute)
			time.Sleep(honoured)
			w.put(8, 200, 5, 0, garbled)
			before := a.Counts()
			if end == "kill" {
				w.kill(a)
			} else {
				w.quit(a, time.Minute)
			}
			b := w.join()
			if took, ok := w.await(func() bool { return w.following(b) == 2 }, time.Minute); !ok {
				t.Errorf("%s: not taken over after %s", end, took)
			}
			time.Sleep(time.Minute)
			if c := b.Counts(); c.Read != 0 || a.Counts().Read != before.Read {
				t.Errorf("%s: the next owner read %d paused records, the last %d", end, c.Read, a.Counts().Read-before.Read)
			}
			for _, shard := range w.shards() {
				if row := w.store.Row(shard); row.Owner != b.name {
					t.Errorf("%s: %s belongs to %q", end, shard, row.Owner)
				}
			}
			w.resume(AllShards)
			if took, ok := w.await(w.settled, 10*time.Second); !ok {
				t.Errorf("%s: not caught up %s after the pause: %s", end, took, w.missing())
			}
			return w.end()
		}))
	}
}

// The state table out of reach changes nothing: not what is paused, and not when that ends.
func TestAPauseHoldsUntilItsEndWithoutTheStateTable(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 9, 2)
		d := w.join()
		w.await(func() bool { return w.following(d) == 2 }, time.Minute)
		w.pause(AllShards, 5*time.Minute)
		ends := time.Now().Add(5 * time.Minute)
		time.Sleep(honoured)
		w.set(func() { w.notes = &storetest.Fault{Fail: storetest.ErrScripted} })
		w.put(9, 100, 5, 0, garbled)
		time.Sleep(time.Until(ends) - 3*time.Second)
		if n := d.Counts().Read; n != 0 {
			t.Errorf("%d records were read while the state table was out of reach", n)
		}
		w.set(func() { w.notes = &storetest.Fault{Hang: true} })
		if took, ok := w.await(w.settled, 3*time.Second+honoured); !ok {
			t.Errorf("not resumed %s after the pause's end: %s", took, w.missing())
		}
		w.set(func() { w.notes = nil })
		return w.end()
	}))
}

// A process that comes while the state table is away cannot know what is paused. It waits a little, and then reads.
func TestAShardIsReadWithoutTheStateTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := &storetest.Items{Script: func(storetest.Call) storetest.Fault { return storetest.Fault{Fail: storetest.ErrScripted} }}
		b := newBoard(worldRole, "a", state, nil, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.run(ctx)
		}()
		began := time.Now()
		for {
			pause, again := b.hold("shardId-000000000000")
			if pause != nil {
				t.Errorf("paused by %+v", pause)
			}
			if again == nil {
				break
			}
			<-again
		}
		if waited := time.Since(began); waited < boardPatience || waited > boardPatience+2*boardEvery {
			t.Errorf("waited for %s, want about %s", waited, boardPatience)
		}
		cancel()
		<-done
	})
}

func TestTheLongerOfTwoPausesHolds(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	pause := func(reason string, length time.Duration) Pause {
		p, err := NewPause("ann@host", reason, now, length)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	pauses := Pauses{"a": pause("short", time.Hour), "b": pause("long", 3*time.Hour), AllShards: pause("all", 2*time.Hour)}
	for _, c := range []struct {
		shard  string
		after  time.Duration
		reason string
	}{
		{"a", 0, "all"}, {"b", 0, "long"}, {"c", 0, "all"},
		{"c", 2*time.Hour - 1, "all"}, {"c", 2 * time.Hour, ""}, {"b", 2 * time.Hour, "long"}, {"b", 3 * time.Hour, ""},
	} {
		got, paused := pauses.Of(c.shard, now.Add(c.after))
		if got.Reason != c.reason || paused != (c.reason != "") {
			t.Errorf("%s after %s: %v %+v, want %q", c.shard, c.after, paused, got, c.reason)
		}
	}
}

func TestAPauseHasBoundsAndAReason(t *testing.T) {
	for _, c := range []struct {
		reason string
		length time.Duration
		want   string
	}{
		{"maintenance", MinPause, ""},
		{"maintenance", MaxPause, ""},
		{"maintenance", MinPause - 1, "must be 1m0s to 12h0m0s"},
		{"maintenance", MaxPause + 1, "must be 1m0s to 12h0m0s"},
		{" ", time.Hour, "reason"},
		{"two\nlines", time.Hour, "reason"},
		{strings.Repeat("x", 257), time.Hour, "reason"},
	} {
		_, err := NewPause("ann@host", c.reason, time.Now(), c.length)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.10q for %s: %v", c.reason, c.length, err)
		}
	}
}

func TestAPauseIsReadAsItWasWritten(t *testing.T) {
	state := &storetest.Items{}
	want, err := NewPause("ann@host", "why", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := WritePause(t.Context(), state, worldRole, AllShards, want); err != nil {
		t.Fatal(err)
	}
	if err := state.Put(t.Context(), worldRole+pauseKind, "odd", map[string]string{untilAttribute: "soon"}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPauses(t.Context(), state, worldRole)
	if err != nil || got[AllShards] != want || len(got) != 2 {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, paused := got.Of("odd", want.Until); paused {
		t.Error("an item without an end pauses")
	}
}

// Workers tell how their shards stand, take it back when they end, and bury it for those who died.
func TestAWorkersWordSaysHowItsShardsStand(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 13, 2)
		reader := sdk.NewManualReader()
		w.meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
		words := func() map[string]Word {
			got, err := ReadWords(t.Context(), w.items, worldRole)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		a := w.join()
		w.put(13, 50, 0, 0)
		w.await(w.settled, time.Minute)
		paused := w.shards()[0]
		w.pause(paused, 10*time.Minute)
		time.Sleep(10 * time.Second)
		word := words()[a.name]
		if age := time.Since(word.At); age > 3*time.Second || len(word.Shards) != 2 {
			t.Errorf("%s ago: %+v", age, word)
		}
		for _, shard := range w.shards() {
			s := word.Shards[shard]
			age := word.At.Sub(s.Read)
			if s.Paused != (shard == paused) || s.Lag != 0 || s.Read.IsZero() || (age > 5*time.Second) != s.Paused {
				t.Errorf("%s: %+v, read %s before the word", shard, s, age)
			}
		}
		if n := gauge(t, reader, "penstock.shards.paused"); n != 1 {
			t.Errorf("the gauge says that %d shards are paused", n)
		}
		w.kill(a)
		b := w.join()
		w.await(func() bool { return len(words()[b.name].Shards) == 2 }, time.Minute)
		if got := words(); len(got) != 2 || time.Since(got[a.name].At) < failover {
			t.Errorf("after a crash %+v", got)
		}
		if took, ok := w.await(func() bool { return len(words()) == 1 }, 20*failover); !ok {
			t.Errorf("after %s the dead worker's word still stands: %+v", took, words())
		}
		w.resume(paused)
		broken := w.end()
		if got := words(); len(got) != 0 {
			t.Errorf("at the end %+v", got)
		}
		return broken
	}))
}

// gauge returns the largest value of a gauge's series that are of live projectors.
func gauge(t *testing.T, reader sdk.Reader, name string) (most int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == name {
				for _, point := range data.DataPoints {
					most = max(most, point.Value)
				}
				return most
			}
		}
	}
	t.Errorf("there is no %s", name)
	return 0
}

func TestAWordOfVeryManyShardsFitsAnItem(t *testing.T) {
	word := Word{At: time.Now(), Shards: map[string]ShardWord{}}
	for n := range 5000 {
		word.Shards[fmt.Sprintf("shardId-%012d", n)] = ShardWord{Lag: 24 * time.Hour, Read: time.Now(), Paused: true}
	}
	values, err := word.attributes()
	if size := len(values[shardsAttribute]); err != nil || size > 300<<10 {
		t.Errorf("%d bytes, %v", size, err)
	}
}
