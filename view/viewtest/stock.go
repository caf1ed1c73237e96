package viewtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"penstock/view"
)

// StockRevision is what [Stock] has for its revision.
const StockRevision = "stock/1"

// Stock projects stock levels into one table, a row per warehouse and SKU. Each event says what changed, and an event
// with a higher sequence overrides what it says anew. The zero value is ready.
//
// An event is a JSON object such as
//
//	{"id":"e-1","type":"stock.changed","warehouse":"W1","sku":"TEA","sequence":7,"at":"2026-11-21T10:00:00Z",
//	 "on_hand":12,"reserved":2,"aisle":"B","shelf":4,"discontinued":false}
//
// of which the last line's fields may be absent, but aisle and shelf go together.
type Stock struct{}

var _ view.View = Stock{}

// Name returns "stock".
func (Stock) Name() string { return "stock" }

// Revision returns [StockRevision].
func (Stock) Revision() string { return StockRevision }

// location is where the goods lie.
var location = view.UserType("location",
	view.Field{Name: "aisle", Type: view.Text},
	view.Field{Name: "shelf", Type: view.Int})

// StockTable is the table that [Stock] writes.
var StockTable = view.Table{
	Name:       "stock",
	Partition:  []view.KeyColumn{{Name: "warehouse", Type: view.Text}},
	Clustering: []view.KeyColumn{{Name: "sku", Type: view.Text}},
	Columns: []view.Column{
		{Name: "on_hand", Type: view.Int, Class: view.Revisable},
		{Name: "reserved", Type: view.Int, Class: view.Revisable},
		{Name: "location", Type: location, Class: view.Revisable},
		{Name: "discontinued", Type: view.Boolean, Class: view.Revisable},
	},
	Provenance: view.ProvenanceLast,
}

// Tables returns [StockTable].
func (Stock) Tables() []view.Table { return []view.Table{StockTable} }

// stockEvent is an event as it stands in a record.
type stockEvent struct {
	ID           string    `json:"id"`
	Type         string    `json:"type"`
	Warehouse    string    `json:"warehouse"`
	SKU          string    `json:"sku"`
	Sequence     *int64    `json:"sequence"`
	At           time.Time `json:"at"`
	OnHand       *int32    `json:"on_hand,omitempty"`
	Reserved     *int32    `json:"reserved,omitempty"`
	Aisle        *string   `json:"aisle,omitempty"`
	Shelf        *int32    `json:"shelf,omitempty"`
	Discontinued *bool     `json:"discontinued,omitempty"`
}

// Project returns one mutation or a [*view.Poison].
func (Stock) Project(record view.Record) (view.Result, error) {
	var e stockEvent
	if err := json.Unmarshal(record.Data, &e); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return view.Result{}, e.poison(view.StageDecode, view.CodeMalformedField,
				fmt.Errorf("/%s: %s: must be a %s", wrong.Field, wrong.Value, wrong.Type))
		}
		return view.Result{}, e.poison(view.StageDecode, view.CodeBadJSON, err)
	}
	if missing := e.missing(); missing != "" {
		return view.Result{}, e.poison(view.StageDecode, view.CodeMissingField,
			fmt.Errorf("/%s: must be present and not empty", missing))
	}
	if e.Type != "stock.changed" {
		return view.Result{}, e.poison(view.StageDecode, view.CodeUnknownType,
			fmt.Errorf("/type: %.40q: must be stock.changed", e.Type))
	}
	if *e.Sequence < 1 {
		return view.Result{}, e.poison(view.StageValidate, view.CodeVersionOutOfRange,
			fmt.Errorf("/sequence: %d: must be at least 1", *e.Sequence))
	}
	stamps, err := view.NewStamps(1, *e.Sequence) // stock has no birth
	if err != nil {
		return view.Result{}, e.poison(view.StageValidate, view.CodeStampOutOfRange, fmt.Errorf("/sequence: %w", err))
	}
	return view.Result{Mutations: []view.Mutation{e.mutation(stamps)}, Event: e.facts()}, nil
}

func (e *stockEvent) missing() string {
	switch {
	case e.ID == "":
		return "id"
	case e.Type == "":
		return "type"
	case e.Warehouse == "":
		return "warehouse"
	case e.SKU == "":
		return "sku"
	case e.Sequence == nil:
		return "sequence"
	case e.At.IsZero():
		return "at"
	case e.Aisle == nil && e.Shelf != nil:
		return "aisle"
	case e.Aisle != nil && e.Shelf == nil:
		return "shelf"
	}
	return ""
}

func (e *stockEvent) poison(stage view.Stage, code view.Code, err error) *view.Poison {
	return &view.Poison{Stage: stage, Code: code, Event: e.facts(), Err: err}
}

func (e *stockEvent) facts() view.Event {
	facts := view.Event{ID: e.ID, Type: e.Type, Time: e.At}
	if e.Sequence != nil {
		facts.EntityVersion = *e.Sequence
	}
	if e.Warehouse != "" && e.SKU != "" {
		facts.Entity = e.Warehouse + "/" + e.SKU
	}
	return facts
}

func (e *stockEvent) mutation(stamps view.Stamps) view.Mutation {
	m := view.Mutation{
		Table: StockTable.Name,
		Key:   []view.Value{view.TextValue(e.Warehouse), view.TextValue(e.SKU)},
		Cells: []view.Cell{StockTable.ProvenanceCell(view.EventRef(e.facts()), stamps)},
	}
	revise := func(column string, v view.Value) {
		m.Cells = append(m.Cells, view.Cell{Column: column, Value: v, Stamp: stamps.Revisable})
	}
	if e.OnHand != nil {
		revise("on_hand", view.IntValue(*e.OnHand))
	}
	if e.Reserved != nil {
		revise("reserved", view.IntValue(*e.Reserved))
	}
	if e.Aisle != nil {
		revise("location", view.TupleValue(view.TextValue(*e.Aisle), view.IntValue(*e.Shelf)))
	}
	if e.Discontinued != nil {
		revise("discontinued", view.BooleanValue(*e.Discontinued))
	}
	return m
}
