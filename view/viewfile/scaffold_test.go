package viewfile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock/view"
)

// soundSamples returns those events of an example that its view applies.
func soundSamples(t testing.TB, name string) [][]byte {
	t.Helper()
	v := loadExample(t, name)
	files, err := filepath.Glob(filepath.Join("examples", name, "events", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if result, err := v.Project(view.Record{Data: data, Arrival: goldenArrival}); err == nil && len(result.Mutations) > 0 {
			out = append(out, data)
		}
	}
	if len(out) < 3 {
		t.Fatalf("%d sound events of %s", len(out), name)
	}
	return out
}

func TestAProposalLoadsAndAppliesItsSamples(t *testing.T) {
	for name, want := range map[string][]string{
		"order":     {"envelope: cloudevents", "version: /data/version", "entity: [/data/order_id]", "order_id: {type: uuid, path: /data/order_id}", "order.paid.v1:"},
		"stock":     {"envelope: plain", "id: /event_id", "type: /kind", "version: /sequence", "time: {path: /at, as: epoch_ms}"},
		"shipments": {"envelope: debezium", "version: /source/lsn", "entity: [/row/id]", "view: shipments", "deleted: {const: true}"},
		"profiles":  {"version: {path: /lsn, as: string}", "entity: [/aggregate_id]", "type: uuid", "time: /occurred_at"},
	} {
		t.Run(name, func(t *testing.T) {
			samples := soundSamples(t, name)
			file, unsure, err := Scaffold(samples)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range want {
				if !strings.Contains(string(file), w) {
					t.Errorf("%q is not in:\n%s", w, file)
				}
			}
			if len(unsure) == 0 || strings.Count(string(file), "\n# ? ") != len(unsure) {
				t.Errorf("unsure of %q, which do not all stand in:\n%s", unsure, file)
			}
			v, _, err := Load("proposal", file)
			if err != nil {
				t.Fatal(err)
			}
			for _, data := range samples {
				if result, err := v.Project(view.Record{Data: data, Arrival: goldenArrival}); err != nil || len(result.Mutations) != 1 {
					t.Errorf("%s: %v\n%s", data, err, file)
				}
			}
		})
	}
}

func TestAProposalSaysWhatItIsUnsureOf(t *testing.T) {
	file, unsure, err := Scaffold([][]byte{[]byte(`{"a":1,"b":null,"c":[],"d":[{"x":1}],"e":1795255200000}`), []byte(`{"a":"x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(unsure, "\n")
	for _, want := range []string{"the event's type", "the event's version", "the event's time", "event's id", "an id of the entity", "/a has several types",
		"/b is null in every sample", "/c has no elements", "/d have no member that tells them apart", "/e looks like a time in ms"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in:\n%s\n%s", want, all, file)
		}
	}
}

func TestASampleThatIsNoEventIsNamed(t *testing.T) {
	for _, data := range []string{"", "7", "[]", "null", "{} {}", "{"} {
		if _, _, err := Scaffold([][]byte{[]byte("{}"), []byte(data)}); err == nil || !strings.Contains(err.Error(), "read sample 2 of 2") {
			t.Errorf("%q: got %v", data, err)
		}
	}
	if _, _, err := Scaffold([][]byte{[]byte("[1]")}); err == nil || !strings.HasSuffix(err.Error(), "an array: must be a JSON object") {
		t.Errorf("got %v", err)
	}
	if _, _, err := Scaffold(nil); err == nil {
		t.Error("no samples are enough")
	}
}

func TestAProposalFindsAVersionUnderOtherNames(t *testing.T) {
	for member, want := range map[string]string{"aggregateVersion": "/aggregateVersion", "aggregate_version": "/aggregate_version",
		"orderVersion": "/orderVersion", "sequenceNumber": "/sequenceNumber", "schemaVersion": "/version"} {
		file, _, err := Scaffold([][]byte{[]byte(`{"eventId":"1","eventType":"a.b","aggregateId":"x","occurredAt":"2026-11-21T10:00:00Z","` + member + `":3}`)})
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"  version: " + want + "\n", "  entity: [/aggregateId]\n", "  type: /eventType\n", "  id: /eventId\n", "  time: /occurredAt\n"} {
			if !strings.Contains(string(file), line) {
				t.Errorf("%s: %q is not in:\n%s", member, line, file)
			}
		}
	}
}

// TestEveryProposalLoads draws samples of any shape: names that are no identifiers, collisions, mixed types.
func TestEveryProposalLoads(t *testing.T) {
	names := []string{"id", "event_id", "type", "version", "time", "data", "payload", "a", "A", "a_b", "a-b", "events", "last_event", "", "é", "1", "order_id", "orderId", "deleted", "x~/y",
		"op", "source", "after", "before", "specversion", strings.Repeat("long", 20), "lines", "#", "a: b"}
	rapid.Check(t, func(t *rapid.T) {
		var value func(depth int) any
		object := func(depth int) map[string]any {
			out := map[string]any{}
			for _, name := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 7).Draw(t, "names") {
				out[name] = value(depth + 1)
			}
			return out
		}
		value = func(depth int) any {
			kind := rapid.IntRange(0, 11).Draw(t, "kind")
			switch {
			case kind == 0 && depth < 4:
				return object(depth)
			case kind == 1 && depth < 4:
				var out []any
				for range rapid.IntRange(0, 3).Draw(t, "elements") {
					out = append(out, value(depth+1))
				}
				return append([]any{}, out...)
			case kind == 2 && depth < 4:
				return []any{object(depth), object(depth)}
			}
			return rapid.SampledFrom([]any{nil, true, "x", "", "order.placed", "a,b", "*", "2026-11-21T10:00:00Z", "0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70", "12",
				json.Number("1"), json.Number("1.5"), json.Number("1e400"), json.Number("1795255200"), json.Number("9223372036854775808")}).Draw(t, "scalar")
		}
		var samples [][]byte
		for range rapid.IntRange(1, 4).Draw(t, "samples") {
			data, err := json.Marshal(object(0))
			if err != nil {
				t.Fatal(err)
			}
			samples = append(samples, data)
		}
		file, _, err := Scaffold(samples)
		if err != nil {
			t.Fatalf("%v\n%s", err, samples)
		}
		if _, _, err := Load("proposal", file); err != nil {
			t.Fatal(err)
		}
	})
}
