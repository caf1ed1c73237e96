package viewfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/view"
	"penstock/view/viewtest"
)

// drawn is a file drawn at random and what its events have to keep: the author's word.
type drawn struct {
	text  string
	types []drawnType
}

type drawnType struct {
	name   string
	entity drawnEntity
}

// drawnEntity is what a type's version orders: members of the row, by their path.
type drawnEntity struct {
	places []string
	lower  bool // case does not tell entities apart
}

// text writes the entity as files do; at leads to the row.
func (e drawnEntity) text(at string) string {
	var places []string
	for _, p := range e.places {
		if e.lower {
			places = append(places, "{path: "+at+p+", case: lower}")
		} else {
			places = append(places, at+p)
		}
	}
	return "[" + strings.Join(places, ", ") + "]"
}

// of returns which entity a row is of, by its author's word.
func (e drawnEntity) of(row map[string]any) string {
	var name []string
	for _, p := range e.places {
		value, _ := lookUp(row, p).(string)
		if e.lower {
			value = strings.ToLower(value)
		}
		name = append(name, value)
	}
	return strings.Join(name, "/")
}

// drawFile draws a file that may or may not be sound. Columns, types and paths are few, so that they collide.
func drawFile(t *rapid.T) drawn {
	pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
	var b strings.Builder
	envelope := pick("envelope", "plain", "plain", "cloudevents", "debezium")
	at := map[string]string{"plain": "", "cloudevents": "/data", "debezium": "/row"}[envelope]
	fmt.Fprintf(&b, "view: drawn\nevent:\n  envelope: %s\n", envelope)
	switch envelope {
	case "plain":
		b.WriteString("  id: /id\n  type: /type\n  version: /version\n  time: /time\n")
	case "cloudevents":
		b.WriteString("  version: {path: /data/version, as: string}\n")
	case "debezium":
		b.WriteString("  version: /source/lsn\n  tombstones: " + pick("tombstones", "ignore", "poison") + "\n")
	}
	if rapid.Bool().Draw(t, "birth") {
		fmt.Fprintf(&b, "  birth: {path: %s/born, as: epoch_ms}\n", at)
	}
	entity := rapid.SampledFrom([]drawnEntity{{[]string{"/e"}, false}, {[]string{"/e"}, false}, {[]string{"/e", "/f"}, false}, {[]string{"/e", "/f"}, false},
		{[]string{"/e"}, true}, {[]string{"/digits"}, false}, {[]string{"/in/in/e"}, false}}).Draw(t, "entity")
	fmt.Fprintf(&b, "  entity: %s\n", entity.text(at))
	b.WriteString("types:\n  pair: {a: text, b: decimal}\n  two: {x: text, y: text}\n  deep: {in: frozen<two>}\ntables:\n")
	tables := []string{"t", "u"}[:rapid.IntRange(1, 2).Draw(t, "tables")]
	kinds, keys := map[string]string{}, map[string]string{}
	for _, table := range tables {
		key := func(name string, entity drawnEntity, place int) string {
			path, frozen := at+entity.places[place], "{type: frozen<two>, fields: {x: "+at+"/e, y: "+at+"/f}}"
			likely := "{type: text, path: " + path + "}"
			switch {
			case len(entity.places) == 2 && place == 0 && rapid.Bool().Draw(t, "frozen"):
				likely = frozen
			case entity.places[0] == "/in/in/e" && rapid.Bool().Draw(t, "deep"):
				likely = "{type: frozen<deep>, path: " + at + "/in, fields: {in: {path: " + at + "/in, of: event, fields: {x: /e, y: /f}}}}"
			}
			of := pick("key "+name, likely, likely, likely, likely, "{type: text, path: "+path+", case: lower}", "{type: text, path: "+at+"/f}",
				"{type: int, path: "+at+"/n}", "{type: text}", "{type: int, path: "+at+"/digits, as: string}", frozen)
			keys[table+name] = of
			return of
		}
		fmt.Fprintf(&b, "  %s:\n    partition: {p: %s}\n", table, key("p", entity, 0))
		if strings.HasPrefix(keys[table+"p"], "{type: text") && len(entity.places) == 2 || rapid.IntRange(0, 2).Draw(t, "clustering") == 0 {
			fmt.Fprintf(&b, "    clustering: {q: %s}\n", key("q", entity, len(entity.places)-1))
		}
		fmt.Fprintf(&b, "    provenance: %s\n    columns:\n      c: {type: text, class: revisable}\n", pick("provenance", "all", "last"))
		for i := range rapid.IntRange(0, 3).Draw(t, "columns") {
			typ := pick("type", "text", "int", "decimal", `"map<text, text>"`, `"map<int, text>"`, `"map<decimal, frozen<pair>>"`, "set<text>", "set<decimal>", "frozen<pair>")
			class := pick("class", "write_once", "revisable", "revisable", "revisable", "revisable")
			if strings.HasPrefix(typ, "set") {
				class = "write_once"
			}
			name := fmt.Sprintf("c%d", i)
			kinds[table+name] = typ
			fmt.Fprintf(&b, "      %s: {type: %s, class: %s}\n", name, typ, class)
		}
	}
	b.WriteString("on:\n")
	d := drawn{}
	names := []string{"x", "y"}
	if envelope == "debezium" {
		names = []string{"c", "u"}
	}
	every := rapid.IntRange(0, 2).Draw(t, "every") == 0
	if every {
		names = append(names, everyType)
	}
	for _, name := range names {
		if name != everyType && rapid.IntRange(0, 7).Draw(t, "ignored") == 0 {
			fmt.Fprintf(&b, "  %s: ignore\n", name)
			d.types = append(d.types, drawnType{name, entity})
			continue
		}
		own := entity
		fmt.Fprintf(&b, "  %q:\n    check: [{path: %s/s, type: text, optional: true}]\n", name, at)
		if name != everyType {
			if rapid.IntRange(0, 2).Draw(t, "own entity") == 0 {
				own.places = []string{pick("own place", "/f", "/e", "/in/e")}
				if len(entity.places) == 2 {
					own.places = []string{"/f", "/e"}
				}
				fmt.Fprintf(&b, "    entity: %s\n", own.text(at))
			}
			d.types = append(d.types, drawnType{name, own})
		}
		leaveOut := 3
		if every && name != everyType {
			leaveOut = 1 // all types write them anyway
		}
		for _, table := range tables {
			if rapid.IntRange(0, leaveOut).Draw(t, "left out") == 0 {
				continue
			}
			fmt.Fprintf(&b, "    %s:\n", table)
			if override := drawOverride(t, at, own, keys[table+"p"], keys[table+"q"]); override != "" {
				fmt.Fprintf(&b, "      key: %s\n", override)
			}
			b.WriteString("      set:\n")
			if rapid.IntRange(0, 4).Draw(t, "when") == 0 && name != everyType {
				b.WriteString("        {}\n      when: {path: " + at + "/n, equals: 1}\n")
				continue
			}
			set := 0
			for i := range 4 {
				column := fmt.Sprintf("c%d", i)
				if kinds[table+column] == "" || rapid.IntRange(0, 2).Draw(t, "sets") == 0 {
					continue
				}
				fmt.Fprintf(&b, "        %s: %s\n", column, drawRule(t, kinds[table+column], at))
				set++
			}
			if set == 0 {
				b.WriteString("        {}\n")
			}
		}
	}
	d.text = b.String()
	return d
}

// drawOverride draws where a type has key columns that others have elsewhere; empty for nowhere.
func drawOverride(t *rapid.T, at string, own drawnEntity, keys ...string) string {
	var parts []string
	for i, key := range keys {
		if key == "" || key != "{type: text}" && rapid.IntRange(0, 2).Draw(t, "override") > 0 {
			continue
		}
		switch name := []string{"p", "q"}[i]; {
		case strings.HasPrefix(key, "{type: text"):
			place := own.places[min(i, len(own.places)-1)]
			parts = append(parts, name+": "+at+rapid.SampledFrom([]string{place, place, "/e", "/f"}).Draw(t, "overriding"))
		case strings.HasPrefix(key, "{type: frozen<two>"):
			parts = append(parts, name+": {fields: {x: "+at+"/f, y: "+at+"/e}}")
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func drawRule(t *rapid.T, typ, at string) string {
	pick := func(from ...string) string { return fmt.Sprintf(rapid.SampledFrom(from).Draw(t, "rule"), at) }
	switch typ {
	case "text":
		return pick("%s/s", "{path: %s/s, case: upper}", "{path: %s/s, optional: true}", "{path: %s/n, as: integer}", "{path: %s/s, when: {path: %[1]s/n, equals: 1}}")
	case "int":
		return pick("%s/n", "{path: %s/born, as: epoch_ms, take: month}", "{each: %s/list, sum: [/n]}")
	case "decimal":
		return pick("%s/d", "{path: %s/d, require: {min: 0}}")
	case `"map<text, text>"`:
		return pick("{entry: {key: %s/s, value: %[1]s/s}}", "{each: %s/list, entry: {key: /k, value: {path: /v, of: event, optional: true}}}",
			"{each: %s/list, entry: {key: /k, value: /v}, when: {path: /n, equals: 1}}",
			"{each: %s/list, optional: true, entry: {key: /k, value: {path: /v, when: {path: /n, equals: 1}}}}",
			"{each: %s/list, entry: {key: /k, value: {const: c, when: {path: %[1]s/n, of: event, equals: 1}}}}",
			"[{entry: {key: {const: a}, value: %s/s}}, {entry: {key: {const: b}, value: %[1]s/s}}]")
	case `"map<int, text>"`:
		return pick("{entry: {key: {path: %s/digits, as: string}, value: %[1]s/s}}", "{each: %s/list, optional: true, entry: {key: /n, value: /v}}")
	case `"map<decimal, frozen<pair>>"`:
		return pick("{entry: {key: %s/d, value: {fields: {a: %[1]s/s, b: %[1]s/d}}}}")
	case "set<text>":
		return pick("{add: %s/s}", "{each: %s/tags, add: \"\"}", "[{add: %s/s}, {each: %[1]s/tags, add: {path: \"\", case: lower}}]")
	case "set<decimal>":
		return pick("{add: %s/d}")
	}
	return pick("{fields: {a: %s/s, b: %[1]s/d}}", "{path: %s/pair, optional: true, fields: {a: /a, b: /b}}")
}

// drawHistory draws events of a few entities in the order in which they happened. What only the author can promise is
// kept: versions grow with every event of an entity, the birth does not change, and what an event type writes once it
// says once for a row, which here means that each type happens once to an entity, or says the same again.
func drawHistory(t *rapid.T, v *View, d drawn) []string {
	var out []string
	versions, said := map[string]int64{}, map[string]map[string]any{}
	for range rapid.IntRange(2, 14).Draw(t, "events") {
		typ := rapid.SampledFrom(d.types).Draw(t, "event")
		row := drawRow(t)
		entity := typ.entity.of(row)
		if before := said[entity+" "+typ.name]; before != nil && hasWriteOnce(v) {
			row = before
		} else {
			said[entity+" "+typ.name] = row
		}
		if _, known := versions[entity]; !known {
			versions[entity] = rapid.Int64Range(0, 9).Draw(t, "first version")
		}
		versions[entity] += rapid.Int64Range(1, 3).Draw(t, "step")
		out = append(out, wrap(v.envelope, typ.name, versions[entity], row))
	}
	return out
}

func hasWriteOnce(v *View) bool {
	return slices.ContainsFunc(v.Tables(), func(t view.Table) bool {
		return slices.ContainsFunc(t.Columns, func(c view.Column) bool { return c.Class == view.WriteOnce && c.Type.Kind() != view.KindSet })
	})
}

func drawRow(t *rapid.T) map[string]any {
	text := func(name string) string { return rapid.SampledFrom([]string{"a", "b", "B", ""}).Draw(t, name) }
	number := func(name string) json.Number {
		return json.Number(rapid.SampledFrom([]string{"1", "1.0", "0.1", "1e0", "100", "1.00e2"}).Draw(t, name))
	}
	id := func(name string) string { return rapid.SampledFrom([]string{"a", "A", "b"}).Draw(t, name) }
	row := map[string]any{"e": id("e"), "f": id("f"), "digits": rapid.SampledFrom([]string{"7", "07", "8"}).Draw(t, "digits"),
		"in": map[string]any{"e": id("in/e"), "f": "f", "in": map[string]any{"e": id("in/in/e")}}, "n": rapid.IntRange(0, 2).Draw(t, "n"), "born": 1_700_000_000_000, "s": text("s"), "d": number("d"),
		"v": text("v"), "tags": rapid.SliceOfN(rapid.SampledFrom([]string{"x", "X", "y"}), 0, 3).Draw(t, "tags"), "pair": map[string]any{"a": text("a"), "b": number("b")}}
	var list []any
	for i := range rapid.IntRange(0, 3).Draw(t, "list") {
		list = append(list, map[string]any{"k": fmt.Sprint(i), "v": text("v"), "n": rapid.IntRange(0, 2).Draw(t, "n")})
	}
	row["list"] = append([]any{}, list...)
	if rapid.IntRange(0, 3).Draw(t, "less") == 0 {
		delete(row, rapid.SampledFrom([]string{"e", "s", "d", "pair", "v"}).Draw(t, "missing"))
	}
	return row
}

// wrap makes the event's JSON.
func wrap(envelope, typ string, version int64, row map[string]any) string {
	event := map[string]any{}
	at := time.Date(2026, 11, 21, 10, 0, int(version%60), 0, time.UTC)
	switch envelope {
	case envelopePlain:
		maps.Copy(event, row)
		event["id"], event["type"], event["version"], event["time"] = fmt.Sprint("id-", version), typ, version, at
	case envelopeCloudEvents:
		data := map[string]any{"version": fmt.Sprintf("%06d", version)}
		maps.Copy(data, row)
		event = map[string]any{"specversion": "1.0", "id": fmt.Sprint("id-", version), "source": "/s", "type": typ, "time": at, "data": data}
	case envelopeDebezium:
		change := map[string]any{"op": typ, "ts_ms": at.UnixMilli(), "source": map[string]any{"lsn": version}, "before": nil, "after": row}
		if version%2 == 0 {
			change["before"], change["after"] = row, nil
		}
		event = map[string]any{"payload": change, "schema": map[string]any{"op": "?"}}
	}
	data, err := json.Marshal(event)
	if err != nil {
		panic(err) // text, numbers and times
	}
	return string(data)
}

// TestAcceptedFilesConverge draws files and histories: what the loader accepts ends in the rows of the history, in any
// order and with any repetition.
func TestAcceptedFilesConverge(t *testing.T) {
	accepted, refused, poisoned, compared := 0, 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		d := drawFile(rt)
		v, _, err := Load("drawn.yaml", []byte(d.text))
		if err != nil {
			refused++
			if strings.Contains(err.Error(), "this is not YAML") {
				rt.Fatalf("%v\n%s", err, d.text)
			}
			return
		}
		accepted++
		if err := view.Check(v); err != nil {
			rt.Fatalf("%v\n%s", err, d.text)
		}
		again, _, err := Load("canonical.yaml", v.Definition())
		if err != nil || again.Revision() != v.Revision() || string(again.Definition()) != string(v.Definition()) {
			rt.Fatalf("the definition is not stable: %v\n%s\n%s", err, v.Definition(), again.Definition())
		}
		for range 4 {
			var events []string
			for _, data := range drawHistory(rt, v, d) {
				result, err := v.Project(view.Record{Data: []byte(data), Arrival: goldenArrival})
				if err != nil {
					if _, ok := view.AsPoison(err); !ok {
						rt.Fatalf("%v: is not poison", err)
					}
					poisoned++
					continue
				}
				for _, m := range result.Mutations {
					if err := viewtest.Conform(v.Tables(), m); err != nil {
						rt.Fatalf("%v\n%s\n%s", err, data, d.text)
					}
				}
				events = append(events, data)
			}
			if len(events) == 0 {
				continue
			}
			compared++
			want := fold(t, v, events).String()
			shuffled := append(slices.Clone(events), rapid.SliceOf(rapid.SampledFrom(events)).Draw(rt, "repeated")...)
			if got := merge(t, v, rapid.Permutation(shuffled).Draw(rt, "order")).String(); got != want {
				rt.Fatalf("rows are\n%s\nand not\n%s\nof %s\nby\n%s", got, want, strings.Join(events, "\n"), d.text)
			}
		}
	})
	t.Logf("%d files accepted, %d refused, %d histories compared, %d events poison", accepted, refused, compared, poisoned)
	if accepted == 0 || refused == 0 || compared == 0 || poisoned == 0 {
		t.Error("each must happen")
	}
}

// TestTheLawWouldFailWithoutTheProver builds what is refused for convergence, from the same drawn files, and counts what
// diverges: a law that holds of everything would prove nothing.
func TestTheLawWouldFailWithoutTheProver(t *testing.T) {
	built, diverged := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		d := drawFile(rt)
		r := read("drawn.yaml", []byte(d.text))
		if len(r.mistakes) == 0 || strings.Contains((&Mistakes{r.mistakes}).Error(), "has no path") {
			return
		}
		v := newView(r.definition, r.definition.canonical())
		var events []string
		for _, data := range drawHistory(rt, v, d) {
			if _, err := v.Project(view.Record{Data: []byte(data), Arrival: goldenArrival}); err == nil {
				events = append(events, data)
			}
		}
		built++
		backwards, inOrder := slices.Clone(events), fold(t, v, events).String()
		slices.Reverse(backwards)
		if merge(t, v, backwards).String() != inOrder || merge(t, v, rapid.Permutation(events).Draw(rt, "order")).String() != inOrder {
			diverged++
		}
	})
	if built == 0 || diverged == 0 {
		t.Errorf("%d of %d refused files diverged: some must", diverged, built)
	}
	t.Logf("%d of %d refused files diverged", diverged, built)
}
