// Package cassandra holds everything that speaks CQL: the session, the schema derived from a view's tables, the writer
// and the reader. It is the only importer of the driver.
//
// The writer is convergent: every statement is an UPDATE with the stamps of its cells, so any of them may be repeated,
// reordered and merged. Nothing is read before it is written, and nothing is deleted. See [Writer].
package cassandra

import (
	"fmt"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/apache/cassandra-gocql-driver/v2/gocqlzap"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"penstock/sink"
)

// Config says how to reach a cluster. Every field without a default in its comment is required.
type Config struct {
	Hosts       []string // host or host:port
	Datacenter  string   // only its hosts are connected to; empty: those of all, which is for looking around only
	Keyspace    string
	Consistency string        // LOCAL_QUORUM or higher
	Timeout     time.Duration // of one request; above the server's write_request_timeout, so that the server answers first
	Username    string        // empty: no authentication
	// Password is asked for with every new connection, and must be there if Username is. It is a function so that
	// whatever prints a Config shows no password.
	Password func() (string, error) `json:"-"`
	TLS      *TLS                   // nil: connections are not encrypted
	Log      *zap.Logger

	// Observers see every statement with its values after it was sent. They cost time; nil for none.
	QueryObserver gocql.QueryObserver
	BatchObserver gocql.BatchObserver
}

// Session is a connection to a cluster. It is safe for concurrent use.
type Session struct {
	keyspace string
	driver   *gocql.Session
	router   *router
}

// Connect opens a session. The error is a [*sink.Error]: transient when no host answers; fatal, around a
// [*ConnectError], when no host can be used and one of them refuses us or is not trusted, and around a
// [*DatacenterError] when the datacenter does not exist. Once a session is open, hosts
// that do so are told to the log and tried again. The driver cannot be interrupted while it connects, which takes up to
// Timeout a host.
func Connect(c Config) (*Session, error) {
	consistency, err := gocql.ParseConsistencyWrapper(c.Consistency)
	if err != nil {
		return nil, &sink.Error{Disposition: sink.Fatal, Op: "connect to cassandra", Err: fmt.Errorf("consistency %q: %w", c.Consistency, err)}
	}
	router := newRouter(c.Keyspace, c.Datacenter)
	cluster := gocql.NewCluster(c.Hosts...)
	cluster.Consistency = consistency
	cluster.SerialConsistency = gocql.LocalSerial
	cluster.Timeout = c.Timeout
	cluster.ConnectTimeout = c.Timeout
	cluster.NumConns = 1 // of 32,768 streams each; what goes over one goes in fewer, larger writes
	cluster.PoolConfig.HostSelectionPolicy = router
	if c.Datacenter != "" {
		cluster.HostFilter = gocql.DataCenterHostFilter(c.Datacenter)
	}
	cluster.DefaultTimestamp = false // every stamp is bound; the driver's clock must never write one
	cluster.DefaultIdempotence = true
	cluster.QueryObserver, cluster.BatchObserver = c.QueryObserver, c.BatchObserver
	cluster.RetryPolicy = nil // repeating is the writer's decision, with permits and back-off
	cluster.ReconnectInterval = time.Second
	cluster.ReconnectionPolicy = &gocql.ExponentialReconnectionPolicy{MaxRetries: 3, InitialInterval: 200 * time.Millisecond, MaxInterval: 2 * time.Second}
	cluster.Metadata.CacheMode = gocql.KeyspaceOnly // all that the ring needs
	cluster.Logger = gocqlzap.NewZapLogger(c.Log.Named("driver").WithOptions(zap.WrapCore(onlyWarnings)))
	cluster.AuthProvider = login(c)
	attempts := newAttempts(c)
	cluster.ConnectObserver = attempts
	if c.TLS != nil {
		cluster.HostDialer = newDialer(c, attempts.heard)
	} else if c.Username != "" {
		c.Log.Warn("the password of cassandra is sent unencrypted: cassandra.tls is disabled")
	}
	driver, err := cluster.CreateSession()
	if err != nil {
		op := fmt.Sprintf("connect to cassandra at %v, datacenter %s", c.Hosts, c.Datacenter)
		if refused := attempts.refusal(); refused != nil {
			return nil, &sink.Error{Disposition: sink.Fatal, Op: op, Err: refused}
		}
		if absent := absentDatacenter(c); absent != nil {
			return nil, &sink.Error{Disposition: sink.Fatal, Op: op, Err: absent}
		}
		return nil, &sink.Error{Disposition: classifyConnect(err), Op: op, Err: err}
	}
	attempts.opened()
	router.opened(driver)
	return &Session{keyspace: c.Keyspace, driver: driver, router: router}, nil
}

// onlyWarnings leaves out what the driver says below warnings, where the log has not left it out already.
func onlyWarnings(core zapcore.Core) zapcore.Core {
	quiet, err := zapcore.NewIncreaseLevelCore(core, zap.WarnLevel)
	if err != nil {
		return core
	}
	return quiet
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
