package checkpoint

import (
	"context"
	"errors"
	"fmt"
)

// Store is the lease table of one stream and application. Package checkpoint/storetest holds the suite that every
// implementation passes. Calls are safe for concurrent use and return once their context ends, with an error that says
// nothing about whether a write was applied.
type Store interface {
	// Rows returns every row of the table as of some moment after the call began.
	Rows(ctx context.Context) ([]Row, error)
	// Apply makes one conditional write. It returns a [*Refused] if the condition did not hold: nothing was written by
	// the request that was answered, though an earlier delivery of the same request may have been applied, which
	// [Lease.Answer] recognises. After any other error the outcome is unknown.
	Apply(ctx context.Context, c Change) error
}

// Op says what a [Change] does.
type Op uint8

// The changes of a row.
const (
	Create  Op = iota + 1 // makes the row, if there is none, with nothing but its parent and Commit
	Acquire               // writes Next, if the row is there, not finished, and as Seen says; heals it; leaves the checkpoint alone
	Renew                 // writes Next and Commit, if the row carries Held
	Release               // removes the owner and writes Commit, if the row carries Held
	Finish                // removes the owner and writes ShardEnd, if the row carries Held

	// What follows is for operators. No worker makes these changes, and each is refused if the row is not as it was seen.

	Seek   // writes Commit, further on or back, and removes the owner, if pair and checkpoint are as Seen says
	Reopen // as Seek, of a row that is finished
	Heal   // removes what no reader of the format can read, and an owner, if the row is exactly Seen
	Delete // removes the row, if it is exactly Seen
)

func (o Op) String() string {
	switch o {
	case Create:
		return "create"
	case Acquire:
		return "acquire"
	case Renew:
		return "renew"
	case Release:
		return "release"
	case Finish:
		return "finish"
	case Seek:
		return "seek"
	case Reopen:
		return "reopen"
	case Heal:
		return "heal"
	case Delete:
		return "delete"
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// Change is one conditional write of one row. Beside what its Op says, a change by the holder or the taker of a lease,
// and a Seek, is refused if the shard is finished, and Renew and Release if the row's checkpoint is beyond their Commit.
//
// An Acquire compares the checkpoint too: the taker goes on from the one it saw, and an operator may have set another
// since, further back. Else the first commit would undo that.
type Change struct {
	Op     Op
	Shard  string
	Seen   Row      // Acquire: what the condition compares: owner, checkpoint, and unless there was no owner the timeout; Seek, Reopen, Heal, Delete
	Held   Pair     // Renew, Release, Finish
	Next   Pair     // Acquire, Renew
	Commit Sequence // Renew, Release: the new checkpoint; the zero value leaves the old one. Seek, Reopen: never empty. Create: may be empty
	Parent string   // Create, Acquire: the shard's first parent; Acquire writes it only where none is readable
}

// Refused is the error of a write whose condition did not hold.
type Refused struct {
	Op      Op
	Current Row // the row that made the store refuse; the zero value if there is no row
}

func (e *Refused) Error() string {
	return fmt.Sprintf("%s refused: the row of shard %q has owner %q, timeout %q, checkpoint %q",
		e.Op, e.Current.Shard, e.Current.Owner, e.Current.Timeout, e.Current.Checkpoint)
}

// What a store's errors wrap, beside their cause. An error that wraps none of these is transient: connections, timeouts,
// the service's own faults.
var (
	// ErrThrottled: the table's throughput or the account's request rate is used up.
	ErrThrottled = errors.New("throttled")
	// ErrTableMissing: the table does not exist, or is not of the form of a lease or state table.
	ErrTableMissing = errors.New("table missing")
	// ErrDenied: the credentials are absent, invalid, expired or not sufficient.
	ErrDenied = errors.New("access denied")
)

// Why a lease was lost.
var (
	// ErrLeaseLost is wrapped by the cause of every lost lease.
	ErrLeaseLost = errors.New("lease lost")
	// ErrFenced: the lease could not be renewed for so long that another worker may soon take it.
	ErrFenced = fmt.Errorf("%w: not renewed within the trust window", ErrLeaseLost)
	// ErrTaken: a conditional write was refused since the row no longer carries the lease's pair.
	ErrTaken = fmt.Errorf("%w: the row changed hands", ErrLeaseLost)
	// ErrUnsure: the answer to the taking of the lease was lost. Whether the row is ours shows when it is next read.
	ErrUnsure = fmt.Errorf("%w: taking it got no answer", ErrLeaseLost)
)
