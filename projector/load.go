package projector

import (
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Load is what metrics tell of the writer at one moment: how much each host takes, what waits, and what absent replicas are owed.
type Load struct {
	Hosts     []HostLoad
	Queued    int     // requests that wait for a permit
	BackOff   int     // failed requests that wait to be repeated
	Tokens    float64 // of the budget for repetitions
	Attempts  int64
	Successes int64
	Debts     []DebtLoad
	Cap       float64 // requests a second
	Capped    bool    // because of the debts
}

// HostLoad is one coordinator host.
type HostLoad struct {
	Address, Rack string
	State         string // one of HostStates
	Limit         int
	InFlight      int
	Idle          time.Duration // the latency of the idle host; 0 while not known
	Latency       time.Duration // the 75th percentile; 0 while not known
	Target        time.Duration // what that is steered to
	Decisions     []DecisionLoad
}

// DecisionLoad is how many decisions of a kind were taken.
type DecisionLoad struct {
	Action, Cause string // of closed sets
	N             int64
}

// DebtLoad is what a replica is owed.
type DebtLoad struct {
	Address, Rack string
	Owed          int64 // bytes
	Absent        bool
	RefusedIn     time.Duration // how long hints are still stored for it if it stays away
}

// HostStates are the states of a host.
func HostStates() []string { return []string{"normal", "draining", "quarantined", "down"} }

// observeLoad tells of the writer.
func (x *Metrics) observeLoad(to metric.Observer, load Load) {
	number := func(i instrument, n int64, of ...metric.ObserveOption) { to.ObserveInt64(x.made.numbers[i], n, of...) }
	seconds := func(i instrument, d time.Duration, of ...metric.ObserveOption) {
		to.ObserveFloat64(x.made.floats[i], d.Seconds(), of...)
	}
	number(limiterQueued, int64(load.Queued))
	number(limiterBackOff, int64(load.BackOff))
	number(retryTokens, int64(load.Tokens))
	number(writeAttempts, load.Attempts)
	number(writeSuccesses, load.Successes)
	for _, h := range load.Hosts {
		host := of(serverAttribute, h.Address, rackAttribute, h.Rack)
		number(limiterLimit, int64(h.Limit), host)
		number(limiterInFlight, int64(h.InFlight), host)
		seconds(limiterTarget, h.Target, host)
		if h.Idle > 0 {
			seconds(limiterIdle, h.Idle, host)
		}
		if h.Latency > 0 {
			seconds(limiterLatency, h.Latency, host)
		}
		for _, d := range h.Decisions {
			number(limiterDecisions, d.N, of(serverAttribute, h.Address, rackAttribute, h.Rack, actionAttribute, d.Action, causeAttribute, d.Cause))
		}
		for _, state := range HostStates() {
			is := int64(0)
			if state == h.State {
				is = 1
			}
			number(replicaState, is, of(serverAttribute, h.Address, rackAttribute, h.Rack, stateAttribute, state))
		}
	}
	for _, d := range load.Debts {
		host := of(serverAttribute, d.Address, rackAttribute, d.Rack)
		number(replicaDebt, d.Owed, host)
		if d.Absent {
			seconds(hintsLeft, d.RefusedIn, host)
		}
	}
	if load.Capped {
		number(debtCap, int64(load.Cap))
	}
}
