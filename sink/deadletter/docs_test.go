package deadletter

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"penstock/sink"
	"penstock/view"
)

const page = "../../docs/dead-letters.md"

// row is a row of the page's table of decisions.
type row struct {
	signal, action string
	stages         []view.Stage
	code           view.Code
	class          string
}

func readPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decisions(text string) (rows []row) {
	_, table, _ := strings.Cut(text, "## The decision\n")
	table, _, _ = strings.Cut(table, "\n## ")
	quoted := regexp.MustCompile("`[a-z_]+`")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 || strings.HasPrefix(line, "|---") || strings.Contains(line, "what is seen") {
			continue
		}
		r := row{signal: strings.TrimSpace(cells[0]), code: view.Code(strings.Trim(cells[2], " `")), class: strings.TrimSpace(cells[3]), action: strings.TrimSpace(cells[4])}
		for _, stage := range quoted.FindAllString(cells[1], -1) {
			r.stages = append(r.stages, view.Stage(strings.Trim(stage, "`")))
		}
		rows = append(rows, r)
	}
	return rows
}

// wrong holds the page's table against the closed sets of the code.
func wrong(rows []row) (faults []string) {
	codes, stages, classes := map[view.Code]int{}, map[view.Stage]bool{}, map[string]bool{}
	for _, r := range rows {
		classes[r.class] = true
		for _, stage := range r.stages {
			stages[stage] = true
			if !slices.Contains(view.Stages(), stage) {
				faults = append(faults, "there is no stage "+string(stage))
			}
		}
		if r.code == "" {
			if len(r.stages) > 0 || !strings.Contains(r.action, "wait") && !strings.Contains(r.action, "stop") && !strings.Contains(r.action, "applies") {
				faults = append(faults, r.signal+": neither parks nor waits nor stops")
			}
			continue
		}
		codes[r.code]++
		if !slices.Contains(view.Codes(), r.code) {
			faults = append(faults, "there is no code "+string(r.code))
		}
		if r.class != string(ClassOf(r.code)) {
			faults = append(faults, string(r.code)+" is of class "+string(ClassOf(r.code)))
		}
		if len(r.stages) == 0 || !strings.HasPrefix(r.action, "parks it") {
			faults = append(faults, string(r.code)+": is found at no stage, or not parked")
		}
	}
	for _, code := range view.Codes() {
		if codes[code] != 1 {
			faults = append(faults, "not one row has code "+string(code))
		}
	}
	for _, stage := range view.Stages() {
		if !stages[stage] {
			faults = append(faults, "no row has stage "+string(stage))
		}
	}
	for _, d := range []sink.Disposition{sink.Unknown, sink.Transient, sink.Overload, sink.Poison, sink.Fatal} {
		if !classes[d.String()] {
			faults = append(faults, "no row is "+d.String())
		}
	}
	return faults
}

func TestThePagesTableHasEveryDecision(t *testing.T) {
	rows := decisions(readPage(t))
	if len(rows) < len(view.Codes())+4 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, fault := range wrong(rows) {
		t.Error(fault)
	}
}

func TestATableThatLacksADecisionIsFound(t *testing.T) {
	text := readPage(t)
	for name, damaged := range map[string]string{
		"a code is missing": regexp.MustCompile("(?m)^.*`too_large`.*\n").ReplaceAllString(text, ""),
		"a code is twice":   strings.Replace(text, "`unknown_type`", "`bad_json`", 1),
		"another class":     strings.Replace(text, "| suspected |", "| poison |", 1),
		"another stage":     strings.Replace(text, "`deaggregate`", "`fetch`", 1),
		"no waiting":        strings.Replace(text, "| transient | waits, and repeats elsewhere |", "| | waits |", 1),
	} {
		if damaged == text {
			t.Errorf("%s: the test damaged nothing", name)
		}
		if len(wrong(decisions(damaged))) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// The page's letter is of this release's form. That it is real is for the command's tests to show, which know the order view.
func TestThePagesLetterConformsAndIsDecoded(t *testing.T) {
	_, rest, _ := strings.Cut(readPage(t), "```json\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no letter")
	}
	l, err := Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := compileSchema(t).Validate(value); err != nil {
		t.Error(err)
	}
	again, err := l.Encode()
	if err != nil || string(again) != text {
		t.Errorf("%v: this release would write\n%s", err, again)
	}
}
