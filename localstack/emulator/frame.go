package emulator

import (
	"encoding/binary"
	"hash/crc32"
)

// A frame is one message of the event stream that answers SubscribeToShard, in the binary encoding
// application/vnd.amazon.eventstream (https://smithy.io/2.0/aws/amazon-eventstream.html), numbers big-endian:
//
//	4 bytes  length of the frame, from this field to the last
//	4 bytes  length of the headers
//	4 bytes  CRC-32 (IEEE) of the eight bytes before
//	         headers: length of the name in 1 byte, name, type of the value in 1 byte (7: a string), its length in 2 bytes, value
//	         payload
//	4 bytes  CRC-32 of all bytes before
const (
	eventStreamType  = "application/vnd.amazon.eventstream"
	framePrelude     = 4 + 4 + 4
	frameTrailer     = 4
	headerStringType = 7
)

// header is one header of a frame. A name has at most 255 bytes, a value at most 65,535.
type header struct{ name, value string }

// openFrame appends the beginning of a frame, to which the payload is then appended. closeFrame, given the length of dst before,
// completes it.
func openFrame(dst []byte, headers ...header) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, framePrelude)...)
	for _, h := range headers {
		dst = append(dst, byte(len(h.name)))
		dst = append(dst, h.name...)
		dst = append(dst, headerStringType)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.value)))
		dst = append(dst, h.value...)
	}
	binary.BigEndian.PutUint32(dst[start+4:], uint32(len(dst)-start-framePrelude))
	return dst
}

// closeFrame completes the frame that begins at start.
func closeFrame(dst []byte, start int) []byte {
	frame := dst[start:]
	binary.BigEndian.PutUint32(frame, uint32(len(frame)+frameTrailer))
	binary.BigEndian.PutUint32(frame[8:], crc32.ChecksumIEEE(frame[:8]))
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(frame))
}

// openEvent begins the frame of an event with a JSON payload.
func openEvent(dst []byte, kind string) []byte {
	return openFrame(dst, header{":event-type", kind}, header{":content-type", contentType}, header{":message-type", "event"})
}

// appendInitialResponse appends the frame that protocols like this one send before the first event: the answer's members other
// than the stream, of which there are none.
func appendInitialResponse(dst []byte) []byte {
	start := len(dst)
	dst = openEvent(dst, "initial-response")
	return closeFrame(append(dst, "{}"...), start)
}

// streamExceptions are the errors that the service's model declares for the stream, by what the emulator calls them; the stream
// knows an internal failure by another name than an answer does. Others come as unmodeled errors.
var streamExceptions = map[ErrorType]string{
	InternalFailure:            "InternalFailureException",
	"InternalFailureException": "InternalFailureException",
	"KMSAccessDeniedException": "KMSAccessDeniedException",
	"KMSDisabledException":     "KMSDisabledException",
	"KMSInvalidStateException": "KMSInvalidStateException",
	"KMSNotFoundException":     "KMSNotFoundException",
	"KMSOptInRequired":         "KMSOptInRequired",
	"KMSThrottlingException":   "KMSThrottlingException",
	ResourceInUse:              "ResourceInUseException",
	ResourceNotFound:           "ResourceNotFoundException",
}

const maxErrorText = 1 << 10

// appendErrorFrame appends the frame by which a stream says why it ends.
func appendErrorFrame(dst []byte, e *APIError) []byte {
	start := len(dst)
	modeled, ok := streamExceptions[e.Type]
	if !ok {
		text := e.Message[:min(len(e.Message), maxErrorText)]
		return closeFrame(openFrame(dst, header{":error-code", string(e.Type)}, header{":error-message", text}, header{":message-type", "error"}), start)
	}
	dst = openFrame(dst, header{":exception-type", modeled}, header{":content-type", contentType}, header{":message-type", "exception"})
	dst = append(dst, `{"message":`...)
	dst = appendText(dst, e.Message)
	return closeFrame(append(dst, '}'), start)
}
