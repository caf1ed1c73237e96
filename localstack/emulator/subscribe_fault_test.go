package emulator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/eventstream"

	"penstock/localstack/emulator"
)

// rawSubscribe subscribes to the first shard without the SDK and returns the whole answer.
func (r *rig) rawSubscribe(ctx context.Context, consumer string) *http.Response {
	r.Helper()
	body := fmt.Sprintf(`{"ConsumerARN":%q,"ShardId":%q,"StartingPosition":{"Type":"TRIM_HORIZON"}}`, consumer, firstShard)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Endpoint, strings.NewReader(body))
	must(r.T, err)
	req.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	resp, err := r.HTTP.Do(req)
	must(r.T, err)
	r.Cleanup(func() { resp.Body.Close() })
	return resp
}

// frames reads all of an answer and returns its frames, what is left of it after the last whole one, and how it ended.
func frames(resp *http.Response) (all []eventstream.Message, rest int, end error) {
	body, end := io.ReadAll(resp.Body)
	left := bytes.NewReader(body)
	decoder := eventstream.NewDecoder()
	for {
		rest = left.Len()
		m, err := decoder.Decode(left, nil)
		if err != nil {
			return all, rest, end
		}
		all = append(all, m)
	}
}

func describeFrame(m eventstream.Message) string {
	var text strings.Builder
	for _, name := range []string{":message-type", ":event-type", ":exception-type", ":error-code", ":content-type"} {
		if v := m.Headers.Get(name); v != nil {
			text.WriteString(v.String() + " ")
		}
	}
	return text.String() + string(m.Payload)
}

func TestASubscriptionOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		number := r.put("orders", "k", []byte("data"))
		r.split("orders", firstShard, half)
		resp := r.rawSubscribe(t.Context(), consumer)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/vnd.amazon.eventstream" || resp.Header.Get("X-Amzn-Requestid") == "" {
			t.Errorf("status %d, headers %v", resp.StatusCode, resp.Header)
		}
		all, rest, end := frames(resp)
		if len(all) != 2 || rest != 0 || end != nil {
			t.Fatalf("%d frames, %d bytes after them, %v", len(all), rest, end)
		}
		if got, want := describeFrame(all[0]), "event initial-response application/x-amz-json-1.1 {}"; got != want {
			t.Errorf("first frame is\n%s, want\n%s", got, want)
		}
		want := `event SubscribeToShardEvent application/x-amz-json-1.1 {"Records":[{"SequenceNumber":"` + number +
			`","ApproximateArrivalTimestamp":946684800.100,"Data":"ZGF0YQ==","PartitionKey":"k"}],"MillisBehindLatest":0,"ChildShards":[` +
			`{"ShardId":"shardId-000000000001","ParentShards":["shardId-000000000000"],"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"170141183460469231731687303715884105727"}},` +
			`{"ShardId":"shardId-000000000002","ParentShards":["shardId-000000000000"],"HashKeyRange":{"StartingHashKey":"170141183460469231731687303715884105728","EndingHashKey":"340282366920938463463374607431768211455"}}]}`
		if got := describeFrame(all[1]); got != want {
			t.Errorf("second frame is\n%s, want\n%s", got, want)
		}
	})
}

func TestFaultsOfEventsAsTheWireShowsThem(t *testing.T) {
	const head = "event initial-response application/x-amz-json-1.1 {}"
	for _, c := range []struct {
		name   string
		effect emulator.Hook
		last   string // frame
		half   bool   // of a frame after it
		end    error
	}{
		{"end", emulator.End, head, false, nil},
		{"cut", emulator.Cut, head, true, io.ErrUnexpectedEOF},
		{"lost", emulator.LoseAnswer, head, false, io.ErrUnexpectedEOF},
		{"modeled", emulator.Refuse(&emulator.APIError{Type: "KMSThrottlingException", Message: "slow \"down\""}),
			`exception KMSThrottlingException application/x-amz-json-1.1 {"message":"slow \"down\""}`, false, nil},
		{"failed", emulator.Fail, `exception InternalFailureException application/x-amz-json-1.1 {"message":"SubscribeToShardEvent failed for an internal reason."}`, false, nil},
		{"unmodeled", emulator.Refuse(&emulator.APIError{Type: emulator.ServiceUnavailable, Message: "later"}), "error ServiceUnavailable ", false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startInBubble(t, emulator.Config{})
				r.create("orders", 1)
				consumer := r.register("orders", "view")
				r.put("orders", "k", []byte("data"))
				r.Intercept(emulator.Script(emulator.Fault{Action: "SubscribeToShardEvent", Effect: c.effect}))
				all, rest, end := frames(r.rawSubscribe(t.Context(), consumer))
				if got := describeFrame(all[len(all)-1]); got != c.last || (rest > 0) != c.half || !errors.Is(end, c.end) {
					t.Errorf("last of %d frames is %s, then %d bytes, %v", len(all), got, rest, end)
				}
			})
		})
	}
}

func TestFaultsOfEventsAsTheClientMeetsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		// read subscribes with a fault and returns the number of events and the end.
		read := func(fault string) (int, error) {
			f, err := emulator.ParseFault(fault)
			must(t, err)
			time.Sleep(5 * time.Second)
			r.Intercept(emulator.Script(f))
			defer r.Intercept(nil)
			return r.subscribe(consumer, firstShard, fromLatest).rest()
		}
		if n, err := read("SubscribeToShardEvent:end"); n != 0 || err != nil {
			t.Errorf("a stream that ends before its first event: %d events, %v", n, err)
		}
		if n, err := read("SubscribeToShardEvent:end,after=3"); n != 3 || err != nil {
			t.Errorf("a stream that ends after three events: %d events, %v", n, err)
		}
		n, err := read("SubscribeToShardEvent:500,after=1")
		typed[*types.InternalFailureException](t, err)
		if n != 1 {
			t.Errorf("%d events before the error", n)
		}
		_, err = read("SubscribeToShardEvent:throttle")
		if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != "LimitExceededException" || !strings.Contains(api.ErrorMessage(), "Rate exceeded") {
			t.Errorf("error frame: %v", err)
		}
		begun := time.Now()
		if n, err := read("SubscribeToShardEvent:delay=30s,count=1"); n < 40 || err != nil || time.Since(begun) != 5*time.Minute+5*time.Second {
			t.Errorf("after a delay: %d events, %v after %s", n, err, time.Since(begun))
		}
	})
}

// A stream that has fallen silent stays so, past its five minutes, until the client gives up; it does not hold up the next.
func TestASilentSubscriptionLastsUntilTheClientGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		r.Intercept(emulator.Script(emulator.Fault{Action: "SubscribeToShardEvent", After: 1, Count: 1, Effect: emulator.Hang}))
		s := r.subscribe(consumer, firstShard, fromLatest)
		if s.next() == nil {
			t.Fatal(s.Err())
		}
		r.put("orders", "k", []byte("new"))
		select {
		case event, ok := <-s.Events():
			t.Errorf("a silent stream brings %v, %t", event, ok)
		case <-time.After(time.Hour):
		}
		if event := r.subscribe(consumer, firstShard, fromHorizon).next(); dataOf(event.Records) != "new" {
			t.Errorf("the next brings %+v", event)
		}
		s.Close()
	})
}

func TestHooksSeeSubscriptionsAndTheirEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		var seen []emulator.Call
		r.Intercept(func(_ context.Context, call emulator.Call) error {
			seen = append(seen, call)
			return nil
		})
		s := r.subscribe(consumer, firstShard, fromLatest)
		s.next()
		s.next()
		r.Intercept(nil)
		about := emulator.Call{Stream: "orders", Shard: firstShard, Consumer: "view"}
		want := []emulator.Call{about, about, about}
		want[0].Action, want[1].Action, want[2].Action = "SubscribeToShard", "SubscribeToShardEvent", "SubscribeToShardEvent"
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("hook saw\n%v, want\n%v", seen, want)
		}
	})
}

// The answer is lost, the subscription is there: it keeps the next call out for five seconds.
func TestALostAnswerLeavesASubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		r.Intercept(emulator.Script(emulator.Fault{Action: "SubscribeToShard", Count: 1, Effect: emulator.LoseAnswer}))
		_, err := r.trySubscribe(consumer, firstShard, fromLatest)
		if _, answered := errors.AsType[smithy.APIError](err); err == nil || answered {
			t.Errorf("client got %v", err)
		}
		_, err = r.trySubscribe(consumer, firstShard, fromLatest)
		typed[*types.ResourceInUseException](t, err)
		time.Sleep(5 * time.Second)
		r.subscribe(consumer, firstShard, fromLatest).next()
	})
}
