package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// wire answers PutRecords as Kinesis does, without a network: the real client is above it, so the bytes of requests and
// answers are the real ones, and virtual time runs.
type wire struct {
	answer func(call int, records []wireRecord) (status int, body any) // nil body: the connection breaks

	calls  int
	at     []time.Time // of each call
	sizes  []int       // records in each call
	stored []wireRecord
}

type wireRecord struct {
	Data         []byte
	PartitionKey string
}

type wireResult struct {
	SequenceNumber string `json:",omitzero"`
	ShardID        string `json:"ShardId,omitzero"`
	ErrorCode      string `json:",omitzero"`
	ErrorMessage   string `json:",omitzero"`
}

// accepted answers that every record was stored, but those that refuse picks.
func (w *wire) accepted(records []wireRecord, refuse func(i int) bool) (int, any) {
	var results []wireResult
	for i, r := range records {
		if refuse != nil && refuse(i) {
			results = append(results, wireResult{ErrorCode: "ProvisionedThroughputExceededException", ErrorMessage: "Rate exceeded"})
			continue
		}
		w.stored = append(w.stored, r)
		results = append(results, wireResult{SequenceNumber: fmt.Sprint(len(w.stored)), ShardID: "shardId-000000000000"})
	}
	return http.StatusOK, map[string]any{"Records": results}
}

func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	var input struct {
		StreamName string
		Records    []wireRecord
	}
	if err := json.NewDecoder(request.Body).Decode(&input); err != nil {
		return nil, err
	}
	if target := request.Header.Get("X-Amz-Target"); target != "Kinesis_20131202.PutRecords" || input.StreamName != "orders" {
		return nil, fmt.Errorf("unexpected call of %s for stream %s", target, input.StreamName)
	}
	w.calls++
	w.at = append(w.at, time.Now())
	w.sizes = append(w.sizes, len(input.Records))
	status, body := w.answer(w.calls, input.Records)
	if body == nil {
		return nil, errors.New("connection reset by peer")
	}
	answer, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Request: request, Body: io.NopCloser(bytes.NewReader(answer)),
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
	}, nil
}

func (w *wire) client() *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region: "eu-central-1", BaseEndpoint: new("http://kinesis.invalid"), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""), HTTPClient: &http.Client{Transport: w},
	})
}

// storedOnce reports whether the stream holds each event, and how many records more.
func (w *wire) storedOnce(t *testing.T, events []Event) (surplus int) {
	t.Helper()
	stored := make(map[string]int)
	for _, r := range w.stored {
		stored[string(r.Data)+" under "+r.PartitionKey]++
	}
	for _, e := range events {
		key := string(e.Payload) + " under " + e.OrderID
		if stored[key] == 0 {
			t.Errorf("event %s is not in the stream", e.ID)
		}
		stored[key]--
	}
	for _, n := range stored {
		surplus += n
	}
	return surplus
}

func distinct(events []Event) map[string]bool {
	ids := make(map[string]bool)
	for _, e := range events {
		ids[e.ID] = true
	}
	return ids
}

func TestSeedWritesEveryEventUnderItsOrder(t *testing.T) {
	events := busy(t, 20, 500)
	w := &wire{}
	w.answer = func(_ int, records []wireRecord) (int, any) { return w.accepted(records, nil) }
	var last Progress
	seeded, err := Seed(t.Context(), w.client(), "orders", slices.Values(events), Options{Progress: func(p Progress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	if surplus := w.storedOnce(t, events); surplus != 0 {
		t.Errorf("%d records too many", surplus)
	}
	ids := distinct(events)
	if seeded.Records != len(events) || seeded.Events != len(ids) || seeded.Refused != 0 || last != seeded.Progress {
		t.Errorf("%+v for %d records of %d events; last progress %+v", seeded.Progress, len(events), len(ids), last)
	}
	for id := range seeded.IDs() {
		if !ids[id] || !seeded.Acknowledged(id) {
			t.Errorf("event %s acknowledged and never sent", id)
		}
	}
	if slices.Max(w.sizes) != maxPutRecords || w.calls != (len(events)+maxPutRecords-1)/maxPutRecords {
		t.Errorf("calls of %v records", w.sizes)
	}
}

func TestSeedKeepsCallsBelowFiveMegabytes(t *testing.T) {
	var events []Event
	for i := range 12 {
		payload := bytes.Repeat([]byte{byte(i)}, 1<<20-len("order"))
		events = append(events, Event{ID: fmt.Sprint(i), OrderID: "order", Payload: payload})
	}
	w := &wire{}
	w.answer = func(_ int, records []wireRecord) (int, any) { return w.accepted(records, nil) }
	if _, err := Seed(t.Context(), w.client(), "orders", slices.Values(events), Options{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.sizes, []int{5, 5, 2}) {
		t.Errorf("calls of %v records of 1 MiB, want 5, 5 and 2", w.sizes)
	}
}

func TestSeedSendsOnlyRefusedRecordsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := busy(t, 21, 500)
		w := &wire{}
		w.answer = func(call int, records []wireRecord) (int, any) {
			return w.accepted(records, func(i int) bool { return (i+call)%3 == 0 })
		}
		seeded, err := Seed(t.Context(), w.client(), "orders", slices.Values(events), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if surplus := w.storedOnce(t, events); surplus != 0 {
			t.Errorf("%d records stored again", surplus)
		}
		if seeded.Refused == 0 || seeded.Records != len(events) {
			t.Errorf("%+v for %d records", seeded.Progress, len(events))
		}
		if w.sizes[1] >= w.sizes[0]/2 {
			t.Errorf("calls of %v records: refused ones are not sent alone", w.sizes[:2])
		}
	})
}

func TestSeedRepeatsACallWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := busy(t, 22, 50)
		w := &wire{}
		w.answer = func(call int, records []wireRecord) (int, any) {
			switch call {
			case 1: // stored, and nobody hears of it
				w.accepted(records, nil)
				return 0, nil
			case 2:
				return http.StatusInternalServerError, map[string]string{"__type": "InternalFailureException"}
			case 3:
				return http.StatusBadRequest, map[string]string{"__type": "ProvisionedThroughputExceededException"}
			case 4:
				return http.StatusOK, map[string]any{"Records": []wireResult{}} // an answer to another question
			}
			return w.accepted(records, nil)
		}
		seeded, err := Seed(t.Context(), w.client(), "orders", slices.Values(events), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if surplus := w.storedOnce(t, events); surplus != len(events) {
			t.Errorf("%d records more than sent, want each once more", surplus)
		}
		if seeded.Failures != 4 || seeded.Records != len(events) || len(slices.Collect(seeded.Unsure())) != 0 {
			t.Errorf("%+v, unsure of %d", seeded.Progress, len(slices.Collect(seeded.Unsure())))
		}
	})
}

func TestSeedGivesUpWhereNothingMoves(t *testing.T) {
	for name, answer := range map[string]func(int, []wireRecord) (int, any){
		"refused": func(_ int, records []wireRecord) (int, any) {
			return new(wire).accepted(records, func(int) bool { return true })
		},
		"silent": func(int, []wireRecord) (int, any) { return 0, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{answer: answer}
				seeded, err := Seed(t.Context(), w.client(), "orders", slices.Values(busy(t, 23, 50)), Options{Attempts: 7})
				if err == nil || w.calls != 7 || seeded.Events != 0 {
					t.Fatalf("%d calls, %d events acknowledged, %v", w.calls, seeded.Events, err)
				}
				if isRefused := errors.Is(err, errRefused); isRefused != (name == "refused") {
					t.Errorf("the reason is %v", err)
				}
				unsure := len(slices.Collect(seeded.Unsure()))
				if (unsure > 0) != (name == "silent") {
					t.Errorf("unsure of %d events", unsure)
				}
				for i := 1; i < len(w.at); i++ {
					if wait := w.at[i].Sub(w.at[i-1]); wait > lastBackOff {
						t.Errorf("waited %v before call %d", wait, i+1)
					}
				}
			})
		})
	}
}

func TestSeedEndsAtOnceWhereTheRequestIsWrong(t *testing.T) {
	w := &wire{answer: func(int, []wireRecord) (int, any) {
		return http.StatusBadRequest, map[string]string{"__type": "ResourceNotFoundException", "message": "Stream orders not found"}
	}}
	_, err := Seed(t.Context(), w.client(), "orders", slices.Values(busy(t, 24, 50)), Options{})
	if err == nil || w.calls != 1 || !strings.Contains(err.Error(), "seed stream orders") {
		t.Errorf("%d calls, %v", w.calls, err)
	}
}

func TestSeedEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &wire{}
		w.answer = func(call int, records []wireRecord) (int, any) {
			if call == 2 {
				cancel()
				return 0, nil
			}
			return w.accepted(records, nil)
		}
		seeded, err := Seed(ctx, w.client(), "orders", slices.Values(busy(t, 25, 500)), Options{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if w.calls != 2 || seeded.Records != maxPutRecords || len(slices.Collect(seeded.Unsure())) == 0 {
			t.Errorf("%d calls, %+v", w.calls, seeded.Progress)
		}
	})
}

func TestSeedKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := busy(t, 26, 100)
		w := &wire{}
		w.answer = func(_ int, records []wireRecord) (int, any) { return w.accepted(records, nil) }
		begin := time.Now()
		if _, err := Seed(t.Context(), w.client(), "orders", slices.Values(events), Options{Rate: 100}); err != nil {
			t.Fatal(err)
		}
		want := time.Duration(float64(len(events)) / 100 * float64(time.Second))
		if took := time.Since(begin); took < want-time.Second || took > want+time.Second {
			t.Errorf("%d events took %v at 100 a second, want %v", len(events), took, want)
		}
		if most := slices.Max(w.sizes); most != 10 {
			t.Errorf("calls of up to %d records, want a trickle of 10", most)
		}
	})
}

func TestTheOracleCountsOnlyWhatWasAcknowledged(t *testing.T) {
	events := busy(t, 27, 500)
	w := &wire{}
	w.answer = func(call int, records []wireRecord) (int, any) {
		if call > 2 {
			return http.StatusBadRequest, map[string]string{"__type": "ResourceNotFoundException"}
		}
		return w.accepted(records, nil)
	}
	seeded, err := Seed(t.Context(), w.client(), "orders", slices.Values(events), Options{})
	if err == nil {
		t.Fatal("the stream is gone and nobody noticed")
	}
	oracle := NewOracle(slices.Values(events), seeded.Acknowledged)
	sent := distinct(events[:2*maxPutRecords])
	if oracle.Events() != len(sent) || !maps.Equal(sent, distinct(events[:seeded.Records])) {
		t.Errorf("the oracle counts %d events, acknowledged are %d", oracle.Events(), len(sent))
	}
}
