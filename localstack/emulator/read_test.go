package emulator_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

func TestIteratorTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		start := *listAll(r, "orders", nil)[0].SequenceNumberRange.StartingSequenceNumber
		begun := time.Now()
		var numbers []string
		for i := range 5 {
			time.Sleep(time.Second) // records 0 … 4 arrive at 1 s … 5 s
			numbers = append(numbers, r.put("orders", "k", fmt.Append(nil, i)))
		}
		at := func(kind types.ShardIteratorType, number string) kinesis.GetShardIteratorInput {
			return kinesis.GetShardIteratorInput{ShardIteratorType: kind, StartingSequenceNumber: &number}
		}
		arrived := func(after time.Duration) kinesis.GetShardIteratorInput {
			return kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: new(begun.Add(after))}
		}
		for _, c := range []struct {
			name string
			in   kinesis.GetShardIteratorInput
			want string
		}{
			{"horizon", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon}, "[0 1 2 3 4]"},
			{"latest", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeLatest}, "[]"},
			{"at start", at(types.ShardIteratorTypeAtSequenceNumber, start), "[0 1 2 3 4]"},
			{"after start", at(types.ShardIteratorTypeAfterSequenceNumber, start), "[0 1 2 3 4]"},
			{"at first", at(types.ShardIteratorTypeAtSequenceNumber, numbers[0]), "[0 1 2 3 4]"},
			{"after first", at(types.ShardIteratorTypeAfterSequenceNumber, numbers[0]), "[1 2 3 4]"},
			{"at last", at(types.ShardIteratorTypeAtSequenceNumber, numbers[4]), "[4]"},
			{"after last", at(types.ShardIteratorTypeAfterSequenceNumber, numbers[4]), "[]"},
			{"before all", arrived(-time.Hour), "[0 1 2 3 4]"},
			{"at a time", arrived(3 * time.Second), "[2 3 4]"},
			{"between times", arrived(3*time.Second + time.Millisecond), "[3 4]"},
		} {
			c.in.StreamName = aws.String("orders")
			if got := fmt.Sprint(r.data(r.iterator(c.in))); got != c.want {
				t.Errorf("%s: read %s, want %s", c.name, got, c.want)
			}
		}
	})
}

func TestLatestReadsWhatComesAfterTheIterator(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	r.putMany("orders", 3)
	latest := r.iterator(kinesis.GetShardIteratorInput{StreamName: aws.String("orders"), ShardIteratorType: types.ShardIteratorTypeLatest})
	r.put("orders", "k", []byte("new"))
	if got := fmt.Sprint(r.data(latest)); got != "[new]" {
		t.Errorf("read %s", got)
	}
}

func TestIteratorRefusals(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 2)
	r.create("other", 1)
	ours := r.put("orders", "k", []byte("x"))
	theirs := r.put("other", "k", []byte("x"))
	shards := listAll(r, "orders", nil)
	foreign := *shards[0].SequenceNumberRange.StartingSequenceNumber
	seq := func(number string) kinesis.GetShardIteratorInput {
		return kinesis.GetShardIteratorInput{ShardId: shards[1].ShardId, ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: &number}
	}
	last := ours[:len(ours)-1] + string('0'+(ours[len(ours)-1]-'0'+1)%10)
	for name, in := range map[string]kinesis.GetShardIteratorInput{
		"of another shard":  seq(foreign),
		"of another stream": seq(theirs),
		"garbage":           seq("garbage"),
		"empty":             seq(""),
		"zero":              seq("0"),
		"SHARD_END":         seq("SHARD_END"),
		"leading zero":      seq("0" + ours),
		"too long":          seq(ours + ours),
		"altered":           seq(last),
		"future":            {ShardId: shards[0].ShardId, ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: new(time.Now().Add(time.Hour))},
		"no time":           {ShardId: shards[0].ShardId, ShardIteratorType: types.ShardIteratorTypeAtTimestamp},
	} {
		in.StreamName = aws.String("orders")
		_, err := r.client.GetShardIterator(t.Context(), &in)
		t.Run(name, func(t *testing.T) { typed[*types.InvalidArgumentException](t, err) })
	}
	for _, shard := range []string{"shardId-000000000002", "shardId-1", "shard", "shardId-000000000000x", "shardId-999999999999"} {
		_, err := r.client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
			StreamName: aws.String("orders"), ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeLatest})
		typed[*types.ResourceNotFoundException](t, err)
	}
	get := func(iterator string, limit int32) error {
		_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator, Limit: &limit})
		return err
	}
	typed[*types.InvalidArgumentException](t, get("garbage", 1))
	typed[*types.InvalidArgumentException](t, get("", 1))
	typed[*types.InvalidArgumentException](t, get(r.horizon("orders"), 0))
	typed[*types.InvalidArgumentException](t, get(r.horizon("orders"), 10_001))
	r2 := start(t, emulator.Config{})
	r2.create("orders", 2)
	typed[*types.InvalidArgumentException](t, get(r2.horizon("orders"), 1)) // of another server
	_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{
		ShardIterator: aws.String(r.horizon("orders")), StreamARN: aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/other")})
	typed[*types.InvalidArgumentException](t, err)
}

func TestIteratorsLeadThroughTheShardAndMayBeUsedAgain(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	const n = 1300 // more than five chunks of the log
	for range n / 100 {
		r.putMany("orders", 100)
	}
	for _, limit := range []int32{1, 99, 256, 1000, 10_000} {
		var numbers []string
		iterator := r.horizon("orders")
		for len(numbers) < n {
			in := &kinesis.GetRecordsInput{ShardIterator: &iterator, Limit: &limit}
			out, err := r.client.GetRecords(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Records) != min(int(limit), n-len(numbers)) {
				t.Fatalf("limit %d: %d records after %d", limit, len(out.Records), len(numbers))
			}
			again, err := r.client.GetRecords(t.Context(), in)
			if err != nil || len(again.Records) != len(out.Records) || *again.Records[0].SequenceNumber != *out.Records[0].SequenceNumber {
				t.Fatalf("limit %d: same iterator, other answer: %v", limit, err)
			}
			for _, record := range out.Records {
				if want := fmt.Sprint(len(numbers) % 100); string(record.Data) != want {
					t.Fatalf("limit %d: record %d is %s, want %s", limit, len(numbers), record.Data, want)
				}
				numbers = append(numbers, *record.SequenceNumber)
			}
			if waiting := len(numbers) < n; waiting != (*out.MillisBehindLatest > 0) {
				t.Fatalf("limit %d: %d ms behind after %d of %d", limit, *out.MillisBehindLatest, len(numbers), n)
			}
			iterator = *out.NextShardIterator
			if limit == 1 && len(numbers) == 300 {
				break
			}
		}
		if !slices.IsSorted(numbers) {
			t.Errorf("limit %d: sequence numbers fall", limit)
		}
	}
}

func TestMillisBehindLatestIsTheAgeOfTheLastRecordReadAndZeroOnlyAtTheTip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		r.putMany("orders", 2)
		time.Sleep(10 * time.Second)
		r.putMany("orders", 1)
		iterator := r.horizon("orders")
		for i, want := range []int64{10_000, 10_000, 0, 0} {
			out, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator, Limit: aws.Int32(1)})
			if err != nil {
				t.Fatal(err)
			}
			if *out.MillisBehindLatest != want {
				t.Errorf("read %d: %d ms behind, want %d", i, *out.MillisBehindLatest, want)
			}
			iterator = *out.NextShardIterator
		}
		// Two records of one millisecond: the second waits, although the first is no older than now.
		r.putMany("orders", 2)
		out, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator, Limit: aws.Int32(1)})
		if err != nil || *out.MillisBehindLatest != 1 {
			t.Errorf("one of two young records read: %d ms behind, %v", *out.MillisBehindLatest, err)
		}
	})
}

func TestIteratorExpiresAfterFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		r.putMany("orders", 3)
		iterator := r.horizon("orders")
		time.Sleep(5 * time.Minute)
		next := *r.get(iterator).NextShardIterator
		time.Sleep(time.Millisecond)
		_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
		typed[*types.ExpiredIteratorException](t, err)
		if out := r.get(next); len(out.Records) != 0 {
			t.Errorf("the next iterator counts from its own issue: %d records", len(out.Records))
		}
	})
}

func TestRecordsGoAtTheEndOfTheirRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		old := r.putMany("orders", 400)
		time.Sleep(12 * time.Hour)
		young := r.putMany("orders", 400)
		time.Sleep(12 * time.Hour)
		if n := len(r.get(r.horizon("orders")).Records); n != 800 {
			t.Errorf("at 24 h: %d records, want 800", n)
		}
		time.Sleep(time.Millisecond)
		for name, iterator := range map[string]string{
			"horizon":                   r.horizon("orders"),
			"after a trimmed record":    r.after("orders", old[7]),
			"after the last trimmed":    r.after("orders", old[399]),
			"at a time long gone":       r.iterator(kinesis.GetShardIteratorInput{StreamName: aws.String("orders"), ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: new(time.Now().Add(-30 * time.Hour))}),
			"after the starting number": r.after("orders", *listAll(r, "orders", nil)[0].SequenceNumberRange.StartingSequenceNumber),
		} {
			out := r.get(iterator)
			if len(out.Records) != 400 || *out.Records[0].SequenceNumber != young[0] {
				t.Errorf("%s: %d records", name, len(out.Records))
			}
		}
		time.Sleep(12 * time.Hour)
		empty := r.get(r.after("orders", young[399]))
		if len(empty.Records) != 0 || *empty.MillisBehindLatest != 0 {
			t.Errorf("all trimmed: %d records, %d ms behind", len(empty.Records), *empty.MillisBehindLatest)
		}
		r.put("orders", "k", []byte("new"))
		if got := fmt.Sprint(r.data(*empty.NextShardIterator)); got != "[new]" {
			t.Errorf("after all was trimmed: %s", got)
		}
	})
}

func TestTokensNameTheStreamsIncarnation(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 2)
	iterator := r.horizon("orders")
	number := r.put("orders", "k", []byte("x"))
	page, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders"), MaxResults: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	r.delete("orders")
	for range 2 {
		_, err = r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
		typed[*types.ResourceNotFoundException](t, err)
		_, err = r.client.ListShards(t.Context(), &kinesis.ListShardsInput{NextToken: page.NextToken})
		typed[*types.ResourceNotFoundException](t, err)
		r.create("orders", 2) // under the old name, another stream
		for _, sh := range listAll(r, "orders", nil) {
			_, err = r.client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String("orders"),
				ShardId: sh.ShardId, ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: &number})
			typed[*types.InvalidArgumentException](t, err)
		}
		r.delete("orders")
	}
}
