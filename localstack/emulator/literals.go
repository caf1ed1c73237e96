package emulator

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// literals walks through a JSON text and hands out its literals as parts of the text, which live as long as the text does.
type literals struct {
	*jsontext.Decoder
	body []byte
}

// next returns the next value's text; nil for null.
func (d literals) next() ([]byte, error) {
	value, err := d.ReadValue()
	if err != nil || value.Kind() == 'n' {
		return nil, err
	}
	end := d.InputOffset()
	return d.body[end-int64(len(value)) : end], nil
}

// text reads a string, or null, which leaves the destination as it is.
func (d literals) text(into *string) error {
	literal, err := d.next()
	if err != nil || literal == nil {
		return err
	}
	text, ok := appendLiteral(nil, literal)
	if !ok {
		return fmt.Errorf("%s in place of a string", jsontext.Kind(literal[0]))
	}
	*into = string(text)
	return nil
}

// open reads the beginning of an object or array.
func (d literals) open(kind jsontext.Kind) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != kind {
		return fmt.Errorf("%s in place of %s", token.Kind(), kind)
	}
	return nil
}

// object reads an object; member is called with each name, quoted as in the text, and reads the value.
func (d literals) object(member func(name string) error) error {
	if err := d.open('{'); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.memberName()
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// memberName returns the next name, quoted. Known names come from this list, so that none is allocated.
func (d literals) memberName() (string, error) {
	value, err := d.ReadValue()
	if err != nil {
		return "", err
	}
	switch string(value) {
	case `"Data"`:
		return `"Data"`, nil
	case `"PartitionKey"`:
		return `"PartitionKey"`, nil
	case `"ExplicitHashKey"`:
		return `"ExplicitHashKey"`, nil
	default:
		return string(value), nil
	}
}

// records reads the array of a PutRecords' records.
func (d literals) records(into *[]put) error {
	*into = make([]put, 0, maxPutRecords)
	var p *put
	member := func(name string) (err error) {
		switch name {
		case `"Data"`:
			p.data, err = d.next()
		case `"PartitionKey"`:
			p.key, err = d.next()
		case `"ExplicitHashKey"`:
			p.hash, err = d.next()
		default:
			err = d.SkipValue()
		}
		return err
	}
	if err := d.open('['); err != nil {
		return err
	}
	for d.PeekKind() == '{' {
		*into = append(*into, put{})
		p = &(*into)[len(*into)-1]
		if err := d.object(member); err != nil {
			return err
		}
	}
	return d.open(']')
}
