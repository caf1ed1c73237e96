package viewfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"penstock/view"
)

// The files of a folder that [Test] reads.
const (
	FileView   = "view.yaml"   // the view
	FileExpect = "expect.yaml" // what its events end in
	DirEvents  = "events"      // the events: NAME.json is one record, NAME.ndjson has one in each line
)

// Report is what a test of a view found.
type Report struct {
	View        string
	Warnings    []Warning
	Events      int // records read, poison among them
	Poison      int
	Rows        int
	Orders      int // in how many orders, with repetitions, the events were applied
	Differences []Difference
	Actual      []byte // the rows as the section rows of expect.yaml
}

// Difference is one thing that is not as expected.
type Difference struct {
	Table string // empty where it is about an event
	Row   string // the key, as CQL writes it
	Cell  string // the column, with the map's key or the set's element
	What  string // what is expected and what is there
}

// String returns "table (row) cell: what".
func (d Difference) String() string {
	parts := []string{}
	for _, p := range []string{d.Table, d.Row, d.Cell} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return d.What
	}
	return strings.Join(parts, " ") + ": " + d.What
}

// orders is in how many orders Test applies the events.
const orders = 20

// Test applies the events of a folder to its view, in many orders and with repetitions that the seed picks, and holds
// the rows they end in against expect.yaml:
//
//	arrival: 2026-11-21T10:00:01Z        # when the records arrived; needed where the view asks for it
//	poison: {late.json: malformed_field} # events that must be poison, with the code
//	rows:
//	  stock_by_warehouse:
//	    - {warehouse: W1, sku: TEA, on_hand: 12, names: {en: Tea}}
//
// Every row and every cell counts; the columns events and last_event count where a row names them. The rows are also held
// against the events in the order of their versions, each overwriting what it sets: where these differ, the events break
// what only the author of a view can promise. The error is that of a file that cannot be read or is refused.
func Test(dir fs.FS, seed uint64) (Report, error) {
	text, err := fs.ReadFile(dir, FileView)
	if err != nil {
		return Report{}, fmt.Errorf("read the view: %w", err)
	}
	v, warnings, err := Load(FileView, text)
	if err != nil {
		return Report{Warnings: warnings}, err
	}
	if text, err = fs.ReadFile(dir, FileExpect); err != nil {
		return Report{}, fmt.Errorf("read what is expected: %w", err)
	}
	want, err := readExpectation(FileExpect, text, v)
	if err != nil {
		return Report{}, err
	}
	records, err := readRecords(dir)
	if err != nil {
		return Report{}, err
	}
	if v.asksArrival() && want.arrival.IsZero() {
		return Report{}, fmt.Errorf("%s: arrival is missing: the view requires something of times by when the record arrived", FileExpect)
	}
	t := tester{view: v, want: want, report: Report{View: v.Name(), Warnings: warnings, Events: len(records), Orders: orders}}
	t.project(records)
	t.compare(t.merge(t.events))
	t.shuffle(rand.New(rand.NewPCG(seed, 0)))
	return t.report, nil
}

// record is an event of a folder.
type record struct {
	name string
	data []byte
}

func readRecords(dir fs.FS) ([]record, error) {
	files, err := fs.ReadDir(dir, DirEvents)
	if err != nil {
		return nil, fmt.Errorf("read the events: %w", err)
	}
	var out []record
	for _, f := range files {
		one, many := strings.HasSuffix(f.Name(), ".json"), strings.HasSuffix(f.Name(), ".ndjson")
		if f.IsDir() || !one && !many {
			continue
		}
		data, err := fs.ReadFile(dir, path.Join(DirEvents, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("read an event: %w", err)
		}
		if one {
			out = append(out, record{f.Name(), data})
			continue
		}
		line := 0
		for text := range bytes.Lines(data) {
			line++
			if text = bytes.TrimSpace(text); len(text) > 0 {
				out = append(out, record{fmt.Sprintf("%s:%d", f.Name(), line), text})
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("read the events: there is none: add events/NAME.json")
	}
	return out, nil
}

// asksArrival tells whether a rule of the file is about when a record arrived.
func (v *View) asksArrival() bool {
	return strings.Contains(string(v.canonical), "not_after_arrival: ")
}

// tester applies events and notes differences.
type tester struct {
	view   *View
	want   *expectation
	report Report
	events []projected
}

// projected is what became of an event.
type projected struct {
	name   string
	result view.Result
}

func (t *tester) differ(d Difference) { t.report.Differences = append(t.report.Differences, d) }

func (t *tester) project(records []record) {
	met := map[string]bool{}
	for _, r := range records {
		result, err := t.view.Project(view.Record{Data: r.data, Arrival: t.want.arrival})
		expected := t.want.poison[r.name]
		met[r.name] = true
		poison, isPoison := view.AsPoison(err)
		switch {
		case err == nil && expected == "":
			t.events = append(t.events, projected{r.name, result})
		case err == nil:
			t.differ(Difference{What: fmt.Sprintf("%s is applied, expected poison: %s", r.name, expected)})
		case isPoison && string(poison.Code) == expected:
			t.report.Poison++
		default:
			t.report.Poison++
			t.differ(Difference{What: fmt.Sprintf("%s is poison: %v", r.name, err)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.want.poison)) {
		if !met[name] {
			t.differ(Difference{What: fmt.Sprintf("%s is expected to be poison, and there is no such event", name)})
		}
	}
}

// merge applies events in their order by the rule of Cassandra.
func (t *tester) merge(events []projected) map[string]view.Mutation {
	rows := map[string]view.Mutation{}
	for _, e := range events {
		for _, m := range e.result.Mutations {
			id := m.RowKey()
			rows[id] = view.Mutation{Table: m.Table, Key: m.Key, Cells: view.Merge(rows[id].Cells, m.Cells)}
		}
	}
	return rows
}

// fold applies events in the order of their versions: each overwrites what it sets.
func (t *tester) fold() map[string]view.Mutation {
	inOrder := slices.Clone(t.events)
	slices.SortStableFunc(inOrder, func(a, b projected) int {
		return cmp.Or(strings.Compare(a.result.Event.Entity, b.result.Event.Entity), cmp.Compare(a.result.Event.EntityVersion, b.result.Event.EntityVersion))
	})
	rows := map[string]view.Mutation{}
	for i, e := range inOrder {
		for _, m := range e.result.Mutations {
			later := slices.Clone(m.Cells)
			for j := range later {
				later[j].Stamp = view.Stamp(i + 1)
			}
			id := m.RowKey()
			rows[id] = view.Mutation{Table: m.Table, Key: m.Key, Cells: view.Merge(rows[id].Cells, later)}
		}
	}
	return rows
}

// compare holds rows against what is expected.
func (t *tester) compare(rows map[string]view.Mutation) {
	t.report.Rows, t.report.Actual = len(rows), spellRows(t.view.tables, rows)
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		if want := t.want.rows[id]; want != nil {
			t.compareRow(want, rows[id])
		} else {
			t.differ(Difference{Table: rows[id].Table, Row: t.keyText(rows[id].Table, rows[id].Key), What: "the row is there, and is not expected"})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.want.rows)) {
		if _, there := rows[id]; !there {
			want := t.want.rows[id]
			t.differ(Difference{Table: want.table.Name, Row: t.keyText(want.table.Name, want.key), What: "the row is expected, and is not there"})
		}
	}
}

func (t *tester) table(name string) view.Table {
	return t.view.tables[slices.IndexFunc(t.view.tables, func(table view.Table) bool { return table.Name == name })]
}

func (t *tester) keyText(table string, key []view.Value) string {
	var parts []string
	for i, k := range t.table(table).Keys() {
		parts = append(parts, k.Name+" = "+literal(k.Type, key[i]))
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

func (t *tester) compareRow(want *expectedRow, row view.Mutation) {
	got := map[cellPlace]view.Value{}
	for _, c := range row.Cells {
		got[cellPlace{c.Column, c.Path}] = c.Value
	}
	for _, c := range want.table.AllColumns() {
		generated := c.Name == view.EventsColumn || c.Name == view.LastEventColumn
		if generated && !want.columns[c.Name] {
			continue
		}
		t.compareColumn(c, want, row, got)
	}
}

// compareColumn notes each cell of a column that is not as expected.
func (t *tester) compareColumn(c view.Column, want *expectedRow, row view.Mutation, got map[cellPlace]view.Value) {
	places := map[cellPlace]bool{}
	for _, cells := range []map[cellPlace]view.Value{want.cells, got} {
		for p := range cells {
			if p.column == c.Name {
				places[p] = true
			}
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(places), func(a, b cellPlace) int { return a.path.Compare(b.path) }) {
		expected, isExpected := want.cells[p]
		value, isThere := got[p]
		if isExpected && isThere && expected == value {
			continue
		}
		d := Difference{Table: row.Table, Row: t.keyText(row.Table, row.Key), Cell: cellText(c, p)}
		switch {
		case !isThere:
			d.What = "expected " + valueText(c, expected) + ", is not there"
		case !isExpected:
			d.What = "is " + valueText(c, value) + ", and is not expected"
		default:
			d.What = "is " + valueText(c, value) + ", expected " + valueText(c, expected)
		}
		t.differ(d)
	}
}

func cellText(c view.Column, p cellPlace) string {
	switch c.Type.Kind() {
	case view.KindSet:
		return c.Name + "[" + literal(c.Type.Elem(), p.path) + "]"
	case view.KindMap:
		return c.Name + "[" + literal(c.Type.Key(), p.path) + "]"
	default:
		return c.Name
	}
}

func valueText(c view.Column, v view.Value) string {
	switch c.Type.Kind() {
	case view.KindSet:
		return "an element"
	case view.KindMap:
		return literal(c.Type.Elem(), v)
	default:
		return literal(c.Type, v)
	}
}

// shuffle applies the events in other orders, with repetitions, and holds the rows against those of the first order and
// against the order of their versions.
func (t *tester) shuffle(random *rand.Rand) {
	first := values(t.merge(t.events))
	if inOrder := values(t.fold()); !maps.EqualFunc(first, inOrder, maps.Equal[map[cellPlace]view.Value, map[cellPlace]view.Value]) {
		t.reportOrder(inOrder, first, "the events in the order of their versions end in another value: an event type says a write-once cell twice, or versions or births are not what event says")
	}
	for range orders {
		again := slices.Clone(t.events)
		for range len(t.events) / 2 {
			again = append(again, t.events[random.IntN(len(t.events))])
		}
		random.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		if other := values(t.merge(again)); !maps.EqualFunc(first, other, maps.Equal[map[cellPlace]view.Value, map[cellPlace]view.Value]) {
			t.reportOrder(other, first, "another order of the events ends in another value")
			return
		}
	}
}

// values returns the cells of rows without their stamps.
func values(rows map[string]view.Mutation) map[string]map[cellPlace]view.Value {
	out := map[string]map[cellPlace]view.Value{}
	for id, row := range rows {
		cells := map[cellPlace]view.Value{}
		for _, c := range row.Cells {
			cells[cellPlace{c.Column, c.Path}] = c.Value
		}
		out[id] = cells
	}
	return out
}

func (t *tester) reportOrder(one, other map[string]map[cellPlace]view.Value, what string) {
	rows := t.merge(t.events)
	for _, id := range slices.Sorted(maps.Keys(other)) {
		row := rows[id]
		for _, c := range t.table(row.Table).AllColumns() {
			for _, p := range slices.SortedFunc(maps.Keys(other[id]), func(a, b cellPlace) int { return a.path.Compare(b.path) }) {
				if p.column == c.Name && one[id][p] != other[id][p] {
					t.differ(Difference{row.Table, t.keyText(row.Table, row.Key), cellText(c, p), what})
				}
			}
		}
	}
}
