package emulator

import (
	"bytes"
	"context"
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxPutRecords        = 500
	maxPutBytes          = 10 << 20
	maxPartitionKeyRunes = 256
)

// put is one record to write: first the JSON literals of its members, nil where absent, then what they say.
type put struct {
	key, data, hash []byte

	bytes  []byte // partition key and data
	keyLen int    // 0 where there is no partition key
	shard  *shard
}

func (s *Server) putRecords(ctx context.Context, q *request) error {
	in, err := parsePutRecords(q.body)
	if err != nil {
		return apiErrorf(Serialization, "%s: %v", q.action, err)
	}
	if n := len(in.puts); n < 1 || n > maxPutRecords {
		return apiErrorf(ValidationFailed, "1 validation error detected: Value at 'records' failed to satisfy constraint: "+
			"Member must have length between 1 and %d, not %d", maxPutRecords, n)
	}
	st, err := s.findReadable(ctx, q, in.streamRef, "")
	if err != nil {
		return err
	}
	if err := st.prepare(in.puts); err != nil {
		return err
	}
	if err := refuseDryRun(in.dryRun); err != nil {
		return err
	}
	now := time.Now()
	failed := 0
	q.out = append(q.out, `{"Records":[`...)
	for i := range in.puts {
		if i > 0 {
			q.out = append(q.out, ',')
		}
		seq, err := s.store(st, &in.puts[i], now)
		if err != nil {
			failed++
			q.out = append(q.out, `{"ErrorCode":`...)
			q.out = appendText(q.out, string(err.Type))
			q.out = append(q.out, `,"ErrorMessage":`...)
			q.out = appendText(q.out, err.Message)
			q.out = append(q.out, '}')
			continue
		}
		q.out = appendPlace(q.out, in.puts[i].shard, seq)
	}
	q.out = append(q.out, `],"FailedRecordCount":`...)
	q.out = strconv.AppendInt(q.out, int64(failed), 10)
	q.out = append(q.out, '}')
	return nil
}

func (s *Server) putRecord(ctx context.Context, q *request) error {
	var in struct {
		streamRef
		Data                      jsontext.Value
		PartitionKey              jsontext.Value
		ExplicitHashKey           jsontext.Value
		SequenceNumberForOrdering *string
		DryRun                    bool
	}
	if err := decode(q, &in); err != nil {
		return err
	}
	if in.SequenceNumberForOrdering != nil {
		// Records of one shard are always in the order of their arrival here, so the number has no more to say.
		if _, ok := parseSequence(*in.SequenceNumberForOrdering); !ok {
			return apiErrorf(InvalidArgument, "SequenceNumberForOrdering %s is invalid", *in.SequenceNumberForOrdering)
		}
	}
	st, err := s.findReadable(ctx, q, in.streamRef, "")
	if err != nil {
		return err
	}
	puts := []put{{key: present(in.PartitionKey), data: present(in.Data), hash: present(in.ExplicitHashKey)}}
	if err := st.prepare(puts); err != nil {
		return err
	}
	if err := refuseDryRun(in.DryRun); err != nil {
		return err
	}
	seq, refused := s.store(st, &puts[0], time.Now())
	if refused != nil {
		return refused
	}
	q.out = appendPlace(q.out, puts[0].shard, seq)
	return nil
}

// appendPlace appends what a writer learns of a stored record.
func appendPlace(dst []byte, sh *shard, seq sequence) []byte {
	dst = append(dst, `{"ShardId":"`...)
	dst = append(dst, sh.id...)
	dst = append(dst, `","SequenceNumber":"`...)
	dst = seq.append(dst)
	return append(dst, `"}`...)
}

// store writes one prepared record, unless the hook fails it or its shard has no room for it. A shard that was closed since the
// record was prepared is replaced by the one that has come after it.
func (s *Server) store(st *stream, p *put, now time.Time) (sequence, *APIError) {
	if hook := s.recordHook.Load(); hook != nil {
		err := (*hook)(Put{Stream: st.name, Shard: p.shard.id, PartitionKey: string(p.bytes[:p.keyLen])})
		if err != nil {
			return sequence{}, err
		}
	}
	retention := st.current.Load().retention
	for {
		seq, what := p.shard.append(now, retention, s.config.WriteQuota, p.bytes, p.keyLen)
		switch what {
		case stored:
			return seq, nil
		case throttled:
			return seq, s.throughputExceeded(st, p.shard)
		case shut:
			s.mu.RLock() // the layout that closed the shard is in place once this is had
			current := st.current.Load()
			s.mu.RUnlock()
			hash, _ := p.route(p.bytes[:p.keyLen]) // as before, without error
			p.shard = st.route(current, hash)
		}
	}
}

// prepare checks the records of one request, decodes them into one piece of memory of their own and finds their shards. A request
// with one wrong record is refused whole.
func (st *stream) prepare(puts []put) error {
	current := st.current.Load()
	room := 0
	for _, p := range puts {
		room += len(p.key) + base64.StdEncoding.DecodedLen(len(p.data))
	}
	memory := make([]byte, 0, room)
	for i := range puts {
		var err error
		if memory, err = st.prepareOne(current, &puts[i], memory); err != nil {
			return err
		}
	}
	if len(memory) > maxPutBytes {
		return apiErrorf(InvalidArgument, "Records size exceeds 10 MiB limit")
	}
	return nil
}

func (st *stream) prepareOne(current *state, p *put, memory []byte) ([]byte, error) {
	if p.data == nil || p.key == nil && !current.auto {
		return memory, apiErrorf(ValidationFailed, "1 validation error detected: Value null at 'partitionKey' or 'data' failed to satisfy constraint: "+
			"Member must not be null")
	}
	start := len(memory)
	memory, err := p.appendKey(memory)
	if err != nil {
		return memory, err
	}
	var hash uint192
	if !current.auto {
		if hash, err = p.route(memory[start:]); err != nil {
			return memory, err
		}
	}
	p.shard = st.route(current, hash)

	memory, ok := appendBlob(memory, p.data)
	if !ok {
		return memory, apiErrorf(Serialization, "Data is not base64")
	}
	p.bytes = memory[start:len(memory):len(memory)]
	if len(p.bytes) > current.maxRecord {
		return memory, apiErrorf(InvalidArgument, "partition key and data are %d bytes, more than the stream's maximum record size of %d",
			len(p.bytes), current.maxRecord)
	}
	return memory, nil
}

// appendKey appends the partition key, if there is one.
func (p *put) appendKey(memory []byte) ([]byte, error) {
	if p.key == nil {
		return memory, nil
	}
	start := len(memory)
	memory, ok := appendLiteral(memory, p.key)
	if !ok {
		return memory, apiErrorf(Serialization, "PartitionKey is not a string")
	}
	key := memory[start:]
	if runes := utf8.RuneCount(key); runes < 1 || runes > maxPartitionKeyRunes {
		return memory, apiErrorf(ValidationFailed, "1 validation error detected: Value at 'partitionKey' failed to satisfy constraint: "+
			"Member must have length between 1 and %d, not %d", maxPartitionKeyRunes, runes)
	}
	p.keyLen = len(key)
	return memory, nil
}

// route returns the hash key of a record with a partition key.
func (p *put) route(key []byte) (uint192, error) {
	if p.hash == nil {
		return hashKey(key), nil
	}
	digits, _ := appendLiteral(nil, p.hash)
	hash, ok := parseDecimal(digits)
	if !ok || hash[2] != 0 {
		return hash, apiErrorf(InvalidArgument, "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s", digits)
	}
	return hash, nil
}

// appendLiteral appends what a JSON string literal says.
func appendLiteral(dst, literal []byte) ([]byte, bool) {
	switch {
	case literal[0] != '"':
		return dst, false
	case bytes.IndexByte(literal, '\\') < 0:
		return append(dst, literal[1:len(literal)-1]...), true
	default:
		dst, err := jsontext.AppendUnquote(dst, literal)
		return dst, err == nil
	}
}

// appendBlob appends the bytes that a JSON string literal carries in base64.
func appendBlob(dst, literal []byte) ([]byte, bool) {
	if literal[0] != '"' {
		return dst, false
	}
	text := literal[1 : len(literal)-1]
	if bytes.IndexByte(literal, '\\') >= 0 { // some encoders escape the slash
		var err error
		if text, err = jsontext.AppendUnquote(nil, literal); err != nil {
			return dst, false
		}
	}
	dst, err := base64.StdEncoding.AppendDecode(dst, text)
	return dst, err == nil
}

// present returns a literal, or nil in place of null.
func present(literal jsontext.Value) []byte {
	if literal.Kind() == 'n' {
		return nil
	}
	return literal
}

type putRecordsInput struct {
	streamRef
	dryRun bool
	puts   []put
}

// parsePutRecords reads the body of a PutRecords without decoding its records, whose literals alias body. This is the emulator's busiest path, which is why it does not go through
// reflection.
func parsePutRecords(body []byte) (putRecordsInput, error) {
	var in putRecordsInput
	d := literals{body: body, Decoder: jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))}
	err := d.object(func(name string) error {
		switch name {
		case `"StreamName"`:
			return d.text(&in.StreamName)
		case `"StreamARN"`:
			return d.text(&in.StreamARN)
		case `"DryRun"`:
			literal, err := d.next()
			in.dryRun = string(literal) == "true"
			return err
		case `"Records"`:
			return d.records(&in.puts)
		default:
			return d.SkipValue()
		}
	})
	return in, err
}
