//go:build without_placed_v2

package order

import (
	"slices"
	"strings"
	"testing"

	"penstock/view"
)

func TestABuildWithoutPlacedV2ParksIt(t *testing.T) {
	if slices.Contains(View{}.Types(), "order.placed.v2") || !slices.Contains(View{}.Types(), "order.placed.v1") {
		t.Errorf("this build knows %q", View{}.Types())
	}
	_, err := project(goldenEvents(t)["placed_v2"])
	poison, ok := view.AsPoison(err)
	if !ok || poison.Code != view.CodeUnknownSchemaVersion || !strings.Contains(poison.Err.Error(), "such as v1") {
		t.Errorf("got %v, want an unknown schema version", err)
	}
	if _, err := project(goldenEvents(t)["placed"]); err != nil {
		t.Error(err)
	}
}
