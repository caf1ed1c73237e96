package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/checkpoint"
)

// Memory is a lease table in memory. The zero value is an empty table that never fails. Its fields are set before use;
// its methods are safe for concurrent use.
type Memory struct {
	// Script says what becomes of a call; nil lets every call succeed at once. It is called from many goroutines.
	Script func(Call) Fault
	// Applied is told of every change that was applied, in order, under the store's lock: it must not call the store.
	Applied func(caller string, c checkpoint.Change, before, after checkpoint.Row)
	// Weakness leaves conditions out, to show that a test would notice.
	Weakness Weakness

	mu   sync.Mutex
	rows map[string]checkpoint.Row
}

// Call is one call of a store.
type Call struct {
	Caller string
	Change *checkpoint.Change // nil for Rows
}

// Fault is what becomes of a call; the zero value is success at once. Delay comes first.
type Fault struct {
	Delay time.Duration // how long the call is on its way
	Fail  error         // it does not reach the table
	Lose  error         // it is carried out and the answer lost
	Hang  bool          // it does not reach the table, and no answer comes until the caller gives up
	Late  time.Duration // the caller waits in vain as with Hang; the change reaches the table this much later than it was sent
	Twice bool          // the client delivers the request twice and returns the answer to the second
}

// Weakness is a set of conditions that a broken store leaves out.
type Weakness uint8

// The weaknesses.
const (
	WithoutPair  Weakness = 1 << iota // the pair, held or seen, is not compared
	WithoutGuard                      // a checkpoint may go back
	WithoutSight                      // an acquire does not compare the checkpoint
)

// As returns the store as one caller sees it, so that the script can tell callers apart.
func (m *Memory) As(caller string) checkpoint.Store { return memoryOf{m, caller} }

// Rows implements [checkpoint.Store].
func (m *Memory) Rows(ctx context.Context) ([]checkpoint.Row, error) { return m.As("").Rows(ctx) }

// Apply implements [checkpoint.Store].
func (m *Memory) Apply(ctx context.Context, c checkpoint.Change) error { return m.As("").Apply(ctx, c) }

// Plant puts a row as it is, without a condition.
func (m *Memory) Plant(_ context.Context, row checkpoint.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(row)
	return nil
}

func (m *Memory) put(row checkpoint.Row) {
	if m.rows == nil {
		m.rows = map[string]checkpoint.Row{}
	}
	m.rows[row.Shard] = row
}

// Row returns the row of a shard; the zero value if there is none.
func (m *Memory) Row(shard string) checkpoint.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[shard]
}

func (m *Memory) all() []checkpoint.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.rows), func(a, b checkpoint.Row) int { return strings.Compare(a.Shard, b.Shard) })
}

type memoryOf struct {
	*Memory
	caller string
}

func (m memoryOf) Rows(ctx context.Context) ([]checkpoint.Row, error) {
	var rows []checkpoint.Row
	err := m.call(ctx, nil, func() error {
		rows = m.all()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func (m memoryOf) Apply(ctx context.Context, c checkpoint.Change) error {
	return m.call(ctx, &c, func() error { return m.apply(m.caller, c) })
}

// call carries a call out as the script says. No lock is held while it waits.
func (m memoryOf) call(ctx context.Context, c *checkpoint.Change, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var f Fault
	if m.Script != nil {
		f = m.Script(Call{Caller: m.caller, Change: c})
	}
	return f.carryOut(ctx, do)
}

func (f Fault) carryOut(ctx context.Context, do func() error) error {
	if f.Late > 0 {
		time.AfterFunc(f.Late, func() { _ = do() }) // nobody is there any more to take the answer
	}
	if f.Hang || f.Late > 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	if f.Delay > 0 {
		wait := time.NewTimer(f.Delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.Fail != nil {
		return f.Fail
	}
	if f.Twice {
		_ = do() // the answer to the first delivery is lost inside the client
	}
	err := do()
	if f.Lose != nil {
		return f.Lose
	}
	return err
}

// apply is the contract in its shortest form.
func (m *Memory) apply(caller string, c checkpoint.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	row, ok := m.rows[c.Shard]
	if !m.holds(c, row, ok) {
		return &checkpoint.Refused{Op: c.Op, Current: row}
	}
	after := changed(c, row)
	if c.Op == checkpoint.Delete {
		delete(m.rows, c.Shard)
	} else {
		m.put(after)
	}
	if m.Applied != nil {
		m.Applied(caller, c, row, after)
	}
	return nil
}

func (m *Memory) holds(c checkpoint.Change, row checkpoint.Row, ok bool) bool {
	switch c.Op {
	case checkpoint.Create:
		return !ok
	case checkpoint.Heal, checkpoint.Delete:
		c.Seen.Shard = c.Shard
		return ok && row == c.Seen
	case checkpoint.Reopen:
		return ok && row.Finished() && sameEpoch(row, c.Seen)
	case checkpoint.Acquire, checkpoint.Renew, checkpoint.Release, checkpoint.Finish, checkpoint.Seek:
	}
	if !ok || row.Finished() {
		return false
	}
	if c.Op == checkpoint.Seek {
		return sameEpoch(row, c.Seen)
	}
	if c.Op == checkpoint.Acquire {
		return m.Weakness&WithoutPair != 0 || sameOwner(row, c.Seen) && (m.Weakness&WithoutSight != 0 || sameCheckpoint(row, c.Seen))
	}
	if m.Weakness&WithoutPair == 0 && row.Pair() != c.Held {
		return false
	}
	return c.Commit == "" || m.Weakness&WithoutGuard != 0 ||
		!row.Wrong.Has(checkpoint.CheckpointAttribute) && row.Checkpoint.Compare(c.Commit) <= 0
}

// differing are the attributes that are empty or no text in one row and not in the other. ^ and | bind equally in Go.
func differing(row, seen checkpoint.Row) checkpoint.Attributes {
	return (row.Empty ^ seen.Empty) | (row.Wrong ^ seen.Wrong)
}

// sameOwner is the condition of an acquire on owner and timeout.
func sameOwner(row, seen checkpoint.Row) bool {
	const owner, timeout = checkpoint.OwnerAttribute, checkpoint.TimeoutAttribute
	if row.Owner != seen.Owner || differing(row, seen).Has(owner) {
		return false
	}
	return seen.Free() || row.Timeout == seen.Timeout && !differing(row, seen).Has(timeout)
}

// sameCheckpoint is the condition of an acquire on the checkpoint.
func sameCheckpoint(row, seen checkpoint.Row) bool {
	return row.Checkpoint == seen.Checkpoint && !differing(row, seen).Has(checkpoint.CheckpointAttribute)
}

// sameEpoch is the condition of a seek.
func sameEpoch(row, seen checkpoint.Row) bool {
	differ := differing(row, seen)
	return row.Pair() == seen.Pair() && !differ.Has(checkpoint.OwnerAttribute) && !differ.Has(checkpoint.TimeoutAttribute) && sameCheckpoint(row, seen)
}

func changed(c checkpoint.Change, row checkpoint.Row) checkpoint.Row {
	const freed = checkpoint.OwnerAttribute
	switch c.Op {
	case checkpoint.Create:
		return checkpoint.Row{Shard: c.Shard, Parent: c.Parent, Checkpoint: c.Commit}
	case checkpoint.Acquire:
		row.Owner, row.Timeout = c.Next.Owner, c.Next.Timeout
		if c.Seen.Unreadable() {
			row.Checkpoint = ""
		}
		if c.Seen.Parent == "" && c.Parent != "" {
			row.Parent = c.Parent
			row.Empty &^= checkpoint.ParentAttribute
			row.Wrong &^= checkpoint.ParentAttribute
		}
		if c.Seen.Claim == c.Next.Owner {
			row.Claim = ""
		}
		row.Empty &^= checkpoint.OwnerAttribute | checkpoint.TimeoutAttribute
		row.Wrong &^= c.Seen.Wrong | checkpoint.OwnerAttribute | checkpoint.TimeoutAttribute
	case checkpoint.Renew:
		row.Timeout = c.Next.Timeout
	case checkpoint.Release:
		row.Owner = ""
		row.Empty &^= freed
	case checkpoint.Finish:
		row.Owner, row.Checkpoint = "", checkpoint.ShardEnd
		row.Empty &^= freed | checkpoint.CheckpointAttribute
		row.Wrong &^= checkpoint.CheckpointAttribute
	case checkpoint.Seek, checkpoint.Reopen:
		row.Owner = ""
		row.Empty &^= freed
		row.Wrong &^= freed | checkpoint.CheckpointAttribute
	case checkpoint.Heal:
		return row.Healed()
	case checkpoint.Delete:
		return checkpoint.Row{}
	}
	if c.Commit != "" {
		row.Checkpoint = c.Commit
		row.Empty &^= checkpoint.CheckpointAttribute
	}
	return row
}

// ErrScripted is a transient failure for scripts.
var ErrScripted = errors.New("scripted failure")
