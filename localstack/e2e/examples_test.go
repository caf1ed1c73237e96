package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"penstock/localstack/shop"
	"penstock/localstack/stacktest"
	"penstock/view/viewtest"
)

const viewExamples = "../../view/viewfile/examples"

// expectation is what the events of an example end in, as its expect.yaml says it.
type expectation struct {
	Arrival string                      `yaml:"arrival"` // when the events came in, if one of them is judged by it
	Poison  map[string]string           `yaml:"poison"`  // code by the event's file
	Rows    map[string][]map[string]any `yaml:"rows"`    // by table
}

// Every example of a view from a file, as its reader would run it: the real programs, each event twice and in any order.
func TestTheExamplesOfViewsEndInTheirRows(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	entries, err := os.ReadDir(viewExamples)
	if err != nil || len(entries) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for i, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			t.Parallel()
			runExample(t, os.DirFS(filepath.Join(viewExamples, entry.Name())), uint64(i))
		})
	}
}

func runExample(t *testing.T, folder fs.FS, seed uint64) {
	var want expectation
	if err := yaml.Unmarshal(must(fs.ReadFile(folder, "expect.yaml"))(t), &want); err != nil {
		t.Fatal(err)
	}
	var events []viewtest.StockRecord
	var letters []string
	for _, path := range must(fs.Glob(folder, "events/*.json"))(t) {
		data := must(fs.ReadFile(folder, path))(t)
		name := filepath.Base(path)
		code := want.Poison[name]
		if want.Arrival != "" && code == "placed_at_out_of_range" {
			continue // it is poison to whoever got it at that moment, and we get it now
		}
		for range 2 {
			events = append(events, viewtest.StockRecord{ID: name, PartitionKey: name, Data: data})
			if code != "" {
				letters = append(letters, letterText(code, data))
			}
		}
	}
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })

	const shards = 2
	s := newViewSite(t, shards, string(must(fs.ReadFile(folder, "view.yaml"))(t)))
	setup(t, s.Site)
	ctx := within(t, 2*time.Minute, "an example")
	if err := (&stockWorkload{events: events}).put(ctx, s.Site, 1000); err != nil {
		t.Fatal(err)
	}
	fleet := &Fleet{Site: s.Site, Shards: shards}
	defer fleet.Kill()
	if _, err := fleet.Start(ctx, "only"); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
		done, _ := fleet.Done(scrapes)
		return done == len(events)
	}); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}

	var parked []string
	for letter, err := range s.Letters(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		parked = append(parked, letterText(letter.Code, letter.Payload))
	}
	slices.Sort(letters)
	slices.Sort(parked)
	if diff := cmp.Diff(letters, parked); diff != "" {
		t.Errorf("letters (-want +got):\n%s", diff)
	}
	session := must(s.Cassandra())(t)
	defer session.Close()
	if len(want.Rows) == 0 {
		t.Error("no rows are expected: nothing is shown")
	}
	for table, expected := range want.Rows {
		var rows, got []string
		for _, row := range expected {
			rows = append(rows, spelled(t, row))
		}
		for text, err := range s.rows(ctx, session, shop.Table(table)) {
			d := json.NewDecoder(bytes.NewReader(must(text, err)(t)))
			d.UseNumber()
			var row map[string]any
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			got = append(got, spelled(t, row))
		}
		slices.Sort(rows)
		slices.Sort(got)
		if diff := cmp.Diff(rows, got); diff != "" {
			t.Errorf("rows of %s (-want +got):\n%s", table, diff)
		}
	}
}

func letterText(code string, payload []byte) string { return code + ": " + string(payload) }

// spelled writes a row in one spelling, whether it comes from a file or from Cassandra's SELECT JSON: without what is not
// set, every scalar as text, lists in the order of their elements' text, since they are sets.
func spelled(t *testing.T, row map[string]any) string {
	t.Helper()
	return string(must(json.MarshalIndent(plain(row), "", " "))(t))
}

// cassandraTime is how SELECT JSON writes a timestamp.
var cassandraTime = regexp.MustCompile(`^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3}Z)$`)

func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			if member != nil {
				out[name] = plain(member)
			}
		}
		return out
	case []any:
		var out []string
		for _, element := range v {
			out = append(out, fmt.Sprint(plain(element)))
		}
		slices.Sort(out)
		return out
	case time.Time: // as YAML takes a date without quotes
		return v.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	text := fmt.Sprint(v)
	if m := cassandraTime.FindStringSubmatch(text); m != nil {
		return m[1] + "T" + m[2]
	}
	return text
}
