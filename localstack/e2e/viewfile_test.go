package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/localstack/stacktest"
	"penstock/view/viewtest"
)

// shelves is a view from a file of the events that viewtest.StockEvents makes, without the lines that tell where the goods
// lie and whether they are sold any more.
const shelves = `view: shelves
event:
  envelope: plain
  id: /id
  type: /type
  version: /sequence
  time: /at
  entity: [/warehouse, /sku]
types:
  location: {aisle: text, shelf: int}
tables:
  stock:
    partition:
      warehouse: {type: text, path: /warehouse}
    clustering:
      sku: {type: text, path: /sku}
    provenance: last
    columns:
      on_hand: {type: int, class: revisable}
      reserved: {type: int, class: revisable}
      location: {type: frozen<location>, class: revisable} # new
      discontinued: {type: boolean, class: revisable} # new
on:
  stock.changed:
    stock:
      set:
        on_hand: {path: /on_hand, optional: true}
        reserved: {path: /reserved, optional: true}
        location: {fields: {aisle: /aisle, shelf: /shelf}, optional: true} # new
        discontinued: {path: /discontinued, optional: true} # new
`

// viewSite is a site that feeds a view from a file, which the test rewrites.
type viewSite struct {
	*Site
	file string
}

func newViewSite(t *testing.T, shards int, text string) viewSite {
	t.Helper()
	s := viewSite{site(t, shards, nil), filepath.Join(t.TempDir(), "shelves.yaml")}
	s.Set("PENSTOCK_VIEW_FILE=" + s.file)
	s.write(t, text)
	return s
}

func (s viewSite) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// before returns the definition as it was before the lines that are new were in it.
func before(text string) string {
	lines := slices.Collect(strings.Lines(text))
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return strings.HasSuffix(line, "# new\n") }), "")
}

// refused wants a command to end at once by a guard, with these words.
func (s viewSite) refused(t *testing.T, command string, words ...string) {
	t.Helper()
	_, err := s.Projector(within(t, time.Minute, "a refusal"), command)
	for _, word := range words {
		if codeOf(err) != 6 || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want exit code 6 and %q", command, err, word)
		}
	}
}

// A view's file grows by two columns while a daemon feeds the view. Nobody writes them before setup has added and recorded
// them; then daemons of both files write into one generation, and the old one does so as before.
func TestTheFileOfAViewGrowsWhileADaemonFeedsIt(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	const shards = 2
	s := newViewSite(t, shards, before(shelves))
	k := s.Name
	setup(t, s.Site)
	wantTroubles(t, runCheck(t, s.Site), 0)
	ctx := within(t, 3*time.Minute, "a file that grows")
	records, rows := viewtest.StockEvents(31, 3000)
	fleet := &Fleet{Site: s.Site, Shards: shards}
	defer fleet.Kill()
	old, err := fleet.Start(ctx, "old")
	if err != nil {
		t.Fatal(err)
	}
	feed := func(part []viewtest.StockRecord) {
		t.Helper()
		applied, _ := fleet.Done(must(fleet.Scrape(ctx))(t))
		if err := (&stockWorkload{events: part}).put(ctx, s.Site, 100_000); err != nil {
			t.Fatal(err)
		}
		idle := fleet.Idle()
		if err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
			done, _ := fleet.Done(scrapes)
			return idle(scrapes) && done >= applied+len(part)
		}); err != nil {
			t.Fatal(err)
		}
	}
	first, second, third := records[:1000], records[1000:2000], records[2000:]
	feed(first)

	s.write(t, shelves+"# a comment is no change\n")
	if err := old.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	reloaded, err := old.Await(ctx, func(e Entry) bool { return e.Message == "configuration reloaded" })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(reloaded.Raw, `"needs_restart":["view.file"]`) {
		t.Errorf("after SIGHUP the daemon said %s", reloaded.Raw)
	}
	const additive = "additive: columns stock.discontinued, stock.location not in view_state yet"
	s.refused(t, "run", additive, "run projector setup")
	grown := runCheck(t, s.Site)
	wantTroubles(t, grown, 7,
		"missing cassandra revision view shelves, generation 1",
		"missing cassandra type "+k+".location_g1",
		"missing cassandra column "+k+".stock_g1.discontinued",
		"missing cassandra column "+k+".stock_g1.location")
	f := grown.find(t, "missing", "revision", "view shelves, generation 1")
	if !strings.Contains(f.Found, additive) || f.Do != "run projector setup" {
		t.Errorf("%+v", f)
	}

	var setups sync.WaitGroup
	for range 3 {
		setups.Go(func() {
			out, err := s.Projector(ctx, "setup")
			if err != nil || !strings.Contains(out, ", and since then stock.discontinued, stock.location\n") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	setups.Wait()
	if t.Failed() {
		return
	}
	wantTroubles(t, runCheck(t, s.Site), 0)

	if _, err := fleet.Start(ctx, "new"); err != nil {
		t.Fatal(err)
	}
	if err := fleet.AwaitBalance(ctx); err != nil {
		t.Fatal(err)
	}
	feed(second)
	for i, scrape := range must(fleet.Scrape(ctx))(t) {
		if scrape.Applied == 0 || scrape.Parked != 0 {
			t.Errorf("daemon %d did not take part: %+v\n%s", i, scrape, fleet.Moves())
		}
	}
	if err := old.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	fleet.running = fleet.running[1:]
	feed(third)
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	checkGrown(t, s.Site, rows, records, len(first)+len(second))

	t.Run("the file as it was", func(t *testing.T) {
		s.write(t, before(shelves))
		c := runCheck(t, s.Site)
		wantTroubles(t, c, 0)
		f := c.find(t, "warn", "revision", "view shelves, generation 1")
		if !strings.Contains(f.Found, "this program does not write columns stock.discontinued, stock.location") {
			t.Errorf("%+v", f)
		}
		setup(t, s.Site) // which takes nothing away
	})
	for name, c := range map[string]struct{ from, to, word string }{
		"another source":              {"path: /reserved", "path: /on_hand", "reserved"},
		"another source of a new one": {"path: /discontinued", "path: /gone", "column stock.discontinued was added with another type, or is set from something else"},
		"another type":                {"reserved: {type: int,", "reserved: {type: bigint,", "reserved"},
		"another order":               {"path: /sku}", "path: /sku, order: desc}", "sku"},
		"another table":               {"tables:\n", "tables:\n  more:\n    partition: {warehouse: {type: text, path: /warehouse}, sku: {type: text, path: /sku}}\n    provenance: last\n", "more"},
	} {
		t.Run(name, func(t *testing.T) {
			s.write(t, strings.Replace(shelves, c.from, c.to, 1))
			s.refused(t, "run", c.word, "--generation 2")
			s.refused(t, "setup", c.word, "--generation 2")
			found := runCheck(t, s.Site) // and may say what of it shows in the tables
			if found.ExitCode != 6 || found.troubles()[0] != "refused cassandra revision view shelves, generation 1" {
				t.Errorf("exit code %d with %v", found.ExitCode, found.troubles())
			}
			if f := found.find(t, "refused", "revision", "view shelves, generation 1"); !strings.Contains(f.Found, c.word) || !strings.Contains(f.Do, "--generation 2") {
				t.Errorf("%+v", f)
			}
		})
	}
}

// must returns the value of a call that has to succeed.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// checkGrown holds the rows against the oracle: what both files say is whole. Of what only the new one says there is at
// least what was said since its daemon is alone, from the record at index alone on, and otherwise nothing or what an event said.
func checkGrown(t *testing.T, s *Site, want []viewtest.StockRow, records []viewtest.StockRecord, alone int) {
	t.Helper()
	session := must(s.Cassandra())(t)
	defer session.Close()
	got := map[string]viewtest.StockRow{}
	for text, err := range s.rows(t.Context(), session, "stock") {
		row := must(viewtest.DecodeStockRow(string(must(text, err)(t))))(t)
		got[row.Key()] = row
	}
	if len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	cells := 0
	said := sayings(t, records, alone)
	for _, row := range want {
		for _, column := range []string{"on_hand", "reserved", "last_event"} {
			if !reflect.DeepEqual(got[row.Key()][column], row[column]) {
				t.Errorf("%s: %s is %v, want %v", row.Key(), column, got[row.Key()][column], row[column])
			}
		}
		for _, column := range []string{"location", "discontinued"} {
			is := got[row.Key()][column]
			if is != nil {
				cells++
			}
			if !plausible(said[row.Key()][column], is) {
				t.Errorf("%s: %s is %v, of %+v", row.Key(), column, is, said[row.Key()][column])
			}
		}
	}
	if cells == 0 {
		t.Error("no new cell was written")
	}
}

// saying is what one event said of a column.
type saying struct {
	version int64
	value   any
	heard   bool // by a daemon that writes the column, for sure
}

// sayings returns what was said by row and new column.
func sayings(t *testing.T, records []viewtest.StockRecord, alone int) map[string]map[string][]saying {
	t.Helper()
	out := map[string]map[string][]saying{}
	for i, r := range records {
		d := json.NewDecoder(bytes.NewReader(r.Data))
		d.UseNumber()
		var event map[string]any
		if err := d.Decode(&event); err != nil {
			t.Fatal(err)
		}
		version := must(event["sequence"].(json.Number).Int64())(t)
		key := fmt.Sprint(event["warehouse"], "/", event["sku"])
		if out[key] == nil {
			out[key] = map[string][]saying{}
		}
		if gone, ok := event["discontinued"]; ok {
			out[key]["discontinued"] = append(out[key]["discontinued"], saying{version, gone, i >= alone})
		}
		if aisle, ok := event["aisle"]; ok {
			location := map[string]any{"aisle": aisle, "shelf": event["shelf"]}
			out[key]["location"] = append(out[key]["location"], saying{version, location, i >= alone})
		}
	}
	return out
}

// plausible tells whether a cell can be what is left of what was said, none being older than the newest that was heard.
func plausible(said []saying, is any) bool {
	newest := int64(-1)
	for _, s := range said {
		if s.heard {
			newest = max(newest, s.version)
		}
	}
	if is == nil {
		return newest < 0
	}
	return slices.ContainsFunc(said, func(s saying) bool { return s.version >= newest && reflect.DeepEqual(s.value, is) })
}

// A file that is no view is told with all that is wrong in it, before anything is connected to.
func TestEveryMistakeInTheFileOfAViewIsTold(t *testing.T) {
	t.Parallel()
	s := newViewSite(t, 0, strings.NewReplacer("provenance: last", "provenance: first", "reserved: {type: int, class: revisable}", "reserved: {type: int, class: sometimes}").Replace(shelves))
	for _, name := range []string{"KINESIS", "DYNAMODB", "S3"} {
		s.Set("AWS_ENDPOINT_URL_" + name + "=http://" + deadAddress(t))
	}
	for _, command := range []string{"run", "setup", "check", "config"} {
		_, err := s.Projector(within(t, time.Minute, "a refusal"), command)
		for _, place := range []string{":17:", ":20:"} {
			if codeOf(err) != 3 || !strings.Contains(err.Error(), "configuration invalid: 2 mistakes") || !strings.Contains(err.Error(), s.file+place) {
				t.Errorf("%s: %v, want exit code 3 and a mistake at %s", command, err, place)
			}
		}
	}
	s.write(t, shelves)
	s.Set("PENSTOCK_VIEW_NAME=order")
	if _, err := s.Projector(t.Context(), "config"); codeOf(err) != 3 || !strings.Contains(err.Error(), "the view in "+s.file+" is shelves") {
		t.Errorf("another name: %v", err)
	}
}

func TestALostCellAndOneThatNobodySaidAreFound(t *testing.T) {
	said := []saying{{version: 1, value: "a"}, {version: 2, value: "b", heard: true}, {version: 3, value: "c"}}
	for is, want := range map[any]bool{nil: false, "a": false, "b": true, "c": true, "d": false} {
		if plausible(said, is) != want {
			t.Errorf("%v: want %t", is, want)
		}
	}
	unheard := said[:1]
	if !plausible(unheard, nil) || !plausible(unheard, "a") || plausible(unheard, "b") || plausible(nil, "a") {
		t.Error("what no daemon has heard for sure may be there or not, and nothing else may")
	}
}
