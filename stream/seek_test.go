package stream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"pgregory.net/rapid"

	"penstock/checkpoint"
	"penstock/localstack/emulator"
)

func TestAPlaceIsFoundByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{Retention: 48 * time.Hour}, 1)
		shard := r.only()
		var numbers []checkpoint.Sequence
		var arrivals []time.Time
		for _, wait := range []time.Duration{time.Minute, time.Millisecond, 5 * time.Hour, 3 * time.Second, 40 * time.Hour, time.Second} {
			time.Sleep(wait)
			arrivals = append(arrivals, time.Now())
			numbers = append(numbers, r.put(len(numbers), 1, 0)...)
		}
		time.Sleep(time.Minute)
		begin := Place{After: shard.Start}
		for _, c := range []struct {
			name string
			at   time.Time
			want int // the record before the place; -1 for none
		}{
			{"before all", arrivals[0].Add(-time.Second), -1},
			{"at the first", arrivals[0], -1},
			{"just after the first", arrivals[0].Add(time.Millisecond / 2), 0},
			{"long after two that came together", arrivals[2].Add(-time.Hour), 1},
			{"at one", arrivals[3], 2},
			{"a day after one", arrivals[3].Add(24 * time.Hour), 3},
			{"now", time.Now(), 5},
		} {
			got, err := r.PlaceBefore(t.Context(), shard, c.at)
			if err != nil {
				t.Fatal(err)
			}
			want := begin
			if c.want >= 0 {
				want = Place{After: numbers[c.want], Arrival: arrivals[c.want]}
			}
			if got.After != want.After || !got.Arrival.Equal(want.Arrival) {
				t.Errorf("%s: got %+v, want %+v", c.name, got, want)
			}
		}
		time.Sleep(10 * time.Hour) // what came before the long wait is gone from the stream
		if got, err := r.PlaceBefore(t.Context(), shard, arrivals[3].Add(time.Hour)); err != nil || got != begin {
			t.Errorf("before a time whose records are gone: %+v, %v", got, err)
		}
	})
}

func TestAPlaceIsFoundByWhateverTheTimesAre(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		waits := rapid.SliceOfN(rapid.Int64Range(0, 3_000_000), 0, 12).Draw(rt, "waits, ms")
		back := rapid.Int64Range(0, 20_000_000).Draw(rt, "how long ago, ms")
		var got, want Place
		synctest.Test(t, func(t *testing.T) {
			r := start(t, emulator.Config{}, 1)
			want.After = r.only().Start
			at := time.Now()
			for _, w := range waits {
				at = at.Add(time.Duration(w) * time.Millisecond)
			}
			at = at.Add(-time.Duration(back) * time.Millisecond)
			for i, w := range waits {
				time.Sleep(time.Duration(w) * time.Millisecond)
				arrival := time.Now()
				number := r.put(i, 1, 0)[0]
				if arrival.Before(at) {
					want.After = number
				}
			}
			var err error
			if got, err = r.PlaceBefore(t.Context(), r.only(), at); err != nil {
				t.Error(err)
			}
		})
		if got.After != want.After {
			rt.Errorf("got %s, want %s", got.After, want.After)
		}
	})
}

func TestAPlaceIsFoundByRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 2)
		shards, err := r.Shards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		numbers := r.put(0, 3, 0)
		its, other := shards[0], shards[1]
		if _, err := r.PlaceOf(t.Context(), its, numbers[0]); errors.Is(err, ErrNotOfShard) {
			its, other = other, its
		}
		arrival := time.Now()
		time.Sleep(time.Hour)
		if got, err := r.PlaceOf(t.Context(), its, numbers[1]); err != nil || got.After != numbers[1] || !got.Arrival.Equal(arrival) || got.Part {
			t.Errorf("got %+v, %v", got, err)
		}
		if got, err := r.PlaceOf(t.Context(), its, its.Start); err != nil || got != (Place{After: its.Start}) {
			t.Errorf("the beginning: got %+v, %v", got, err)
		}
		for name, c := range map[string]struct {
			shard Shard
			of    checkpoint.Sequence
		}{"of another shard": {other, numbers[1]}, "of no shard": {its, "4711"}} {
			if got, err := r.PlaceOf(t.Context(), c.shard, c.of); !errors.Is(err, ErrNotOfShard) {
				t.Errorf("%s: got %+v, %v", name, got, err)
			}
		}
		if got, err := r.PlacePreceding(t.Context(), its, numbers[1]); err != nil || got.After != numbers[0] {
			t.Errorf("before the second: got %+v, %v", got, err)
		}
		if got, err := r.PlacePreceding(t.Context(), its, numbers[0]); err != nil || got.After != its.Start {
			t.Errorf("before the first: got %+v, %v", got, err)
		}
	})
}

func TestAPlaceInAnAggregateIsBeforeOrAfterAllOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		one := r.put(0, 1, 0)[0]
		out, err := r.client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String(name), PartitionKey: aws.String("k"),
			Data: sealed(message(userRecord{"k", "", "1"}, userRecord{"k", "", "2"}, userRecord{"k", "", "3"}))})
		if err != nil {
			t.Fatal(err)
		}
		many := checkpoint.Sequence(*out.SequenceNumber)
		if got, err := r.PlaceOf(t.Context(), r.only(), many); err != nil || got.After != many || !got.Part {
			t.Errorf("after it: got %+v, %v", got, err)
		}
		time.Sleep(time.Second)
		if got, err := r.PlaceBefore(t.Context(), r.only(), time.Now()); err != nil || got.After != many || !got.Part {
			t.Errorf("before now: got %+v, %v", got, err)
		}
		if got, err := r.PlacePreceding(t.Context(), r.only(), many); err != nil || got.After != one || got.Part {
			t.Errorf("before it: got %+v, %v", got, err)
		}
	})
}

// A reply without records says nothing of what follows, unless it says that nothing does.
func TestAPlaceIsFoundThoughTheServiceIsSlowToFindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, emulator.Config{}, 1)
		numbers := r.put(0, 5, 0)
		time.Sleep(time.Minute)
		calls := 0
		r.server.Intercept(func(_ context.Context, c emulator.Call) error {
			if c.Action != "GetRecords" {
				return nil
			}
			if calls++; calls%3 != 0 {
				return &emulator.APIError{Type: emulator.InternalFailure, Message: "scripted"}
			}
			return nil
		})
		if got, err := r.PlaceBefore(t.Context(), r.only(), time.Now()); err != nil || got.After != numbers[4] {
			t.Errorf("got %+v, %v", got, err)
		}
		if got, err := r.PlaceOf(t.Context(), r.only(), numbers[2]); err != nil || got.After != numbers[2] || got.Arrival.IsZero() {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
