package projector

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	spancodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"penstock/stream"
	"penstock/view"
)

// maxLinks bounds the links of one span: a batch may hold records of thousands of traces.
const maxLinks = 32

// tracing makes the spans of one shard: two for each batch, never one for a record, and none for answers that bring
// nothing. A nil *tracing makes none and costs nothing.
//
// A batch belongs to the traces of all its records, so its spans have none of them as parent but link to those that
// are sampled, as OpenTelemetry's conventions for messaging have it.
type tracing struct {
	tracer     trace.Tracer
	stream     string
	attributes []attribute.KeyValue // of every span
}

func newTracing(t trace.Tracer, streamName, shard string) *tracing {
	if t == nil {
		return nil
	}
	return &tracing{t, streamName, []attribute.KeyValue{
		attribute.String(systemAttribute, "aws.kinesis"), attribute.String(sourceAttribute, streamName), attribute.String(shardAttribute, shard),
	}}
}

// received makes the span of one call of GetRecords that ended now. The context it returns is for what follows from it.
func (t *tracing) received(b stream.Batch, now time.Time) context.Context {
	ctx := context.Background() // a trace begins here
	if t == nil || len(b.Records) == 0 && b.Failed == nil {
		return ctx
	}
	ctx, span := t.tracer.Start(ctx, "receive "+t.stream, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(now.Add(-b.Took)),
		trace.WithAttributes(t.attributes...), trace.WithAttributes(
			attribute.String(operationAttribute, "GetRecords"), attribute.Int("messaging.batch.message_count", len(b.Records))))
	if b.Failed != nil {
		span.RecordError(b.Failed)
		span.SetStatus(spancodes.Error, "")
	}
	span.End(trace.WithTimestamp(now))
	return ctx
}

// processing is the span of a batch from its projection until its last record has an outcome or is given up.
type processing struct {
	span trace.Span
	open atomic.Int64
}

// process begins the span of a batch that was projected from began on.
func (t *tracing) process(ctx context.Context, began time.Time, records []record) {
	if t == nil || len(records) == 0 {
		return
	}
	_, span := t.tracer.Start(ctx, "process "+t.stream, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(began),
		trace.WithLinks(links(records)...), trace.WithAttributes(t.attributes...), trace.WithAttributes(
			attribute.String(operationAttribute, "project"), attribute.Int("messaging.batch.message_count", len(records))))
	p := &processing{span: span}
	p.open.Store(int64(len(records)))
	for i := range records {
		records[i].batch = p
	}
}

// links returns the sampled traces that records come from.
func links(records []record) []trace.Link {
	var out []trace.Link
	seen := map[string]bool{}
	for i := range records {
		parent := records[i].event.TraceParent
		if parent == "" || seen[parent] || len(out) == maxLinks {
			continue
		}
		seen[parent] = true
		ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent})
		if c := trace.SpanContextFromContext(ctx); c.IsSampled() {
			out = append(out, trace.Link{SpanContext: c})
		}
	}
	return out
}

// trace returns the id of the span's trace, empty if there is none.
func (p *processing) trace() string {
	if p == nil || !p.span.SpanContext().HasTraceID() {
		return ""
	}
	return p.span.SpanContext().TraceID().String()
}

// settled notes that a record has its outcome, or why it has none.
func (p *processing) settled(err error) {
	if p == nil {
		return
	}
	if err != nil {
		p.span.SetStatus(spancodes.Error, err.Error())
	}
	if p.open.Add(-1) == 0 {
		p.span.End()
	}
}

// parked notes that a record's letter is durable.
func (p *processing) parked(code view.Code) {
	if p == nil {
		return
	}
	p.span.AddEvent("record parked", trace.WithAttributes(attribute.String(reasonAttribute, string(code))))
	p.settled(nil)
}
