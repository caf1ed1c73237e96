package emulator_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

func TestReadsBeyondTheQuotaOfCallsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota})
		r.create("orders", 2)
		iterator := r.horizon("orders")
		get := func() error {
			_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
			return err
		}
		for i := range 5 {
			if err := get(); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		typed[*types.ProvisionedThroughputExceededException](t, get())
		other := r.iterator(kinesis.GetShardIteratorInput{StreamName: aws.String("orders"), ShardId: aws.String("shardId-000000000001"),
			ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if out := r.get(other); out == nil {
			t.Error("the other shard has a quota of its own")
		}
		time.Sleep(500 * time.Millisecond) // one second after the first call
		if err := get(); err != nil {
			t.Error(err)
		}
		typed[*types.ProvisionedThroughputExceededException](t, get())
	})
}

func TestReadsBeyondTheQuotaOfBytesAreRefusedUntilPaidFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ReadQuota{BytesPerSecond: 1000}})
		r.create("orders", 1)
		iterator := r.horizon("orders")
		get := func() error {
			out, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
			if err == nil {
				iterator = *out.NextShardIterator
			}
			return err
		}
		r.put("orders", "k", make([]byte, 2499))
		if err := get(); err != nil { // 2.5 s of the quota, of which one in advance
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		typed[*types.ProvisionedThroughputExceededException](t, get())
		time.Sleep(time.Millisecond)
		for range 100 {
			if err := get(); err != nil { // calls that read nothing cost nothing
				t.Fatal(err)
			}
		}
	})
}

func TestReplyHoldsAtMostTenMiBAndThenTheShardRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ReadQuota{BytesPerSecond: 1 << 30}})
		r.create("orders", 1)
		const size = 1<<20 - 3
		for range 12 {
			r.put("orders", "key", make([]byte, size))
		}
		first := r.get(r.horizon("orders")) // leaves out the eleventh, with which it would exceed 10 MiB
		if len(first.Records) != 10 || *first.MillisBehindLatest == 0 {
			t.Errorf("%d records, %d ms behind", len(first.Records), *first.MillisBehindLatest)
		}
		time.Sleep(5*time.Second - time.Millisecond)
		_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: first.NextShardIterator})
		typed[*types.ProvisionedThroughputExceededException](t, err)
		time.Sleep(time.Millisecond)
		rest := r.get(*first.NextShardIterator)
		if len(rest.Records) != 2 || *rest.MillisBehindLatest != 0 {
			t.Errorf("%d records, %d ms behind", len(rest.Records), *rest.MillisBehindLatest)
		}
	})
}

// startLimited runs a server that New made, in a bubble.
func startLimited(t *testing.T, config emulator.Config) *rig {
	t.Helper()
	srv := emulator.ListenInMemory(context.WithoutCancel(t.Context()), emulator.New(config))
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return newRig(t, srv)
}

// tryPuts writes n records of size bytes each, keys counted, to the shard with a hash key in one call, and returns the entries.
func (r *rig) tryPuts(n, size int, hash string) []types.PutRecordsResultEntry {
	r.Helper()
	in := &kinesis.PutRecordsInput{StreamName: aws.String("orders")}
	for range n {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: make([]byte, size-1), ExplicitHashKey: &hash})
	}
	out, err := r.client.PutRecords(r.Context(), in)
	if err != nil {
		r.Fatal(err)
	}
	failed := int32(0)
	for _, e := range out.Records {
		if e.ErrorCode != nil {
			failed++
		}
	}
	if len(out.Records) != n || *out.FailedRecordCount != failed {
		r.Fatalf("%d entries for %d records, %d failed of %d counted", len(out.Records), n, failed, *out.FailedRecordCount)
	}
	return out.Records
}

func stored(entries []types.PutRecordsResultEntry) int {
	n := 0
	for _, e := range entries {
		if e.ErrorCode == nil {
			n++
		}
	}
	return n
}

func TestServersHaveTheServicesQuotasUnlessToldOtherwise(t *testing.T) {
	reads := emulator.ReadQuota{CallsPerSecond: 7}
	for _, c := range []struct {
		name          string
		start         func(*testing.T, emulator.Config) *rig
		config        emulator.Config
		calls, writes int // that pass at once, of 20 and of 1,500
	}{
		{"New", startLimited, emulator.Config{}, 5, 1000},
		{"New, other reads", startLimited, emulator.Config{ReadQuota: reads}, 7, 1000},
		{"New, unlimited", startLimited, emulator.Config{Unlimited: true}, 20, 1500},
		{"New, unlimited but for reads", startLimited, emulator.Config{Unlimited: true, ReadQuota: reads}, 7, 1500},
		{"StartInMemory", startInBubble, emulator.Config{}, 20, 1500},
		{"StartInMemory, both", startInBubble, emulator.Config{ReadQuota: reads, WriteQuota: emulator.ServiceWriteQuota}, 7, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := c.start(t, c.config)
				r.create("orders", 1)
				writes := 0
				for range 3 {
					writes += stored(r.tryPuts(500, 1, "0"))
				}
				iterator, calls := r.horizon("orders"), 0
				for range 20 {
					if _, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator, Limit: aws.Int32(1)}); err == nil {
						calls++
					}
				}
				if calls != c.calls || writes != c.writes {
					t.Errorf("%d reads and %d writes passed, want %d and %d", calls, writes, c.calls, c.writes)
				}
			})
		})
	}
}

func TestWritesBeyondTheQuotaOfRecordsFailAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startLimited(t, emulator.Config{})
		r.create("orders", 2)
		const low, high = "0", "340282366920938463463374607431768211455"
		if n := stored(r.tryPuts(500, 1, low)) + stored(r.tryPuts(500, 1, low)); n != 1000 {
			t.Fatalf("%d of the first 1000 stored", n)
		}
		out, err := r.client.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String("orders"), Records: []types.PutRecordsRequestEntry{
			{PartitionKey: aws.String("k"), Data: []byte("x"), ExplicitHashKey: aws.String(low)},
			{PartitionKey: aws.String("k"), Data: []byte("x"), ExplicitHashKey: aws.String(high)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		refused, other := out.Records[0], out.Records[1]
		if *out.FailedRecordCount != 1 || aws.ToString(refused.ErrorCode) != "ProvisionedThroughputExceededException" || refused.SequenceNumber != nil ||
			*refused.ErrorMessage != "Rate exceeded for shard shardId-000000000000 in stream orders under account 000000000000." {
			t.Errorf("refused record is %+v", refused)
		}
		if aws.ToString(other.ShardId) != "shardId-000000000001" || other.ErrorCode != nil {
			t.Errorf("the other shard has a quota of its own: %+v", other)
		}
		put := func() error {
			_, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("orders"),
				PartitionKey: aws.String("k"), Data: []byte("x"), ExplicitHashKey: aws.String(low)})
			return err
		}
		typed[*types.ProvisionedThroughputExceededException](t, put())
		time.Sleep(time.Millisecond) // a thousandth of the quota is back
		if err := put(); err != nil {
			t.Error(err)
		}
		typed[*types.ProvisionedThroughputExceededException](t, put())
		time.Sleep(time.Hour) // no more than a second's quota is ever saved up
		n := 0
		for range 3 {
			n += stored(r.tryPuts(500, 1, low))
		}
		if n != 1000 {
			t.Errorf("%d of 1500 stored after a rest", n)
		}
	})
}

func TestWritesBeyondTheQuotaOfBytesFailAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startLimited(t, emulator.Config{})
		r.create("orders", 1)
		if n := stored(r.tryPuts(5, 256<<10, "0")); n != 4 { // 1 MiB, keys counted
			t.Errorf("%d records of 256 KiB stored at once", n)
		}
		time.Sleep(500 * time.Millisecond)
		if n := stored(r.tryPuts(1, 600<<10, "0")); n != 0 {
			t.Error("600 KiB stored with 512 KiB of the quota left")
		}
		if n := stored(r.tryPuts(3, 256<<10, "0")); n != 2 { // the refused record cost nothing
			t.Errorf("%d records of 256 KiB stored into 512 KiB", n)
		}
	})
}

func TestLargeRecordTakesARestedShardAndItsNextSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startLimited(t, emulator.Config{})
		_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{
			StreamName: aws.String("orders"), ShardCount: aws.Int32(1), MaxRecordSizeInKiB: aws.Int32(10240)})
		if err != nil {
			t.Fatal(err)
		}
		put := func(size int) error {
			_, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{
				StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: make([]byte, size-1)})
			return err
		}
		if err := put(10 << 20); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Second)
		typed[*types.ProvisionedThroughputExceededException](t, put(100))
		time.Sleep(time.Millisecond)
		if err := put(100); err != nil {
			t.Error(err)
		}
		typed[*types.ProvisionedThroughputExceededException](t, put(10<<20))

		first := r.get(r.horizon("orders"))
		if len(first.Records) != 1 {
			t.Fatalf("%d records in a reply of 10 MiB", len(first.Records))
		}
		time.Sleep(5*time.Second - time.Millisecond)
		_, err = r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: first.NextShardIterator})
		typed[*types.ProvisionedThroughputExceededException](t, err)
		time.Sleep(time.Millisecond)
		if got := r.get(*first.NextShardIterator); len(got.Records) != 1 {
			t.Errorf("%d records after the large one", len(got.Records))
		}
	})
}

func TestReplyOfExactlyTenMiBIsFollowedByARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ReadQuota{BytesPerSecond: 1 << 30}})
		r.create("orders", 1)
		for range 10 {
			r.put("orders", "key", make([]byte, 1<<20-3))
		}
		first := r.get(r.horizon("orders"))
		if len(first.Records) != 10 || *first.MillisBehindLatest != 0 {
			t.Errorf("%d records, %d ms behind", len(first.Records), *first.MillisBehindLatest)
		}
		time.Sleep(5*time.Second - time.Millisecond)
		_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: first.NextShardIterator})
		typed[*types.ProvisionedThroughputExceededException](t, err)
		time.Sleep(time.Millisecond)
		r.get(*first.NextShardIterator)
	})
}

func TestIteratorsBeyondTheQuotaOfCallsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startLimited(t, emulator.Config{})
		r.create("orders", 1)
		for range 5 {
			r.horizon("orders")
		}
		_, err := r.client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String("orders"),
			ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		typed[*types.ProvisionedThroughputExceededException](t, err)
		time.Sleep(time.Second)
		r.get(r.horizon("orders"))
	})
}

// However writers press, what a shard takes in a time is a second's quota and what the time brings, and it is all of that.
func TestWritersTogetherGetTheQuotaAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startLimited(t, emulator.Config{})
		r.create("orders", 1)
		const writers, length = 4, 10 * time.Second
		var total atomic.Int64
		var wg sync.WaitGroup
		begun := time.Now()
		for range writers {
			wg.Go(func() {
				for time.Since(begun) < length {
					total.Add(int64(stored(r.tryPuts(100, 200, "0"))))
					time.Sleep(90 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if n := total.Load(); n > 11_000 || n < 10_800 {
			t.Errorf("%d records in %s, want up to 11000", n, length)
		}
	})
}
