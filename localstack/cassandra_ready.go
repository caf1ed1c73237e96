package localstack

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

const (
	cqlBootstrapped = "SELECT bootstrapped FROM system.local WHERE key = 'local'"
	// Every range is read from both its replicas, so that one statement reaches every node of three.
	cqlReadWholeRing = "SELECT count(*) FROM system_traces.sessions"
	cqlPeers         = "SELECT rack, schema_version FROM system.peers_v2"
)

const (
	readyInterval  = 250 * time.Millisecond
	connectTimeout = 2 * time.Second
	queryTimeout   = 5 * time.Second
)

// await tries until it succeeds or ctx ends, and then returns why the last try failed.
func await(ctx context.Context, try func(context.Context) error) error {
	retry := time.NewTicker(readyInterval)
	defer retry.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; the last try: %w", context.Cause(ctx), err)
		case <-retry.C:
		}
	}
}

func (n cassandraNode) ready(ctx context.Context) error {
	return await(ctx, func(ctx context.Context) error { return nodeAnswers(ctx, n.addrs.cql, n.security) })
}

// nodeAnswers returns nil when the node has joined the ring and answers CQL, and has its superuser where clients log in.
func nodeAnswers(ctx context.Context, node netip.AddrPort, security CassandraSecurity) error {
	return withSession(node, security, func(session *gocql.Session) error {
		var state string
		if err := session.Query(cqlBootstrapped).ScanContext(ctx, &state); err != nil {
			return err
		}
		if state != "COMPLETED" {
			return fmt.Errorf("bootstrap of %s: %s", node, state)
		}
		return nil
	})
}

// ringAnswers returns nil when the node, asked as coordinator, reads from all others, and tells clients of so many peers. Until a node
// has heard by gossip that another is up it refuses the former as unavailable; what clients are told it writes down a little later, and
// a client that connects in between knows a ring without that peer.
func ringAnswers(ctx context.Context, node netip.AddrPort, peers int, security CassandraSecurity) error {
	return withSession(node, security, func(session *gocql.Session) error {
		var rows int
		if err := session.Query(cqlReadWholeRing).Consistency(gocql.All).ScanContext(ctx, &rows); err != nil {
			return err
		}
		told := 0
		var rack string
		var version *gocql.UUID
		iter := session.Query(cqlPeers).IterContext(ctx)
		for iter.Scan(&rack, &version) {
			if rack != "" && version != nil {
				told++
			}
		}
		if err := iter.Close(); err != nil {
			return err
		}
		if told != peers {
			return fmt.Errorf("%s tells of %d peers, want %d", node, told, peers)
		}
		return nil
	})
}

// withSession runs use on a connection to this node and no other.
func withSession(node netip.AddrPort, security CassandraSecurity, use func(*gocql.Session) error) error {
	cluster := gocql.NewCluster(node.Addr().String())
	cluster.Port = int(node.Port())
	cluster.DisableInitialHostLookup = true
	cluster.NumConns = 1
	cluster.ConnectTimeout = connectTimeout
	cluster.Timeout = queryTimeout
	cluster.Logger = silence{}
	if err := security.apply(cluster); err != nil {
		return fmt.Errorf("connect to %s: %w", node, err)
	}
	session, err := cluster.CreateSession()
	if err != nil {
		return fmt.Errorf("connect to %s: %w", node, err)
	}
	defer session.Close()
	return use(session)
}

// AwaitRing returns when every Cassandra node reaches every other, or when ctx ends. Restart returns when the restarted node answers;
// the others may take a second longer to hear of it.
func (s *Stack) AwaitRing(ctx context.Context) error {
	if len(s.nodes) < 2 {
		return nil
	}
	for _, node := range s.nodes {
		err := await(ctx, func(ctx context.Context) error { return ringAnswers(ctx, node.Addr(), len(s.nodes)-1, s.security) })
		if err != nil {
			return fmt.Errorf("wait until %s reaches the ring: %w", node.Name(), err)
		}
	}
	return nil
}

// silence drops the driver's messages: while a server starts, refused connections are its normal state.
type silence struct{}

func (silence) Error(string, ...gocql.LogField)   {}
func (silence) Warning(string, ...gocql.LogField) {}
func (silence) Info(string, ...gocql.LogField)    {}
func (silence) Debug(string, ...gocql.LogField)   {}
