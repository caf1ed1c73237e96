// Package adaptive is the arithmetic that finds how much a cluster can take: a control law, and no more.
//
// A [Limiter] bounds the attempts in flight at one coordinator host. It divides time into short windows and compares the
// 75th percentile d of a window's latencies with a target τ that is anchored to the latency of the idle host:
//
//	W ← W · (τ/d)^γ      τ = κ · min(b + (1.7 b + 6.2 ms)/√W, Target/3)
//
// When the host is saturated, d is W divided by what the host does in a second. So there is one fixed point, at d = τ, whatever
// the host's capacity is, and the error in log W shrinks by more than γ of itself with each window. γ is ½ for errors that cannot be
// chance, and an eighth for small ones. b is the latency of the idle host, and κ, 0.3 to 1, falls while the 99th percentile is above Target.
//
// What a queue may add falls with the root of the limit, for two reasons. A large host needs less of a queue to be kept busy than
// a small one, by the square-root rule for servers in parallel. And replicas work for all coordinators, so that the hosts share
// one queue: were τ the same at any limit, the host whose b was measured a little too high would take it all, and the others
// shrink to nothing. With the root, an error of b moves a limit by a bounded amount.
//
// Six rules keep the law honest:
//
//   - What fails or has not answered yet counts. A time-out is a long latency, and so is the age of an attempt that is
//     overdue: in a black hole there is nothing else to see, and the answers of those who survived look fine.
//   - Epochs: what was sent before the last cut says nothing about the limit since, and is not counted.
//   - Chance is averaged out: the latency of several windows is remembered, corrected for what the limit did since, until a window is
//     off by more than chance explains.
//   - The idle latency is measured, by letting the host run almost empty for a moment every ten seconds. A baseline
//     that is learnt from loaded latencies drifts with them. All hosts are drained at the same multiples of the wall
//     clock, because each replica works for every coordinator: a host that is drained alone sees the others' queues.
//   - What several drains saw is kept together, until one is off by more than chance explains. When more than half of the
//     hosts do much less than usual and take longer for it the cluster has changed, and all are drained within half a second, see
//     [Peers]; a host that is faster than when it was idle needs no drain to be believed.
//   - The limit does not grow while it is not used.
//
// A host that acknowledges nothing is quarantined: it gets single real writes with growing pauses until it answers again.
//
// [Budget] bounds repetitions, [Choose] picks among a token's replicas, [Backoff] spreads what is repeated, and [Governor]
// slows the whole writer before an absent replica is owed more than can be given back to it: at QUORUM the client's
// latency is blind to the third replica.
//
// Nothing here reads a clock, starts a goroutine or takes a lock: now is a parameter and whoever holds a value guards
// it. A now before an earlier one counts as that. The law stands on Envoy's gradient controller (epochs, drain, head-room by the
// root of the limit), Swift (SIGCOMM 2020: a delay target that falls with the root of the window, and cuts in proportion to the
// excess), FAST TCP (INFOCOM 2004: why flows that share a queue need it), and C3 (NSDI 2015: state per server at the client).
package adaptive

import "time"

// Outcome is what became of an attempt. The set is closed.
type Outcome uint8

const (
	// Success is an acknowledged write.
	Success Outcome = iota
	// Warned is an acknowledged write with the server's warning of back-pressure: the limit does not grow, and shrinks.
	Warned
	// Failed is a time-out or an error nobody can explain: it counts as a latency of four targets at least.
	Failed
	// Overloaded says that the host refused for load: a cut to 0.7 at most.
	Overloaded
	// Unavailable says that the coordinator knew too few live replicas, and that no other coordinator is known to do
	// better for the same tokens: the host is not to blame. It counts as Overloaded.
	Unavailable
	// Isolated is Unavailable while other coordinators succeed for the same tokens: the host is quarantined.
	Isolated
	// Lost is a broken connection. Three in a row, with no success between them, quarantine the host.
	Lost
	// Ignored says nothing about load, such as a refused statement.
	Ignored
)

// String names the outcome in lower case.
func (o Outcome) String() string {
	return name([]string{"success", "warned", "failed", "overloaded", "unavailable", "isolated", "lost", "ignored"}, int(o))
}

// State is what a limiter does with its host. The set is closed.
type State uint8

const (
	// Normal follows the law.
	Normal State = iota
	// Draining keeps the host almost empty, for about 50 ms, to measure its idle latency.
	Draining
	// Quarantined sends single writes to see whether the host is back.
	Quarantined
)

// String names the state in lower case.
func (s State) String() string { return name([]string{"normal", "draining", "quarantined"}, int(s)) }

// Reason is why a limit was decided on. The set is closed.
type Reason uint8

const (
	// Faster says that latency is below its target and the limit was used.
	Faster Reason = iota
	// Slower says that latency is above its target.
	Slower
	// Refused says that the host refused work for its load.
	Refused
	// WarnedOf says that the host warned of back-pressure.
	WarnedOf
	// Unused says that latency would allow more, and that nobody needs it.
	Unused
	// DrainBegan says that the idle latency is being measured.
	DrainBegan
	// DrainEnded says that it was, and that the limit is as before.
	DrainEnded
	// Silent says that the host acknowledged nothing for too long.
	Silent
	// Disconnected says that connections to the host broke.
	Disconnected
	// CutOff says that the host is separated from its replicas while others are not.
	CutOff
	// Answered says that the host acknowledges again.
	Answered
	// Configured says that somebody changed the bounds.
	Configured
)

// String is the reason as a sentence without its full stop.
func (r Reason) String() string {
	return name([]string{
		"latency is below its target and the limit was used up",
		"latency is above its target",
		"the host refused work because of its load",
		"the host warned of back-pressure",
		"latency allows more, but nobody needs it",
		"the host is drained to measure its idle latency",
		"the idle latency is measured",
		"the host acknowledged nothing for too long",
		"connections to the host broke",
		"the host does not reach its replicas while others do",
		"the host acknowledges again",
		"the configuration changed",
	}, int(r))
}

// Direction is where a limit goes.
type Direction int8

const (
	// Down is a lower limit.
	Down Direction = iota - 1
	// Level is the same limit.
	Level
	// Up is a higher limit.
	Up
)

// String names the direction in lower case.
func (d Direction) String() string { return name([]string{"down", "level", "up"}, int(d)+1) }

func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return "unknown"
	}
	return names[i]
}

// Decision is one step of a limiter with the numbers behind it. For a step of the law,
// To = clamp(From·Factor + Added, Min, Max), rounded down.
type Decision struct {
	At        time.Time
	From, To  float64 // the exact limits; what holds is the integer part, of one at least
	Direction Direction
	Reason    Reason
	Factor    float64       // what From was multiplied by; 1 where the law had no say
	Added     float64       // what was added then, 0 or 0.5 permits
	Latency   time.Duration // the percentile that was steered by; 0 without samples
	P99       time.Duration
	Target    time.Duration // τ
	Base      time.Duration // the idle latency
	Samples   int           // with the overdue
	Overdue   int           // attempts without an answer among the samples
	Peak      int           // the most in flight during the window
}

// Permit is an attempt in flight. It is given back by [Limiter.Done], once.
type Permit struct {
	slot int32
	turn uint32
	sent int64
	kind uint8 // what kind of attempt; see ordinary and probing
}
