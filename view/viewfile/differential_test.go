package viewfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/localstack/shop"
	"penstock/order"
	"penstock/view"
)

// decision spells out what a view decides of a record: everything it writes, or stage, code and facts of the poison.
func decision(v view.View, record view.Record) string {
	result, err := v.Project(record)
	if err == nil {
		return describe(result)
	}
	poison, ok := view.AsPoison(err)
	if !ok {
		return "no poison: " + err.Error()
	}
	return fmt.Sprintf("poison %s %s %+v", poison.Stage, poison.Code, poison.Event)
}

// compareDecisions holds the order view from a file against the one in Go.
func compareDecisions(t testing.TB, file *View, data []byte, arrival time.Time) string {
	t.Helper()
	record := view.Record{Data: data, Arrival: arrival}
	want := decision(order.View{}, record)
	if got := decision(file, record); got != want {
		_, goErr := order.View{}.Project(record)
		_, fileErr := file.Project(record)
		t.Errorf("%s\ngot:  %s\nwant: %s\nfile: %v\ngo:   %v", cut(string(data), 1500), got, want, fileErr, goErr)
	}
	return want
}

func TestTheOrderFileDecidesAsGoDoesForAShopsEvents(t *testing.T) {
	file := loadExample(t, "order")
	s, err := shop.New(shop.Config{Seed: 3, Orders: 1500, DamagedShare: 0.4, PlacedV2Share: 0.5, Now: goldenArrival})
	if err != nil {
		t.Fatal(err)
	}
	damages := map[shop.Damage]int{}
	for e := range s.Events() {
		compareDecisions(t, file, e.Payload, goldenArrival)
		damages[e.Damage]++
		if t.Failed() {
			return
		}
	}
	for _, d := range shop.Damages() {
		if damages[d] == 0 {
			t.Logf("%s was not met", d)
		}
	}
	if len(damages) < 50 || damages[""] < 1000 {
		t.Errorf("%d sound events and %d kinds of damage are too few", damages[""], len(damages)-1)
	}
}

// edit is one place of a JSON document.
type edit struct {
	at  string
	set func(value any)
}

// edits lists every member of every object and every element of every array, with a way to replace it.
func edits(at string, doc any) []edit {
	var out []edit
	switch d := doc.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(d)) {
			out = append(out, edit{at + "/" + k, func(v any) {
				if v == gone {
					delete(d, k)
				} else {
					d[k] = v
				}
			}})
			out = append(out, edits(at+"/"+k, d[k])...)
		}
	case []any:
		for i := range d {
			out = append(out, edit{fmt.Sprintf("%s/%d", at, i), func(v any) { d[i] = v }})
			out = append(out, edits(fmt.Sprintf("%s/%d", at, i), d[i])...)
		}
	}
	return out
}

var gone any = struct{ gone bool }{true}

func decodeAny(t testing.TB, data []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestTheOrderFileDecidesAsGoDoesForEveryDamage replaces every place of every golden event by values of other types and
// by values at the edges of what the order view allows.
func TestTheOrderFileDecidesAsGoDoesForEveryDamage(t *testing.T) {
	file := loadExample(t, "order")
	values := []any{gone, nil, true, "", "x", "EUR", "eur", "DE", "1", json.Number("0"), json.Number("1"), json.Number("-1"), json.Number("1.0"), json.Number("1e0"),
		json.Number("1000000"), json.Number("1000001"), json.Number("2147483648"), json.Number("9223372036854775807"), json.Number("9223372036854775808"),
		strings.Repeat("é", 128), strings.Repeat("é", 128) + "x", "2000-01-01T00:00:00Z", "1999-12-31T23:59:59.9999999Z", "2026-11-21T10:05:01Z", "2026-11-21T10:05:01.000001Z",
		"2026-11-21T10:00:00", "2026-11-21t10:00:00z", "0000-01-01T00:00:00Z", "order.paid.v1", "order.paid.v2", "order.paid", "order.v1", "order.paid.v0", "order.paid.v01",
		"0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70", "0F9A5D1E6C1B4A7E8F3D2B9C4E5D6A70", "application/json;x=y", "1.0", []any{}, map[string]any{}, []any{nil}, []any{map[string]any{}}}
	decided := map[bool]int{}
	for name, data := range goldenOrders(t) {
		for i, e := range edits("", decodeAny(t, data)) {
			for _, v := range values {
				doc := decodeAny(t, data)
				place := edits("", doc)[i]
				if v == gone && strings.HasSuffix(e.at, "/0") || v == gone && strings.HasSuffix(e.at, "/1") {
					continue // an element cannot be gone
				}
				place.set(v)
				damaged, err := json.Marshal(doc)
				if err != nil {
					t.Fatal(err)
				}
				decided[strings.HasPrefix(compareDecisions(t, file, damaged, goldenArrival), "poison")]++
				if t.Failed() {
					t.Fatalf("%s: %s = %v", name, e.at, v)
				}
			}
		}
	}
	if decided[true] < 1000 || decided[false] < 100 {
		t.Errorf("%d are poison and %d are not: too few", decided[true], decided[false])
	}
}

// TestTheOrderFileDecidesAsGoDoesForSeveralDamages makes several faults in one event, of which both must tell the same.
func TestTheOrderFileDecidesAsGoDoesForSeveralDamages(t *testing.T) {
	file := loadExample(t, "order")
	golden := goldenOrders(t)
	names := slices.Sorted(maps.Keys(golden))
	rapid.Check(t, func(rt *rapid.T) {
		doc := decodeAny(t, golden[rapid.SampledFrom(names).Draw(rt, "event")])
		for range rapid.IntRange(2, 4).Draw(rt, "damages") {
			places := edits("", doc)
			place := places[rapid.IntRange(0, len(places)-1).Draw(rt, "place")]
			place.set(rapid.SampledFrom([]any{nil, "x", "", json.Number("0"), json.Number("-7"), []any{}, map[string]any{}, "order.lost.v1"}).Draw(rt, "value"))
		}
		damaged, err := json.Marshal(doc)
		if err != nil {
			rt.Fatal(err)
		}
		record := view.Record{Data: damaged, Arrival: goldenArrival}
		if got, want := decision(file, record), decision(order.View{}, record); got != want {
			_, goErr := order.View{}.Project(record)
			_, fileErr := file.Project(record)
			rt.Fatalf("%s\ngot:  %s\nwant: %s\nfile: %v\ngo:   %v", damaged, got, want, fileErr, goErr)
		}
	})
}
