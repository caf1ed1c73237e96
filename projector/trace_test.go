package projector

import (
	"fmt"
	"testing"
	"time"

	spancodes "go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"penstock/stream"
	"penstock/view"
)

func TestABatchHasTwoSpansWhateverBecomesOfItsRecords(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		spans := tracetest.NewSpanRecorder()
		w := newWorld(t, 41, 2)
		w.tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
		w.put(41, 300, 10, 0, garbled, refused, panics)
		d := w.join()
		w.await(w.settled, time.Minute)
		w.lower(&w.slow)
		w.lower(&w.s3)
		w.put(42, 100, 10, 0, garbled, refused)
		w.await(func() bool { return d.Counts().InFlight > 50 }, time.Minute)
		w.quit(d, 10*time.Second) // the rest is abandoned
		d.done <- <-d.done

		if open := len(spans.Started()) - len(spans.Ended()); open != 0 {
			t.Errorf("%d spans were never ended", open)
		}
		counted := map[string]int64{}
		parked, failed := int64(0), 0
		for _, s := range spans.Ended() {
			for _, a := range s.Attributes() {
				if a.Key == "messaging.batch.message_count" {
					counted[s.Name()] += a.Value.AsInt64()
				}
			}
			parked += int64(len(s.Events()))
			if s.Status().Code == spancodes.Error {
				failed++
			}
		}
		c := d.Counts()
		if counted["receive stock"] != c.Read || counted["process stock"] != c.Read || len(counted) != 2 {
			t.Errorf("spans of %v records, %+v", counted, c)
		}
		if parked != c.Parked || failed == 0 {
			t.Errorf("%d records parked in spans, %d spans failed, %+v", parked, failed, c)
		}
		return w.end()
	}))
}

func TestAnAnswerThatBringsNothingHasNoSpan(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	x := newTracing(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test"), "s", "shardId-0")
	now := time.Now()
	x.process(x.received(stream.Batch{Took: time.Second}, now), now, nil)
	x.received(stream.Batch{Took: time.Second, Failed: &stream.Error{Kind: stream.Throttled, Op: "get records", Stream: "s"}}, now)
	ended := spans.Ended()
	if len(ended) != 1 || ended[0].Status().Code != spancodes.Error || ended[0].SpanKind() != trace.SpanKindClient || !ended[0].StartTime().Equal(now.Add(-time.Second)) {
		t.Errorf("spans %v", ended)
	}
}

func TestOnlySampledTracesAreLinkedAndEachOnce(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	parent := func(i int, flags string) record {
		return record{event: view.Event{TraceParent: fmt.Sprintf("00-%s-%016x-%s", id, i+1, flags)}}
	}
	records := []record{parent(0, "01"), parent(0, "01"), parent(1, "00"), {}, {event: view.Event{TraceParent: "nonsense"}}, parent(2, "01")}
	got := links(records)
	if len(got) != 2 || got[0].SpanContext.TraceID().String() != id || got[1].SpanContext.SpanID().String() != "0000000000000003" {
		t.Errorf("links %v", got)
	}
	for i := range 100 {
		records = append(records, parent(i+3, "01"))
	}
	if n := len(links(records)); n != maxLinks {
		t.Errorf("%d links", n)
	}
}

// Without a tracer nothing is done for spans.
func TestNoTracerCostsNothing(t *testing.T) {
	x := newTracing(nil, "s", "shardId-0")
	batch, records, now := stream.Batch{Records: make([]stream.Record, 1)}, make([]record, 1), time.Now()
	r := &records[0]
	if n := testing.AllocsPerRun(100, func() {
		x.process(x.received(batch, now), now, records)
		r.batch.parked("")
		r.batch.settled(nil)
	}); n > 0 || r.batch != nil {
		t.Errorf("%v allocations", n)
	}
}
