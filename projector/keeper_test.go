package projector

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
)

const failover = 10 * time.Second

// holds fails the test for every invariant that did not hold.
func holds(t *testing.T, broken []string) {
	t.Helper()
	for i, b := range broken {
		if i == 10 {
			t.Errorf("and %d more", len(broken)-i)
			return
		}
		t.Error(b)
	}
}

func TestALoneWorkerTakesAllShardsInOnePass(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		s := newSim(t, 1, 200, failover)
		s.join("a", "", nil)
		took, ok := s.await(s.allHeld, time.Minute)
		t.Logf("200 shards taken in %v", took)
		if !ok || took > time.Second {
			t.Error("too slow")
		}
		return s.end()
	}))
}

func TestWorkersSettleAtEqualShares(t *testing.T) {
	for _, c := range []struct{ workers, shards int }{{2, 4}, {2, 5}, {3, 4}, {3, 7}, {4, 6}, {5, 3}, {3, 64}} {
		t.Run(fmt.Sprintf("%d workers, %d shards", c.workers, c.shards), func(t *testing.T) {
			holds(t, inBubble(t, func(t *testing.T) []string {
				s := newSim(t, 2, c.shards, failover)
				for i := range c.workers {
					time.Sleep(3 * time.Second)
					s.join(fmt.Sprint("w", i), "", nil)
				}
				took, ok := s.await(s.balanced, time.Minute)
				t.Logf("balanced %v after the last came: %v", took, s.held())
				if !ok || took > 10*time.Second {
					t.Error("too slow")
				}
				time.Sleep(time.Second) // a last vain attempt may be on its way
				balanced := time.Since(s.start)
				time.Sleep(time.Minute)
				for _, e := range s.history() {
					if e.at <= balanced {
						continue
					}
					if e.Kind != leaseRenewed {
						t.Errorf("in a balanced fleet: %s of %s by %s", leaseMessages[e.Kind], e.Shard, e.worker.name)
					}
				}
				return s.end()
			}))
		})
	}
}

func TestADeadWorkersShardsAreAllTakenWithinTheFailoverTimeAndASecond(t *testing.T) {
	worst := time.Duration(0)
	for _, c := range []struct {
		workers, shards int
		failover        time.Duration
	}{{2, 4, failover}, {3, 30, failover}, {2, 100, failover}, {2, 4, 3 * time.Second}} {
		for seed := range uint64(10) {
			holds(t, inBubble(t, func(t *testing.T) []string {
				s := newSim(t, seed, c.shards, c.failover)
				for i := range c.workers {
					s.join(fmt.Sprint("w", i), "", nil)
				}
				if _, ok := s.await(s.balanced, time.Minute); !ok {
					t.Error("never balanced")
				}
				time.Sleep(time.Duration(seed) * 777 * time.Millisecond)
				s.workers[0].kill()
				took, ok := s.await(s.allHeld, time.Minute)
				if over := took - c.failover; !ok || over > time.Second {
					t.Errorf("%d workers, %d shards, failover %v, seed %d: took %v", c.workers, c.shards, c.failover, seed, took)
				} else {
					worst = max(worst, over)
				}
				return s.end()
			}))
		}
	}
	t.Logf("longest take-over: failover + %v", worst)
}

func TestAReleaseIsPickedUpInAboutASecond(t *testing.T) {
	worst := time.Duration(0)
	for seed := range uint64(10) {
		holds(t, inBubble(t, func(t *testing.T) []string {
			s := newSim(t, seed, 6, failover)
			s.join("a", "", nil)
			s.join("b", "", nil)
			s.await(s.balanced, time.Minute)
			time.Sleep(time.Duration(seed) * 333 * time.Millisecond)
			a := s.workers[0]
			a.stop()
			took, _ := s.await(func() bool { return s.held()["b"] == 6 }, time.Minute)
			worst = max(worst, took)
			return s.end()
		}))
	}
	t.Logf("longest pick-up after SIGTERM, with drains up to 300ms: %v", worst)
	if worst > 1800*time.Millisecond {
		t.Error("too slow")
	}
}

func TestAnOutageLongerThanALeaseFencesEveryLeaseAndThenPasses(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		s := newSim(t, 4, 8, failover)
		s.join("a", "", nil)
		s.join("b", "", nil)
		s.await(s.balanced, time.Minute)
		time.Sleep(5 * time.Second)
		s.set(func() { s.down = true })
		took, ok := s.await(func() bool { return len(s.held()) == 0 }, time.Minute)
		t.Logf("all fenced after %v", took)
		if !ok || took > failover {
			t.Error("a lease outlived its trust window")
		}
		time.Sleep(2 * failover)
		s.set(func() { s.down = false })
		took, ok = s.await(s.balanced, time.Minute)
		t.Logf("all held again %v after the end of the outage", took)
		if !ok || took > 10*time.Second {
			t.Error("did not recover in time")
		}
		for _, e := range s.history() {
			if e.Kind == leaseLost && !errors.Is(e.Cause, checkpoint.ErrFenced) {
				t.Errorf("%s lost %s by %v", e.worker.name, e.Shard, e.Cause)
			}
		}
		return s.end()
	}))
}

func TestASteadyFleetWritesLessThanThreeTimesInTenSecondsAndShard(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		s := newSim(t, 5, 20, failover)
		s.join("a", "", nil)
		s.join("b", "", nil)
		s.await(s.balanced, time.Minute)
		before := s.applications()
		time.Sleep(1000 * time.Second)
		rate := float64(s.applications()-before) / 1000 / 20
		t.Logf("%.3f writes per shard and second", rate)
		if rate > 0.3 {
			t.Error("too many")
		}
		for _, ref := range s.shards {
			if behind := 1000*5 - recordAt(s.store.Row(ref.ID).Checkpoint); behind > 0 {
				t.Errorf("%s was committed only up to record %d", ref.ID, 1000*5-behind)
			}
		}
		return s.end()
	}))
}

func TestALostAnswerDoesNotLoseALease(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		s := newSim(t, 6, 4, failover)
		s.join("a", "", nil)
		s.await(s.balanced, time.Minute)
		inner := s.store.Script
		s.set(func() {
			s.store.Script = func(c storetest.Call) storetest.Fault {
				f := inner(c)
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.rng.IntN(4) == 0 && c.Change != nil {
					f.Lose = storetest.ErrScripted
				}
				return f
			}
		})
		time.Sleep(5 * time.Minute)
		if got := s.held()["a"]; got != 4 {
			t.Errorf("%d of 4 leases left", got)
		}
		for _, e := range s.history() {
			if e.Kind == leaseLost {
				t.Errorf("lost %s: %v", e.Shard, e.Cause)
			}
		}
		return s.end()
	}))
}

func TestTwoProcessesWithOneWorkerIDNeverHoldOneShard(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		s := newSim(t, 7, 6, failover)
		s.join("a", "same", nil)
		s.join("b", "same", nil)
		s.await(s.allHeld, time.Minute)
		time.Sleep(time.Minute)
		s.workers[0].kill()
		if took, ok := s.await(s.allHeld, time.Minute); !ok || took > failover+time.Second {
			t.Errorf("take-over took %v", took)
		}
		return s.end()
	}))
}

func TestAFrozenOwnerThatWakesUpChangesNothing(t *testing.T) {
	for seed := range uint64(10) {
		holds(t, inBubble(t, func(t *testing.T) []string {
			s := newSim(t, seed, 4, failover)
			a := s.join("a", "", nil)
			s.join("b", "", nil)
			s.await(s.balanced, time.Minute)
			time.Sleep(time.Duration(seed) * 411 * time.Millisecond)
			a.freeze()
			if took, ok := s.await(func() bool { return s.held()["b"] == 4 }, time.Minute); !ok || took > failover+time.Second {
				t.Errorf("take-over took %v", took)
			}
			before := map[string]checkpoint.Pair{}
			for _, ref := range s.shards {
				before[ref.ID] = s.store.Row(ref.ID).Pair()
			}
			a.thaw()
			if _, ok := s.await(s.balanced, time.Minute); !ok {
				t.Errorf("not balanced again: %v", s.held())
			}
			lost := 0
			for _, e := range s.history() {
				if e.worker == a && e.Kind == leaseLost {
					lost++
				}
			}
			if lost != 2 {
				t.Errorf("the woken worker noticed the loss of %d leases, want 2", lost)
			}
			return s.end()
		}))
	}
}

func TestChildrenAreTakenAfterBothParentsAreFinished(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		s := newSim(t, 8, 2, failover)
		s.length = map[string]int{s.shards[0].ID: 20, s.shards[1].ID: 200}
		child := ShardRef{ID: "shardId-000000000002", Parents: []string{s.shards[0].ID, s.shards[1].ID}}
		grandchild := ShardRef{ID: "shardId-000000000003", Parents: []string{child.ID, "shardId-gone"}}
		s.length[child.ID] = 30
		s.shards = append(s.shards, child, grandchild)
		s.join("a", "", nil)
		s.join("b", "", nil)
		s.await(func() bool { return s.store.Row(grandchild.ID).Owner != "" }, 5*time.Minute)
		var taken, finished []string
		for _, e := range s.history() {
			switch e.Kind {
			case leaseTaken:
				taken = append(taken, e.Shard)
				if e.Shard == child.ID && len(finished) != 2 || e.Shard == grandchild.ID && len(finished) != 3 {
					t.Errorf("%s taken when only %v were finished", e.Shard, finished)
				}
			case leaseFinished:
				finished = append(finished, e.Shard)
			}
		}
		if len(taken) < 4 {
			t.Errorf("taken: %v", taken)
		}
		return s.end()
	}))
}

// A parent that no listing has shown yet may be unread. It is taken once it is listed, and no longer waited for once it is
// known to be gone.
func TestAMissingParentIsWaitedForAndNotTaken(t *testing.T) {
	for _, gone := range []bool{false, true} {
		holds(t, inBubble(t, func(t *testing.T) []string {
			s := newSim(t, 8, 1, failover)
			parent := ShardRef{ID: "shardId-000000000001", Missing: true}
			child := ShardRef{ID: "shardId-000000000002", Parents: []string{parent.ID}}
			s.length[parent.ID] = 20
			s.shards = append(s.shards, parent, child)
			w := s.join("a", "", nil)
			s.await(func() bool { return s.store.Row(s.shards[0].ID).Owner != "" }, time.Minute)
			time.Sleep(time.Minute)
			if owner := s.store.Row(child.ID).Owner; owner != "" || s.store.Row(parent.ID) != (checkpoint.Row{}) {
				t.Errorf("the child belongs to %q, the parent's row is %+v", owner, s.store.Row(parent.ID))
			}
			parent.Missing = false
			s.shards = []ShardRef{s.shards[0], parent, child}
			if gone {
				s.shards = []ShardRef{s.shards[0], child}
			}
			w.keeper.SetShards(s.shards)
			s.await(func() bool { return s.store.Row(child.ID).Owner != "" }, time.Minute)
			if read := s.store.Row(parent.ID).Finished(); read == gone {
				t.Errorf("gone is %t, and the parent was read to its end: %t", gone, read)
			}
			return s.end()
		}))
	}
}

func TestAMissingTableEndsTheKeeperAtTheStartOnly(t *testing.T) {
	for _, cause := range []error{checkpoint.ErrTableMissing, checkpoint.ErrDenied} {
		holds(t, inBubble(t, func(t *testing.T) []string {
			s := newSim(t, 9, 4, failover)
			missing := true
			inner := s.store.Script
			s.store.Script = func(c storetest.Call) storetest.Fault {
				f := inner(c)
				s.mu.Lock()
				defer s.mu.Unlock()
				if missing {
					f.Fail = cause
				}
				return f
			}
			if err := <-s.join("a", "", nil).done; !errors.Is(err, cause) {
				t.Errorf("got %v, want %v", err, cause)
			}
			s.set(func() { missing, s.workers = false, nil })
			s.join("b", "", nil)
			s.await(s.allHeld, time.Minute)
			s.set(func() { missing = true })
			time.Sleep(2 * failover)
			s.set(func() { missing = false })
			if _, ok := s.await(s.allHeld, time.Minute); !ok {
				t.Error("not held again")
			}
			return s.end()
		}))
	}
}

func TestWithoutTheStateTableShardsAreStillTakenOver(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		s := newSim(t, 10, 4, failover)
		inner := s.items.Script
		s.items.Script = func(c storetest.Call) storetest.Fault {
			f := inner(c)
			f.Fail = storetest.ErrScripted
			return f
		}
		s.join("a", "", nil)
		s.join("b", "", nil)
		s.await(s.allHeld, time.Minute)
		s.workers[0].kill()
		if took, ok := s.await(s.allHeld, 5*time.Minute); !ok || took > 2*failover {
			t.Errorf("take-over took %v", took)
		}
		return s.end()
	}))
}

// A worker that is alive and well but for the lease table must not keep a share of the shards from being worked on.
func TestAWorkerWithoutTheLeaseTableHoldsNothingBack(t *testing.T) {
	for name, impair := range map[string]func(*simWorker, bool){
		"neither reads nor writes": func(w *simWorker, yes bool) { w.cut = yes },
		"reads but does not write": func(w *simWorker, yes bool) { w.mute = yes },
	} {
		t.Run(name, func(t *testing.T) {
			holds(t, inBubble(t, func(t *testing.T) []string {
				s := newSim(t, 11, 4, failover)
				a, b := s.join("a", "", nil), s.join("b", "", nil)
				s.await(s.balanced, time.Minute)
				s.set(func() { impair(a, true) })
				took, ok := s.await(func() bool { return s.held()[b.name] == 4 }, time.Minute)
				if !ok || took > failover+time.Second {
					t.Errorf("take-over took %v", took)
				}
				c := s.join("c", "", nil) // one that never could
				s.set(func() { impair(c, true) })
				began := time.Now()
				for time.Since(began) < 3*time.Minute {
					if held := s.held()[b.name]; held != 4 {
						t.Fatalf("after %v the only sound worker has %d of 4", time.Since(began), held)
					}
					time.Sleep(100 * time.Millisecond)
				}
				s.set(func() { impair(a, false); impair(c, false) })
				if took, ok := s.await(s.balanced, time.Minute); !ok || took > 10*time.Second {
					t.Errorf("balanced again after %v: %v", took, s.held())
				}
				return s.end()
			}))
		})
	}
}

// A step of a random history.
type simStep struct {
	wait time.Duration
	what string
	who  int
}

func aHistory() *rapid.Generator[[]simStep] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) simStep {
		return simStep{
			wait: time.Duration(rapid.IntRange(10, 15_000).Draw(t, "wait ms")) * time.Millisecond,
			what: rapid.SampledFrom([]string{"join", "kill", "stop", "freeze", "freeze", "thaw", "hang", "hang", "answer", "cut", "mute", "answer", "down", "up", "faults", "calm", "seek", "insist", "release"}).Draw(t, "what"),
			who:  rapid.IntRange(0, 5).Draw(t, "who"),
		}
	}), 4, 16)
}

// live plays a history and then gives the fleet time to settle.
func (s *sim) live(t *testing.T, history []simStep, change func(*keeper)) {
	s.join("w0", "", change)
	s.join("w1", "", change)
	for _, step := range history {
		time.Sleep(step.wait)
		w := s.workers[step.who%len(s.workers)]
		switch step.what {
		case "join":
			if len(s.workers) < 6 {
				s.join(fmt.Sprint("w", len(s.workers)), "", change)
			}
		case "kill":
			w.kill()
		case "stop":
			w.stop()
		case "freeze":
			w.freeze()
		case "thaw":
			w.thaw()
		case "hang":
			s.set(func() { w.hangs = true })
		case "answer":
			s.set(func() { w.hangs, w.cut, w.mute = false, false, false })
		case "cut":
			s.set(func() { w.cut = true })
		case "mute":
			s.set(func() { w.mute = true })
		case "down":
			s.set(func() { s.down = true })
		case "up":
			s.set(func() { s.down = false })
		case "faults":
			s.set(func() { s.faults = 0.3 })
		case "calm":
			s.set(func() { s.faults = 0 })
		case "seek":
			s.seek(s.shards[step.who%len(s.shards)].ID)
		case "insist":
			s.insist(s.shards[step.who%len(s.shards)].ID)
		case "release":
			s.wish(s.shards[step.who%len(s.shards)].ID)
		}
	}
	s.set(func() {
		s.faults, s.down = 0, false
		for _, w := range s.workers {
			w.hangs, w.cut, w.mute = false, false, false
		}
	})
	for _, w := range s.workers {
		w.thaw()
	}
	s.join("last", "", change)
	if _, ok := s.await(s.balanced, 6*failover); !ok {
		s.breach("not all shards held evenly: %v", s.held())
	}
}

func TestNoHistoryBreaksAnInvariant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed, history := rapid.Uint64().Draw(rt, "seed"), aHistory().Draw(rt, "history")
		broken := inBubble(t, func(t *testing.T) []string {
			s := newSim(t, seed, 5, failover)
			s.live(t, history, nil)
			return s.end()
		})
		if len(broken) > 0 {
			rt.Fatalf("%d breaches, first: %s", len(broken), broken[0])
		}
	})
}

// optimist is a store that takes silence for consent.
type optimist struct{ checkpoint.Store }

func (o optimist) Apply(ctx context.Context, c checkpoint.Change) error {
	err := o.Store.Apply(ctx, c)
	if _, refused := errors.AsType[*checkpoint.Refused](err); refused {
		return err
	}
	return nil
}

// A check that cannot fail proves nothing: each of these faults in the protocol must break an invariant of the
// simulation above within a few histories.
func TestPlantedFaultsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		table storetest.Weakness
		plant func(*keeper)
	}{
		{"the pair is not part of the condition", storetest.WithoutPair, nil},
		{"the checkpoint is not part of the condition of a taking", storetest.WithoutSight, nil},
		{"leases are fenced late", 0, func(k *keeper) { k.pace.terms.Margin = -failover / 2 }},
		{"rows are taken early", 0, func(k *keeper) {
			terms := k.pace.terms
			terms.Failover /= 2
			terms.Margin = terms.Failover - k.pace.terms.Trust() // the own fence stays where it was
			k.pace.terms = terms
		}},
		{"a write without answer counts as done", 0, func(k *keeper) { k.config.Store = optimist{k.config.Store} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range 1000 {
				history := aHistory().Example(i)
				broken := inBubble(t, func(t *testing.T) []string {
					s := newSim(t, uint64(i), 5, failover)
					s.store.Weakness = c.table
					s.live(t, history, c.plant)
					return s.end()
				})
				if len(broken) > 0 {
					t.Logf("found in history %d: %s", i, broken[0])
					return
				}
			}
			t.Error("not found")
		})
	}
}
