package emulator

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzRequest: no body brings the server to a panic or to an internal failure.
func FuzzRequest(f *testing.F) {
	for action := range actions {
		f.Add(action, `{}`)
		f.Add(action, `{"StreamName":"s","Limit":3}`)
	}
	f.Add("PutRecords", `{"StreamName":"s","Records":[{"Data":"eA==","PartitionKey":"k","ExplicitHashKey":"7"}]}`)
	f.Add("PutRecords", `{"Records":[{"Data":"\/+8=","PartitionKey":"\u00e9"},{}],"DryRun":true,"StreamARN":null}`)
	f.Add("PutRecords", `{"StreamName":"s","Records":[{"Data":7,"PartitionKey":"k"}]}`)
	f.Add("PutRecord", `{"StreamName":"s","Data":"eA==","PartitionKey":"k","ExplicitHashKey":7}`)
	f.Add("GetShardIterator", `{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"AT_TIMESTAMP","Timestamp":-1e300}`)
	f.Add("GetShardIterator", `{"StreamName":"s","ShardId":"shardId-000000000001","ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"49"}`)
	f.Add("ListShards", `{"StreamName":"s","ShardFilter":{"Type":"AFTER_SHARD_ID","ShardId":"shardId-004294967295"}}`)
	f.Add("CreateStream", `{"StreamName":"t","ShardCount":2}`)
	s := New(Config{})
	if err := s.add(&stream{name: "s", arn: s.arn("s"), retention: s.config.Retention, maxRecord: minRecordKiB << 10}, 2); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, action, body string) {
		if action == "DeleteStream" {
			return // of the one stream that the other actions need
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", targetPrefix+action)
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}
