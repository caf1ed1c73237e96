package projector

import (
	"fmt"
	"testing"
	"time"
)

func TestFiveWorkersShareHundredsOfShards(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		s := newSim(t, 12, 300, failover)
		for i := range 5 {
			s.join(fmt.Sprint("w", i), "", nil)
		}
		took, ok := s.await(s.allHeld, time.Minute)
		t.Logf("all owned after %v", took)
		if !ok || took > 10*time.Second {
			t.Error("too slow")
		}
		more, ok := s.await(s.balanced, time.Minute)
		t.Logf("balanced after %v", took+more)
		if !ok {
			t.Errorf("not balanced: %v", s.held())
		}
		s.workers[0].kill()
		if took, ok = s.await(s.allHeld, time.Minute); !ok || took > failover+time.Second {
			t.Errorf("the shards of a dead worker were taken after %v", took)
		}
		t.Logf("taken over after %v", took)
		return s.end()
	}))
}
