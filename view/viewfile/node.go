package viewfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is the longest file in bytes. Twenty thousand lines are no view that anybody reads.
const maxFile = 1 << 20

// loader reads a file into a definition and notes every mistake on the way.
type loader struct {
	notes
	userTypes map[string]*userType
	tables    map[string]*tableDefinition
	written   int // bytes that the section on has at least when it is written out
}

// spell counts what a name under on comes to at least.
func (l *loader) spell(name string) { l.written += len(name) + len("  : 1\n") }

func at(n *yaml.Node, where string) place { return place{max(n.Line, 1), max(n.Column, 1), where} }

// document parses the text to the mapping that it is, or notes why it is none.
func (l *loader) document(text []byte) *yaml.Node {
	top := place{1, 1, ""}
	if len(text) > maxFile {
		l.refuse(top, fmt.Sprintf("the file has %d bytes, more than %d", len(text), maxFile), "split the view")
		return nil
	}
	if !utf8.Valid(text) {
		l.refuse(place{1 + bytes.Count(text[:invalidUTF8(text)], []byte{'\n'}), 1, ""},
			"the file is not valid UTF-8", "save it as UTF-8")
		return nil
	}
	if l.refuseTabs(text) {
		return nil
	}
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		l.refuse(top, "the file is empty", "begin with view, event, tables and on")
		return nil
	} else if err != nil {
		l.refuseSyntax(err)
		return nil
	}
	if err := decoder.Decode(new(yaml.Node)); err == nil {
		l.refuse(top, "the file holds several YAML documents", "keep one document, and one view, in a file")
		return nil
	} else if !errors.Is(err, io.EOF) {
		l.refuseSyntax(err)
		return nil
	}
	root := document.Content[0]
	if !l.plain(root) {
		return nil
	}
	return root
}

func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
}

// refuseTabs finds tabs that indent, of which YAML's own message tells little.
func (l *loader) refuseTabs(text []byte) bool {
	line, found := 0, false
	for content := range bytes.Lines(text) {
		line++
		indent := content[:len(content)-len(bytes.TrimLeft(content, " \t"))]
		if i := bytes.IndexByte(indent, '\t'); i >= 0 && len(bytes.TrimSpace(content)) > 0 {
			l.refuse(place{line, i + 1, ""}, "a tab indents the line, and YAML has no tabs there", "indent with spaces")
			found = true
		}
	}
	return found
}

// refuseSyntax notes an error of the YAML parser, which names its line in its text and nowhere else.
func (l *loader) refuseSyntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if digits, message, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(digits); err == nil {
				line, text = max(n, 1), message
			}
		}
	}
	l.refuse(place{line, 1, ""}, "this is not YAML: "+short(text),
		"look at this line and those beside it, for what is not closed or not indented like its neighbours")
}

// plain refuses what would let one file be read in two ways: anchors, aliases, merge keys and tags.
func (l *loader) plain(n *yaml.Node) bool {
	const do = "write it out; several event types with the same rules stand in one key, as in \"c, u, r\""
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		l.refuse(at(n, ""), "anchors and aliases are not allowed", do)
		return false
	case n.Tag == "!!merge":
		l.refuse(at(n, ""), "merge keys are not allowed", do)
		return false
	case n.Style&yaml.TaggedStyle != 0:
		l.refuse(at(n, ""), "the tag "+short(n.Tag)+" is not allowed", "leave it out: the file's format says what a value is")
		return false
	}
	ok := true
	for _, child := range n.Content {
		ok = l.plain(child) && ok
	}
	return ok
}

// member is one key of a mapping and its value.
type member struct {
	name  string
	at    place
	value *yaml.Node
}

// members returns the members of a mapping with any keys, none of them twice; null is an empty mapping's mistake.
func (l *loader) members(n *yaml.Node, where, want string) ([]member, bool) {
	if n.Kind != yaml.MappingNode {
		l.refuse(at(n, where), "must be a mapping, is "+describeNode(n), want)
		return nil, false
	}
	seen := map[string]int{}
	var out []member
	ok := true
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!null" {
			l.refuse(at(key, where), "a key must be text, is "+describeNode(key), want)
			ok = false
			continue
		}
		m := member{key.Value, at(key, where).below(key.Value), value}
		if line, twice := seen[m.name]; twice {
			l.refuse(m.at, fmt.Sprintf("stands twice, first in line %d", line), "keep one")
			ok = false
			continue
		}
		seen[m.name] = key.Line
		out = append(out, m)
	}
	return out, ok
}

// object is a mapping whose keys are known.
type object struct {
	l     *loader
	at    place
	named map[string]member
	ok    bool // nothing was refused
}

// object reads a mapping that may have the keys given and no others.
func (l *loader) object(n *yaml.Node, where string, keys ...string) object {
	o := object{l: l, at: at(n, where), named: map[string]member{}}
	members, ok := l.members(n, where, "write "+strings.Join(keys, ", "))
	o.ok = ok
	for _, m := range members {
		if !slices.Contains(keys, m.name) {
			l.refuseKey(m, keys)
			o.ok = false
			continue
		}
		o.named[m.name] = m
	}
	return o
}

// whyNot says of words that people look for why they are not there.
var whyNot = map[string][2]string{
	"delete": {"a delete cannot be written in any order: what comes after it in time may be applied before it",
		"set a revisable boolean, such as deleted: {const: true}"},
	"remove": {"an element cannot be taken out in any order: adding it again might be applied first",
		"keep a revisable map with a boolean for each entry"},
	"increment": {"a count cannot be repeated: an event that is applied twice would count twice",
		"keep the parts in a map by their id and add them up when the row is read, or set a total that the event carries"},
	"append": {"appending depends on what came before and cannot be repeated", "use a map with a key from the event, or a set"},
	"default": {"a default would be written in place of a value that another event has set",
		"say optional: true, and apply the default when the row is read"},
	"ttl": {"a time to live counts from the moment of writing, which is another one on every replay",
		"put a bucket such as the year into the partition key and drop what is old by its own job"},
	"null": {"a null is a delete", "say optional: true to leave the column alone"},
}

func (l *loader) refuseKey(m member, keys []string) {
	if why, ok := whyNot[m.name]; ok {
		l.refuse(m.at, why[0], why[1])
		return
	}
	l.refuse(m.at, "is no key of this place"+nearest(m.name, keys), "use one of "+strings.Join(keys, ", "))
}

// get returns the node of a key, nil if the key is not there.
func (o object) get(key string) *yaml.Node { return o.named[key].value }

// need returns the node of a key that has to be there.
func (o *object) need(key, do string) *yaml.Node {
	n := o.get(key)
	if n == nil && o.ok {
		o.l.refuse(o.at, key+" is missing", do)
		o.ok = false
	}
	return n
}

func (o object) where(key string) string { return o.at.below(key).where }

// text reads a string that is not empty.
func (l *loader) text(n *yaml.Node, where, want string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		l.refuse(at(n, where), "must be text, is "+describeNode(n), want)
		return "", false
	}
	return n.Value, true
}

// oneOf reads one of several words.
func (l *loader) oneOf(n *yaml.Node, where string, words ...string) (string, bool) {
	want := "write one of " + strings.Join(words, ", ")
	s, ok := l.text(n, where, want)
	if !ok {
		return "", false
	}
	if !slices.Contains(words, s) {
		l.refuse(at(n, where), strconv.Quote(short(s))+" is not one of "+strings.Join(words, ", ")+nearest(s, words), want)
		return "", false
	}
	return s, true
}

func (l *loader) boolean(n *yaml.Node, where string) (value, ok bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		l.refuse(at(n, where), "must be true or false, is "+describeNode(n), "write true or false")
		return false, false
	}
	return strings.EqualFold(n.Value, "true"), true
}

// count reads an integer from least to 2^31 − 1.
func (l *loader) count(n *yaml.Node, where string, least int) (int, bool) {
	i, ok := decimalInteger(n, 32)
	if !ok || int(i) < least {
		l.refuse(at(n, where), fmt.Sprintf("must be an integer of at least %d, is %s", least, describeNode(n)), "write such a number")
		return 0, false
	}
	return int(i), true
}

func describeNode(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "empty"
		}
		return strconv.Quote(short(n.Value))
	case yaml.DocumentNode, yaml.AliasNode:
	}
	return "something else"
}

// short keeps the first 60 bytes of a text for a message, or a few less so as not to split a character.
func short(s string) string { return cut(s, 60) }

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
