package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mistake is one thing that is wrong.
type Mistake struct {
	Key        string // empty if it is about a source as a whole; a place in the file of a view
	Value      string // as written, cut if long; empty for secrets and where there is none
	Rule       string // what should be, such as "must be 3s to 5m"
	Suggestion string // a name that may have been meant, or empty
	Origin     Origin // the zero value for a key that is missing everywhere
}

// String returns the mistake in one line: where, what, and the rule.
func (m Mistake) String() string {
	var parts []string
	if m.Origin != (Origin{}) {
		parts = append(parts, m.Origin.String())
	}
	if m.Key != "" && m.Key != m.Origin.Name { // a flag is named after its key
		parts = append(parts, m.Key)
	}
	s := strings.Join(parts, ": ")
	if m.Value != "" {
		s += " = " + strconv.Quote(m.Value)
	}
	s += ": " + m.Rule
	if m.Suggestion != "" {
		s += ", did you mean " + m.Suggestion + "?"
	}
	return s
}

// String returns the origin for people, such as "penstock.yaml:12" or "PENSTOCK_CASSANDRA_HOSTS".
func (o Origin) String() string {
	switch o.Layer {
	case Default:
		return "default"
	case File:
		s := o.Name
		if o.Line > 0 {
			s += ":" + strconv.Itoa(o.Line)
		}
		if o.Column > 0 {
			s += ":" + strconv.Itoa(o.Column)
		}
		return s
	case Environment:
		return o.Name
	case Flag:
		return "flag " + o.Name
	}
	return fmt.Sprintf("layer %d", o.Layer)
}

// Error is an invalid configuration, with every mistake.
type Error struct{ Mistakes []Mistake }

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("configuration invalid: ")
	if n := len(e.Mistakes); n == 1 {
		b.WriteString("1 mistake")
	} else {
		fmt.Fprintf(&b, "%d mistakes", n)
	}
	for _, m := range e.Mistakes {
		b.WriteString("\n  " + m.String())
	}
	return b.String()
}

// sortMistakes puts them in the order an operator finds them: by file and line, then the environment, then flags, then
// what is missing.
func sortMistakes(mistakes []Mistake) {
	slices.SortStableFunc(mistakes, func(a, b Mistake) int {
		file := func(m Mistake) string {
			if m.Origin.Layer == File {
				return m.Origin.Name
			}
			return ""
		}
		missing := func(m Mistake) int {
			if m.Origin == (Origin{}) {
				return 1
			}
			return 0
		}
		return cmp.Or(
			cmp.Compare(missing(a), missing(b)),
			cmp.Compare(a.Origin.Layer, b.Origin.Layer),
			cmp.Compare(file(a), file(b)),
			cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Origin.Column, b.Origin.Column),
			cmp.Compare(a.Key, b.Key))
	})
}

// shown returns a value as a mistake shows it.
func shown(k Key, texts []string) string {
	if k.Type == Hidden {
		return ""
	}
	if len(texts) == 0 {
		return "[]"
	}
	s := strings.Join(texts, ",")
	if runes := []rune(s); len(runes) > 80 {
		return string(runes[:80]) + "…"
	}
	return s
}

// suggest returns the candidate that name is most likely a slip of, or nothing.
func suggest(name string, candidates []string) string {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune("-_. ", r) {
				return -1
			}
			return r
		}, strings.ToLower(s))
	}
	last := func(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }
	best, least := "", 1<<30
	for _, c := range candidates {
		d := distance(plain(name), plain(c))
		switch {
		case last(c) == last(name): // the right key in the wrong section
			d = min(d, 1)
		case strings.HasPrefix(name, c+"_"), strings.HasPrefix(c, name+"_"): // kinesis.stream_name
			d = min(d, 2)
		}
		if d < least {
			best, least = c, d
		}
	}
	if least > max(2, len(name)/5) {
		return ""
	}
	return best
}

// distance is the number of insertions, deletions and replacements of a byte that turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
