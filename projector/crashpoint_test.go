package projector

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
	"penstock/objects"
	"penstock/sink/deadletter"
)

// crashPoint is a step between the decision to park a record and the commit that passes it.
type crashPoint string

const (
	beforePut    crashPoint = "before the put"
	afterPut     crashPoint = "after the put, before the record is settled"
	beforeCommit crashPoint = "after it is settled, before the commit"
	afterCommit  crashPoint = "after the commit"
)

// crashing kills the first daemon that comes to a point, once. Letters go through the parker of package deadletter to a store
// in memory.
type crashing struct {
	*world
	point crashPoint

	// Guarded by world.mu:
	first   position          // the first poison record
	objects map[string][]byte // letters
	puts    map[string]int    // that reached the store, by key
	killed  *daemon
}

// strikes kills the daemon if this is the point.
func (c *crashing) strikes(at crashPoint, d *daemon) bool {
	c.mu.Lock()
	strike := c.point == at && c.killed == nil
	if strike {
		c.killed = d
	}
	c.mu.Unlock()
	if strike {
		c.kill(d)
	}
	return strike
}

// crashingStore is the store of one daemon.
type crashingStore struct {
	*crashing
	daemon *daemon
}

func (s crashingStore) PutOnce(ctx context.Context, key string, body []byte, _ string) error {
	gone := func() error {
		<-ctx.Done()
		return &objects.Error{Op: "put", Location: key, Class: objects.Transient, Err: context.Cause(ctx)}
	}
	if s.strikes(beforePut, s.daemon) || s.get(func() bool { return s.daemon.dead }) {
		return gone()
	}
	l, err := deadletter.Decode(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.puts[key]++
	_, taken := s.objects[key]
	if !taken {
		s.objects[key] = bytes.Clone(body)
	}
	s.mu.Unlock()
	if taken {
		return &objects.ExistsError{Location: key}
	}
	s.keep(l)
	if s.strikes(afterPut, s.daemon) {
		return gone()
	}
	return nil
}

func (s crashingStore) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key], nil
}

// passes reports whether a change commits the first poison record.
func (c *crashing) passes(change *checkpoint.Change) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return change != nil && change.Shard == c.first.shard && change.Commit.Compare(c.first.sequence) >= 0
}

func (c *crashing) named(caller string) *daemon {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.daemons {
		if d.name == caller {
			return d
		}
	}
	return nil
}

// crashWhileParking kills a daemon at a point and lets another finish.
func crashWhileParking(t *testing.T, seed uint64, point crashPoint) []string {
	w := newWorld(t, seed, 1)
	c := &crashing{world: w, point: point, objects: map[string][]byte{}, puts: map[string]int{}}
	w.parker = func(d *daemon) Parker { return deadletter.New(deadletter.Config{}, crashingStore{c, d}) }
	w.put(seed, 150, 30, 0, garbled, refused)
	poison := 0
	w.mu.Lock()
	for shard, order := range w.order {
		for _, sequence := range order {
			if at := (position{shard, sequence}); w.facts[at].kind != sound {
				if poison++; poison == 1 {
					c.first = at
				}
			}
		}
	}
	w.mu.Unlock()
	w.store.Script = func(call storetest.Call) storetest.Fault {
		if c.passes(call.Change) && c.strikes(beforeCommit, c.named(call.Caller)) {
			return storetest.Fault{Hang: true}
		}
		return w.script(call)
	}
	w.store.Applied = func(caller string, change checkpoint.Change, before, after checkpoint.Row) {
		w.committed(caller, change, before, after)
		if c.passes(&change) {
			c.strikes(afterCommit, c.named(caller))
		}
	}
	w.join()
	if _, ok := w.await(func() bool { return w.get(func() bool { return c.killed != nil }) }, 2*time.Minute); !ok {
		t.Errorf("seed %d: no daemon came to the point %q", seed, point)
		return w.end()
	}
	time.Sleep(failover / 2) // nothing a dead process does has an effect

	committed := w.store.Row(c.first.shard).Checkpoint.Compare(c.first.sequence) >= 0
	letters := w.get(func() bool { return len(c.objects) > 0 })
	if wantLetter, wantCommit := point != beforePut, point == afterCommit; letters != wantLetter || committed != wantCommit {
		t.Errorf("seed %d, killed %s: a letter is there: %t, the checkpoint is past the record: %t", seed, point, letters, committed)
	}
	broken := w.end() // another daemon takes over
	if len(c.objects) != poison || poison == 0 {
		broken = append(broken, fmt.Sprintf("%d letters of %d poison records", len(c.objects), poison))
	}
	again := 0
	for key, puts := range c.puts {
		if puts > 2 {
			broken = append(broken, fmt.Sprintf("%s was put %d times by two daemons", key, puts))
		}
		if puts == 2 && strings.Contains(key, "."+string(c.first.sequence)+".") {
			again++
		}
	}
	if (point == afterPut || point == beforeCommit) && again == 0 && c.parkedFirst() {
		broken = append(broken, "the letter that the first daemon left was not found again by the second: this seed shows nothing")
	}
	return broken
}

// parkedFirst reports whether the first poison record was the first to be parked.
func (c *crashing) parkedFirst() bool { return c.point == beforeCommit || len(c.puts) == 1 }

// Whatever the step at which a daemon is killed, each poison record ends with one letter, and no checkpoint is ever past one
// without: that is the world's to check, at every commit.
func TestADaemonThatIsKilledWhileItParksLeavesOneLetterAndLosesNone(t *testing.T) {
	for _, point := range []crashPoint{beforePut, afterPut, beforeCommit, afterCommit} {
		t.Run(string(point), func(t *testing.T) {
			for seed := range uint64(8) {
				holds(t, inBubble(t, func(t *testing.T) []string { return crashWhileParking(t, seed+1, point) }))
			}
		})
	}
}
