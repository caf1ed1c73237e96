package projector

import (
	"math"
	"testing"
	"time"
)

func TestTheTrendSaysHowFastAViewCatchesUp(t *testing.T) {
	for name, c := range map[string]struct {
		looks   int
		behind  func(second int) time.Duration
		gaining float64
		known   bool
	}{
		"a first look":      {1, func(int) time.Duration { return time.Minute }, 0, false},
		"too short a while": {5, func(s int) time.Duration { return time.Minute - time.Duration(s)*time.Second }, 0, false},
		"catching up":       {20, func(s int) time.Duration { return time.Minute - time.Duration(s)*time.Second/4 }, 0.25, true},
		"standing still":    {40, func(s int) time.Duration { return time.Minute + time.Duration(s)*time.Second }, -1, true},
		"a turn that is over": {100, func(s int) time.Duration {
			return time.Hour - time.Duration(min(s, 50))*time.Minute + time.Duration(max(0, s-50))*time.Second
		}, -1, true},
	} {
		var tr trend
		begin := time.Unix(1_700_000_000, 0)
		for s := range c.looks {
			tr.note(begin.Add(time.Duration(s)*time.Second), c.behind(s), nil)
		}
		if gaining, known, _ := tr.tell(); math.Abs(gaining-c.gaining) > 1e-9 || known != c.known {
			t.Errorf("%s: %v seconds in a second (known: %t), want %v (%t)", name, gaining, known, c.gaining, c.known)
		}
		if len(tr.looks) > trendLength {
			t.Errorf("%s: %d looks are kept", name, len(tr.looks))
		}
	}
}

// The shard that spends most counts, and one that is new has no past to be measured by.
func TestTheTrendSaysHowLongTheViewsFunctionTakes(t *testing.T) {
	var tr trend
	begin := time.Unix(1_700_000_000, 0)
	for s := range 60 {
		spent := time.Duration(s) * time.Second
		busy := map[string]time.Duration{"1": spent * 9 / 10, "2": spent / 10}
		if s%10 == 0 {
			busy[string(rune('a'+s))] = time.Hour
		}
		tr.note(begin.Add(spent), 0, busy)
	}
	if _, _, share := tr.tell(); math.Abs(share-0.9) > 0.01 {
		t.Errorf("%.2f of the time, want 0.9", share)
	}
}

// What a projector says of itself is what was done to it.
func TestAProjectorSaysHowItsViewStands(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 31, 2)
		w.put(31, 400, 10, 0)
		d := w.join()
		w.await(w.settled, time.Minute)
		time.Sleep(20 * time.Second)
		if s := d.Standing(time.Now()); s.Shards != 2 || s.Behind > 5*time.Second || !s.Known || s.Paused > 0 || s.Capped > 0 || s.Throttled {
			t.Errorf("of a view that is current: %+v", s)
		}
		d.SetMaxRecords(5)
		w.put(32, 400, 10, 0)
		time.Sleep(30 * time.Second)
		s := d.Standing(time.Now())
		if s.Capped != 5 || s.Behind < 10*time.Second || s.Worst == "" || s.Gaining > -0.2 {
			t.Errorf("of a view that is capped: %+v", s)
		}
		d.SetMaxRecords(0)
		w.await(w.settled, time.Minute)
		time.Sleep(3 * time.Second)
		if s := d.Standing(time.Now()); s.Capped != 0 {
			t.Errorf("of a view that is not capped any more: %+v", s)
		}
		pause, err := NewPause("ann@vm", "repair", time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := WritePause(t.Context(), w.items.As("ann"), Role(1), AllShards, pause); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if s := d.Standing(time.Now()); s.Paused != 2 || s.PausedBy != "ann@vm" || s.PausedFor != "repair" {
			t.Errorf("of a view that is paused: %+v", s)
		}
		return w.end()
	}))
}
