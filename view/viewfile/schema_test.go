package viewfile

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// TestTheSchemaHasTheKeysOfTheLoader keeps the two from drifting apart.
func TestTheSchemaHasTheKeysOfTheLoader(t *testing.T) {
	type node struct {
		Properties           map[string]json.RawMessage `json:"properties"`
		AdditionalProperties json.RawMessage            `json:"additionalProperties"`
		AnyOf                []json.RawMessage          `json:"anyOf"`
		Enum                 []string                   `json:"enum"`
	}
	var root struct {
		Schema string          `json:"$schema"`
		Defs   map[string]node `json:"$defs"`
		node
	}
	if err := json.Unmarshal(JSONSchema(), &root); err != nil {
		t.Fatal(err)
	}
	if root.Schema != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("the schema is of %s", root.Schema)
	}
	var value node
	if err := json.Unmarshal(root.Defs["value"].AnyOf[1], &value); err != nil {
		t.Fatal(err)
	}
	var allForms []string
	for _, f := range forms {
		allForms = append(allForms, f...)
	}
	var allRequirements []string
	for _, r := range requirements {
		allRequirements = append(allRequirements, r...)
	}
	key := slices.DeleteFunc(slices.Concat(valueKeys, []string{"type", "order"}), func(k string) bool { return slices.Contains([]string{"of", "optional", "when"}, k) })
	for name, pair := range map[string][2][]string{
		"the file":     {slices.Collect(maps.Keys(root.Properties)), {"view", "event", "types", "tables", "on", "others"}},
		"event":        {slices.Collect(maps.Keys(root.Defs["event"].Properties)), eventKeys},
		"table":        {slices.Collect(maps.Keys(root.Defs["table"].Properties)), {"partition", "clustering", "provenance", "columns", "bounded"}},
		"key":          {slices.Collect(maps.Keys(root.Defs["key"].Properties)), key},
		"value":        {slices.Collect(maps.Keys(value.Properties)), valueKeys},
		"cells":        {slices.Collect(maps.Keys(root.Defs["cells"].Properties)), {"each", "entry", "add", "optional", "when", "require"}},
		"when":         {slices.Collect(maps.Keys(root.Defs["when"].Properties)), {"path", "of", "equals", "present"}},
		"forms":        {root.Defs["as"].Enum, allForms},
		"requirements": {slices.Collect(maps.Keys(root.Defs["require"].Properties)), allRequirements},
	} {
		got, want := slices.Sorted(slices.Values(pair[0])), slices.Compact(slices.Sorted(slices.Values(pair[1])))
		if !slices.Equal(got, want) {
			t.Errorf("%s: the schema has %q, the loader %q", name, got, want)
		}
	}
}
