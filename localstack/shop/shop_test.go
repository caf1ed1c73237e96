package shop

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// noon is the present of every test run.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func run(t testing.TB, cfg Config) *Shop {
	t.Helper()
	if cfg.Now.IsZero() {
		cfg.Now = noon
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// busy is a run with everything in it.
func busy(t testing.TB, seed uint64, orders int) []Event {
	t.Helper()
	cfg := Config{Seed: seed, Orders: orders, DamagedShare: 0.02, DuplicateShare: 0.05, DisplacedShare: 0.1}
	return slices.Collect(run(t, cfg).Events())
}

// busyInTwoVersions is a busy run with half of its orders placed in the second schema version.
func busyInTwoVersions(t testing.TB, seed uint64, orders int) []Event {
	t.Helper()
	cfg := Config{Seed: seed, Orders: orders, DamagedShare: 0.02, DuplicateShare: 0.05, DisplacedShare: 0.1, PlacedV2Share: 0.5}
	return slices.Collect(run(t, cfg).Events())
}

func digest(events []Event) string {
	hash := sha256.New()
	for _, e := range events {
		hash.Write([]byte(e.ID))
		hash.Write([]byte(e.Damage))
		hash.Write(e.Payload)
		hash.Write(e.Original)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

func TestARunIsAFunctionOfItsConfiguration(t *testing.T) {
	const golden = "6795ceac1f3a3e77" // changes only with the generator itself
	if got := digest(busy(t, 1, 500)); got != golden {
		t.Errorf("events of seed 1 have digest %s, want %s", got, golden)
	}
	if digest(busy(t, 2, 500)) == golden {
		t.Error("seeds 1 and 2 yield the same events")
	}
}

func TestTheSecondSchemaVersionChangesPayloadsOnly(t *testing.T) {
	const golden = "c820ff8018bd48d2" // changes only with the generator itself
	first, second := busy(t, 1, 500), busyInTwoVersions(t, 1, 500)
	if got := digest(second); got != golden {
		t.Errorf("events of seed 1 have digest %s, want %s", got, golden)
	}
	if len(first) != len(second) {
		t.Fatalf("%d events, and %d in two versions", len(first), len(second))
	}
	placedEvents, inSecond := 0, 0
	for i, e := range second {
		if e.Type == typePlaced && !e.Duplicate {
			placedEvents++
		}
		if e.Schema == 1 {
			// A damage of the second version takes the turn of another, so damages are not compared.
			if e.Damage == "" && first[i].Damage == "" && !bytes.Equal(e.Payload, first[i].Payload) {
				t.Errorf("event %s differs", e.ID)
			}
		} else if e.Type != typePlaced || e.Schema != 2 || bytes.Equal(e.Payload, first[i].Payload) {
			t.Errorf("event %s of type %s in version %d", e.ID, e.Type, e.Schema)
		} else if !e.Duplicate {
			inSecond++
		}
		e.Payload, e.Original, e.Damage, e.Schema = first[i].Payload, first[i].Original, first[i].Damage, first[i].Schema
		if !reflect.DeepEqual(first[i], e) {
			t.Errorf("event %d is %+v, and %+v in two versions", i, first[i], e)
		}
	}
	within(t, "orders placed in the second version", inSecond, float64(placedEvents)/2)
}

func TestACorrectedEventSaysWhatTheDamagedOneShouldHaveSaid(t *testing.T) {
	cfg := Config{Seed: 16, Orders: 500, DamagedShare: 0.1, DuplicateShare: 0.05, DisplacedShare: 0.1, PlacedV2Share: 0.5}
	s := run(t, cfg)
	ids := make(map[string]bool)
	var damaged []Event
	for e := range s.Events() {
		ids[e.ID] = true
		if e.Damage != "" {
			damaged = append(damaged, e)
		}
	}
	corrections := slices.Collect(s.Corrections())
	if len(corrections) != len(damaged) || len(damaged) < 100 {
		t.Fatalf("%d corrections of %d damaged events", len(corrections), len(damaged))
	}
	if again := slices.Collect(s.Corrections()); digest(again) != digest(corrections) {
		t.Error("the corrections are others the second time")
	}
	for i, c := range corrections {
		was := damaged[i]
		if c.Corrects != was.ID || ids[c.ID] {
			t.Errorf("%s corrects %s, want %s, under an id that no event has", c.ID, c.Corrects, was.ID)
		}
		ids[c.ID] = true
		if got := bytes.ReplaceAll(c.Payload, []byte(c.ID), []byte(was.ID)); !bytes.Equal(got, was.Original) {
			t.Errorf("the correction of a %s is\n%s\nwant, under another id,\n%s", was.Damage, c.Payload, was.Original)
		}
		if c.OrderID != was.OrderID || c.Version != was.Version || !c.Time.Equal(was.Time) || c.Damage != "" || c.Original != nil || c.Duplicate {
			t.Errorf("got %+v, want an event like %+v", c, was)
		}
	}
}

func TestEventsStartsAnewOnEachCall(t *testing.T) {
	s := run(t, Config{Orders: 50, DuplicateShare: 0.1, DamagedShare: 0.1, DisplacedShare: 0.1})
	for range s.Events() {
		break // an abandoned iteration leaves nothing behind
	}
	first, second := slices.Collect(s.Events()), slices.Collect(s.Events())
	if digest(first) != digest(second) {
		t.Error("the second iteration differs from the first")
	}
}

func TestAnOrderHasAboutFourEvents(t *testing.T) {
	const orders = 3_000
	types := make(map[string]int)
	distinct := 0
	for e := range run(t, Config{Orders: orders}).Events() {
		distinct++
		types[e.Type]++
	}
	if average := float64(distinct) / orders; average < 3.5 || average > 4.5 {
		t.Errorf("%.2f events per order, want about 4", average)
	}
	for _, eventType := range []string{
		typePlaced, typePaid, typeShipped, typeDelivered, typeCancelled, typeRefunded, typeAddressChanged,
	} {
		if types[eventType] < 50 {
			t.Errorf("%d events of type %s in %d orders, want at least 50", types[eventType], eventType, orders)
		}
	}
}

func TestSharesAreWhatWasAskedFor(t *testing.T) {
	cfg := Config{Seed: 3, Orders: 5_000, DamagedShare: 0.005, DuplicateShare: 0.03, DisplacedShare: 0.1}
	var distinct, damaged, duplicates, late int
	newest := make(map[string]int64) // highest version seen, by order
	for e := range run(t, cfg).Events() {
		if e.Duplicate {
			duplicates++
			continue
		}
		distinct++
		if e.Damage != "" {
			damaged++
		}
		if e.Version < newest[e.OrderID] {
			late++
		}
		newest[e.OrderID] = max(newest[e.OrderID], e.Version)
	}
	if want := cfg.DamagedShare * float64(distinct); math.Abs(float64(damaged)-want) > 1 {
		t.Errorf("%d of %d events damaged, want %.0f", damaged, distinct, want)
	}
	within(t, "duplicates", duplicates, cfg.DuplicateShare*float64(distinct))
	within(t, "events behind a later one of their order", late, cfg.DisplacedShare*float64(distinct))
}

func within(t *testing.T, what string, got int, want float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > want/10 {
		t.Errorf("%d %s, want %.0f within a tenth", got, what, want)
	}
}

func TestAnEventIsOvertakenByAtMostThreeOfItsOrder(t *testing.T) {
	cfg := Config{Seed: 4, Orders: 3_000, DisplacedShare: 0.5}
	seen := make(map[string][]int64)
	for e := range run(t, cfg).Events() {
		for _, version := range seen[e.OrderID] {
			if version > e.Version+maxDisplacedBy {
				t.Fatalf("order %s: version %d comes after version %d", e.OrderID, e.Version, version)
			}
		}
		seen[e.OrderID] = append(seen[e.OrderID], e.Version)
	}
}

func TestVersionsAreDenseAndTimesAreInThePast(t *testing.T) {
	versions := make(map[string][]int64)
	first := make(map[string]Event)
	for _, e := range busy(t, 5, 2_000) {
		if e.Duplicate {
			continue
		}
		versions[e.OrderID] = append(versions[e.OrderID], e.Version)
		if e.Time.After(noon) || e.PlacedAt.After(e.Time) || e.PlacedAt.Before(noon.AddDate(-3, 0, 0)) {
			t.Errorf("placed at %v, happened at %v, present is %v", e.PlacedAt, e.Time, noon)
		}
		if one, known := first[e.OrderID]; known && (one.CustomerID != e.CustomerID || !one.PlacedAt.Equal(e.PlacedAt)) {
			t.Errorf("order %s: customer or placed_at changes", e.OrderID)
		}
		first[e.OrderID] = e
	}
	for order, have := range versions {
		slices.Sort(have)
		for i, version := range have {
			if version != int64(i+1) {
				t.Errorf("order %s has versions %v", order, have)
				break
			}
		}
	}
}

func TestOrdersInterleaveAndCustomersFollowZipf(t *testing.T) {
	neighbours, events := 0, 0
	last := ""
	customers := make(map[string]int)
	years := make(map[int]bool)
	for e := range run(t, Config{Orders: 3_000}).Events() {
		if e.OrderID == last {
			neighbours++
		}
		events++
		last = e.OrderID
		years[e.PlacedAt.Year()] = true
		if e.Type == typePlaced {
			customers[e.CustomerID]++
		}
	}
	if neighbours > events/20 {
		t.Errorf("%d of %d events follow one of their own order", neighbours, events)
	}
	counts := slices.Sorted(maps.Values(customers))
	slices.Reverse(counts)
	if len(counts) < 200 || counts[0] < 100 || counts[0] < 10*counts[len(counts)/2] {
		t.Errorf("%d customers, the busiest with %d orders, the median with %d", len(counts), counts[0], counts[len(counts)/2])
	}
	if len(years) < 2 {
		t.Errorf("orders in the years %v, want several", years)
	}
}

func TestTheMeanGapSpreadsOrders(t *testing.T) {
	distance := func(c Config) (mean float64) {
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		opened, pairs := 0, 0
		last := map[string]int{}
		for e := range s.Events() {
			if e.Type == typePlaced {
				opened++
			}
			if before, ok := last[e.OrderID]; ok && opened < c.Orders { // behind the last opening there is no distance
				mean += float64(opened - before)
				pairs++
			}
			last[e.OrderID] = opened
		}
		return mean / float64(pairs)
	}
	// A truncated exponential distance of mean (1 - e⁻³) gaps, and one.
	within(t, "orders placed between two events of one", int(distance(Config{Seed: 5, Orders: 20_000, Now: noon, MeanGap: 200})), 191)
}

func TestPayloadsAreDistinctButForRepetitions(t *testing.T) {
	owner := make(map[string]string)
	for _, e := range busy(t, 6, 2_000) {
		if id, known := owner[string(e.Payload)]; known != e.Duplicate || (known && id != e.ID) {
			t.Errorf("event %s (damage %q, duplicate %v) has the payload of event %q", e.ID, e.Damage, e.Duplicate, id)
		}
		owner[string(e.Payload)] = e.ID
		if e.Damage != "" && (e.Duplicate || len(e.Original) == 0) {
			t.Errorf("damaged event %s is a repetition or has no original", e.ID)
		}
		if e.Payload == nil {
			t.Errorf("event %s has no payload", e.ID)
		}
	}
}

func TestParcelsHoldWhatWasOrdered(t *testing.T) {
	for n := range 2_000 {
		facts := story(randomOf(7, n))
		if len(facts) > maxLife {
			t.Fatalf("story %d has %d events, more than %d", n, len(facts), maxLife)
		}
		first := facts[0].(placed)
		ordered, packed := make(map[string]int64), make(map[string]int64)
		for _, l := range first.lines {
			ordered[l.id] = l.quantity
		}
		var toCome []string
		var paidSum, back int64
		for _, fact := range facts {
			switch f := fact.(type) {
			case paid:
				paidSum += f.amountMinor
			case refunded:
				back += f.amountMinor
			case shipped:
				toCome = append(toCome, f.parcel)
				for _, l := range f.lines {
					packed[l.id] += l.quantity
				}
			case delivered:
				i := slices.Index(toCome, f.parcel)
				if i < 0 {
					t.Fatalf("story %d: parcel %s delivered before it was shipped", n, f.parcel)
				}
				toCome = slices.Delete(toCome, i, i+1)
			}
		}
		if back > paidSum || paidSum > first.totalMinor() {
			t.Errorf("story %d: total %d, paid %d, refunded %d", n, first.totalMinor(), paidSum, back)
		}
		if status(facts) == StatusDelivered && !cmp.Equal(ordered, packed) {
			t.Errorf("story %d: ordered %v, shipped %v", n, ordered, packed)
		}
	}
}

func TestNewNamesEveryWrongField(t *testing.T) {
	_, err := New(Config{Orders: 0, Customers: -1, DamagedShare: 2, DuplicateShare: math.NaN(), DisplacedShare: 0.6, MeanGap: 1,
		PlacedV2Share: -0.1, Span: time.Second})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, field := range []string{"orders", "customers", "damaged share", "duplicate share", "displaced share", "mean gap", "now",
		"span", "share of placed v2"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%q does not name %s", err, field)
		}
	}
}
