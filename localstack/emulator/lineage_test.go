package emulator_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"pgregory.net/rapid"

	"penstock/localstack/emulator"
)

// arrived is a record as its writer knows it.
type arrived struct {
	key  string
	at   time.Time
	lost bool // past its retention at some change of it
}

// walk is what reading a whole stream along its lineage brings.
type walk struct {
	*rig
	stream string
	order  []string            // data, in the order read
	shards map[string][]string // sequence numbers by shard
	done   map[string]bool     // shards read to their end
}

// all reads each shard that is listed, parents before children, from its horizon to its end or to where it is up to date.
func (w *walk) all(limit int32) {
	w.Helper()
	listed := listAll(w.rig, w.stream, nil)
	children(w.T, listed)
	for _, sh := range listed { // indices rise from parent to child
		for _, parent := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
			if parent != nil && known(listed, parent) && !w.done[*parent] {
				w.Fatalf("%s is listed before its parent %s", *sh.ShardId, *parent)
			}
		}
		w.one(sh, limit)
	}
}

func known(listed []types.Shard, id *string) bool {
	return id == nil || slices.ContainsFunc(listed, func(sh types.Shard) bool { return *sh.ShardId == *id })
}

func (w *walk) one(sh types.Shard, limit int32) {
	w.Helper()
	open := sh.SequenceNumberRange.EndingSequenceNumber == nil
	for iterator := w.horizonOf(w.stream, *sh.ShardId); ; {
		out, err := w.client.GetRecords(w.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator, Limit: &limit})
		must(w.T, err)
		for _, record := range out.Records {
			w.order = append(w.order, string(record.Data))
			w.shards[*sh.ShardId] = append(w.shards[*sh.ShardId], *record.SequenceNumber)
		}
		if ended := out.NextShardIterator == nil; ended != (len(out.ChildShards) > 0) || ended && open {
			w.Fatalf("%s, open %t, answers with children %q", *sh.ShardId, open, childIDs(out.ChildShards))
		} else if ended {
			w.done[*sh.ShardId] = true
			return
		}
		if open && *out.MillisBehindLatest == 0 {
			return
		}
		iterator = *out.NextShardIterator
	}
}

// Whatever is put, split, merged, scaled, awaited and trimmed: walking the lineage from the horizon brings each record that is not
// past its retention once, a key's in their order, with rising numbers, and at any time the open shards cover all hash keys once.
func TestEveryRecordIsReadOnceAlongTheLineage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"put", "put", "put", "split", "split", "merge", "scale", "wait", "longer", "shorter", "walk"}), 1, 20).Draw(rt, "steps")
		shards := rapid.IntRange(1, 3).Draw(rt, "shards")
		choices := rapid.SliceOfN(rapid.IntRange(0, 1<<20), 64, 64).Draw(rt, "choices")
		at := 0
		pick := func(n int) int {
			at++
			return choices[at%len(choices)] % n
		}
		synctest.Test(t, func(t *testing.T) {
			r := startInBubble(t, emulator.Config{Retention: 48 * time.Hour, ShardLimit: 1000})
			r.create("orders", int32(shards))
			h := &resharded{rig: r, retention: 48 * time.Hour}
			for _, step := range append(steps, "walk") {
				h.step(step, pick)
				ring(t, listAll(r, "orders", nil))
				time.Sleep(updateTime)
			}
		})
	})
}

// resharded is what a stream should hold, kept by the simplest means.
type resharded struct {
	*rig
	retention time.Duration
	records   []arrived
}

func (h *resharded) open() []types.Shard {
	return slices.DeleteFunc(listAll(h.rig, "orders", nil), func(sh types.Shard) bool { return sh.SequenceNumberRange.EndingSequenceNumber != nil })
}

func (h *resharded) step(step string, pick func(int) int) {
	h.Helper()
	switch step {
	case "put":
		in := &kinesis.PutRecordsInput{StreamName: aws.String("orders")}
		for range 1 + pick(60) {
			key := fmt.Sprint("key-", pick(30))
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: fmt.Append(nil, len(h.records))})
			h.records = append(h.records, arrived{key: key, at: time.Now()})
		}
		out, err := h.client.PutRecords(h.Context(), in)
		if err != nil || *out.FailedRecordCount != 0 {
			h.Fatalf("put: %v", err)
		}
	case "split":
		open := h.open()
		sh := open[pick(len(open))]
		from, to := toInt(*sh.HashKeyRange.StartingHashKey), toInt(*sh.HashKeyRange.EndingHashKey)
		middle := from.Add(from, to).Rsh(from, 1)
		if err := h.trySplit("orders", *sh.ShardId, middle.String()); err != nil {
			h.Fatal(err)
		}
	case "merge":
		open := h.open()
		slices.SortFunc(open, func(a, b types.Shard) int {
			return toInt(*a.HashKeyRange.StartingHashKey).Cmp(toInt(*b.HashKeyRange.StartingHashKey))
		})
		if len(open) > 1 {
			i := pick(len(open) - 1)
			h.merge("orders", *open[i].ShardId, *open[i+1].ShardId)
		}
	case "scale":
		n := len(h.open())
		must(h.T, h.rescale("orders", int32((n+1)/2+pick(2*n-(n+1)/2+1))))
	case "wait":
		time.Sleep(time.Duration(pick(40)) * time.Hour)
	case "longer":
		if h.retention < 240*time.Hour {
			h.retain(h.retention+24*time.Hour, h.retainLonger)
		}
	case "shorter":
		if h.retention > 24*time.Hour {
			h.retain(h.retention-24*time.Hour, h.retainShorter)
		}
	case "walk":
		h.walk(int32(1 + pick(100)))
	}
}

func (h *resharded) retain(retention time.Duration, change func(string, int32) error) {
	h.Helper()
	must(h.T, change("orders", int32(retention/time.Hour)))
	for i, a := range h.records {
		h.records[i].lost = a.lost || time.Since(a.at) > min(h.retention, retention)
	}
	h.retention = retention
}

func (h *resharded) walk(limit int32) {
	h.Helper()
	w := &walk{rig: h.rig, stream: "orders", shards: map[string][]string{}, done: map[string]bool{}}
	w.all(limit)
	last, seen := map[string]int{}, map[int]bool{}
	for _, data := range w.order {
		i := int(toInt(data).Int64())
		if key := h.records[i].key; seen[i] || last[key] > i {
			h.Fatalf("record %d of %s was read after %d, before: %t", i, key, last[key], seen[i])
		} else {
			last[key], seen[i] = i, true
		}
	}
	for i, a := range h.records {
		if kept := !a.lost && time.Since(a.at) <= h.retention; kept != seen[i] {
			h.Fatalf("record %d, %s old, lost at a change of the retention: %t; read: %t", i, time.Since(a.at), a.lost, seen[i])
		}
	}
	for shard, numbers := range w.shards {
		if !slices.IsSortedFunc(numbers, func(a, b string) int { return toInt(a).Cmp(toInt(b)) }) {
			h.Fatalf("numbers of %s do not rise", shard)
		}
	}
}

// Writers that know nothing of it, while the stream is scaled up and down under them: no record is lost, none comes twice, and the
// records of one key are in their writer's order along the lineage.
func TestWritersDoNotNoticeAReshard(t *testing.T) {
	const writers, batches, batch = 4, 60, 20
	r := start(t, emulator.Config{})
	r.create("orders", 2)
	var wg sync.WaitGroup
	for writer := range writers {
		wg.Go(func() {
			for b := range batches {
				in := &kinesis.PutRecordsInput{StreamName: aws.String("orders")}
				for i := range batch {
					in.Records = append(in.Records, types.PutRecordsRequestEntry{
						PartitionKey: aws.String(fmt.Sprint(writer)), Data: fmt.Append(nil, (writer*batches+b)*batch+i)})
				}
				if out, err := r.client.PutRecords(t.Context(), in); err != nil || *out.FailedRecordCount != 0 {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for _, n := range []int{4, 8, 3, 1, 16, 5, 2, 7, 1, 9} {
			if err := r.Scale("orders", n); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	w := &walk{rig: r, stream: "orders", shards: map[string][]string{}, done: map[string]bool{}}
	w.all(10_000)
	next := map[int]int{}
	for _, data := range w.order {
		i := int(toInt(data).Int64())
		writer := i / (batches * batch)
		if want := writer*batches*batch + next[writer]; i != want {
			t.Fatalf("writer %d: read %d, want %d", writer, i, want)
		}
		next[writer]++
	}
	if len(w.order) != writers*batches*batch {
		t.Errorf("%d of %d records read", len(w.order), writers*batches*batch)
	}
}
