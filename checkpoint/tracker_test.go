package checkpoint

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func seq(i int) Sequence { return Sequence(fmt.Sprintf("%d", 1000+i)) }

// The watermark is the position before the oldest unsettled record, whatever the order of settling, and the
// conservation law holds after every step.
func TestWatermarkNeverPassesAnUnsettledRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ledger := NewLedger()
		start := seq(0)
		tracker := ledger.NewTracker(start)
		n := rapid.IntRange(1, 60).Draw(t, "records")
		order := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Perm(n)
		tickets := make([]Ticket, n)
		settled := make([]bool, n)
		arrivals := make([]time.Time, n) // in no order
		for i := range arrivals {
			arrivals[i] = time.UnixMilli(rapid.Int64Range(0, 20).Draw(t, "arrival"))
		}
		part := make([]bool, n) // of an aggregate that the next record is of as well
		number := make([]int, n)
		for i := range n {
			part[i] = i < n-1 && rapid.IntRange(0, 2).Draw(t, "part") == 0
			if number[i] = 1; i > 0 {
				number[i] = number[i-1]
				if !part[i-1] {
					number[i]++
				}
			}
		}
		added := 0
		check := func() {
			want := start
			for i := 0; i < added && settled[i]; i++ {
				if !part[i] { // within an aggregate nobody can begin
					want = seq(number[i])
				}
			}
			if got := tracker.Watermark(); got != want {
				t.Fatalf("watermark %s, want %s", got, want)
			}
			wanted := Progress{Watermark: want}
			first := 0
			for first < added && settled[first] {
				first++
			}
			wanted.Settled = int64(first)
			for i := range added {
				if !settled[i] {
					wanted.Unsettled++
					if wanted.Oldest.IsZero() || arrivals[i].Before(wanted.Oldest) {
						wanted.Oldest = arrivals[i]
					}
				}
			}
			if got := tracker.Progress(); got != wanted {
				t.Fatalf("progress %+v, want %+v", got, wanted)
			}
			c := ledger.Snapshot()
			if c.Read != c.Applied+c.Parked+c.InFlight+c.Abandoned {
				t.Fatalf("not conserved: %+v", c)
			}
		}
		for _, next := range order {
			for added <= next || (added < n && rapid.Bool().Draw(t, "add")) {
				add := tracker.Add
				if part[added] {
					add = tracker.AddPart
				}
				tickets[added] = add(seq(number[added]), arrivals[added])
				added++
				check()
			}
			tracker.Settle(tickets[next], Outcome(1+next%2))
			settled[next] = true
			check()
			if rapid.IntRange(0, 40).Draw(t, "close") == 0 {
				break
			}
		}
		before, last := ledger.Snapshot(), tracker.Progress()
		if got := tracker.Close(); int64(got) != before.InFlight {
			t.Fatalf("abandoned %d, %d were in flight", got, before.InFlight)
		}
		tracker.Settle(tickets[order[n-1]], Applied) // late answers change nothing
		if got := tracker.Progress(); got != last {
			t.Fatalf("progress %+v after close, %+v before", got, last)
		}
		if c := ledger.Snapshot(); c.InFlight != 0 || c.Read != c.Applied+c.Parked+c.Abandoned {
			t.Fatalf("not conserved after close: %+v", c)
		}
	})
}

func TestDrainedFiresWhenTheLastRecordIsSettled(t *testing.T) {
	tracker := NewLedger().NewTracker("")
	done := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	if !done(tracker.Drained()) {
		t.Error("an empty tracker is not drained")
	}
	a, b := tracker.Add("5", time.Time{}), tracker.Add("6", time.Time{})
	drained := tracker.Drained()
	tracker.Settle(b, Applied)
	if done(drained) {
		t.Error("drained with a record in flight")
	}
	tracker.Settle(a, Parked)
	if !done(drained) {
		t.Error("not drained after the last record")
	}
}

func TestBrokenInvariantsPanic(t *testing.T) {
	for name, breakIt := range map[string]func(*Tracker){
		"record repeated":      func(tr *Tracker) { tr.Add("7", time.Time{}); tr.Add("7", time.Time{}) },
		"record backwards":     func(tr *Tracker) { tr.Add("10", time.Time{}); tr.Add("9", time.Time{}) },
		"before watermark":     func(tr *Tracker) { tr.Add("4", time.Time{}) },
		"aggregate not ended":  func(tr *Tracker) { tr.AddPart("7", time.Time{}); tr.Add("8", time.Time{}) },
		"aggregate begun late": func(tr *Tracker) { tr.Add("7", time.Time{}); tr.AddPart("7", time.Time{}) },
		"settled twice": func(tr *Tracker) {
			k := tr.Add("7", time.Time{})
			tr.Add("8", time.Time{})
			tr.Settle(k, Applied)
			tr.Settle(k, Applied)
		},
		"never issued":       func(tr *Tracker) { tr.Settle(3, Applied) },
		"no outcome":         func(tr *Tracker) { tr.Settle(tr.Add("7", time.Time{}), 0) },
		"added after closed": func(tr *Tracker) { tr.Close(); tr.Add("7", time.Time{}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			breakIt(NewLedger().NewTracker("5"))
		})
	}
}

func TestSequencesCompareAsNumbers(t *testing.T) {
	ordered := []Sequence{"", "0", "5", "9", "10", "49590338271490256608559692538361571095921575989136588898",
		"149590338271490256608559692538361571095921575989136588898", ShardEnd}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := a.Compare(b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("compare %q with %q: %d", a, b, got)
			}
		}
	}
}
