package viewfile

import (
	"errors"
	"fmt"
	"strings"
)

// pointer is a JSON Pointer (RFC 6901) that steps through the members of objects. The elements of arrays are reached by
// each, not by their number.
type pointer struct {
	text   string
	tokens []string
}

func parsePointer(text string) (*pointer, error) {
	p := &pointer{text: text}
	if text == "" {
		return p, nil
	}
	if text[0] != '/' {
		return nil, fmt.Errorf("%q: a JSON Pointer must begin with a slash", short(text))
	}
	for token := range strings.SplitSeq(text[1:], "/") {
		name, err := unescapeToken(token)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", short(text), err)
		}
		p.tokens = append(p.tokens, name)
	}
	return p, nil
}

func unescapeToken(token string) (string, error) {
	for i := range len(token) {
		if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
			return "", errors.New("a ~ must be spelled ~0, and a / within a name ~1")
		}
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(token), nil
}

var escapeToken = strings.NewReplacer("~", "~0", "/", "~1").Replace

// below returns the pointer to what p points to within what outer points to.
func (p *pointer) below(outer *pointer) *pointer {
	if outer == nil {
		return p
	}
	return &pointer{outer.text + p.text, append(outer.tokens[:len(outer.tokens):len(outer.tokens)], p.tokens...)}
}
