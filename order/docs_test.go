package order

import (
	"os"
	"strings"
	"testing"
)

// TestThePageOnOrderEventsIsTrue reads docs/order-events.md: its events are accepted, those of order.placed say the same in
// both versions, and every type this package reads has its row.
func TestThePageOnOrderEventsIsTrue(t *testing.T) {
	page, err := os.ReadFile("../docs/order-events.md")
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for i, block := range strings.Split(string(page), "```") {
		if event, ok := strings.CutPrefix(block, "json\n"); ok && i%2 == 1 {
			events = append(events, event)
		}
	}
	if len(events) != 2 {
		t.Fatalf("%d events in the page, want 2", len(events))
	}
	first, err := project([]byte(events[0]))
	if err != nil {
		t.Fatal(err)
	}
	second, err := project([]byte(events[1]))
	if err != nil {
		t.Fatal(err)
	}
	sameButForTheSchema(t, second, first)
	for _, typ := range (View{}).Types() {
		if !strings.Contains(string(page), "\n| `"+typ+"` |") {
			t.Errorf("the page does not name %s", typ)
		}
	}
	if !strings.Contains(string(page), "`"+Revision+"`") {
		t.Errorf("the page does not name the revision %s", Revision)
	}
}
