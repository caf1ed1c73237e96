package deadletter

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestStateOfALetterByItsOutcomes(t *testing.T) {
	at := func(minute int, s State) Outcome {
		return Outcome{Letter: "1.s.2.0", State: s, At: noon.Add(time.Duration(minute) * time.Minute)}
	}
	for name, c := range map[string]struct {
		outcomes []Outcome
		want     State
		at       int // minute; -1 for none
	}{
		"none":                                   {nil, Open, -1},
		"redriven":                               {[]Outcome{at(1, Redriven)}, Redriven, 1},
		"redriven twice: the first closed it":    {[]Outcome{at(2, Redriven), at(1, Redriven)}, Redriven, 1},
		"failed, then redriven":                  {[]Outcome{at(1, Failed), at(2, Redriven)}, Redriven, 2},
		"failed after it was redriven":           {[]Outcome{at(1, Redriven), at(2, Failed)}, Redriven, 1},
		"failed twice":                           {[]Outcome{at(1, Failed), at(2, Failed)}, Failed, 2},
		"discarded":                              {[]Outcome{at(1, Discarded)}, Discarded, 1},
		"discarded and reopened":                 {[]Outcome{at(1, Discarded), at(2, Reopened)}, Open, -1},
		"failed, discarded and reopened":         {[]Outcome{at(1, Failed), at(2, Discarded), at(3, Reopened)}, Failed, 1},
		"reopened and discarded again":           {[]Outcome{at(1, Discarded), at(2, Reopened), at(3, Discarded)}, Discarded, 3},
		"discarded and reopened in one moment":   {[]Outcome{at(1, Reopened), at(1, Discarded)}, Open, -1},
		"discarded while a redrive failed":       {[]Outcome{at(1, Discarded), at(2, Failed)}, Discarded, 1},
		"discarded while a redrive went through": {[]Outcome{at(1, Redriven), at(2, Discarded)}, Redriven, 1},
		"reopening does not undo superseded":     {[]Outcome{at(1, Superseded), at(2, Reopened)}, Superseded, 1},
		"inherited":                              {[]Outcome{at(1, Inherited)}, Inherited, 1},
		"inherited and reopened":                 {[]Outcome{at(1, Inherited), at(2, Reopened)}, Open, -1},
	} {
		var f Fate
		for _, o := range c.outcomes {
			f = f.With(o)
		}
		var want time.Time
		if c.at >= 0 {
			want = at(c.at, Open).At
		}
		if f.State() != c.want || !f.At().Equal(want) {
			t.Errorf("%s: %s at %s, want %s at %s", name, f.State(), f.At(), c.want, want)
		}
		if open := f.State() == Open || f.State() == Failed; f.State().IsOpen() != open {
			t.Errorf("%s: open %t", name, f.State().IsOpen())
		}
	}
}

// Batches are listed by their names and read several at once, and two operators write theirs at once.
func TestTheOrderAndRepetitionOfOutcomesMakeNoDifference(t *testing.T) {
	states := []State{Failed, Redriven, Superseded, Discarded, Inherited, Reopened}
	rapid.Check(t, func(rt *rapid.T) {
		outcomes := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Outcome {
			return Outcome{Letter: "x", State: rapid.SampledFrom(states).Draw(rt, "state"), At: noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "at")))}
		}), 0, 8).Draw(rt, "outcomes")
		var one, other Fate
		for _, o := range outcomes {
			one = one.With(o)
		}
		for _, o := range append(rapid.Permutation(outcomes).Draw(rt, "order"), outcomes...) {
			other = other.With(o)
		}
		if one != other {
			rt.Fatalf("%+v and %+v", one, other)
		}
		final := false
		for _, o := range outcomes {
			final = final || o.State == Redriven || o.State == Superseded
		}
		if final && one.State() != Redriven && one.State() != Superseded {
			rt.Fatalf("a final state was left: %s", one.State())
		}
	})
}

func TestADecisionIsDatedAfterTheOneBeforeIt(t *testing.T) {
	ahead := Fate{}.With(Outcome{State: Discarded, At: noon.Add(time.Hour)})
	undone := ahead.With(Outcome{State: Reopened, At: ahead.After(noon)})
	if undone.State() != Open {
		t.Errorf("a discard of a clock that is ahead cannot be undone: %s", undone.State())
	}
	if at := ahead.After(noon.Add(2 * time.Hour)); !at.Equal(noon.Add(2 * time.Hour)) {
		t.Errorf("got %s, want now", at)
	}
}

func TestAnOutcomeSaysWhatItsStateNeeds(t *testing.T) {
	good := Outcome{Letter: "1.s.2.0", State: Redriven, At: noon}
	for says, change := range map[string]func(*Outcome){
		"state \"lost\"":      func(o *Outcome) { o.State = "lost" },
		"state \"open\"":      func(o *Outcome) { o.State = Open },
		"name its failure":    func(o *Outcome) { o.State = Failed },
		"name the event":      func(o *Outcome) { o.State = Superseded },
		"have a reason":       func(o *Outcome) { o.State = Discarded },
		"reopened: must have": func(o *Outcome) { o.State = Reopened },
		"letter must not":     func(o *Outcome) { o.Letter = "" },
		"time must not":       func(o *Outcome) { o.At = time.Time{} },
	} {
		o := good
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q in it", o, err, says)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

func TestOutcomesComeBackAsTheyWere(t *testing.T) {
	want := []Outcome{
		{Letter: "1.s.2.0", Key: "k", State: Failed, At: noon, By: "a@b", Run: "r", Release: "1", Revision: "x",
			Failure: &Failure{Stage: "decode", Code: "bad_json", Message: "line\nbreak <&>", Fingerprint: "f"}},
		{Letter: "1.s.3.0", Key: "l", State: Discarded, At: noon, By: "a@b", Run: "r", Reason: "a test's"},
	}
	text, err := encodeOutcomes(want)
	if err != nil || strings.Count(string(text), "\n") != 2 {
		t.Fatalf("%v, %q", err, text)
	}
	var got []Outcome
	if err := decodeOutcomes(text, func(o Outcome) { got = append(got, o) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Failure.Message != want[0].Failure.Message || got[1] != want[1] {
		t.Errorf("got %+v", got)
	}
	for _, broken := range []string{"{", `{"letter":"x","state":"redriven"}`, `{"state":"lost"}`} {
		if err := decodeOutcomes([]byte(broken), func(Outcome) {}); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v, want its line told", broken, err)
		}
	}
}
