package adaptive

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestAnEmptyBudgetWaitsAndComesBackByItself(t *testing.T) {
	b := NewBudget(origin)
	paid := 0
	for {
		ok, wait := b.Take(Transient, origin)
		if !ok {
			if again, _ := b.Take(Transient, origin.Add(wait)); !again {
				t.Errorf("after the wait of %s there are still too few tokens: %g", wait, b.Tokens(origin.Add(wait)))
			}
			break
		}
		paid++
	}
	if paid != budgetTokens/transientCost {
		t.Errorf("%d repetitions from a full budget, want %d", paid, budgetTokens/transientCost)
	}
	for range 10_000 {
		b.Success()
	}
	if got := b.Tokens(origin); got != budgetTokens {
		t.Errorf("%g tokens after many successes, want %d", got, budgetTokens)
	}
}

func TestARestoredBudgetIsFull(t *testing.T) {
	b := NewBudget(origin)
	for ok := true; ok; ok, _ = b.Take(Transient, origin) {
	}
	if b.Restore(); b.Tokens(origin) != budgetTokens {
		t.Errorf("%.0f tokens", b.Tokens(origin))
	}
}

func TestBackoffStaysWithinItsBound(t *testing.T) {
	jitter := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		kind     Kind
		failures int
		bound    time.Duration
	}{
		{Transient, 1, 50 * time.Millisecond}, {Transient, 3, 200 * time.Millisecond}, {Transient, 99, 20 * time.Second},
		{SlowDown, 1, time.Second}, {SlowDown, 9, 20 * time.Second},
	} {
		longest := time.Duration(0)
		for range 1000 {
			longest = max(longest, Backoff(c.kind, c.failures, jitter))
		}
		if longest > c.bound || longest < c.bound*9/10 {
			t.Errorf("kind %d, %d failures: up to %s, want up to %s", c.kind, c.failures, longest, c.bound)
		}
	}
}

func TestChooseTakesTheLargestHeadRoom(t *testing.T) {
	for _, c := range []struct {
		name       string
		candidates []Candidate
		turn, want int
	}{
		{"nobody", nil, 3, -1},
		{"no room", []Candidate{{0, 0, 1}}, 0, -1},
		{"largest", []Candidate{{1, 0.1, 1}, {9, 0.9, 9}}, 0, 1},
		{"faster of equals", []Candidate{{1, 0.5, 3}, {1, 0.5, 2}, {1, 0.5, 3}}, 0, 1},
		{"whose turn it is", []Candidate{{1, 0.5, 3}, {1, 0.5, 3}}, 1, 1},
	} {
		if got := Choose(c.candidates, c.turn); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// send sends at a rate until a time, with one replica absent, as far as the governor lets it.
func send(g *Governor, from time.Time, d time.Duration, every time.Duration, bytes int64) (sent int) {
	for now := from; now.Before(from.Add(d)); now = now.Add(every) {
		if g.Take(now) == 0 {
			g.Attempt("c", bytes, now)
			g.Acked(now)
			sent++
		}
	}
	return sent
}

func TestTheGovernorSlowsToItsFloorAndNotBelow(t *testing.T) {
	g := NewGovernor(GovernorConfig{Budget: 1 << 20, Floor: 0.5}, origin)
	if n := send(g, origin, 10*time.Second, time.Millisecond, 1000); n != 10_000 {
		t.Fatalf("%d sent without any debt, want all 10000", n)
	}
	now := origin.Add(10 * time.Second)
	g.Absent("c", now)
	send(g, now, 30*time.Second, time.Millisecond, 1000)
	now = now.Add(30 * time.Second)
	if n := send(g, now, 10*time.Second, time.Millisecond, 1000); n < 4_900 || n > 5_200 {
		t.Errorf("%d sent in ten seconds far above the budget, want half of 10000", n)
	}
	g.Back("c", now.Add(10*time.Second))
	if _, capped := g.Cap(now.Add(10 * time.Second)); capped {
		t.Error("the rate is capped though nobody is absent")
	}
	if debts := g.Debts(now.Add(time.Hour)); len(debts) != 0 {
		t.Errorf("after an hour there are still debts: %+v", debts)
	}
}

func TestPastTheHintWindowTheWriterGoesOnAndRecords(t *testing.T) {
	g := NewGovernor(GovernorConfig{HintWindow: time.Minute, Floor: 0.5}, origin)
	g.Absent("c", origin)
	g.Attempt("c", 500, origin.Add(20*time.Second))
	if d := g.Debts(origin.Add(20 * time.Second))[0]; d.RefusedIn != 40*time.Second || !d.RepairFrom.IsZero() || d.Owed != 500 {
		t.Errorf("within the window: %+v", d)
	}
	late := origin.Add(2 * time.Minute)
	if n := send(g, late, time.Second, time.Millisecond, 500); n != 1000 {
		t.Errorf("%d sent past the window, want all 1000", n)
	}
	g.Back("c", late.Add(time.Hour))
	d := g.Debts(late.Add(2 * time.Hour))[0]
	if !d.RepairFrom.Equal(late) || d.RepairUntil.Sub(late) != 999*time.Millisecond || d.RefusedIn != 0 {
		t.Errorf("past the window: %+v", d)
	}
	if g.Repaired("c"); len(g.Debts(late.Add(2*time.Hour))) != 0 {
		t.Error("a repair did not close the debt")
	}
}

func TestPastTheHintWindowNothingIsCapped(t *testing.T) {
	g := NewGovernor(GovernorConfig{Budget: 1 << 20, HintWindow: time.Minute}, origin)
	send(g, origin, time.Second, time.Millisecond, 0)
	now := origin.Add(time.Second)
	g.Absent("c", now)
	g.Attempt("c", 1<<20, now)
	if _, capped := g.Cap(now.Add(50 * time.Second)); !capped {
		t.Error("not capped within the window")
	}
	if rate, capped := g.Cap(now.Add(2 * time.Minute)); capped {
		t.Errorf("capped at %g although no hint is stored any more", rate)
	}
}

func TestGovernorConfigNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		config GovernorConfig
		want   string
	}{
		{GovernorConfig{Budget: 5}, "budget 5:"}, {GovernorConfig{Floor: 1.5}, "floor 1.5:"},
		{GovernorConfig{HintWindow: time.Second}, "hint window 1s:"}, {GovernorConfig{Replay: 1}, "replay 1:"},
	} {
		if err := c.config.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.config, err, c.want)
		}
	}
}

// What is found out late is owed, and not owed, from when it was so.
func TestAnAbsenceIsCountedFromItsBeginningToItsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		absent, noticed, back, seen time.Duration // from the beginning
		want                        int64         // bytes, of 1000 each second
	}{
		"noticed late":            {10 * time.Second, 13 * time.Second, 20 * time.Second, 20 * time.Second, 10_000},
		"seen late to be back":    {10 * time.Second, 10 * time.Second, 20 * time.Second, 25 * time.Second, 10_000},
		"both":                    {10 * time.Second, 13 * time.Second, 20 * time.Second, 25 * time.Second, 10_000},
		"gone before it is seen":  {10 * time.Second, 14 * time.Second, 15 * time.Second, 19 * time.Second, 5_000},
		"too late to know":        {10 * time.Second, 30 * time.Second, 40 * time.Second, 40 * time.Second, 17_000},
		"noticed before it began": {10 * time.Second, 10 * time.Second, 10 * time.Second, 15 * time.Second, 0},
	} {
		g := NewGovernor(GovernorConfig{Replay: 1 << 10}, origin)
		for at := time.Duration(0); at <= c.seen; at += time.Second {
			now := origin.Add(at)
			if at == c.noticed {
				g.AbsentSince("c", origin.Add(c.absent), now)
			}
			if at == c.seen {
				g.BackSince("c", origin.Add(c.back), now)
				break
			}
			g.Attempt("c", 1000, now.Add(500*time.Millisecond))
		}
		owed := int64(g.replicas["c"].owed)
		if off := owed - c.want; off < -1000 || off > 1000 {
			t.Errorf("%s: owed %d, want about %d", name, owed, c.want)
		}
	}
}

func TestTheOthersDebtCountsForTheCapAndForTheTimeToHeal(t *testing.T) {
	g := NewGovernor(GovernorConfig{Budget: 1 << 20, Floor: 0.5, Replay: 1 << 10}, origin)
	send(g, origin, time.Second, time.Millisecond, 0)
	now := origin.Add(time.Second)
	g.Others(map[string]int64{"c": 1 << 20}, now)
	if _, capped := g.Cap(now); capped {
		t.Error("capped for a replica that is not absent")
	}
	g.Absent("c", now)
	if rate, capped := g.Cap(now); !capped || rate < 495 || rate > 505 {
		t.Errorf("rate %g, want half of 1000", rate)
	}
	g.Attempt("c", 1<<20, now)
	if d := g.Debts(now)[0]; d.Owed != 1<<20 || d.Others != 1<<20 || d.HealedIn != 2048*time.Second {
		t.Errorf("%+v", d)
	}
	g.Back("c", now)
	if d := g.Debts(now.Add(100 * time.Second))[0]; d.Owed != 1<<20-50<<10 { // half of what is given back
		t.Errorf("owed %d after 100 seconds, want %d", d.Owed, 1<<20-50<<10)
	}
	g.Others(nil, now)
	if len(g.Debts(now.Add(time.Hour))) != 0 {
		t.Error("debts are left")
	}
}
