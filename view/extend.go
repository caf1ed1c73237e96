package view

// ColumnRef names a column of one of a view's tables.
type ColumnRef struct {
	Table  string // base name, without the generation
	Column string
}

// String returns "table.column".
func (r ColumnRef) String() string { return r.Table + "." + r.Column }

// Extensible is a view whose revision is computed from a definition, and which can therefore say what it would be
// without some of its columns. A generation of its tables may get columns that were never written before: they are
// recorded, and a view that has them belongs to the generation if without them it is the one that was registered.
//
// A view whose revision is a constant that its authors keep cannot say so, and is not extensible.
type Extensible interface {
	View
	// Definition returns the canonical text that the revision is computed from. The same definition is the same view.
	Definition() []byte
	// RevisionWithout returns the revision of the view that lacks the columns added, and what sets them, and is the same in
	// all else. Views that differ in nothing but these columns therefore have one revision without them; of no columns it
	// is Revision.
	RevisionWithout(added []ColumnRef) string
}
