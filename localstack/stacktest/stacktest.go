// Package stacktest lets a test use the local stack that `make test` started for all, without meeting the other tests there: each
// test gets a keyspace, streams, buckets and table names of its own, which go when it ends. A test that breaks servers starts a
// stack of its own with [Start].
//
// Its clients go to the addresses of the environment and nowhere else, so that no test reaches a real account.
package stacktest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"penstock/localstack"
)

const (
	queryTimeout   = 20 * time.Second // a schema change on a busy machine takes seconds
	cleanUpTimeout = time.Minute
	// Names fit a Cassandra keyspace (48), the shortest of all limits, with room for what a test puts behind them.
	nameBytes = 32
)

// Stack is where a running stack answers.
type Stack struct {
	Kinesis  string // endpoint URL, as the two below
	DynamoDB string
	S3       string
	Region   string
	AccessID string
	Secret   string

	CassandraHosts    []string // each host:port
	Datacenter        string
	ReplicationFactor int
}

// Require returns the stack of the environment, and skips the test where there is none.
func Require(t testing.TB) Stack {
	t.Helper()
	s, ok := fromEnv(os.Getenv)
	if !ok {
		t.Skip("needs the local stack: run through make test")
	}
	return s
}

// fromEnv reads what devstack writes. It reports false unless every server is named.
func fromEnv(getenv func(string) string) (Stack, bool) {
	s := Stack{
		Kinesis:    getenv("AWS_ENDPOINT_URL_KINESIS"),
		DynamoDB:   getenv("AWS_ENDPOINT_URL_DYNAMODB"),
		S3:         getenv("AWS_ENDPOINT_URL_S3"),
		Region:     getenv("AWS_REGION"),
		AccessID:   getenv("AWS_ACCESS_KEY_ID"),
		Secret:     getenv("AWS_SECRET_ACCESS_KEY"),
		Datacenter: getenv("PENSTOCK_CASSANDRA_DATACENTER"),
	}
	s.CassandraHosts = strings.FieldsFunc(getenv("PENSTOCK_CASSANDRA_HOSTS"), func(r rune) bool { return r == ',' })
	factor, err := strconv.Atoi(getenv("PENSTOCK_CASSANDRA_REPLICATION_FACTOR"))
	s.ReplicationFactor = factor
	complete := s.Kinesis != "" && s.DynamoDB != "" && s.S3 != "" && len(s.CassandraHosts) > 0 && err == nil
	return s, complete
}

// Start starts a stack for this test alone, in the test's temporary folder, and stops it when the test ends. It skips the test under
// -short and where Java or Maven is missing.
func Start(t testing.TB, config localstack.Config) *localstack.Stack {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers of its own: left out by -short")
	}
	if err := localstack.CheckPrerequisites(t.Context(), config); err != nil {
		t.Skipf("starts servers of its own: %v", err)
	}
	if config.Dir == "" {
		config.Dir = t.TempDir()
	}
	stack, err := localstack.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(); err != nil {
			t.Error(err)
		}
	})
	return stack
}

// Of returns where a stack of a test's own answers. Only the servers that run have an address.
func Of(stack *localstack.Stack) Stack {
	env := make(map[string]string)
	for _, pair := range stack.Env() {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	s, _ := fromEnv(func(key string) string { return env[key] })
	return s
}

// Name returns a name that no other test has: lower-case letters and digits, a letter first, at most 32 bytes. It is good for a
// keyspace, a table, a stream and a bucket.
func Name(t testing.TB) string {
	t.Helper()
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	readable := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(strings.TrimPrefix(t.Name(), "Test")))
	name := "t" + hex.EncodeToString(random) + readable
	return name[:min(len(name), nameBytes)]
}

// KinesisClient returns a client for the stack's Kinesis.
func (s Stack) KinesisClient() *kinesis.Client {
	return kinesis.New(kinesis.Options{Region: s.Region, BaseEndpoint: aws.String(s.Kinesis), Credentials: s.credentials()})
}

// DynamoDBClient returns a client for the stack's DynamoDB.
func (s Stack) DynamoDBClient() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{Region: s.Region, BaseEndpoint: aws.String(s.DynamoDB), Credentials: s.credentials()})
}

// S3Client returns a client for the stack's S3.
func (s Stack) S3Client() *s3.Client {
	return s3.New(s3.Options{Region: s.Region, BaseEndpoint: aws.String(s.S3), Credentials: s.credentials(), UsePathStyle: true})
}

func (s Stack) credentials() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(s.AccessID, s.Secret, "")
}

// Session returns a plain CQL session without a keyspace, closed when the test ends.
func (s Stack) Session(t testing.TB) *gocql.Session {
	t.Helper()
	hosts, port := s.hosts(t)
	cluster := gocql.NewCluster(hosts...)
	cluster.Port = port
	cluster.ConnectTimeout = queryTimeout
	cluster.Timeout = queryTimeout
	cluster.Consistency = gocql.LocalQuorum
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatalf("connect to cassandra at %s: %v", strings.Join(s.CassandraHosts, ","), err)
	}
	t.Cleanup(session.Close)
	return session
}

// hosts splits the addresses; all nodes of a stack have one port.
func (s Stack) hosts(t testing.TB) (hosts []string, port int) {
	t.Helper()
	for _, address := range s.CassandraHosts {
		host, text, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatalf("cassandra host %q: %v", address, err)
		}
		if port, err = strconv.Atoi(text); err != nil {
			t.Fatalf("cassandra host %q: %v", address, err)
		}
		hosts = append(hosts, host)
	}
	return hosts, port
}

// afterTest returns the context for cleaning up: the test's own has ended by then.
func afterTest(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(t.Context()), cleanUpTimeout)
}
