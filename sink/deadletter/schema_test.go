package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"penstock/view"
)

const schemaFile = "../../docs/penstock-letter.schema.json"

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// full is a letter with every member that there can be: its record is a panic that was tried.
func full() Letter {
	l := sample()
	l.Failure.Stack = "goroutine 1"
	return l
}

func encoded(t interface {
	Helper()
	Fatal(...any)
}, l Letter) any {
	t.Helper()
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestLettersConformToThePublishedSchema(t *testing.T) {
	schema := compileSchema(t)
	bare := sample()
	bare.Event, bare.Attempts, bare.Context, bare.Source.ARN, bare.Source.PartitionKey, bare.Payload = Event{}, Attempts{}, Context{}, "", "", nil
	for name, l := range map[string]Letter{"full": full(), "bare": bare} {
		if err := schema.Validate(encoded(t, l)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if err := schema.Validate(encoded(t, anyLetter(t))); err != nil {
			t.Fatal(err)
		}
	})
}

// anyLetter draws a letter that may be parked.
func anyLetter(t *rapid.T) Letter {
	text := func(label string) string { return rapid.String().Draw(t, label) }
	at := func(label string) time.Time {
		return time.UnixMicro(rapid.Int64Range(0, 1<<51).Draw(t, label)).UTC()
	}
	number := rapid.StringMatching(`0|[1-9][0-9]{0,60}`)
	l := Letter{
		Target: Target{View: rapid.StringMatching(`[a-z][a-z0-9_]{0,39}`).Draw(t, "view"), Revision: text("revision"),
			Generation: view.Generation(rapid.IntRange(1, 9999).Draw(t, "generation"))},
		Source: Source{
			Stream: text("stream"), ARN: text("arn"), Epoch: number.Draw(t, "epoch"), Shard: rapid.StringMatching(`[A-Za-z0-9_.-]{1,128}`).Draw(t, "shard"),
			Sequence: number.Draw(t, "sequence"), SubSequence: rapid.Int64Range(0, 1<<20).Draw(t, "subsequence"), PartitionKey: text("partition key"), Arrival: at("arrival"),
		},
		Event: Event{
			ID: text("id"), Type: text("type"), SchemaVersion: rapid.Int().Draw(t, "schema version"), EntityVersion: rapid.Int64().Draw(t, "entity version"),
			Time: time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "event time"), 0).UTC(), Entity: text("entity"), TraceParent: text("traceparent"),
		},
		Failure: NewFailure(&view.Poison{
			Stage: rapid.SampledFrom(view.Stages()).Draw(t, "stage"), Code: rapid.SampledFrom(view.Codes()).Draw(t, "code"), Err: errors.New(text("cause")),
		}),
		Context:  Context{Version: text("version"), Host: text("host"), Worker: text("worker")},
		ParkedAt: at("parked at"),
		Payload:  rapid.SliceOf(rapid.Byte()).Draw(t, "payload"),
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "attempts") {
		l.Attempts.Add(l.ParkedAt, errors.New(text(fmt.Sprint("attempt ", i))))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "attributes") {
		l.Event.Attributes = append(l.Event.Attributes, view.Attribute{Name: text(fmt.Sprint("name ", i)), Value: text(fmt.Sprint("value ", i))})
	}
	return l
}

// members calls do for every member of an object and of what stands in it, with the object's path.
func members(path string, value any, do func(path string, of map[string]any, name string)) {
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			do(path, value, name)
			members(path+"/"+name, value[name], do)
		}
	case []any:
		for _, element := range value {
			members(path+"/*", element, do)
		}
	}
}

// The schema's own account of what must be there, by path of the object.
func describedMembers(t *testing.T) (all, required map[string]bool) {
	t.Helper()
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	all, required = map[string]bool{}, map[string]bool{}
	var walk func(path string, schema map[string]any)
	walk = func(path string, schema map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for name, property := range properties {
			p := property.(map[string]any)
			if d, _ := p["description"].(string); d == "" {
				t.Errorf("%s/%s: is not described", path, name)
			}
			all[path+"/"+name] = true
			walk(path+"/"+name, p)
			if items, ok := p["items"].(map[string]any); ok {
				walk(path+"/"+name+"/*", items)
			}
		}
		names, _ := schema["required"].([]any)
		for _, name := range names {
			required[path+"/"+name.(string)] = true
		}
	}
	walk("", schema)
	return all, required
}

func TestTheSchemaDescribesEveryMemberAndNoOther(t *testing.T) {
	described, _ := describedMembers(t)
	written := map[string]bool{}
	members("", encoded(t, full()), func(path string, _ map[string]any, name string) { written[path+"/"+name] = true })
	for path := range written {
		if !described[path] {
			t.Errorf("%s is written and not described", path)
		}
	}
	for path := range described {
		if !written[path] {
			t.Errorf("%s is described and not written by a full letter", path)
		}
	}
}

func TestALetterWithoutOneOfItsMembersDoesNotConform(t *testing.T) {
	schema := compileSchema(t)
	_, required := describedMembers(t)
	tried := map[string]bool{}
	value := encoded(t, full())
	members("", value, func(path string, of map[string]any, name string) {
		was := of[name]
		delete(of, name)
		defer func() { of[name] = was }()
		if at := path + "/" + name; required[at] {
			tried[at] = true
			if schema.Validate(value) == nil {
				t.Errorf("a letter without %s conforms", at)
			}
		} else if err := schema.Validate(value); err != nil {
			t.Errorf("a letter without %s, which may be absent: %v", at, err)
		}
	})
	if len(tried) != len(required) || len(required) < 40 {
		t.Errorf("%d of %d required members were left out", len(tried), len(required))
	}
}

func TestTheSchemaKnowsTheClosedSets(t *testing.T) {
	schema := compileSchema(t)
	for _, code := range append(view.Codes(), "other") {
		l := sample()
		l.Failure = NewFailure(&view.Poison{Stage: view.StageDecode, Code: code})
		if err := schema.Validate(encoded(t, l)); (err == nil) != (code != "other") {
			t.Errorf("code %s: %v", code, err)
		}
	}
	for _, stage := range append(view.Stages(), "other") {
		l := sample()
		l.Failure = NewFailure(&view.Poison{Stage: stage, Code: view.CodeBadJSON})
		if err := schema.Validate(encoded(t, l)); (err == nil) != (stage != "other") {
			t.Errorf("stage %s: %v", stage, err)
		}
	}
}
