package projector

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"penstock/view"
)

// Role returns the role of the fleet that feeds a generation, which its notes in the state table are kept under.
func Role(g view.Generation) string { return "projector" + g.Suffix() }

// Workers returns the ids of the daemons of a role that gave a sign of life within their failover time, by their clocks
// and the given one. It is for people: the fleet itself compares no clocks.
func Workers(ctx context.Context, state interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}, role string, now time.Time) ([]string, error) {
	items, err := state.Query(ctx, role+workerKind)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(items, func(_ string, values map[string]string) bool {
		_, at, _ := strings.Cut(values[beatAttribute], "@")
		beat, err := time.Parse(time.RFC3339Nano, at)
		failover, _ := time.ParseDuration(values[failoverAttrib])
		return err != nil || now.Sub(beat) > cmp.Or(failover, time.Minute)
	})
	return slices.Sorted(maps.Keys(items)), nil
}
