package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/zap"

	"penstock/cmd/internal/cli"
)

func TestSpansGoToTheCollectorThatTheEnvironmentNames(t *testing.T) {
	var got []byte
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("X-Tenant") != "shop" {
			t.Errorf("%s with %v: %v", r.URL, r.Header, err)
		}
		got = append(got, body...)
	}))
	defer collector.Close()
	t.Setenv(otlpEndpoint, collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
	tracer, stop, err := newTracer(t.Context(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), "receive orders")
	span.End()
	stop()
	for _, part := range []string{"receive orders", "service.name", "penstock", "staging"} {
		if !bytes.Contains(got, []byte(part)) {
			t.Errorf("%q was not exported", part)
		}
	}
}

func TestWithoutACollectorNothingIsTraced(t *testing.T) {
	t.Setenv(otlpEndpoint, "")
	t.Setenv(otlpTracesEndpoint, "")
	tracer, stop, err := newTracer(t.Context(), zap.NewNop())
	if tracer != nil || err != nil {
		t.Fatalf("tracer %v, %v", tracer, err)
	}
	stop()
}

func TestAProtocolThatIsNotSpokenIsRefused(t *testing.T) {
	t.Setenv(otlpEndpoint, "http://127.0.0.1:4317")
	t.Setenv(otlpProtocol, "grpc")
	if _, _, err := newTracer(t.Context(), zap.NewNop()); exitCode(err) != cli.ExitConfig {
		t.Errorf("%v, exit code %d", err, exitCode(err))
	}
}

func TestACollectorThatIsAwayHoldsNothingUp(t *testing.T) {
	t.Setenv(otlpEndpoint, "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
	tracer, stop, err := newTracer(t.Context(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 { // more than the queue holds
		_, span := tracer.Start(t.Context(), "receive orders")
		span.End()
	}
	stop()
}
