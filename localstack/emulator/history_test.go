package emulator_test

import (
	"fmt"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"pgregory.net/rapid"

	"penstock/localstack/emulator"
)

// history is what a stream of the server should hold, kept by the simplest means.
type history struct {
	*rig
	seen   map[string]bool     // every sequence number ever given
	shards map[string][]string // per shard of the present stream, the numbers of its records
	kept   map[string][]time.Time
}

func (h *history) create(shards int) {
	h.rig.create("orders", int32(shards))
	h.shards, h.kept = map[string][]string{}, map[string][]time.Time{}
	for _, sh := range listAll(h.rig, "orders", nil) {
		start := *sh.SequenceNumberRange.StartingSequenceNumber
		h.give(start)
		h.shards[*sh.ShardId] = []string{start}
		h.kept[*sh.ShardId] = []time.Time{{}}
	}
}

func (h *history) give(number string) {
	if h.seen[number] {
		h.Fatalf("sequence number %s was given twice", number)
	}
	h.seen[number] = true
}

func (h *history) put(n int) {
	in := &kinesis.PutRecordsInput{StreamName: aws.String("orders")}
	for range n {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint(len(h.seen), len(in.Records))), Data: []byte("x")})
	}
	out, err := h.client.PutRecords(h.Context(), in)
	if err != nil {
		h.Fatal(err)
	}
	for _, e := range out.Records {
		h.give(*e.SequenceNumber)
		numbers := h.shards[*e.ShardId]
		if toInt(*e.SequenceNumber).Cmp(toInt(numbers[len(numbers)-1])) <= 0 {
			h.Fatalf("%s follows %s in %s", *e.SequenceNumber, numbers[len(numbers)-1], *e.ShardId)
		}
		h.shards[*e.ShardId] = append(numbers, *e.SequenceNumber)
		h.kept[*e.ShardId] = append(h.kept[*e.ShardId], time.Now())
	}
}

// check reads every shard after one of its numbers and compares.
func (h *history) check(retention time.Duration, pick func(n int) int) {
	for shard, numbers := range h.shards {
		from := pick(len(numbers))
		want := []string{}
		for i := from + 1; i < len(numbers); i++ {
			if time.Since(h.kept[shard][i]) <= retention {
				want = append(want, numbers[i])
			}
		}
		got := []string{}
		iterator := h.iterator(kinesis.GetShardIteratorInput{StreamName: aws.String("orders"), ShardId: &shard,
			ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: &numbers[from]})
		for behind := int64(1); behind > 0; {
			out, err := h.client.GetRecords(h.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator, Limit: aws.Int32(int32(1 + pick(400)))})
			if err != nil {
				h.Fatal(err)
			}
			for _, record := range out.Records {
				got = append(got, *record.SequenceNumber)
			}
			iterator, behind = *out.NextShardIterator, *out.MillisBehindLatest
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			h.Fatalf("%s after %d of %d: read %d records, want %d", shard, from, len(numbers), len(got), len(want))
		}
	}
}

func toInt(number string) *big.Int {
	n, ok := new(big.Int).SetString(number, 10)
	if !ok {
		panic("not a number: " + number)
	}
	return n
}

// Whatever is created, written, deleted and awaited: every number is given once, numbers rise in each shard, and reading after any
// number gives exactly what followed it and is not past its retention.
func TestEveryHistoryIsReadAsItWasWritten(t *testing.T) {
	const retention = 2 * time.Hour
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"put", "put", "put", "check", "wait", "recreate"}), 1, 15).Draw(rt, "steps")
		shards := rapid.IntRange(1, 3).Draw(rt, "shards")
		choices := rapid.SliceOfN(rapid.IntRange(0, 1<<20), 32, 32).Draw(rt, "choices")
		at := 0
		pick := func(n int) int {
			at++
			return choices[at%len(choices)] % n
		}
		synctest.Test(t, func(t *testing.T) {
			h := &history{rig: startInBubble(t, emulator.Config{Retention: retention}), seen: map[string]bool{}}
			h.create(shards)
			for _, step := range append(steps, "check") {
				switch step {
				case "put":
					h.put(1 + pick(300))
				case "check":
					h.check(retention, pick)
				case "wait":
					time.Sleep(time.Duration(pick(100)) * time.Minute)
				case "recreate":
					h.delete("orders")
					h.create(shards)
				}
			}
		})
	})
}
