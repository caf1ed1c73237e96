package shop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// cells is the naive fold: what a store that keeps the newest stamp of each cell holds after it was told of events one
// by one. It reads payloads, where the oracle reads what the generator meant.
type cells map[string]cell // by column, or column and entry

type cell struct {
	stamp int64
	value any
}

func (c cells) set(name string, stamp int64, value any) {
	if old, ok := c[name]; !ok || stamp > old.stamp {
		c[name] = cell{stamp, value}
	}
}

const entry = "\x00" // stands between a column and an entry's key

func (c cells) apply(t require, payload []byte) {
	doc, err := parse(payload)
	t.noError(err)
	data := doc["data"].(map[string]any)
	at := func(text any) time.Time {
		instant, err := time.Parse(time.RFC3339, text.(string))
		t.noError(err)
		return instant
	}
	happened := at(doc["time"]).UTC().Format("2006-01-02 15:04:05.000Z")
	placedAt := at(data["placed_at"])
	version, err := data["version"].(json.Number).Int64()
	t.noError(err)
	birth := placedAt.UnixMicro()
	kind := doc["type"].(string)
	schema := kind[len(kind)-1]
	kind = kind[:len(kind)-len(".v1")]
	if kind == "order.placed" && schema == '2' {
		basket := data["basket"].(map[string]any)
		data["currency"], data["lines"] = basket["currency"], basket["lines"]
		for _, l := range basket["lines"].([]any) {
			l := l.(map[string]any)
			l["unit_price_minor"] = l["price"].(map[string]any)["unit_minor"]
		}
		if address, ok := data["delivery_address"]; ok {
			data["address"] = address
		}
	}
	once := func(name string, value any) { c.set(name, birth, value) }
	sum := func(lines any, by func(line map[string]any) int64) json.Number {
		total := int64(0)
		for _, l := range lines.([]any) {
			total += by(l.(map[string]any))
		}
		return json.Number(strconv.FormatInt(total, 10))
	}
	integer := func(value any) int64 {
		n, err := value.(json.Number).Int64()
		t.noError(err)
		return n
	}
	units := func(l map[string]any) int64 { return integer(l["quantity"]) }

	once("order_id", data["order_id"])
	once("events"+entry+doc["id"].(string), map[string]any{
		"version": data["version"], "type": kind, "time": happened, "id": doc["id"],
	})
	switch kind {
	case "order.placed":
		once("customer_id", data["customer_id"])
		once("placed_at", placedAt.UTC().Format("2006-01-02 15:04:05.000Z"))
		once("currency", data["currency"])
		once("units", sum(data["lines"], units))
		once("total_minor", sum(data["lines"], func(l map[string]any) int64 {
			return integer(l["quantity"]) * integer(l["unit_price_minor"])
		}))
		for _, l := range data["lines"].([]any) {
			l := l.(map[string]any)
			once("lines"+entry+l["line_id"].(string), map[string]any{
				"sku": l["sku"], "name": l["name"], "quantity": l["quantity"], "unit_price_minor": l["unit_price_minor"],
			})
		}
	case "order.paid":
		once("payments"+entry+data["payment_id"].(string), map[string]any{
			"amount_minor": data["amount_minor"], "method": data["method"], "paid_at": happened,
		})
	case "order.shipped":
		once("parcels_shipped"+entry+data["parcel_id"].(string), map[string]any{
			"carrier": data["carrier"], "tracking": data["tracking"], "units": sum(data["lines"], units), "shipped_at": happened,
		})
	case "order.delivered":
		once("parcels_delivered"+entry+data["parcel_id"].(string), happened)
	case "order.cancelled":
		once("cancellations"+entry+data["cancellation_id"].(string), map[string]any{
			"reason": data["reason"], "cancelled_at": happened,
		})
	case "order.refunded":
		once("refunds"+entry+data["refund_id"].(string), map[string]any{
			"amount_minor": data["amount_minor"], "reason": data["reason"], "refunded_at": happened,
		})
	}
	if _, ok := data["address"]; ok {
		c.set("address", birth+version, data["address"])
	}
}

// row is what the store returns: every column, entries gathered into their collections.
func (c cells) row() Row {
	row := Row{}
	for _, column := range columnsByID {
		row[column] = nil
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		column, key, isEntry := cutEntry(name)
		switch {
		case !isEntry:
			row[column] = c[name].value
		case column == "events":
			list, _ := row[column].([]any)
			row[column] = append(list, c[name].value)
		default:
			if row[column] == nil {
				row[column] = map[string]any{}
			}
			row[column].(map[string]any)[key] = c[name].value
		}
	}
	return row
}

func TestOracleEqualsANaiveFoldInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Seed: rapid.Uint64().Draw(t, "seed"), Orders: rapid.IntRange(1, 30).Draw(t, "orders"),
			DamagedShare: 0.1, DuplicateShare: 0.2, DisplacedShare: 0.2, PlacedV2Share: 0.5, Now: noon,
		}
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		events := slices.Collect(s.Events())
		lost := make(map[string]bool) // never acknowledged
		shuffle := rand.New(rand.NewPCG(cfg.Seed, 99))
		for _, e := range events {
			if shuffle.IntN(20) == 0 {
				lost[e.ID] = true
			}
		}
		oracle := NewOracle(slices.Values(events), func(id string) bool { return !lost[id] })
		shuffle.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })

		corrections := slices.Collect(s.Corrections())
		for _, stage := range []Stage{BeforeUpgrade, BeforeRedrive, AfterRedrive} {
			applied := slices.Clone(events)
			if stage == AfterRedrive {
				applied = append(applied, corrections...)
			}
			folded := make(map[string]cells)
			parked := make(map[string]bool)
			for _, e := range applied {
				if lost[cmp.Or(e.Corrects, e.ID)] {
					continue
				}
				if e.Damage != "" || bytes.Contains(e.Payload, []byte(`"order.placed.v2"`)) && stage == BeforeUpgrade {
					parked[e.ID] = true
					continue
				}
				delete(parked, e.Corrects)
				if folded[e.OrderID] == nil {
					folded[e.OrderID] = make(cells)
				}
				folded[e.OrderID].apply(require{t}, e.Payload)
			}
			if oracle.Parked(stage) != len(parked) {
				t.Fatalf("%d events are parked %s, want %d", oracle.Parked(stage), stage, len(parked))
			}
			if diff := gocmp.Diff(slices.Sorted(maps.Keys(folded)), oracle.OrderIDs(stage)); diff != "" {
				t.Fatalf("orders with a row %s:\n%s", stage, diff)
			}
			report, err := oracle.Check(OrderByID, stage, func(yield func([]byte, error) bool) {
				for _, c := range folded {
					if !yield(json.Marshal(c.row())) {
						return
					}
				}
			})
			if err != nil || report.Wrong() > 0 || report.Rows != len(folded) {
				t.Fatalf("%s: %d rows of %d, %d wrong, %v: %q", stage, report.Rows, len(folded), report.Wrong(), err, report.Differences)
			}
		}
	})
}

// require ends a test on an error.
type require struct{ t *rapid.T }

func (r require) noError(err error) {
	if err != nil {
		r.t.Fatal(err)
	}
}

// rowsOf is the table as Cassandra would answer if all is well.
func rowsOf(t testing.TB, o *Oracle, table Table, stage Stage) map[string][]byte {
	t.Helper()
	answers := make(map[string][]byte)
	for key, row := range o.Expected(table, stage) {
		answer, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		answers[key] = answer
	}
	return answers
}

func each(payloads map[string][]byte) func(func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(payloads)) {
			if !yield(payloads[key], nil) {
				return
			}
		}
	}
}

func TestCheckCountsMissingExtraAndMismatchedRows(t *testing.T) {
	oracle := NewOracle(slices.Values(busy(t, 12, 200)), nil)
	for _, table := range []Table{OrderByID, OrdersByCustomer} {
		rows := rowsOf(t, oracle, table, BeforeRedrive)
		report, err := oracle.Check(table, BeforeRedrive, each(rows))
		if err != nil || report.Wrong() != 0 || report.Rows != 200 || len(report.Differences) != 0 {
			t.Fatalf("%s as it has to be: %v, %+v", table, err, report)
		}

		keys := slices.Sorted(maps.Keys(rows))
		delete(rows, keys[0])
		rows["again"] = rows[keys[1]]
		var changed Row
		_, changed, err = Canonical(table, rows[keys[2]])
		if err != nil {
			t.Fatal(err)
		}
		changed["currency"] = "XXX"
		rows[keys[2]] = []byte(text(changed))

		report, err = oracle.Check(table, BeforeRedrive, each(rows))
		if err != nil || report.Missing != 1 || report.Extra != 1 || report.Mismatched != 1 || len(report.Differences) != 3 {
			t.Errorf("%s with three faults: %v, %+v", table, err, report)
		}
	}
}

func TestCheckSeesTheStage(t *testing.T) {
	oracle := NewOracle(slices.Values(busy(t, 13, 300)), nil)
	if oracle.Damaged() == 0 {
		t.Fatal("no event is damaged")
	}
	rows := rowsOf(t, oracle, OrderByID, BeforeRedrive)
	report, err := oracle.Check(OrderByID, AfterRedrive, each(rows))
	if err != nil || report.Wrong() == 0 || report.Wrong() > oracle.Damaged() {
		t.Errorf("%d damaged events, %d rows wrong after a redrive that did not happen (%v)", oracle.Damaged(), report.Wrong(), err)
	}
}

func TestAccountPutsEachEventWhereItIs(t *testing.T) {
	events := busy(t, 14, 300)
	oracle := NewOracle(slices.Values(events), nil)
	letters := make(map[string][]byte)
	for _, e := range events {
		if e.Damage != "" {
			letters[e.ID] = e.Payload
		}
	}
	reports := func() (byID, byCustomer Report) {
		byID, _ = oracle.Check(OrderByID, BeforeRedrive, each(rowsOf(t, oracle, OrderByID, BeforeRedrive)))
		byCustomer, _ = oracle.Check(OrdersByCustomer, BeforeRedrive, each(rowsOf(t, oracle, OrdersByCustomer, BeforeRedrive)))
		return byID, byCustomer
	}
	byID, byCustomer := reports()
	got, err := oracle.Account(byID, byCustomer, each(letters))
	want := Account{
		Events: oracle.Events(), Applied: oracle.Events() - len(letters), Parked: len(letters), Rows: byID.Rows + byCustomer.Rows,
	}
	if diff := gocmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("all is well: %v\n%s", err, diff)
	}

	// An event is missing from one table, another one's letter is gone, a third has a letter without need, and one
	// letter was never sent.
	applied := slices.Sorted(maps.Keys(byCustomer.AppliedEventIDs))
	delete(byCustomer.AppliedEventIDs, applied[0])
	parked := slices.Sorted(maps.Keys(letters))
	delete(letters, parked[0])
	sound := slices.IndexFunc(events, func(e Event) bool { return e.ID == applied[1] })
	letters["needless"] = events[sound].Payload
	letters["stranger"] = []byte("{}")

	got, err = oracle.Account(byID, byCustomer, each(letters))
	want.Applied--
	want.Lost, want.LostIDs = 2, []string{applied[0], parked[0]}
	want.Both, want.Strangers = 1, 1
	slices.Sort(want.LostIDs)
	slices.Sort(got.LostIDs)
	if diff := gocmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("four faults: %v\n%s", err, diff)
	}
}

func TestStatusOfEachKindOfHistory(t *testing.T) {
	order := placed{currency: "EUR", lines: []line{{id: "1", quantity: 2, priceMinor: 500}}}
	half := func(parcel string) shipped { return shipped{parcel: parcel, lines: []parcelLine{{"1", 1}}} }
	for _, c := range []struct {
		want  Status
		facts []any
	}{
		{StatusIncomplete, []any{paid{id: "p", amountMinor: 1000}}},
		{StatusIncomplete, []any{cancelled{id: "c"}}},
		{StatusPlaced, []any{order}},
		{StatusPlaced, []any{order, paid{id: "p", amountMinor: 999}}},
		{StatusPlaced, []any{order, addressChanged{}}},
		{StatusPaid, []any{order, paid{id: "p", amountMinor: 600}, paid{id: "q", amountMinor: 400}}},
		{StatusPartlyShipped, []any{order, half("a")}},
		{StatusShipped, []any{half("a"), half("b"), order}},
		{StatusPartlyDelivered, []any{order, half("a"), half("b"), delivered{"a"}}},
		{StatusPartlyDelivered, []any{order, delivered{"a"}}},
		{StatusDelivered, []any{order, half("a"), half("b"), delivered{"a"}, delivered{"b"}}},
		{StatusDelivered, []any{order, paid{amountMinor: 1000}, half("a"), half("b"), delivered{"a"}, delivered{"b"}, refunded{amountMinor: 1}}},
		{StatusRefunded, []any{order, paid{amountMinor: 1000}, refunded{id: "r", amountMinor: 400}, refunded{id: "s", amountMinor: 600}}},
		{StatusPlaced, []any{order, refunded{amountMinor: 1}}},
		{StatusCancelled, []any{order, paid{amountMinor: 1000}, cancelled{}, refunded{amountMinor: 1000}}},
	} {
		if got := status(c.facts); got != c.want {
			t.Errorf("%v: %s, want %s", c.facts, got, c.want)
		}
	}
}

func TestExpectedStatusAndVersionsFollowTheStage(t *testing.T) {
	seen := make(map[Status]int)
	events := busy(t, 15, 2_000)
	oracle := NewOracle(slices.Values(events), nil)
	for _, id := range oracle.OrderIDs(BeforeRedrive) {
		s, err := oracle.ExpectedStatus(BeforeRedrive, id)
		if err != nil {
			t.Fatal(err)
		}
		seen[s]++
	}
	if len(seen) != 9 {
		t.Errorf("statuses %v, want all nine", seen)
	}
	damaged := events[slices.IndexFunc(events, func(e Event) bool { return e.Damage != "" })]
	before, err := oracle.ExpectedVersions(BeforeRedrive, damaged.OrderID)
	if err == nil && slices.Contains(before, damaged.Version) {
		t.Errorf("versions %v before redrive hold the damaged %d", before, damaged.Version)
	}
	after, err := oracle.ExpectedVersions(AfterRedrive, damaged.OrderID)
	if err != nil || !slices.Contains(after, damaged.Version) {
		t.Errorf("versions %v after redrive lack %d (%v)", after, damaged.Version, err)
	}
	if _, err := oracle.ExpectedStatus(AfterRedrive, "nobody's"); err == nil {
		t.Error("an order that was never placed has a status")
	}
}

func TestACorrectionTakesThePlaceOfItsDamagedEvent(t *testing.T) {
	s := run(t, Config{Seed: 17, Orders: 300, DamagedShare: 0.05})
	oracle := NewOracle(s.Events(), nil)
	byID, err := oracle.Check(OrderByID, AfterRedrive, each(rowsOf(t, oracle, OrderByID, AfterRedrive)))
	if err != nil || byID.Wrong() != 0 {
		t.Fatalf("%v, %+v", err, byID)
	}
	byCustomer, err := oracle.Check(OrdersByCustomer, AfterRedrive, each(rowsOf(t, oracle, OrdersByCustomer, AfterRedrive)))
	if err != nil || byCustomer.Wrong() != 0 {
		t.Fatalf("%v, %+v", err, byCustomer)
	}
	letters := make(map[string][]byte)
	var correction Event
	for e := range s.Events() {
		if e.Damage == "" {
			continue
		}
		correction = e.Corrected()
		letters[e.ID] = e.Payload
		_, damaged := byID.AppliedEventIDs[e.ID]
		_, corrected := byID.AppliedEventIDs[correction.ID]
		if damaged || !corrected {
			t.Errorf("order %s lists the damaged event: %v, the corrected one: %v", e.OrderID, damaged, corrected)
		}
	}
	got, err := oracle.Account(byID, byCustomer, each(letters))
	want := Account{Events: oracle.Events(), Applied: oracle.Events() - len(letters), Parked: len(letters), Corrected: len(letters), Rows: 600}
	if diff := gocmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("all are corrected: %v\n%s", err, diff)
	}
	delete(byCustomer.AppliedEventIDs, correction.ID)
	if got, err = oracle.Account(byID, byCustomer, each(letters)); err != nil || got.Corrected != len(letters)-1 {
		t.Errorf("one is corrected in one table only: %d of %d, %v", got.Corrected, len(letters), err)
	}
}

func TestAnOrderOfDamagedEventsOnlyHasNoRow(t *testing.T) {
	oracle := NewOracle(run(t, Config{Orders: 20, DamagedShare: 1}).Events(), nil)
	if ids := oracle.OrderIDs(BeforeRedrive); len(ids) != 0 {
		t.Errorf("%d orders have a row before redrive", len(ids))
	}
	if ids := oracle.OrderIDs(AfterRedrive); len(ids) != 20 {
		t.Errorf("%d orders have a row after redrive, want 20", len(ids))
	}
}
