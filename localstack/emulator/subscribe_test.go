package emulator_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"penstock/localstack/emulator"
)

const firstShard = "shardId-000000000000"

// register makes a consumer and waits until it is ACTIVE.
func (r *rig) register(stream, name string) string {
	r.Helper()
	out, err := r.client.RegisterStreamConsumer(r.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arnOf(stream)), ConsumerName: &name})
	if err != nil {
		r.Fatal(err)
	}
	time.Sleep(updateTime)
	return *out.Consumer.ConsumerARN
}

func arnOf(stream string) string { return "arn:aws:kinesis:us-east-1:000000000000:stream/" + stream }

// updateTime is the server's default.
const updateTime = 100 * time.Millisecond

// subscription is one that a test reads.
type subscription struct {
	*testing.T
	*kinesis.SubscribeToShardEventStream
}

func (r *rig) trySubscribe(consumer, shard string, from types.StartingPosition) (*subscription, error) {
	// The SDK's decoder of event streams is shared by the calls of one client, and not made for that.
	client := kinesis.NewFromConfig(r.AWS(), func(o *kinesis.Options) { o.RetryMaxAttempts = 1 })
	out, err := client.SubscribeToShard(r.Context(), &kinesis.SubscribeToShardInput{ConsumerARN: &consumer, ShardId: &shard, StartingPosition: &from})
	if err != nil {
		return nil, err
	}
	s := &subscription{r.T, out.GetStream()}
	r.Cleanup(func() { s.Close() })
	return s, nil
}

func (r *rig) subscribe(consumer, shard string, from types.StartingPosition) *subscription {
	r.Helper()
	s, err := r.trySubscribe(consumer, shard, from)
	if err != nil {
		r.Fatal(err)
	}
	return s
}

var (
	fromHorizon = types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	fromLatest  = types.StartingPosition{Type: types.ShardIteratorTypeLatest}
)

func fromAfter(number *string) types.StartingPosition {
	return types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: number}
}

// next returns the next event, nil at the end.
func (s *subscription) next() *types.SubscribeToShardEvent {
	event, ok := <-s.Events()
	if !ok {
		return nil
	}
	return &event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
}

// rest reads to the end and returns how many events there were, and why it ended.
func (s *subscription) rest() (int, error) {
	n := 0
	for s.next() != nil {
		n++
	}
	return n, s.Err()
}

func dataOf(records []types.Record) string {
	var all []string
	for _, record := range records {
		all = append(all, string(record.Data))
	}
	return strings.Join(all, " ")
}

func TestASubscriptionBringsWhatIsThereAndWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		numbers := r.putMany("orders", 3)
		s := r.subscribe(consumer, firstShard, fromHorizon)
		first := s.next()
		if dataOf(first.Records) != "0 1 2" || *first.MillisBehindLatest != 0 || *first.Records[2].SequenceNumber != numbers[2] || len(first.ChildShards) != 0 {
			t.Errorf("first event is %+v", first)
		}
		time.Sleep(time.Second)
		begun := time.Now()
		last := r.put("orders", "new", []byte("new"))
		second := s.next()
		if dataOf(second.Records) != "new" || *second.Records[0].PartitionKey != "new" || !second.Records[0].ApproximateArrivalTimestamp.Equal(begun) {
			t.Errorf("second event is %+v", second)
		}
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("a record came after %s", took)
		}
		if *second.ContinuationSequenceNumber < last {
			t.Errorf("continuation %s is before the last record %s", *second.ContinuationSequenceNumber, last)
		}
	})
}

func TestASubscriptionAtRestLearnsOfItsShardsEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		s := r.subscribe(r.register("orders", "view"), firstShard, fromLatest)
		s.next()
		begun := time.Now()
		r.split("orders", firstShard, half)
		if last := s.next(); len(last.ChildShards) != 2 || time.Since(begun) > 100*time.Millisecond {
			t.Errorf("after %s comes %+v", time.Since(begun), last)
		}
	})
}

func TestASubscriptionEndsAfterFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		begun := time.Now().Add(updateTime)
		s := r.subscribe(r.register("orders", "view"), firstShard, fromLatest)
		n, err := s.rest()
		if took := time.Since(begun); err != nil || took != 5*time.Minute {
			t.Errorf("ended after %s: %v", took, err)
		}
		if n < 55 || n > 65 {
			t.Errorf("%d events without records in five minutes, want one every five seconds", n)
		}
	})
}

func TestContinuationNumbersMoveWithoutRecordsAndLoseNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		s := r.subscribe(consumer, firstShard, fromHorizon)
		var numbers []string // continuations of an empty shard, then of one at rest
		for range 3 {
			numbers = append(numbers, *s.next().ContinuationSequenceNumber)
		}
		first := r.put("orders", "k", []byte("first"))
		if got := dataOf(s.next().Records); got != "first" {
			t.Fatalf("read %q", got)
		}
		for range 2 {
			numbers = append(numbers, *s.next().ContinuationSequenceNumber)
		}
		s.Close()
		second := r.put("orders", "k", []byte("second"))
		for i := range len(numbers) - 1 {
			if toInt(numbers[i]).Cmp(toInt(numbers[i+1])) >= 0 {
				t.Errorf("continuation %s is followed by %s", numbers[i], numbers[i+1])
			}
		}
		if toInt(numbers[2]).Cmp(toInt(first)) >= 0 || toInt(first).Cmp(toInt(numbers[3])) >= 0 || toInt(numbers[4]).Cmp(toInt(second)) >= 0 {
			t.Error("continuations do not stand between the records")
		}
		for i, number := range numbers {
			want := "first second"
			if i > 2 {
				want = "second"
			}
			for _, kind := range []types.ShardIteratorType{types.ShardIteratorTypeAfterSequenceNumber, types.ShardIteratorTypeAtSequenceNumber} {
				time.Sleep(5 * time.Second)
				again := r.subscribe(consumer, firstShard, types.StartingPosition{Type: kind, SequenceNumber: &number})
				if got := dataOf(again.next().Records); got != want {
					t.Errorf("%s continuation %d: subscribed to %q, want %q", kind, i, got, want)
				}
				again.Close()
				iterator := r.iterator(kinesis.GetShardIteratorInput{StreamName: aws.String("orders"), ShardIteratorType: kind, StartingSequenceNumber: &number})
				if got := strings.Join(r.data(iterator), " "); got != want {
					t.Errorf("%s continuation %d: read %q, want %q", kind, i, got, want)
				}
			}
		}
	})
}

func TestANumberAtWhichARecordStandsIsRepeatedByAtOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		numbers := r.putMany("orders", 3)
		for kind, want := range map[types.ShardIteratorType]string{
			types.ShardIteratorTypeAtSequenceNumber:    "1 2",
			types.ShardIteratorTypeAfterSequenceNumber: "2",
		} {
			s := r.subscribe(consumer, firstShard, types.StartingPosition{Type: kind, SequenceNumber: &numbers[1]})
			if got := dataOf(s.next().Records); got != want {
				t.Errorf("%s: %s, want %s", kind, got, want)
			}
			time.Sleep(5 * time.Second)
		}
		s := r.subscribe(consumer, firstShard, types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: new(time.Now().Add(-time.Hour))})
		if got := dataOf(s.next().Records); got != "0 1 2" {
			t.Errorf("at a time: %s", got)
		}
	})
}

func TestTheLastEventOfAShardNamesItsChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		r.putMany("orders", 2)
		s := r.subscribe(consumer, firstShard, fromHorizon)
		if first := s.next(); dataOf(first.Records) != "0 1" || first.ContinuationSequenceNumber == nil {
			t.Errorf("first event is %+v", first)
		}
		r.putMany("orders", 3)
		r.split("orders", firstShard, half)
		last := s.next()
		if got := childIDs(last.ChildShards); dataOf(last.Records) != "0 1 2" || got != "shardId-000000000001 shardId-000000000002" {
			t.Errorf("last event has records %q and children %q", dataOf(last.Records), got)
		}
		if last.ContinuationSequenceNumber != nil {
			t.Errorf("last event is continued at %s", *last.ContinuationSequenceNumber)
		}
		if n, err := s.rest(); n != 0 || err != nil {
			t.Errorf("%d events after the last, %v", n, err)
		}
		time.Sleep(5 * time.Second)
		again := r.subscribe(consumer, firstShard, fromLatest)
		if end := again.next(); len(end.Records) != 0 || len(end.ChildShards) != 2 || end.ContinuationSequenceNumber != nil {
			t.Errorf("at the end of a closed shard comes %+v", end)
		}
		if n, err := again.rest(); n != 0 || err != nil {
			t.Errorf("%d events after the last, %v", n, err)
		}
	})
}

func TestASubscriptionIsReplacedAfterFiveSecondsAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 2)
		consumer, other := r.register("orders", "view"), r.register("orders", "archive")
		former := r.subscribe(consumer, firstShard, fromLatest)
		r.subscribe(other, firstShard, fromLatest)                // another consumer and
		r.subscribe(consumer, "shardId-000000000001", fromLatest) // another shard are nothing to it
		time.Sleep(5*time.Second - time.Millisecond)
		_, err := r.trySubscribe(consumer, firstShard, fromLatest)
		typed[*types.ResourceInUseException](t, err)
		time.Sleep(time.Millisecond)
		successor := r.subscribe(consumer, firstShard, fromLatest)
		_, err = former.rest()
		typed[*types.ResourceInUseException](t, err)

		successor.next()
		successor.Close() // the guard counts from the call, whatever became of it
		synctest.Wait()
		_, err = r.trySubscribe(consumer, firstShard, fromLatest)
		typed[*types.ResourceInUseException](t, err)
		time.Sleep(5 * time.Second)
		if last := r.subscribe(consumer, firstShard, fromLatest).next(); last == nil {
			t.Error("no event after five seconds")
		}
	})
}

func TestSubscribeRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		out, err := r.client.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(arnOf("orders")), ConsumerName: aws.String("young")})
		if err != nil {
			t.Fatal(err)
		}
		try := func(consumer, shard string, from types.StartingPosition) error {
			_, err := r.trySubscribe(consumer, shard, from)
			return err
		}
		typed[*types.ResourceInUseException](t, try(*out.Consumer.ConsumerARN, firstShard, fromLatest))
		typed[*types.ResourceNotFoundException](t, try(consumer+"1", firstShard, fromLatest))
		typed[*types.ResourceNotFoundException](t, try(strings.Replace(consumer, "orders", "others", 1), firstShard, fromLatest))
		typed[*types.ResourceNotFoundException](t, try(consumer, "shardId-000000000001", fromLatest))
		typed[*types.InvalidArgumentException](t, try(arnOf("orders"), firstShard, fromLatest))
		typed[*types.InvalidArgumentException](t, try(consumer, firstShard, fromAfter(aws.String("49"))))
		typed[*types.InvalidArgumentException](t, try(consumer, firstShard, types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp}))
		typed[*types.ValidationException](t, try("", firstShard, fromLatest))
		typed[*types.ValidationException](t, try(consumer, firstShard, types.StartingPosition{Type: "ANYWHERE"}))

		r.Intercept(emulator.Script(emulator.Fault{Action: "SubscribeToShard", Effect: emulator.Deny}))
		typed[*types.AccessDeniedException](t, try(consumer, firstShard, fromLatest))
		r.Intercept(nil)

		for range 2 {
			_, err = r.client.SubscribeToShard(t.Context(), &kinesis.SubscribeToShardInput{
				ConsumerARN: &consumer, ShardId: aws.String(firstShard), StartingPosition: &fromLatest, DryRun: aws.Bool(true)})
			typed[*types.DryRunOperationException](t, err)
		}
		if err := try(consumer, firstShard, fromLatest); err != nil { // no refusal has begun a subscription
			t.Error(err)
		}
	})
}

func TestSubscriptionsEndWithWhatTheyAreOf(t *testing.T) {
	for name, end := range map[string]func(r *rig, consumer string) error{
		"consumer deregistered": func(r *rig, consumer string) error {
			_, err := r.client.DeregisterStreamConsumer(r.Context(), &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &consumer})
			return err
		},
		"stream deleted": func(r *rig, _ string) error {
			_, err := r.client.DeleteStream(r.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String("orders"), EnforceConsumerDeletion: aws.Bool(true)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startInBubble(t, emulator.Config{})
				r.create("orders", 1)
				consumer := r.register("orders", "view")
				s := r.subscribe(consumer, firstShard, fromLatest)
				s.next()
				if err := end(r, consumer); err != nil {
					t.Fatal(err)
				}
				_, err := s.rest()
				typed[*types.ResourceNotFoundException](t, err)
			})
		})
	}
}

func TestSubscriptionsEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := emulator.ListenInMemory(context.WithoutCancel(t.Context()), emulator.New(emulator.Config{}))
		r := newRig(t, srv)
		r.create("orders", 1)
		s := r.subscribe(r.register("orders", "view"), firstShard, fromLatest)
		s.next()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if n, _ := s.rest(); n != 0 {
			t.Errorf("%d events of a closed server", n)
		}
	})
}

// Records put one by one, while the shard splits under them, come once and in order over the subscriptions to parent and children.
func TestSubscriptionsFollowAReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		const n = 400
		go func() {
			for i := range n {
				r.put("orders", fmt.Sprint(i), fmt.Append(nil, i))
				time.Sleep(time.Millisecond)
				if i == n/2 {
					r.split("orders", firstShard, half)
				}
			}
		}()
		seen := map[string]int{}
		follow := []string{firstShard}
		for len(follow) > 0 && len(seen) < n {
			s, last := r.subscribe(consumer, follow[0], fromHorizon), -1
			follow = follow[1:]
			for event := s.next(); event != nil; event = s.next() {
				for _, record := range event.Records {
					i := int(toInt(string(record.Data)).Int64())
					if seen[string(record.Data)]++; seen[string(record.Data)] > 1 || i < last {
						t.Errorf("record %d came %d times, after %d", i, seen[string(record.Data)], last)
					}
					last = i
				}
				for _, child := range event.ChildShards {
					follow = append(follow, *child.ShardId)
				}
			}
			if err := s.Err(); err != nil {
				t.Error(err)
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d records came", len(seen), n)
		}
	})
}
