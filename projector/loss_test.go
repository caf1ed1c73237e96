package projector

import (
	"maps"
	"testing"
	"time"

	"penstock/checkpoint"
	"penstock/stream"
)

// TestAPauseOfReadingThatOutlivesTheRetentionIsALoss, and nothing else is.
func TestAPauseOfReadingThatOutlivesTheRetentionIsALoss(t *testing.T) {
	const retention = 24 * time.Hour
	noon := time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)
	at := func(h float64) time.Time { return noon.Add(time.Duration(h * float64(time.Hour))) }
	answer := func(h float64) stream.Batch { return stream.Batch{At: at(h)} }
	caughtUp := func(h float64) stream.Batch { return stream.Batch{At: at(h), Known: true} }
	with := func(h float64, arrived float64) stream.Batch {
		return stream.Batch{At: at(h), Known: true, Behind: time.Hour, Records: []stream.Record{{Arrival: at(arrived)}}}
	}
	for name, c := range map[string]struct {
		through   time.Time // as it was published before
		read      []stream.Batch
		next      stream.Batch
		retention time.Duration
		want      *span
	}{
		"nothing is known of it":                       {next: answer(100)},
		"a shard that is only announced":               {through: unsettled, next: answer(100)},
		"it was read a day ago":                        {through: at(0), next: answer(24)},
		"it was read a day and an hour ago":            {through: at(0), next: answer(25), want: &span{at(0), at(1)}},
		"it was read to its end":                       {through: noon.AddDate(5000, 0, 0), next: answer(100)},
		"the answer bears no date":                     {through: at(0), next: stream.Batch{}},
		"there was no answer":                          {through: at(0), next: stream.Batch{Failed: &stream.Error{}}},
		"the retention is not known":                   {through: at(0), next: answer(100), retention: -1},
		"a quiet shard that is asked":                  {through: at(0), read: []stream.Batch{caughtUp(12), caughtUp(30)}, next: answer(50)},
		"a shard that is not asked":                    {through: at(0), read: []stream.Batch{caughtUp(12)}, next: answer(50), want: &span{at(12).Add(-visibleWithin), at(26)}},
		"a busy shard that keeps up with the loss":     {read: []stream.Batch{with(1, -22), with(2, -21.5)}, next: with(2.4, -21.2)},
		"a busy shard that is slower than time":        {read: []stream.Batch{with(1, -22), with(2, -21.5)}, next: with(4, -20), want: &span{at(-21.5), at(-20)}},
		"a shorter retention, as operators may choose": {through: at(0), next: answer(3), retention: 2 * time.Hour, want: &span{at(0), at(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgress(checkpoint.NewLedger().NewTracker(""), noon)
			p.resume(c.through)
			for _, b := range c.read {
				p.read(b, b.At)
			}
			kept := retention
			if c.retention != 0 {
				kept = c.retention
			}
			lost, ok := p.lostBefore(c.next, kept)
			if ok != (c.want != nil) || ok && lost != *c.want {
				t.Errorf("lost %v %v, not %v", ok, lost, c.want)
			}
		})
	}
}

// A fleet that was away for longer than the retention says so, and takes no record before somebody has decided: by the
// configuration, or by setting the shard's position.
func TestAShardStandsStillAfterALossUntilSomebodyDecides(t *testing.T) {
	for name, decide := range map[string]func(w *world, d *daemon){
		"to go on": func(_ *world, d *daemon) { d.SetOnLoss(ContinueAfterLoss) },
		"where it goes on": func(w *world, d *daemon) {
			sought := Seek{By: "ann@host", Reason: "rebuilt from the archive", At: time.Now()}
			if err := WriteSeek(w.t.Context(), w.items.As(""), Role(1), "shardId-000000000000", sought); err != nil {
				w.t.Fatal(err)
			}
			w.quit(d, time.Minute)
			<-d.done
			d.done <- nil // for the end of the world
			w.join()
		},
	} {
		t.Run(name, func(t *testing.T) {
			holds(t, inBubble(t, func(t *testing.T) []string {
				w := newWorld(t, 31, 1)
				w.put(31, 20, 0, 0)
				first := w.join()
				w.await(w.settled, time.Minute)
				time.Sleep(5 * time.Second)
				w.quit(first, time.Minute)
				<-first.done
				first.done <- nil
				w.putInVain(32, 20)
				time.Sleep(25 * time.Hour)
				w.put(33, 20, 0, 0)
				second := w.join()
				time.Sleep(5 * time.Minute)
				if c := second.Counts(); c.Read != 0 {
					t.Errorf("%d records were read beyond a loss", c.Read)
				}
				if row := w.store.Row("shardId-000000000000"); row.Owner == "" {
					t.Error("the shard that stands still has no owner")
				}
				decide(w, second)
				return w.end()
			}))
		})
	}
}

// putInVain puts events that leave the stream before anybody reads them.
func (w *world) putInVain(seed uint64, n int) {
	w.t.Helper()
	w.mu.Lock()
	want := maps.Clone(w.want)
	w.mu.Unlock()
	w.put(seed, n, 0, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.want = want
	for _, f := range w.facts {
		f.parked = f.parked || !f.applied // nobody waits for them
	}
}
