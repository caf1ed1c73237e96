package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"penstock/localstack/e2e"
	"penstock/localstack/shop"
	"penstock/order"
	"penstock/sink/cassandra"
	"penstock/view"
)

// show prints one order as a customer would see it, and one dead letter.
func show(ctx context.Context, s *stage, oracle *shop.Oracle) error {
	id, err := telling(oracle)
	if err != nil {
		return err
	}
	row, err := readOrder(ctx, s, id)
	if err != nil {
		return err
	}
	fmt.Println("\nOne order, as its customer sees it:")
	fmt.Println(indent(page(id, row)))
	for letter, err := range s.site.Letters(ctx) {
		if err != nil {
			return err
		}
		if len(letter.Payload) < 40 {
			continue
		}
		fmt.Println("\nOne dead letter:")
		fmt.Println(indent(describe(letter)))
		break
	}
	fmt.Println()
	return nil
}

// telling picks the order that has the most to show.
func telling(oracle *shop.Oracle) (string, error) {
	best, most := "", 0
	for _, id := range oracle.OrderIDs(shop.BeforeRedrive) {
		versions, err := oracle.ExpectedVersions(shop.BeforeRedrive, id)
		if err != nil {
			return "", err
		}
		if len(versions) > most {
			best, most = id, len(versions)
		}
	}
	return best, nil
}

// readOrder reads a row as an application does.
func readOrder(ctx context.Context, s *stage, id string) (order.Row, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return order.Row{}, fmt.Errorf("parse order id: %w", err)
	}
	session, err := cassandra.Connect(cassandra.Config{
		Hosts:       []string{s.stack.Cassandra()[0].Addr().String()},
		Datacenter:  "dc1",
		Keyspace:    s.site.Name,
		Consistency: "LOCAL_QUORUM",
		Timeout:     10 * time.Second,
		Log:         zap.NewNop(),
	})
	if err != nil {
		return order.Row{}, err
	}
	defer session.Close()
	for _, t := range (order.View{}).Tables() {
		if t.Name != order.TableByID {
			continue
		}
		row, ok, err := session.ReadRow(ctx, t, 1, []view.Value{view.UUIDValue(parsed)})
		if err != nil || !ok {
			return order.Row{}, fmt.Errorf("read order %s: found %t: %w", id, ok, err)
		}
		return order.NewRow(t, row)
	}
	return order.Row{}, fmt.Errorf("the order view has no table %s", order.TableByID)
}

// page is an order page in text.
func page(id string, r order.Row) string {
	var b strings.Builder
	money := func(minor int64) string { return fmt.Sprintf("%d.%02d %s", minor/100, minor%100, r.Currency) }
	fmt.Fprintf(&b, "Order %s · %s\n", id, order.Status(r))
	fmt.Fprintf(&b, "placed %s by %s\n", r.PlacedAt.Format("2 January 2006 15:04"), r.CustomerID)
	for _, key := range slices.Sorted(maps.Keys(r.Lines)) {
		l := r.Lines[key]
		fmt.Fprintf(&b, "  %2d × %-28s %14s\n", l.Quantity, l.Name, money(int64(l.Quantity)*l.UnitPriceMinor))
	}
	fmt.Fprintf(&b, "  total %41s\n", money(r.TotalMinor))
	for _, key := range slices.Sorted(maps.Keys(r.Payments)) {
		p := r.Payments[key]
		fmt.Fprintf(&b, "paid %s by %s on %s\n", money(p.AmountMinor), p.Method, p.PaidAt.Format("2 January"))
	}
	for _, key := range slices.Sorted(maps.Keys(r.ParcelsShipped)) {
		p := r.ParcelsShipped[key]
		fmt.Fprintf(&b, "parcel %s (%d pieces) with %s since %s", p.Tracking, p.Units, p.Carrier, p.ShippedAt.Format("2 January"))
		if at, ok := r.ParcelsDelivered[key]; ok {
			fmt.Fprintf(&b, ", delivered %s", at.Format("2 January 15:04"))
		}
		b.WriteByte('\n')
	}
	for _, key := range slices.Sorted(maps.Keys(r.Refunds)) {
		fmt.Fprintf(&b, "refunded %s: %s\n", money(r.Refunds[key].AmountMinor), r.Refunds[key].Reason)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Cancellations)) {
		fmt.Fprintf(&b, "cancelled: %s\n", r.Cancellations[key].Reason)
	}
	whole := order.Wholeness(r)
	fmt.Fprintf(&b, "made of %d events, whole up to version %d", len(r.Events), whole.UpTo)
	return b.String()
}

func describe(l e2e.Letter) string {
	payload := string(l.Payload)
	if len(payload) > 160 {
		payload = payload[:160] + "…"
	}
	return fmt.Sprintf("%s\nstage %s, code %s\n%s\npayload (%d bytes): %q", l.Key, l.Stage, l.Code, l.Message, len(l.Payload), payload)
}
