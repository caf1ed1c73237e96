package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// play runs a schedule in a bubble of its own. A bubble in which all wait for ever, or that leaves something running, is
// a breach like others.
func play(t *testing.T, s schedule, p plant) (r result) {
	defer func() {
		if stuck := recover(); stuck != nil {
			r.broken = append(r.broken, fmt.Sprint("the bubble ended with ", stuck))
		}
	}()
	synctest.Test(t, func(t *testing.T) { r = run(t.Context(), s, p) })
	return r
}

// search plays schedules of consecutive seeds on several processors, until one fails or all were played.
type search struct {
	plant plant
	began time.Time
	said  time.Time

	mu       sync.Mutex
	next     uint64 // the next seed
	until    uint64 // the first that is not played
	played   uint64
	found    bool
	seed     uint64 // of the first that failed
	failed   result
	happened map[string]int
	in       map[string]int // how many schedules it happened in
	most     map[string]int // what is not summed up
	virtual  time.Duration
	rest     time.Duration // the longest
}

func newSearch(p plant, first, runs uint64) *search {
	now := time.Now()
	return &search{plant: p, began: now, said: now, next: first, until: first + runs, happened: map[string]int{}, in: map[string]int{}, most: map[string]int{}}
}

// run searches in as many lanes as there are processors to spare.
func (s *search) run(t *testing.T, lanes int) {
	t.Run("lanes", func(t *testing.T) {
		for i := range lanes {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				s.lane(t)
			})
		}
	})
}

// lane plays one schedule after another.
func (s *search) lane(t *testing.T) {
	for {
		s.mu.Lock()
		seed := s.next
		if s.found || seed >= s.until {
			s.mu.Unlock()
			return
		}
		s.next++
		s.mu.Unlock()
		r := play(t, scheduleOf(seed), s.plant)
		s.note(t, seed, r)
	}
}

// sayEvery is the pause between two lines about a search.
const sayEvery = 5 * time.Second

func (s *search) note(t *testing.T, seed uint64, r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.played++
	s.virtual += r.virtual
	s.rest = max(s.rest, r.rest)
	for what, n := range r.happened {
		if strings.HasPrefix(what, "most ") {
			s.most[what] = max(s.most[what], n)
			continue
		}
		s.happened[what] += n
		if n > 0 {
			s.in[what]++
		}
	}
	if len(r.broken) > 0 && !s.found {
		s.found, s.seed, s.failed = true, seed, r
	}
	if time.Since(s.said) >= sayEvery {
		s.said = time.Now()
		t.Logf("%d schedules, up to seed %d, %.0f a second", s.played, s.next-1, float64(s.played)/time.Since(s.began).Seconds())
	}
}

// report tells what was searched, so that a reader sees what it means that nothing was found.
func (s *search) report() string {
	var b strings.Builder
	took := time.Since(s.began)
	fmt.Fprintf(&b, "%d schedules in %.1fs, %.0f a second; %.1f h of virtual time; at rest after %s at most\n",
		s.played, took.Seconds(), float64(s.played)/took.Seconds(), s.virtual.Hours(), s.rest)
	fmt.Fprintf(&b, "%9s  %9s\n", "times", "schedules")
	for _, what := range slices.Sorted(maps.Keys(s.happened)) {
		fmt.Fprintf(&b, "%9d  %9d  %s\n", s.happened[what], s.in[what], what)
	}
	for _, what := range slices.Sorted(maps.Keys(s.most)) {
		fmt.Fprintf(&b, "%9d  %s\n", s.most[what], what)
	}
	return b.String()
}

// explain makes the schedule that failed smaller and tells it.
func (s *search) explain(t *testing.T) string {
	full := scheduleOf(s.seed)
	smallest, r := shrink(t, full, s.plant, s.failed)
	const again = 10
	times := 0
	for range again {
		if len(play(t, smallest, s.plant).broken) > 0 {
			times++
		}
	}
	return fmt.Sprintf("seed %d breaks an invariant; replay it with make prove P=sim RUNS=1 SEED=%d\n%s\nas drawn: %s\nthe smallest that fails, in %d of %d times: %s\nwhat broke:\n%s\nwhat was done:\n%s",
		s.seed, s.seed, strings.Join(s.failed.broken, "\n"), full, times, again, smallest, strings.Join(r.broken, "\n"), strings.Join(r.trace, "\n"))
}

// shrinkPlays bounds what is played to make a schedule smaller.
const shrinkPlays = 600

// shrink leaves out what a schedule does not need to fail. Since a schedule may fail only sometimes, each candidate is
// played a few times.
func shrink(t *testing.T, s schedule, p plant, r result) (schedule, result) {
	plays := 0
	fails := func(candidate schedule) bool {
		for range 3 {
			if plays++; plays > shrinkPlays {
				return false
			}
			if now := play(t, candidate, p); len(now.broken) > 0 {
				r = now
				return true
			}
		}
		return false
	}
	for smaller := true; smaller; {
		smaller = false
		for candidate := range s.smaller() {
			if fails(candidate) {
				s, smaller = candidate, true
				break
			}
		}
	}
	return s, r
}

// smaller yields schedules that are a little less than s, the boldest first.
func (s schedule) smaller() func(yield func(schedule) bool) {
	return func(yield func(schedule) bool) {
		for n := len(s.steps) / 2; n >= 1; n /= 2 {
			for from := 0; from+n <= len(s.steps); from += n {
				if !yield(s.without(from, from+n)) {
					return
				}
			}
		}
		less := s
		if less.shards--; less.shards > 0 && !yield(less) {
			return
		}
		less = s
		if less.workers--; less.workers > 0 && !yield(less) {
			return
		}
	}
}

// without leaves steps out. What comes after them happens when it did.
func (s schedule) without(from, to int) schedule {
	var gap time.Duration
	for _, left := range s.steps[from:to] {
		gap += left.after
	}
	s.steps = slices.Delete(slices.Clone(s.steps), from, to)
	if from < len(s.steps) {
		s.steps[from].after += gap
	}
	return s
}
