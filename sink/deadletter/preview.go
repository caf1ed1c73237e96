package deadletter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// A preview shows this many bytes, this many levels and this many elements of an array at most.
const (
	maxPreview         = 2 << 10
	maxPreviewDepth    = 10
	maxPreviewElements = 2
)

// A member's name is shown only where it looks like one that a schema gives: names with digits, spaces and the like may be
// data, such as customers' ids that a map is keyed by.
var memberName = regexp.MustCompile(`^[A-Za-z][A-Za-z_]{0,39}$`)

// Preview is what people may see of a payload who may not see the payload: the names of its members and the types and
// lengths of their values, no value itself. It is bounded, whatever the payload.
func (l Letter) Preview() string {
	if len(l.Payload) == 0 {
		return "empty"
	}
	p := &previewer{json: jsontext.NewDecoder(bytes.NewReader(l.Payload), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
	err := p.value(0)
	if err == nil {
		if _, more := p.json.ReadToken(); !errors.Is(more, io.EOF) {
			p.text.WriteString(" and more behind it")
		}
		return p.text.String()
	}
	switch {
	case errors.Is(err, errPreviewFull):
		p.text.WriteString(" …")
	case p.text.Len() == 0:
		return fmt.Sprintf("no JSON, %d bytes", len(l.Payload))
	default:
		fmt.Fprintf(&p.text, " damaged at byte %d of %d", p.json.InputOffset(), len(l.Payload))
	}
	return p.text.String()
}

var errPreviewFull = errors.New("the preview is long enough")

type previewer struct {
	json *jsontext.Decoder
	text strings.Builder
}

// value reads one value and tells what it is.
func (p *previewer) value(depth int) error {
	if p.text.Len() > maxPreview {
		return errPreviewFull
	}
	token, err := p.json.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case jsontext.KindBeginObject:
		return p.members(depth + 1)
	case jsontext.KindBeginArray:
		return p.elements(depth + 1)
	case jsontext.KindString:
		fmt.Fprintf(&p.text, "text(%d)", utf8.RuneCountInString(token.String()))
	case jsontext.KindNumber:
		p.text.WriteString("number")
	case jsontext.KindTrue, jsontext.KindFalse:
		p.text.WriteString("boolean")
	case jsontext.KindNull:
		p.text.WriteString("null")
	}
	return nil
}

func (p *previewer) members(depth int) error {
	p.text.WriteByte('{')
	for first := true; p.json.PeekKind() != jsontext.KindEndObject; first = false {
		token, err := p.json.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()                         // the token is void after the next call
		if p.json.PeekKind() == jsontext.KindInvalid { // no value follows: it may be one, of an array that was damaged
			_, err := p.json.ReadToken()
			return err
		}
		if !first {
			p.text.WriteString(", ")
		}
		if memberName.MatchString(name) {
			p.text.WriteString(name)
		} else {
			fmt.Fprintf(&p.text, "name(%d)", utf8.RuneCountInString(name))
		}
		p.text.WriteString(": ")
		if err := p.below(depth); err != nil {
			return err
		}
	}
	p.text.WriteByte('}')
	_, err := p.json.ReadToken()
	return err
}

func (p *previewer) elements(depth int) error {
	p.text.WriteByte('[')
	n := 0
	for ; p.json.PeekKind() != jsontext.KindEndArray; n++ {
		if n >= maxPreviewElements {
			if err := p.json.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if n > 0 {
			p.text.WriteString(", ")
		}
		if err := p.below(depth); err != nil {
			return err
		}
	}
	if n > maxPreviewElements {
		fmt.Fprintf(&p.text, ", and %d more", n-maxPreviewElements)
	}
	p.text.WriteByte(']')
	_, err := p.json.ReadToken()
	return err
}

// below tells of a value that stands in another.
func (p *previewer) below(depth int) error {
	if depth < maxPreviewDepth {
		return p.value(depth)
	}
	p.text.WriteString("…")
	return p.json.SkipValue()
}
