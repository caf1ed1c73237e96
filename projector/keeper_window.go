package projector

import (
	"errors"
	"time"

	"penstock/checkpoint"
)

// window bounds the calls that create and take rows at one time. A worker that finds a thousand free shards must not ask
// for more than the table answers within a call's deadline: what comes late is answered for nobody and asked for again,
// so that a table which is slow for a moment would stay it. Nor do renewals wait behind such calls. The bound grows by one
// with each answer that came in good time, up to the first that did not, and from then on by one a round. It is halved, at
// most once a round, when a write of any kind took half as long as a renewal may or got no answer. The zero value is not usable.
type window struct {
	call  time.Duration // within which a renewal must be answered
	bound float64
	cut   time.Time // when it was last halved; the zero time if never
}

const (
	firstWindow = 16.0
	leastWindow = 4.0
	mostWindow  = 64.0
)

func newWindow(call time.Duration) window { return window{call: call, bound: firstWindow} }

// open reports whether another call may be made while so many are on their way.
func (w *window) open(onTheirWay int) bool { return onTheirWay < int(w.bound) }

// note takes the answer to a write that began at started. What began before the last cut tells nothing new.
func (w *window) note(started, now time.Time, err error) {
	took := now.Sub(started)
	_, refused := errors.AsType[*checkpoint.Refused](err)
	switch {
	case !started.After(w.cut):
	case err != nil && !refused || took > w.call/2:
		w.bound, w.cut = max(leastWindow, w.bound/2), now
	case took > w.call/4:
	case w.cut.IsZero():
		w.bound = min(mostWindow, w.bound+1)
	default:
		w.bound = min(mostWindow, w.bound+1/w.bound)
	}
}
