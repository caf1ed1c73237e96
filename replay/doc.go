// Package replay puts what was parked back where it belongs: it looks through dead letters, says what has become of them,
// and redrives them.
//
// A redrive is what the live pipeline does with a record, once more: the same pure projection of the same bytes, judged
// against the time at which the stream accepted them, and the same writer with its limits. Writes converge, so a letter
// may be redriven twice, by two operators at once, or long after its order has moved on, and the rows end as if its event
// had come in time. A letter is never changed: that it was redriven is an outcome beside it, written once the writer has
// acknowledged every row. A redrive that is killed in between has written rows and no outcome, and does them again.
package replay
