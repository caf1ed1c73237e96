//go:build !race

package sim

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A search that cannot find anything proves nothing: each of these faults is found, and soon. The race detector sees nothing here
// that it does not see where no fault is planted, and would take the longest time of all tests; make test goes without it.
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
