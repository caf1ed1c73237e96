package cassandra

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/localstack/stacktest"
	"penstock/sink"
	"penstock/view/viewtest"
)

func TestProgressNeverGoesBackAndTheLeastOpenShardIsTheWatermark(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.KeyspaceName(t))
	v := kitchenView{"1"}
	if err := session.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, v, 1); err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)
	watermark := func(want Watermark) {
		t.Helper()
		got, err := session.Watermark(t.Context(), v, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Through.Equal(want.Through) || got.Shard != want.Shard || got.Open != want.Open {
			t.Errorf("watermark %+v, want %+v", got, want)
		}
	}
	watermark(Watermark{})

	p := NewProgress(session, v, 1)
	publish := func(shard string, through time.Time) {
		t.Helper()
		if err := p.Publish(t.Context(), map[string]time.Time{shard: through}); err != nil {
			t.Fatal(err)
		}
	}
	through := func(shard string, want time.Time) {
		t.Helper()
		if got, err := p.Through(t.Context(), shard); err != nil || !got.Equal(want) {
			t.Errorf("%s is settled through %v, not %v: %v", shard, got, want, err)
		}
	}
	through("a", time.Time{})
	publish("a", noon.Add(time.Minute))
	through("a", noon.Add(time.Minute))
	publish("b", time.UnixMilli(1))
	watermark(Watermark{time.UnixMilli(1), "b", 2})
	publish("b", noon.Add(1999*time.Microsecond)) // cut to the millisecond, never ahead
	watermark(Watermark{noon.Add(time.Millisecond), "b", 2})
	publish("b", noon.Add(-time.Hour)) // late, or of a worker that begins again at the checkpoint
	watermark(Watermark{noon.Add(time.Millisecond), "b", 2})

	if err := p.PublishEnd(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	publish("b", noon.Add(time.Hour)) // a parent's word comes too late
	watermark(Watermark{noon.Add(time.Minute), "a", 1})
	if err := p.PublishEnd(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	watermark(Watermark{})

	other := NewProgress(session, v, 2) // generations do not mix
	if err := other.Publish(t.Context(), map[string]time.Time{"a": noon}); err != nil {
		t.Fatal(err)
	}
	watermark(Watermark{})
}

func TestProgressOfAThousandShardsIsPublished(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.KeyspaceName(t))
	v := kitchenView{"1"}
	if err := session.Setup(t.Context(), stack.Datacenter, stack.ReplicationFactor, v, 1); err != nil {
		t.Fatal(err)
	}
	through := map[string]time.Time{}
	for i := range 1000 {
		through[fmt.Sprintf("shardId-%012d", i)] = time.UnixMilli(int64(1_000_000 + i))
	}
	if err := NewProgress(session, v, 1).Publish(t.Context(), through); err != nil {
		t.Fatal(err)
	}
	got, err := session.Watermark(t.Context(), v, 1)
	if want := (Watermark{time.UnixMilli(1_000_000), "shardId-000000000000", 1000}); err != nil || got.Shard != want.Shard || got.Open != want.Open || !got.Through.Equal(want.Through) {
		t.Errorf("watermark %+v, %v, want %+v", got, err, want)
	}
}

func TestProgressThatCannotBePublishedIsAClassifiedError(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.KeyspaceName(t))
	err := NewProgress(session, viewtest.Stock{}, 1).PublishEnd(t.Context(), "shardId-000000000007")
	if _, ok := errors.AsType[*sink.Error](err); !ok || !strings.HasPrefix(err.Error(), "publish the view's progress") {
		t.Errorf("error %v, want a classified one that says what failed", err)
	}
}
