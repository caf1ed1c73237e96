package view_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"penstock/view"
	"penstock/view/viewfile"
)

// wide is a view with a map that is filled from an array, up to its event types.
const wide = `view: wide
event: {envelope: plain, id: /id, type: /type, version: /version, time: /time, entity: [/id]}
tables:
  wide:
    partition:
      id: {type: text, path: /id}
    provenance: last
    columns:
      entries: {type: "map<text, text>", class: revisable}
on:
`

// filled is an event type of it: four lines, with a name and the place of a value.
const filled = `  %s:
    wide:
      set:
        entries: {each: /entries, entry: {key: /key, value: {path: /%s, optional: true}}}
`

// large measures an event of 1 MiB with 10,000 entries.
func large(b *testing.B) {
	v, _, err := viewfile.Load("wide.yaml", []byte(wide+fmt.Sprintf(filled, "filled", "value")))
	if err != nil {
		b.Fatal(err)
	}
	const entries, size = 10_000, 1 << 20
	var data bytes.Buffer
	data.WriteString(`{"id":"1","type":"filled","version":1,"time":"2026-11-21T10:00:00Z","entries":[`)
	padding := strings.Repeat("x", (size-data.Len())/entries-len(`{"key":"00000","value":""},`))
	for i := range entries {
		if i > 0 {
			data.WriteByte(',')
		}
		fmt.Fprintf(&data, `{"key":"%05d","value":%q}`, i, padding)
	}
	data.WriteString(`]}`)
	if n := data.Len(); n > size || n < size*99/100 {
		b.Fatalf("the event has %d bytes", n)
	}
	repeat(b, "large_event", func() error {
		result, err := v.Project(view.Record{Data: data.Bytes()})
		if err == nil && len(result.Mutations[0].Cells) != entries+1 {
			err = fmt.Errorf("%d cells", len(result.Mutations[0].Cells))
		}
		return err
	})
}

// lint measures the loading of a file of 500 lines.
func lint(b *testing.B) {
	var text strings.Builder
	text.WriteString(wide)
	for i := range (500 - strings.Count(wide, "\n")) / strings.Count(filled, "\n") {
		fmt.Fprintf(&text, filled, fmt.Sprintf("filled%d", i), fmt.Sprintf("value%d", i))
	}
	if n := strings.Count(text.String(), "\n"); n < 497 || n > 500 {
		b.Fatalf("the file has %d lines", n)
	}
	repeat(b, "lint_500_lines", func() error {
		_, _, err := viewfile.Load("wide.yaml", []byte(text.String()))
		return err
	})
}
