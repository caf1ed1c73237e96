package leasetable_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/checkpoint/leasetable"
	"penstock/localstack/stacktest"
)

func newLock(t *testing.T, life time.Duration) leasetable.Lock {
	t.Helper()
	stack := stacktest.Require(t)
	state := leasetable.NewClient(configOf(stack)).State(stack.TablePrefix(t) + "state")
	if _, err := state.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return leasetable.Lock{State: state, Kind: "setup", Name: "lock", Owner: "somebody", Life: life}
}

func TestALockIsHeldByOneAtATime(t *testing.T) {
	lock := newLock(t, 3*time.Second)
	var holders, most, done atomic.Int32
	var all sync.WaitGroup
	for _, owner := range []string{"a", "b", "c", "d"} {
		mine := lock
		mine.Owner = owner
		all.Go(func() {
			err := mine.Do(t.Context(), func(ctx context.Context) error {
				most.Store(max(most.Load(), holders.Add(1)))
				defer holders.Add(-1)
				done.Add(1)
				// Long enough for others to ask, which they do every tenth of a life.
				select {
				case <-time.After(mine.Life / 5):
				case <-ctx.Done():
				}
				return context.Cause(ctx)
			})
			if err != nil {
				t.Errorf("%s: %v", owner, err)
			}
		})
	}
	all.Wait()
	if most.Load() != 1 || done.Load() != 4 {
		t.Errorf("%d at once, %d in all", most.Load(), done.Load())
	}
	left, err := lock.State.Query(t.Context(), "setup")
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestALockIsKeptForLongerThanItsLife(t *testing.T) {
	lock := newLock(t, time.Second)
	err := lock.Do(t.Context(), func(ctx context.Context) error {
		other := lock
		other.Owner = "other"
		waiting, cancel := context.WithTimeoutCause(ctx, 3*lock.Life, errors.New("waited long enough"))
		defer cancel()
		told := ""
		other.Waiting = func(owner string, until time.Time) {
			told += owner
			if until.Before(time.Now()) {
				t.Errorf("told of a lock until %s", until)
			}
		}
		err := other.Do(waiting, func(context.Context) error { return errors.New("taken from a holder that lives") })
		if err == nil || told != "somebody" || context.Cause(ctx) != nil {
			t.Errorf("other: %v, told %q; own: %v", err, told, context.Cause(ctx))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Whoever died while holding it is waited for, for one life, whatever the item says of its end.
func TestALockOfOneWhoDiedIsTaken(t *testing.T) {
	for name, until := range map[string]string{
		"ends far ahead":     "2999-01-01T00:00:00Z",
		"ended long ago":     "2001-01-01T00:00:00Z",
		"has no end":         "",
		"is somebody else's": "soon",
	} {
		t.Run(name, func(t *testing.T) {
			lock := newLock(t, time.Second)
			err := lock.State.Put(t.Context(), "setup", "lock", map[string]string{"Owner": "dead", "Until": until})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			held := false
			if err := lock.Do(ctx, func(context.Context) error { held = true; return nil }); err != nil || !held {
				t.Errorf("held %t, %v", held, err)
			}
		})
	}
}

func TestTheWorkOfALostLockEnds(t *testing.T) {
	lock := newLock(t, time.Second)
	err := lock.Do(t.Context(), func(ctx context.Context) error {
		if err := lock.State.Put(ctx, "setup", "lock", map[string]string{"Owner": "thief", "Until": "2999-01-01T00:00:00Z"}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(30 * time.Second):
			return errors.New("the work goes on")
		}
	})
	if !errors.Is(err, leasetable.ErrLockLost) {
		t.Error(err)
	}
	left, err := lock.State.Query(t.Context(), "setup")
	if err != nil || left["lock"]["Owner"] != "thief" {
		t.Errorf("the other's lock was removed: %v, %v", left, err)
	}
}
