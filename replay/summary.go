package replay

import (
	"cmp"
	"slices"
	"time"

	"penstock/view"
)

// Group is letters of one code and, where letters were read, of one fingerprint.
type Group struct {
	Code        view.Code  `json:"code"`
	Fingerprint string     `json:"fingerprint,omitempty"`
	Stage       view.Stage `json:"stage,omitempty"`
	Message     string     `json:"message,omitempty"` // of the example
	Count       int        `json:"count"`
	Open        int        `json:"open"`
	Share       float64    `json:"share"`   // of all that were chosen, 0 to 1
	First       time.Time  `json:"first"`   // arrival; the day's beginning where letters were not read
	Last        time.Time  `json:"last"`    // the same
	Example     string     `json:"example"` // key of a letter: an open one where there is one
	exampleOpen bool
}

// Summary counts letters as they are found.
type Summary struct {
	Count      int `json:"count"`
	Open       int `json:"open"`
	Unreadable int `json:"unreadable"`
	// OldestOpen is when the longest waiting letter was made durable, by the store's clock; zero for none.
	OldestOpen time.Time `json:"oldest_open,omitzero"`
	groups     map[groupKey]*Group
}

type groupKey struct {
	code        view.Code
	fingerprint string
}

// maxGroups bounds the groups, in memory and in what is printed. Further fingerprints of a code are one group.
const (
	maxGroups   = 10_000
	otherCauses = "others"
)

// Add counts a letter.
func (s *Summary) Add(f Found) {
	if s.groups == nil {
		s.groups = map[groupKey]*Group{}
	}
	s.Count++
	open := f.Fate.State().IsOpen()
	if open {
		s.Open++
		if s.OldestOpen.IsZero() || f.Written.Before(s.OldestOpen) {
			s.OldestOpen = f.Written.UTC()
		}
	}
	l := f.Letter
	at, key := l.Source.Arrival, groupKey{f.Code, l.Failure.Fingerprint}
	if f.Unreadable != nil {
		s.Unreadable++
		key.fingerprint = "unreadable"
		l.Failure.Message = f.Unreadable.Error()
	}
	if at.IsZero() {
		at, _ = time.Parse(time.DateOnly, f.Day) // days are listed only if they are dates
	}
	g := s.groups[key]
	if g == nil && len(s.groups) >= maxGroups {
		key.fingerprint = otherCauses
		g = s.groups[key]
	}
	if g == nil {
		g = &Group{Code: f.Code, Fingerprint: key.fingerprint, First: at, Last: at}
		s.groups[key] = g
	}
	g.Count++
	if open {
		g.Open++
	}
	if at.Before(g.First) {
		g.First = at
	}
	if at.After(g.Last) {
		g.Last = at
	}
	if g.Example == "" || open && !g.exampleOpen {
		g.Example, g.exampleOpen, g.Stage, g.Message = f.Key, open, l.Failure.Stage, l.Failure.Message
	}
}

// Groups returns the groups, those with the most open letters first.
func (s *Summary) Groups() []Group {
	out := make([]Group, 0, len(s.groups))
	for _, g := range s.groups {
		g.Share = float64(g.Count) / float64(s.Count)
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(-cmp.Compare(a.Open, b.Open), -cmp.Compare(a.Count, b.Count), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return out
}

// OpenByCode returns how many letters are open, of every code there is.
func (s *Summary) OpenByCode() map[view.Code]int {
	open := map[view.Code]int{}
	for _, code := range view.Codes() {
		open[code] = 0
	}
	for _, g := range s.groups {
		open[g.Code] += g.Open
	}
	return open
}
