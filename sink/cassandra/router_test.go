package cassandra

import (
	"context"
	"net"
	"testing"

	"github.com/apache/cassandra-gocql-driver/v2"
)

// aHost is a host by identity.
type aHost struct{ name string }

func (*aHost) Info() *gocql.HostInfo { return nil }
func (*aHost) Mark(error)            {}

// always is a policy that offers one host, again and again.
type always struct {
	gocql.HostSelectionPolicy
	host gocql.SelectedHost
}

func (a always) Pick(gocql.ExecutableStatement) gocql.NextHost {
	return func() gocql.SelectedHost { return a.host }
}

// executing is a statement as the driver shows it to a policy.
type executing struct {
	gocql.ExecutableStatement
	ctx context.Context
}

func (e executing) Context() context.Context { return e.ctx }

func TestAPinnedStatementGoesToItsHostAndNowhereElse(t *testing.T) {
	mine, other := &aHost{"mine"}, &aHost{"other"}
	r := &router{HostSelectionPolicy: always{host: other}}
	next := r.Pick(executing{ctx: pin(t.Context(), mine)})
	if got := next(); got != gocql.SelectedHost(mine) {
		t.Errorf("first host %v, want the pinned one", got)
	}
	for range 3 {
		if got := next(); got != nil {
			t.Errorf("then %v, want none", got)
		}
	}
}

func TestOtherStatementsGoRoundTheDatacenter(t *testing.T) {
	other := &aHost{"other"}
	r := &router{HostSelectionPolicy: always{host: other}}
	for name, statement := range map[string]gocql.ExecutableStatement{"none": nil, "without host": executing{ctx: t.Context()}} {
		if got := r.Pick(statement)(); got != gocql.SelectedHost(other) {
			t.Errorf("%s: first host %v, want the policy's", name, got)
		}
	}
}

// info is a host as the driver knows it.
func info(t *testing.T, address, rack string, tokens ...string) *gocql.HostInfo {
	t.Helper()
	h, err := gocql.NewTestHostInfoFromRow(map[string]any{
		"host_id": gocql.MustRandomUUID(), "rpc_address": net.ParseIP(address), "data_center": "dc1", "rack": rack, "tokens": tokens,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Who is up, down, gone or moved shows in the ring at once. A host that comes back is the same, with its permits; one
// that moved is another.
func TestTheRingFollowsTheHosts(t *testing.T) {
	r := newRouter("ks", "dc1")
	r.replication = func() replication { return replication{factor: 2} }
	a, b, c := info(t, "10.0.0.1", "r1", "0"), info(t, "10.0.0.2", "r2", "10"), info(t, "10.0.0.3", "r3", "20")
	r.AddHosts([]*gocql.HostInfo{a, b})
	if got := r.ring.Load(); len(got.hosts) != 2 || len(got.points) != 2 || len(got.sets) != 1 {
		t.Errorf("%d hosts, %d ranges and %d replica sets, want 2, 2 and 1", len(got.hosts), len(got.points), len(got.sets))
	}
	r.AddHost(c)
	if got := len(r.ring.Load().sets); got != 3 {
		t.Errorf("%d replica sets of three hosts, want 3", got)
	}
	was := r.hosts[a.HostID()]
	r.HostDown(a)
	if was.up.Load() {
		t.Error("a host that is down is still offered")
	}
	r.HostUp(a)
	if r.hosts[a.HostID()] != was || !was.up.Load() {
		t.Error("a host that came back is another, or still down")
	}
	r.RemoveHost(b)
	if got := len(r.ring.Load().hosts); got != 2 {
		t.Errorf("%d hosts after one was removed, want 2", got)
	}
}
