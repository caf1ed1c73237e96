package deadletter

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"pgregory.net/rapid"
)

// A function that was made for Lambda's records finds in ours the event that it would have been invoked with. AWS publishes
// types for that event and none for the record around it, which TestRecordHasEveryMemberOfLambdas writes down.
func TestLambdasOwnTypesReadALetter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLetter(t)
		b, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var invocation struct {
			Payload string `json:"payload"`
		}
		if err := json.Unmarshal(b, &invocation); err != nil {
			t.Fatal(err)
		}
		read := json.NewDecoder(bytes.NewReader([]byte(invocation.Payload)))
		read.DisallowUnknownFields() // a member that their types do not know would be spelt wrongly
		var event events.KinesisEvent
		if err := read.Decode(&event); err != nil {
			t.Fatal(err)
		}
		if len(event.Records) != 1 {
			t.Fatalf("%d records", len(event.Records))
		}
		r := event.Records[0]
		if !bytes.Equal(r.Kinesis.Data, l.Payload) {
			t.Errorf("data %q, want %q", r.Kinesis.Data, l.Payload)
		}
		if got, want := r.Kinesis.ApproximateArrivalTimestamp.UnixMilli(), l.Source.Arrival.UnixMilli(); got < want-1 || got > want+1 { // it is a float there
			t.Errorf("arrival %d, want %d", got, want)
		}
		if r.Kinesis.SequenceNumber != l.Source.Sequence || r.EventID != l.Source.Shard+":"+l.Source.Sequence ||
			r.EventSource != "aws:kinesis" || r.EventName != "aws:kinesis:record" || r.Kinesis.KinesisSchemaVersion != "1.0" {
			t.Errorf("got %+v", r)
		}
	})
}
