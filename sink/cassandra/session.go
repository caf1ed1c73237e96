// Package cassandra holds everything that speaks CQL: the session, the schema derived from a view's tables, the writer
// and the reader. It is the only importer of the driver.
//
// The writer is convergent: every statement is an UPDATE with the stamps of its cells, so any of them may be repeated,
// reordered and merged. Nothing is read before it is written, and nothing is deleted. See [Writer].
package cassandra

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/apache/cassandra-gocql-driver/v2/gocqlzap"
	"go.uber.org/zap"

	"penstock/sink"
)

// Config says how to reach a cluster. Every field without a default in its comment is required.
type Config struct {
	Hosts       []string // host or host:port
	Datacenter  string   // only its hosts are connected to
	Keyspace    string
	Consistency string        // LOCAL_QUORUM or higher
	Timeout     time.Duration // of one request; above the server's write_request_timeout, so that the server answers first
	Username    string        // empty: no authentication
	Password    string
	Log         *zap.Logger
}

// Session is a connection to a cluster. It is safe for concurrent use.
type Session struct {
	keyspace string
	driver   *gocql.Session
	policy   *pinnedPolicy
}

// Connect opens a session. The error is a [*sink.Error]: transient when no host answers, fatal when the cluster
// refuses the credentials. The driver cannot be interrupted while it connects, which takes up to Timeout a host.
func Connect(c Config) (*Session, error) {
	consistency, err := gocql.ParseConsistencyWrapper(c.Consistency)
	if err != nil {
		return nil, &sink.Error{Disposition: sink.Fatal, Op: "connect to cassandra", Err: fmt.Errorf("consistency %q: %w", c.Consistency, err)}
	}
	policy := &pinnedPolicy{gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy(c.Datacenter), gocql.ShuffleReplicas())}
	cluster := gocql.NewCluster(c.Hosts...)
	cluster.Consistency = consistency
	cluster.SerialConsistency = gocql.LocalSerial
	cluster.Timeout = c.Timeout
	cluster.ConnectTimeout = c.Timeout
	cluster.PoolConfig.HostSelectionPolicy = policy
	cluster.HostFilter = gocql.DataCenterHostFilter(c.Datacenter)
	cluster.DefaultTimestamp = false // every stamp is bound; the driver's clock must never write one
	cluster.DefaultIdempotence = true
	cluster.RetryPolicy = nil // repeating is the writer's decision, with permits and back-off
	cluster.ReconnectInterval = time.Second
	cluster.ReconnectionPolicy = &gocql.ExponentialReconnectionPolicy{MaxRetries: 3, InitialInterval: 200 * time.Millisecond, MaxInterval: 2 * time.Second}
	cluster.Metadata.CacheMode = gocql.KeyspaceOnly // all that token-aware routing needs
	cluster.Logger = gocqlzap.NewZapLogger(c.Log.Named("driver").WithOptions(zap.IncreaseLevel(zap.WarnLevel)))
	if c.Username != "" {
		cluster.Authenticator = gocql.PasswordAuthenticator{Username: c.Username, Password: c.Password}
	}
	driver, err := cluster.CreateSession()
	if err != nil {
		return nil, &sink.Error{Disposition: classifyConnect(err), Op: fmt.Sprintf("connect to cassandra at %v, datacenter %s", c.Hosts, c.Datacenter), Err: err}
	}
	// The driver tells a policy of keyspaces that change. A policy around the token-aware one is not told of those
	// that were there before.
	policy.KeyspaceChanged(gocql.KeyspaceUpdateEvent{Keyspace: c.Keyspace, Change: gocql.SchemaChangeTypeUpdated})
	return &Session{keyspace: c.Keyspace, driver: driver, policy: policy}, nil
}

// classifyConnect: while a session is being opened, whatever is not a refusal may be a cluster that is still starting.
func classifyConnect(err error) sink.Disposition {
	if d := classify(err); d == sink.Fatal {
		return sink.Fatal
	}
	return sink.Transient
}

// Close ends the session and waits for nothing: requests in flight fail.
func (s *Session) Close() { s.driver.Close() }

// Ping asks the cluster for its release version.
func (s *Session) Ping(ctx context.Context) (version string, err error) {
	err = s.driver.Query("SELECT release_version FROM system.local").ScanContext(ctx, &version)
	return version, wrap("ping cassandra", err)
}

// wrap classifies an error of the driver outside a write, where there is no record to be at fault.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	d := classify(err)
	if d == sink.Poison {
		d = sink.Fatal
	}
	return &sink.Error{Disposition: d, Op: op, Err: err}
}
