package viewfile

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// JSONSchema returns the JSON Schema (draft 2020-12) of a file, for editors. It says less than [Load] checks.
func JSONSchema() []byte { return slices.Clone(schema) }
