package projector

import (
	"errors"
	"testing"
	"time"

	"penstock/checkpoint"
)

// A table that answers so many writes a second, one after the other, to five workers that want a thousand each: whatever
// that number is, what it does is for an answer that somebody still waits for.
func TestTheWindowKeepsAnswersWithinTheirDeadline(t *testing.T) {
	const call, workers = 1250 * time.Millisecond, 5
	for _, perSecond := range []int{50, 150, 300, 1000, 5000} {
		windows := make([]window, workers)
		for i := range windows {
			windows[i] = newWindow(call)
		}
		type request struct {
			worker int
			sent   time.Time
		}
		var queue []request
		onTheirWay := make([]int, workers)
		now := time.Unix(0, 0)
		fill := func() {
			for i := range windows {
				for windows[i].open(onTheirWay[i]) {
					onTheirWay[i]++
					queue = append(queue, request{i, now})
				}
			}
		}
		fill()
		late := 0
		const answers = 5000
		for range answers {
			now = now.Add(time.Second / time.Duration(perSecond))
			r := queue[0]
			queue = queue[1:]
			onTheirWay[r.worker]--
			var err error
			if now.Sub(r.sent) > call {
				late++
				err = errors.New("deadline exceeded")
			}
			windows[r.worker].note(r.sent, now, err)
			fill()
		}
		if late > answers/20 {
			t.Errorf("%d writes a second: %d of %d answers came too late", perSecond, late, answers)
		}
	}
}

func TestTheWindowIsHalvedOnceARound(t *testing.T) {
	w := newWindow(time.Second)
	began := time.Unix(0, 0)
	for range 16 { // sent together, and all lost
		w.note(began, began.Add(time.Second), checkpoint.ErrThrottled)
	}
	if w.bound != firstWindow/2 {
		t.Errorf("after one lost round the window is %v, not half of %v", w.bound, firstWindow)
	}
	for i := range 10 {
		sent := began.Add(time.Duration(i+2) * time.Second)
		w.note(sent, sent.Add(time.Second), checkpoint.ErrThrottled)
	}
	if w.bound != leastWindow {
		t.Errorf("the window shrank to %v, not to %v", w.bound, leastWindow)
	}
	for i := range 5000 { // a refusal is an answer
		sent := began.Add(time.Minute + time.Duration(i)*time.Millisecond)
		w.note(sent, sent.Add(time.Millisecond), &checkpoint.Refused{})
	}
	if w.bound != mostWindow {
		t.Errorf("the window grew to %v, not to %v", w.bound, mostWindow)
	}
}
