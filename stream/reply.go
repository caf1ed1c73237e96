package stream

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go/middleware"
	smithytime "github.com/aws/smithy-go/time"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// reply is an answer to GetRecords. It is decoded here and not by the SDK, whose decoder takes half of all the memory
// that reading and projecting an event costs: it grows a buffer for the body and a string for the text of every record
// before it has its bytes.
type reply struct {
	records  []Record
	size     int       // bytes of the records as the quota counts them: with partition keys
	next     string    // iterator, or the number to go on after; empty at the end of the shard
	behind   *int64    // MillisBehindLatest
	parent   bool      // the answer names child shards, which it does at the end of a shard
	children []string  // their ids
	date     time.Time // when the service answered, by its own clock, to the second
}

// replyBody is how a reply is put under the SDK's own decoder, which then finds an object without members.
type replyBody struct{ reply *reply }

// intercept adds the decoding of r to a call's middleware.
func (r *reply) intercept(stack *middleware.Stack) error {
	return stack.Deserialize.Insert(replyBody{r}, "OperationDeserializer", middleware.After)
}

// ID implements middleware.DeserializeMiddleware.
func (replyBody) ID() string { return "PenstockReply" }

// bodies are buffers for the bodies of replies.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// HandleDeserialize implements middleware.DeserializeMiddleware. Answers that are errors are left to the SDK.
func (b replyBody) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
	out middleware.DeserializeOutput, metadata middleware.Metadata, err error) {
	out, metadata, err = next.HandleDeserialize(ctx, in)
	response, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok || response.StatusCode != http.StatusOK {
		return out, metadata, err
	}
	body := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(body)
	body.Reset()
	if n := response.ContentLength; n > 0 {
		body.Grow(int(n) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(response.Body); err != nil {
		return out, metadata, fmt.Errorf("read the answer: %w", err)
	}
	if err := response.Body.Close(); err != nil {
		return out, metadata, fmt.Errorf("read the answer: %w", err)
	}
	response.Body = io.NopCloser(strings.NewReader("{}"))
	if err := b.reply.decode(body); err != nil {
		return out, metadata, fmt.Errorf("decode the answer: %w", err)
	}
	return out, metadata, b.reply.check()
}

// check refuses an answer that is the end of a shard, and names none that follows on it. A shard ends only in others:
// taking it for the end would give up what is still to come.
func (r *reply) check() error {
	if r.next == "" && !r.parent {
		return fmt.Errorf("%w: neither where to go on nor child shards", errIncomplete)
	}
	return nil
}

// decode reads the answer's JSON, protocol awsJson 1.1. It uses the body up.
func (r *reply) decode(body *bytes.Buffer) error {
	*r = reply{}
	d := jsontext.NewDecoder(body)
	return members(d, func(name string) error {
		switch name {
		case `"Records"`:
			return r.decodeRecords(d)
		case `"NextShardIterator"`, `"ContinuationSequenceNumber"`: // an event of a subscription has the latter
			return text(d, &r.next)
		case `"ChildShards"`:
			raw, err := d.ReadValue()
			r.parent = err == nil && raw.Kind() == '[' && len(bytes.TrimSpace(raw[1:len(raw)-1])) > 0
			if !r.parent {
				return err
			}
			var children []struct{ ShardId string }
			if err := json.Unmarshal(raw, &children); err != nil {
				return err
			}
			for _, c := range children {
				r.children = append(r.children, c.ShardId)
			}
			return nil
		case `"MillisBehindLatest"`:
			raw, err := d.ReadValue()
			if err != nil || raw.Kind() == 'n' {
				return err
			}
			behind, err := strconv.ParseInt(string(raw), 10, 64)
			r.behind = &behind
			return err
		}
		return d.SkipValue()
	})
}

func (r *reply) decodeRecords(d *jsontext.Decoder) error {
	if d.PeekKind() == 'n' {
		return d.SkipValue()
	}
	if err := expect(d, '['); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		record, err := decodeRecord(d)
		if err != nil {
			return err
		}
		if record.Sequence == "" || record.Arrival.IsZero() {
			return errIncomplete
		}
		r.size += len(record.Data) + len(record.PartitionKey)
		r.records = append(r.records, record)
	}
	return expect(d, ']')
}

func decodeRecord(d *jsontext.Decoder) (record Record, err error) {
	err = members(d, func(name string) error {
		switch name {
		case `"Data"`:
			raw, err := d.ReadValue()
			if err != nil || raw.Kind() == 'n' {
				return err
			}
			record.Data, err = decodeBase64(raw)
			return err
		case `"SequenceNumber"`:
			return text(d, (*string)(&record.Sequence))
		case `"PartitionKey"`:
			return text(d, &record.PartitionKey)
		case `"ApproximateArrivalTimestamp"`:
			raw, err := d.ReadValue()
			if err != nil || raw.Kind() == 'n' {
				return err
			}
			seconds, err := strconv.ParseFloat(string(raw), 64)
			record.Arrival = smithytime.ParseEpochSeconds(seconds)
			return err
		}
		return d.SkipValue()
	})
	return record, err
}

// decodeBase64 decodes a JSON string of base64.
func decodeBase64(raw jsontext.Value) ([]byte, error) {
	if raw.Kind() != '"' {
		return nil, fmt.Errorf("a record's data is a JSON %s, not a string", raw.Kind())
	}
	encoded := raw[1 : len(raw)-1]
	if bytes.IndexByte(encoded, '\\') >= 0 { // the alphabet needs no escapes, but '/' may have one
		unquoted, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return nil, err
		}
		encoded = unquoted
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(data, encoded)
	return data[:n], err
}

// members reads a JSON object and calls each for every member, with its name as it is spelled, quotes included.
func members(d *jsontext.Decoder, each func(name string) error) error {
	if err := expect(d, '{'); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		raw, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := each(known(raw)); err != nil {
			return err
		}
	}
	return expect(d, '}')
}

// known returns the name of a member without allocating for those that are read.
func known(raw jsontext.Value) string {
	for _, name := range names {
		if string(raw) == name {
			return name
		}
	}
	return ""
}

var names = []string{`"SequenceNumber"`, `"ApproximateArrivalTimestamp"`, `"Data"`, `"PartitionKey"`,
	`"Records"`, `"NextShardIterator"`, `"ContinuationSequenceNumber"`, `"MillisBehindLatest"`, `"ChildShards"`}

func expect(d *jsontext.Decoder, kind jsontext.Kind) error {
	token, err := d.ReadToken()
	if err == nil && token.Kind() != kind {
		return fmt.Errorf("found a JSON %s in place of a JSON %s", token.Kind(), kind)
	}
	return err
}

// text reads a JSON string, or null as none.
func text(d *jsontext.Decoder, into *string) error {
	raw, err := d.ReadValue()
	if err != nil || raw.Kind() == 'n' {
		return err
	}
	if raw.Kind() != '"' {
		return fmt.Errorf("found a JSON %s in place of a string", raw.Kind())
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		*into = string(raw[1 : len(raw)-1])
		return nil
	}
	unquoted, err := jsontext.AppendUnquote(nil, raw)
	*into = string(unquoted)
	return err
}

// batch is the reply as the reader hands it out.
func (r *reply) batch() Batch {
	b := Batch{Records: r.records, End: r.next == "", Children: r.children}
	if r.behind != nil {
		b.Behind, b.Known = time.Duration(*r.behind)*time.Millisecond, true
	}
	return b
}
