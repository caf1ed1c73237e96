package replay

import (
	"slices"
	"strings"
	"time"

	"penstock/sink/deadletter"
	"penstock/view"
)

// Filter chooses letters. The zero value chooses all.
type Filter struct {
	Since, Until time.Time // of arrival in the stream: from Since until before Until; zero for no bound
	Codes        []view.Code
	States       []deadletter.State // deadletter.Open stands for that state alone, see OpenStates
	Shard        string
	Identity     string // of one letter, within its day
	// What follows is in the letter itself, which is then read.
	Fingerprint string
	Event       string // id
	Type        string // without the schema version
	Entity      string // such as the order
	Attributes  []view.Attribute
}

// Only returns a filter that chooses one letter, in whatever state.
func Only(m deadletter.Mark) Filter {
	day, _ := time.Parse(time.DateOnly, m.Day) // a mark's is a date
	return Filter{Since: day, Until: day.AddDate(0, 0, 1), Codes: []view.Code{m.Code}, Identity: m.Identity}
}

// OpenStates are those of letters that wait for somebody.
var OpenStates = []deadletter.State{deadletter.Open, deadletter.Failed}

// includesDay tells whether letters that arrived on a day may be chosen, and whether their time of arrival has to be
// looked at for that.
func (f Filter) includesDay(day string) (may, look bool) {
	first, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return false, false
	}
	next := first.AddDate(0, 0, 1)
	if !f.Since.IsZero() && !next.After(f.Since) || !f.Until.IsZero() && !first.Before(f.Until) {
		return false, false
	}
	return true, !f.Since.IsZero() && first.Before(f.Since) || !f.Until.IsZero() && next.After(f.Until)
}

// readsLetters tells whether a mark and a fate are not enough.
func (f Filter) readsLetters() bool {
	return f.Fingerprint != "" || f.Event != "" || f.Type != "" || f.Entity != "" || len(f.Attributes) > 0
}

// mark tells whether a letter may be chosen, by what a listing shows of it.
func (f Filter) mark(m deadletter.Mark, fate deadletter.Fate) bool {
	return (len(f.Codes) == 0 || slices.Contains(f.Codes, m.Code)) &&
		(len(f.States) == 0 || slices.Contains(f.States, fate.State())) &&
		(f.Identity == "" || m.Identity == f.Identity) &&
		(f.Shard == "" || shardOf(m.Identity) == f.Shard)
}

// shardOf takes the shard from a letter's identity, whose other parts are numbers.
func shardOf(identity string) string {
	_, rest, _ := strings.Cut(identity, ".")
	for range 2 {
		rest = rest[:max(0, strings.LastIndexByte(rest, '.'))]
	}
	return rest
}

// letter tells whether a letter is chosen that mark let through.
func (f Filter) letter(l deadletter.Letter) bool {
	at := l.Source.Arrival
	return (f.Since.IsZero() || !at.Before(f.Since)) && (f.Until.IsZero() || at.Before(f.Until)) &&
		(f.Fingerprint == "" || l.Failure.Fingerprint == f.Fingerprint) &&
		(f.Event == "" || l.Event.ID == f.Event) &&
		(f.Type == "" || l.Event.Type == f.Type) &&
		(f.Entity == "" || l.Event.Entity == f.Entity) &&
		!slices.ContainsFunc(f.Attributes, func(a view.Attribute) bool { return !slices.Contains(l.Event.Attributes, a) })
}
