package emulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Config is what a server is like. The zero value is a server with the service's defaults and quotas.
type Config struct {
	// Account is the account id in ARNs; default 000000000000.
	Account string

	// Region is the region in ARNs; default us-east-1.
	Region string

	// Retention is how long the streams created from now on keep their records, by arrival time; default 24 h. The API reports
	// it in whole hours, rounded up.
	Retention time.Duration

	// ShardLimit is how many shards all streams together may have; default 500.
	ShardLimit int

	// ConsumerLimit is how many consumers may be registered with each stream; default 20.
	ConsumerLimit int

	// CreateTime is how long a stream is CREATING, and DELETING at its end; default not at all.
	CreateTime time.Duration

	// UpdateTime is how long a stream is UPDATING after a change, and a consumer CREATING or DELETING; default 100 ms, not at all
	// if negative.
	UpdateTime time.Duration

	// ReadQuota bounds the reads of each shard; default [ServiceReadQuota].
	ReadQuota ReadQuota

	// WriteQuota bounds the writes to each shard; default [ServiceWriteQuota].
	WriteQuota WriteQuota

	// ControlQuota bounds the calls of the control plane; default [ServiceControlQuota].
	ControlQuota ControlQuota

	// Unlimited leaves a quota that is not given without bounds, in place of its default.
	Unlimited bool
}

const (
	defaultAccount    = "000000000000"
	defaultRegion     = "us-east-1"
	defaultRetention  = 24 * time.Hour
	defaultShardLimit = 500

	defaultConsumerLimit = 20
	defaultUpdateTime    = 100 * time.Millisecond

	// maxBody leaves room for the base64 of 10 MiB and for 500 names and keys around it.
	maxBody      = 16 << 20
	targetPrefix = "Kinesis_20131202."
	contentType  = "application/x-amz-json-1.1"
)

// Server holds streams and answers the API for them. It is an http.Handler, safe for use by many goroutines; make it with [New].
type Server struct {
	config     Config
	seed       maphash.Seed // seals tokens
	requests   atomic.Uint64
	hook       atomic.Pointer[Hook]
	recordHook atomic.Pointer[RecordHook]
	control    controlUse

	// mu guards what follows, and of each stream what is said there.
	mu        sync.RWMutex
	streams   map[string]*stream
	byEpoch   map[uint64]*stream
	lastEpoch uint64
	shards    int
}

// New returns a server without streams. A ControlQuota that names an action not of the control plane, or fewer calls than one,
// panics.
func New(config Config) *Server {
	config.Account = cmp.Or(config.Account, defaultAccount)
	config.Region = cmp.Or(config.Region, defaultRegion)
	config.Retention = cmp.Or(config.Retention, defaultRetention)
	config.ShardLimit = cmp.Or(config.ShardLimit, defaultShardLimit)
	config.ConsumerLimit = cmp.Or(config.ConsumerLimit, defaultConsumerLimit)
	config.CreateTime = max(0, config.CreateTime)
	config.UpdateTime = max(0, cmp.Or(config.UpdateTime, defaultUpdateTime))
	if err := config.ControlQuota.check(); err != nil {
		panic(fmt.Errorf("emulator: %w", err))
	}
	if !config.Unlimited {
		if config.ControlQuota == nil {
			config.ControlQuota = ServiceControlQuota()
		}
		config.ReadQuota = cmp.Or(config.ReadQuota, ServiceReadQuota)
		config.WriteQuota = cmp.Or(config.WriteQuota, ServiceWriteQuota)
	}
	return &Server{
		config:  config,
		seed:    maphash.MakeSeed(),
		streams: map[string]*stream{},
		byEpoch: map[uint64]*stream{},
	}
}

// request is one call on its way through an action. The action reads body and appends its answer to out, or sets stream, which
// then answers.
type request struct {
	action     string
	body       []byte
	out        []byte
	stream     func(context.Context, *request, http.ResponseWriter) error
	loseAnswer bool
}

// actions maps the API's names to what carries them out.
var actions = map[string]func(*Server, context.Context, *request) error{
	"CreateStream":                  (*Server).createStream,
	"DecreaseStreamRetentionPeriod": (*Server).decreaseRetention,
	"DeleteStream":                  (*Server).deleteStream,
	"DeregisterStreamConsumer":      (*Server).deregisterConsumer,
	"DescribeStream":                (*Server).describeStream,
	"DescribeStreamConsumer":        (*Server).describeConsumer,
	"DescribeStreamSummary":         (*Server).describeStreamSummary,
	"GetRecords":                    (*Server).getRecords,
	"GetShardIterator":              (*Server).getShardIterator,
	"IncreaseStreamRetentionPeriod": (*Server).increaseRetention,
	"ListShards":                    (*Server).listShards,
	"ListStreamConsumers":           (*Server).listConsumers,
	"ListStreams":                   (*Server).listStreams,
	"MergeShards":                   (*Server).mergeShards,
	"PutRecord":                     (*Server).putRecord,
	"PutRecords":                    (*Server).putRecords,
	"RegisterStreamConsumer":        (*Server).registerConsumer,
	"SplitShard":                    (*Server).splitShard,
	subscribeAction:                 (*Server).subscribeToShard,
	"UpdateMaxRecordSize":           (*Server).updateMaxRecordSize,
	"UpdateShardCount":              (*Server).updateShardCount,
	"UpdateStreamMode":              (*Server).updateMode,

	"UpdateStreamRecordDistributionStrategy": (*Server).updateDistribution,
}

// buffers holds request and reply bodies between calls; both reach many megabytes.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// ServeHTTP answers one call of the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, out := buffers.Get().(*[]byte), buffers.Get().(*[]byte)
	q := &request{out: (*out)[:0]}
	defer func() {
		*out = q.out
		buffers.Put(out)
		buffers.Put(body)
	}()
	err := s.serve(q, r, body)

	refused, ok := errors.AsType[*APIError](err)
	if err != nil && !ok || q.loseAnswer {
		// net/http closes the connection without a word on this panic.
		panic(http.ErrAbortHandler)
	}
	if refused != nil {
		q.out = appendError(q.out[:0], refused)
		w.Header().Set("X-Amzn-Errortype", string(refused.Type))
	}
	w.Header().Set("X-Amzn-Requestid", fmt.Sprintf("00000000-0000-0000-0000-%012x", s.requests.Add(1)))
	if q.stream != nil {
		if err := q.stream(r.Context(), q, w); err != nil {
			panic(http.ErrAbortHandler)
		}
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(q.out)))
	if refused != nil {
		w.WriteHeader(refused.status())
	}
	w.Write(q.out) // a client that went away does not need the answer
}

func (s *Server) serve(q *request, r *http.Request, body *[]byte) error {
	name, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	action := actions[name]
	if r.Method != http.MethodPost || !ok || action == nil {
		return apiErrorf(UnknownOperation, "%s %s is not emulated", r.Method, cmp.Or(name, "without a target"))
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != contentType {
		return apiErrorf(Serialization, "content type %q is not emulated, only %s", kind, contentType)
	}
	var err error
	if *body, err = readAll((*body)[:0], http.MaxBytesReader(nil, r.Body, maxBody), r.ContentLength); err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return apiErrorf(RequestTooLarge, "request is longer than %d bytes", tooLarge.Limit)
		}
		return fmt.Errorf("read request: %w", err)
	}
	q.action, q.body = name, *body
	return action(s, r.Context(), q)
}

// readAll appends all of r, which is expected to be size bytes, to dst.
func readAll(dst []byte, r io.Reader, size int64) ([]byte, error) {
	if size > 0 && size <= maxBody && int64(cap(dst)) <= size {
		dst = make([]byte, 0, size+1) // one more, so that the end is seen without growing
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

func appendError(dst []byte, e *APIError) []byte {
	dst = append(dst, `{"__type":`...)
	dst = appendText(dst, string(e.Type))
	dst = append(dst, `,"message":`...)
	dst = appendText(dst, e.Message)
	return append(dst, '}')
}

// appendText appends a JSON string; bytes that are not UTF-8 become U+FFFD.
func appendText[T string | []byte](dst []byte, text T) []byte {
	dst, _ = jsontext.AppendQuote(dst, text) // fails only for invalid UTF-8, which it replaces
	return dst
}

func (s *Server) arn(stream string) string {
	return "arn:aws:kinesis:" + s.config.Region + ":" + s.config.Account + ":stream/" + stream
}
