package projector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"penstock/objects"
	"penstock/sink/deadletter"
	"penstock/view"
	"penstock/view/viewtest"
)

// secretRun is how many bytes in a row of a payload may stand in what is told: fewer are found in any text.
const secretRun = 12

// leaks returns a run of bytes of a payload that stands in the text.
func leaks(text string, payloads [][]byte) (run string, found bool) {
	runs := map[string]bool{}
	for i := 0; i+secretRun <= len(text); i++ {
		runs[text[i:i+secretRun]] = true
	}
	for _, p := range payloads {
		for i := 0; i+secretRun <= len(p); i++ {
			if runs[string(p[i:i+secretRun])] {
				return string(p[i : i+secretRun]), true
			}
		}
	}
	return "", false
}

// Records are parked for every reason there is in this world, the store is away for a while, and one letter finds another in its
// place: nothing of a payload stands in log, metrics or spans.
func TestNothingOfAPayloadIsLoggedMeasuredOrTraced(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 31, 1)
		core, logged := observer.New(zap.DebugLevel)
		w.log = zap.New(core)
		reader := sdk.NewManualReader()
		w.meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
		spans := tracetest.NewInMemoryExporter()
		w.tracer = trace.NewTracerProvider(trace.WithSyncer(spans)).Tracer("test")
		c := &crashing{world: w, point: "never", objects: map[string][]byte{}, puts: map[string]int{}}
		conflict := true
		w.parker = func(d *daemon) Parker {
			return deadletter.New(deadletter.Config{Log: w.log}, conflicting{crashingStore{c, d}, &conflict})
		}
		w.put(31, 200, 20, 0, garbled, refused, panics)
		d := w.join()
		w.await(func() bool { return logged.FilterMessageSnippet("cannot be parked").Len() > 0 }, time.Minute)
		w.set(func() { conflict = false })
		w.await(w.settled, 2*time.Minute)

		for key, body := range c.letters() {
			if l, err := deadletter.Decode(body); err != nil || len(l.Context.Trace) != 32 {
				t.Errorf("%s: %v, trace %q", key, err, l.Context.Trace)
			}
		}
		var poison [][]byte
		w.mu.Lock()
		for _, f := range w.facts {
			if f.kind != sound {
				poison = append(poison, f.data)
			}
		}
		w.mu.Unlock()
		if d.Counts().Parked < 5 || logged.FilterMessage("record parked").Len() < 5 || len(poison) < 5 {
			t.Errorf("%d records parked: this seed shows nothing", d.Counts().Parked)
		}
		var told strings.Builder
		for _, entry := range logged.All() {
			fmt.Fprintln(&told, entry.Message, entry.ContextMap())
		}
		var measured metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &measured); err != nil {
			t.Error(err)
		}
		if b, err := json.Marshal(measured); err != nil || !strings.Contains(string(b), "penstock.dlq.written") {
			t.Errorf("measured %s, %v", b, err)
		} else {
			told.Write(b)
		}
		for _, s := range spans.GetSpans() {
			fmt.Fprintf(&told, "%s %v %v %v\n", s.Name, s.Attributes, s.Events, s.Status)
		}
		if run, found := leaks(told.String(), poison); found {
			t.Errorf("%q of a payload was told", run)
		}
		if _, found := leaks(told.String()+string(poison[0][5:40]), poison); !found {
			t.Error("a payload that was told is not found")
		}
		return w.end()
	}))
}

// conflicting says of every key that it holds another letter, as long as it is to.
type conflicting struct {
	crashingStore
	conflict *bool
}

func (s conflicting) PutOnce(ctx context.Context, key string, body []byte, contentType string) error {
	if s.get(func() bool { return *s.conflict }) {
		return &objects.ExistsError{Location: key}
	}
	return s.crashingStore.PutOnce(ctx, key, body, contentType)
}

func (s conflicting) Get(ctx context.Context, key string) ([]byte, error) {
	if s.get(func() bool { return *s.conflict }) {
		return deadletter.Letter{Payload: []byte("another payload")}.Encode()
	}
	return s.crashingStore.Get(ctx, key)
}

// letters returns what is stored.
func (c *crashing) letters() map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.objects)
}

// typed is a view that says which events it reads.
type typed struct{ viewtest.Stock }

func (typed) Types() []string { return []string{"stock.counted.v1", "stock.moved.v2"} }

func TestLettersSayWhoParksThemAndWithWhat(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 32, 1)
		w.put(32, 10, 0, 0)
		d := w.join()
		p := &Projector{config: d.config, deps: d.deps}
		p.config.Context = deadletter.Context{Commit: "d4c1", Config: "0123456789abcdef", Host: "orders-7"}
		if got := p.letter("s").Context; got.Schemas != nil {
			t.Errorf("a view that does not say what it reads has %q", got.Schemas)
		}
		p.config.View = typed{}
		want := deadletter.Context{Version: "test", Commit: "d4c1", Config: "0123456789abcdef", Host: "orders-7", Worker: d.name,
			Schemas: []string{"stock.counted.v1", "stock.moved.v2"}}
		if diff := cmp.Diff(want, p.letter("s").Context); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		return w.end()
	}))
}

func TestALetterTellsWhatWasTried(t *testing.T) {
	first := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	last := first.Add(2 * time.Minute)
	for name, c := range map[string]struct {
		poison view.Poison
		want   deadletter.Attempts
	}{
		"on sight": {view.Poison{Stage: view.StageDecode, Err: errors.New("bad")}, deadletter.Attempts{}},
		"refused, and timed out before": {
			view.Poison{Stage: view.StageWrite, Tries: 7, First: first, Causes: []error{errors.New("server error 1"), errors.New("server error 2"), errors.New("refused")}, Err: errors.New("write t: refused")},
			deadletter.Attempts{Count: 7, First: first, Last: last, Errors: []deadletter.AttemptError{{Message: "server error 1", Count: 2}, {Message: "refused", Count: 1}}},
		},
		"by a writer that says only how often": {
			view.Poison{Stage: view.StageWrite, Tries: 2, Err: errors.New("write t: refused")},
			deadletter.Attempts{Count: 2, First: last, Last: last, Errors: []deadletter.AttemptError{{Message: "write t: refused", Count: 1}}},
		},
	} {
		if diff := cmp.Diff(c.want, attempts(refusal{poison: &c.poison, refusedAt: last})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
