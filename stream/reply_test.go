package stream

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
)

const oneRecord = `{"SequenceNumber":"1","ApproximateArrivalTimestamp":1795255200.123,"Data":"YWJj","PartitionKey":"key"}`

func TestRepliesAreDecoded(t *testing.T) {
	arrival := time.UnixMilli(1795255200123).UTC()
	for name, test := range map[string]struct {
		body string
		want Batch
		size int
	}{
		"a record": {
			`{"Records":[` + oneRecord + `],"NextShardIterator":"next","MillisBehindLatest":1500}`,
			Batch{Records: []Record{{Sequence: "1", PartitionKey: "key", Data: []byte("abc"), Arrival: arrival}}, Behind: 1500 * time.Millisecond, Known: true}, 6,
		},
		"the end": {
			`{"MillisBehindLatest":0,"Records":[` + oneRecord + `],"NextShardIterator":null,"ChildShards":[{"ShardId":"shardId-1"}]}`,
			Batch{Records: []Record{{Sequence: "1", PartitionKey: "key", Data: []byte("abc"), Arrival: arrival}}, Known: true, End: true, Children: []string{"shardId-1"}}, 6,
		},
		"members in any order, unknown ones, white space": {
			` { "More" : {"a":[1,2]} , "NextShardIterator" : "n" , "Records" : [ {"EncryptionType":"KMS", "Data":"" ,"ApproximateArrivalTimestamp":1.795255200123E9,"SequenceNumber":"1"} ] } `,
			Batch{Records: []Record{{Sequence: "1", Data: []byte{}, Arrival: arrival}}}, 0,
		},
		"escapes": {
			`{"Records":[{"SequenceNumber":"1","ApproximateArrivalTimestamp":1795255200.123,"Data":"\/w==","PartitionKey":"k\u00e9\n"}],"NextShardIterator":"a\/b"}`,
			Batch{Records: []Record{{Sequence: "1", PartitionKey: "ké\n", Data: []byte{0xff}, Arrival: arrival}}}, 5,
		},
		"nulls": {
			`{"Records":[{"SequenceNumber":"1","ApproximateArrivalTimestamp":1795255200.123,"Data":null,"PartitionKey":null}],"NextShardIterator":"n","MillisBehindLatest":null,"ChildShards":null}`,
			Batch{Records: []Record{{Sequence: "1", Arrival: arrival}}}, 0,
		},
		"no records": {`{"Records":null,"NextShardIterator":"n"}`, Batch{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var r reply
			if err := r.decode(bytes.NewBufferString(test.body)); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.want, r.batch()); d != "" || r.size != test.size {
				t.Errorf("%d bytes, want %d (-want +got):\n%s", r.size, test.size, d)
			}
		})
	}
}

// What is no whole answer is asked for again: nothing of it is handed out, and nothing is taken for the end of the shard.
func TestABrokenReplyIsAskedForAgain(t *testing.T) {
	for name, body := range map[string]string{
		"empty":                  ``,
		"no members":             `{}`,
		"cut":                    `{"NextShardIterator":"n","Records":[` + oneRecord,
		"an end without heirs":   `{"Records":[` + oneRecord + `],"NextShardIterator":null}`,
		"an end with no heirs":   `{"Records":[],"NextShardIterator":null,"ChildShards":[ ]}`,
		"no position":            `{"NextShardIterator":"n","Records":[{"ApproximateArrivalTimestamp":1,"Data":""}]}`,
		"no arrival":             `{"NextShardIterator":"n","Records":[{"SequenceNumber":"1","Data":""}]}`,
		"data that is no base64": `{"NextShardIterator":"n","Records":[{"SequenceNumber":"1","ApproximateArrivalTimestamp":1,"Data":"*"}]}`,
		"data that is no text":   `{"NextShardIterator":"n","Records":[{"SequenceNumber":"1","ApproximateArrivalTimestamp":1,"Data":7}]}`,
		"a position in numbers":  `{"NextShardIterator":"n","Records":[{"SequenceNumber":1,"ApproximateArrivalTimestamp":1}]}`,
		"records in an object":   `{"NextShardIterator":"n","Records":{}}`,
		"a list":                 `[]`,
		"a page of a proxy":      `<html>busy</html>`,
	} {
		t.Run(name, func(t *testing.T) {
			answers := []string{`{"ShardIterator":"first"}`, body, `{"NextShardIterator":"n","Records":[` + oneRecord + `]}`}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.Copy(w, strings.NewReader(answers[0]))
				answers = answers[1:]
			}))
			defer server.Close()
			s := New(aws.Config{Region: "eu-central-1", BaseEndpoint: aws.String(server.URL),
				Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}, "orders", zap.NewNop())
			reader := s.Reader(Shard{ID: "shardId-0"}, "", Start{})
			first, err := reader.Next(t.Context(), 10)
			if err != nil || first.End || len(first.Records) != 0 {
				t.Fatalf("got %+v, %v, want an empty batch", first, err)
			}
			second, err := reader.Next(t.Context(), 10)
			if err != nil || len(second.Records) != 1 || string(second.Records[0].Data) != "abc" {
				t.Errorf("then got %+v, %v", second, err)
			}
		})
	}
}

func FuzzRepliesNeverPanic(f *testing.F) {
	f.Add([]byte(`{"Records":[` + oneRecord + `],"NextShardIterator":"next","MillisBehindLatest":1500,"ChildShards":[1]}`))
	f.Add([]byte(`{"Records":[{"Data":"\u0041"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var r reply
		if err := r.decode(bytes.NewBuffer(body)); err != nil {
			return
		}
		for _, record := range r.batch().Records {
			if record.Sequence == "" || record.Arrival.IsZero() {
				t.Errorf("handed out %+v", record)
			}
		}
	})
}
