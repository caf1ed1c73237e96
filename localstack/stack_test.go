package localstack_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"penstock/localstack"
	"penstock/localstack/stacktest"
)

// How long an answer may take that is expected not to come.
const impatience = 2 * time.Second

func TestStackWithoutCassandra(t *testing.T) {
	config := localstack.Everything()
	config.CassandraNodes = 0
	config.Shards = 3
	config.Progress = t.Output()
	stack := stacktest.Start(t, config)
	at := stacktest.Of(stack)

	t.Run("the stream is there", func(t *testing.T) {
		shards, err := at.KinesisClient().ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(localstack.DefaultStream)})
		if err != nil || len(shards.Shards) != 3 {
			t.Fatalf("shards: %v, %v", shards, err)
		}
	})
	t.Run("s3 keeps its content over an outage", func(t *testing.T) {
		outage(t, stack.S3(), func(ctx context.Context) error {
			client := at.S3Client()
			_, err := client.PutObject(ctx, &s3.PutObjectInput{
				Bucket: aws.String(localstack.DefaultBucket), Key: aws.String("letter"), Body: strings.NewReader("content"),
			})
			return err
		}, func(ctx context.Context) error {
			_, err := at.S3Client().HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(localstack.DefaultBucket), Key: aws.String("letter")})
			return err
		})
	})
	t.Run("kinesis keeps its content over an outage", func(t *testing.T) {
		outage(t, stack.Kinesis(), func(ctx context.Context) error {
			_, err := at.KinesisClient().CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("other"), ShardCount: aws.Int32(1)})
			return err
		}, func(ctx context.Context) error {
			_, err := at.KinesisClient().DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("other")})
			return err
		})
	})
	t.Run("dynamodb keeps its tables when it is killed", func(t *testing.T) { killDynamoDB(t, stack.DynamoDB(), at.DynamoDBClient()) })
	t.Run("nothing outlives it", func(t *testing.T) { stopLeavesNothing(t, stack) })
}

// outage writes, interrupts the server, and finds what was written afterwards.
func outage(t *testing.T, server *localstack.Server, write, read func(context.Context) error) {
	t.Helper()
	if err := write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Interrupt(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), impatience)
	defer cancel()
	if err := read(ctx); err == nil {
		t.Error("it answers during the outage")
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := read(t.Context()); err != nil {
		t.Error(err)
	}
}

func killDynamoDB(t *testing.T, process *localstack.Process, client *dynamodb.Client) {
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:            aws.String("leases"),
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("key"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("key"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}
	item := map[string]types.AttributeValue{"key": &types.AttributeValueMemberS{Value: "shard"}}
	if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("leases"), Item: item}); err != nil {
		t.Fatal(err)
	}
	read := func(ctx context.Context) (int, error) {
		found, err := client.GetItem(ctx, &dynamodb.GetItemInput{
			TableName: aws.String("leases"), Key: item, ConsistentRead: aws.Bool(true),
		})
		if err != nil {
			return 0, err
		}
		return len(found.Item), nil
	}

	if err := process.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), impatience)
	defer cancel()
	if _, err := read(ctx); err == nil {
		t.Error("it answers while frozen")
	}
	if err := process.Thaw(); err != nil {
		t.Fatal(err)
	}
	if n, err := read(t.Context()); n != 1 || err != nil {
		t.Errorf("after the thaw: %d attributes, %v", n, err)
	}

	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := process.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := read(t.Context()); n != 1 || err != nil {
		t.Errorf("after the restart: %d attributes, %v", n, err)
	}
}

func stopLeavesNothing(t *testing.T, stack *localstack.Stack) {
	var children []localstack.Identity
	for _, process := range append(stack.Cassandra(), stack.DynamoDB()) {
		id, err := localstack.Identify(process.PID())
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, id)
	}
	if err := stack.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, id := range children {
		if id.Running() {
			t.Errorf("process %d still runs", id.PID)
		}
	}
	entries, err := os.ReadDir(stack.Dir())
	if err != nil || len(entries) > 0 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if err := stack.Stop(); err != nil {
		t.Errorf("the second Stop: %v", err)
	}
}

func TestAChildThatDiesIsToldWithItsLog(t *testing.T) {
	dir := t.TempDir()
	stack := stacktest.Start(t, localstack.Config{DynamoDB: true, Dir: dir})
	if err := syscall.Kill(stack.DynamoDB().PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err := stack.Wait(t.Context())
	if err == nil || !strings.Contains(err.Error(), "signal: killed") || !strings.Contains(err.Error(), "Initializing DynamoDB Local") {
		t.Errorf("%v", err)
	}
	if err := stack.Stop(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "logs" {
		t.Errorf("beside the logs, the folder holds %v, %v", entries, err)
	}
}

func TestACancelledStartLeavesNothing(t *testing.T) {
	config := localstack.Config{DynamoDB: true, CassandraNodes: 1, Dir: t.TempDir()}
	if err := localstack.CheckPrerequisites(t.Context(), config); err != nil || testing.Short() {
		t.Skipf("starts servers of its own: left out by -short, or %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	config.Progress = writerFunc(func(p []byte) {
		// DynamoDB answers before Cassandra: in the middle of the start.
		if strings.Contains(string(p), "dynamodb answers") {
			cancel()
		}
	})
	if _, err := localstack.Start(ctx, config); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	entries, err := os.ReadDir(config.Dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestStackWithOneCassandraNode(t *testing.T) {
	config := localstack.Everything()
	config.Progress = t.Output()
	stack := stacktest.Start(t, config)
	at := stacktest.Of(stack)
	node := stack.Cassandra()[0]

	table := newTable(t, at)
	session := sessionAt(t, node.Addr())
	write := fmt.Sprintf("UPDATE %s SET v = ? WHERE k = ?", table)
	read := fmt.Sprintf("SELECT k FROM %s", table)

	if err := node.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), impatience)
	defer cancel()
	if err := session.Query(write, "frozen", -1).ExecContext(ctx); err == nil {
		t.Error("it answers while frozen")
	}
	if err := node.Thaw(); err != nil {
		t.Fatal(err)
	}

	// A write that was acknowledged is there after the node was killed, without any pause in between.
	const rows = 500
	for k := range rows {
		if err := session.Query(write, "v", k).ExecContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("restarted in %s", time.Since(began))
	found := make(map[int]bool)
	var k int
	again := sessionAt(t, node.Addr())
	iter := again.Query(read).IterContext(t.Context())
	for iter.Scan(&k) {
		found[k] = true
	}
	if err := iter.Close(); err != nil {
		t.Fatal(err)
	}
	for k := range rows {
		if !found[k] {
			t.Fatalf("row %d, acknowledged, is lost", k)
		}
	}

	if out, err := stack.Nodetool(t.Context(), 0, "info"); err != nil || !strings.Contains(out, "az-a") {
		t.Errorf("nodetool info: %v\n%s", err, out)
	}
	if _, err := stack.Nodetool(t.Context(), 0, "nosuchcommand"); err == nil {
		t.Error("nodetool has any command")
	}
	if _, err := stack.Nodetool(t.Context(), 1, "info"); err == nil {
		t.Error("there is a second node")
	}
	stopLeavesNothing(t, stack)
}

func TestThreeCassandraNodesAreOneRing(t *testing.T) {
	stack := stacktest.Start(t, localstack.Config{CassandraNodes: 3, Progress: t.Output()})
	nodes := stack.Cassandra()
	session := sessionAt(t, nodes[0].Addr())
	var seen []string
	var rack string
	for _, table := range []string{"system.local", "system.peers_v2"} {
		iter := session.Query("SELECT rack FROM " + table).IterContext(t.Context())
		for iter.Scan(&rack) {
			seen = append(seen, rack)
		}
		if err := iter.Close(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(seen)
	if !slices.Equal(seen, []string{"az-a", "az-b", "az-c"}) {
		t.Errorf("racks %v", seen)
	}

	keyspace := stacktest.Name(t)
	for _, statement := range []string{
		"CREATE KEYSPACE " + keyspace + " WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}",
		"CREATE TABLE " + keyspace + ".t (k int PRIMARY KEY, v text)",
	} {
		if err := session.Query(statement).ExecContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	insert := func(consistency gocql.Consistency) error {
		return session.Query("UPDATE " + keyspace + ".t SET v = 'x' WHERE k = 1").Consistency(consistency).ExecContext(t.Context())
	}
	if err := insert(gocql.All); err != nil {
		t.Errorf("with all nodes: %v", err)
	}
	if err := nodes[2].Kill(); err != nil {
		t.Fatal(err)
	}
	if err := insert(gocql.LocalQuorum); err != nil {
		t.Errorf("quorum with two of three: %v", err)
	}
	if err := insert(gocql.All); err == nil {
		t.Error("all nodes answered though one is dead")
	}
	if err := nodes[2].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := stack.AwaitRing(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := insert(gocql.All); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// newTable creates a keyspace and a table of int keys and text values. Neither outlives the stack, so nobody drops them.
func newTable(t *testing.T, at stacktest.Stack) string {
	t.Helper()
	session, table := at.Session(t), stacktest.Name(t)+".t"
	keyspace, _, _ := strings.Cut(table, ".")
	for _, statement := range []string{
		"CREATE KEYSPACE " + keyspace + " WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}",
		"CREATE TABLE " + table + " (k int PRIMARY KEY, v text)",
	} {
		if err := session.Query(statement).ExecContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

// sessionAt connects to one node and no other.
func sessionAt(t *testing.T, node netip.AddrPort) *gocql.Session {
	t.Helper()
	cluster := gocql.NewCluster(node.Addr().String())
	cluster.Port = int(node.Port())
	cluster.DisableInitialHostLookup = true
	cluster.Timeout = 20 * time.Second
	cluster.ConnectTimeout = 20 * time.Second
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	return session
}
