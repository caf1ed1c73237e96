package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestDocumentsAreCurrent(t *testing.T) {
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for command, document := range map[string]struct {
		path string
		want []byte
	}{
		"docs":   {"docs/configuration.md", Documentation()},
		"schema": {"docs/penstock.schema.json", schema},
	} {
		got, err := os.ReadFile("../" + document.path)
		if err != nil || !bytes.Equal(got, document.want) {
			t.Errorf("%s is not current (%v): go run ./cmd/projector config %s > %s", document.path, err, command, document.path)
		}
	}
}

func TestDocumentationNamesEverythingOfEveryKey(t *testing.T) {
	docs := string(Documentation())
	for _, k := range Keys() {
		row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(k.Name) + "` .*$").FindString(docs)
		for _, part := range []string{k.Variable(), k.Type.String(), k.Default, cell(k.Rule.String()), cell(k.Doc), k.Reload.String()} {
			if !strings.Contains(row, part) {
				t.Errorf("%s: %q does not stand in %q", k.Name, part, row)
			}
		}
		if cells := strings.Count(strings.ReplaceAll(row, `\|`, ""), "|") - 1; cells != 7 {
			t.Errorf("%s: %d cells", k.Name, cells)
		}
	}
	for _, s := range Sections() {
		if s.Doc == "" || !strings.Contains(docs, s.Doc) {
			t.Errorf("section %q is not described", s.Name)
		}
	}
}

// example is the file that the documentation begins with.
func example(t *testing.T) string {
	t.Helper()
	_, rest, _ := strings.Cut(preamble, "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the documentation has no example")
	}
	return text
}

func TestTheDocumentedExampleIsValidAndTheLeast(t *testing.T) {
	c := load(t, Sources{File: write(t, example(t))})
	for _, s := range c.Settings() {
		if s.Key.Required != (s.Origin.Layer == File) {
			t.Errorf("%s comes from %s", s.Key.Name, s.Origin)
		}
	}
	if faults := schemaFaults(t, example(t)); faults != nil {
		t.Error(faults)
	}
}

// TestSchemaRefusesNothingThatLoadAccepts would find an editor that marks what is right.
func TestSchemaRefusesNothingThatLoadAccepts(t *testing.T) {
	for _, test := range []string{
		"", "view:\n", "view: {generation: 9999}\n", "kinesis: {stream: " + streamARN + "}\n",
		`kinesis: {start: "2026-11-21T10:00:00.5+01:00"}` + "\n", "kinesis: {start: TRIM_HORIZON}\n", "leases: {failover: 1m0.5s, worker: w-1}\n",
		"cassandra: {hosts: [a, \"10.0.0.1:9042\", \"::1\", \"[::1]:9042\"]}\n", "cassandra: {timeout: 2100ms, consistency: ALL}\n",
		"cassandra: {datacenter: a b, keyspace: k_1, replication_factor: 1}\n", "pressure: {in_flight: 64 MiB, max_requests_per_host: 1}\n",
		"pressure: {in_flight: 16777216B}\n", "dead_letters: {bucket: a.b, prefix: a/b}\n",
		"telemetry: {listen: \":0\", admin: \"localhost:1\", log_level: warn}\n", "telemetry: {listen: \"[::1]:9464\"}\n", "drain_timeout: 60.5s\n",
	} {
		load(t, Sources{File: write(t, test), Env: requiredByEnvironment})
		if faults := schemaFaults(t, test); faults != nil {
			t.Errorf("%s%v", test, faults)
		}
	}
}

func TestSchemaMarksMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"colour: red\n":                            "colour: additionalProperties",
		"cassandra: {keyspce: a}\n":                "cassandra.keyspce: additionalProperties",
		"cassandra: {password: p}\n":               "cassandra.password: additionalProperties",
		"cassandra: {hosts: []}\n":                 "cassandra.hosts: minItems",
		"cassandra: {hosts: a}\n":                  "cassandra.hosts: type",
		"cassandra: {hosts: [a b]}\n":              "cassandra.hosts[0]: pattern",
		"cassandra: {consistency: ONE}\n":          "cassandra.consistency: enum",
		"view: order\n":                            "view: type",
		"view: {generation: 0}\n":                  "view.generation: minimum",
		"pressure: {max_requests_per_host: 1e4}\n": "pressure.max_requests_per_host: maximum",
		"pressure: {in_flight: 64MB}\n":            "pressure.in_flight: pattern",
		"drain_timeout: 20\n":                      "drain_timeout: type",
		"drain_timeout: soon\n":                    "drain_timeout: pattern",
		"kinesis: {start: latest}\n":               "kinesis.start: pattern",
		"kinesis: {stream: \"arn:aws:sqs\"}\n":     "kinesis.stream: pattern",
		"telemetry: {listen: localhost}\n":         "telemetry.listen: pattern",
	} {
		if got := schemaFaults(t, text); !slices.Equal(got, []string{want}) {
			t.Errorf("%sgot %q, want %q", text, got, want)
		}
	}
}

// TestPatternsMeanTheSameEverywhere keeps to what Go's expressions and those of JSON Schema (ECMA-262) have in common.
func TestPatternsMeanTheSameEverywhere(t *testing.T) {
	special := regexp.MustCompile(`\(\?|\\[^\[\]Ss.+]|\[\[|\[:`)
	for _, k := range Keys() {
		if found := special.FindString(k.Rule.Pattern); found != "" {
			t.Errorf("%s: %s in %s", k.Name, found, k.Rule.Pattern)
		}
	}
}

// schemaFaults holds a file against the published schema and returns, sorted, each place with the keyword that refuses it.
func schemaFaults(t *testing.T, text string) []string {
	t.Helper()
	b, err := os.ReadFile("../docs/penstock.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	if value == nil {
		value = map[string]any{}
	}
	faults := validate(t, "", schema, value)
	slices.Sort(faults)
	return faults
}

// validate knows the keywords that Schema writes, and fails at any other.
func validate(t *testing.T, at string, schema map[string]any, value any) (faults []string) {
	t.Helper()
	refuse := func(keyword string) { faults = append(faults, at+": "+keyword) }
	if !slices.ContainsFunc(typesOf(schema["type"]), func(name string) bool { return isOf(name, value) }) {
		return []string{at + ": type"}
	}
	for _, keyword := range slices.Sorted(maps.Keys(schema)) {
		argument := schema[keyword]
		switch keyword {
		case "$schema", "title", "description", "default", "type", "properties":
		case "enum":
			if !slices.Contains(argument.([]any), value) {
				refuse(keyword)
			}
		case "pattern":
			if !regexp.MustCompile(argument.(string)).MatchString(value.(string)) {
				refuse(keyword)
			}
		case "minimum":
			if number(value) < argument.(float64) {
				refuse(keyword)
			}
		case "maximum":
			if number(value) > argument.(float64) {
				refuse(keyword)
			}
		case "minItems":
			if float64(len(value.([]any))) < argument.(float64) {
				refuse(keyword)
			}
		case "items":
			for i, item := range value.([]any) {
				faults = append(faults, validate(t, fmt.Sprintf("%s[%d]", at, i), argument.(map[string]any), item)...)
			}
		case "additionalProperties":
			object, _ := value.(map[string]any)
			for name, member := range object {
				path := strings.TrimPrefix(at+"."+name, ".")
				if known, ok := schema["properties"].(map[string]any)[name]; ok {
					faults = append(faults, validate(t, path, known.(map[string]any), member)...)
				} else if argument == false {
					faults = append(faults, path+": "+keyword)
				}
			}
		default:
			t.Fatalf("%s: unknown keyword %s", at, keyword)
		}
	}
	return faults
}

func typesOf(t any) []string {
	var out []string
	switch t := t.(type) {
	case string:
		out = []string{t}
	case []any:
		for _, name := range t {
			out = append(out, name.(string))
		}
	}
	return out
}

func isOf(name string, value any) bool {
	switch value := value.(type) {
	case nil:
		return name == "null"
	case string:
		return name == "string"
	case int:
		return name == "integer"
	case float64:
		return name == "integer" && value == float64(int(value))
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

func number(value any) float64 {
	if n, ok := value.(int); ok {
		return float64(n)
	}
	return value.(float64)
}
