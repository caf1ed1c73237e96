package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/localstack"
	"penstock/localstack/shop"
	"penstock/localstack/stacktest"
)

// Every way in which an event can be damaged leads to a letter with the code that is expected of it, and to nothing else.
func TestEveryDamageIsParkedWithItsCode(t *testing.T) {
	t.Parallel()
	s := site(t, 2, nil, "PENSTOCK_DEAD_LETTERS_BREAKER_PERCENT=100")
	setup(t, s)
	generator := orders(t, 400, 11, 0.25)
	want := map[string]string{}
	seen := map[shop.Damage]bool{}
	for e := range generator.Events() {
		if e.Damage != "" {
			want[string(e.Payload)] = string(e.Damage.Code())
			seen[e.Damage] = true
		}
	}
	for _, damage := range shop.Damages() {
		if !seen[damage] {
			t.Errorf("the run has no event with damage %s", damage)
		}
	}
	oracle := seed(t, s, generator, 0)
	ctx := within(t, time.Minute, "every damage")
	fleet := &Fleet{Site: s, Shards: 2}
	defer fleet.Kill()
	if _, err := fleet.Start(ctx, "only"); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	check(t, s, oracle)
	for letter, err := range s.Letters(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if code := want[string(letter.Payload)]; letter.Code != code || !strings.Contains(letter.Key, "/"+code+"/") {
			t.Errorf("letter %s has code %s, want %s: %s", letter.Key, letter.Code, code, letter.Message)
		}
	}
}

// A record of the largest size that a stream takes by default is applied like any other.
func TestARecordOfOneMebibyteIsApplied(t *testing.T) {
	t.Parallel()
	s := site(t, 1, nil)
	setup(t, s)
	now := time.Now().UTC().Format(time.RFC3339Nano)
	event := func(filler string) []byte {
		return fmt.Appendf(nil, `{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.placed.v1","time":%q,"data":{`+
			`"order_id":"0f9a5d1e-0000-4000-8000-000000000001","customer_id":"c-1","placed_at":%q,"version":1,"currency":"EUR",`+
			`"lines":[{"line_id":"1","sku":"TEA","name":%q,"quantity":2,"unit_price_minor":999}]}}`, now, now, filler)
	}
	const key, limit = "k", 1 << 20
	data := event(strings.Repeat("x", limit-len(key)-len(event(""))))
	if _, err := s.Kinesis().PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: &s.Name, PartitionKey: aws.String(key), Data: data}); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, time.Minute, "the large record")
	fleet := &Fleet{Site: s, Shards: 1}
	defer fleet.Kill()
	if _, err := fleet.Start(ctx, "only"); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return scrapes[0].Applied == 1 }); err != nil {
		t.Fatal(err)
	}
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, table := range []shop.Table{shop.OrderByID, shop.OrdersByCustomer} {
		var row string
		if err := session.Query(fmt.Sprintf(selectRows, s.Name, table)).Scan(&row); err != nil || len(row) < limit-len(event(""))-1 {
			t.Errorf("%s: a row of %d bytes, %v", table, len(row), err)
		}
	}
}

// What an operator has to change is said in a sentence, with the exit code that goes with it.
func TestWhatIsAbsentIsNamed(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	for name, test := range map[string]struct {
		shards  int
		prepare func(*testing.T, *Site)
		code    int
		says    []string
	}{
		"stream":      {0, setup, 1, []string{"describe stream", "not found", "Penstock creates no streams"}},
		"lease table": {1, func(*testing.T, *Site) {}, 1, []string{"DynamoDB table", "does not exist", "projector setup"}},
		"keyspace": {1, func(t *testing.T, s *Site) {
			setup(t, s)
			execute(t, s, "DROP KEYSPACE %s")
		}, 1, []string{"keyspace", "does not exist", "projector setup"}},
		"table": {1, func(t *testing.T, s *Site) {
			setup(t, s)
			execute(t, s, "DROP TABLE %s.orders_by_customer_g1")
		}, 1, []string{"table orders_by_customer_g1 is missing", "projector setup"}},
		"revision": {1, func(t *testing.T, s *Site) {
			setup(t, s)
			execute(t, s, "UPDATE %s.view_state SET revisions[1] = 'order/0' WHERE name = 'order' IF EXISTS")
		}, 6, []string{"generation 1", "holds revision order/0", "writes order/1"}},
		"bucket": {1, func(t *testing.T, s *Site) {
			setup(t, s)
			s.Set("PENSTOCK_DEAD_LETTERS_BUCKET=nobodys-bucket")
		}, 1, []string{"nobodys-bucket", "dead_letters.bucket"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := site(t, test.shards, nil)
			test.prepare(t, s)
			ctx := within(t, time.Minute, "the end of the daemon")
			_, err := s.Projector(ctx, "run")
			if err == nil {
				t.Fatal("the daemon ended well")
			}
			if want := fmt.Sprintf("exit status %d", test.code); !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
			for _, want := range test.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not said in: %v", want, err)
				}
			}
		})
	}
}

func execute(t *testing.T, s *Site, cql string) {
	t.Helper()
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Query(fmt.Sprintf(cql, s.Name)).Exec(); err != nil {
		t.Fatal(err)
	}
}

// The tests below break servers, so they have stacks of their own: those that take longest have one each.

// breakable starts a stack without a stream.
func breakable(t *testing.T) *localstack.Stack {
	t.Helper()
	stacktest.Require(t) // the whole of these tests belongs to make test
	config := localstack.Everything()
	config.Stream = ""
	return stacktest.Start(t, config)
}

func TestServersBreak(t *testing.T) {
	t.Parallel()
	stack := breakable(t)
	for name, test := range map[string]func(*testing.T, *localstack.Stack){
		"cassandra is down at start":                     cassandraDownAtStart,
		"cassandra is killed and restarted":              cassandraRestarts,
		"dynamodb is down for longer than a lease":       dynamoDBDown,
		"s3 is down when a poison record comes":          s3Down,
		"second SIGTERM while cassandra does not answer": secondSignal,
	} {
		t.Run(name, func(t *testing.T) { test(t, stack) })
	}
}

func cassandraDownAtStart(t *testing.T, stack *localstack.Stack) {
	s := site(t, 2, stack.Env())
	setup(t, s)
	oracle := seed(t, s, orders(t, 100, 1, 0.02), 0)
	cassandra := stack.Cassandra()[0]
	if err := cassandra.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 3*time.Minute, "cassandra down at start")
	fleet := &Fleet{Site: s, Shards: 2}
	defer fleet.Kill()
	d, err := fleet.Start(ctx, "only")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Await(ctx, func(e Entry) bool { return e.Message == "waiting for cassandra" && e.Error != "" }); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]int{"/livez": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/metrics": http.StatusOK} {
		if status, body, err := d.Get(ctx, path); err != nil || status != want {
			t.Errorf("%s: %d %s %v, want %d", path, status, body, err, want)
		}
	}
	if err := cassandra.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	finish(t, ctx, fleet, oracle)
}

// With Cassandra frozen in the middle of a backlog the daemon keeps no more in memory than it promises, parks nothing,
// and catches up afterwards.
func TestCassandraFreezesForAMinute(t *testing.T) {
	t.Parallel()
	stack := breakable(t)
	const inFlight = 32 << 20
	s := site(t, 4, stack.Env(), "PENSTOCK_PRESSURE_IN_FLIGHT=32MiB")
	setup(t, s)
	oracle := seed(t, s, orders(t, 8000, 2, 0), 0)
	ctx := within(t, 5*time.Minute, "cassandra frozen")
	fleet := &Fleet{Site: s, Shards: 4}
	defer fleet.Kill()
	d, err := fleet.Start(ctx, "only")
	if err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return scrapes[0].Applied > 2000 }); err != nil {
		t.Fatal(err)
	}
	cassandra := stack.Cassandra()[0]
	if err := cassandra.Freeze(); err != nil {
		t.Fatal(err)
	}
	kept := watchMemory(ctx, t, d, inFlight)
	err = pause(ctx, time.Minute) // the length of the fault
	if thawed := cassandra.Thaw(); err != nil || thawed != nil {
		t.Fatal(err, thawed)
	}
	scrapes, err := fleet.Scrape(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("frozen for a minute with %d records in flight, budget in use %d MiB", scrapes[0].InFlight, scrapes[0].Budget>>20)
	finish(t, ctx, fleet, oracle)
	kept()
}

// watchMemory looks at what a daemon holds until the returned function is called, which wants it to have kept to what it
// promises for so many bytes in flight.
func watchMemory(ctx context.Context, t *testing.T, d *Daemon, inFlight int64) (kept func()) {
	sampling, stop := context.WithCancel(ctx)
	var sampler sync.WaitGroup
	var most int64
	sampler.Go(func() {
		for pause(sampling, 100*time.Millisecond) == nil {
			most = max(most, resident(t, d.PID()))
		}
	})
	return func() {
		t.Helper()
		stop()
		sampler.Wait()
		t.Logf("memory: at most %d MiB resident, allowed 2 × %d + 64 MiB", most>>20, inFlight>>20)
		if most > 2*inFlight+64<<20 {
			t.Errorf("%d MiB resident", most>>20)
		}
	}
}

// resident returns the resident set of a process in bytes.
func resident(t *testing.T, pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // it has ended
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				t.Error(err)
			}
			return kib << 10
		}
	}
	return 0
}

func cassandraRestarts(t *testing.T, stack *localstack.Stack) {
	s := site(t, 2, stack.Env())
	setup(t, s)
	oracle := seed(t, s, orders(t, 2000, 3, 0.01), 0)
	ctx := within(t, 3*time.Minute, "cassandra killed and restarted")
	fleet := &Fleet{Site: s, Shards: 2}
	defer fleet.Kill()
	if _, err := fleet.Start(ctx, "only"); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return scrapes[0].Applied > 1000 }); err != nil {
		t.Fatal(err)
	}
	cassandra := stack.Cassandra()[0]
	if err := cassandra.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cassandra.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	finish(t, ctx, fleet, oracle)
}

// Without DynamoDB no lease can be renewed: the daemon stops applying at the fence, and goes on by itself afterwards.
func dynamoDBDown(t *testing.T, stack *localstack.Stack) {
	s := site(t, 2, stack.Env(), "PENSTOCK_LEASES_FAILOVER=3s")
	setup(t, s)
	ctx := within(t, 2*time.Minute, "dynamodb down")
	fleet := balanced(t, ctx, s, 2, "only")
	d := fleet.Running()[0]
	down := time.Now()
	if err := stack.DynamoDB().Freeze(); err != nil {
		t.Fatal(err)
	}
	lost, err := d.Await(ctx, func(e Entry) bool { return e.Message == "lease lost" })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("fenced %.1f s after DynamoDB froze, failover 3 s", lost.Time.Sub(down).Seconds())
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return len(scrapes[0].Lag) == 0 }); err != nil {
		t.Fatal(err)
	}
	// What comes now must wait: nobody may apply it.
	oracle := seed(t, s, orders(t, 100, 4, 0.02), 0)
	before, err := d.Scrape(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := pause(ctx, 4*time.Second); err != nil { // the length of the fault: longer than a lease
		t.Fatal(err)
	}
	after, err := d.Scrape(ctx)
	if err != nil || after.Applied != before.Applied {
		t.Errorf("applied %d records without a lease, %v", after.Applied-before.Applied, err)
	}
	if err := stack.DynamoDB().Thaw(); err != nil {
		t.Fatal(err)
	}
	finish(t, ctx, fleet, oracle)
}

// With S3 down the shard of a poison record stands still, and only that one.
func s3Down(t *testing.T, stack *localstack.Stack) {
	s := site(t, 2, stack.Env())
	setup(t, s)
	ctx := within(t, 2*time.Minute, "s3 down")
	fleet := balanced(t, ctx, s, 2, "only")
	d := fleet.Running()[0]
	stack.S3().Interrupt()
	put := func(hashKey, data string) {
		t.Helper()
		if _, err := s.Kinesis().PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &s.Name, PartitionKey: aws.String("k"),
			ExplicitHashKey: aws.String(hashKey), Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	const first, second = "0", "340282366920938463463374607431768211455" // the ends of the ring: one in each shard
	placed := func(order int) string {
		now := time.Now().UTC().Format(time.RFC3339Nano)
		return fmt.Sprintf(`{"specversion":"1.0","id":"e-%d","source":"/shop","type":"order.placed.v1","time":%q,"data":{`+
			`"order_id":"0f9a5d1e-0000-4000-8000-%012d","customer_id":"c-1","placed_at":%q,"version":1,"currency":"EUR",`+
			`"lines":[{"line_id":"1","sku":"TEA","name":"Tea","quantity":2,"unit_price_minor":999}]}}`, order, now, order, now)
	}
	put(first, "poison")
	if _, err := d.Await(ctx, func(e Entry) bool { return strings.HasPrefix(e.Message, "dead letter") && e.Level != "info" }); err != nil {
		t.Fatal(err)
	}
	put(first, placed(1)) // must wait behind the poison record
	put(second, placed(2))
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return scrapes[0].Applied == 1 }); err != nil {
		t.Fatal(err)
	}
	if scrape, err := d.Scrape(ctx); err != nil || scrape.Parked != 0 || scrape.InFlight != 1 {
		t.Errorf("while S3 is down: %+v, %v", scrape, err)
	}
	if err := stack.S3().Resume(); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return scrapes[0].Applied == 2 && scrapes[0].Parked == 1 }); err != nil {
		t.Fatal(err)
	}
	letters := 0
	for letter, err := range s.Letters(ctx) {
		if err != nil || string(letter.Payload) != "poison" || letter.Code != "bad_json" {
			t.Errorf("letter %+v, %v", letter, err)
		}
		letters++
	}
	if letters != 1 {
		t.Errorf("%d letters, want 1", letters)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// A drain that cannot end is cut short by a second signal: the exit code says so, and the next daemon applies the rest.
func secondSignal(t *testing.T, stack *localstack.Stack) {
	s := site(t, 2, stack.Env(), "PENSTOCK_DRAIN_TIMEOUT=5m")
	setup(t, s)
	oracle := seed(t, s, orders(t, 500, 5, 0.02), 0)
	ctx := within(t, 2*time.Minute, "second SIGTERM")
	cassandra := stack.Cassandra()[0]
	fleet := &Fleet{Site: s, Shards: 2}
	defer fleet.Kill()
	d, err := fleet.Start(ctx, "stuck")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Await(ctx, func(e Entry) bool { return e.Message == "shard starts" }); err != nil {
		t.Fatal(err)
	}
	if err := cassandra.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := d.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Await(ctx, func(e Entry) bool { return e.Message == "draining" }); err != nil {
		t.Fatal(err)
	}
	if err := d.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code, err := d.Exit(ctx)
	if thawed := cassandra.Thaw(); thawed != nil {
		t.Fatal(thawed)
	}
	if err != nil || code != 8 {
		t.Errorf("exit code %d, %v, want 8", code, err)
	}
	again := &Fleet{Site: s, Shards: 2}
	defer again.Kill()
	if _, err := again.Start(ctx, "next"); err != nil {
		t.Fatal(err)
	}
	finish(t, ctx, again, oracle)
}

// finish waits until everything is settled, stops the fleet and compares.
func finish(t *testing.T, ctx context.Context, fleet *Fleet, oracle *shop.Oracle) {
	t.Helper()
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	check(t, fleet.Site, oracle)
}
