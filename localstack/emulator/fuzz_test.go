package emulator

import (
	"context"
	"fmt"
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
	f.Add("SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-000000000001","NewStartingHashKey":"340282366920938463463374607431768211455"}`)
	f.Add("MergeShards", `{"StreamName":"s","ShardToMerge":"shardId-000000000001","AdjacentShardToMerge":"shardId-000000000000"}`)
	f.Add("UpdateShardCount", `{"StreamName":"s","TargetShardCount":3,"ScalingType":"UNIFORM_SCALING"}`)
	f.Add("DecreaseStreamRetentionPeriod", `{"StreamName":"s","RetentionPeriodHours":-9223372036854775808}`)
	f.Add("IncreaseStreamRetentionPeriod", `{"StreamName":"s","RetentionPeriodHours":8760}`)
	s := New(Config{Unlimited: true, UpdateTime: -1})
	if err := s.add("s", &state{retention: s.config.Retention, maxRecord: minRecordKiB << 10}, 2); err != nil {
		f.Fatal(err)
	}
	c, err := s.addConsumer(s.streams["s"], "c")
	if err != nil {
		f.Fatal(err)
	}
	stream := s.arn("s")
	f.Add("UpdateStreamMode", fmt.Sprintf(`{"StreamARN":%q,"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`, stream))
	f.Add("UpdateStreamRecordDistributionStrategy", fmt.Sprintf(`{"StreamARN":%q,"RecordDistributionStrategy":"AUTO"}`, stream))
	f.Add("ListStreamConsumers", fmt.Sprintf(`{"StreamARN":%q,"MaxResults":1}`, stream))
	f.Add("DescribeStreamConsumer", fmt.Sprintf(`{"ConsumerARN":%q}`, c.ConsumerARN))
	f.Add(subscribeAction, fmt.Sprintf(`{"ConsumerARN":%q,"ShardId":"shardId-000000000000","StartingPosition":{"Type":"LATEST"}}`, c.ConsumerARN))
	gone, leave := context.WithCancel(f.Context()) // a client that gives up ends a subscription at its first event
	leave()
	f.Fuzz(func(t *testing.T, action, body string) {
		if action == "DeleteStream" {
			return // of the one stream that the other actions need
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", targetPrefix+action)
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if cut := recover(); cut != nil && cut != http.ErrAbortHandler {
					panic(cut)
				}
			}()
			s.ServeHTTP(w, r.WithContext(gone))
		}()
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}
