package sim

import (
	"slices"
	"time"

	"penstock/checkpoint"
	"penstock/checkpoint/storetest"
)

// plant is a fault of the protocol, planted from outside, that the simulation must find.
type plant uint8

const (
	nothing plant = iota
	withoutPair
	withoutSight
	withoutGuard
	anybodysPair
	nobodyDies
	silenceIsSuccess
	silenceIsApplied
	oneTooFar
	everythingRead
	releaseIsEnd
	aggregateHalf
	oneParent
	lastNeverListed
	recordLeftOut
	recordsMixedUp
	beginAtLatest
	resumeAtLatest
	settledBeforeApplied
	answerForgotten
	lettersForgotten
	refusalIsApplied
	lastWriteWins
	fenceTooLate
	twoBudgets
	leftRunning
	plants
)

// faults says of each what it is, and what must be noticed.
var faults = [...]struct{ is, breaks string }{
	nothing:              {"nothing", ""},
	withoutPair:          {"the lease table does not compare pairs", "though it had seen|over \\{"},
	withoutSight:         {"a lease is taken though its checkpoint is no longer the one that was seen", "goes on from"},
	withoutGuard:         {"an old commit is repeated, and the lease table lets a checkpoint go back", "moved the checkpoint .* back"},
	anybodysPair:         {"a lease is renewed whatever pair is in the row", "over \\{"},
	nobodyDies:           {"another worker's row always looks as if it was renewed", "ha(s|ve) no outcome|has no living owner"},
	silenceIsSuccess:     {"a write of a lease that got no answer counts as done", "which w[0-9] owns|is finished: |settled to"},
	silenceIsApplied:     {"a write of a row that got no answer counts as applied", "ha(s|ve) no outcome"},
	oneTooFar:            {"one record too many is committed", "ha(s|ve) no outcome"},
	everythingRead:       {"everything that was read is committed", "ha(s|ve) no outcome"},
	releaseIsEnd:         {"a shard that is given back is written as read to its end", "finished .* which is open"},
	aggregateHalf:        {"an aggregate is committed with its first member", "ha(s|ve) no outcome"},
	oneParent:            {"a shard waits for one of its two parents only", "follows on, is not finished"},
	lastNeverListed:      {"the newest shard is in no listing", "ha(s|ve) no outcome"},
	recordLeftOut:        {"a reader leaves out a record", "ha(s|ve) no outcome"},
	recordsMixedUp:       {"a reader mixes up two records", "the data of another"},
	beginAtLatest:        {"a shard without a checkpoint is begun at LATEST", "ha(s|ve) no outcome"},
	resumeAtLatest:       {"a shard with a checkpoint goes on at LATEST", "ha(s|ve) no outcome"},
	settledBeforeApplied: {"records are settled before they are applied", "ha(s|ve) no outcome"},
	answerForgotten:      {"a record is applied and its answer forgotten", "and committed to"},
	lettersForgotten:     {"letters are acknowledged and not kept", "ha(s|ve) no outcome"},
	refusalIsApplied:     {"refused records count as applied", "ha(s|ve) no outcome"},
	lastWriteWins:        {"what is written last stands, whatever its stamp", "the rows are not the fold"},
	fenceTooLate:         {"one worker trusts its leases twice as long as the others let it", "which w[0-9] owns"},
	twoBudgets:           {"the budget for records in flight is twice as large", "of records in hand"},
	leftRunning:          {"a goroutine is left", "blocked goroutines remain"},
}

func (p plant) String() string { return faults[p].is }

func (p plant) weakness() storetest.Weakness {
	switch p {
	case withoutPair:
		return storetest.WithoutPair
	case withoutSight:
		return storetest.WithoutSight
	case withoutGuard:
		return storetest.WithoutGuard
	}
	return 0
}

func (p plant) failover(worker string) time.Duration {
	if p == fenceTooLate && worker == "w0" {
		return 2 * failover
	}
	return failover
}

func (p plant) inFlight() int64 {
	if p == twoBudgets {
		return 2 * inFlight
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

// spoils reports whether answers with records are not what the service sent.
func (p plant) spoils() bool { return p == recordLeftOut || p == recordsMixedUp }

// spoil changes an answer with two records or more.
func (c wire) spoil(out map[string]any) {
	records, _ := out["Records"].([]any)
	if len(records) < 2 {
		return
	}
	i := c.world.draw(c.name+"spoilt", len(records)-1)
	if c.world.plant == recordLeftOut {
		out["Records"] = slices.Delete(records, i, i+1)
		return
	}
	a, b := records[i].(map[string]any), records[i+1].(map[string]any)
	a["Data"], b["Data"] = b["Data"], a["Data"]
}

// distort makes of a change what a broken protocol would send.
func (p plant) distort(w *world, c checkpoint.Change) checkpoint.Change {
	if c.Op != checkpoint.Renew && c.Op != checkpoint.Release {
		return c
	}
	if p == anybodysPair {
		c.Held = w.leases.Row(c.Shard).Pair()
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
