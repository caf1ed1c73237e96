package cassandra

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/sink"
)

// UnsupportedError says that a service speaks CQL but cannot hold a view.
type UnsupportedError struct {
	Service string
	Sign    string // by which it was recognised
	Reason  string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s (%s) cannot hold a view: %s", e.Service, e.Sign, e.Reason)
}

// Amazon Keyspaces refuses client timestamps older than two days or more than five minutes ahead
// (https://docs.aws.amazon.com/keyspaces/latest/devguide/client-side-timestamps.html). Our stamps come from the events:
// an order of last week, a rebuild, a redrive could not be written.
const keyspacesReason = "it takes client timestamps only from 2 days back to 5 minutes ahead, and every cell carries the time of its order"

// Endpoints of Amazon Keyspaces (https://docs.aws.amazon.com/general/latest/gr/keyspaces.html), also those of its
// interface endpoints.
var keyspacesHost = regexp.MustCompile(`(?i)(^|\.)cassandra(-fips)?\.[a-z0-9-]+\.(vpce\.)?(amazonaws\.com(\.cn)?|api\.aws)\.?$`)

// What the servers of Amazon Keyspaces show: the partitioner they begin with, and a keyspace of their own
// (https://docs.aws.amazon.com/keyspaces/latest/devguide/working-with-keyspaces.html).
const (
	keyspacesPartitioner = "com.amazonaws.cassandra."
	keyspacesOwn         = "system_schema_mcs"

	partitionerCQL = `SELECT partitioner FROM system.local`
)

// CheckHosts refuses hosts of a service that cannot hold a view, before they are connected to: the error is then a fatal
// [*sink.Error] around an [*UnsupportedError].
func CheckHosts(hosts []string) error {
	for _, host := range hosts {
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		if keyspacesHost.MatchString(name) {
			return unsupported("host " + name)
		}
	}
	return nil
}

// CheckService refuses a server of such a service by what it says of itself, with the same error.
func (s *Session) CheckService(ctx context.Context) error {
	var partitioner string
	if err := s.driver.Query(partitionerCQL).ScanContext(ctx, &partitioner); err != nil {
		return wrap("ask for the partitioner", err)
	}
	if strings.HasPrefix(partitioner, keyspacesPartitioner) {
		return unsupported("partitioner " + partitioner)
	}
	var name string
	switch err := s.driver.Query(keyspacesCQL, keyspacesOwn).ScanContext(ctx, &name); err {
	case nil:
		return unsupported("keyspace " + keyspacesOwn)
	case gocql.ErrNotFound:
		return nil
	default:
		return wrap("look for keyspaces", err)
	}
}

func unsupported(sign string) error {
	return &sink.Error{Disposition: sink.Fatal, Op: "check the service",
		Err: &UnsupportedError{Service: "Amazon Keyspaces", Sign: sign, Reason: keyspacesReason}}
}
