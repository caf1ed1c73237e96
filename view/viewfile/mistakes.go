package viewfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is one thing a file says and may not say, or does not say and must.
type Mistake struct {
	File   string
	Line   int    // from 1
	Column int    // from 1
	Where  string // the place within the file, such as "tables.stock.columns.on_hand"; empty for the file as a whole
	Rule   string // what is wrong, and the rule that it breaks
	Do     string // what to do about it
}

// String returns "file:line:column: where: rule: do".
func (m Mistake) String() string {
	where := m.Where
	if where != "" {
		where += ": "
	}
	return fmt.Sprintf("%s:%d:%d: %s%s: %s", m.File, m.Line, m.Column, where, m.Rule, m.Do)
}

// Mistakes is the error of a file that is refused: every mistake found, in the order of the file.
type Mistakes struct{ List []Mistake }

func (m *Mistakes) Error() string {
	lines := make([]string, 0, len(m.List))
	for _, mistake := range m.List {
		lines = append(lines, mistake.String())
	}
	return strings.Join(lines, "\n")
}

// Warning is something a file may say that its author should know about.
type Warning struct {
	File string
	Line int // from 1
	Text string
}

// String returns "file:line: text".
func (w Warning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// place is where something stands in the file.
type place struct {
	line, column int
	where        string
}

// below is the place of a part; its line is that of the whole until a node says better.
func (p place) below(name string) place {
	if p.where != "" {
		name = p.where + "." + name
	}
	return place{p.line, p.column, name}
}

// notes collects what there is to say of a file.
type notes struct {
	file     string
	mistakes []Mistake
	warnings []Warning
}

func (n *notes) refuse(at place, rule, do string) {
	n.mistakes = append(n.mistakes, Mistake{n.file, at.line, at.column, at.where, rule, do})
}

func (n *notes) warn(at place, format string, args ...any) {
	n.warnings = append(n.warnings, Warning{n.file, at.line, at.where + ": " + fmt.Sprintf(format, args...)})
}

// sort brings everything into the order of the file, each thing once.
func (n *notes) sort() {
	slices.SortStableFunc(n.mistakes, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Rule, b.Rule))
	})
	n.mistakes = slices.Compact(n.mistakes)
	slices.SortStableFunc(n.warnings, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	n.warnings = slices.Compact(n.warnings)
}

// nearest returns ", did you mean NAME?" for the candidate that a slip of the pen turns into name, or nothing.
func nearest(name string, candidates []string) string {
	best, distance := "", 1+len(name)/3
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(name), c); d <= distance && (best == "" || d < distance) {
			best, distance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// editDistance counts the bytes to insert, delete or replace to turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
