package cassandra

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/apache/cassandra-gocql-driver/v2"
	"go.uber.org/zap"
)

// attempts follows every attempt of the driver to connect, with its error as it was: the driver's own error of a session
// that could not be opened keeps the text only (v2.1.2). Once a session is open, it tells the log of a host that refuses
// us, and when that is over.
type attempts struct {
	tls *TLS // nil without
	log *zap.Logger

	mu      sync.Mutex
	open    bool
	refused map[string]*ConnectError // by host, the latest
	first   *ConnectError            // of all
	read    map[string]error         // by host: a refusal read on a connection whose attempt has not been reported yet
}

func newAttempts(c Config) *attempts {
	return &attempts{tls: c.TLS, log: c.Log, refused: map[string]*ConnectError{}, read: map[string]error{}}
}

// ObserveConnect implements gocql.ConnectObserver.
func (a *attempts) ObserveConnect(o gocql.ObservedConnect) {
	host := o.Host.ConnectAddressAndPort()
	var now *ConnectError
	for _, err := range []error{o.Err, a.lastHeard(host)} {
		if problem, ok := explain(err, a.tls); ok && o.Err != nil {
			now = &ConnectError{Host: host, Problem: problem, Err: err}
			break
		}
	}
	before, open := a.note(host, now, o.Err == nil)
	switch {
	case !open:
	case now != nil && (before == nil || before.Error() != now.Error()):
		a.tell(now)
	case o.Err == nil && before != nil:
		a.log.Info("cassandra host accepts connections again", zap.String("host", host))
	}
}

// heard takes note of a refusal that was read on a connection to a host. The driver tells of the attempt afterwards,
// and not always with that error.
func (a *attempts) heard(host string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read[host] = err
}

// lastHeard returns such a refusal, nil if there was none, and forgets it.
func (a *attempts) lastHeard(host string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer delete(a.read, host)
	return a.read[host]
}

// note keeps what an attempt came to and returns what stood against the host before.
func (a *attempts) note(host string, now *ConnectError, connected bool) (before *ConnectError, open bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before = a.refused[host]
	switch {
	case now != nil:
		a.refused[host] = now
		a.first = cmp.Or(a.first, now)
	case connected:
		delete(a.refused, host)
	}
	return before, a.open
}

func (a *attempts) tell(refused *ConnectError) {
	a.log.Error("cassandra host cannot be used", zap.Error(refused))
}

// opened ends the time in which refusals are for the caller of Connect.
func (a *attempts) opened() {
	a.mu.Lock()
	a.open = true
	refused := slices.Collect(maps.Values(a.refused))
	a.mu.Unlock()
	for _, r := range refused {
		a.tell(r)
	}
}

// refusal returns the first reason why a host could not be used, nil if there was none.
func (a *attempts) refusal() *ConnectError {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first
}
