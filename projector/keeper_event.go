package projector

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"penstock/checkpoint"
)

// leaseEventKind is what happened to a lease.
type leaseEventKind uint8

const (
	leaseTaken leaseEventKind = iota + 1
	leaseMissed
	leaseRenewed
	leaseUnanswered
	leaseWanted
	leaseReleased
	leaseFinished
	leaseLost
)

// leaseMessages are the log's words for the events.
var leaseMessages = [...]string{
	leaseTaken:      "lease taken",
	leaseMissed:     "lease not taken",
	leaseRenewed:    "lease renewed",
	leaseUnanswered: "lease write got no answer, repeating",
	leaseWanted:     "lease is to be handed over",
	leaseReleased:   "lease released",
	leaseFinished:   "lease finished",
	leaseLost:       "lease lost",
}

// takeReason says why a row could be taken.
type takeReason string

const (
	takeFree    takeReason = "free"    // nobody owned it
	takeExpired takeReason = "expired" // another worker did not renew it: a take-over
	takeOwn     takeReason = "own"     // this process lost it, and nobody took it since
)

// leaseEvent is one event in the life of a lease, for metrics and the log.
type leaseEvent struct {
	Kind       leaseEventKind
	Shard      string
	Old, New   checkpoint.Pair     // the row's pair before and after, as far as known
	Checkpoint checkpoint.Sequence // committed, as far as known
	Reason     takeReason          // leaseTaken
	Peer       string              // leaseWanted: who asked, a worker or an operator; "" when the process stops
	Wish       string              // leaseWanted: an operator's reason
	Cause      error               // leaseMissed, leaseUnanswered, leaseLost
	Misses     int                 // leaseUnanswered: how many in a row
	Took       time.Duration       // leaseRenewed: the call
	Left       time.Duration       // leaseRenewed: how much of the trust window was left when the answer came
	Held       int                 // leases held after the event
}

// emit tells log and metrics of an event.
func (k *keeper) emit(e leaseEvent) {
	if e.Kind != leaseRenewed {
		k.held = k.count()
	}
	e.Held = k.held
	k.config.OnEvent(e)
	level := zap.InfoLevel
	switch e.Kind {
	case leaseRenewed:
		level = zap.DebugLevel
	case leaseLost:
		level = zap.WarnLevel
	case leaseUnanswered:
		level = zap.WarnLevel
		if e.Misses > 1 {
			level = zap.DebugLevel // the first says it all; the next news is a renewal or a loss
		}
	case leaseTaken, leaseMissed, leaseWanted, leaseReleased, leaseFinished:
	}
	entry := k.config.Log.Check(level, leaseMessages[e.Kind])
	if entry == nil {
		return
	}
	fields := []zapcore.Field{
		zap.String("shard", e.Shard),
		zap.String("old_owner", e.Old.Owner), zap.String("old_timeout", e.Old.Timeout),
		zap.String("new_owner", e.New.Owner), zap.String("new_timeout", e.New.Timeout),
		zap.String("checkpoint", string(e.Checkpoint)),
		zap.Int("held", e.Held),
	}
	if e.Reason != "" {
		fields = append(fields, zap.String("reason", string(e.Reason)))
	}
	if e.Peer != "" {
		fields = append(fields, zap.String("peer", e.Peer))
	}
	if e.Wish != "" {
		fields = append(fields, zap.String("wish", e.Wish))
	}
	if e.Kind == leaseRenewed {
		fields = append(fields, zap.Duration("took", e.Took), zap.Duration("left", e.Left))
	}
	if e.Cause != nil {
		fields = append(fields, zap.NamedError("cause", e.Cause))
	}
	entry.Write(fields...)
}

// count counts the leases that are ours.
func (k *keeper) count() int {
	n := 0
	for _, s := range k.slots {
		if s.machine != nil && (s.machine.Phase() == checkpoint.Held || s.machine.Phase() == checkpoint.Leaving) {
			n++
		}
	}
	return n
}
