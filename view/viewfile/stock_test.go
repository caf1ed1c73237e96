package viewfile

import (
	"testing"

	"penstock/view"
	"penstock/view/viewtest"
)

// restated is the view of viewtest as a file.
const restated = `view: stock
event:
  envelope: plain
  id: /id
  type: /type
  version: {path: /sequence, require: {min: 1}}
  time: /at
  entity: [/warehouse, /sku]
types:
  location: {aisle: text, shelf: int}
tables:
  stock:
    partition: {warehouse: {type: text, path: /warehouse}}
    clustering: {sku: {type: text, path: /sku}}
    provenance: last
    columns:
      on_hand: {type: int, class: revisable}
      reserved: {type: int, class: revisable}
      location: {type: frozen<location>, class: revisable}
      discontinued: {type: boolean, class: revisable}
on:
  stock.changed:
    stock:
      set:
        on_hand: {path: /on_hand, optional: true}
        reserved: {path: /reserved, optional: true}
        location: {optional: true, fields: {aisle: /aisle, shelf: /shelf}}
        discontinued: {path: /discontinued, optional: true}
`

// TestTheViewOfViewtestRestated holds the file against the view in Go, whose rows viewtest holds against an oracle.
func TestTheViewOfViewtestRestated(t *testing.T) {
	v := mustLoad(t, restated)
	if err := view.Check(v); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(3) {
		records, _ := viewtest.StockEvents(seed, 1000)
		for _, r := range records {
			record := view.Record{Data: r.Data}
			want, err := viewtest.Stock{}.Project(record)
			if err != nil {
				t.Fatal(err)
			}
			got, err := v.Project(record)
			if err != nil {
				t.Fatalf("%s: %v", r.Data, err)
			}
			if got.Event.Time = got.Event.Time.UTC(); describe(view.Result{Mutations: got.Mutations}) != describe(view.Result{Mutations: want.Mutations}) {
				t.Fatalf("%s\ngot:  %s\nwant: %s", r.Data, describe(got), describe(want))
			}
			if got.Event.ID != want.Event.ID || got.Event.Entity != want.Event.Entity || got.Event.EntityVersion != want.Event.EntityVersion {
				t.Fatalf("got %+v, want %+v", got.Event, want.Event)
			}
		}
	}
}

func TestHalfALocationIsPoison(t *testing.T) {
	const half = `{"id":"e","type":"stock.changed","warehouse":"W","sku":"S","sequence":1,"at":"2026-11-21T10:00:00Z","shelf":1}`
	_, err := mustLoad(t, restated).Project(view.Record{Data: []byte(half)})
	if poison, ok := view.AsPoison(err); !ok || poison.Code != view.CodeMissingField {
		t.Errorf("got %v", err)
	}
}
