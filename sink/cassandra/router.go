package cassandra

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apache/cassandra-gocql-driver/v2"
)

// host is a host of the cluster, the same value for as long as the cluster has it with these properties.
type host struct {
	id      string
	address string // with the port
	rack    string
	tokens  []string
	up      atomic.Bool
	driver  atomic.Pointer[gocql.HostInfo] // the driver may come to know it anew
}

// Info implements gocql.SelectedHost.
func (h *host) Info() *gocql.HostInfo { return h.driver.Load() }

// Mark implements gocql.SelectedHost. What became of a request is the gate's affair.
func (h *host) Mark(error) {}

// router sends each of the driver's statements to the one host that its permit was taken for, and to no other: the driver
// would silently go on to the next host, and the permit would be charged to the wrong one. The host is found in the
// statement's context, since a batch cannot name one (driver v2.1.2). Statements without one, such as those of schema
// changes and checks, go round the datacenter.
//
// It also keeps the ring, from which the writer takes the hosts of a token: the driver's own is not exported.
type router struct {
	gocql.HostSelectionPolicy // of statements without a host
	keyspace                  string
	datacenter                string
	ring                      atomic.Pointer[ring]

	mu          sync.Mutex
	hosts       map[string]*host   // by id
	replication func() replication // asks the driver for the keyspace's; nil until it can be asked
}

func newRouter(keyspace, datacenter string) *router {
	r := &router{
		HostSelectionPolicy: gocql.DCAwareRoundRobinPolicy(datacenter),
		keyspace:            keyspace, datacenter: datacenter, hosts: map[string]*host{},
	}
	r.ring.Store(newRing(nil, replication{}))
	return r
}

// AddHosts is what the driver calls with the hosts it begins with.
func (r *router) AddHosts(infos []*gocql.HostInfo) {
	for _, info := range infos {
		r.HostSelectionPolicy.AddHost(info)
	}
	r.know(infos...)
}

// AddHost implements gocql.HostSelectionPolicy.
func (r *router) AddHost(info *gocql.HostInfo) {
	r.HostSelectionPolicy.AddHost(info)
	r.know(info)
}

// HostUp implements gocql.HostSelectionPolicy.
func (r *router) HostUp(info *gocql.HostInfo) {
	r.HostSelectionPolicy.HostUp(info)
	r.know(info)
}

// know takes note of hosts that are up.
func (r *router) know(infos ...*gocql.HostInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, info := range infos {
		h := &host{id: info.HostID(), address: info.ConnectAddressAndPort(), rack: info.Rack(), tokens: info.Tokens()}
		if known, ok := r.hosts[h.id]; ok && known.address == h.address && known.rack == h.rack && slices.Equal(known.tokens, h.tokens) {
			h = known
		}
		h.driver.Store(info)
		h.up.Store(true)
		r.hosts[h.id] = h
	}
	r.renew()
}

// HostDown implements gocql.HostSelectionPolicy.
func (r *router) HostDown(info *gocql.HostInfo) {
	r.HostSelectionPolicy.HostDown(info)
	r.mu.Lock()
	defer r.mu.Unlock()
	if h, ok := r.hosts[info.HostID()]; ok {
		h.up.Store(false)
	}
}

// RemoveHost implements gocql.HostSelectionPolicy.
func (r *router) RemoveHost(info *gocql.HostInfo) {
	r.HostSelectionPolicy.RemoveHost(info)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.hosts, info.HostID())
	r.renew()
}

// KeyspaceChanged implements gocql.HostSelectionPolicy.
func (r *router) KeyspaceChanged(change gocql.KeyspaceUpdateEvent) {
	r.HostSelectionPolicy.KeyspaceChanged(change)
	if change.Keyspace != r.keyspace {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renew()
}

// opened tells the router that the driver knows the keyspaces by now.
func (r *router) opened(driver *gocql.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replication = func() replication {
		keyspace, err := driver.KeyspaceMetadata(r.keyspace)
		if err != nil {
			return replication{} // not there yet: its creation will be told
		}
		options := map[string]string{"class": keyspace.StrategyClass}
		for name, value := range keyspace.StrategyOptions {
			options[name] = fmt.Sprint(value)
		}
		return replicationOf(options, r.datacenter)
	}
	r.renew()
}

// renew makes the ring of what is known now. The caller holds mu.
func (r *router) renew() {
	hosts := slices.SortedFunc(maps.Values(r.hosts), func(a, b *host) int { return cmp.Compare(a.id, b.id) })
	var known replication
	if r.replication != nil {
		known = r.replication()
	}
	next := newRing(hosts, known)
	next.number = r.ring.Load().number + 1
	r.ring.Store(next)
}

type pinnedHostKey struct{}

// pin returns a context whose statement goes to host.
func pin(ctx context.Context, host gocql.SelectedHost) context.Context {
	return context.WithValue(ctx, pinnedHostKey{}, host)
}

// Pick implements gocql.HostSelectionPolicy. What the driver asks for, a query or a batch, has the context it is
// executed with, though the interface does not say so.
func (r *router) Pick(statement gocql.ExecutableStatement) gocql.NextHost {
	if s, ok := statement.(interface{ Context() context.Context }); ok {
		if host, ok := s.Context().Value(pinnedHostKey{}).(gocql.SelectedHost); ok {
			return func() gocql.SelectedHost {
				next := host
				host = nil
				return next
			}
		}
	}
	return r.HostSelectionPolicy.Pick(statement)
}
