package viewtest_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/view"
	"penstock/view/viewtest"
)

func TestStockIsASoundView(t *testing.T) {
	if err := view.Check(viewtest.Stock{}); err != nil {
		t.Error(err)
	}
}

func TestStockWritesWhatTheEventSays(t *testing.T) {
	data := `{"id":"e-1","type":"stock.changed","warehouse":"W1","sku":"TEA","sequence":7,"at":"2026-11-21T10:00:00.0009Z",` +
		`"on_hand":12,"aisle":"B","shelf":4,"discontinued":false}`
	result, err := viewtest.Stock{}.Project(view.Record{Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	want := []view.Cell{
		{Column: "discontinued", Value: view.BooleanValue(false), Stamp: 8},
		{Column: "last_event", Value: view.EventRef(result.Event), Stamp: 8},
		{Column: "location", Value: view.TupleValue(view.TextValue("B"), view.IntValue(4)), Stamp: 8},
		{Column: "on_hand", Value: view.IntValue(12), Stamp: 8},
	}
	values := cmp.Comparer(func(a, b view.Value) bool { return a == b })
	if diff := cmp.Diff(want, view.Merge(result.Mutations[0].Cells, nil), values); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	if e := result.Event; e.ID != "e-1" || e.Entity != "W1/TEA" || e.EntityVersion != 7 || e.Type != "stock.changed" {
		t.Errorf("facts: %+v", e)
	}
}

func TestStockPoison(t *testing.T) {
	sound := `{"id":"e-1","type":"stock.changed","warehouse":"W1","sku":"TEA","sequence":7,"at":"2026-11-21T10:00:00Z"}`
	tests := []struct {
		name, old, new string
		stage          view.Stage
		code           view.Code
		message        string
	}{
		{"cut off", `Z"}`, ``, view.StageDecode, view.CodeBadJSON, "unexpected end"},
		{"another type", `stock.changed`, `stock.lost`, view.StageDecode, view.CodeUnknownType, `/type: "stock.lost"`},
		{"no sku", `"sku"`, `"-"`, view.StageDecode, view.CodeMissingField, "/sku: must be present"},
		{"half a location", `"sku"`, `"shelf":1,"sku"`, view.StageDecode, view.CodeMissingField, "/aisle: must be present"},
		{"sequence as text", `7,`, `"7",`, view.StageDecode, view.CodeMalformedField, "/sequence: string: must be a int64"},
		{"sequence of zero", `7,`, `0,`, view.StageValidate, view.CodeVersionOutOfRange, "/sequence: 0: must be"},
		{"largest sequence", `7,`, strconv.Itoa(math.MaxInt64) + `,`, view.StageValidate, view.CodeStampOutOfRange, "must fit in 63 bits"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := viewtest.Stock{}.Project(view.Record{Data: []byte(strings.Replace(sound, test.old, test.new, 1))})
			poison, ok := view.AsPoison(err)
			if !ok || poison.Stage != test.stage || poison.Code != test.code || !strings.Contains(err.Error(), test.message) {
				t.Errorf("got %v, want %s, %s, %q", err, test.stage, test.code, test.message)
			}
		})
	}
}

func TestStockEventsAreTheSameForTheSameSeed(t *testing.T) {
	records, rows := viewtest.StockEvents(7, 500)
	recordsAgain, rowsAgain := viewtest.StockEvents(7, 500)
	if diff := cmp.Diff(records, recordsAgain); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(rows, rowsAgain); diff != "" {
		t.Error(diff)
	}
	others, _ := viewtest.StockEvents(8, 500)
	if bytes.Equal(records[0].Data, others[0].Data) {
		t.Error("another seed gives the same events")
	}
	ids := map[string]bool{}
	for _, r := range records {
		ids[r.ID] = true
	}
	if len(ids) != 500 || len(records) <= 500 {
		t.Errorf("%d records of %d events, want 500 events and some repeated", len(records), len(ids))
	}
}

// Two independent ways to the same rows: the view's mutations merged, and the generator's own oracle.
func TestStockMergesToTheOraclesRows(t *testing.T) {
	for seed := range uint64(5) {
		records, want := viewtest.StockEvents(seed, 1000)
		merged := map[string]view.Row{}
		for _, r := range records {
			result, err := viewtest.Stock{}.Project(view.Record{Data: r.Data})
			if err != nil {
				t.Fatalf("%s: %v", r.Data, err)
			}
			for _, m := range result.Mutations {
				if err := viewtest.Conform(viewtest.Stock{}.Tables(), m); err != nil {
					t.Fatal(err)
				}
				merged[m.RowKey()] = view.Row{Key: m.Key, Cells: view.Merge(merged[m.RowKey()].Cells, m.Cells)}
			}
		}
		var got []viewtest.StockRow
		for _, row := range merged {
			got = append(got, selectJSON(t, row))
		}
		slices.SortFunc(got, func(a, b viewtest.StockRow) int { return strings.Compare(a.Key(), b.Key()) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: rows (-oracle +merged):\n%s", seed, diff)
		}
	}
}

// selectJSON spells a row of stock as SELECT JSON does.
func selectJSON(t *testing.T, row view.Row) viewtest.StockRow {
	columns := map[string]any{
		"warehouse": row.Key[0].Text(), "sku": row.Key[1].Text(),
		"on_hand": nil, "reserved": nil, "location": nil, "discontinued": nil, "last_event": nil,
	}
	for _, c := range row.Cells {
		var err error
		switch c.Column {
		case "on_hand", "reserved":
			columns[c.Column], err = c.Value.Int()
		case "discontinued":
			columns[c.Column], err = c.Value.Boolean()
		case "location":
			fields, tupleErr := c.Value.Tuple(2)
			if tupleErr != nil {
				t.Fatal(tupleErr)
			}
			var shelf int32
			shelf, err = fields[1].Int()
			columns[c.Column] = map[string]any{"aisle": fields[0].Text(), "shelf": shelf}
		case "last_event":
			fields, tupleErr := c.Value.Tuple(4)
			if tupleErr != nil {
				t.Fatal(tupleErr)
			}
			version, versionErr := fields[0].Bigint()
			at, timeErr := fields[2].Timestamp()
			if versionErr != nil || timeErr != nil {
				t.Fatal(versionErr, timeErr)
			}
			columns[c.Column] = map[string]any{"version": version, "type": fields[1].Text(),
				"time": at.Format("2006-01-02 15:04:05.000Z"), "id": fields[3].Text()}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(columns)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := viewtest.DecodeStockRow(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}
