package emulator_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"penstock/localstack/emulator"
)

// effect returns one that counts the calls it meets and lets them through.
func effect(met *int) emulator.Hook {
	return func(context.Context, emulator.Call) error { *met++; return nil }
}

// hits plays n calls of GetRecords to a script and draws each as x, answered with an error, or as a dot.
func hits(hook emulator.Hook, n int) string {
	var b strings.Builder
	for range n {
		if hook(context.Background(), emulator.Call{Action: "GetRecords"}) != nil {
			b.WriteByte('x')
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}

func TestFaultHitsTheCallsThatItSays(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault emulator.Fault
		want  string
	}{
		{"every call", emulator.Fault{}, "xxxxxxxx"},
		{"of its action", emulator.Fault{Action: "GetRecords"}, "xxxxxxxx"},
		{"not of another", emulator.Fault{Action: "PutRecords"}, "........"},
		{"a count", emulator.Fault{Count: 3}, "xxx....."},
		{"later", emulator.Fault{After: 3}, "...xxxxx"},
		{"a count later", emulator.Fault{After: 3, Count: 2}, "...xx..."},
		{"a share of all", emulator.Fault{Share: 1}, "xxxxxxxx"},
	} {
		c.fault.Effect = emulator.Cut
		if got := hits(emulator.Script(c.fault), 8); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestShareIsDrawnBySeed(t *testing.T) {
	play := func(seed uint64) string {
		return hits(emulator.Script(emulator.Fault{Share: 0.25, Seed: seed, Effect: emulator.Cut}), 4000)
	}
	once := play(7)
	if once != play(7) {
		t.Error("one seed, different calls hit")
	}
	if once == play(8) {
		t.Error("different seeds, the same calls hit")
	}
	if n := strings.Count(once, "x"); n < 900 || n > 1100 {
		t.Errorf("%d of 4000 calls hit, want about 1000", n)
	}
	few := hits(emulator.Script(emulator.Fault{Share: 0.25, Seed: 7, Count: 5, Effect: emulator.Cut}), 4000)
	if strings.Count(few, "x") != 5 || !strings.HasPrefix(once, few[:strings.LastIndex(few, "x")+1]) {
		t.Error("a count does not end the same share after five calls")
	}
	// Two faults with one seed do not draw alike, or one of them would never be met where the other lets through.
	var first, second, both int
	script := emulator.Script(
		emulator.Fault{Share: 0.5, Seed: 1, Effect: effect(&first)},
		emulator.Fault{Share: 0.5, Seed: 1, Effect: func(context.Context, emulator.Call) error { second++; both += first; return nil }},
	)
	for range 1000 {
		first = 0
		hits(script, 1)
	}
	if both == 0 || both == second {
		t.Errorf("of %d calls of the second fault %d met the first", second, both)
	}
}

func TestFaultsFollowEachOtherAndTheFirstAnswerStands(t *testing.T) {
	var delayed, after int
	script := emulator.Script(
		emulator.Fault{Effect: effect(&delayed)},
		emulator.Fault{Count: 2, Effect: emulator.Cut},
		emulator.Fault{Effect: emulator.Script(emulator.Fault{After: 1, Effect: effect(&after)})}, // a script is an effect
	)
	if got := hits(script, 6); got != "xx...." {
		t.Errorf("hit %s", got)
	}
	if delayed != 6 || after != 3 {
		t.Errorf("the first fault saw %d calls, the last %d, want 6 and 3", delayed, after)
	}
}

func TestCountHoldsForCallsAtOnce(t *testing.T) {
	script := emulator.Script(emulator.Fault{After: 50, Count: 100, Effect: emulator.Cut})
	var hit atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { hit.Add(int64(strings.Count(hits(script, 100), "x"))) })
	}
	wg.Wait()
	if hit.Load() != 100 {
		t.Errorf("%d calls hit, want 100", hit.Load())
	}
}

func TestEffectsAsTheClientMeetsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		put := func(ctx context.Context, e emulator.Hook) error {
			r.Intercept(emulator.Script(emulator.Fault{Action: "PutRecord", Effect: e}))
			defer r.Intercept(nil)
			_, err := r.client.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("orders"), PartitionKey: aws.String("k"), Data: []byte("x")})
			return err
		}
		typed[*types.ProvisionedThroughputExceededException](t, put(t.Context(), emulator.Throttle))
		typed[*types.AccessDeniedException](t, put(t.Context(), emulator.Deny))
		typed[*types.KMSThrottlingException](t, put(t.Context(), emulator.Refuse(&emulator.APIError{Type: "KMSThrottlingException"})))
		failed := put(t.Context(), emulator.Fail)
		code(t, failed, "InternalFailure")
		var response interface{ HTTPStatusCode() int }
		if !errors.As(failed, &response) || response.HTTPStatusCode() != 500 {
			t.Errorf("failed call: %v", failed)
		}
		for name, e := range map[string]emulator.Hook{"cut": emulator.Cut, "lose-answer": emulator.LoseAnswer} {
			err := put(t.Context(), e)
			if _, answered := errors.AsType[smithy.APIError](err); err == nil || answered {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := len(r.get(r.horizon("orders")).Records); n != 1 {
			t.Errorf("%d records, want only the one whose answer was lost", n)
		}

		begun := time.Now()
		if err := put(t.Context(), emulator.Delay(3*time.Second)); err != nil || time.Since(begun) != 3*time.Second {
			t.Errorf("delayed call: %v after %s", err, time.Since(begun))
		}
		for name, e := range map[string]emulator.Hook{"hang": emulator.Hang, "longer delay": emulator.Delay(time.Hour)} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			begun := time.Now()
			if err := put(ctx, e); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Minute {
				t.Errorf("%s: %v after %s", name, err, time.Since(begun))
			}
			cancel()
		}
		if n := len(r.get(r.horizon("orders")).Records); n != 2 {
			t.Errorf("%d records, want no more than the delayed one", n)
		}
	})
}

func TestEveryActionCanBeDeniedByItsName(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 2)
	consumer := r.register("orders", "view")
	name, arn, ctx := aws.String("orders"), aws.String(arnOf("orders")), t.Context()
	hours, shard, other := aws.Int32(48), aws.String("shardId-000000000000"), aws.String("shardId-000000000001")
	for action, call := range map[string]func() error{
		"DecreaseStreamRetentionPeriod": func() error { return r.retainShorter("orders", *hours) },
		"DeregisterStreamConsumer": func() error {
			_, err := r.client.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &consumer})
			return err
		},
		"DescribeStreamConsumer":        func() error { _, err := r.consumer(consumer); return err },
		"IncreaseStreamRetentionPeriod": func() error { return r.retainLonger("orders", *hours) },
		"ListStreamConsumers": func() error {
			_, err := r.client.ListStreamConsumers(ctx, &kinesis.ListStreamConsumersInput{StreamARN: arn})
			return err
		},
		"MergeShards":            func() error { return r.tryMerge("orders", *shard, *other) },
		"RegisterStreamConsumer": func() error { _, err := r.tryRegister("orders", "archive"); return err },
		"SplitShard":             func() error { return r.trySplit("orders", *shard, "1000") },
		"SubscribeToShard":       func() error { _, err := r.trySubscribe(consumer, *shard, fromLatest); return err },
		"UpdateMaxRecordSize": func() error {
			_, err := r.client.UpdateMaxRecordSize(ctx, &kinesis.UpdateMaxRecordSizeInput{StreamARN: arn, MaxRecordSizeInKiB: aws.Int32(2048)})
			return err
		},
		"UpdateShardCount":                       func() error { return r.rescale("orders", 3) },
		"UpdateStreamMode":                       func() error { return r.mode("orders", types.StreamModeOnDemand) },
		"UpdateStreamRecordDistributionStrategy": func() error { return r.distribute("orders", types.RecordDistributionStrategyAuto) },
		"DescribeStreamSummary": func() error {
			_, err := r.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name})
			return err
		},
	} {
		r.Intercept(emulator.Script(emulator.Fault{Action: action, Effect: emulator.Deny}))
		err := call()
		typed[*types.AccessDeniedException](t, err)
		if err == nil || !strings.Contains(err.Error(), "kinesis:"+action+" on resource: stream/orders ") {
			t.Errorf("%s: %v", action, err)
		}
	}
	r.Intercept(nil)
	if s := r.summary("orders"); *s.OpenShardCount != 2 || *s.ConsumerCount != 1 || *s.RetentionPeriodHours != 24 {
		t.Errorf("denied calls left %+v", s)
	}
}

func TestThrottleSpeaksAsTheActionDoes(t *testing.T) {
	r := start(t, emulator.Config{})
	r.create("orders", 1)
	iterator := r.horizon("orders")
	r.Intercept(emulator.Throttle)
	_, err := r.client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: &iterator})
	typed[*types.ProvisionedThroughputExceededException](t, err)
	_, err = r.client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("orders")})
	typed[*types.LimitExceededException](t, err)
}

func TestScriptRefusesWhatCannotBeMeant(t *testing.T) {
	for name, f := range map[string]emulator.Fault{
		"no effect":      {},
		"unknown action": {Action: "GetRecord", Effect: emulator.Cut},
		"after":          {After: -1, Effect: emulator.Cut},
		"count":          {Count: -1, Effect: emulator.Cut},
		"share":          {Share: 1.5, Effect: emulator.Cut},
		"negative share": {Share: -0.5, Effect: emulator.Cut},
		"no number":      {Share: math.NaN(), Effect: emulator.Cut},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), "fault 2 of the script") {
					t.Errorf("panic with %v", err)
				}
			}()
			emulator.Script(emulator.Fault{Effect: emulator.Cut}, f)
		})
	}
}

func TestFaultsAreReadFromText(t *testing.T) {
	for text, want := range map[string]string{
		"GetRecords:cut":                          "xxxxxxxx",
		"*:throttle":                              "xxxxxxxx",
		"*:500,count=3":                           "xxx.....",
		"*:deny,after=2,count=1":                  "..x.....",
		"GetRecords:lose-answer,after=6":          "......xx",
		"PutRecords:cut":                          "........",
		"*:delay=0s":                              "........",
		"*:cut,share=1,seed=18446744073709551615": "xxxxxxxx",
	} {
		f, err := emulator.ParseFault(text)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := hits(emulator.Script(f), 8); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	drawn, err := emulator.ParseFault("*:cut,share=0.25,seed=7")
	if err != nil {
		t.Fatal(err)
	}
	same := emulator.Fault{Share: 0.25, Seed: 7, Effect: emulator.Cut}
	if hits(emulator.Script(drawn), 100) != hits(emulator.Script(same), 100) {
		t.Error("share and seed are not those of the text")
	}
	synctest.Test(t, func(t *testing.T) {
		for _, text := range []string{"*:delay=2s", "*:hang"} {
			f, err := emulator.ParseFault(text)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			begun := time.Now()
			err = emulator.Script(f)(ctx, emulator.Call{Action: "GetRecords"})
			cancel()
			if took := time.Since(begun); (text == "*:hang") != (err != nil && took == time.Minute) || err == nil && took != 2*time.Second {
				t.Errorf("%s: %v after %s", text, err, took)
			}
		}
	})
}

func TestWrongTextOfAFaultIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "ACTION:EFFECT",
		"cut":                    "ACTION:EFFECT",
		":cut":                   "ACTION:EFFECT",
		"GetRecord:cut":          "SplitShard, SubscribeToShard, SubscribeToShardEvent",
		"**:cut":                 `action "*"`,
		"*:":                     `effect ""`,
		"*:explode":              "cut, deny, end, hang",
		"*:delay":                "delay=DURATION",
		"*:delay=soon":           "soon",
		"*:delay=-1s":            "negative",
		"*:cut,":                 `""`,
		"*:cut,count":            "count",
		"*:cut,count=-1":         "count -1",
		"*:cut,count=many":       "many",
		"*:cut,after=1.5":        "after",
		"*:cut,share=0":          "hits nothing",
		"*:cut,share=2":          "outside 0 to 1",
		"*:cut,share=NaN":        "outside 0 to 1",
		"*:cut,seed=-1":          "seed",
		"*:cut,often=1":          "often=1",
		"GetRecords:cut;count=1": "cut;count=1",
	} {
		if _, err := emulator.ParseFault(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

// FuzzParseFault: what is not refused is a fault that a script takes.
func FuzzParseFault(f *testing.F) {
	f.Add("GetRecords:throttle,share=0.1,seed=7")
	f.Add("*:delay=200ms,after=10,count=5")
	f.Fuzz(func(t *testing.T, text string) {
		if fault, err := emulator.ParseFault(text); err == nil {
			emulator.Script(fault)
		}
	})
}
