package shop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// fault says where a damage of the document lies and what is wrong there.
type fault struct {
	path string                // the members on the way, separated by dots; lines stands for its last element
	is   func(broken any) bool // of the value at path; nil: the member is gone
}

func equals(want any) func(any) bool {
	return func(got any) bool { return cmp.Equal(got, want) }
}

func matches(pattern string) func(any) bool {
	return func(got any) bool {
		text, ok := got.(string)
		return ok && regexp.MustCompile(pattern).MatchString(text)
	}
}

func outside(least, most time.Time) func(any) bool {
	return func(got any) bool {
		at, err := time.Parse(time.RFC3339, got.(string))
		return err == nil && (at.Before(least) || at.After(most))
	}
}

// faults is the list of damages a second time, as a reader of plain JSON sees them.
var faults = map[Damage]fault{
	DamageUnknownType:          {"type", equals("order.vanished.v1")},
	DamageUnknownSchemaVersion: {"type", matches(`^order\.[a-z_]+\.v900$`)},
	DamageNoID:                 {"id", nil},
	DamageNoSource:             {"source", nil},
	DamageNoType:               {"type", nil},
	DamageNoTime:               {"time", nil},
	DamageNoData:               {"data", nil},
	DamageNoOrderID:            {"data.order_id", nil},
	DamageNoCustomerID:         {"data.customer_id", nil},
	DamageNoPlacedAt:           {"data.placed_at", nil},
	DamageNoVersion:            {"data.version", nil},
	DamageNoCurrency:           {"data.currency", nil},
	DamageNoLines:              {"data.lines", nil},
	DamageNoLineID:             {"data.lines.line_id", nil},
	DamageNoQuantity:           {"data.lines.quantity", nil},
	DamageNoPrice:              {"data.lines.unit_price_minor", nil},
	DamageNoPaymentID:          {"data.payment_id", nil},
	DamageNoAmount:             {"data.amount_minor", nil},
	DamageNoParcelID:           {"data.parcel_id", nil},
	DamageNoCancellationID:     {"data.cancellation_id", nil},
	DamageNoRefundID:           {"data.refund_id", nil},
	DamageNoAddress:            {"data.address", nil},
	DamageNoStreet:             {"data.address.street", nil},
	DamageSpecVersion:          {"specversion", equals("0.3")},
	DamageContentType:          {"datacontenttype", equals("text/xml")},
	DamageEmptyID:              {"id", equals("")},
	DamageTime:                 {"time", equals("yesterday")},
	DamageDataText:             {"data", matches(`.`)},
	DamageOrderID:              {"data.order_id", equals("4711")},
	DamageOrderIDUndashed:      {"data.order_id", matches(`^[0-9a-f]{32}$`)},
	DamageEmptyCustomerID:      {"data.customer_id", equals("")},
	DamageLongCustomerID:       {"data.customer_id", matches(`^.{257}$`)},
	DamagePlacedAt:             {"data.placed_at", matches(`-02-30T`)},
	DamagePlacedAtNumber:       {"data.placed_at", equals(json.Number("1767225600"))},
	DamageVersionText:          {"data.version", equals("3")},
	DamageVersionFraction:      {"data.version", equals(json.Number("1.5"))},
	DamageCurrency:             {"data.currency", matches(`^[a-z]{3}$`)},
	DamageNoLineAtAll:          {"data.lines", equals([]any{})},
	DamageLineTwice:            {"data.lines", hasLineTwice},
	DamageQuantityText:         {"data.lines.quantity", equals("two")},
	DamageQuantityZero:         {"data.lines.quantity", equals(json.Number("0"))},
	DamageQuantityNegative:     {"data.lines.quantity", equals(json.Number("-2"))},
	DamageQuantityTooLarge:     {"data.lines.quantity", equals(json.Number("2147483648"))},
	DamagePriceNegative:        {"data.lines.unit_price_minor", equals(json.Number("-1"))},
	DamageTotalTooLarge:        {"data.lines", totalOverflows},
	DamageAmountNegative:       {"data.amount_minor", equals(json.Number("-1"))},
	DamageAmountText:           {"data.amount_minor", equals("12.50")},
	DamageCountry:              {"data.address.country", matches(`^[a-z]{2}$`)},
	DamageNoBasket:             {"data.basket", nil},
	DamagePriceNumber:          {"data.lines.price", equals(json.Number("999"))},
	DamageVersionZero:          {"data.version", equals(json.Number("0"))},
	DamageVersionNegative:      {"data.version", equals(json.Number("-1"))},
	DamageVersionTooLarge:      {"data.version", equals(json.Number("1000001"))},
	DamagePlacedBefore2000:     {"data.placed_at", outside(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), noon.AddDate(99, 0, 0))},
	DamagePlacedInFuture:       {"data.placed_at", outside(time.Time{}, noon.AddDate(1, 0, 0))},
}

// pathIn is where a fault of the first schema version lies in an event's own.
func pathIn(e Event, path string) string {
	if e.Schema == 1 || e.Type != typePlaced {
		return path
	}
	path = strings.Replace(path, "data.currency", "data.basket.currency", 1)
	path = strings.Replace(path, "data.lines", "data.basket.lines", 1)
	return strings.Replace(path, "unit_price_minor", "price.unit_minor", 1)
}

func hasLineTwice(lines any) bool {
	seen := make(map[any]bool)
	for _, l := range lines.([]any) {
		id := l.(map[string]any)["line_id"]
		if seen[id] {
			return true
		}
		seen[id] = true
	}
	return false
}

func totalOverflows(lines any) bool {
	total := 0.0
	for _, l := range lines.([]any) {
		quantity, _ := l.(map[string]any)["quantity"].(json.Number).Float64()
		number, ok := l.(map[string]any)["unit_price_minor"].(json.Number)
		if !ok {
			number = l.(map[string]any)["price"].(map[string]any)["unit_minor"].(json.Number)
		}
		price, _ := number.Float64()
		total += quantity * price
	}
	return total > math.MaxInt64
}

// brokenBytes tells the damages that leave no JSON object from those that do.
var brokenBytes = map[Damage]func(e Event) bool{
	DamageTruncated: func(e Event) bool {
		var syntax *json.SyntaxError
		_, err := parse(e.Payload)
		return bytes.HasPrefix(e.Original, e.Payload) && (errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF))
	},
	DamageGarbage: func(e Event) bool { return !utf8.Valid(e.Payload) && !json.Valid(e.Payload) },
	DamageInvalidUTF8: func(e Event) bool { // encoding/json lets it pass, so a reader has to look
		return !utf8.Valid(e.Payload) && bytes.Equal(bytes.ReplaceAll(e.Payload, []byte{0xc3, '"'}, []byte{'"'}), e.Original)
	},
	DamageTopLevelArray: func(e Event) bool {
		var list []json.RawMessage
		return json.Unmarshal(e.Payload, &list) == nil && len(list) == 1 && bytes.Equal(list[0], e.Original)
	},
	DamageTopLevelText: func(e Event) bool {
		var text string
		return json.Unmarshal(e.Payload, &text) == nil && text == string(e.Original)
	},
	DamageTrailingData: func(e Event) bool { return !json.Valid(e.Payload) && bytes.HasPrefix(e.Payload, e.Original) },
	DamageEmpty:        func(e Event) bool { return len(e.Payload) == 0 },
}

func parse(payload []byte) (map[string]any, error) {
	var doc map[string]any
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	err := decoder.Decode(&doc)
	return doc, err
}

// at returns the value under a path, and the object it is a member of.
func at(doc map[string]any, path string) (value any, holder map[string]any) {
	steps := strings.Split(path, ".")
	for _, step := range steps[:len(steps)-1] {
		switch inner := doc[step].(type) {
		case map[string]any:
			doc = inner
		case []any:
			doc = inner[len(inner)-1].(map[string]any)
		}
	}
	return doc[steps[len(steps)-1]], doc
}

func TestEachDamageHasItsFaultAndNoOther(t *testing.T) {
	found := make(map[Damage]int)
	inSecond := make(map[Damage]int)
	cfg := Config{Seed: 8, Orders: 2_500, DamagedShare: 0.2, PlacedV2Share: 0.5}
	for e := range run(t, cfg).Events() {
		if e.Damage == "" {
			continue
		}
		found[e.Damage]++
		if e.Schema == 2 {
			inSecond[e.Damage]++
		}
		if e.Damage.Code() == "" {
			t.Errorf("damage %q has no code", e.Damage)
		}
		if broken, ok := brokenBytes[e.Damage]; ok {
			if !broken(e) {
				t.Errorf("damage %q is not to be seen in %q", e.Damage, e.Payload)
			}
			continue
		}
		checkFault(t, e)
	}
	for _, d := range Damages() {
		if found[d] == 0 {
			t.Errorf("damage %q does not occur", d)
		}
	}
	if found[DamageEmpty] != 1 {
		t.Errorf("%d empty records, want 1", found[DamageEmpty])
	}
	for _, d := range []Damage{DamageNoCurrency, DamageNoLines, DamageNoPrice, DamageCurrency, DamageLineTwice, DamageTotalTooLarge} {
		if inSecond[d] == 0 || inSecond[d] == found[d] {
			t.Errorf("damage %q: %d of %d in the second schema version, want some", d, inSecond[d], found[d])
		}
	}
	if len(found) != len(faults)+len(brokenBytes) {
		t.Errorf("%d damages, %d of them known to this test", len(found), len(faults)+len(brokenBytes))
	}
}

// checkFault holds that the value at the named place is wrong and that nothing else is: with the original value put
// back, the document is the original.
func checkFault(t *testing.T, e Event) {
	t.Helper()
	f, known := faults[e.Damage]
	if !known {
		t.Errorf("damage %q is unknown to this test", e.Damage)
		return
	}
	sound, err := parse(e.Original)
	if err != nil {
		t.Fatal(err)
	}
	broken, err := parse(e.Payload)
	if err != nil {
		t.Fatalf("damage %q: %v", e.Damage, err)
	}
	path := pathIn(e, f.path)
	name := path[strings.LastIndex(path, ".")+1:]
	value, holder := at(broken, path)
	_, isThere := holder[name]
	if isThere != (f.is != nil) || (isThere && !f.is(value)) {
		t.Errorf("damage %q is not to be seen in %s", e.Damage, e.Payload)
	}
	was, from := at(sound, path)
	if _, wasThere := from[name]; wasThere {
		holder[name] = was
	} else {
		delete(holder, name)
	}
	if diff := cmp.Diff(sound, broken); diff != "" {
		t.Errorf("damage %q changes more than %s:\n%s", e.Damage, path, diff)
	}
}

func TestSoundPayloadsKeepTheRulesOfTheOrderEvent(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	optional := map[string]int{}
	for _, e := range busyInTwoVersions(t, 9, 1_000) {
		payload := e.Payload
		if e.Damage != "" {
			payload = e.Original
		}
		doc, err := parse(payload)
		if err != nil || !utf8.Valid(payload) {
			t.Fatalf("event %s: %v", e.ID, err)
		}
		data := doc["data"].(map[string]any)
		if doc["specversion"] != "1.0" || doc["id"] != e.ID || doc["source"] == "" || doc["type"] != fmt.Sprintf("%s.v%d", e.Type, e.Schema) {
			t.Errorf("envelope of %s", payload)
		}
		if data["order_id"] != e.OrderID || !uuid.MatchString(e.OrderID) || !uuid.MatchString(e.ID) ||
			data["customer_id"] != e.CustomerID || data["version"] != json.Number(strconv.FormatInt(e.Version, 10)) {
			t.Errorf("data of %s", payload)
		}
		for text, want := range map[any]time.Time{doc["time"]: e.Time, data["placed_at"]: e.PlacedAt} {
			if got, err := time.Parse(time.RFC3339, text.(string)); err != nil || !got.Equal(want) {
				t.Errorf("time %v, want %v", text, want)
			}
		}
		for _, name := range []string{"traceparent", "datacontenttype", "subject", "sequence", "ID"} {
			if _, ok := doc[name]; ok {
				optional[name]++
			}
		}
		for _, name := range []string{"address", "delivery_address", "invoice_address", "loyalty", "Version"} {
			if _, ok := data[name]; ok {
				optional["data."+name]++
			}
		}
		if trace, ok := doc["traceparent"].(string); ok && !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`).MatchString(trace) {
			t.Errorf("traceparent %s", trace)
		}
	}
	for _, name := range []string{
		"traceparent", "datacontenttype", "subject", "sequence", "ID", "data.address", "data.delivery_address", "data.invoice_address", "data.loyalty", "data.Version",
	} {
		if optional[name] == 0 {
			t.Errorf("no event has the optional member %s", name)
		}
	}
}

func TestDamagesAreUsedEvenly(t *testing.T) {
	var sequence []Damage
	for e := range run(t, Config{Seed: 10, Orders: 5_000, DamagedShare: 0.005}).Events() {
		if e.Damage != "" {
			sequence = append(sequence, e.Damage)
		}
	}
	kinds := len(slices.Compact(slices.Sorted(slices.Values(sequence))))
	if kinds < len(Damages())*9/10 {
		t.Errorf("%d damaged events in %d ways, want most of the %d", len(sequence), kinds, len(Damages()))
	}
}
