package viewfile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	"penstock/localstack/stacktest"
	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/sink/cassandra"
	"penstock/view"
)

// settled waits for the outcome of a record.
type settled struct {
	wait *sync.WaitGroup
	err  error
}

// Settle implements sink.Settler.
func (s *settled) Settle(err error) {
	s.err = err
	s.wait.Done()
}

// history is a drawn file with events that its view applies.
type history struct {
	view   *View
	text   string
	events []string
}

// drawAccepted draws a file until one is accepted that has events.
var drawAccepted = rapid.Custom(func(t *rapid.T) history {
	for {
		d := drawFile(t)
		v, _, err := Load("drawn.yaml", []byte(d.text))
		if err != nil {
			continue
		}
		h := history{view: v, text: d.text}
		for _, data := range drawHistory(t, v, d) {
			if result, err := v.Project(view.Record{Data: []byte(data), Arrival: goldenArrival}); err == nil && len(result.Mutations) > 0 {
				h.events = append(h.events, data)
			}
		}
		if len(h.events) > 2 {
			return h
		}
	}
})

// TestAcceptedFilesConvergeInCassandra samples what TestAcceptedFilesConverge shows of Merge: a real server has the rows
// of the history after events in another order and with repetitions.
func TestAcceptedFilesConvergeInCassandra(t *testing.T) {
	stack := stacktest.Require(t)
	for seed := range 5 {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			h := drawAccepted.Example(seed)
			session, err := cassandra.Connect(cassandra.Config{Hosts: stack.CassandraHosts, Datacenter: stack.Datacenter, Keyspace: stack.KeyspaceName(t),
				Consistency: "LOCAL_QUORUM", Timeout: 10 * time.Second, Log: zaptest.NewLogger(t)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(session.Close)
			if err := session.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, h.view, 1); err != nil {
				t.Fatalf("%v\n%s", err, h.text)
			}
			writer, err := cassandra.NewWriter(session, cassandra.WriterConfig{View: h.view, Generation: 1, Limits: adaptive.Config{Max: 8}, Log: zaptest.NewLogger(t)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(writer.Wait)

			random := rand.New(rand.NewPCG(uint64(seed), 1))
			sent := append(slices.Clone(h.events), h.events...)
			random.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
			keys := map[string]view.Mutation{}
			var wait sync.WaitGroup
			outcomes := make([]settled, len(sent))
			for i, data := range sent {
				result, err := h.view.Project(view.Record{Data: []byte(data), Arrival: goldenArrival})
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range result.Mutations {
					keys[m.RowKey()] = m
				}
				wait.Add(1)
				outcomes[i].wait = &wait
				writer.Submit(t.Context(), new(sink.Source), []sink.Write{{Mutations: result.Mutations, Record: &outcomes[i]}})
			}
			wait.Wait()
			for _, o := range outcomes {
				if o.err != nil {
					t.Fatalf("%v\n%s", o.err, h.text)
				}
			}

			got := rows{}
			for _, m := range keys {
				table := h.view.Tables()[slices.IndexFunc(h.view.Tables(), func(table view.Table) bool { return table.Name == m.Table })]
				row, ok, err := session.ReadRow(t.Context(), table, 1, m.Key)
				if err != nil || !ok {
					t.Fatalf("read back: found %t, %v", ok, err)
				}
				for _, c := range row.Cells {
					cells, place := got.cell(m, c)
					cells[place] = fmt.Sprintf("%x", c.Value.Bytes())
				}
			}
			if want := fold(t, h.view, h.events).String(); got.String() != want {
				t.Errorf("Cassandra has\n%s\nand not\n%s\nby\n%s", got, want, h.text)
			}
		})
	}
}

// TestWhatNoTypeCanSayDivergesInCassandra writes what tables of a view have no words for, each with the stamps that a view
// would give it, to a real server: what is read back is not what the events make in the order of their versions.
func TestWhatNoTypeCanSayDivergesInCassandra(t *testing.T) {
	stack := stacktest.Require(t)
	session, keyspace := stack.Session(t), stack.Keyspace(t)
	const first, second = "USING TIMESTAMP 2", "USING TIMESTAMP 3"
	tests := []struct {
		name, column string
		written      []string // as they are applied
		inOrder      string   // what the events make in the order of their versions, each once
	}{
		{"counter", "counter", []string{"UPDATE %s SET c = c + 1 WHERE k = 0", "UPDATE %s SET c = c + 1 WHERE k = 0"}, "1"},
		{"list", "list<text>", []string{"UPDATE %s " + second + " SET c = c + ['b'] WHERE k = 0", "UPDATE %s " + first + " SET c = c + ['a'] WHERE k = 0"},
			`["a", "b"]`},
		{"frozen_set", "frozen<set<text>>", []string{"UPDATE %s " + first + " SET c = {'a'} WHERE k = 0", "UPDATE %s " + second + " SET c = {'b'} WHERE k = 0"},
			`["a", "b"]`},
		{"deleted", "text", []string{"UPDATE %s USING TIMESTAMP 1 SET c = 'a' WHERE k = 0", "DELETE c FROM %s " + second + " WHERE k = 0",
			"UPDATE %s USING TIMESTAMP 1 SET c = 'b' WHERE k = 0"}, `"b"`}, // a write-once cell has the stamp of the birth
		{"null", "text", []string{"UPDATE %s USING TIMESTAMP 1 SET c = 'a' WHERE k = 0", "UPDATE %s " + second + " SET c = null WHERE k = 0",
			"UPDATE %s USING TIMESTAMP 1 SET c = 'b' WHERE k = 0"}, `"b"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			table := keyspace + ".t_" + test.name
			statements := append([]string{"CREATE TABLE %s (k int PRIMARY KEY, c " + test.column + ")"}, test.written...)
			for _, statement := range statements {
				if err := session.Query(fmt.Sprintf(statement, table)).ExecContext(t.Context()); err != nil {
					t.Fatalf("%s: %v", statement, err)
				}
			}
			var got *string
			err := session.Query(fmt.Sprintf("SELECT toJson(c) FROM %s WHERE k = 0", table)).ScanContext(t.Context(), &got)
			if err != nil && !errors.Is(err, gocql.ErrNotFound) {
				t.Fatal(err)
			}
			if got != nil && *got == test.inOrder {
				t.Errorf("nothing diverges: %s", *got)
			}
		})
	}
}
