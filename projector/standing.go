package projector

import (
	"sync"
	"time"
)

// Standing is how the view stands to its stream, as far as this process follows it: for people, and for the sentence that names what
// the view waits for.
type Standing struct {
	Shards     int           // that this process follows
	Worst      string        // the shard that is furthest behind; empty if there is none
	Behind     time.Duration // age of its oldest event without outcome; 0 when caught up
	Gaining    float64       // seconds of that made good in a second; less than 0 if it grows
	Known      bool          // Gaining was watched for long enough
	Paused     int           // of the shards, by operators
	PausedBy   string        // who paused one of them
	PausedFor  string        // and why
	Tripped    int           // of the shards, those whose breaker has tripped
	TrippedWhy string        // the sentence of one of them
	Capped     int           // the records a second that operators allow, while that holds reading back; otherwise 0
	Throttled  bool          // Kinesis refused to be read just now
	Projecting float64       // part of the time that the busiest shard spends in the view's function
}

// Standing tells how the view stands. It may be called at any time.
func (p *Projector) Standing(now time.Time) Standing {
	s := Standing{Capped: p.rate.holding(now), Throttled: p.metrics.throttledJustNow(now)}
	s.Shards, s.Worst, s.Behind = p.metrics.worst(now)
	s.Gaining, s.Known, s.Projecting = p.trend.tell()
	var pause Pause
	s.Paused, pause = p.board.pausing()
	s.PausedBy, s.PausedFor = pause.By, pause.Reason
	s.Tripped, s.TrippedWhy = p.board.tripping()
	return s
}

const (
	trendLength   = 30              // looks, one a second
	trendLeast    = 5 * time.Second // less says nothing: a reply moves a shard by more than the time it takes
	justThrottled = 10 * time.Second
	justCapped    = 2 * time.Second // twice as long as a shard waits for the cap before it looks again
)

// trend watches, once a second, how far behind the view is and how long its function takes. The supervisor looks, anybody
// may ask.
type trend struct {
	mu    sync.Mutex
	looks []look // the last trendLength, oldest first
	share float64

	// Of the supervisor.
	busy map[string]time.Duration // by shard, at the last look
}

// look is how far behind the view was at one time.
type look struct {
	at     time.Time
	behind time.Duration
}

// note takes a look: how far behind the view is, and how much time each shard has spent in the view's function so far.
func (t *trend) note(now time.Time, behind time.Duration, busy map[string]time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.looks); n > 0 {
		most := time.Duration(0)
		for shard, spent := range busy {
			if before, followed := t.busy[shard]; followed {
				most = max(most, spent-before)
			}
		}
		if passed := now.Sub(t.looks[n-1].at); passed > 0 {
			t.share += 0.2 * (min(1, most.Seconds()/passed.Seconds()) - t.share)
		}
	}
	t.busy = busy
	if len(t.looks) == trendLength {
		t.looks = t.looks[:copy(t.looks, t.looks[1:])]
	}
	t.looks = append(t.looks, look{now, behind})
}

// tell returns what the looks show.
func (t *trend) tell() (gaining float64, known bool, projecting float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.looks) == 0 {
		return 0, false, 0
	}
	first, last := t.looks[0], t.looks[len(t.looks)-1]
	passed := last.at.Sub(first.at)
	if passed < trendLeast {
		return 0, false, t.share
	}
	return (first.behind - last.behind).Seconds() / passed.Seconds(), true, t.share
}
