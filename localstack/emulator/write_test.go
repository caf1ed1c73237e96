package emulator_test

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

func TestPartitionKeyAndExplicitHashKeyPickTheShard(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 5)
	shards := listAll(r, "orders", nil)
	holder := func(hash *big.Int) string {
		for _, sh := range shards {
			from, _ := new(big.Int).SetString(*sh.HashKeyRange.StartingHashKey, 10)
			to, _ := new(big.Int).SetString(*sh.HashKeyRange.EndingHashKey, 10)
			if hash.Cmp(from) >= 0 && hash.Cmp(to) <= 0 {
				return *sh.ShardId
			}
		}
		t.Fatalf("no shard holds %s", hash)
		return ""
	}
	in := &kinesis.PutRecordsInput{StreamName: aws.String("orders")}
	var want []string
	for i := range 100 {
		key := fmt.Sprintf("order-%d \"é\"", i)
		sum := md5.Sum([]byte(key))
		want = append(want, holder(new(big.Int).SetBytes(sum[:])))
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: []byte("x")})
	}
	for _, sh := range shards {
		for _, edge := range []*string{sh.HashKeyRange.StartingHashKey, sh.HashKeyRange.EndingHashKey} {
			want = append(want, *sh.ShardId)
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("same"), ExplicitHashKey: edge, Data: []byte("x")})
		}
	}
	out, err := r.client.PutRecords(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range out.Records {
		if *e.ShardId != want[i] {
			t.Errorf("record %d went to %s, want %s", i, *e.ShardId, want[i])
		}
	}
	for _, hash := range []string{"340282366920938463463374607431768211456", "-1", "07", "x"} {
		_, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{
			StreamName: aws.String("orders"), PartitionKey: aws.String("k"), ExplicitHashKey: &hash, Data: []byte("x")})
		typed[*types.InvalidArgumentException](t, err)
	}
}

func TestRecordIsReadAsItWasWritten(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	for _, c := range []struct {
		key  string
		data []byte
	}{
		{"plain", []byte("data")},
		{"empty", []byte{}},
		{"every byte", everyByte},
		{"slashes and pluses", bytes.Repeat([]byte{0xff, 0xef, 0xbe}, 100)},
		{"\"quotes\" \\ \t é 漢 \U0001F4A7 </script>", []byte("x")},
		{strings.Repeat("漢", 256), []byte("key of 256 characters")},
		{"whole MiB", bytes.Repeat([]byte("m"), 1<<20-len("whole MiB"))},
	} {
		seq := r.put("orders", c.key, c.data)
		at := r.iterator(kinesis.GetShardIteratorInput{StreamName: aws.String("orders"),
			ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: &seq})
		got := r.get(at).Records
		if len(got) != 1 || *got[0].PartitionKey != c.key || !bytes.Equal(got[0].Data, c.data) || *got[0].SequenceNumber != seq {
			t.Errorf("%q: read %d records, not what was written", c.key, len(got))
		}
	}
}

func TestPutRefusals(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	put := func(key string, data []byte) error {
		_, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: &key, Data: data})
		return err
	}
	batch := func(n, size int) error {
		in := &kinesis.PutRecordsInput{StreamName: aws.String("orders"), Records: []types.PutRecordsRequestEntry{}}
		for range n {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: make([]byte, size)})
		}
		_, err := r.client.PutRecords(t.Context(), in)
		return err
	}
	typed[*types.InvalidArgumentException](t, put("k", make([]byte, 1<<20)))
	typed[*types.ValidationException](t, put("", []byte("x")))
	typed[*types.ValidationException](t, put(strings.Repeat("k", 257), []byte("x")))
	typed[*types.ValidationException](t, batch(0, 1))
	typed[*types.ValidationException](t, batch(501, 1))
	typed[*types.InvalidArgumentException](t, batch(11, 1<<20-1))
	if status, body, _ := post(t, r.Running, "Kinesis_20131202.PutRecords", "application/x-amz-json-1.1", strings.Repeat(" ", 17<<20)); status != 413 {
		t.Errorf("a request of 17 MiB: status %d, %s", status, body)
	}
	_, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("other"), PartitionKey: aws.String("k"), Data: []byte("x")})
	typed[*types.ResourceNotFoundException](t, err)
	_, err = r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte("x"),
		SequenceNumberForOrdering: aws.String("first")})
	typed[*types.InvalidArgumentException](t, err)

	if n := len(r.get(r.horizon("orders")).Records); n != 0 {
		t.Errorf("refused writes left %d records", n)
	}
	if err := batch(10, 1<<20-1); err != nil {
		t.Errorf("a batch just below 10 MiB: %v", err)
	}
	if err := batch(500, 0); err != nil {
		t.Errorf("500 empty records: %v", err)
	}
}

func TestStreamOfLargeRecordsTakesThem(t *testing.T) {
	r := start(t, emulator.Config{})
	_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{
		StreamName: aws.String("large"), ShardCount: aws.Int32(1), MaxRecordSizeInKiB: aws.Int32(2048)})
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 2<<20/16)[:2<<20-1]
	r.put("large", "k", data)
	if got := r.get(r.horizon("large")).Records; len(got) != 1 || !bytes.Equal(got[0].Data, data) {
		t.Errorf("read %d records, not the one written", len(got))
	}
}

func TestOneRefusedRecordFailsAlone(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	r.InterceptRecords(func(put emulator.Put) *emulator.APIError {
		if put.PartitionKey == "hot" {
			return &emulator.APIError{Type: emulator.ThroughputExceeded, Message: "Rate exceeded for shard " + put.Shard + " in stream " + put.Stream}
		}
		return nil
	})
	out, err := r.client.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String("orders"), Records: []types.PutRecordsRequestEntry{
		{PartitionKey: aws.String("a"), Data: []byte("a")},
		{PartitionKey: aws.String("hot"), Data: []byte("hot")},
		{PartitionKey: aws.String("b"), Data: []byte("b")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if *out.FailedRecordCount != 1 || len(out.Records) != 3 {
		t.Fatalf("%d failed of %d", *out.FailedRecordCount, len(out.Records))
	}
	failed := out.Records[1]
	if aws.ToString(failed.ErrorCode) != "ProvisionedThroughputExceededException" || failed.SequenceNumber != nil || failed.ShardId != nil ||
		*failed.ErrorMessage != "Rate exceeded for shard shardId-000000000000 in stream orders" {
		t.Errorf("failed record is %+v", failed)
	}
	_, err = r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("hot"), Data: []byte("x")})
	typed[*types.ProvisionedThroughputExceededException](t, err)

	r.InterceptRecords(nil)
	r.put("orders", "hot", []byte("hot"))
	if got, want := fmt.Sprint(r.data(r.horizon("orders"))), "[a b hot]"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
}

// post sends a request that the SDK would not.
func post(t *testing.T, srv *emulator.Running, target, contentType, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.Endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Content-Type", contentType)
	resp, err := srv.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer), resp.Header
}

func TestErrorsOnTheWire(t *testing.T) {
	const amzJSON = "application/x-amz-json-1.1"
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	for _, c := range []struct {
		name, target, contentType, body string
		status                          int
		errorType                       string
	}{
		{"no target", "", amzJSON, "{}", 400, "UnknownOperationException"},
		{"other service", "DynamoDB_20120810.PutItem", amzJSON, "{}", 400, "UnknownOperationException"},
		{"not emulated", "Kinesis_20131202.CreateChannel", amzJSON, "{}", 400, "UnknownOperationException"},
		{"CBOR", "Kinesis_20131202.ListStreams", "application/x-amz-cbor-1.1", "{}", 400, "SerializationException"},
		{"no JSON", "Kinesis_20131202.ListStreams", amzJSON, "hello", 400, "SerializationException"},
		{"other type", "Kinesis_20131202.GetRecords", amzJSON, `{"ShardIterator":7}`, 400, "SerializationException"},
		{"other type in batch", "Kinesis_20131202.PutRecords", amzJSON, `{"Records":[7]}`, 400, "SerializationException"},
		{"cut short", "Kinesis_20131202.PutRecords", amzJSON, `{"Records":[{"Data":"`, 400, "SerializationException"},
		{"no base64", "Kinesis_20131202.PutRecords", amzJSON, `{"StreamName":"orders","Records":[{"Data":"*","PartitionKey":"k"}]}`, 400, "SerializationException"},
		{"data of another type", "Kinesis_20131202.PutRecords", amzJSON, `{"StreamName":"orders","Records":[{"Data":7,"PartitionKey":"k"}]}`, 400, "SerializationException"},
		{"key of another type", "Kinesis_20131202.PutRecord", amzJSON, `{"StreamName":"orders","Data":"","PartitionKey":[]}`, 400, "SerializationException"},
		{"hash key of another type", "Kinesis_20131202.PutRecord", amzJSON, `{"StreamName":"orders","Data":"","PartitionKey":"k","ExplicitHashKey":7}`, 400, "InvalidArgumentException"},
		{"no data", "Kinesis_20131202.PutRecords", amzJSON, `{"StreamName":"orders","Records":[{"Data":null,"PartitionKey":"k"}]}`, 400, "ValidationException"},
		{"no key", "Kinesis_20131202.PutRecord", amzJSON, `{"StreamName":"orders","Data":"eA=="}`, 400, "ValidationException"},
		{"no iterator type", "Kinesis_20131202.GetShardIterator", amzJSON, `{"StreamName":"orders","ShardId":"shardId-000000000000"}`, 400, "ValidationException"},
	} {
		status, body, header := post(t, r.Running, c.target, c.contentType, c.body)
		if status != c.status || !strings.Contains(body, `"__type":"`+c.errorType+`"`) || header.Get("X-Amzn-Errortype") != c.errorType {
			t.Errorf("%s: status %d, %s", c.name, status, body)
		}
		if header.Get("Content-Type") != amzJSON || header.Get("X-Amzn-Requestid") == "" {
			t.Errorf("%s: headers %v", c.name, header)
		}
	}
}

func TestOtherEncodersAreUnderstood(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	status, body, _ := post(t, r.Running, "Kinesis_20131202.PutRecords", "application/x-amz-json-1.1; charset=utf-8",
		`{ "Unknown": {"a":[1]}, "Records" : [ {"PartitionKey":"\u00e9","Extra":null,"Data":"\/+8=","ExplicitHashKey":null} ], "StreamName":"orders", "StreamARN":null }`)
	if status != 200 {
		t.Fatal(body)
	}
	got := r.get(r.horizon("orders")).Records
	if len(got) != 1 || *got[0].PartitionKey != "é" || !bytes.Equal(got[0].Data, []byte{0xff, 0xef}) {
		t.Errorf("read %+v", got)
	}
}
