package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A subscription is answered by frames, one for each event, in the binary encoding application/vnd.amazon.eventstream
// (https://smithy.io/2.0/aws/amazon-eventstream.html), numbers big-endian:
//
//	4 bytes  length of the frame, from this field to the last
//	4 bytes  length of the headers
//	4 bytes  CRC-32 (IEEE) of the eight bytes before
//	         headers: length of the name in 1 byte, name, type of the value in 1 byte, value
//	         payload
//	4 bytes  CRC-32 of all bytes before
//
// They are read here and not by the SDK, for three reasons. Its reader has up to three events decoded before anybody
// asks for one, which for many shards that wait is all the memory of the process; here the payload is left with the
// connection until it is wanted. It takes a connection cut within a frame for the end of the stream (smithy-go v1.28.8).
// And the decoder that the calls of one client share is not made for that: two subscriptions race.
const (
	preludeSize = 4 + 4 + 4
	trailerSize = 4

	// The encoding's own bounds are 24 MiB for a payload and 128 KiB for headers.
	maxFrame   = 24<<20 + maxHeaders + preludeSize + trailerSize
	maxHeaders = 128 << 10
)

// frame is one whose payload has not been read yet.
type frame struct {
	headers map[string]string // those with text
	payload int               // bytes
	sum     uint32            // of what was read
}

var errFrame = errors.New("not an event stream")

// nextFrame reads the beginning of the next frame, without its payload. At the end of the stream it returns io.EOF, and
// within a frame io.ErrUnexpectedEOF.
func nextFrame(body io.Reader) (frame, error) {
	var prelude [preludeSize]byte
	if _, err := io.ReadFull(body, prelude[:]); err != nil {
		return frame{}, err
	}
	total, headers := binary.BigEndian.Uint32(prelude[:]), binary.BigEndian.Uint32(prelude[4:])
	if crc32.ChecksumIEEE(prelude[:8]) != binary.BigEndian.Uint32(prelude[8:]) {
		return frame{}, fmt.Errorf("%w: checksum of a frame's beginning", errFrame)
	}
	if total > maxFrame || headers > maxHeaders || total < preludeSize+headers+trailerSize {
		return frame{}, fmt.Errorf("%w: a frame of %d bytes with %d of headers", errFrame, total, headers)
	}
	raw := make([]byte, headers)
	if _, err := io.ReadFull(body, raw); err != nil {
		return frame{}, within(err)
	}
	f := frame{payload: int(total - preludeSize - headers - trailerSize)}
	f.sum = crc32.Update(crc32.ChecksumIEEE(prelude[:]), crc32.IEEETable, raw)
	var err error
	f.headers, err = parseHeaders(raw)
	return f, err
}

// read puts the frame's payload into buf, in place of what is there.
func (f frame) read(body io.Reader, buf *bytes.Buffer) error {
	buf.Reset()
	buf.Grow(f.payload + trailerSize + bytes.MinRead)
	if _, err := io.CopyN(buf, body, int64(f.payload+trailerSize)); err != nil {
		return within(err)
	}
	want := binary.BigEndian.Uint32(buf.Bytes()[f.payload:])
	buf.Truncate(f.payload)
	if crc32.Update(f.sum, crc32.IEEETable, buf.Bytes()) != want {
		return fmt.Errorf("%w: checksum of a frame", errFrame)
	}
	return nil
}

// within makes an end of the stream inside a frame what it is.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Types of a header's value, and the bytes that those of fixed length take.
const (
	bytesHeader  = 6
	stringHeader = 7
)

var headerSizes = map[byte]int{0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}

// parseHeaders returns the headers whose values are text. The others say nothing to us.
func parseHeaders(raw []byte) (map[string]string, error) {
	headers := map[string]string{}
	short := fmt.Errorf("%w: a header is cut off", errFrame)
	for len(raw) > 0 {
		name := int(raw[0])
		if len(raw) < 1+name+1 {
			return nil, short
		}
		key, kind := string(raw[1:1+name]), raw[1+name]
		raw = raw[1+name+1:]
		size, fixed := headerSizes[kind]
		if !fixed {
			if kind != bytesHeader && kind != stringHeader {
				return nil, fmt.Errorf("%w: header %q has type %d", errFrame, key, kind)
			}
			if len(raw) < 2 {
				return nil, short
			}
			size, raw = int(binary.BigEndian.Uint16(raw)), raw[2:]
		}
		if len(raw) < size {
			return nil, short
		}
		if kind == stringHeader {
			headers[key] = string(raw[:size])
		}
		raw = raw[size:]
	}
	return headers, nil
}
