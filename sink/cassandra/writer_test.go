package cassandra

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	"penstock/localstack/stacktest"
	"penstock/order"
	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/view"
	"penstock/view/viewtest"
)

// kitchenView has one table with a column of every kind. Nothing is ever projected with it.
type kitchenView struct{ revision string }

func (kitchenView) Name() string                             { return "kitchen" }
func (v kitchenView) Revision() string                       { return v.revision }
func (kitchenView) Tables() []view.Table                     { return []view.Table{viewtest.Kitchen} }
func (kitchenView) Project(view.Record) (view.Result, error) { return view.Result{}, nil }

func connect(t *testing.T, s stacktest.Stack, keyspace string) *Session {
	t.Helper()
	session, err := Connect(Config{
		Hosts: s.CassandraHosts, Datacenter: s.Datacenter, Keyspace: keyspace, Consistency: "LOCAL_QUORUM",
		Timeout: 10 * time.Second, Log: zaptest.NewLogger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	return session
}

func newTestWriter(t *testing.T, session *Session, v view.View) *Writer {
	t.Helper()
	w, err := NewWriter(session, WriterConfig{View: v, Generation: 1, Limits: adaptive.Config{Max: 16}, Log: zap.Must(zap.NewDevelopment())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Wait)
	return w
}

// apply submits mutations, each as a record of its own, and returns what each was settled with.
func apply(w *Writer, ctx context.Context, mutations []view.Mutation) []error {
	outcomes := make([]awaited, len(mutations))
	var settled sync.WaitGroup
	settled.Add(len(mutations))
	writes := make([]sink.Write, len(mutations))
	for i, m := range mutations {
		outcomes[i].settled = &settled
		writes[i] = sink.Write{Mutations: []view.Mutation{m}, Record: &outcomes[i]}
	}
	w.Submit(ctx, new(sink.Source), writes)
	settled.Wait()
	errs := make([]error, len(mutations))
	for i := range outcomes {
		errs[i] = outcomes[i].err
	}
	return errs
}

// awaited is a record's outcome that a test waits for.
type awaited struct {
	settled *sync.WaitGroup
	err     error
}

// Settle implements sink.Settler.
func (a *awaited) Settle(err error) {
	a.err = err
	a.settled.Done()
}

// What Cassandra returns after random mutations in random order, with repetition and in groups of any size, is what
// Merge says.
func TestCassandraMergesAsViewDoes(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.KeyspaceName(t))
	if err := session.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, kitchenView{"1"}, 1); err != nil {
		t.Fatal(err)
	}
	writer := newTestWriter(t, session, kitchenView{"1"})
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		mutations := viewtest.Mutations(rt, viewtest.Kitchen)
		want := map[string]view.Row{}
		for i := range mutations {
			m := &mutations[i]
			key := append([]view.Value{view.TextValue(fmt.Sprintf("%d/%s", round, m.Key[0].Text()))}, m.Key[1:]...)
			m.Key = key
			row := want[m.RowKey()]
			row.Key, row.Cells = key, view.Merge(row.Cells, m.Cells)
			want[m.RowKey()] = row
		}
		sent := append(append([]view.Mutation(nil), mutations...), mutations[:len(mutations)/2]...)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "order"), 0))
		random.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
		for len(sent) > 0 {
			n := 1 + random.IntN(len(sent))
			if err := errors.Join(apply(writer, t.Context(), sent[:n])...); err != nil {
				rt.Fatal(err)
			}
			sent = sent[n:]
		}
		for _, row := range want {
			got, ok, err := session.ReadRow(t.Context(), viewtest.Kitchen, 1, row.Key)
			if err != nil || !ok {
				rt.Fatalf("read back: found %v, %v", ok, err)
			}
			stamped, _, err := session.ReadStampedRow(t.Context(), viewtest.Kitchen, 1, row.Key)
			if err != nil {
				rt.Fatal(err)
			}
			same := cmp.Comparer(func(a, b view.Value) bool { return a == b })
			for i, c := range row.Cells {
				if slices.ContainsFunc(viewtest.Kitchen.AllColumns(), func(k view.Column) bool { return k.Name == c.Column && k.Type.IsCollection() }) {
					row.Cells[i].Stamp = 0
				}
			}
			if d := cmp.Diff(row.Cells, stamped.Cells, same); d != "" {
				rt.Fatalf("Cassandra's stamps are not Merge's (-merge +cassandra):\n%s", d)
			}
			for i := range row.Cells {
				row.Cells[i].Stamp = 0
			}
			if d := cmp.Diff(row.Cells, got.Cells, same); d != "" {
				rt.Fatalf("Cassandra's row is not Merge's (-merge +cassandra):\n%s", d)
			}
		}
	})
}

func TestSetupIsRepeatableAndRefusesAnotherRevision(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.KeyspaceName(t))
	ctx := t.Context()
	if err := session.CheckSchema(ctx, kitchenView{"1"}, 1); err == nil || !strings.Contains(err.Error(), "the keyspace does not exist") {
		t.Errorf("check before setup: %v", err)
	}
	for range 2 {
		if err := session.Setup(ctx, stack.Datacenter, stack.ReplicationFactor, kitchenView{"1"}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := session.CheckRevision(ctx, kitchenView{"1"}, 1); err != nil {
		t.Error(err)
	}
	for name, refused := range map[string]error{
		"run":                  session.CheckRevision(ctx, kitchenView{"2"}, 1),
		"setup":                session.Setup(ctx, stack.Datacenter, stack.ReplicationFactor, kitchenView{"2"}, 1),
		"generation not built": session.CheckRevision(ctx, kitchenView{"1"}, 2),
	} {
		if _, ok := errors.AsType[*RevisionError](refused); !ok || sink.DispositionOf(refused) != sink.Fatal {
			t.Errorf("%s: %v, want a fatal revision error", name, refused)
		}
	}
	if err := session.Setup(ctx, stack.Datacenter, stack.ReplicationFactor, kitchenView{"2"}, 2); err != nil {
		t.Errorf("a second generation with its own revision: %v", err)
	}
}

func TestEveryDifferenceOfTheSchemaIsNamed(t *testing.T) {
	stack := stacktest.Require(t)
	keyspace := stack.KeyspaceName(t)
	session := connect(t, stack, keyspace)
	if err := session.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, order.View{}, 1); err != nil {
		t.Fatal(err)
	}
	raw := stack.Session(t)
	for _, cql := range []string{
		"ALTER TABLE %s.order_by_id_g1 DROP units",
		"ALTER TABLE %s.order_by_id_g1 DROP currency",
		"ALTER TABLE %s.order_by_id_g1 ADD currency blob",
		"ALTER TABLE %s.order_by_id_g1 ADD not_ours text",
		"ALTER TYPE %s.payment_g1 ADD extra int",
		"DROP TABLE %s.orders_by_customer_g1",
	} {
		if err := raw.Query(fmt.Sprintf(cql, keyspace)).Exec(); err != nil {
			t.Skipf("%s: %v", cql, err)
		}
	}
	err := session.CheckSchema(t.Context(), order.View{}, 1)
	failed, ok := errors.AsType[*SchemaError](err)
	if !ok {
		t.Fatalf("%v, want a schema error", err)
	}
	for _, want := range []string{"column units (int) is missing", "column currency is blob, the view has text",
		"type payment_g1 is", "table orders_by_customer_g1 is missing", "build a new generation: projector setup --generation 2"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, failed)
		}
	}
	if strings.Contains(err.Error(), "not_ours") {
		t.Errorf("a column the view does not know is no difference: %v", err)
	}
}

// A record that Cassandra refuses is found out among those it was sent with, and is the only one refused.
func TestOnlyTheGuiltyRecordIsRefused(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.KeyspaceName(t))
	stock := viewtest.Stock{}
	if err := session.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, stock, 1); err != nil {
		t.Fatal(err)
	}
	writer := newTestWriter(t, session, stock)
	table := stock.Tables()[0]
	var mutations []view.Mutation
	for i := range 10 {
		onHand := view.IntValue(int32(i))
		if i == 4 {
			onHand = view.TextValue("three bytes too many") // not an int: the server refuses the statement
		}
		mutations = append(mutations, view.Mutation{
			Table: table.Name,
			Key:   []view.Value{view.TextValue("w"), view.TextValue(fmt.Sprintf("sku-%d", i))},
			Cells: []view.Cell{{Column: "on_hand", Value: onHand, Stamp: 7}},
		})
	}
	for i, err := range apply(writer, t.Context(), mutations) {
		p, poison := view.AsPoison(err)
		if i == 4 {
			if !poison || p.Stage != view.StageWrite || p.Code != view.CodeRejected {
				t.Errorf("the guilty record: %v, want poison", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

// What Cassandra refuses of every record is no record's fault, whatever it calls it: nothing is parked, and the write is
// repeated until it gets through or its time is up.
func TestARefusalOfEverythingBlamesNobody(t *testing.T) {
	stack := stacktest.Require(t)
	keyspace := stack.KeyspaceName(t)
	session := connect(t, stack, keyspace)
	stock := viewtest.Stock{}
	if err := session.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, stock, 1); err != nil {
		t.Fatal(err)
	}
	over := errors.New("tried often enough")
	ctx, stop := context.WithCancelCause(t.Context())
	var attempts atomic.Int64
	writer, err := NewWriter(session, WriterConfig{View: stock, Generation: 1, Limits: adaptive.Config{Max: 4}, Log: zap.NewNop(),
		Observe: func(string, time.Duration, error) {
			if attempts.Add(1) == 12 {
				stop(over)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	// The schema is as it should be, and yet the statement is invalid: as when a coordinator has not learnt of a column.
	table := writer.tables["stock"]
	table.updateCQL = strings.Replace(table.updateCQL, `"reserved" = ?`, `"not_learnt_of_yet" = ?`, 1)
	mutation := view.Mutation{
		Table: "stock",
		Key:   []view.Value{view.TextValue("w"), view.TextValue("s")},
		Cells: []view.Cell{{Column: "on_hand", Value: view.IntValue(1), Stamp: 7}},
	}
	if err := apply(writer, ctx, []view.Mutation{mutation})[0]; !errors.Is(err, over) {
		t.Errorf("%v, want the end of the context", err)
	}
}

// A key that can be no row's is the record's fault, though nothing gets through to such a row.
func TestARecordWithAnImpossibleKeyIsRefused(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.KeyspaceName(t))
	stock := viewtest.Stock{}
	if err := session.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, stock, 1); err != nil {
		t.Fatal(err)
	}
	writer := newTestWriter(t, session, stock)
	for name, key := range map[string][]view.Value{
		"empty":           {view.TextValue(""), view.TextValue("s")},
		"too long":        {view.TextValue(strings.Repeat("w", 70_000)), view.TextValue("s")},
		"clustering long": {view.TextValue("w"), view.TextValue(strings.Repeat("s", 70_000))},
		"not UTF-8":       {view.TextValue("w\xff"), view.TextValue("s")},
	} {
		err := apply(writer, t.Context(), []view.Mutation{{Table: "stock", Key: key,
			Cells: []view.Cell{{Column: "on_hand", Value: view.IntValue(1), Stamp: 7}}}})[0]
		if p, ok := view.AsPoison(err); !ok || p.Code != view.CodeRejected || !strings.Contains(err.Error(), "key") {
			t.Errorf("%s: %v, want poison that names the key", name, err)
		}
	}
}

// A table that disappears is no record's fault: nothing is refused as poison.
func TestAMissingTableIsFatal(t *testing.T) {
	stack := stacktest.Require(t)
	keyspace := stack.KeyspaceName(t)
	session := connect(t, stack, keyspace)
	stock := viewtest.Stock{}
	if err := session.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, stock, 1); err != nil {
		t.Fatal(err)
	}
	writer := newTestWriter(t, session, stock)
	mutation := view.Mutation{
		Table: "stock",
		Key:   []view.Value{view.TextValue("w"), view.TextValue("s")},
		Cells: []view.Cell{{Column: "on_hand", Value: view.IntValue(1), Stamp: 7}},
	}
	if err := stack.Session(t).Query(fmt.Sprintf("DROP TABLE %s.stock_g1", keyspace)).Exec(); err != nil {
		t.Fatal(err)
	}
	err := apply(writer, t.Context(), []view.Mutation{mutation})[0]
	if sink.DispositionOf(err) != sink.Fatal || !strings.Contains(err.Error(), "table stock_g1 is missing: run projector setup") {
		t.Errorf("%v, want a fatal error that names the table", err)
	}
}

// The writer relies on the driver's showing a policy the context that a statement is executed with: pinned to a host
// that the cluster does not have, nothing gets through, and pinned to one that it has, everything does.
func TestTheDriverAsksThePolicyWithTheStatementsContext(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.Keyspace(t))
	here := pin(t.Context(), session.router.ring.Load().hosts[0])
	nowhere := pin(t.Context(), absentHost{})
	const cql = "SELECT release_version FROM system.local"
	for name, execute := range map[string]func(context.Context) error{
		"query": func(ctx context.Context) error { return session.driver.Query(cql).ExecContext(ctx) },
		"batch": func(ctx context.Context) error { return session.driver.Batch(gocql.UnloggedBatch).ExecContext(ctx) },
	} {
		if err := execute(here); err != nil {
			t.Errorf("a %s pinned to a host: %v", name, err)
		}
		if err := execute(nowhere); !errors.Is(err, gocql.ErrNoConnections) {
			t.Errorf("a %s pinned to no host: %v, want %v", name, err, gocql.ErrNoConnections)
		}
		if err := execute(t.Context()); err != nil {
			t.Errorf("a %s that is not pinned: %v", name, err)
		}
	}
}

// absentHost is a host that the driver has no connection to.
type absentHost struct{}

func (absentHost) Info() *gocql.HostInfo { return &gocql.HostInfo{} }
func (absentHost) Mark(error)            {}

// A request that is as full as the writer makes them is no batch that the server warns of: such warnings would fill its
// log and hide those that matter. The driver does not show them for writes (v2.1.2), so the test reads the frames.
func TestTheServerDoesNotWarnOfFullRequests(t *testing.T) {
	stack := stacktest.Require(t)
	keyspace := stack.Keyspace(t)
	stock := viewtest.Stock{}
	if err := connect(t, stack, keyspace).Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, stock, 1); err != nil {
		t.Fatal(err)
	}
	var warnings atomic.Int64
	cluster := gocql.NewCluster(stack.CassandraHosts...)
	cluster.ProtoVersion = 4 // frames as they are, without the checksums of version 5
	cluster.Dialer = listening{&warnings}
	driver, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	defer driver.Close()
	w := &worker{Writer: newTestWriter(t, &Session{keyspace: keyspace, driver: driver}, stock)}

	row := func(name string, bytes int) *view.Mutation {
		m := &view.Mutation{Table: "stock", Key: []view.Value{view.TextValue(name), view.TextValue("s")},
			Cells: []view.Cell{{Column: "on_hand", Value: view.IntValue(1), Stamp: 7}, {Column: view.LastEventColumn, Stamp: 8}}}
		ref := func(text string) view.Value {
			return view.EventRef(view.Event{EntityVersion: 1, Type: text, Time: time.UnixMilli(0), ID: "1"})
		}
		m.Cells[1].Value = ref("")
		m.Cells[1].Value = ref(strings.Repeat("x", max(0, bytes-m.Size())))
		return m
	}
	for _, c := range []struct {
		name        string
		rows, bytes int
		warned      bool
	}{
		{"as many rows as may be", maxRequestMutations, 0, false},
		{"as many bytes as may be", 4, maxRequestBytes / 4, false},
		{"one row more", maxRequestMutations + 1, 0, true},
		{"many more bytes", 4, maxRequestBytes / 2, true},
	} {
		before := warnings.Load()
		r := &request{}
		for i := range min(c.rows, maxRequestMutations) {
			r.parts = append(r.parts, part{mutation: row(fmt.Sprint(c.name, i), c.bytes), table: w.tables["stock"]})
		}
		sent := r.statements(nil)
		if c.rows > len(r.parts) {
			extra := row(c.name+" extra", c.bytes)
			sent = statements(sent, w.tables["stock"], extra.Key, extra.Cells)
		}
		batch, err := w.batch(sent)
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.ExecContext(t.Context()); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		w.bound.reset()
		if warned := warnings.Load() > before; warned != c.warned {
			t.Errorf("%s: the server warned: %t, want %t", c.name, warned, c.warned)
		}
	}
}

// listening dials connections that count the server's warnings.
type listening struct{ warnings *atomic.Int64 }

func (l listening) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return &heardConn{Conn: conn, warnings: l.warnings}, err
}

type heardConn struct {
	net.Conn
	warnings *atomic.Int64
	header   []byte // of the frame that is coming in
	body     int    // bytes of it that are still to come
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		if skip := min(c.body, len(rest)); skip > 0 {
			c.body, rest = c.body-skip, rest[skip:]
			continue
		}
		c.header, rest = append(c.header, rest[0]), rest[1:]
		if len(c.header) == 9 { // version, flags, stream in two bytes, opcode, length in four
			if c.header[1]&0x08 != 0 {
				c.warnings.Add(1)
			}
			c.body, c.header = int(binary.BigEndian.Uint32(c.header[5:])), nil
		}
	}
	return n, err
}

// Once the context has ended nothing is sent, and everything is settled with its cause.
func TestNothingIsSentOnceTheContextHasEnded(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.KeyspaceName(t))
	var attempts atomic.Int64
	writer, err := NewWriter(session, WriterConfig{View: viewtest.Stock{}, Generation: 1, Limits: adaptive.Config{Max: 1}, Log: zaptest.NewLogger(t),
		Observe: func(string, time.Duration, error) { attempts.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("lease lost")
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(lost)
	mutations := make([]view.Mutation, 50)
	for i := range mutations {
		mutations[i] = view.Mutation{Table: "stock", Key: []view.Value{view.TextValue(fmt.Sprint(i)), view.TextValue("s")},
			Cells: []view.Cell{{Column: "on_hand", Value: view.IntValue(1), Stamp: 7}}}
	}
	for name, ctx := range map[string]context.Context{"cancelled": cancelled, "known to be over": over{t.Context(), lost}} {
		for _, err := range apply(writer, ctx, mutations) {
			if !errors.Is(err, lost) {
				t.Errorf("%s: settled with %v, want the cause", name, err)
			}
		}
	}
	writer.Wait()
	if n := attempts.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// over is a context that knows that it has ended before anybody cancelled it.
type over struct {
	context.Context
	err error
}

func (o over) Err() error { return o.err }
