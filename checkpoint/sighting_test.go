package checkpoint_test

import (
	"testing"
	"time"

	"penstock/checkpoint"
)

func TestWhenARowMayBeTaken(t *testing.T) {
	start := time.Now()
	terms := checkpoint.TermsOf(10 * time.Second)
	at := func(d time.Duration) string { return start.Add(d).UTC().Format(time.RFC3339) }
	ours := checkpoint.Timeout("a", start.Add(time.Hour), 1) // what it says does not matter
	unknown, right := checkpoint.Clock{}, checkpoint.Clock{Known: true}
	slow := checkpoint.Clock{Known: true, Ahead: 2 * time.Minute} // the local clock is two minutes behind
	fast := checkpoint.Clock{Known: true, Ahead: -2 * time.Minute}
	for _, c := range []struct {
		name  string
		row   checkpoint.Row
		clock checkpoint.Clock
		want  time.Duration // after the first sight; a foreign timeout has whole seconds
	}{
		{"free", checkpoint.Row{Timeout: ours}, unknown, 0},
		{"empty owner", checkpoint.Row{Timeout: ours, Empty: checkpoint.OwnerAttribute}, unknown, 0},
		{"ours", checkpoint.Row{Owner: "a", Timeout: ours}, unknown, 10 * time.Second},
		{"ours, clock known", checkpoint.Row{Owner: "a", Timeout: ours}, fast, 10 * time.Second},
		{"no timeout", checkpoint.Row{Owner: "a"}, right, 10 * time.Second},
		{"timeout of another type", checkpoint.Row{Owner: "a", Wrong: checkpoint.TimeoutAttribute}, right, 10 * time.Second},
		{"unparsable timeout", checkpoint.Row{Owner: "a", Timeout: "tomorrow"}, right, 10 * time.Second},
		{"owner of another type", checkpoint.Row{Timeout: "tomorrow", Wrong: checkpoint.OwnerAttribute}, right, 10 * time.Second},
		{"foreign, clock unknown", checkpoint.Row{Owner: "a", Timeout: at(time.Second)}, unknown, 30 * time.Second},
		{"foreign, over", checkpoint.Row{Owner: "a", Timeout: at(-time.Hour)}, right, 10 * time.Second},
		{"foreign, zero time", checkpoint.Row{Owner: "a", Timeout: "0001-01-01T00:00:00Z"}, right, 10 * time.Second},
		{"foreign, ends before the failover time", checkpoint.Row{Owner: "a", Timeout: at(5 * time.Second)}, right, 10 * time.Second},
		{"foreign, ends later", checkpoint.Row{Owner: "a", Timeout: at(20 * time.Second)}, right, 21 * time.Second},
		{"foreign, ends later, seen by a slow clock", checkpoint.Row{Owner: "a", Timeout: at(20*time.Second + 2*time.Minute)}, slow, 21 * time.Second},
		{"foreign, ends later, seen by a fast clock", checkpoint.Row{Owner: "a", Timeout: at(20*time.Second - 2*time.Minute)}, fast, 21 * time.Second},
		{"foreign, too far in the future", checkpoint.Row{Owner: "a", Timeout: at(24 * time.Hour)}, right, 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.row.Shard = "shardId-000000000000"
			var s checkpoint.Sighting
			s.See(c.row, start)
			later := start.Add(3 * time.Second)
			if s.See(c.row, later) {
				t.Error("an unchanged row is taken for a changed one")
			}
			got := s.RipeAt(later, terms, c.clock).Sub(start)
			if d := got - c.want; d > 0 || d <= -time.Second {
				t.Errorf("ripe after %v, want %v", got, c.want)
			}
		})
	}
}

func TestOnlySignsOfTheOwnersLifeCountAsAChange(t *testing.T) {
	start := time.Now()
	row := checkpoint.Row{Shard: "shardId-000000000000", Owner: "a", Timeout: "t", Checkpoint: "1"}
	for _, c := range []struct {
		name   string
		change func(*checkpoint.Row)
		want   bool
	}{
		{"owner", func(r *checkpoint.Row) { r.Owner = "b" }, true},
		{"timeout", func(r *checkpoint.Row) { r.Timeout = "u" }, true},
		{"checkpoint", func(r *checkpoint.Row) { r.Checkpoint = "2" }, true},
		{"type of the timeout", func(r *checkpoint.Row) { r.Timeout, r.Wrong = "", checkpoint.TimeoutAttribute }, true},
		{"claim", func(r *checkpoint.Row) { r.Claim = "c" }, false},
		{"parent", func(r *checkpoint.Row) { r.Parent = "shardId-000000000009" }, false},
		{"type of the claim", func(r *checkpoint.Row) { r.Wrong = checkpoint.ClaimAttribute }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s checkpoint.Sighting
			s.See(row, start)
			next := row
			c.change(&next)
			later := start.Add(time.Second)
			if got := s.See(next, later); got != c.want {
				t.Errorf("changed: %v, want %v", got, c.want)
			}
			if got := s.Since().Equal(later); got != c.want {
				t.Errorf("watched since %v", s.Since().Sub(start))
			}
			if seen, ok := s.Row(); seen != next || !ok {
				t.Errorf("the row is %+v", seen)
			}
		})
	}
}

func TestPositionsThatCannotBeReadCountAsNone(t *testing.T) {
	for text, readable := range map[checkpoint.Sequence]bool{"": true, "0": true, "17": true, checkpoint.ShardEnd: true,
		"01": false, "LATEST": false, "TRIM_HORIZON": false, "17a": false, "-1": false, " 1": false} {
		row := checkpoint.Row{Shard: "s", Checkpoint: text}
		if row.Unreadable() == readable || readable && row.Position() != text || !readable && row.Position() != "" {
			t.Errorf("%q: position %q, unreadable %v", text, row.Position(), row.Unreadable())
		}
	}
}
