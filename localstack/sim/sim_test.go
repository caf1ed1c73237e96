package sim

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
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
