package projector

import (
	"fmt"
	"testing"
	"time"
)

// holder returns the process that has a valid lease of a shard; "" for none.
func (s *sim) holder(shard string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.workers {
		if l := w.leases[shard]; !w.dead && l != nil && l.Valid() {
			return w.name
		}
	}
	return ""
}

func TestAShardThatAnOperatorWishesAwayIsTakenByAnother(t *testing.T) {
	worst := time.Duration(0)
	for _, c := range []struct{ workers, shards int }{{2, 4}, {2, 5}, {3, 7}} {
		for seed := range uint64(5) {
			holds(t, inBubble(t, func(t *testing.T) []string {
				s := newSim(t, seed, c.shards, failover)
				for i := range c.workers {
					s.join(fmt.Sprint("w", i), "", nil)
				}
				if _, ok := s.await(s.balanced, time.Minute); !ok {
					t.Error("never balanced")
				}
				time.Sleep(time.Duration(seed) * 777 * time.Millisecond)
				shard := s.shards[0].ID
				before := s.holder(shard)
				s.wish(shard)
				took, ok := s.await(func() bool { now := s.holder(shard); return now != "" && now != before }, time.Minute)
				worst = max(worst, took)
				if !ok || took > 6*time.Second {
					t.Errorf("%d workers, %d shards, seed %d: %s still had it after %v", c.workers, c.shards, seed, before, took)
				}
				if _, ok := s.await(s.balanced, time.Minute); !ok {
					t.Errorf("not balanced afterwards: %v", s.held())
				}
				time.Sleep(failover)
				if now := s.holder(shard); now == before || now == "" {
					t.Errorf("%q has it after all, before it was %q", now, before)
				}
				return s.end()
			}))
		}
	}
	t.Logf("longest way to another worker, with drains up to 300ms: %v", worst)
}

func TestALoneWorkerTakesAgainWhatItGaveBackByAWish(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		s := newSim(t, 1, 3, failover)
		s.join("a", "", nil)
		s.await(s.allHeld, time.Minute)
		s.wish(s.shards[1].ID)
		if _, ok := s.await(func() bool { return !s.allHeld() }, time.Minute); !ok {
			t.Error("never given back")
		}
		if took, ok := s.await(s.allHeld, time.Minute); !ok || took > 4*time.Second {
			t.Errorf("taken again after %v", took)
		}
		wanted := 0
		time.Sleep(3 * failover)
		for _, e := range s.history() {
			if e.Kind == leaseWanted {
				wanted++
				if e.Peer != "ann@bastion" || e.Wish != "test" {
					t.Errorf("the event says %+v", e.leaseEvent)
				}
			}
		}
		if wanted != 1 {
			t.Errorf("heeded %d times", wanted)
		}
		return s.end()
	}))
}

func TestAWishIsForOneOwnerAndEnds(t *testing.T) {
	for name, wish := range map[string]Release{
		"of another worker": {From: "b", Until: time.Now().Add(100 * 24 * 365 * time.Hour)},
		"that is over":      {From: "a", Until: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}, // a bubble begins in 2000
		"without an end":    {From: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			holds(t, inBubble(t, func(t *testing.T) []string {
				s := newSim(t, 1, 3, failover)
				s.join("a", "", nil)
				s.await(s.allHeld, time.Minute)
				if err := WriteRelease(t.Context(), s.items.As(operator), "projector-g1", s.shards[0].ID, wish); err != nil {
					t.Fatal(err)
				}
				time.Sleep(failover)
				for _, e := range s.history() {
					if e.Kind == leaseWanted || e.Kind == leaseReleased {
						t.Errorf("%s", leaseMessages[e.Kind])
					}
				}
				return s.end()
			}))
		})
	}
}

// The holder of a shard learns of a seek by its next renewal. Whoever has the shard then goes on from the new position.
func TestASeekBeginsANewEpoch(t *testing.T) {
	for seed := range uint64(10) {
		holds(t, inBubble(t, func(t *testing.T) []string {
			s := newSim(t, seed, 2, failover)
			s.join("a", "", nil)
			s.join("b", "", nil)
			s.await(s.balanced, time.Minute)
			time.Sleep(30*time.Second + time.Duration(seed)*333*time.Millisecond)
			shard := s.shards[0].ID
			if !s.seek(shard) {
				t.Error("the row was not as it was read a moment before")
			}
			to := s.store.Row(shard).Checkpoint
			sought := time.Since(s.start)
			s.await(func() bool {
				for _, e := range s.history() {
					if e.at > sought && e.Kind == leaseTaken && e.Shard == shard {
						return true
					}
				}
				return false
			}, time.Minute)
			var kinds []leaseEventKind
			for _, e := range s.history() {
				if e.at > sought && e.Shard == shard && e.Kind != leaseMissed {
					kinds = append(kinds, e.Kind)
					if e.Kind == leaseTaken && e.Checkpoint != to {
						t.Errorf("taken at %q, sought %q", e.Checkpoint, to)
					}
				}
			}
			if len(kinds) < 2 || kinds[0] != leaseLost || kinds[1] != leaseTaken {
				t.Errorf("after the seek: %v", kinds)
			}
			return s.end()
		}))
	}
}
