package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"penstock/cmd/internal/cli"
)

// Where spans go, and how many of them, is said by OpenTelemetry's own variables, as AWS's say how to reach AWS. These
// are looked at here; the rest (headers, certificates, time-outs, sampler) is the SDK's.
const (
	otlpEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	otlpTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	otlpProtocol       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	otlpTracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	overHTTP           = "http/protobuf"
)

// tracingStop bounds the sending of the last spans.
const tracingStop = 5 * time.Second

// newTracer returns a tracer that exports by OTLP over HTTP, and what sends its last spans; nil when the environment
// names no collector: then nothing is traced.
func newTracer(ctx context.Context, log *zap.Logger) (tracer trace.Tracer, stop func(), err error) {
	if cmp.Or(os.Getenv(otlpTracesEndpoint), os.Getenv(otlpEndpoint)) == "" {
		return nil, func() {}, nil
	}
	if protocol := cmp.Or(os.Getenv(otlpTracesProtocol), os.Getenv(otlpProtocol), overHTTP); protocol != overHTTP {
		return nil, nil, cli.Exit(cli.ExitConfig, fmt.Errorf("%s %q: traces are exported by %s only", otlpProtocol, protocol, overHTTP))
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("create the exporter of traces: %w", err)
	}
	described, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "penstock"), attribute.String("service.version", cli.Version())), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("describe the source of traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(logged{exporter, log}), sdktrace.WithResource(described))
	return provider.Tracer("penstock"), func() {
		// Without cancel: what led to the end is what a trace is wanted for most.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracingStop)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("the last spans cannot be exported", zap.Error(err))
		}
	}, nil
}

// logged tells the log of spans that cannot be exported. They are dropped: nothing waits for a collector.
type logged struct {
	sdktrace.SpanExporter
	log *zap.Logger
}

// ExportSpans implements sdktrace.SpanExporter.
func (l logged) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := l.SpanExporter.ExportSpans(ctx, spans); err != nil {
		l.log.Warn("spans cannot be exported and are dropped", zap.Int("spans", len(spans)), zap.Error(err))
	}
	return nil
}
