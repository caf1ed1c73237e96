package projector

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/checkpoint/storetest"
	"penstock/stream"
)

func TestAStreamIsKnownByItsNote(t *testing.T) {
	const arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
	created := time.Date(2026, time.November, 21, 12, 0, 0, 987_000_000, time.UTC)
	found := stream.Description{ARN: arn, Created: created, Retention: time.Hour}
	items := &storetest.Items{}
	state := items.As("")
	if _, known, err := NotedStream(t.Context(), state, Role(1), "orders"); known || err != nil {
		t.Errorf("without a note: %v, %v", known, err)
	}
	if err := NoteStream(t.Context(), state, Role(1), "orders", found); err != nil {
		t.Fatal(err)
	}
	noted, known, err := NotedStream(t.Context(), state, Role(1), "orders")
	if err != nil || !known || SameStream(noted, found) != nil {
		t.Errorf("the noted stream is %+v, %v, %v", noted, known, err)
	}
	for _, other := range [][2]string{{Role(2), "orders"}, {Role(1), "payments"}} {
		if _, known, err := NotedStream(t.Context(), state, other[0], other[1]); known || err != nil {
			t.Errorf("%v: %v, %v", other, known, err)
		}
	}
	for name, other := range map[string]stream.Description{
		"created anew":    {ARN: arn, Created: created.Add(time.Hour)},
		"another account": {ARN: strings.Replace(arn, "123456789012", "210987654321", 1), Created: created},
	} {
		if err := SameStream(noted, other); !errors.Is(err, ErrOtherStream) || !strings.Contains(err.Error(), other.ARN) || !strings.Contains(err.Error(), "projector setup") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := state.Put(t.Context(), Role(1)+streamKind, "orders", map[string]string{arnAttribute: arn, createdAttribute: "yesterday"}); err != nil {
		t.Fatal(err)
	}
	if _, known, err := NotedStream(t.Context(), state, Role(1), "orders"); known || err != nil {
		t.Errorf("a note that cannot be read: %v, %v", known, err)
	}
}

// A stream that is deleted and created anew under its name while it is read ends the daemon: by the positions that the
// new one does not know, by its absence in between, or by what the service says of it.
func TestAStreamCreatedAnewEndsRun(t *testing.T) {
	for name, records := range map[string]int{"with positions": 20, "without": 0} {
		t.Run(name, func(t *testing.T) {
			holds(t, inBubble(t, func(t *testing.T) []string {
				w := newWorld(t, 41, 2)
				if records > 0 {
					w.put(41, records, 0, 0)
				}
				d := w.join()
				w.await(func() bool { return w.settled() && d.keeper.Seen().shards == 2 }, time.Minute)
				if _, err := w.client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String("stock")}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second) // a time of creation has whole seconds
				if _, err := w.client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("stock"), ShardCount: aws.Int32(2)}); err != nil {
					t.Fatal(err)
				}
				err := <-d.done
				if failed, ok := errors.AsType[*stream.Error](err); !errors.Is(err, ErrOtherStream) && (!ok || failed.Kind != stream.Fatal) {
					t.Errorf("run returned %v", err)
				}
				close(w.over)
				w.running.Wait()
				return w.broken
			}))
		})
	}
}
