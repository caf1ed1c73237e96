package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"penstock/localstack/shop"
	"penstock/view/viewtest"
)

// workload is the events of one view and what must become of them.
type workload interface {
	view() string
	records() int // that put sends, at least
	put(ctx context.Context, s *Site, perSecond float64) error
	check(t *testing.T, s *Site) (summary string) // after put
}

// orderWorkload is generated orders, some of them damaged, and their oracle.
type orderWorkload struct {
	generator *shop.Shop
	seeded    shop.Seeded
}

func newOrderWorkload(t *testing.T, orderCount int, seed uint64, damaged float64) *orderWorkload {
	return &orderWorkload{generator: orders(t, orderCount, seed, damaged)}
}

func (*orderWorkload) view() string { return "order" }

func (w *orderWorkload) records() int {
	n := 0
	for range w.generator.Events() {
		n++
	}
	return n
}

func (w *orderWorkload) put(ctx context.Context, s *Site, perSecond float64) (err error) {
	w.seeded, err = shop.Seed(ctx, s.Kinesis(), s.Name, w.generator.Events(), shop.Options{Rate: perSecond})
	return err
}

func (w *orderWorkload) check(t *testing.T, s *Site) string {
	r := check(t, s, shop.NewOracle(w.generator.Events(), w.seeded.Acknowledged))
	return fmt.Sprintf("events=%d applied=%d parked=%d lost=%d mismatched=%d", r.Events, r.Applied, r.Parked, r.Lost, r.Mismatched)
}

// stockWorkload is the test view's own: another table, another provenance, other stamps.
type stockWorkload struct {
	events []viewtest.StockRecord
	rows   []viewtest.StockRow
}

func newStockWorkload(seed uint64, n int) *stockWorkload {
	events, rows := viewtest.StockEvents(seed, n)
	return &stockWorkload{events, rows}
}

func (*stockWorkload) view() string { return viewtest.Stock{}.Name() }

func (w *stockWorkload) records() int { return len(w.events) }

func (w *stockWorkload) put(ctx context.Context, s *Site, perSecond float64) error {
	limiter := rate.NewLimiter(rate.Limit(perSecond), 500)
	for events := range slices.Chunk(w.events, 250) {
		if err := limiter.WaitN(ctx, len(events)); err != nil {
			return err
		}
		in := &kinesis.PutRecordsInput{StreamName: &s.Name}
		for _, e := range events {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: e.Data, PartitionKey: &e.PartitionKey})
		}
		out, err := s.Kinesis().PutRecords(ctx, in)
		if err != nil {
			return err
		}
		if *out.FailedRecordCount > 0 {
			return errors.New("the emulator refused records without being asked to")
		}
	}
	return nil
}

func (w *stockWorkload) check(t *testing.T, s *Site) string {
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var got []viewtest.StockRow
	for text, err := range s.rows(t.Context(), session, "stock") {
		if err != nil {
			t.Fatal(err)
		}
		row, err := viewtest.DecodeStockRow(string(text))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, row)
	}
	slices.SortFunc(got, func(a, b viewtest.StockRow) int { return strings.Compare(a.Key(), b.Key()) })
	if d := cmp.Diff(w.rows, got); d != "" {
		t.Errorf("rows differ (-oracle +cassandra):\n%s", d)
	}
	return fmt.Sprintf("events=%d rows=%d", len(w.events), len(got))
}
