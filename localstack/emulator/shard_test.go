package emulator

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A writer takes the time, a reader who has caught up is given a number a second later, and only then the record is stored.
func TestAContinuationHoldsForARecordThatIsOnItsWay(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms) }
	sh := newShard(0, 5, uint192{}, uint192{0, 0, 1}.decrement())
	sh.open(5_000)
	number := sh.continuation(0, at(11_000))
	if _, what := sh.append(at(10_999), time.Hour, WriteQuota{}, []byte("x"), 0); what != stored {
		t.Fatal("not stored")
	}
	if _, after, ok := sh.locate(number, at(12_000)); !ok || after != 1 {
		t.Errorf("continuation %s leads to %d, %t", number, after, ok)
	}
	if first := sh.sequenceOf(1, sh.at(1).arrival); first.number().compare(number.number()) <= 0 {
		t.Errorf("the record's number %s is not above the continuation %s", first, number)
	}
}

// Whatever is appended and trimmed, and whatever the clock does: a number once given, as a record's or as a continuation, stays
// good, leads to what follows it, and stands in the order of what was read.
func TestEveryNumberGivenLeadsToWhatFollowsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const retention = 40 * time.Second
		sh := newShard(3, 1_000, uint192{}, uint192{0, 0, 1}.decrement())
		sh.open(1_000_000)
		now := time.UnixMilli(1_000_000)
		type given struct {
			number sequence
			after  uint64
		}
		numbers := []given{{sh.startingSequence(), 1}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(-1_000, 3_000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.SampledFrom([]string{"append", "append", "tip", "amid", "trim"}).Draw(t, "step") {
			case "append":
				number, _ := sh.append(now, retention, WriteQuota{}, []byte("x"), 0)
				numbers = append(numbers, given{number, number.index + 1})
			case "tip":
				numbers = append(numbers, given{sh.continuation(sh.next-1, now), sh.next})
			case "amid":
				index := rapid.Uint64Range(0, sh.next-1).Draw(t, "index")
				numbers = append(numbers, given{sh.continuation(index, now), index + 1})
			case "trim":
				sh.life(now, retention)
			}
			for _, g := range numbers {
				at, after, ok := sh.locate(g.number, now)
				if !ok || after != g.after || at > after {
					t.Fatalf("%+v leads to %d at and %d after it, %t; want %d", g.number, at, after, ok, g.after)
				}
				if next := g.after; next < sh.next && next >= sh.first {
					if following := sh.sequenceOf(next, sh.at(next).arrival); following.number().compare(g.number.number()) <= 0 {
						t.Fatalf("%+v is not below the record %+v after it", g.number, following)
					}
				}
			}
		}
	})
}
