package projector

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"penstock/checkpoint"
	"penstock/sink/deadletter"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsPage = "../docs/metrics.md"

// export returns what Prometheus sees of each instrument after one measurement with all its attributes.
func export(t *testing.T) map[instrument]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		t.Fatal(err)
	}
	meter := sdk.NewMeterProvider(sdk.WithReader(exporter)).Meter("test")
	made, err := build(meter)
	if err != nil {
		t.Fatal(err)
	}
	attributes := func(i instrument) metric.MeasurementOption {
		var all []attribute.KeyValue
		for _, name := range catalogue[i].Attributes {
			all = append(all, attribute.String(name, "x"))
		}
		return metric.WithAttributes(all...)
	}
	for i := range instruments {
		switch {
		case made.counters[i] != nil:
			made.counters[i].Add(t.Context(), 1, attributes(i))
		case made.histograms[i] != nil:
			made.histograms[i].Record(t.Context(), 1, attributes(i))
		}
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i := range instruments {
			switch {
			case made.numbers[i] != nil:
				o.ObserveInt64(made.numbers[i], 1, attributes(i))
			case made.floats[i] != nil:
				o.ObserveFloat64(made.floats[i], 1, attributes(i))
			}
		}
		return nil
	}, made.sampled()...)
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byHelp := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byHelp[f.GetHelp()] = f
	}
	out := map[instrument]*dto.MetricFamily{}
	for i, entry := range catalogue {
		f := byHelp[entry.Meaning]
		if f == nil {
			t.Fatalf("%s is not exported, or two metrics have one meaning", entry.Name)
		}
		out[instrument(i)] = f
	}
	return out
}

func labels(f *dto.MetricFamily) []string {
	var out []string
	for _, l := range f.GetMetric()[0].GetLabel() {
		out = append(out, l.GetName())
	}
	return out
}

func TestTheMetricsPageIsCurrent(t *testing.T) {
	var page bytes.Buffer
	page.WriteString(`# Metrics and traces

` + "`/metrics`" + ` on ` + "`telemetry.listen`" + ` shows these, in the text format of Prometheus, and those of the Go runtime (` + "`go_*`" + `) and the process
(` + "`process_*`" + `). Names that begin with ` + "`aws_kinesis_client_`" + ` are those of the Kinesis Client Library's OpenTelemetry export. A shard's series ends when
the worker no longer follows the shard, and begins at 0 when it does so again. Ids of orders and customers are in no label.

The five counts of records in one answer are of one moment, and always

` + "```" + `
penstock_records_read_total = penstock_records_applied_total + penstock_records_parked_total
                            + penstock_records_in_flight + penstock_records_abandoned_total
` + "```" + `

This page is written by ` + "`go test ./projector -run TestTheMetricsPageIsCurrent -update`" + `, and a test fails when a name, type, unit or label is no longer
as it stands here: dashboards and alerts are built on them.

| metric | type | unit | labels | meaning | the question it answers |
|---|---|---|---|---|---|
`)
	units := map[string]string{"s": "seconds", "ms": "milliseconds", "By": "bytes", "": "–"}
	exported := export(t)
	for i, entry := range catalogue {
		f := exported[instrument(i)]
		shown := "–"
		if names := labels(f); len(names) > 0 {
			shown = "`" + strings.Join(names, "`, `") + "`"
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s | %s | %s |\n", f.GetName(), entry.Kind, units[entry.Unit], shown, entry.Meaning, entry.Question)
	}
	page.WriteString(`
## Traces

Where ` + "`OTEL_EXPORTER_OTLP_ENDPOINT`" + ` (or ` + "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`" + `) names a collector, ` + "`projector run`" + ` exports spans to it by OTLP over
HTTP; the other variables of OpenTelemetry's SDK hold as well (headers, certificates, time-outs, ` + "`OTEL_TRACES_SAMPLER`" + `, ` + "`OTEL_RESOURCE_ATTRIBUTES`" + `).
Otherwise nothing is traced.

| span | kind | what it covers |
|---|---|---|
| ` + "`receive STREAM`" + ` | client | One call of GetRecords that brought records, or failed. |
| ` + "`process STREAM`" + ` | consumer | A batch from its projection until its last record is applied or parked; an error if some are given up. An event for each record parked. |

A batch belongs to the traces of all its records. ` + "`process`" + ` links to those that are sampled, each once and at most ` + fmt.Sprint(maxLinks) + ` of them, taken from the
events' ` + "`traceparent`" + `. There is no span of a single record or write.
`)
	if *update {
		if err := os.WriteFile(metricsPage, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(metricsPage)
	if err != nil || !bytes.Equal(got, page.Bytes()) {
		t.Errorf("docs/metrics.md is not current (%v). If no dashboard depends on what changed: go test ./projector -run %s -update", err, t.Name())
	}
}

func TestEveryEntryOfTheCatalogueIsWhole(t *testing.T) {
	exported := export(t)
	for i, entry := range catalogue {
		if entry.Name == "" || !strings.HasSuffix(entry.Meaning, ".") || !strings.ContainsAny(entry.Question, "?") || strings.Contains(entry.Meaning+entry.Question, "|") {
			t.Errorf("entry %d is not whole: %+v", i, entry)
		}
		if (entry.Kind == Histogram) != (len(entry.bounds) > 0) || !slices.IsSorted(entry.bounds) {
			t.Errorf("%s: %s with buckets %v", entry.Name, entry.Kind, entry.bounds)
		}
		kinds := map[Kind]dto.MetricType{Counter: dto.MetricType_COUNTER, Gauge: dto.MetricType_GAUGE, Histogram: dto.MetricType_HISTOGRAM}
		f := exported[instrument(i)]
		if f.GetType() != kinds[entry.Kind] {
			t.Errorf("%s is exported as %s", entry.Name, f.GetType())
		}
		for _, l := range labels(f) {
			if strings.Contains(l, "order") || strings.Contains(l, "customer") {
				t.Errorf("%s has label %s", entry.Name, l)
			}
		}
	}
}

// The KCL has milliseconds in the name of its lag. Everything else is as Prometheus wants it.
func TestPrometheusHasNothingToSayAgainstTheNames(t *testing.T) {
	problems, err := promlint.NewWithMetricFamilies(slices.Collect(maps.Values(export(t)))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Metric != "aws_kinesis_client_consumer_lag_duration_milliseconds" {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// Nothing of a projector's own may be measured that the catalogue does not have, nor with other attributes.
func TestWhatIsMeasuredIsInTheCatalogue(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 23, 2)
		reader := sdk.NewManualReader()
		w.meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
		w.clock = func() checkpoint.Clock { return checkpoint.Clock{Known: true} }
		w.load = func(time.Time) Load {
			return Load{
				Hosts: []HostLoad{{Address: "10.0.0.1:9042", Rack: "az-a", State: "normal", Idle: 1, Latency: 1, Decisions: []DecisionLoad{{"grow", "latency", 1}}}},
				Debts: []DebtLoad{{Address: "10.0.0.2:9042", Rack: "az-b", Absent: true}}, Cap: 1, Capped: true,
			}
		}
		w.put(23, 200, 10, 0, garbled, refused)
		d := w.join()
		d.metrics.Wrote("10.0.0.1:9042", 0, nil)
		d.metrics.Wrote("10.0.0.1:9042", 0, context.DeadlineExceeded)
		d.metrics.LetterFailed(&deadletter.ConflictError{})
		d.metrics.progressFailed()
		d.metrics.lease(leaseEvent{Kind: leaseLost})
		w.await(w.settled, time.Minute)
		time.Sleep(2 * failover)
		measured := measurements(t, reader)
		for _, entry := range catalogue {
			got, ok := measured[entry.Name]
			if !ok {
				t.Errorf("%s was not measured", entry.Name)
			}
			for _, attribute := range got {
				if !slices.Contains(entry.Attributes, attribute) {
					t.Errorf("%s has attribute %s, which the catalogue does not have", entry.Name, attribute)
				}
			}
			for _, attribute := range entry.Attributes {
				if !slices.Contains(got, attribute) && (attribute != errorAttribute || entry.Name == catalogue[writeDuration].Name) {
					t.Errorf("%s was never measured with attribute %s", entry.Name, attribute)
				}
			}
			delete(measured, entry.Name)
		}
		if len(measured) > 0 {
			t.Errorf("the catalogue lacks %v", slices.Sorted(maps.Keys(measured)))
		}
		return w.end()
	}))
}

// A measurement of every record must not cost an allocation.
func TestMeasuringARecordAllocatesNothing(t *testing.T) {
	metrics, err := NewMetrics(sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader())).Meter("test"))
	if err != nil {
		t.Fatal(err)
	}
	if err := metrics.observe(observed{stream: "s", view: "v", ledger: checkpoint.NewLedger(), budget: newBudget(1 << 20), fleet: func() fleetSeen { return fleetSeen{} }, paused: func() int { return 0 }}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	metrics.applied(begin)
	metrics.Wrote("10.0.0.1:9042", time.Millisecond, nil)
	if n := testing.AllocsPerRun(1000, func() { metrics.applied(begin) }); n > 0 {
		t.Errorf("%v allocations for a record", n)
	}
	if n := testing.AllocsPerRun(1000, func() { metrics.Wrote("10.0.0.1:9042", time.Millisecond, nil) }); n > 1 {
		t.Errorf("%v allocations for a request", n)
	}
}

func BenchmarkMeasuringARecord(b *testing.B) {
	metrics, err := NewMetrics(sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader())).Meter("test"))
	if err != nil {
		b.Fatal(err)
	}
	if err := metrics.observe(observed{stream: "s", view: "v", ledger: checkpoint.NewLedger(), budget: newBudget(1 << 20), fleet: func() fleetSeen { return fleetSeen{} }, paused: func() int { return 0 }}); err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		metrics.applied(begin)
	}
}
