package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"penstock/localstack/stacktest"
)

// checked is what `projector check -o json` prints, as far as scripts may rely on it.
type checked struct {
	Version     int       `json:"version"`
	Application string    `json:"application"`
	View        string    `json:"view"`
	Generation  int       `json:"generation"`
	Revision    string    `json:"revision"`
	Ready       bool      `json:"ready"`
	ExitCode    int       `json:"exit_code"`
	Findings    []finding `json:"findings"`
}

type finding struct {
	System string `json:"system"`
	Item   string `json:"item"`
	Name   string `json:"name"`
	Level  string `json:"level"`
	Found  string `json:"found"`
	Do     string `json:"do"`
}

// runCheck runs check in both forms and returns the JSON one. Both exit with the code that the JSON names.
func runCheck(t *testing.T, s *Site, args ...string) checked {
	t.Helper()
	out, err := s.Projector(t.Context(), append([]string{"check", "-o", "json"}, args...)...)
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.DisallowUnknownFields()
	var c checked
	if jsonErr := decoder.Decode(&c); jsonErr != nil {
		t.Fatalf("%v of %q; check said %v", jsonErr, out, err)
	}
	if code := codeOf(err); code != c.ExitCode || c.Ready != (code == 0) {
		t.Errorf("exit code %d, printed %d, ready %t", code, c.ExitCode, c.Ready)
	}
	for _, f := range c.Findings {
		if (f.Level == "ok") != (f.Do == "") || f.Found == "" || f.Item == "" || f.Name == "" {
			t.Errorf("finding without what to do, or with it for nothing: %+v", f)
		}
	}
	return c
}

func codeOf(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}

// troubles returns what is neither ok nor a warning, each as "level system item name".
func (c checked) troubles() []string {
	var out []string
	for _, f := range c.Findings {
		if f.Level != "ok" && f.Level != "warn" {
			out = append(out, strings.Join([]string{f.Level, f.System, f.Item, f.Name}, " "))
		}
	}
	return out
}

func (c checked) find(t *testing.T, level, item, name string) finding {
	t.Helper()
	i := slices.IndexFunc(c.Findings, func(f finding) bool { return f.Level == level && f.Item == item && f.Name == name })
	if i < 0 {
		t.Fatalf("no finding %s of %s %s among %v", level, item, name, c.Findings)
	}
	return c.Findings[i]
}

func wantTroubles(t *testing.T, c checked, code int, troubles ...string) {
	t.Helper()
	if c.ExitCode != code {
		t.Errorf("exit code %d, want %d", c.ExitCode, code)
	}
	if diff := cmp.Diff(troubles, c.troubles()); diff != "" {
		t.Errorf("want - and got +:\n%s", diff)
	}
}

// The first hour: with stream and bucket alone everything of ours is missing, two setups at once make it, and each
// thing that can go wrong afterwards is found, named, and told apart by the exit code.
func TestCheckTellsAllThatIsMissingAndSetupMakesIt(t *testing.T) {
	t.Parallel()
	s := site(t, 2, nil)
	k := s.Name
	wantTroubles(t, runCheck(t, s), 7,
		"missing dynamodb lease_table "+k,
		"missing dynamodb state_table "+k+"-state",
		"missing cassandra keyspace "+k,
		"missing cassandra type "+k+".order_line_g1",
		"missing cassandra type "+k+".payment_g1",
		"missing cassandra type "+k+".shipment_g1",
		"missing cassandra type "+k+".refund_g1",
		"missing cassandra type "+k+".cancellation_g1",
		"missing cassandra type "+k+".address_g1",
		"missing cassandra type "+k+".event_ref",
		"missing cassandra table "+k+".order_by_id_g1",
		"missing cassandra table "+k+".orders_by_customer_g1",
		"missing cassandra table "+k+".view_state",
		"missing cassandra table "+k+".view_progress",
		"missing cassandra revision view order, generation 1",
	)

	// What the table says is what the JSON says.
	table, err := s.Projector(t.Context(), "check")
	if codeOf(err) != 7 || strings.Count(table, "\nmissing  ") != 15 || !strings.Contains(table, "→ run projector setup") ||
		!strings.Contains(err.Error(), "not ready: 15 missing") {
		t.Errorf("exit %v with\n%s", err, table)
	}

	printed, err := s.Projector(t.Context(), "setup", "--print")
	if err != nil || !strings.Contains(printed, "CREATE KEYSPACE IF NOT EXISTS "+k) {
		t.Errorf("%v of\n%s", err, printed)
	}
	if c := runCheck(t, s); c.ExitCode != 7 || len(c.troubles()) != 15 {
		t.Errorf("after --print there is %v", c.troubles())
	}

	var setups sync.WaitGroup
	for range 2 {
		setups.Go(func() {
			if out, err := s.Projector(t.Context(), "setup"); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	setups.Wait()
	if t.Failed() {
		return
	}
	after := runCheck(t, s)
	wantTroubles(t, after, 0)
	after.find(t, "warn", "replication", k) // one node
	for range 2 {
		runCheck(t, s)
	}
	leftNothing(t, s)

	t.Run("another revision", func(t *testing.T) {
		s.cql(t, "UPDATE %s.view_state SET revisions[1] = 'order/0' WHERE name = 'order'")
		wantTroubles(t, runCheck(t, s), 6, "refused cassandra revision view order, generation 1")
		s.cql(t, "UPDATE %s.view_state SET revisions[1] = '"+after.Revision+"' WHERE name = 'order'")
	})
	t.Run("another generation", func(t *testing.T) {
		c := runCheck(t, s, "--generation", "2")
		if c.ExitCode != 7 || !slices.Contains(c.troubles(), "missing dynamodb lease_table "+k+"-g2") ||
			!slices.Contains(c.troubles(), "missing cassandra table "+k+".order_by_id_g2") {
			t.Errorf("exit code %d with %v", c.ExitCode, c.troubles())
		}
	})
	t.Run("foreign rows", func(t *testing.T) {
		s.cql(t, "INSERT INTO %s.order_by_id_g1 (order_id, currency) VALUES (11111111-1111-1111-1111-111111111111, 'EUR')")
		wantTroubles(t, runCheck(t, s), 6, "refused cassandra rows "+k+".order_by_id_g1")
		s.cql(t, "TRUNCATE %s.order_by_id_g1")
	})
	t.Run("a keyspace with SimpleStrategy", func(t *testing.T) {
		s.cql(t, "ALTER KEYSPACE %s WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
		c := runCheck(t, s)
		wantTroubles(t, c, 0)
		if f := c.find(t, "warn", "replication", k); !strings.Contains(f.Found, "SimpleStrategy") || !strings.Contains(f.Do, "ALTER KEYSPACE "+k) {
			t.Errorf("%+v", f)
		}
		s.cql(t, "ALTER KEYSPACE %s WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}")
	})
	t.Run("leases of another stream", func(t *testing.T) {
		put := func(table string, item map[string]string) func() {
			t.Helper()
			values := map[string]types.AttributeValue{}
			for name, v := range item {
				values[name] = &types.AttributeValueMemberS{Value: v}
			}
			client := stacktest.Require(t).DynamoDBClient()
			if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: values}); err != nil {
				t.Fatal(err)
			}
			key := map[string]types.AttributeValue{}
			for _, name := range []string{"ShardID", "Kind", "Name"} {
				if v, ok := values[name]; ok {
					key[name] = v
				}
			}
			return func() {
				if _, err := client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &table, Key: key}); err != nil {
					t.Fatal(err)
				}
			}
		}
		remove := put(k, map[string]string{"ShardID": "shardId-000000000099"})
		wantTroubles(t, runCheck(t, s), 6, "refused dynamodb leases "+k)
		remove()
		remove = put(k, map[string]string{"ShardID": "shardId-000000000000", "Checkpoint": "1"})
		wantTroubles(t, runCheck(t, s), 6, "refused dynamodb leases "+k)
		remove()
		remove = put(k+"-state", map[string]string{"Kind": "archive#worker", "Name": "a-1", "failover": "1m0s",
			"beat": "1@" + time.Now().UTC().Format(time.RFC3339Nano)})
		c := runCheck(t, s)
		wantTroubles(t, c, 0)
		if f := c.find(t, "warn", "read_budget", k); !strings.Contains(f.Found, "archive") {
			t.Errorf("%+v", f)
		}
		remove()
	})
	t.Run("a datacenter that does not exist", func(t *testing.T) {
		defer s.Set("PENSTOCK_CASSANDRA_DATACENTER=" + s.env["PENSTOCK_CASSANDRA_DATACENTER"])
		s.Set("PENSTOCK_CASSANDRA_DATACENTER=dc9")
		c := runCheck(t, s)
		wantTroubles(t, c, 7, "missing cassandra datacenter dc9")
		if f := c.find(t, "missing", "datacenter", "dc9"); !strings.Contains(f.Found, "there are: dc1") {
			t.Errorf("%+v", f)
		}
		// Waiting would not help the daemon, so it does not.
		if _, err := s.Projector(within(t, time.Minute, "the end of a daemon"), "run"); codeOf(err) != 1 || !strings.Contains(err.Error(), "there are: dc1") {
			t.Errorf("run: %v", err)
		}
	})
	t.Run("no stream and no bucket", func(t *testing.T) {
		defer s.Set("PENSTOCK_KINESIS_STREAM="+k, "PENSTOCK_DEAD_LETTERS_BUCKET="+s.env["PENSTOCK_DEAD_LETTERS_BUCKET"])
		s.Set("PENSTOCK_KINESIS_STREAM=nosuch", "PENSTOCK_DEAD_LETTERS_BUCKET=nosuch")
		wantTroubles(t, runCheck(t, s), 7, "missing kinesis stream nosuch", "missing s3 bucket nosuch")
	})
	for name, item := range map[string][3]string{
		"KINESIS": {"kinesis", "stream", k}, "DYNAMODB": {"dynamodb", "lease_table", k}, "S3": {"s3", "bucket", s.env["PENSTOCK_DEAD_LETTERS_BUCKET"]},
	} {
		t.Run(name+" stopped", func(t *testing.T) {
			endpoint := "AWS_ENDPOINT_URL_" + name + "="
			defer s.Set(endpoint + s.env["AWS_ENDPOINT_URL_"+name])
			s.Set(endpoint + "http://" + deadAddress(t))
			wantTroubles(t, runCheck(t, s), 4, fmt.Sprintf("unreachable %s %s %s", item[0], item[1], item[2]))
		})
	}
	t.Run("Cassandra stopped", func(t *testing.T) {
		dead := deadAddress(t)
		defer s.Set("PENSTOCK_CASSANDRA_HOSTS=" + s.env["PENSTOCK_CASSANDRA_HOSTS"])
		s.Set("PENSTOCK_CASSANDRA_HOSTS=" + dead)
		wantTroubles(t, runCheck(t, s), 4, "unreachable cassandra cluster "+dead)
	})
	t.Run("Amazon Keyspaces", func(t *testing.T) {
		const host = "cassandra.eu-central-1.amazonaws.com:9142"
		defer s.Set("PENSTOCK_CASSANDRA_HOSTS=" + s.env["PENSTOCK_CASSANDRA_HOSTS"])
		s.Set("PENSTOCK_CASSANDRA_HOSTS=" + host)
		wantTroubles(t, runCheck(t, s), 6, "refused cassandra service Amazon Keyspaces")
		if _, err := s.Projector(t.Context(), "setup"); codeOf(err) != 6 || !strings.Contains(err.Error(), "2 days back") {
			t.Errorf("setup: %v", err)
		}
	})
	t.Run("a dropped column", func(t *testing.T) { // the last: there is no way back
		s.cql(t, "ALTER TABLE %s.orders_by_customer_g1 DROP units")
		wantTroubles(t, runCheck(t, s), 6, "missing cassandra column "+k+".orders_by_customer_g1.units",
			"refused cassandra dropped_column "+k+".orders_by_customer_g1.units")
		s.cql(t, "ALTER TABLE %s.orders_by_customer_g1 ADD units int")
		wantTroubles(t, runCheck(t, s), 6, "refused cassandra dropped_column "+k+".orders_by_customer_g1.units")
	})
}

// A dependency that takes connections and never answers is told as one that cannot be reached, in bounded time, which is why
// it runs alone.
func TestCheckDoesNotWaitForThoseThatHang(t *testing.T) {
	s := site(t, 0, nil)
	hangs := hangingAddress(t)
	s.Set("PENSTOCK_CASSANDRA_HOSTS=" + hangs)
	for _, name := range []string{"KINESIS", "DYNAMODB", "S3"} {
		s.Set("AWS_ENDPOINT_URL_" + name + "=http://" + hangs)
	}
	begun := time.Now()
	c := runCheck(t, s)
	wantTroubles(t, c, 4, "unreachable kinesis stream "+s.Name, "unreachable dynamodb lease_table "+s.Name,
		"unreachable s3 bucket "+s.env["PENSTOCK_DEAD_LETTERS_BUCKET"], "unreachable cassandra cluster "+hangs)
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

// leftNothing shows that looking wrote nothing, and that setup left no lock.
func leftNothing(t *testing.T, s *Site) {
	t.Helper()
	stack := stacktest.Require(t)
	for _, table := range []string{s.Name, s.Name + "-state"} {
		out, err := stack.DynamoDBClient().Scan(t.Context(), &dynamodb.ScanInput{TableName: &table})
		if err != nil || out.Count != 0 {
			t.Errorf("%s has %d items: %v", table, out.Count, err)
		}
	}
	out, err := s.S3().ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{
		Bucket: aws.String(s.env["PENSTOCK_DEAD_LETTERS_BUCKET"]), Prefix: aws.String(s.Name)})
	if err != nil || len(out.Contents) != 0 {
		t.Errorf("objects left: %v, %v", out.Contents, err)
	}
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, table := range []string{"order_by_id_g1", "orders_by_customer_g1"} {
		var rows int
		err := session.Query(fmt.Sprintf("SELECT count(*) FROM %s.%s", s.Name, table)).ScanContext(t.Context(), &rows)
		if err != nil || rows != 0 {
			t.Errorf("%s has %d rows: %v", table, rows, err)
		}
	}
}

// cql runs a statement in which %s is the keyspace.
func (s *Site) cql(t *testing.T, statement string) {
	t.Helper()
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Query(fmt.Sprintf(statement, s.Name)).ExecContext(t.Context()); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if err := session.AwaitSchemaAgreement(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// deadAddress returns one where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// hangingAddress returns one where connections are taken and nothing is said.
func hangingAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.WithoutCancel(t.Context()), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}
