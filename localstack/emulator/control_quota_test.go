package emulator_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

func TestCallsOfTheControlPlaneHaveTheirQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startLimited(t, emulator.Config{})
		r.create("orders", 1)
		r.create("others", 1)
		stream := func(name string) *string { return &name }
		for _, c := range []struct {
			name string
			call func(stream string) error
			want int
			each bool // stream has a quota of its own
		}{
			{"DescribeStream", func(s string) error {
				_, err := r.client.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: stream(s)})
				return err
			}, 10, false},
			{"DescribeStreamSummary", func(s string) error {
				_, err := r.client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: stream(s)})
				return err
			}, 20, false},
			{"ListStreams", func(string) error {
				_, err := r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
				return err
			}, 5, false},
			{"ListStreamConsumers", func(s string) error {
				_, err := r.client.ListStreamConsumers(t.Context(), &kinesis.ListStreamConsumersInput{StreamARN: aws.String(arnOf(s))})
				return err
			}, 5, true},
			{"ListShards", func(s string) error {
				_, err := r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: stream(s)})
				return err
			}, 1000, true},
		} {
			for range 2 { // a second later there is the whole quota again
				n := 0
				for n < 2000 && c.call("orders") == nil {
					n++
				}
				if n != c.want {
					t.Errorf("%s: %d calls passed at once, want %d", c.name, n, c.want)
				}
				typed[*types.LimitExceededException](t, c.call("orders"))
				if err := c.call("others"); (err == nil) != c.each {
					t.Errorf("%s: for another stream %v", c.name, err)
				}
				time.Sleep(time.Second)
			}
		}
	})
}

func TestOnlyNamedActionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ControlQuota: emulator.ControlQuota{"ListStreams": 2}})
		for i := range 20 {
			r.create(strings.Repeat("s", i+1), 1)
		}
		n := 0
		for ; n < 20; n++ {
			if _, err := r.client.ListStreams(t.Context(), &kinesis.ListStreamsInput{}); err != nil {
				break
			}
		}
		if n != 2 {
			t.Errorf("%d calls passed, want 2", n)
		}
	})
}

func TestSubscribingIsTriedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startLimited(t, emulator.Config{})
		r.create("orders", 2)
		consumer := r.register("orders", "view")
		wrong := fromAfter(aws.String("49"))
		try := func(shard string, from types.StartingPosition) error {
			_, err := r.trySubscribe(consumer, shard, from)
			return err
		}
		typed[*types.InvalidArgumentException](t, try(firstShard, wrong))
		typed[*types.LimitExceededException](t, try(firstShard, fromLatest))
		must(t, try("shardId-000000000001", fromLatest))
		time.Sleep(time.Second)
		must(t, try(firstShard, fromLatest))
		for range 2 { // this says more than that it is too soon
			typed[*types.ResourceInUseException](t, try(firstShard, fromLatest))
		}
	})
}

func TestAQuotaThatBoundsNothingIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		quota emulator.ControlQuota
		want  string
	}{
		"unknown action":    {emulator.ControlQuota{"ListShard": 5}, `"ListShard"`},
		"action on records": {emulator.ControlQuota{"GetRecords": 5}, `"GetRecords"`},
		"no call":           {emulator.ControlQuota{"ListShards": 0}, "0 calls per second of ListShards"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), c.want) {
					t.Errorf("panic with %v", err)
				}
			}()
			emulator.New(emulator.Config{ControlQuota: c.quota})
		})
	}
}
