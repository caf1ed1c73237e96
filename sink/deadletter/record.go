package deadletter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// format is the number of the letter's own part of the record. A release reads all formats up to its own. Members may be
// added to a format, and readers pass over those they do not know: while a fleet is upgraded, releases meet each other's
// letters.
const format = 1

// ContentType of an encoded letter.
const ContentType = "application/json"

// record is a letter as it is stored: the members of the record Lambda writes for a Kinesis batch that failed for good
// (https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html), for a batch of this one record,
// and beside them one member of ours, which Lambda can never come to use for something else. docs/penstock-letter.schema.json
// describes it for others.
type record struct {
	RequestContext  requestContext  `json:"requestContext"`
	ResponseContext responseContext `json:"responseContext"`
	Version         string          `json:"version"`
	Timestamp       string          `json:"timestamp"`
	BatchInfo       batchInfo       `json:"KinesisBatchInfo"`
	Penstock        group           `json:"penstock"`
	// Payload is the event Lambda would have invoked a function with, as JSON in a string. It holds the payload's
	// only copy.
	Payload string `json:"payload"`
}

type requestContext struct {
	RequestID              string `json:"requestId"`
	FunctionARN            string `json:"functionArn"`
	Condition              string `json:"condition"`
	ApproximateInvokeCount int    `json:"approximateInvokeCount"`
}

type responseContext struct {
	StatusCode      int    `json:"statusCode"`
	ExecutedVersion string `json:"executedVersion"`
	FunctionError   string `json:"functionError"`
}

type batchInfo struct {
	ShardID             string `json:"shardId"`
	StartSequenceNumber string `json:"startSequenceNumber"`
	EndSequenceNumber   string `json:"endSequenceNumber"`
	FirstArrival        string `json:"approximateArrivalOfFirstRecord"`
	LastArrival         string `json:"approximateArrivalOfLastRecord"`
	BatchSize           int    `json:"batchSize"`
	StreamARN           string `json:"streamArn"`
}

type group struct {
	Format   int       `json:"format"`
	ID       string    `json:"id"`
	ParkedAt time.Time `json:"parked_at"`
	Target   Target    `json:"target"`
	Source   Source    `json:"source"`
	Event    Event     `json:"event"`
	Failure  Failure   `json:"failure"`
	Attempts Attempts  `json:"attempts"`
	Context  Context   `json:"context"`
	Payload  payload   `json:"payload"`
}

type payload struct {
	checksum
	Preview string `json:"preview"`
}

type checksum struct {
	Bytes  int    `json:"bytes"`
	CRC32C string `json:"crc32c"` // Castagnoli, 8 hexadecimal digits
}

type kinesisEvent struct {
	Records []kinesisRecord `json:"Records"`
}

type kinesisRecord struct {
	Kinesis           kinesisData `json:"kinesis"`
	EventSource       string      `json:"eventSource"`
	EventVersion      string      `json:"eventVersion"`
	EventID           string      `json:"eventID"`
	EventName         string      `json:"eventName"`
	InvokeIdentityARN string      `json:"invokeIdentityArn"`
	AWSRegion         string      `json:"awsRegion"`
	EventSourceARN    string      `json:"eventSourceARN"`
}

type kinesisData struct {
	SchemaVersion  string      `json:"kinesisSchemaVersion"`
	PartitionKey   string      `json:"partitionKey"`
	SequenceNumber string      `json:"sequenceNumber"`
	Data           []byte      `json:"data"`
	Arrival        json.Number `json:"approximateArrivalTimestamp"` // seconds, with three decimals
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksumOf(payload []byte) checksum {
	return checksum{Bytes: len(payload), CRC32C: fmt.Sprintf("%08x", crc32.Checksum(payload, castagnoli))}
}

// Encode returns the letter as it is stored.
func (l Letter) Encode() ([]byte, error) {
	event, err := l.kinesisEvent()
	if err != nil {
		return nil, fmt.Errorf("encode letter %s: %w", l.Key(), err)
	}
	if _, err := l.Event.Time.MarshalJSON(); err != nil {
		l.Event.Time = time.Time{} // an event may claim a year that JSON cannot hold; its letter is written all the same
	}
	l.Source.Arrival = l.Source.Arrival.UTC()
	arrival := lambdaTime(l.Source.Arrival)
	r := record{
		RequestContext: requestContext{
			RequestID:   l.ID(),
			FunctionARN: fmt.Sprintf("penstock:view/%s/g%d", l.Target.View, l.Target.Generation),
			// The condition Lambda documents for records that a function failed on. The true reason is in our group.
			Condition:              "RetryAttemptsExhausted",
			ApproximateInvokeCount: max(1, l.Attempts.Count),
		},
		ResponseContext: responseContext{
			StatusCode:      200, // Lambda's, too, for a function that was invoked and failed
			ExecutedVersion: l.Target.Revision,
			FunctionError:   string(l.Failure.Code),
		},
		Version:   "1.0",
		Timestamp: lambdaTime(l.ParkedAt),
		BatchInfo: batchInfo{
			ShardID:             l.Source.Shard,
			StartSequenceNumber: l.Source.Sequence,
			EndSequenceNumber:   l.Source.Sequence,
			FirstArrival:        arrival,
			LastArrival:         arrival,
			BatchSize:           1,
			StreamARN:           l.Source.ARN,
		},
		Penstock: group{
			Format:   format,
			ID:       l.ID(),
			ParkedAt: l.ParkedAt.UTC(),
			Target:   l.Target,
			Source:   l.Source,
			Event:    l.Event,
			Failure:  l.Failure,
			Attempts: l.Attempts,
			Context:  l.Context,
			Payload:  payload{checksumOf(l.Payload), l.Preview()},
		},
		Payload: event,
	}
	var b bytes.Buffer
	b.Grow(len(event) + 8<<10)
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ") // people read letters
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("encode letter %s: %w", l.Key(), err)
	}
	return b.Bytes(), nil
}

func (l Letter) kinesisEvent() (string, error) {
	data := l.Payload
	if data == nil {
		data = []byte{} // nil would be null, which is not what an empty record holds
	}
	ms := l.Source.Arrival.UnixMilli()
	b, err := json.Marshal(kinesisEvent{Records: []kinesisRecord{{
		Kinesis: kinesisData{
			SchemaVersion:  "1.0",
			PartitionKey:   l.Source.PartitionKey,
			SequenceNumber: l.Source.Sequence,
			Data:           data,
			Arrival:        json.Number(strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64)),
		},
		EventSource:    "aws:kinesis",
		EventVersion:   "1.0",
		EventID:        l.Source.Shard + ":" + l.Source.Sequence,
		EventName:      "aws:kinesis:record",
		AWSRegion:      region(l.Source.ARN),
		EventSourceARN: l.Source.ARN,
	}}})
	return string(b), err
}

// Decode reads a letter back. A payload that does not match its checksum is an error.
func Decode(b []byte) (Letter, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return Letter{}, fmt.Errorf("decode letter: %w", err)
	}
	g := r.Penstock
	if g.Format < 1 || g.Format > format {
		return Letter{}, fmt.Errorf("decode letter: format %d, this release reads 1 to %d", g.Format, format)
	}
	data, err := r.data()
	if err != nil {
		return Letter{}, err
	}
	l := Letter{
		Target:   g.Target,
		Source:   g.Source,
		Event:    g.Event,
		Failure:  g.Failure,
		Attempts: g.Attempts,
		Context:  g.Context,
		ParkedAt: g.ParkedAt,
		Payload:  data,
	}
	if sum := checksumOf(l.Payload); sum != g.Payload.checksum {
		return Letter{}, fmt.Errorf("decode letter %s: payload has %d bytes and CRC32C %s, should have %d and %s",
			g.ID, sum.Bytes, sum.CRC32C, g.Payload.Bytes, g.Payload.CRC32C)
	}
	if err := l.Check(); err != nil {
		return Letter{}, fmt.Errorf("decode letter %s: %w", g.ID, err)
	}
	return l, nil
}

// data returns the payload of the record's event.
func (r record) data() ([]byte, error) {
	var event kinesisEvent
	if err := json.Unmarshal([]byte(r.Payload), &event); err != nil {
		return nil, fmt.Errorf("decode letter %s: payload: %w", r.Penstock.ID, err)
	}
	if n := len(event.Records); n != 1 {
		return nil, fmt.Errorf("decode letter %s: payload of %d records, want 1", r.Penstock.ID, n)
	}
	return event.Records[0].Kinesis.Data, nil
}

// storedPayload returns the payload of a stored letter of any format, also one that this release does not read: what
// Lambda's part holds, and where it holds it, does not depend on ours.
func storedPayload(b []byte) ([]byte, error) {
	var lambda struct {
		Payload string `json:"payload"`
	}
	if err := json.Unmarshal(b, &lambda); err != nil {
		return nil, fmt.Errorf("decode letter: %w", err)
	}
	return record{Payload: lambda.Payload}.data()
}

// lambdaTime formats a time as Lambda does in these records.
func lambdaTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// region returns the region an ARN names, empty if it is none.
func region(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[3]
	}
	return ""
}
