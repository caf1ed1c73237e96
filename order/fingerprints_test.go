package order

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"penstock/sink/deadletter"
	"penstock/view"
)

const fingerprintsFile = "testdata/fingerprints.txt"

// damagedEvents returns events that are spoilt in one place each, by what was done to them: every member of an event, and what
// each other type has beside them, left out, null, of another type, empty and out of range; and bytes that are no event.
func damagedEvents(t *testing.T) map[string][]byte {
	t.Helper()
	golden := goldenEvents(t)
	damaged := map[string][]byte{
		"empty record": {}, "garbage": {0xff, 0x00}, "words": []byte("order placed"), "array": []byte("[]"), "null": []byte("null"),
		"cut off": golden["placed"][:len(golden["placed"])/2], "two objects": slices.Concat(golden["paid"], golden["paid"]),
	}
	for _, name := range []string{"placed_with_address", "paid", "shipped", "delivered", "cancelled", "refunded", "address_changed"} {
		var event map[string]any
		if err := json.Unmarshal(golden[name], &event); err != nil {
			t.Fatal(err)
		}
		spoil := func(what string, set func(), undo func()) {
			set()
			defer undo()
			data, err := json.Marshal(event)
			if err != nil {
				t.Fatal(err)
			}
			damaged[name+what] = data
		}
		told := func(path, member string) bool { // what all types have in common is spoilt in one of them
			return name == "placed_with_address" || path != "" && !slices.Contains([]string{"order_id", "customer_id", "placed_at", "version"}, member)
		}
		var walk func(path string, value any)
		walk = func(path string, value any) {
			switch value := value.(type) {
			case map[string]any:
				for _, member := range slices.Sorted(maps.Keys(value)) {
					was, at := value[member], path+"/"+member
					undo := func() { value[member] = was }
					if !told(path, member) {
						if member == "data" {
							walk(at, was)
						}
						continue
					}
					spoil(at+" left out", func() { delete(value, member) }, undo)
					for what, wrong := range map[string]any{
						"null": nil, "true": true, "text": "x", "empty": "", "-1": -1, "0": 0, "1.5": 1.5, "beyond 63 bits": json.Number("9223372036854775808"),
						"an object": map[string]any{"a": 1}, "no element": []any{}, "an element": []any{1}, "long": strings.Repeat("x", 300),
						"before 2000": "1999-12-31T23:59:59.5+01:00", "in the future": "2126-11-21T10:00:00Z", "schema v900": "order.placed.v900",
						"1000001": 1000001,
					} {
						spoil(at+" = "+what, func() { value[member] = wrong }, undo)
					}
					walk(at, was)
				}
			case []any:
				if len(value) > 0 {
					walk(path+"/0", value[0])
				}
			}
		}
		walk("", event)
	}
	return damaged
}

// A letter is found again by its fingerprint: another one for an old cause, after a change of words or of the rule by which they
// are compared, splits the letters of that cause in two, and tells operators that something new is wrong.
func TestFingerprintsOfEveryDamageStayAsTheyWere(t *testing.T) {
	got, words := map[string]string{}, map[string]string{}
	codes := map[view.Code]bool{}
	for what, data := range damagedEvents(t) {
		_, err := project(data)
		if err == nil {
			continue // the view accepts that
		}
		poison, ok := view.AsPoison(err)
		if !ok {
			t.Fatalf("%s: %v", what, err)
		}
		f := deadletter.NewFailure(poison)
		codes[f.Code] = true
		got[what] = fmt.Sprintf("%s %s %s", f.Fingerprint, f.Stage, f.Code)
		words[what] = f.Message
	}
	for _, code := range []view.Code{view.CodeBadJSON, view.CodeUnknownType, view.CodeUnknownSchemaVersion, view.CodeMissingField,
		view.CodeMalformedField, view.CodeVersionOutOfRange, view.CodePlacedAtOutOfRange} {
		if !codes[code] {
			t.Errorf("no damage leads to %s", code)
		}
	}
	want := readFingerprints(t)
	for _, what := range slices.Sorted(maps.Keys(got)) {
		switch was, known := want[what]; {
		case !known && !*update:
			t.Errorf("%s: is not in %s: run go test ./order -update to add it", what, fingerprintsFile)
		case known && was != got[what]:
			t.Errorf("%s: was %s, is %s (%s): letters of this cause would be split in two. Undo the change of the words or of the rule; "+
				"or, if it must be, take the line out of %s, run go test ./order -update, and say so in the release's notes",
				what, was, got[what], words[what], fingerprintsFile)
			got[what] = was
		}
	}
	for what := range want {
		if _, ok := got[what]; !ok {
			t.Errorf("%s: was %s, and is no poison any more", what, want[what])
		}
	}
	if *update && !t.Failed() {
		var b strings.Builder
		for _, what := range slices.Sorted(maps.Keys(got)) {
			fmt.Fprintf(&b, "%s\t%s\n", what, got[what])
		}
		if err := os.WriteFile(fingerprintsFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readFingerprints(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(fingerprintsFile)
	if os.IsNotExist(err) && *update {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		what, f, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			t.Fatalf("%s: %q", fingerprintsFile, line)
		}
		out[what] = f
	}
	return out
}
