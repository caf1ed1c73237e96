package replay

import (
	"context"
	"fmt"
	"slices"

	"penstock/sink/deadletter"
	"penstock/view"
)

// RowReader reads rows as they are, with the stamps of all cells that are not in collections, whose stamps are zero.
type RowReader interface {
	ReadStampedRow(ctx context.Context, t view.Table, g view.Generation, key []view.Value) (view.Row, bool, error)
}

// Effect is what writing a cell would do to it.
type Effect string

// The closed set of effects.
const (
	Adds     Effect = "adds"     // there is no such cell
	Replaces Effect = "replaces" // it has an older value
	Same     Effect = "same"     // it has this value
	Keeps    Effect = "keeps"    // it has a newer value, or one that wins the tie: it stays
	Depends  Effect = "depends"  // it has another value, and Cassandra does not say how old
	Unread   Effect = "unread"   // the row was not read
)

// CellChange is a cell that a letter would write. Cells that it does not write stay as they are.
type CellChange struct {
	Column view.Column
	Path   view.Value
	Now    view.Value // meaningless with Adds and Unread
	Then   view.Value // what the letter writes
	Stamp  view.Stamp
	Effect Effect
}

// RowChange is a row that a letter would write.
type RowChange struct {
	Table  view.Table
	Key    []view.Value
	Exists bool
	Row    view.Row // as it is
	Cells  []CellChange
}

// Changes compares what a letter would write with what its rows hold. Nil in place of a reader compares with nothing.
func Changes(ctx context.Context, v view.View, g view.Generation, mutations []view.Mutation, rows RowReader) ([]RowChange, error) {
	var out []RowChange
	for _, m := range mutations {
		i := slices.IndexFunc(v.Tables(), func(t view.Table) bool { return t.Name == m.Table })
		if i < 0 {
			return nil, fmt.Errorf("compare rows: the view wrote table %s, which it does not have", m.Table)
		}
		change := RowChange{Table: v.Tables()[i], Key: m.Key}
		if rows != nil {
			var err error
			if change.Row, change.Exists, err = rows.ReadStampedRow(ctx, change.Table, g, m.Key); err != nil {
				return nil, err
			}
		}
		for _, c := range view.Merge(m.Cells, nil) {
			cell := compareCell(change, c)
			if rows == nil {
				cell.Effect = Unread
			}
			change.Cells = append(change.Cells, cell)
		}
		out = append(out, change)
	}
	return out, nil
}

// compareCell says by [view.Merge] what becomes of a cell.
func compareCell(row RowChange, c view.Cell) CellChange {
	out := CellChange{Path: c.Path, Then: c.Value, Stamp: c.Stamp}
	for _, column := range row.Table.AllColumns() {
		if column.Name == c.Column {
			out.Column = column
		}
	}
	i := slices.IndexFunc(row.Row.Cells, func(now view.Cell) bool { return now.Column == c.Column && now.Path == c.Path })
	if i < 0 {
		out.Effect = Adds
		return out
	}
	now := row.Row.Cells[i]
	out.Now = now.Value
	switch {
	case now.Value == c.Value:
		out.Effect = Same
		return out
	case now.Stamp == 0 && out.Column.Class == view.Revisable:
		out.Effect = Depends
		return out
	case now.Stamp == 0: // an entry written once: whoever wrote it had the entity's birth for its stamp
		now.Stamp = c.Stamp
	}
	out.Effect = Keeps
	if merged := view.Merge([]view.Cell{now}, []view.Cell{c}); merged[0].Value == c.Value {
		out.Effect = Replaces
	}
	return out
}

// NotInRowsError says that an event is not in the rows that it should be in.
type NotInRowsError struct {
	Event view.Event
	Table string
	Found bool // there is such a row
}

func (e *NotInRowsError) Error() string {
	what := "there is no such row"
	if e.Found {
		what = "the row does not list it"
	}
	return fmt.Sprintf("event %s, version %d of %s, is not in %s: %s: send it first, and wait until it is applied", e.Event.ID, e.Event.EntityVersion, e.Event.Entity, e.Table, what)
}

// CheckSuperseded returns why a corrected event does not stand in for a letter: it is of another entity or version than the
// letter's event, as far as that could be read, or its rows do not list it ([*NotInRowsError]).
func CheckSuperseded(ctx context.Context, v view.View, g view.Generation, l deadletter.Letter, corrected view.Result, rows RowReader) error {
	e := corrected.Event
	// What the letter's event claims of itself may be what was wrong with it.
	knowsEntity := l.Event.Entity != "" && l.Failure.Code != view.CodeMalformedField
	knowsVersion := l.Event.EntityVersion != 0 && l.Failure.Code != view.CodeMalformedField &&
		l.Failure.Code != view.CodeVersionOutOfRange && l.Failure.Code != view.CodeStampOutOfRange
	switch {
	case e.ID == "":
		return fmt.Errorf("the corrected event has no id")
	case len(corrected.Mutations) == 0:
		return fmt.Errorf("event %s changes no row, so none can list it", e.ID)
	case knowsEntity && l.Event.Entity != e.Entity:
		return fmt.Errorf("event %s is of %s, the letter's of %s", e.ID, e.Entity, l.Event.Entity)
	case knowsVersion && l.Event.EntityVersion != e.EntityVersion:
		return fmt.Errorf("event %s has version %d, the letter's %d", e.ID, e.EntityVersion, l.Event.EntityVersion)
	}
	for _, m := range corrected.Mutations {
		i := slices.IndexFunc(v.Tables(), func(t view.Table) bool { return t.Name == m.Table })
		if i < 0 {
			return fmt.Errorf("look for event %s: the view wrote table %s, which it does not have", e.ID, m.Table)
		}
		t := v.Tables()[i]
		row, found, err := rows.ReadStampedRow(ctx, t, g, m.Key)
		if err != nil {
			return err
		}
		if !lists(t, row, e) {
			return &NotInRowsError{e, t.Name + g.Suffix(), found}
		}
	}
	return nil
}

// lists tells whether a row's provenance names an event: among all, or as the last, where a row keeps no other.
func lists(t view.Table, row view.Row, e view.Event) bool {
	ref := view.EventRef(e)
	return slices.ContainsFunc(row.Cells, func(c view.Cell) bool {
		if t.Provenance == view.ProvenanceLast {
			return c.Column == view.LastEventColumn && c.Value == ref
		}
		return c.Column == view.EventsColumn && c.Path == ref
	})
}
