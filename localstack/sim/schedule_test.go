package sim

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// schedule is all that happens to a world from outside. It is what is searched, replayed and made smaller.
type schedule struct {
	seed    uint64 // of what is drawn on the way: latencies, and which calls a fault hits
	shards  int    // at the beginning
	workers int    // at the beginning
	steps   []step
}

// step is one thing that happens.
type step struct {
	number int           // in the schedule as it was drawn: what is put depends on it
	after  time.Duration // since the step before
	act    act
	pick   int           // which of the workers or shards there are, or how many records
	last   time.Duration // how long a fault lasts
}

// act is what happens in a step.
type act uint8

// Events, which happen at once.
const (
	put           act = iota + 1 // records
	putAggregates                // records of which several share one of the stream's
	flood                        // more records than the budget for records in flight has room for
	join                         // a worker starts, if there are fewer than four
	crash                        // a worker is cut off at once
	stop                         // a worker is told to stop
	split                        // a shard
	merge                        // two neighbours
	scale                        // UpdateShardCount, or what the service does to an on-demand stream
	spread                       // record distribution AUTO, for good
	pause                        // operators keep all shards, or one, from being read
	resume                       // and end that, and lift the breaker of all shards
	seek                         // operators set a shard back
	release                      // operators ask a shard's owner to give it back, and may set it back meanwhile

	// Faults, which last.

	freeze         // nothing that a worker sends or is sent goes through, and then all of it
	ambiguous      // a worker's writes of the lease table get lost, late, doubled or unanswered
	leasesDown     // the lease table is throttled, for everybody
	statesDown     // the state table fails, for everybody
	stale          // the state table shows what was up to three seconds ago
	skewed         // a worker's clock is wrong, and drifts
	throttled      // Kinesis refuses reads
	faulty         // Kinesis fails, is cut off, or loses answers
	expired        // iterators are no longer valid
	lacking        // a listing lacks a shard
	writerRefuses  // no write is applied
	writerSlow     // writes take seconds
	writerForgets  // writes are applied and their answers lost
	lettersRefused // no letter is kept
	acts
)

var actNames = [...]string{
	put: "put", putAggregates: "put aggregates", flood: "flood", join: "join", crash: "crash", stop: "stop", split: "split",
	merge: "merge", scale: "scale", spread: "spread", pause: "pause", resume: "resume", seek: "seek", release: "release", freeze: "freeze",
	ambiguous: "ambiguous lease writes of", leasesDown: "lease table throttled", statesDown: "state table down", stale: "state table stale", skewed: "clock skewed",
	throttled: "kinesis throttled", faulty: "kinesis faulty", expired: "iterators expire", lacking: "listings lack a shard", writerRefuses: "writer refuses",
	writerSlow: "writer slow", writerForgets: "writer's answers lost", lettersRefused: "letters refused",
}

func (a act) String() string { return actNames[a] }

// lasts reports whether an act is a fault with a length.
func (a act) lasts() bool { return a >= freeze }

// weights make schedules of what is worth it: work to do, workers that go and come, shards that change.
var weights = map[act]int{put: 6, putAggregates: 3, flood: 2, join: 4, crash: 4, split: 4, merge: 3, freeze: 3, ambiguous: 4, lacking: 3, release: 2}

// schedules draws schedules of 20 to 50 seconds.
func schedules() *rapid.Generator[schedule] {
	var all []act
	for a := put; a < acts; a++ {
		for range max(1, weights[a]) {
			all = append(all, a)
		}
	}
	one := rapid.Custom(func(t *rapid.T) step {
		s := step{
			after: time.Duration(rapid.IntRange(1, 40).Draw(t, "after")) * 100 * time.Millisecond,
			act:   rapid.SampledFrom(all).Draw(t, "act"),
			pick:  rapid.IntRange(0, 11).Draw(t, "pick"),
		}
		if s.act.lasts() {
			s.last = time.Duration(rapid.IntRange(5, 100).Draw(t, "last")) * 100 * time.Millisecond
		}
		return s
	})
	return rapid.Custom(func(t *rapid.T) schedule {
		return schedule{
			seed:    rapid.Uint64().Draw(t, "seed"),
			shards:  rapid.IntRange(1, 4).Draw(t, "shards"),
			workers: rapid.IntRange(1, 3).Draw(t, "workers"),
			steps:   rapid.SliceOfN(one, 8, 24).Draw(t, "steps"),
		}
	})
}

// scheduleOf returns the schedule of a seed.
func scheduleOf(seed uint64) schedule {
	s := drawn.Example(int(seed))
	for i := range s.steps {
		s.steps[i].number = i
	}
	return s
}

var drawn = schedules()

// String tells the schedule, a step a line.
func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d shards, %d workers, draws of %d\n", s.shards, s.workers, s.seed)
	var at time.Duration
	for _, step := range s.steps {
		at += step.after
		fmt.Fprintf(&b, "%8s  %s", at, step.act)
		if step.act.picks() {
			fmt.Fprintf(&b, " %d", step.pick)
		}
		if step.act.lasts() {
			fmt.Fprintf(&b, " for %s", step.last)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// picks reports whether the step's pick means something.
func (a act) picks() bool {
	switch a {
	case flood, join, spread, resume, leasesDown, statesDown, stale, throttled, faulty, expired, lacking, writerRefuses, writerSlow, writerForgets, lettersRefused:
		return false
	}
	return true
}
