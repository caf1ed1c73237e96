package emulator_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

const (
	benchData  = 500
	benchBatch = 500
	benchReads = 10 // batches per read
)

// BenchmarkPutAndGet writes records of 500 bytes, 500 per PutRecords, and reads each of them once, 5,000 per GetRecords, over
// loopback TCP. Its records/s is how many go in and come out again per second; run it with GOMAXPROCS=1 for the figure of one
// core. The client shares the core: in "wire" it sends bodies made beforehand and throws answers away, which leaves nearly all of
// the core to the emulator; in "sdk" it is the AWS SDK, which takes most of it.
func BenchmarkPutAndGet(b *testing.B) {
	b.Run("wire", func(b *testing.B) { benchmark(b, newWireClient) })
	b.Run("sdk", func(b *testing.B) { benchmark(b, newSDKClient) })
}

type benchClient interface {
	put()
	// get reads from the iterator on and returns the next.
	get(iterator string, want int) string
}

func benchmark(b *testing.B, dial func(*testing.B, *emulator.Running) benchClient) {
	srv := emulator.Start(b, emulator.Config{})
	client := kinesis.NewFromConfig(srv.AWS())
	if _, err := client.CreateStream(b.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("bench"), ShardCount: aws.Int32(1)}); err != nil {
		b.Fatal(err)
	}
	first, err := client.GetShardIterator(b.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String("bench"),
		ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		b.Fatal(err)
	}
	iterator := *first.ShardIterator
	c := dial(b, srv)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		c.put()
		if n++; n%benchReads == 0 {
			iterator = c.get(iterator, benchReads*benchBatch)
		}
	}
	b.ReportMetric(float64(n*benchBatch)/b.Elapsed().Seconds(), "records/s")
}

func benchPayload(i int) (key string, data []byte) {
	return fmt.Sprintf("0f9a5d1e-3c1b-4f6e-9a57-%012d", i), bytes.Repeat([]byte{byte(i)}, benchData)
}

type sdkClient struct {
	b      *testing.B
	client *kinesis.Client
	batch  *kinesis.PutRecordsInput
}

func newSDKClient(b *testing.B, srv *emulator.Running) benchClient {
	c := &sdkClient{b: b, client: kinesis.NewFromConfig(srv.AWS()), batch: &kinesis.PutRecordsInput{StreamName: aws.String("bench")}}
	for i := range benchBatch {
		key, data := benchPayload(i)
		c.batch.Records = append(c.batch.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: data})
	}
	return c
}

func (c *sdkClient) put() {
	if out, err := c.client.PutRecords(c.b.Context(), c.batch); err != nil || *out.FailedRecordCount != 0 {
		c.b.Fatal(err)
	}
}

func (c *sdkClient) get(iterator string, want int) string {
	out, err := c.client.GetRecords(c.b.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
	if err != nil || len(out.Records) != want {
		c.b.Fatalf("%v", err)
	}
	return *out.NextShardIterator
}

type wireClient struct {
	b      *testing.B
	srv    *emulator.Running
	batch  []byte
	answer bytes.Buffer
}

func newWireClient(b *testing.B, srv *emulator.Running) benchClient {
	type record struct{ Data, PartitionKey string }
	var in struct {
		Records    []record
		StreamName string
	}
	in.StreamName = "bench"
	for i := range benchBatch {
		key, data := benchPayload(i)
		in.Records = append(in.Records, record{base64.StdEncoding.EncodeToString(data), key})
	}
	batch, err := json.Marshal(in)
	if err != nil {
		b.Fatal(err)
	}
	return &wireClient{b: b, srv: srv, batch: batch}
}

func (c *wireClient) call(action string, body []byte) []byte {
	req, err := http.NewRequestWithContext(c.b.Context(), http.MethodPost, c.srv.Endpoint, bytes.NewReader(body))
	if err != nil {
		c.b.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+action)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	resp, err := c.srv.HTTP.Do(req)
	if err != nil {
		c.b.Fatal(err)
	}
	defer resp.Body.Close()
	c.answer.Reset()
	if _, err := io.Copy(&c.answer, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		c.b.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return c.answer.Bytes()
}

func (c *wireClient) put() {
	if answer := c.call("PutRecords", c.batch); !bytes.HasSuffix(answer, []byte(`"FailedRecordCount":0}`)) {
		c.b.Fatalf("%s", answer)
	}
}

func (c *wireClient) get(iterator string, want int) string {
	answer := c.call("GetRecords", fmt.Appendf(nil, `{"ShardIterator":%q}`, iterator))
	if n := bytes.Count(answer, []byte(`"PartitionKey"`)); n != want {
		c.b.Fatalf("%d records", n)
	}
	const member = `"NextShardIterator":"`
	_, rest, _ := bytes.Cut(answer[bytes.LastIndex(answer, []byte(member)):], []byte(member))
	next, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(next)
}
