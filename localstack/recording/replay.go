package recording

import (
	"encoding/binary"
	"os"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"
)

// Replay is a recording in memory, as bytes: what is decoded all at once would be marked by every collection of garbage,
// which no bare loop would have to pay for.
type Replay struct {
	Rows     int
	data     []byte
	requests []span
	texts    map[string]string // equal texts are one string
}

// span is where a request's statements begin in the data, and how many they are.
type span struct{ at, statements int }

// Request is a recorded request, ready to be bound. Its statements are no more than one batch takes.
type Request struct {
	Statements []string
	Values     [][]any
}

// Open reads a recording: request by request, or row by row, where only the statements of one row stay together.
func Open(file string, rowByRow bool) (*Replay, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &Replay{data: data, texts: map[string]string{}}
	for d := (decoder{data}); len(d.rest) > 0; {
		var row string // of the statement before
		for i := range d.byte() {
			at := len(data) - len(d.rest)
			text := string(d.take(d.number()))
			r.texts[text] = text
			_, where, _ := strings.Cut(text, " WHERE ")
			keys := strings.Count(where, "?")
			var key []byte
			for left := d.number(); left > 0; left-- {
				before := d.rest
				d.value()
				if left <= uint64(keys) {
					key = append(key, before[:len(before)-len(d.rest)]...)
				}
			}
			r.Rows++
			same := row == text+string(key)
			row = text + string(key)
			if i == 0 || rowByRow && !same {
				r.requests = append(r.requests, span{at: at})
			}
			r.requests[len(r.requests)-1].statements++
		}
	}
	return r, nil
}

// Len is how many requests there are.
func (r *Replay) Len() int { return len(r.requests) }

// Request decodes the i-th request.
func (r *Replay) Request(i int) Request {
	d, n := decoder{r.data[r.requests[i].at:]}, r.requests[i].statements
	out := Request{make([]string, n), make([][]any, n)}
	for i := range n {
		out.Statements[i] = r.texts[string(d.take(d.number()))]
		values := make([]any, d.number())
		for k := range values {
			values[k] = d.value()
		}
		out.Values[i] = values
	}
	return out
}

// decoder reads what recorder wrote.
type decoder struct{ rest []byte }

func (d *decoder) take(n uint64) []byte {
	taken := d.rest[:n:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) value() any {
	switch d.byte() {
	case kindBytes:
		return raw(d.take(d.number()))
	case kindInt64:
		return int64(binary.BigEndian.Uint64(d.take(8)))
	}
	return gocql.UnsetValue
}

// raw binds bytes as they are.
type raw []byte

// MarshalCQL implements gocql.Marshaler.
func (r raw) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return r, nil }
