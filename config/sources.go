package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// given is what one layer says: the texts of each key, and where they stand.
type given struct {
	values  map[string]any // string, or []string for a list
	origins map[string]Origin
}

func newGiven() given { return given{values: map[string]any{}, origins: map[string]Origin{}} }

func (g given) put(k Key, texts []string, origin Origin) {
	if k.Type == List {
		g.values[k.Name] = texts
	} else {
		g.values[k.Name] = texts[0]
	}
	g.origins[k.Name] = origin
}

func (l *loader) defaults() given {
	g := newGiven()
	for _, k := range keys {
		if k.Default != "" {
			g.put(k, []string{k.Default}, Origin{})
		}
	}
	return g
}

// environment reads variables as os.Environ returns them. An empty one counts as absent: compose files and charts pass
// on variables that nobody set.
func (l *loader) environment(environ []string) given {
	g := newGiven()
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, variablePrefix) || value == "" || serviceLink.MatchString(name) {
			continue
		}
		origin := Origin{Layer: Environment, Name: name}
		i := slices.IndexFunc(keys, func(k Key) bool { return k.Variable() == name })
		if i < 0 {
			l.unknownVariable(name, origin)
			continue
		}
		g.put(keys[i], split(keys[i], value), origin)
	}
	return g
}

func (l *loader) unknownVariable(name string, origin Origin) {
	var variables []string
	for _, k := range keys {
		variables = append(variables, k.Variable())
	}
	meant := suggest(name, variables)
	if i := slices.Index(variables, meant); i >= 0 {
		l.wrong[keys[i].Name] = true
	}
	l.mistake(Mistake{Key: name, Rule: "is no variable of ours", Suggestion: meant, Origin: origin})
}

// serviceLink matches the variables that Kubernetes sets for a service whose name begins with ours
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

func (l *loader) flags(flags map[string]string) given {
	g := newGiven()
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		origin := Origin{Layer: Flag, Name: name}
		k, ok := find(name)
		switch {
		case !ok:
			l.unknown(name, origin)
		case k.Type == Hidden:
			l.mistake(Mistake{Key: name, Rule: "must not be given on a command line, where every process can read it", Origin: origin})
		default:
			g.put(k, split(k, flags[name]), origin)
		}
	}
	return g
}

func split(k Key, value string) []string {
	if k.Type != List {
		return []string{value}
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// file reads the YAML file at path. It works on the parsed nodes, which keep line numbers and scalars as written.
func (l *loader) file(path string) given {
	g := newGiven()
	whole := func(rule string) given {
		l.unread = true
		l.mistake(Mistake{Rule: rule, Origin: Origin{Layer: File, Name: path}})
		return g
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return whole(fmt.Sprintf("cannot be read: %v", errors.Unwrap(err)))
	}
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF): // empty
		return g
	case err != nil:
		return whole("must be valid YAML: " + strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return whole("must hold one YAML document")
	}
	root := resolve(document.Content[0])
	if root.Tag == "!!null" {
		return g
	}
	if root.Kind != yaml.MappingNode {
		return whole("must hold keys with values")
	}
	f := fileReader{loader: l, path: path, given: g}
	f.section("", root)
	return g
}

type fileReader struct {
	*loader
	path  string
	given given
}

func (f fileReader) at(n *yaml.Node) Origin { return Origin{Layer: File, Name: f.path, Line: n.Line} }

func (f fileReader) section(prefix string, n *yaml.Node) {
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], resolve(n.Content[i+1])
		path := prefix + name.Value
		if line, ok := lines[path]; ok {
			f.mistake(Mistake{Key: path, Rule: fmt.Sprintf("stands twice, first in line %d", line), Origin: f.at(name)})
			continue
		}
		lines[path] = name.Line
		if isSection(path) {
			switch {
			case value.Kind == yaml.MappingNode:
				f.section(path+".", value)
			case value.Tag != "!!null": // a section whose keys are all commented out
				f.mistake(Mistake{Key: path, Value: value.Value, Rule: "must hold keys with values", Origin: f.at(value)})
			}
			continue
		}
		k, ok := find(path)
		if !ok || strings.Contains(name.Value, ".") {
			f.unknown(path, f.at(name))
			continue
		}
		f.value(k, value)
	}
}

func (f fileReader) value(k Key, n *yaml.Node) {
	wrong := func(rule string) {
		f.mistake(Mistake{Key: k.Name, Value: shown(k, []string{written(n)}), Rule: rule, Origin: f.at(n)})
	}
	switch {
	case k.Type == Hidden:
		wrong("must not stand in this file: name a file by " + k.Name + "_file, or set " + k.Variable())
	case n.Tag == "!!null":
		wrong("has no value: give one, or leave the key out")
	case k.Type == List && n.Kind != yaml.SequenceNode:
		wrong("must be a list, such as [a, b]")
	case k.Type == List:
		texts := []string{}
		for _, entry := range n.Content {
			entry = resolve(entry)
			if entry.Kind != yaml.ScalarNode || entry.Tag == "!!null" {
				wrong("must be a list of texts")
				return
			}
			texts = append(texts, entry.Value)
		}
		f.given.put(k, texts, f.at(n))
	case n.Kind != yaml.ScalarNode:
		wrong("must be a single value of type " + k.Type.String())
	default:
		f.given.put(k, []string{n.Value}, f.at(n))
	}
}

// resolve follows aliases. YAML allows none that leads to itself through aliases alone.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// written returns a value as it would stand in one line. An alias stays one: what it names may hold it.
func written(n *yaml.Node) string {
	var parts []string
	switch n.Kind {
	case yaml.SequenceNode:
		for _, entry := range n.Content {
			parts = append(parts, written(entry))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, written(n.Content[i])+": "+written(n.Content[i+1]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.AliasNode:
		return "*" + n.Value
	}
	return n.Value
}
