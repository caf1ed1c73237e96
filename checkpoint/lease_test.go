package checkpoint_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
)

var (
	terms    = checkpoint.TermsOf(10 * time.Second) // trusted for 9 s
	begin    = time.Now()
	errNoAns = errors.New("no answer")
	seen     = checkpoint.Row{Shard: "shardId-000000000001", Owner: "old", Timeout: "then", Checkpoint: "100"}
)

func after(d time.Duration) time.Time { return begin.Add(d) }

// stamp is a timeout of worker a; equal n, equal text.
func stamp(n uint32) string { return checkpoint.Timeout("a", begin, n) }

func rowWith(n uint32, at checkpoint.Sequence) checkpoint.Row {
	return checkpoint.Row{Shard: seen.Shard, Owner: "a", Timeout: stamp(n), Checkpoint: at}
}

func refusedBy(row checkpoint.Row) error { return &checkpoint.Refused{Current: row} }

// held returns a lease taken with stamp 1 by a write that began at begin.
func held(t testing.TB) *checkpoint.Lease {
	l := checkpoint.NewLease(terms, "a", seen)
	c := l.Acquire(begin, stamp(1), "")
	if c.Commit != "" || c.Seen != seen || c.Next != (checkpoint.Pair{Owner: "a", Timeout: stamp(1)}) {
		t.Fatalf("acquire: %+v", c)
	}
	if v := l.Answer(nil); v != checkpoint.Done || l.Phase() != checkpoint.Held {
		t.Fatalf("verdict %d, phase %s", v, l.Phase())
	}
	return l
}

func TestAnAcquireEnds(t *testing.T) {
	other := checkpoint.Row{Shard: seen.Shard, Owner: "b", Timeout: "x"}
	for _, c := range []struct {
		name    string
		answer  error
		verdict checkpoint.Verdict
		phase   checkpoint.Phase
		cause   error
	}{
		{"applied", nil, checkpoint.Done, checkpoint.Held, nil},
		{"refused by what it wrote itself", refusedBy(rowWith(1, "100")), checkpoint.Done, checkpoint.Held, nil},
		{"refused by another's row", refusedBy(other), checkpoint.Gone, checkpoint.Lost, checkpoint.ErrTaken},
		{"refused by the row of another process of this id", refusedBy(rowWith(2, "100")), checkpoint.Gone, checkpoint.Lost, checkpoint.ErrTaken},
		{"refused by no row", refusedBy(checkpoint.Row{}), checkpoint.Gone, checkpoint.Lost, checkpoint.ErrTaken},
		{"no answer", errNoAns, checkpoint.Gone, checkpoint.Lost, checkpoint.ErrUnsure},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := checkpoint.NewLease(terms, "a", seen)
			l.Acquire(begin, stamp(1), "")
			if v := l.Answer(c.answer); v != c.verdict || l.Phase() != c.phase {
				t.Errorf("verdict %d, phase %s", v, l.Phase())
			}
			if !errors.Is(l.Cause(), c.cause) || c.cause != nil && !errors.Is(l.Cause(), checkpoint.ErrLeaseLost) {
				t.Errorf("cause %v", l.Cause())
			}
			if c.phase == checkpoint.Held && !l.Trusted().Equal(after(9*time.Second)) {
				t.Errorf("trusted for %v", l.Trusted().Sub(begin))
			}
			if got := l.Mine(rowWith(1, "")); got != (c.phase == checkpoint.Held || errors.Is(c.cause, checkpoint.ErrUnsure)) {
				t.Errorf("a row with this lease's pair is mine: %v", got)
			}
			if l.Mine(rowWith(2, "")) || l.Mine(other) || l.Mine(seen) {
				t.Error("a row that this lease never wrote is mine")
			}
		})
	}
}

func TestTrustCountsFromTheStartOfTheWriteThatStands(t *testing.T) {
	l := held(t)
	l.Renew(after(3*time.Second), stamp(2), "")
	if v := l.Answer(nil); v != checkpoint.Done || !l.Trusted().Equal(after(12*time.Second)) {
		t.Errorf("verdict %d, trusted for %v", v, l.Trusted().Sub(begin))
	}
	// A renewal without answer adds nothing, whatever became of it.
	l.Renew(after(6*time.Second), stamp(3), "")
	if v := l.Answer(errNoAns); v != checkpoint.Unsure || !l.Trusted().Equal(after(12*time.Second)) {
		t.Errorf("verdict %d, trusted for %v", v, l.Trusted().Sub(begin))
	}
	// The next one is refused by the row as the one before left it, so that one stands, and counts from its own start.
	l.Renew(after(8*time.Second), stamp(4), "")
	if v := l.Answer(refusedBy(rowWith(3, "100"))); v != checkpoint.Again || !l.Trusted().Equal(after(15*time.Second)) {
		t.Errorf("verdict %d, trusted for %v", v, l.Trusted().Sub(begin))
	}
	if c := l.Renew(after(8*time.Second), stamp(5), ""); c.Held.Timeout != stamp(3) {
		t.Error("the next renewal does not build on the pair in the row")
	}
	if l.Answer(nil); l.Expire(after(17*time.Second - 1)) {
		t.Error("expired too early")
	}
	if !l.Expire(after(17*time.Second)) || l.Phase() != checkpoint.Lost || !errors.Is(l.Cause(), checkpoint.ErrFenced) {
		t.Errorf("not fenced: %s, %v", l.Phase(), l.Cause())
	}
	if l.Expire(after(time.Hour)) {
		t.Error("expired twice")
	}
}

func TestAnAnswerAfterTheFenceOnlyTellsWhatIsInTheRow(t *testing.T) {
	l := held(t)
	l.Renew(after(8*time.Second), stamp(2), "")
	if !l.Expire(after(9 * time.Second)) {
		t.Fatal("not fenced")
	}
	if v := l.Answer(nil); v != checkpoint.Gone || l.Phase() != checkpoint.Lost {
		t.Errorf("verdict %d, phase %s", v, l.Phase())
	}
	if !l.Mine(rowWith(2, "")) || l.Mine(rowWith(1, "")) {
		t.Error("the pair in the row is not known")
	}
	again := l.Retake(rowWith(2, ""))
	again.Acquire(after(20*time.Second), stamp(3), "")
	again.Answer(errNoAns)
	if !again.Mine(rowWith(2, "")) || !again.Mine(rowWith(3, "")) {
		t.Error("after a retaking without answer the row may carry the old pair or the new one")
	}
}

func TestARenewalCommitsTheWatermarkOnceAndForwardOnly(t *testing.T) {
	l := held(t)
	for i, c := range []struct {
		watermark, commit checkpoint.Sequence
		answer            error
		committed         checkpoint.Sequence
	}{
		{"", "", nil, "100"},
		{"99", "", nil, "100"},
		{"100", "", nil, "100"},
		{"150", "150", errNoAns, "100"},
		{"150", "150", refusedBy(rowWith(4, "150")), "150"}, // the one without answer was applied
		{"150", "", nil, "150"},
		{"1000", "1000", nil, "1000"},
		{"150", "", nil, "1000"},
		{checkpoint.ShardEnd, "", nil, "1000"},
	} {
		got := l.Renew(after(time.Second), stamp(uint32(i+1)), c.watermark)
		if got.Commit != c.commit {
			t.Errorf("%d: commits %q, want %q", i, got.Commit, c.commit)
		}
		l.Answer(c.answer)
		if l.Committed() != c.committed {
			t.Errorf("%d: committed %q, want %q", i, l.Committed(), c.committed)
		}
	}
}

func TestARowBeyondTheWatermarkKeepsTheLeaseAndItsCheckpoint(t *testing.T) {
	l := held(t)
	l.Renew(after(time.Second), stamp(2), "150")
	if v := l.Answer(refusedBy(rowWith(1, "200"))); v != checkpoint.Again || l.Committed() != "200" {
		t.Errorf("verdict %d, committed %q", v, l.Committed())
	}
	if c := l.Renew(after(time.Second), stamp(3), "150"); c.Commit != "" {
		t.Errorf("commits %q over 200", c.Commit)
	}
}

func TestARefusalThatNothingExplainsLosesTheLease(t *testing.T) {
	for name, row := range map[string]checkpoint.Row{
		"the shard was finished":              rowWith(1, checkpoint.ShardEnd),
		"the checkpoint cannot be read":       rowWith(1, "LATEST"),
		"the row was freed":                   {Shard: seen.Shard, Timeout: stamp(1), Checkpoint: "100"},
		"the row is gone":                     {},
		"another process of this id holds it": rowWith(9, "100"),
	} {
		t.Run(name, func(t *testing.T) {
			l := held(t)
			l.Renew(after(time.Second), stamp(2), "150")
			if v := l.Answer(refusedBy(row)); v != checkpoint.Gone || l.Phase() != checkpoint.Lost || !errors.Is(l.Cause(), checkpoint.ErrTaken) {
				t.Errorf("verdict %d, phase %s, cause %v", v, l.Phase(), l.Cause())
			}
			if l.Mine(row) {
				t.Error("the row is still thought to be ours")
			}
		})
	}
}

func TestHowALeaseIsGivenBack(t *testing.T) {
	free := func(at checkpoint.Sequence) checkpoint.Row {
		return checkpoint.Row{Shard: seen.Shard, Timeout: stamp(1), Checkpoint: at}
	}
	release := func(l *checkpoint.Lease) { l.Release(after(time.Second), "150") }
	finish := func(l *checkpoint.Lease) { l.Finish(after(time.Second)) }
	for _, c := range []struct {
		name    string
		how     func(*checkpoint.Lease)
		answers []error
		phase   checkpoint.Phase
		at      checkpoint.Sequence
	}{
		{"release", release, []error{nil}, checkpoint.Over, "150"},
		{"release after a lost answer", release, []error{errNoAns, refusedBy(free("150"))}, checkpoint.Over, "150"},
		{"release delivered twice", release, []error{refusedBy(free("150"))}, checkpoint.Over, "150"},
		{"release that never got there", release, []error{errNoAns, nil}, checkpoint.Over, "150"},
		{"release of a row that somebody freed", release, []error{refusedBy(free("100"))}, checkpoint.Lost, "100"},
		{"release of a row that was taken", release, []error{refusedBy(checkpoint.Row{Shard: seen.Shard, Owner: "b", Timeout: "x"})}, checkpoint.Lost, "100"},
		{"finish", finish, []error{nil}, checkpoint.Over, checkpoint.ShardEnd},
		{"finish after a lost answer", finish, []error{errNoAns, refusedBy(free(checkpoint.ShardEnd))}, checkpoint.Over, checkpoint.ShardEnd},
		{"finish of a row that somebody freed", finish, []error{refusedBy(free("100"))}, checkpoint.Lost, "100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := held(t)
			l.Leave()
			for _, answer := range c.answers {
				c.how(l)
				l.Answer(answer)
			}
			if l.Phase() != c.phase || l.Committed() != c.at {
				t.Errorf("phase %s, committed %q", l.Phase(), l.Committed())
			}
		})
	}
}

func TestALeaseThatIsLeavingTakesTheAnswerToARenewal(t *testing.T) {
	l := held(t)
	l.Renew(after(time.Second), stamp(2), "")
	l.Leave()
	if v := l.Answer(nil); v != checkpoint.Done || l.Phase() != checkpoint.Leaving {
		t.Fatalf("verdict %d, phase %s", v, l.Phase())
	}
	if c := l.Release(after(time.Second), "150"); c.Held.Timeout != stamp(2) || c.Commit != "150" {
		t.Errorf("release: %+v", c)
	}
}

// However answers are lost and requests repeated or delayed, a lease that is believed in is the one in the row.
func TestABelievedLeaseIsTheOneInTheRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var store storetest.Memory
		ctx := t.Context()
		_ = store.Plant(ctx, checkpoint.Row{Shard: seen.Shard}) // never fails
		var delayed []checkpoint.Change
		leases := map[string]*checkpoint.Lease{}
		now, nonce := begin, uint32(0)
		lastWrite := begin // a change of the row, as far as observers could have seen
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
			if len(delayed) > 0 && rapid.Bool().Draw(t, "a delayed request arrives") {
				if store.Apply(ctx, delayed[0]) == nil {
					lastWrite = now
				}
				delayed = delayed[1:]
			}
			name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "worker")
			l := leases[name]
			row := store.Row(seen.Shard)
			nonce++
			text := checkpoint.Timeout(name, now, nonce)
			var c checkpoint.Change
			switch {
			case l != nil && l.Expire(now):
				continue
			case l != nil && l.Phase() == checkpoint.Held:
				if rapid.IntRange(0, 4).Draw(t, "leave") == 0 {
					l.Leave()
					c = l.Release(now, "")
				} else {
					c = l.Renew(now, text, "")
				}
			case l != nil && l.Phase() == checkpoint.Leaving:
				c = l.Release(now, "")
			case row.Free() || now.Sub(lastWrite) >= terms.Failover:
				l = checkpoint.NewLease(terms, name, row)
				leases[name] = l
				c = l.Acquire(now, text, "")
			default:
				continue
			}
			var answer error
			switch rapid.IntRange(0, 4).Draw(t, "fault") {
			case 0:
				answer = errNoAns
			case 1:
				delayed, answer = append(delayed, c), errNoAns
			case 2:
				if store.Apply(ctx, c) == nil {
					lastWrite = now
				}
				answer = errNoAns
			default:
				if answer = store.Apply(ctx, c); answer == nil {
					lastWrite = now
				}
			}
			l.Answer(answer)
			believers := 0
			for owner, l := range leases {
				if l.Phase() == checkpoint.Held && now.Before(l.Trusted()) {
					believers++
					if row := store.Row(seen.Shard); row.Owner != owner {
						t.Fatalf("%s believes in a lease that the row gives to %q", owner, row.Owner)
					}
				}
			}
			if believers > 1 {
				t.Fatal("two believe in the lease")
			}
		}
	})
}
