package e2e

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"google.golang.org/protobuf/encoding/protowire"

	"penstock/localstack/shop"
	"penstock/localstack/stacktest"
)

// aggregateOf puts events together as the Kinesis Producer Library does: magic, a message with a table of keys and the
// records, and its MD5.
func aggregateOf(events []shop.Event) []byte {
	var message []byte
	for _, e := range events {
		message = protowire.AppendString(protowire.AppendTag(message, 1, protowire.BytesType), e.OrderID)
	}
	for i, e := range events {
		record := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(i))
		record = protowire.AppendBytes(protowire.AppendTag(record, 3, protowire.BytesType), e.Payload)
		message = protowire.AppendBytes(protowire.AppendTag(message, 3, protowire.BytesType), record)
	}
	sum := md5.Sum(message)
	return bytes.Join([][]byte{{0xf3, 0x89, 0x9a, 0xc2}, message, sum[:]}, nil)
}

// Producers that aggregate are like all others: every event is applied or parked by itself, whichever shard its key
// belongs to, and a checkpoint never stops within an aggregate. A crash in the middle repeats, and loses nothing.
func TestAggregatesAreTakenApart(t *testing.T) {
	t.Parallel()
	stacktest.Require(t)
	s := site(t, 2, nil, "PENSTOCK_LEASES_FAILOVER="+failover.String())
	setup(t, s)
	ctx := within(t, 2*time.Minute, "aggregates")
	generator := orders(t, 300, 31, 0.05)
	put := func(data []byte) {
		if _, err := s.Kinesis().PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &s.Name, Data: data, PartitionKey: aws.String(fmt.Sprint(len(data)))}); err != nil {
			t.Fatal(err)
		}
	}
	events := slices.Collect(generator.Events())
	fleet := &Fleet{Site: s, Shards: 2}
	defer fleet.Kill()
	first, err := fleet.Start(ctx, "first")
	if err != nil {
		t.Fatal(err)
	}
	half := len(events) / 2
	for chunk := range slices.Chunk(events[:half], 40) {
		put(aggregateOf(chunk))
	}
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool { return scrapes[0].Applied > int64(half)/4 }); err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.Crash(ctx, first); err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.Start(ctx, "second"); err != nil {
		t.Fatal(err)
	}
	for chunk := range slices.Chunk(events[half:], 40) {
		put(aggregateOf(chunk))
	}
	if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
		t.Fatal(err)
	}
	check(t, s, shop.NewOracle(generator.Events(), func(string) bool { return true }))

	broken := aggregateOf(events[:3])
	broken[len(broken)-1] ^= 1
	put(broken)
	checkLetters(ctx, t, s, fleet, broken)
}

// checkLetters waits for the letter of an aggregate that cannot be taken apart.
func checkLetters(ctx context.Context, t *testing.T, s *Site, fleet *Fleet, broken []byte) {
	t.Helper()
	if err := fleet.Watch(ctx, func(scrapes []Scrape) bool {
		n := 0
		for letter, err := range s.Letters(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if letter.Code != "bad_aggregate" {
				continue
			}
			n++
			if letter.Stage != "deaggregate" || !bytes.Equal(letter.Payload, broken) || !strings.Contains(letter.Message, "MD5") {
				t.Errorf("letter %s: %s, %s, %d bytes", letter.Key, letter.Stage, letter.Message, len(letter.Payload))
			}
		}
		return n == 1
	}); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}
