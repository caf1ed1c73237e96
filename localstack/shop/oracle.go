package shop

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
)

// Stage is a moment in the life of a view, which decides what its rows are made of.
type Stage string

// The stages the oracle knows.
const (
	// BeforeUpgrade is when a release that knows the first schema version only has read everything: every sound event of
	// that version is in the rows, and every other one in a letter.
	BeforeUpgrade Stage = "before the upgrade"
	// BeforeRedrive is when every sound event is in the rows and every damaged one is in a letter.
	BeforeRedrive Stage = "before redrive"
	// AfterRedrive is when every letter's cause is gone: what only a new release could read is in the rows, and the
	// corrected event in the place of each damaged one ([Shop.Corrections]).
	AfterRedrive Stage = "after redrive"
)

// counts reports whether the event, as it happened, is in the rows at this stage.
func (s Stage) counts(e Event) bool {
	switch s {
	case BeforeUpgrade:
		return e.Damage == "" && e.Schema == 1
	case BeforeRedrive:
		return e.Damage == ""
	case AfterRedrive:
		return true
	default:
		panic("shop: unknown stage " + string(s))
	}
}

// Oracle knows the rows that a set of acknowledged events has to lead to, by these rules and no others:
//
//   - what placed says is said once; each payment, parcel, delivery, refund and cancellation is an entry of its map,
//     under its own id;
//   - the address is the one of the highest version that carries an address;
//   - events is the set of what was applied: version, type, time to the millisecond and id of each;
//   - an order of which nothing was applied has no row.
//
// None of them depends on the order in which events come or on how often. It is built once and then only read, by any
// number of goroutines.
type Oracle struct {
	orders map[string]history
	ids    map[[sha256.Size]byte]string // event id by digest of the payload sent
	events int
}

// history is the distinct acknowledged events of one order, by event id, without their payloads.
type history map[string]Event

// NewOracle collects the events that were acknowledged; nil stands for all of them. Repetitions count once.
func NewOracle(events iter.Seq[Event], acknowledged func(eventID string) bool) *Oracle {
	o := &Oracle{orders: make(map[string]history), ids: make(map[[sha256.Size]byte]string)}
	for e := range events {
		if acknowledged != nil && !acknowledged(e.ID) {
			continue
		}
		order := o.orders[e.OrderID]
		if order == nil {
			order = make(history)
			o.orders[e.OrderID] = order
		}
		if _, known := order[e.ID]; known {
			continue
		}
		o.ids[sha256.Sum256(e.Payload)] = e.ID
		e.Payload, e.Original = nil, nil
		order[e.ID] = e
		o.events++
	}
	return o
}

// Events is the number of distinct acknowledged events.
func (o *Oracle) Events() int { return o.events }

// Damaged is the number of distinct acknowledged events whose payload is damaged: the letters there have to be.
func (o *Oracle) Damaged() int {
	n := 0
	for _, order := range o.orders {
		for _, e := range order {
			if e.Damage != "" {
				n++
			}
		}
	}
	return n
}

// Parked is the number of distinct acknowledged events that are in no row at a stage: the letters that have to be open.
func (o *Oracle) Parked(stage Stage) int {
	n := 0
	for _, order := range o.orders {
		n += len(order) - len(order.applied(stage))
	}
	return n
}

// EventOf returns the id of the acknowledged event that was sent with exactly this payload, sound or damaged.
func (o *Oracle) EventOf(payload []byte) (eventID string, ok bool) {
	eventID, ok = o.ids[sha256.Sum256(payload)]
	return eventID, ok
}

// OrderIDs returns the ids of the orders that have a row at a stage, sorted.
func (o *Oracle) OrderIDs(stage Stage) []string {
	var ids []string
	for id, order := range o.orders {
		if len(order.applied(stage)) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// ExpectedStatus returns where an order has to stand at a stage. The error says that the order has no row then.
func (o *Oracle) ExpectedStatus(stage Stage, orderID string) (Status, error) {
	applied, err := o.applied(stage, orderID)
	if err != nil {
		return "", err
	}
	facts := make([]any, 0, len(applied))
	for _, e := range applied {
		facts = append(facts, e.fact)
	}
	return status(facts), nil
}

// ExpectedVersions returns the versions of an order that have to be in its row at a stage, in ascending order. The
// error says that the order has no row then.
func (o *Oracle) ExpectedVersions(stage Stage, orderID string) ([]int64, error) {
	applied, err := o.applied(stage, orderID)
	if err != nil {
		return nil, err
	}
	versions := make([]int64, 0, len(applied))
	for _, e := range applied {
		versions = append(versions, e.Version)
	}
	slices.Sort(versions)
	return versions, nil
}

// ExpectedRow returns the row of one order in one table at a stage. The error says that the order has no row then.
func (o *Oracle) ExpectedRow(table Table, stage Stage, orderID string) (Row, error) {
	applied, err := o.applied(stage, orderID)
	if err != nil {
		return nil, err
	}
	return fold(table, applied), nil
}

// Expected yields every row of a table at a stage, with its key as [Canonical] gives it.
func (o *Oracle) Expected(table Table, stage Stage) iter.Seq2[string, Row] {
	return func(yield func(string, Row) bool) {
		for _, order := range o.orders {
			applied := order.applied(stage)
			if len(applied) == 0 {
				continue
			}
			row := fold(table, applied)
			if !yield(row.mustKey(table), row) {
				return
			}
		}
	}
}

func (o *Oracle) applied(stage Stage, orderID string) ([]Event, error) {
	if order := o.orders[orderID]; order != nil {
		if applied := order.applied(stage); len(applied) > 0 {
			return applied, nil
		}
	}
	return nil, fmt.Errorf("order %s has no row %s", orderID, stage)
}

// applied returns the events of an order that count at a stage, in no order.
func (h history) applied(stage Stage) []Event {
	var events []Event
	for _, e := range h {
		if !stage.counts(e) {
			continue
		}
		if e.Damage != "" {
			e.ID = e.correctedID() // the rows tell of the event that was applied
		}
		events = append(events, e)
	}
	return events
}

// fold makes one row of the events of one order, which are distinct and at least one.
func fold(table Table, events []Event) Row {
	row := Row{
		"order_id": events[0].OrderID, "customer_id": nil, "placed_at": nil,
		"currency": nil, "total_minor": nil, "units": nil, "lines": nil, "address": nil,
	}
	if table == OrdersByCustomer {
		row["customer_id"] = events[0].CustomerID
		row["placed_at"] = timestamp(events[0].PlacedAt)
		row["year"] = number(int64(events[0].PlacedAt.UTC().Year()))
	}
	var applied []any
	payments, refunds, cancellations := map[string]any{}, map[string]any{}, map[string]any{}
	parcelsShipped, parcelsDelivered := map[string]any{}, map[string]any{}
	addressVersion := int64(0)

	for _, e := range events {
		applied = append(applied, map[string]any{
			"version": number(e.Version), "type": e.Type, "time": timestamp(e.Time), "id": e.ID,
		})
		switch f := e.fact.(type) {
		case placed:
			row["customer_id"] = e.CustomerID
			row["placed_at"] = timestamp(e.PlacedAt)
			row["currency"] = f.currency
			row["total_minor"] = number(f.totalMinor())
			row["units"] = number(f.units())
			row["lines"] = linesValue(f.lines)
			if f.address != nil && e.Version > addressVersion {
				row["address"], addressVersion = addressValue(*f.address), e.Version
			}
		case paid:
			payments[f.id] = map[string]any{
				"amount_minor": number(f.amountMinor), "method": f.method, "paid_at": timestamp(e.Time),
			}
		case shipped:
			parcelsShipped[f.parcel] = map[string]any{
				"carrier": f.carrier, "tracking": f.tracking, "units": number(f.units()), "shipped_at": timestamp(e.Time),
			}
		case delivered:
			parcelsDelivered[f.parcel] = timestamp(e.Time)
		case cancelled:
			cancellations[f.id] = map[string]any{"reason": f.reason, "cancelled_at": timestamp(e.Time)}
		case refunded:
			refunds[f.id] = map[string]any{
				"amount_minor": number(f.amountMinor), "reason": f.reason, "refunded_at": timestamp(e.Time),
			}
		case addressChanged:
			if e.Version > addressVersion {
				row["address"], addressVersion = addressValue(f.address), e.Version
			}
		default:
			panic("shop: a fact that no row shows")
		}
	}

	row["events"] = canonicalValue(applied)
	row["payments"] = canonicalValue(payments)
	row["parcels_shipped"] = canonicalValue(parcelsShipped)
	row["parcels_delivered"] = canonicalValue(parcelsDelivered)
	row["refunds"] = canonicalValue(refunds)
	row["cancellations"] = canonicalValue(cancellations)
	return row
}

func linesValue(lines []line) map[string]any {
	values := make(map[string]any, len(lines))
	for _, l := range lines {
		values[l.id] = map[string]any{
			"sku": l.sku, "name": l.name, "quantity": number(l.quantity), "unit_price_minor": number(l.priceMinor),
		}
	}
	return values
}

func addressValue(a address) map[string]any {
	return map[string]any{
		"name": a.name, "street": a.street, "city": a.city, "postal_code": a.postalCode, "country": a.country,
	}
}

// mustKey returns the key of a row that fold made.
func (r Row) mustKey(table Table) string {
	key, err := r.key(table)
	if err != nil {
		panic("shop: " + err.Error())
	}
	return key
}
