package config

import (
	_ "embed"
	"fmt"
	"strings"
)

// preamble is what the table of keys does not say.
//
//go:embed preamble.md
var preamble string

// Documentation returns docs/configuration.md: how the layers work, and every key.
func Documentation() []byte {
	var b strings.Builder
	b.WriteString(preamble)
	b.WriteString("\n## Keys\n\nWhat must hold is checked for every key before anything is connected to. A change of a key whose last column says `SIGHUP` is\n" +
		"taken over by a running daemon; every other change holds from the next start.\n")
	for _, s := range Sections() {
		if s.Name == "" {
			b.WriteString("\n### Top level\n")
		} else {
			fmt.Fprintf(&b, "\n### `%s`\n", s.Name)
		}
		fmt.Fprintf(&b, "\n%s\n\n| key | variable | type | default | rule | meaning | change |\n|---|---|---|---|---|---|---|\n", s.Doc)
		for _, k := range s.Keys {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s | %s | %s |\n",
				k.Name, k.Variable(), k.Type, defaultCell(k), cell(k.Rule.String()), cell(k.Doc), reloadCell(k))
		}
	}
	return []byte(b.String())
}

func defaultCell(k Key) string {
	switch {
	case k.Required:
		return "required"
	case k.Default == "":
		return "none"
	}
	return "`" + cell(k.Default) + "`"
}

func reloadCell(k Key) string {
	if k.Reload == OnSignal {
		return "`SIGHUP`"
	}
	return k.Reload.String()
}

// cell keeps a text within its cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
