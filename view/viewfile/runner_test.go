package viewfile

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"penstock/view"
)

// exampleFolder is a folder as a user would write it.
func exampleFolder(expect string, events map[string]string) fstest.MapFS {
	folder := fstest.MapFS{FileView: {Data: []byte(restated)}, FileExpect: {Data: []byte(expect)}}
	for name, data := range events {
		folder[DirEvents+"/"+name] = &fstest.MapFile{Data: []byte(data)}
	}
	return folder
}

func stockEvent(sequence, more string) string {
	return `{"id":"e-` + sequence + `","type":"stock.changed","warehouse":"W","sku":"S","sequence":` + sequence + `,"at":"2026-11-21T10:00:00Z"` + more + "}"
}

func TestTheRunnerTellsDifferencesCellByCell(t *testing.T) {
	events := map[string]string{
		"a.ndjson": stockEvent("1", `,"on_hand":1,"aisle":"A","shelf":1`) + "\n\n" + stockEvent("2", `,"on_hand":2`) + "\n",
		"b.json":   `{"id":7}`,
		"notes.md": "not an event",
	}
	const sound = "poison: {b.json: malformed_field}\nrows:\n  stock:\n    - {warehouse: W, sku: S, on_hand: 2, location: {aisle: A, shelf: 1}}\n"
	tests := []struct {
		name, expect string
		want         []string
	}{
		{"as expected", sound, nil},
		{"with the reference", strings.Replace(sound, "on_hand: 2", `on_hand: 2, last_event: {version: 2, type: stock.changed, time: "2026-11-21T10:00:00Z", id: e-2}`, 1), nil},
		{"another value", strings.Replace(sound, "on_hand: 2", "on_hand: 1", 1), []string{"stock (warehouse = 'W', sku = 'S') on_hand: is 2, expected 1"}},
		{"another field", strings.Replace(sound, "shelf: 1", "shelf: 2", 1), []string{"location: is {aisle: 'A', shelf: 1}, expected {aisle: 'A', shelf: 2}"}},
		{"a cell too many", strings.Replace(sound, "on_hand: 2", "on_hand: 2, reserved: 0", 1), []string{"reserved: expected 0, is not there"}},
		{"a cell not expected", strings.Replace(sound, "on_hand: 2, ", "", 1), []string{"on_hand: is 2, and is not expected"}},
		{"another row", strings.Replace(sound, "warehouse: W", "warehouse: V", 1), []string{"(warehouse = 'W', sku = 'S'): the row is there, and is not expected", "(warehouse = 'V', sku = 'S'): the row is expected, and is not there"}},
		{"poison not expected", strings.Replace(sound, "poison: {b.json: malformed_field}\n", "", 1), []string{"b.json is poison: decode: malformed_field"}},
		{"poison of another code", strings.Replace(sound, "malformed_field", "bad_json", 1), []string{"b.json is poison: decode: malformed_field"}},
		{"poison that is applied", strings.Replace(sound, "{b.json", "{\"a.ndjson:3\": bad_json, b.json", 1), []string{"a.ndjson:3 is applied, expected poison: bad_json"}},
		{"poison that is not there", strings.Replace(sound, "{b.json", "{c.json: bad_json, b.json", 1), []string{"c.json is expected to be poison, and there is no such event"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			report, err := Test(exampleFolder(test.expect, events), 7)
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, d := range report.Differences {
				all = append(all, d.String())
			}
			for _, want := range test.want {
				if !strings.Contains(strings.Join(all, "\n"), want) {
					t.Errorf("got %q, want %q", all, want)
				}
			}
			if len(test.want) == 0 && len(all) > 0 {
				t.Errorf("got %q", all)
			}
			if report.Events != 3 {
				t.Errorf("%d events", report.Events)
			}
		})
	}
}

func TestTheRunnerTellsEventsThatBreakTheirAuthorsWord(t *testing.T) {
	folder := exampleFolder("rows: {}", map[string]string{"a.json": stockEvent("1", `,"on_hand":2`), "b.json": stockEvent("1", `,"on_hand":1`)})
	report, err := Test(folder, 1)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, d := range report.Differences {
		found = found || d.Cell == "on_hand" && strings.Contains(d.What, "in the order of their versions end in another value")
	}
	if !found {
		t.Errorf("got %v", report.Differences)
	}
}

// TestTheRunnerTellsAViewThatRemembers plants views whose mutations depend on what they were given before.
func TestTheRunnerTellsAViewThatRemembers(t *testing.T) {
	text := []byte("rows: {stock: [{warehouse: W, sku: S, on_hand: 7}]}")
	v := mustLoad(t, restated)
	tests := []struct {
		name string
		bend func(calls int, result *view.Result) error
		want string
	}{
		{"not at all", func(int, *view.Result) error { return nil }, ""},
		{"in a value", func(calls int, result *view.Result) error {
			for _, m := range result.Mutations {
				for i := range m.Cells {
					if m.Cells[i].Column == "on_hand" && calls > 40 {
						m.Cells[i].Value = view.IntValue(8)
					}
				}
			}
			return nil
		}, "stock (warehouse = 'W', sku = 'S') on_hand: another order of the events ends in another value"},
		{"in what is poison", func(calls int, _ *view.Result) error {
			if calls > 40 {
				return &view.Poison{Stage: view.StageDecode, Code: view.CodeMalformedField, Err: errors.New("enough")}
			}
			return nil
		}, "is applied in one order of the events, and is poison in another"},
		{"in a cell that is not there", func(calls int, result *view.Result) error {
			if calls > 40 {
				result.Mutations = nil
			}
			return nil
		}, "on_hand: another order of the events ends in another value"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want, err := readExpectation(FileExpect, text, v)
			if err != nil {
				t.Fatal(err)
			}
			calls := 0
			runner := tester{view: v, want: want, records: []record{
				{name: "a", data: []byte(stockEvent("1", `,"on_hand":6`))}, {name: "b", data: []byte(stockEvent("2", `,"on_hand":7`))},
			}, project: func(r view.Record) (view.Result, error) {
				result, err := v.Project(r)
				calls++
				if bent := test.bend(calls, &result); bent != nil {
					err = bent
				}
				return result, err
			}}
			runner.run(1)
			var all []string
			for _, d := range runner.report.Differences {
				all = append(all, d.String())
			}
			if (test.want == "") != (len(all) == 0) || !strings.Contains(strings.Join(all, "\n"), test.want) {
				t.Errorf("got %q, want %q", all, test.want)
			}
		})
	}
}

func TestTheRunnersOwnRowsAreWhatItExpects(t *testing.T) {
	folder := exampleFolder("rows: {}", map[string]string{"a.json": stockEvent("1", `,"on_hand":2,"aisle":"通 \"路\"","shelf":1`)})
	report, err := Test(folder, 1)
	if err != nil {
		t.Fatal(err)
	}
	folder[FileExpect].Data = report.Actual
	if report, err = Test(folder, 1); err != nil || len(report.Differences) > 0 {
		t.Errorf("%v, %v", err, report.Differences)
	}
}

func TestTheRunnerNamesWhatItCannotRead(t *testing.T) {
	events := map[string]string{"a.json": stockEvent("1", "")}
	tests := []struct {
		name   string
		change func(fstest.MapFS)
		want   string
	}{
		{"no view", func(f fstest.MapFS) { delete(f, FileView) }, "read the view"},
		{"a view that is refused", func(f fstest.MapFS) { f[FileView].Data = []byte("view: 7") }, "view.yaml:1"},
		{"no expectation", func(f fstest.MapFS) { delete(f, FileExpect) }, "read what is expected"},
		{"no events", func(f fstest.MapFS) { delete(f, DirEvents+"/a.json") }, "read the events"},
		{"unknown table", func(f fstest.MapFS) { f[FileExpect].Data = []byte("rows: {t: []}") }, "expect.yaml:1:8: rows.t: the view has no such table"},
		{"unknown column", func(f fstest.MapFS) {
			f[FileExpect].Data = []byte("rows: {stock: [{warehouse: W, sku: S, x: 1}]}")
		}, "table stock has no column x"},
		{"no key", func(f fstest.MapFS) { f[FileExpect].Data = []byte("rows: {stock: [{warehouse: W}]}") }, "key column sku is missing"},
		{"a wrong value", func(f fstest.MapFS) {
			f[FileExpect].Data = []byte("rows: {stock: [{warehouse: W, sku: S, on_hand: x}]}")
		}, `"x" is no int`},
		{"a row twice", func(f fstest.MapFS) {
			f[FileExpect].Data = []byte("rows:\n  stock:\n    - {warehouse: W, sku: S}\n    - {warehouse: W, sku: S}")
		}, "expect.yaml:4:7: rows.stock.1: the row stands in line 3 as well"},
		{"no arrival", func(f fstest.MapFS) {
			f[FileView].Data = []byte(strings.Replace(restated, "time: /at", "time: {path: /at, require: {not_after_arrival: 5m}}", 1))
		}, "arrival is missing"},
		{"a bad arrival", func(f fstest.MapFS) { f[FileExpect].Data = []byte("arrival: now\nrows: {}") }, "is no RFC 3339 time"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := exampleFolder("rows: {}", events)
			test.change(folder)
			if _, err := Test(folder, 1); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
