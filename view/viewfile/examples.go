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
	if v.asksArrival && want.arrival.IsZero() {
		return Report{}, fmt.Errorf("%s: arrival is missing: the view requires something of times by when the record arrived", FileExpect)
	}
	t := tester{view: v, project: v.Project, want: want, records: records,
		report: Report{View: v.Name(), Warnings: warnings, Events: len(records), Orders: orders}}
	t.run(seed)
	return t.report, nil
}

// record is an event of a folder, and what became of it in the first order.
type record struct {
	name   string
	data   []byte
	poison bool
	passed bool // it is applied, as expected
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
			out = append(out, record{name: f.Name(), data: data})
			continue
		}
		line := 0
		for text := range bytes.Lines(data) {
			line++
			if text = bytes.TrimSpace(text); len(text) > 0 {
				out = append(out, record{name: fmt.Sprintf("%s:%d", f.Name(), line), data: text})
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("read the events: there is none: add events/NAME.json")
	}
	return out, nil
}

// tester applies events and notes differences.
type tester struct {
	view    *View
	project func(view.Record) (view.Result, error) // the view's
	want    *expectation
	records []record
	report  Report
	events  []view.Result // of the records that are applied, in their order
}

func (t *tester) differ(d Difference) { t.report.Differences = append(t.report.Differences, d) }

func (t *tester) run(seed uint64) {
	rows := map[string]view.Mutation{}
	for i := range t.records {
		r := &t.records[i]
		if result := t.expect(r); r.passed {
			t.events = append(t.events, result)
			apply(rows, result.Mutations)
		}
	}
	t.expectNoOther()
	t.compare(rows)
	if inOrder := t.fold(); !sameValues(rows, inOrder) {
		t.reportOrder(rows, inOrder, "the events in the order of their versions end in another value: "+
			"an event type says a write-once cell twice, or versions or births are not what event says")
	}
	t.shuffle(rand.New(rand.NewPCG(seed, 0)), rows)
}

// expect projects a record for the first time and holds what becomes of it against what is expected.
func (t *tester) expect(r *record) view.Result {
	result, err := t.project(view.Record{Data: r.data, Arrival: t.want.arrival})
	expected := t.want.poison[r.name]
	poison, isPoison := view.AsPoison(err)
	r.poison, r.passed = err != nil, err == nil && expected == ""
	switch {
	case r.passed:
		return result
	case !r.poison:
		t.differ(Difference{What: fmt.Sprintf("%s is applied, expected poison: %s", r.name, expected)})
		return result
	case !isPoison || string(poison.Code) != expected:
		t.differ(Difference{What: fmt.Sprintf("%s is poison: %v", r.name, err)})
	}
	t.report.Poison++
	return result
}

// expectNoOther notes what is expected of records that are not there.
func (t *tester) expectNoOther() {
	for _, name := range slices.Sorted(maps.Keys(t.want.poison)) {
		if !slices.ContainsFunc(t.records, func(r record) bool { return r.name == name }) {
			t.differ(Difference{What: fmt.Sprintf("%s is expected to be poison, and there is no such event", name)})
		}
	}
}

// apply merges mutations into rows by the rule of Cassandra.
func apply(rows map[string]view.Mutation, mutations []view.Mutation) {
	for _, m := range mutations {
		id := m.RowKey()
		rows[id] = view.Mutation{Table: m.Table, Key: m.Key, Cells: view.Merge(rows[id].Cells, m.Cells)}
	}
}

// fold applies events in the order of their versions: each overwrites what it sets.
func (t *tester) fold() map[string]view.Mutation {
	inOrder := slices.Clone(t.events)
	slices.SortStableFunc(inOrder, func(a, b view.Result) int {
		return cmp.Or(strings.Compare(a.Event.Entity, b.Event.Entity), cmp.Compare(a.Event.EntityVersion, b.Event.EntityVersion))
	})
	rows := map[string]view.Mutation{}
	for i, e := range inOrder {
		for _, m := range e.Mutations {
			m.Cells = slices.Clone(m.Cells)
			for j := range m.Cells {
				m.Cells[j].Stamp = view.Stamp(i + 1)
			}
			apply(rows, []view.Mutation{m})
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
			t.differ(Difference{want.table.Name, t.keyText(want.table.Name, want.key), "", "the row is expected, and is not there"})
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

// shuffle applies the records in other orders, with repetitions, and holds the rows against those of the first order. Every
// record is projected anew each time: that the merging of mutations knows no order is sure, and that a view makes the same
// mutations whatever it was given before is what the orders are to show.
func (t *tester) shuffle(random *rand.Rand, first map[string]view.Mutation) {
	for range orders {
		again := slices.Clone(t.records)
		for range len(t.records) / 2 {
			again = append(again, t.records[random.IntN(len(t.records))])
		}
		random.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		rows := map[string]view.Mutation{}
		for _, r := range again {
			result, err := t.project(view.Record{Data: r.data, Arrival: t.want.arrival})
			if r.poison != (err != nil) {
				t.differ(Difference{What: r.name + " is applied in one order of the events, and is poison in another"})
				return
			}
			if r.passed {
				apply(rows, result.Mutations)
			}
		}
		if !sameValues(first, rows) {
			t.reportOrder(first, rows, "another order of the events ends in another value")
			return
		}
	}
}

// sameValues tells whether rows have the same cells with the same values, whatever their stamps.
func sameValues(a, b map[string]view.Mutation) bool {
	return maps.EqualFunc(a, b, func(a, b view.Mutation) bool { return maps.Equal(values(a), values(b)) })
}

// values returns the cells of a row without their stamps.
func values(row view.Mutation) map[cellPlace]view.Value {
	cells := map[cellPlace]view.Value{}
	for _, c := range row.Cells {
		cells[cellPlace{c.Column, c.Path}] = c.Value
	}
	return cells
}

// reportOrder notes each cell in which the rows of two orders differ.
func (t *tester) reportOrder(one, other map[string]view.Mutation, what string) {
	all := maps.Clone(one)
	maps.Copy(all, other)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		row, a, b := all[id], values(one[id]), values(other[id])
		cells := maps.Clone(a)
		maps.Copy(cells, b)
		for _, c := range t.table(row.Table).AllColumns() {
			for _, p := range slices.SortedFunc(maps.Keys(cells), func(a, b cellPlace) int { return a.path.Compare(b.path) }) {
				x, inOne := a[p]
				y, inOther := b[p]
				if p.column == c.Name && (inOne != inOther || x != y) {
					t.differ(Difference{row.Table, t.keyText(row.Table, row.Key), cellText(c, p), what})
				}
			}
		}
	}
}
