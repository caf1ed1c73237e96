package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/google/go-cmp/cmp"

	"penstock/localstack/emulator"
	"penstock/localstack/shop"
)

func TestCorrectionsAreThoseOfTheRunWithTheSamePresent(t *testing.T) {
	stream := emulator.Start(t, emulator.Config{})
	client := kinesis.NewFromConfig(stream.AWS())
	if _, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: new("corrected"), ShardCount: new(int32(1))}); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KINESIS": stream.Endpoint, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
	} {
		t.Setenv(name, value)
	}
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	args := []string{"seed", "--stream", "corrected", "--orders", "120", "--seed", "7", "--damaged", "0.1", "--now", now.Format(time.RFC3339)}
	generator, err := shop.New(shop.Config{
		Seed: 7, Orders: 120, DamagedShare: 0.1, DuplicateShare: 0.02, DisplacedShare: 0.05, PlacedV2Share: 0.1, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	second := 0
	for e := range generator.Events() {
		want[string(e.Payload)]++
		if e.Schema == 2 {
			second++
		}
	}
	corrections := 0
	for e := range generator.Corrections() {
		want[string(e.Payload)]++
		corrections++
	}
	if second < 5 || corrections < 5 {
		t.Fatalf("%d events of the second schema version and %d corrections are too few", second, corrections)
	}

	if code, _, stderr := run(t, args...); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	code, stdout, stderr := run(t, append(args, "--corrections")...)
	if says := fmt.Sprintf("orders=120 events=%d records=%d\n", corrections, corrections); code != 0 || stdout != says {
		t.Fatalf("exit code %d: got %q, want %q: %s", code, stdout, says, stderr)
	}
	if diff := cmp.Diff(want, payloads(t, client, "corrected")); diff != "" {
		t.Errorf("payloads (-want +in the stream):\n%s", diff)
	}
}

// payloads reads a stream of one shard.
func payloads(t *testing.T, client *kinesis.Client, stream string) map[string]int {
	t.Helper()
	at, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: &stream, ShardId: new("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for iterator := at.ShardIterator; ; {
		answer, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: iterator})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range answer.Records {
			got[string(r.Data)]++
		}
		if len(answer.Records) == 0 && *answer.MillisBehindLatest == 0 {
			return got
		}
		iterator = answer.NextShardIterator
	}
}

func TestThePresentOfASeedIsHeldToItsRule(t *testing.T) {
	for says, args := range map[string][]string{
		"--corrections needs --now":                      {"--corrections"},
		`--now is "yesterday": must be an RFC 3339 time`: {"--now", "yesterday"},
		"share of placed v2 is 1.5, want 0 to 1":         {"--placed-v2", "1.5"},
	} {
		code, _, stderr := run(t, append([]string{"seed"}, args...)...)
		if code != 2 || !strings.Contains(stderr, says) {
			t.Errorf("%q: exit code %d, %q; want 2 and %q", args, code, stderr, says)
		}
	}
}
