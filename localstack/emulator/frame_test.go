package emulator

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/aws/smithy-go/eventstream"
)

func TestAFrameByteByByte(t *testing.T) {
	got := closeFrame(append(openFrame(nil, header{"a", "bc"}), "payload"...), 0)
	want := []byte{0, 0, 0, 4 + 4 + 4 + 7 + 7 + 4, 0, 0, 0, 7}
	want = binary.BigEndian.AppendUint32(want, crc32.ChecksumIEEE(want))
	want = append(want, 1, 'a', 7, 0, 2, 'b', 'c')
	want = append(want, "payload"...)
	want = binary.BigEndian.AppendUint32(want, crc32.ChecksumIEEE(want))
	if !bytes.Equal(got, want) {
		t.Errorf("frame is\n%x, want\n%x", got, want)
	}
}

// FuzzFrame: the SDK's decoder reads each frame of a stream as it was made, and none that was cut short or altered.
func FuzzFrame(f *testing.F) {
	f.Add("name", "value", []byte(`{"Records":[]}`), uint(3))
	f.Add("", "", []byte(nil), uint(0))
	f.Add(":exception-type", "ResourceInUseException", []byte{0, 0xff}, uint(17))
	f.Add("n", "v", bytes.Repeat([]byte("payload"), 1000), uint(5000))
	f.Fuzz(func(t *testing.T, name, value string, payload []byte, at uint) {
		name, value = name[:min(len(name), 255)], value[:min(len(value), 1<<15-1)]
		refusal := &APIError{Type: ErrorType(value), Message: value}
		stream := appendInitialResponse(nil)
		start := len(stream)
		stream = closeFrame(append(openFrame(stream, header{name, value}), payload...), start)
		framed := bytes.Clone(stream[start:])
		stream = appendErrorFrame(stream, refusal)

		left, decoder := bytes.NewReader(stream), eventstream.NewDecoder()
		next := func() eventstream.Message {
			m, err := decoder.Decode(left, nil)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		if m := next(); m.Headers.Get(":event-type").String() != "initial-response" || string(m.Payload) != "{}" {
			t.Errorf("first frame is %+v", m)
		}
		if m := next(); m.Headers.Get(name).String() != value || !bytes.Equal(m.Payload, payload) || len(m.Headers) != 1 {
			t.Errorf("frame of %q: %q, %q came back as %+v", name, value, payload, m)
		}
		if m := next(); m.Headers.Get(":message-type").String() == "error" && m.Headers.Get(":error-code").String() != value {
			t.Errorf("error frame is %+v", m)
		}
		if left.Len() != 0 {
			t.Errorf("%d bytes after the last frame", left.Len())
		}

		place := int(at % uint(len(framed)))
		if m, err := decoder.Decode(bytes.NewReader(framed[:place]), nil); err == nil {
			t.Errorf("cut after %d of %d bytes it is read as %+v", place, len(framed), m)
		}
		framed[place] ^= 1 << (at % 8)
		if m, err := decoder.Decode(bytes.NewReader(framed), nil); err == nil {
			t.Errorf("altered at %d of %d bytes it is read as %+v", place, len(framed), m)
		}
	})
}
