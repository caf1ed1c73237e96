package sim

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets a panic somewhere in a fleet show all goroutines, and with them which schedule was played.
func TestMain(m *testing.M) {
	debug.SetTraceback("all")
	os.Exit(m.Run())
}

// A few hundred of the schedules that make prove P=sim goes through. Under the race detector, which finds in one schedule
// what it finds in all, there are fewer.
func TestNoScheduleBreaksAnInvariant(t *testing.T) {
	runs := uint64(500)
	if detecting {
		runs = 50
	}
	prove(t, 1, runs)
}

// TestProve is what make prove P=sim runs: RUNS schedules from the seed SEED on, until one fails.
func TestProve(t *testing.T) {
	switch proof := os.Getenv("PROVE"); proof {
	case "":
		t.Skip("a long proof: run through make prove P=sim RUNS=5000")
	case "sim":
	default:
		t.Fatalf("PROVE=%s: there is no such proof here; there is sim", proof)
	}
	number := func(name string, otherwise uint64) uint64 {
		if os.Getenv(name) == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(os.Getenv(name), 10, 32)
		if err != nil {
			t.Fatalf("%s=%s: must be a number", name, os.Getenv(name))
		}
		return n
	}
	prove(t, number("SEED", 1), number("RUNS", 5000))
}

func prove(t *testing.T, first, runs uint64) {
	s := newSearch(nothing, first, runs)
	s.run(t, runtime.GOMAXPROCS(0))
	t.Log(s.report())
	if s.found {
		t.Error(s.explain(t))
	}
}

// A search that cannot find anything proves nothing: each of these faults is found, and soon.
func TestPlantedFaultsAreFound(t *testing.T) {
	const within = 2000
	for p := nothing + 1; p < plants; p++ {
		t.Run(strings.ReplaceAll(p.String(), " ", "_"), func(t *testing.T) {
			t.Parallel()
			s := newSearch(p, 1, within)
			s.lane(t)
			if !s.found {
				t.Fatalf("not found in %d schedules", s.played)
			}
			if what := strings.Join(s.failed.broken, "\n"); !regexp.MustCompile(faults[p].breaks).MatchString(what) {
				t.Errorf("something else broke in schedule %d: %s", s.seed, what)
			}
			t.Logf("found in schedule %d, after %.1fs: %s", s.seed, time.Since(s.began).Seconds(), fmt.Sprintf("%.200s", s.failed.broken[0]))
		})
	}
}
