package cassandra

import (
	"context"

	"github.com/apache/cassandra-gocql-driver/v2"
)

// pinnedPolicy sends each statement to the one host that its permit was taken for, and to no other: the driver would
// silently go on to the next host of the iterator, and the permit would be charged to the wrong one. The host is found
// in the statement's context, since a batch cannot name one (driver v2.1.2). Statements without a pinned host, such as
// those of schema changes and checks, are routed by the token-aware policy within.
type pinnedPolicy struct {
	gocql.HostSelectionPolicy // token-aware, then the datacenter's other hosts
}

type pinnedHostKey struct{}

// pin returns a context whose statement goes to host.
func pin(ctx context.Context, host gocql.SelectedHost) context.Context {
	return context.WithValue(ctx, pinnedHostKey{}, host)
}

// Pick implements gocql.HostSelectionPolicy. What the driver asks for, a query or a batch, has the context it is
// executed with, though the interface does not say so.
func (p *pinnedPolicy) Pick(statement gocql.ExecutableStatement) gocql.NextHost {
	if s, ok := statement.(interface{ Context() context.Context }); ok {
		if host, ok := s.Context().Value(pinnedHostKey{}).(gocql.SelectedHost); ok {
			return func() gocql.SelectedHost {
				next := host
				host = nil
				return next
			}
		}
	}
	return p.HostSelectionPolicy.Pick(statement)
}

// candidates appends hosts for a partition, its replicas that are up first, until there are n.
func (p *pinnedPolicy) candidates(hosts []gocql.SelectedHost, keyspace string, routingKey []byte, n int) []gocql.SelectedHost {
	next := p.HostSelectionPolicy.Pick(route{keyspace, routingKey})
	for host := next(); host != nil && len(hosts) < n; host = next() {
		hosts = append(hosts, host)
	}
	return hosts
}

// route asks the token-aware policy for the hosts of a partition before there is a statement.
type route struct {
	keyspace string
	key      []byte
}

func (r route) GetRoutingKey() ([]byte, error) { return r.key, nil }
func (r route) Keyspace() string               { return r.keyspace }
func (r route) Table() string                  { return "" }
func (r route) IsIdempotent() bool             { return true }
func (r route) GetHostID() string              { return "" }
func (r route) Statement() gocql.Statement     { return nil }
