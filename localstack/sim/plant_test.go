package sim

import (
	"time"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
)

// plant is a fault of the protocol, planted from outside, that the simulation must find.
type plant uint8

const (
	nothing plant = iota
	withoutPair
	withoutGuard
	silenceIsSuccess
	silenceIsApplied
	oneTooFar
	everythingRead
	releaseIsEnd
	aggregateHalf
	oneParent
	beginAtLatest
	resumeAtLatest
	settledBeforeApplied
	lettersForgotten
	refusalIsApplied
	lastWriteWins
	fenceTooLate
	tenBudgets
	leftRunning
	plants
)

// faults says of each what it is, and what must be noticed.
var faults = [...]struct{ is, breaks string }{
	nothing:              {"nothing", ""},
	withoutPair:          {"the lease table does not compare pairs", "though it had seen|over \\{"},
	withoutGuard:         {"an old commit is repeated, and the lease table lets a checkpoint go back", "moved the checkpoint .* back"},
	silenceIsSuccess:     {"a write of a lease that got no answer counts as done", "which w[0-9] owns|is finished: |settled to"},
	silenceIsApplied:     {"a write of a row that got no answer counts as applied", "ha(s|ve) no outcome"},
	oneTooFar:            {"one record too many is committed", "ha(s|ve) no outcome"},
	everythingRead:       {"everything that was read is committed", "ha(s|ve) no outcome"},
	releaseIsEnd:         {"a shard that is given back is written as read to its end", "finished .* which is open"},
	aggregateHalf:        {"an aggregate is committed with its first member", "ha(s|ve) no outcome"},
	oneParent:            {"a shard waits for one of its two parents only", "follows on, is not finished"},
	beginAtLatest:        {"a shard without a checkpoint is begun at LATEST", "ha(s|ve) no outcome"},
	resumeAtLatest:       {"a shard with a checkpoint goes on at LATEST", "ha(s|ve) no outcome"},
	settledBeforeApplied: {"records are settled before they are applied", "ha(s|ve) no outcome"},
	lettersForgotten:     {"letters are acknowledged and not kept", "ha(s|ve) no outcome"},
	refusalIsApplied:     {"refused records count as applied", "ha(s|ve) no outcome"},
	lastWriteWins:        {"what is written last stands, whatever its stamp", "the rows are not the fold"},
	fenceTooLate:         {"one worker trusts its leases three times as long as the others let it", "which w[0-9] owns"},
	tenBudgets:           {"the budget for records in flight is ten times as large", "of records in hand"},
	leftRunning:          {"a goroutine is left", "blocked goroutines remain"},
}

func (p plant) String() string { return faults[p].is }

func (p plant) weakness() storetest.Weakness {
	switch p {
	case withoutPair:
		return storetest.WithoutPair
	case withoutGuard:
		return storetest.WithoutGuard
	}
	return 0
}

func (p plant) failover(worker string) time.Duration {
	if p == fenceTooLate && worker == "w0" {
		return 3 * failover
	}
	return failover
}

func (p plant) inFlight() int64 {
	if p == tenBudgets {
		return 10 * inFlight
	}
	return inFlight
}

// latest returns the type of iterator in whose place LATEST is asked for.
func (p plant) latest() string {
	switch p {
	case beginAtLatest:
		return "TRIM_HORIZON"
	case resumeAtLatest:
		return "AFTER_SEQUENCE_NUMBER"
	}
	return ""
}

// distort makes of a change what a broken protocol would send.
func (p plant) distort(w *world, c checkpoint.Change) checkpoint.Change {
	if c.Op != checkpoint.Renew && c.Op != checkpoint.Release {
		return c
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.ledger.shard(c.Shard)
	next := 0 // the first entry behind the commit
	for next < len(s.order) && s.order[next].sequence.Compare(c.Commit) <= 0 {
		next++
	}
	switch p {
	case withoutGuard:
		if c.Commit == "" && s.checked > 1 {
			c.Commit = s.order[0].sequence
		}
	case oneTooFar:
		if c.Commit != "" && next < len(s.order) {
			c.Commit = s.order[next].sequence
		}
	case everythingRead:
		if s.newest > next {
			c.Commit = s.order[s.newest-1].sequence
		}
	case releaseIsEnd:
		if c.Op == checkpoint.Release {
			c.Op, c.Commit = checkpoint.Finish, ""
		}
	case aggregateHalf:
		if c.Commit == "" || next == len(s.order) || s.order[next].members < 2 {
			break
		}
		if f := w.ledger.facts[position{s.id, s.order[next].sequence, 0}]; f != nil && f.settled() {
			c.Commit = s.order[next].sequence
		}
	}
	return c
}
