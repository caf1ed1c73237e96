package stream

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/diagnosis"
	"penstock/localstack/emulator"
)

func TestAConsumerIsRegisteredOnceByAnyNumberOfSetups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{UpdateTime: 3 * time.Second}, 1)
		d, err := r.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.FindConsumer(t.Context(), d.ARN, "view"); !errors.Is(err, ErrNoConsumer) || !strings.Contains(err.Error(), "run projector setup") {
			t.Errorf("before: %v", err)
		}
		var setups sync.WaitGroup
		var mu sync.Mutex
		made := 0
		for range 4 {
			setups.Go(func() {
				created, err := r.Register(t.Context(), d.ARN, "view")
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if created {
					made++
				}
			})
		}
		setups.Wait()
		c, err := r.FindConsumer(t.Context(), d.ARN, "view")
		if err != nil || !c.Active || c.Name != "view" || !strings.HasPrefix(c.ARN, d.ARN+"/consumer/view:") {
			t.Errorf("found %+v, %v", c, err)
		}
		if made != 1 {
			t.Errorf("%d of 4 registered it", made)
		}
		if created, err := r.Register(t.Context(), d.ARN, "view"); created || err != nil {
			t.Errorf("again: %t, %v", created, err)
		}
	})
}

func TestAConsumerThatIsBeingDeletedIsRegisteredAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{UpdateTime: 3 * time.Second}, 1)
		old := r.consumer("view")
		if _, err := r.client.DeregisterStreamConsumer(t.Context(), &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &old.ARN}); err != nil {
			t.Fatal(err)
		}
		d, _ := r.Describe(t.Context())
		created, err := r.Register(t.Context(), d.ARN, "view")
		if err != nil || !created {
			t.Fatalf("created %t, %v", created, err)
		}
		if c := r.consumer("view"); c.ARN == old.ARN || !c.Active {
			t.Errorf("found %+v, after %+v", c, old)
		}
	})
}

func TestRegisteringTellsWhatStandsInItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		d, _ := r.Describe(t.Context())
		deny := emulator.Script(emulator.Fault{Action: "RegisterStreamConsumer", Effect: emulator.Deny})
		r.server.Intercept(deny)
		_, err := r.Register(t.Context(), d.ARN, "view")
		failed, ok := errors.AsType[*Error](err)
		if !ok || failed.Kind != Fatal || !strings.Contains(err.Error(), "allow kinesis:RegisterStreamConsumer") {
			t.Errorf("got %v", err)
		}
		r.server.Intercept(nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("stopped")
		cancel(gone)
		if _, err := r.Register(ctx, d.ARN, "view"); !errors.Is(err, gone) {
			t.Errorf("got %v, want the cause", err)
		}
	})
}

func TestDiagnoseFindsOutWhetherAConsumerMaySubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{UpdateTime: 3 * time.Second}, 1)
		found := func() map[string]diagnosis.Level {
			findings, _, shards := r.DiagnoseFanOut(t.Context(), "view")
			if len(shards) != 1 {
				t.Errorf("%d shards", len(shards))
			}
			levels := map[string]diagnosis.Level{}
			for _, f := range findings {
				if f.Level != diagnosis.OK && f.Do == "" {
					t.Errorf("nothing to do about %+v", f)
				}
				levels[f.Item+" "+f.Name] = f.Level
			}
			return levels
		}
		const consumer, right = "consumer view", "right kinesis:SubscribeToShard"
		if got := found(); got[consumer] != diagnosis.Missing {
			t.Errorf("without it: %v", got)
		}
		d, _ := r.Describe(t.Context())
		in := &kinesis.RegisterStreamConsumerInput{StreamARN: aws.String(d.ARN), ConsumerName: aws.String("view")}
		if _, err := r.client.RegisterStreamConsumer(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if got := found(); got[consumer] != diagnosis.Warn {
			t.Errorf("while it is made: %v", got)
		}
		reader := r.FanOut(r.consumer("view"), r.only(), "", Start{}, newLedger())
		defer reader.Close()
		if got := found(); got[consumer] != diagnosis.OK || got[right] != diagnosis.OK {
			t.Errorf("when it is there: %v", got)
		}
		if err := reader.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := found(); got[right] != diagnosis.OK {
			t.Errorf("while a fleet is subscribed: %v", got)
		}
		if reader.sub == nil || reader.sub.cause() != nil {
			t.Error("the dry run took the subscription over")
		}
		for action, want := range map[string]string{"DescribeStreamConsumer": consumer, "SubscribeToShard": right} {
			r.server.Intercept(emulator.Script(emulator.Fault{Action: action, Effect: emulator.Deny}))
			if got := found(); got[want] != diagnosis.Denied {
				t.Errorf("without the right to %s: %v", action, got)
			}
		}
		r.server.Intercept(emulator.Script(emulator.Fault{Action: "DescribeStreamSummary", Effect: emulator.Deny}))
		if got := found(); got[consumer] != diagnosis.Warn {
			t.Errorf("without the stream's ARN: %v", got)
		}
		r.server.Intercept(nil)
	})
}
