package emulator_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/localstack/emulator"
)

func TestEachSubscriptionHasItsBytesPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota})
		r.create("orders", 1)
		consumers := []string{r.register("orders", "view"), r.register("orders", "archive")}
		for range 7 {
			r.put("orders", "k", make([]byte, 1<<20-1))
		}
		for _, consumer := range consumers {
			s, begun := r.subscribe(consumer, firstShard, fromHorizon), time.Now()
			for i, want := range []int{2, 2, 2, 1, 0} {
				event := s.next()
				if len(event.Records) != want || (*event.MillisBehindLatest == 0) != (i >= 3) {
					t.Errorf("event %d: %d records, %d ms behind", i, len(event.Records), *event.MillisBehindLatest)
				}
				if i < 4 && time.Since(begun) != time.Duration(i)*time.Second {
					t.Errorf("event %d came after %s", i, time.Since(begun))
				}
			}
		}
	})
}

func TestARecordLargerThanASecondsQuotaComesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{ReadQuota: emulator.ServiceReadQuota})
		_, err := r.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{
			StreamName: aws.String("orders"), ShardCount: aws.Int32(1), MaxRecordSizeInKiB: aws.Int32(10240)})
		if err != nil {
			t.Fatal(err)
		}
		consumer := r.register("orders", "view")
		large := bytes.Repeat([]byte("0123456789abcdef"), 10<<20/16)[:10<<20-1]
		r.put("orders", "k", large)
		r.put("orders", "k", []byte("small"))
		s, begun := r.subscribe(consumer, firstShard, fromHorizon), time.Now()
		if first := s.next(); len(first.Records) != 1 || !bytes.Equal(first.Records[0].Data, large) || *first.MillisBehindLatest == 0 {
			t.Errorf("first event has %d records", len(first.Records))
		}
		if second := s.next(); dataOf(second.Records) != "small" || time.Since(begun) != 5*time.Second {
			t.Errorf("second event has %d records and came after %s", len(second.Records), time.Since(begun))
		}
	})
}

// A client that stops to read holds up neither the server nor who takes over.
func TestASubscriberThatDoesNotReadIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		consumer := r.register("orders", "view")
		stuck := r.rawSubscribe(t.Context(), consumer)
		for range 3 {
			r.put("orders", "k", make([]byte, 1<<20-1))
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		successor := r.subscribe(consumer, firstShard, fromHorizon)
		for got := 0; got < 3; {
			got += len(successor.next().Records)
		}
		time.Sleep(6 * time.Minute)
		if all, _, end := frames(stuck); len(all) > 3 || !errors.Is(end, io.ErrUnexpectedEOF) {
			t.Errorf("who has not read is left with %d frames and %v", len(all), end)
		}
	})
}

func TestRecordsThatComeOneByOneShareAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startInBubble(t, emulator.Config{})
		r.create("orders", 1)
		s := r.subscribe(r.register("orders", "view"), firstShard, fromLatest)
		s.next()
		for i := range 4 {
			r.put("orders", "k", fmt.Append(nil, i))
			time.Sleep(5 * time.Millisecond)
		}
		if got := dataOf(s.next().Records); got != "0 1 2 3" {
			t.Errorf("an event brings %q", got)
		}
	})
}
