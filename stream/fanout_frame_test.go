package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/checkpoint"
)

// frameOf returns a frame whose headers, in pairs of name and value, are text.
func frameOf(payload string, headers ...string) []byte {
	var block []byte
	for i := 0; i < len(headers); i += 2 {
		block = append(block, byte(len(headers[i])))
		block = append(block, headers[i]...)
		block = append(block, stringHeader)
		block = binary.BigEndian.AppendUint16(block, uint16(len(headers[i+1])))
		block = append(block, headers[i+1]...)
	}
	return framed(block, payload)
}

func framed(headers []byte, payload string) []byte {
	f := binary.BigEndian.AppendUint32(nil, uint32(preludeSize+len(headers)+len(payload)+trailerSize))
	f = binary.BigEndian.AppendUint32(f, uint32(len(headers)))
	f = binary.BigEndian.AppendUint32(f, crc32.ChecksumIEEE(f))
	f = append(append(f, headers...), payload...)
	return binary.BigEndian.AppendUint32(f, crc32.ChecksumIEEE(f))
}

func eventOf(payload string) []byte {
	return frameOf(payload, ":message-type", "event", ":event-type", "SubscribeToShardEvent", ":content-type", "application/json")
}

// subscribed returns a reader whose subscription brings what is given.
func subscribed(body ...[]byte) *FanOut {
	now := time.Now()
	return &FanOut{
		stream: &Stream{name: name}, consumer: &Consumer{Name: "view"}, shard: "shardId-000000000000", told: newLedger(), position: "5",
		sub: &subscription{body: io.NopCloser(bytes.NewReader(bytes.Join(body, nil))), cancel: func(error) {},
			cause: func() error { return nil }, asked: now, opened: now, arrived: now},
	}
}

func TestFramesAreReadOneByOne(t *testing.T) {
	others := []byte("\x01a\x00\x01b\x01\x01c\x02.\x01d\x03..\x01e\x04....\x01f\x05........\x01g\x06\x00\x03xyz\x01h\x08........\x01i\x09................\x01k\x07\x00\x02ok")
	body := bytes.NewReader(bytes.Join([][]byte{frameOf("one", "a", "b"), frameOf(""), framed(others, "three")}, nil))
	var payloads []string
	var headers []map[string]string
	var buf bytes.Buffer
	for {
		f, err := nextFrame(body)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := f.read(body, &buf); err != nil {
			t.Fatal(err)
		}
		payloads, headers = append(payloads, buf.String()), append(headers, f.headers)
	}
	if d := cmp.Diff([]string{"one", "", "three"}, payloads); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]map[string]string{{"a": "b"}, {}, {"k": "ok"}}, headers); d != "" {
		t.Error(d)
	}
}

// A connection may be cut anywhere. Only between frames that looks like an end in order.
func TestAFrameThatIsCutIsNotTheEnd(t *testing.T) {
	whole := eventOf(`{"Records":[]}`)
	for n := range whole {
		body := bytes.NewReader(whole[:n])
		f, err := nextFrame(body)
		if err == nil {
			err = f.read(body, &bytes.Buffer{})
		}
		if n == 0 && err != io.EOF || n > 0 && err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes of %d: %v", n, len(whole), err)
		}
	}
}

func TestADamagedFrameIsRefused(t *testing.T) {
	whole := eventOf(`{"Records":[]}`)
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x40
		body := bytes.NewReader(damaged)
		f, err := nextFrame(body)
		if err == nil {
			err = f.read(body, &bytes.Buffer{})
		}
		if err == nil {
			t.Errorf("damage in byte %d is not noticed", i)
		}
	}
	huge := binary.BigEndian.AppendUint32(nil, maxFrame+1)
	huge = binary.BigEndian.AppendUint32(huge, 0)
	huge = binary.BigEndian.AppendUint32(huge, crc32.ChecksumIEEE(huge))
	for what, frame := range map[string][]byte{
		"larger than any": huge, "a header of an unknown type": framed([]byte("\x01a\x0a."), ""), "a header's name is cut off": framed([]byte("\x05a"), ""),
		"a header's value is cut off": framed([]byte("\x01a\x07\x00\x09x"), ""), "a header's length is cut off": framed([]byte("\x01a\x07\x00"), ""),
	} {
		if _, err := nextFrame(bytes.NewReader(frame)); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(bytes.Join([][]byte{frameOf("{}", ":message-type", "event", ":event-type", "initial-response"), eventOf(`{"Records":[],"ContinuationSequenceNumber":"7"}`)}, nil))
	f.Add(frameOf(`{"message":"no"}`, ":message-type", "exception", ":exception-type", "InternalFailureException"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := subscribed(body)
		batch, err := r.take()
		if err == nil && batch.End && len(batch.Children) == 0 {
			t.Errorf("an end without children: %+v", batch)
		}
		if err != nil && (r.position != "5" || r.reached != "") {
			t.Errorf("moved on to %s and %s by an error: %v", r.position, r.reached, err)
		}
	})
}

func TestAnEventIsTheEndOnlyWithChildrenAndWithoutContinuation(t *testing.T) {
	const record = `{"SequenceNumber":"7","ApproximateArrivalTimestamp":1.5,"Data":"MQ==","PartitionKey":null}`
	const children = `[{"ShardId":"a","ParentShards":["x"]},{"ShardId":"b","ParentShards":["x"]}]`
	for name, c := range map[string]struct {
		payload string
		end     bool
		refused bool
		records int
		after   checkpoint.Sequence
	}{
		"an event":                           {`{"Records":[` + record + `],"ContinuationSequenceNumber":"8","MillisBehindLatest":0}`, false, false, 1, "8"},
		"without records":                    {`{"Records":[],"ContinuationSequenceNumber":"8","MillisBehindLatest":0,"ChildShards":null}`, false, false, 0, "8"},
		"members are null":                   {`{"Records":null,"ContinuationSequenceNumber":"8","MillisBehindLatest":null}`, false, false, 0, "8"},
		"a continuation behind the records":  {`{"Records":[` + record + `],"ContinuationSequenceNumber":"6"}`, false, false, 1, "7"},
		"the end":                            {`{"Records":[],"MillisBehindLatest":0,"ChildShards":` + children + `}`, true, false, 0, "5"},
		"the end, with the last records":     {`{"Records":[` + record + `],"ContinuationSequenceNumber":null,"ChildShards":` + children + `}`, true, false, 1, "7"},
		"the end, with an empty number":      {`{"Records":[],"ContinuationSequenceNumber":"","ChildShards":` + children + `}`, true, false, 0, "5"},
		"an end without children":            {`{"Records":[` + record + `],"MillisBehindLatest":0}`, false, true, 0, "5"},
		"an end with no child in it":         {`{"Records":[` + record + `],"ChildShards":[]}`, false, true, 0, "5"},
		"children, and a continuation":       {`{"Records":[],"ContinuationSequenceNumber":"8","ChildShards":` + children + `}`, false, false, 0, "8"},
		"a record without a sequence number": {`{"Records":[{"Data":"MQ=="}],"ContinuationSequenceNumber":"8"}`, false, true, 0, "5"},
		"no JSON":                            {`{"Records":[`, false, true, 0, "5"},
	} {
		r := subscribed(eventOf(c.payload))
		batch, err := r.take()
		if c.refused != (err != nil) || batch.End != c.end || len(batch.Records) != c.records {
			t.Errorf("%s: got %+v, %v", name, batch, err)
		}
		if from := r.from(); *from.SequenceNumber != string(c.after) {
			t.Errorf("%s: goes on after %s, want %s", name, *from.SequenceNumber, c.after)
		}
		if c.end && len(batch.Children) != 2 {
			t.Errorf("%s: names %q", name, batch.Children)
		}
	}
}

// What waits for room must not be in memory meanwhile.
func TestOnlyTheBeginningOfAWaitingEventIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		event := eventOf(`{"Records":[],"ContinuationSequenceNumber":"9","Blanks":"` + strings.Repeat(" ", 2<<20) + `"}`)
		body := bytes.NewReader(slices.Concat(event, event))
		r := subscribed()
		r.sub.body = io.NopCloser(body)
		r.next = time.Now().Add(time.Hour) // not let go yet
		for range 3 {
			if err := r.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			if read := 2*len(event) - body.Len(); read > 200 {
				t.Errorf("%d bytes of the events were read", read)
			}
		}
		if _, err := r.Next(t.Context(), 1); err != nil || r.reached != "9" || body.Len() != len(event) {
			t.Errorf("%d bytes are left of the second event, reached %q: %v", body.Len(), r.reached, err)
		}
		r.Close()
	})
}

func TestWhatIsNoEventIsPassedOver(t *testing.T) {
	r := subscribed(
		frameOf("{}", ":message-type", "event", ":event-type", "initial-response"),
		frameOf("?", ":message-type", "event", ":event-type", "NewsFromTheFuture"),
		eventOf(`{"Records":[],"ContinuationSequenceNumber":"9"}`))
	if _, err := r.take(); err != nil || r.reached != "9" {
		t.Errorf("reached %q: %v", r.reached, err)
	}
	if _, err := r.take(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestAnErrorInAFrameSaysWhatTheServiceSaid(t *testing.T) {
	for _, c := range []struct {
		frame      []byte
		kind       Kind
		notFound   bool
		code, text string
	}{
		{frameOf(`{"message":"gone"}`, ":message-type", "exception", ":exception-type", "ResourceNotFoundException"), Fatal, true, "ResourceNotFoundException", "gone"},
		{frameOf(`{"Message":"soon"}`, ":message-type", "exception", ":exception-type", "KMSThrottlingException"), Throttled, false, "KMSThrottlingException", "soon"},
		{frameOf(`?`, ":message-type", "exception", ":exception-type", "InternalFailureException"), Transient, false, "InternalFailureException", ""},
		{frameOf(``, ":message-type", "error", ":error-code", "AccessDeniedException", ":error-message", "not you"), Fatal, false, "AccessDeniedException", "not you"},
		{frameOf(``, ":message-type", "error"), Transient, false, "UnknownError", ""},
	} {
		_, err := subscribed(c.frame).take()
		if err == nil || classify(err) != c.kind || NotFound(err) != c.notFound || !strings.Contains(err.Error(), c.code) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, of kind %d", c.code, err, classify(err))
		}
	}
}
