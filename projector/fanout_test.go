package projector

import (
	"context"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"pgregory.net/rapid"

	"penstock/localstack/emulator"
	"penstock/stream"
)

// byFanOut lets all daemons of a world read by subscriptions.
func (w *world) byFanOut() *world {
	w.t.Helper()
	if _, err := w.stream.Register(w.t.Context(), w.found.ARN, "view"); err != nil {
		w.t.Fatal(err)
	}
	var err error
	if w.reader, err = w.stream.FindConsumer(w.t.Context(), w.found.ARN, "view"); err != nil {
		w.t.Fatal(err)
	}
	return w
}

// sickenSubscriptions makes some subscriptions fail in some way, and the listing of shards.
func (w *world) sickenSubscriptions(ctx context.Context, c emulator.Call) error {
	switch c.Action {
	case "SubscribeToShard", "SubscribeToShardEvent", "ListShards":
	default:
		return nil
	}
	switch w.intN(12) {
	case 0:
		return &emulator.APIError{Type: emulator.LimitExceeded}
	case 1:
		return &emulator.APIError{Type: emulator.InternalFailure}
	case 2:
		return emulator.ErrCut
	case 3:
		if c.Action == "SubscribeToShardEvent" {
			return emulator.ErrEnd
		}
		return &emulator.APIError{Type: emulator.ResourceInUse}
	case 4:
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func TestEveryRecordEndsInTheRowsOrInALetterByFanOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed, history := rapid.Uint64Range(0, 1<<32).Draw(rt, "seed"), aWorldHistory().Draw(rt, "history")
		broken := inBubble(t, func(t *testing.T) []string {
			w := newWorld(t, seed, 3).byFanOut()
			w.live(seed, history)
			return w.end()
		})
		if len(broken) > 0 {
			rt.Fatalf("%d breaches, first: %s", len(broken), broken[0])
		}
	})
}

// What subscriptions tell of the present is published as that of polls is, also of shards without records.
func TestIdleShardsAreFreshByFanOut(t *testing.T) {
	holds(t, inBubble(t, func(t *testing.T) []string {
		w := newWorld(t, 5, 4).byFanOut()
		reader := sdk.NewManualReader()
		w.meter = sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
		d := w.join()
		time.Sleep(time.Minute)
		const lag = stream.MaxSilence + 5*time.Second + visibleWithin + 2*time.Second
		for range 60 {
			time.Sleep(7 * time.Second)
			d.metrics.mu.Lock()
			for id, f := range d.metrics.followed {
				if age := f.age(time.Now()); age != 0 {
					t.Errorf("%s is %s behind", id, age)
				}
				if behind := time.Since(f.settledThrough()); behind > lag {
					t.Errorf("%s is settled through %s ago", id, behind)
				}
			}
			if n := len(d.metrics.followed); n != 4 {
				t.Errorf("%d shards are followed", n)
			}
			d.metrics.mu.Unlock()
		}
		return w.end()
	}))
}
