package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"penstock/checkpoint"
	"penstock/localstack/emulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a stream on an emulator in memory, in a synctest bubble.
type rig struct {
	*testing.T
	*Stream
	server *emulator.Running
	client *kinesis.Client
}

const name = "orders"

func start(t *testing.T, c emulator.Config, shards int32) *rig {
	t.Helper()
	server := emulator.StartInMemory(t, c)
	r := &rig{T: t, Stream: New(server.AWS(), name, zap.NewNop()), server: server, client: kinesis.NewFromConfig(server.AWS())}
	_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String(name), ShardCount: &shards})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// put writes records "0", "1" … with as much padding as size asks for, and returns their sequence numbers.
func (r *rig) put(from, n, size int) []checkpoint.Sequence {
	r.Helper()
	var numbers []checkpoint.Sequence
	for n > 0 {
		in := &kinesis.PutRecordsInput{StreamName: aws.String(name)}
		for bytes := 0; n > 0 && len(in.Records) < 500 && bytes < 8<<20; n-- {
			data := fmt.Append(nil, from)
			if pad := size - len(data); pad > 0 {
				data = append(data, strings.Repeat(" ", pad)...)
			}
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: data})
			bytes += len(data)
			from++
		}
		out, err := r.client.PutRecords(r.Context(), in)
		if err != nil {
			r.Fatal(err)
		}
		for _, e := range out.Records {
			numbers = append(numbers, checkpoint.Sequence(*e.SequenceNumber))
		}
	}
	return numbers
}

// only returns the stream's one shard.
func (r *rig) only() Shard {
	r.Helper()
	shards, err := r.Shards(r.Context())
	if err != nil || len(shards) != 1 {
		r.Fatalf("%d shards, %v", len(shards), err)
	}
	return shards[0]
}

func TestDescribeTellsTheStreamsIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{Retention: 48 * time.Hour}, 1)
		d, err := r.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(d.ARN, ":stream/"+name) || !d.Created.Equal(time.Now()) || d.Retention != 48*time.Hour {
			t.Errorf("got %+v", d)
		}
	})
}

func TestShardsAreListedPageAfterPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{ShardLimit: 2500}, 2500)
		calls := 0
		r.server.Intercept(func(_ context.Context, c emulator.Call) error {
			calls++
			return nil
		})
		shards, err := r.Shards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(shards) != 2500 || calls != 3 {
			t.Fatalf("%d shards in %d pages, want 2500 in 3", len(shards), calls)
		}
		for i, s := range shards {
			if want := fmt.Sprintf("shardId-%012d", i); s.ID != want || s.Start == "" || len(s.Parents) != 0 {
				t.Fatalf("shard %d is %+v", i, s)
			}
		}
	})
}

func TestAnAbsentStreamIsFatalAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		absent := New(r.server.AWS(), "elsewhere", zap.NewNop())
		_, describing := absent.Describe(t.Context())
		_, listing := absent.Shards(t.Context())
		_, reading := absent.Reader(r.only(), "", Start{}).Next(t.Context(), 10)
		for op, err := range map[string]error{"describe": describing, "list": listing, "read": reading} {
			failed, ok := errors.AsType[*Error](err)
			if !ok || failed.Kind != Fatal || !strings.Contains(err.Error(), "elsewhere") {
				t.Errorf("%s: got %v, want a fatal error that names the stream", op, err)
			}
		}
	})
}

func TestAStreamDeletedWhileItIsReadIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		reader := r.Reader(r.only(), "", Start{})
		if _, err := reader.Next(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		if _, err := r.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String(name)}); err != nil {
			t.Fatal(err)
		}
		_, err := reader.Next(t.Context(), 10)
		if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != Fatal {
			t.Errorf("got %v, want a fatal error", err)
		}
	})
}

func TestAccessDeniedIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		reader := r.Reader(r.only(), "", Start{})
		for _, action := range []string{"GetShardIterator", "GetRecords"} {
			r.server.Intercept(func(_ context.Context, c emulator.Call) error {
				if c.Action == action {
					return &emulator.APIError{Type: "AccessDeniedException", Message: "no"}
				}
				return nil
			})
			_, err := reader.Next(t.Context(), 10)
			if failed, ok := errors.AsType[*Error](err); !ok || failed.Kind != Fatal || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: got %v, want a fatal error that names the stream", action, err)
			}
		}
	})
}

func TestWhatErrorsMean(t *testing.T) {
	named := func(code string) error { return &smithy.GenericAPIError{Code: code} }
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{&types.ExpiredIteratorException{}, Rewind},
		{&types.ProvisionedThroughputExceededException{}, Throttled},
		{&types.LimitExceededException{}, Throttled},
		{&types.KMSThrottlingException{}, Throttled},
		{named("ThrottlingException"), Throttled},
		{&types.ResourceNotFoundException{}, Fatal},
		{&types.InvalidArgumentException{}, Fatal},
		{&types.ValidationException{}, Fatal},
		{&types.AccessDeniedException{}, Fatal},
		{&types.KMSAccessDeniedException{}, Fatal},
		{&types.KMSDisabledException{}, Fatal},
		{&types.KMSInvalidStateException{}, Fatal},
		{&types.KMSNotFoundException{}, Fatal},
		{&types.KMSOptInRequired{}, Fatal},
		{named("UnrecognizedClientException"), Fatal},
		{named("InvalidSignatureException"), Fatal},
		{named("IncompleteSignature"), Fatal},
		{named("MissingAuthenticationTokenException"), Fatal},
		{named("InvalidClientTokenId"), Fatal},
		{named("OptInRequired"), Fatal},
		{named("NotAuthorized"), Fatal},
		{named("UnknownOperationException"), Fatal},
		{&types.InternalFailureException{}, Transient},
		{named("InternalFailure"), Transient},
		{named("ServiceUnavailable"), Transient},
		{named("ExpiredTokenException"), Transient}, // credentials that are about to be renewed
		{named("SomethingNew"), Transient},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, Transient},
		{context.DeadlineExceeded, Transient},
		{errors.New("unexpected EOF"), Transient},
		{errIncomplete, Transient},
		{fmt.Errorf("operation error Kinesis: %w", &types.ExpiredIteratorException{}), Rewind},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%T %v: kind %d, want %d", c.err, c.err, got, c.want)
		}
	}
}
