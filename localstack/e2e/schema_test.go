package e2e

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/go-json-experiment/json" // minds case, unlike the standard library's

	"penstock/localstack/shop"
	"penstock/localstack/stacktest"
)

// The tables are changed under a daemon while events flow.

// flow puts a generator's events at a rate until they are all sent or the returned function is called, which waits for
// the end and returns what was sent.
func flow(t *testing.T, ctx context.Context, s *Site, generator *shop.Shop, perSecond float64) (stop func() shop.Seeded) {
	stopping := make(chan struct{})
	events := func(yield func(shop.Event) bool) {
		for e := range generator.Events() {
			select {
			case <-stopping:
				return
			default:
			}
			if !yield(e) {
				return
			}
		}
	}
	sent := make(chan shop.Seeded)
	go func() {
		seeded, err := shop.Seed(ctx, s.Kinesis(), s.Name, events, shop.Options{Rate: perSecond})
		if err != nil {
			t.Error(err)
		}
		sent <- seeded
	}()
	return sync.OnceValue(func() shop.Seeded {
		close(stopping)
		return <-sent
	})
}

// daemonWithCommits sets up a site of two shards, lets events flow into it, and returns once a daemon has committed a
// checkpoint of each, with the leases as they are then.
func daemonWithCommits(t *testing.T, ctx context.Context, generator *shop.Shop, perSecond float64) (s *Site, d *Daemon, stop func() shop.Seeded, committed map[string]lease) {
	t.Helper()
	const shards = 2
	s = site(t, shards, nil, "PENSTOCK_LEASES_FAILOVER=3s") // commits once a second
	setup(t, s)
	stop = flow(t, ctx, s, generator, perSecond)
	t.Cleanup(func() { stop() })
	fleet := &Fleet{Site: s, Shards: shards}
	t.Cleanup(fleet.Kill)
	d, err := fleet.Start(ctx, "only")
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func([]Scrape) bool {
		committed = leases(t, s)
		return len(committed) == shards && committed[shardName(0)].checkpoint != "" && committed[shardName(1)].checkpoint != ""
	}); err != nil {
		t.Fatal(err)
	}
	return s, d, stop, committed
}

// A column that is dropped is no record's fault and does not pass: the daemon stops and says which, parks nothing, and
// leaves a checkpoint behind which every record is in the rows. So does every daemon that is started after it.
func TestADroppedColumnStopsTheDaemonAndKeepsTheCheckpoint(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	ctx := within(t, time.Minute, "the end of a daemon that lost a column")
	s, d, stop, before := daemonWithCommits(t, ctx, orders(t, 5000, 21, 0), 500)

	s.cql(t, "ALTER TABLE %s.orders_by_customer_g1 DROP units")
	code, err := d.Exit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	entries := d.Entries()
	last := entries[len(entries)-1].Raw
	sayLostColumn(t, "its last word", last)
	stopped := entries[slices.IndexFunc(entries, func(e Entry) bool { return e.Message == "stopped" })].Raw
	sayLostColumn(t, "its epitaph", stopped)
	if !strings.Contains(stopped, `"leases_released":"2 of 2"`) || !strings.Contains(stopped, `"parked":0`) {
		t.Errorf("its epitaph: %s", stopped)
	}
	for letter, err := range s.Letters(ctx) {
		t.Errorf("parked: %+v, %v", letter, err)
	}

	after := leases(t, s)
	for shard, l := range after {
		if l.owner != "" || compare(l.checkpoint, before[shard].checkpoint) < 0 {
			t.Errorf("%s has owner %q and checkpoint %s, was %s", shard, l.owner, l.checkpoint, before[shard].checkpoint)
		}
	}
	committed, behind := split(t, s, after)
	t.Logf("%d events up to the checkpoints, %d after them", len(committed), len(behind))
	if missing := absent(t, s, committed); len(missing) > 0 || len(committed) == 0 {
		t.Fatalf("of %d events up to the checkpoints these are not in both tables: %v", len(committed), missing)
	}
	if len(absent(t, s, behind)) == 0 {
		t.Error("the daemon had applied everything: nothing was at stake")
	}

	_, err = s.Projector(ctx, "run")
	if codeOf(err) != 1 {
		t.Errorf("a daemon that is started: %v", err)
	}
	sayLostColumn(t, "a daemon that is started", err.Error())
	if again := leases(t, s); again[shardName(0)] != after[shardName(0)] || again[shardName(1)] != after[shardName(1)] {
		t.Errorf("it changed the leases from %v to %v", after, again)
	}

	// The comparison would have found a record that is skipped.
	s.cql(t, "DELETE FROM %s.order_by_id_g1 WHERE order_id = "+committed[0].order)
	if len(absent(t, s, committed)) == 0 {
		t.Error("a lost row is not found")
	}
}

func sayLostColumn(t *testing.T, who, what string) {
	t.Helper()
	for _, want := range []string{"table orders_by_customer_g1: column units (int) is missing", "projector setup --generation 2"} {
		if !strings.Contains(what, want) {
			t.Errorf("%s: %q is not said in %s", who, want, what)
		}
	}
}

// A column that the view does not know is somebody else's: the daemon goes on and misses nothing.
func TestAnAddedColumnIsNoneOfTheDaemonsBusiness(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	const shards = 2
	s := site(t, shards, nil)
	setup(t, s)
	ctx := within(t, time.Minute, "events around an added column")
	generator := orders(t, 5000, 22, 0.01)
	stop := flow(t, ctx, s, generator, 400)
	defer stop()
	fleet := &Fleet{Site: s, Shards: shards}
	defer fleet.Kill()
	if _, err := fleet.Start(ctx, "only"); err != nil {
		t.Fatal(err)
	}
	var applied int64
	goesOn := func(scrapes []Scrape) bool { return scrapes[0].Applied >= applied+300 }
	if err := fleet.Watch(ctx, goesOn); err != nil {
		t.Fatal(err)
	}
	tables := []string{"order_by_id_g1", "orders_by_customer_g1"}
	for _, table := range tables {
		s.cql(t, "ALTER TABLE %s."+table+" ADD note text")
		scrapes, err := fleet.Scrape(ctx)
		if err != nil {
			t.Fatal(err)
		}
		applied = scrapes[0].Applied
		if err := fleet.Watch(ctx, goesOn); err != nil {
			t.Fatal(err)
		}
	}
	oracle := shop.NewOracle(generator.Events(), stop().Acknowledged)
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables { // the oracle knows the view's columns only
		s.cql(t, "ALTER TABLE %s."+table+" DROP note")
	}
	check(t, s, oracle)
}

// A schema change takes seconds on a busy cluster, longer than any write may: setup waits for it.
func TestSetupWaitsForASlowSchemaChange(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	s := site(t, 1, nil)
	fast := "PENSTOCK_CASSANDRA_HOSTS=" + s.env["PENSTOCK_CASSANDRA_HOSTS"]
	proxy, held := slowToCreate(t, s.env["PENSTOCK_CASSANDRA_HOSTS"], 4*time.Second) // cassandra.timeout is 3 s
	s.Set("PENSTOCK_CASSANDRA_HOSTS=" + proxy)
	setup(t, s)
	if !held.Load() {
		t.Error("no schema change went through the proxy")
	}
	s.Set(fast)
	wantTroubles(t, runCheck(t, s), 0)
}

// slowToCreate returns the address of a proxy to a Cassandra that holds its answers back for a while once a table is to be
// created, the first time, and whether it has.
func slowToCreate(t *testing.T, target string, hold time.Duration) (address string, held *atomic.Bool) {
	t.Helper()
	held = new(atomic.Bool)
	var until atomic.Int64 // when answers go on, in Unix nanoseconds
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	forward := func(from, to net.Conn, before func([]byte)) {
		defer from.Close()
		defer to.Close()
		for buffer := make([]byte, 64<<10); ; {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			before(buffer[:n])
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			all.Go(func() {
				forward(client, server, func(asked []byte) {
					if bytes.Contains(asked, []byte("CREATE TABLE")) && held.CompareAndSwap(false, true) {
						until.Store(time.Now().Add(hold).UnixNano())
					}
				})
			})
			all.Go(func() {
				forward(server, client, func([]byte) { _ = pause(t.Context(), time.Until(time.Unix(0, until.Load()))) })
			})
		}
	})
	return listener.Addr().String(), held
}

// lease is a row of the lease table as a plain client reads it.
type lease struct{ owner, checkpoint string }

func leases(t *testing.T, s *Site) map[string]lease {
	t.Helper()
	out, err := stacktest.Require(t).DynamoDBClient().Scan(t.Context(), &dynamodb.ScanInput{TableName: &s.Name, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]lease{}
	for _, item := range out.Items {
		text := func(name string) string {
			if v, ok := item[name].(*dynamodbtypes.AttributeValueMemberS); ok {
				return v.Value
			}
			return ""
		}
		rows[text("ShardID")] = lease{text("AssignedTo"), text("Checkpoint")}
	}
	return rows
}

func shardName(n int) string { return fmt.Sprintf("shardId-%012d", n) }

// compare compares two sequence numbers, which are decimal.
func compare(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) }

// version is an event by its order and its place in it.
type version struct {
	order  string
	number int64
}

// split reads the whole stream by a plain client and tells the events up to the checkpoints from those after them.
func split(t *testing.T, s *Site, checkpoints map[string]lease) (committed, behind []version) {
	t.Helper()
	client := s.Kinesis()
	for shard, lease := range checkpoints {
		from, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: &s.Name, ShardId: &shard,
			ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		for iterator := from.ShardIterator; ; {
			page, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: iterator})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Records {
				var event struct {
					Data struct {
						OrderID string `json:"order_id"`
						Version int64  `json:"version"`
					} `json:"data"`
				}
				if err := json.Unmarshal(r.Data, &event); err != nil {
					t.Fatal(err)
				}
				v := version{event.Data.OrderID, event.Data.Version}
				if compare(*r.SequenceNumber, lease.checkpoint) <= 0 {
					committed = append(committed, v)
				} else {
					behind = append(behind, v)
				}
			}
			if len(page.Records) == 0 && aws.ToInt64(page.MillisBehindLatest) == 0 {
				break
			}
			iterator = page.NextShardIterator
		}
	}
	return committed, behind
}

// absent returns the events that are not in the rows of both tables, by what rows say they are made of.
func absent(t *testing.T, s *Site, events []version) (missing []version) {
	t.Helper()
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, table := range []shop.Table{shop.OrderByID, shop.OrdersByCustomer} {
		there := map[version]bool{}
		rows := session.Query(fmt.Sprintf(`SELECT JSON order_id, events FROM %s.%s_g1`, s.Name, table)).IterContext(t.Context())
		var text string
		for rows.Scan(&text) {
			var row struct {
				OrderID string `json:"order_id"`
				Events  []struct {
					Version int64 `json:"version"`
				} `json:"events"`
			}
			if err := json.Unmarshal([]byte(text), &row); err != nil {
				t.Fatal(err)
			}
			for _, e := range row.Events {
				there[version{row.OrderID, e.Version}] = true
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if !there[e] {
				missing = append(missing, e)
			}
		}
	}
	return missing
}
