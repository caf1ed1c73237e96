package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"penstock/view"
)

// sample is a letter with every part filled in.
func sample() Letter {
	l := Letter{
		Target: Target{View: "order", Revision: "order-1", Generation: 1},
		Source: Source{
			Stream:       "orders",
			ARN:          "arn:aws:kinesis:eu-central-1:123456789012:stream/orders",
			Epoch:        "1795082400",
			Shard:        "shardId-000000000002",
			Sequence:     "49671246667567228643283430150187087032206582658",
			SubSequence:  3,
			PartitionKey: "0f9a5d1e",
			Arrival:      time.Date(2026, 11, 21, 0, 30, 0, 123_000_000, time.FixedZone("CET", 3600)),
		},
		Event: Event{
			ID: "7f0c", Type: "order.placed", SchemaVersion: 1, EntityVersion: 4, Time: time.Date(2026, 11, 20, 23, 29, 59, 1000, time.UTC),
			Entity: "0f9a5d1e", Attributes: []view.Attribute{{Name: "customer_id", Value: "c-1"}}, TraceParent: "00-a-b-01",
		},
		Failure: NewFailure(&view.Poison{
			Stage: view.StageValidate, Code: view.CodeMalformedField, Err: errors.New(`currency "EURO": must be three letters`),
		}),
		Context: Context{
			Version: "1.2.3", Commit: "d4c1", Config: "0123456789abcdef", Host: "orders-7", Worker: "w1",
			Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Schemas: []string{"order.paid.v1", "order.placed.v1"},
		},
		ParkedAt: time.Date(2026, 11, 20, 23, 30, 1, 0, time.UTC),
		Payload:  []byte("{\"a\":\"<b>\"}\x00\xff"),
	}
	l.Attempts.Add(l.ParkedAt, errors.New("refused"))
	return l
}

func TestKeyNamesViewGenerationDateCodeAndPosition(t *testing.T) {
	want := "v1/view=order/gen=1/dt=2026-11-20/malformed_field/" +
		"1795082400.shardId-000000000002.49671246667567228643283430150187087032206582658.3.json"
	if got := sample().Key(); got != want { // the date is UTC's
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestIdentityIsPositionViewAndGeneration(t *testing.T) {
	same := sample()
	same.Failure.Code, same.Payload, same.ParkedAt = view.CodeBadJSON, nil, time.Time{}
	if same.ID() != sample().ID() {
		t.Error("the id depends on more than position, view and generation")
	}
	if want := "8fa85f6d-4407-5585-a7f1-5764e9801400"; sample().ID() != want { // written down: it must not change between releases
		t.Errorf("id %s, want %s", sample().ID(), want)
	}
	for name, change := range map[string]func(*Letter){
		"view":        func(l *Letter) { l.Target.View = "stock" },
		"generation":  func(l *Letter) { l.Target.Generation = 2 },
		"epoch":       func(l *Letter) { l.Source.Epoch = "1795082401" }, // a stream that was created anew
		"shard":       func(l *Letter) { l.Source.Shard = "shardId-000000000003" },
		"sequence":    func(l *Letter) { l.Source.Sequence = "1" },
		"subsequence": func(l *Letter) { l.Source.SubSequence = 4 },
	} {
		other := sample()
		change(&other)
		if other.ID() == sample().ID() || other.Key() == sample().Key() {
			t.Errorf("%s: another letter has the same id or key", name)
		}
	}
}

func TestLettersComeBackAsTheyWere(t *testing.T) {
	for name, change := range map[string]func(*Letter){
		"full":          func(*Letter) {},
		"empty payload": func(l *Letter) { l.Payload = []byte{} },
		"1 MiB":         func(l *Letter) { l.Payload = bytes.Repeat([]byte{0xfe, '"', '<', '\n'}, 1<<18) },
		"bare": func(l *Letter) {
			l.Event, l.Attempts, l.Context, l.Source.ARN, l.Source.PartitionKey = Event{}, Attempts{}, Context{}, "", ""
		},
	} {
		want := sample()
		change(&want)
		b, err := want.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnyPayloadSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := sample()
		l.Payload = rapid.SliceOf(rapid.Byte()).Draw(t, "payload")
		l.Source.Arrival = time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "arrival")).UTC()
		b, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil || !bytes.Equal(got.Payload, l.Payload) || !got.Source.Arrival.Equal(l.Source.Arrival) {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
}

func TestRecordHasEveryMemberOfLambdas(t *testing.T) {
	b, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	// Written down from Lambda's documentation, not from this package's own types.
	var lambda struct {
		RequestContext struct {
			RequestID              string `json:"requestId"`
			FunctionARN            string `json:"functionArn"`
			Condition              string `json:"condition"`
			ApproximateInvokeCount int    `json:"approximateInvokeCount"`
		} `json:"requestContext"`
		ResponseContext struct {
			StatusCode      int    `json:"statusCode"`
			ExecutedVersion string `json:"executedVersion"`
			FunctionError   string `json:"functionError"`
		} `json:"responseContext"`
		Version          string         `json:"version"`
		Timestamp        time.Time      `json:"timestamp"`
		KinesisBatchInfo map[string]any `json:"KinesisBatchInfo"`
		Payload          string         `json:"payload"`
	}
	if err := json.Unmarshal(b, &lambda); err != nil {
		t.Fatal(err)
	}
	if lambda.RequestContext.RequestID != sample().ID() || lambda.RequestContext.FunctionARN == "" ||
		lambda.RequestContext.Condition != "RetryAttemptsExhausted" || lambda.RequestContext.ApproximateInvokeCount != 1 ||
		lambda.ResponseContext.StatusCode != 200 || lambda.ResponseContext.ExecutedVersion != "order-1" ||
		lambda.ResponseContext.FunctionError != "malformed_field" || lambda.Version != "1.0" ||
		!lambda.Timestamp.Equal(sample().ParkedAt) {
		t.Errorf("got %+v", lambda)
	}
	info := map[string]any{
		"shardId":                         "shardId-000000000002",
		"startSequenceNumber":             sample().Source.Sequence,
		"endSequenceNumber":               sample().Source.Sequence,
		"approximateArrivalOfFirstRecord": "2026-11-20T23:30:00.123Z",
		"approximateArrivalOfLastRecord":  "2026-11-20T23:30:00.123Z",
		"batchSize":                       1.0,
		"streamArn":                       sample().Source.ARN,
	}
	if diff := cmp.Diff(info, lambda.KinesisBatchInfo); diff != "" {
		t.Errorf("batch info (-want +got):\n%s", diff)
	}
	var event struct {
		Records []struct {
			EventID        string `json:"eventID"`
			EventSource    string `json:"eventSource"`
			AWSRegion      string `json:"awsRegion"`
			EventSourceARN string `json:"eventSourceARN"`
			Kinesis        struct {
				Data                        []byte  `json:"data"`
				ApproximateArrivalTimestamp float64 `json:"approximateArrivalTimestamp"`
				PartitionKey                string  `json:"partitionKey"`
				SequenceNumber              string  `json:"sequenceNumber"`
			} `json:"kinesis"`
		}
	}
	if err := json.Unmarshal([]byte(lambda.Payload), &event); err != nil || len(event.Records) != 1 {
		t.Fatalf("payload %s: %v", lambda.Payload, err)
	}
	r := event.Records[0]
	if !bytes.Equal(r.Kinesis.Data, sample().Payload) || r.Kinesis.ApproximateArrivalTimestamp != 1795217400.123 ||
		r.Kinesis.PartitionKey != "0f9a5d1e" || r.EventSource != "aws:kinesis" || r.AWSRegion != "eu-central-1" ||
		r.EventID != "shardId-000000000002:"+sample().Source.Sequence {
		t.Errorf("got %+v", r)
	}
}

func TestDamagedLettersAreRefused(t *testing.T) {
	b, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string]string{
		"not JSON":       "[",
		"no group":       "{}",
		"newer format":   strings.Replace(string(b), `"format": 1`, `"format": 2`, 1),
		"other checksum": strings.Replace(string(b), `"crc32c": "`, `"crc32c": "0`, 1),
		"other size":     strings.Replace(string(b), `"bytes": 13`, `"bytes": 14`, 1),
		"no payload":     strings.Replace(string(b), `"payload": "{`, `"payloads": "{`, 1),
		"no records":     strings.Replace(string(b), `{\"Records\"`, `{\"Rows\"`, 1),
		"no code":        strings.Replace(string(b), `"code": "malformed_field"`, `"code": ""`, 1),
	} {
		if damaged == string(b) {
			t.Errorf("%s: the test damaged nothing", name)
		}
		if l, err := Decode([]byte(damaged)); err == nil {
			t.Errorf("%s: accepted as %+v", name, l)
		}
	}
}

func TestLettersWithoutIdentityAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Letter){
		"view":        func(l *Letter) { l.Target.View = "" },
		"generation":  func(l *Letter) { l.Target.Generation = 0 },
		"code":        func(l *Letter) { l.Failure.Code = "a/b" },
		"epoch":       func(l *Letter) { l.Source.Epoch = "2026.11" },
		"shard":       func(l *Letter) { l.Source.Shard = "a/b" },
		"sequence":    func(l *Letter) { l.Source.Sequence = "TRIM_HORIZON" },
		"subsequence": func(l *Letter) { l.Source.SubSequence = -1 },
	} {
		l := sample()
		change(&l)
		if l.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEventTimeBeyondJSONDoesNotLoseTheLetter(t *testing.T) {
	l := sample()
	l.Event.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(b); err != nil || !got.Event.Time.IsZero() {
		t.Errorf("got %v, %v", got.Event.Time, err)
	}
}

func TestEventOfAViewConverts(t *testing.T) {
	e := view.Event{ID: "1", Type: "t", SchemaVersion: 2, EntityVersion: 3, Entity: "x", TraceParent: "p"}
	if got := Event(e); got.ID != "1" || got.SchemaVersion != 2 || got.TraceParent != "p" {
		t.Errorf("got %+v", got)
	}
}
