package order

import (
	"slices"
	"testing"

	"penstock/view"
	"penstock/view/viewtest"
)

func FuzzProject(f *testing.F) {
	f.Add([]byte(sound))
	for _, data := range goldenEvents(f) {
		f.Add(data)
		f.Add(data[:len(data)/2])
		damaged := slices.Clone(data)
		damaged[len(data)*2/3] ^= 0xff
		f.Add(damaged)
	}
	for _, data := range []string{"", "null", "[]", "{", `{"data":{}}`, `{"type":"order.paid.v9","data":{"version":null}}`} {
		f.Add([]byte(data))
	}
	tables := View{}.Tables()
	f.Fuzz(func(t *testing.T, data []byte) {
		before := string(data)
		result, err := project(data)
		again, errAgain := project(data)
		if string(data) != before {
			t.Fatal("Project changed the record")
		}
		if err != nil {
			poison, ok := view.AsPoison(err)
			if !ok {
				t.Fatalf("%v: is not poison", err)
			}
			if !slices.Contains(view.Codes(), poison.Code) {
				t.Errorf("%v: unknown code", err)
			}
			if poison.Stage != view.StageDecode && poison.Stage != view.StageValidate {
				t.Errorf("%v: wrong stage", err)
			}
			if len(poison.Err.Error()) > 400 {
				t.Errorf("message of %d bytes", len(poison.Err.Error()))
			}
			if errAgain == nil || errAgain.Error() != err.Error() {
				t.Errorf("poison differs: first %v, then %v", err, errAgain)
			}
			return
		}
		if len(result.Mutations) != len(tables) {
			t.Fatalf("%d mutations, want %d", len(result.Mutations), len(tables))
		}
		for _, m := range result.Mutations {
			if err := viewtest.Conform(tables, m); err != nil {
				t.Error(err)
			}
			for _, c := range m.Cells {
				latest := view.Stamp(goldenArrival.Add(maxAhead).UnixMicro() + maxVersion)
				if c.Stamp < view.Stamp(earliestPlacedAt.UnixMicro()) || c.Stamp > latest {
					t.Errorf("column %s: stamp %d out of bounds", c.Column, c.Stamp)
				}
			}
			table := tables[slices.IndexFunc(tables, func(table view.Table) bool { return table.Name == m.Table })]
			if _, err := NewRow(table, view.Row{Key: m.Key, Cells: m.Cells}); err != nil {
				t.Errorf("a row of this event alone: %v", err)
			}
		}
		if errAgain != nil || describe(again) != describe(result) {
			t.Error("Project differs on the same record")
		}
	})
}
