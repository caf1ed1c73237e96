package deadletter

import (
	"slices"
	"time"
)

// Attempts is what was tried before the record was parked. The zero value is a record that was never tried, because it
// was poison on sight.
type Attempts struct {
	Count  int            `json:"count"`
	First  time.Time      `json:"first,omitzero"`
	Last   time.Time      `json:"last,omitzero"`
	Errors []AttemptError `json:"errors,omitempty"` // each distinct one once, in the order of their first occurrence
}

// AttemptError is an error that attempts ended in.
type AttemptError struct {
	Message string `json:"message"` // of the first occurrence, quoted values shortened
	Count   int    `json:"count"`
}

// A letter names this many distinct errors and counts the rest under otherErrors.
const (
	maxErrors   = 10
	otherErrors = "other errors"
)

// Add counts an attempt that ended in err. Errors that differ in numbers, ids and quoted values only are one.
func (a *Attempts) Add(at time.Time, err error) {
	if a.Count == 0 {
		a.First = at
	}
	a.Count++
	a.Last = at
	message := scrub(err.Error())
	i := a.index(message)
	if i < 0 && len(a.Errors) >= maxErrors {
		message = otherErrors
		i = a.index(message)
	}
	if i >= 0 {
		a.Errors[i].Count++
		return
	}
	a.Errors = append(a.Errors, AttemptError{Message: message, Count: 1})
}

func (a *Attempts) index(message string) int {
	common := normalise(message)
	return slices.IndexFunc(a.Errors, func(e AttemptError) bool { return normalise(e.Message) == common })
}
