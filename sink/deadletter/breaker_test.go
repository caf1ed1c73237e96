package deadletter

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock/view"
)

var defaults = BreakerConfig{SharePercent: 5, MinRecords: 1000, InARow: 100}

// ask gives the breaker records in the stream's order: a code for one that needs a letter, "" for one that is applied.
// It returns the letters written before the breaker tripped.
func ask(b *Breaker, from int64, codes ...view.Code) (written int) {
	for i, code := range codes {
		if code == "" {
			continue
		}
		if !b.Letter(from+int64(i), code) {
			return written
		}
		written++
	}
	return written
}

// pattern returns n records of which a code comes at every step.
func pattern(n, step int, codes ...view.Code) []view.Code {
	out := make([]view.Code, n)
	for i := range out {
		if i%step == step-1 {
			out[i] = codes[i/step%len(codes)]
		}
	}
	return out
}

func TestTheBreakerTripsBeforeTheLetterThatIsTooMuch(t *testing.T) {
	json, missing := view.CodeBadJSON, view.CodeMissingField
	for name, c := range map[string]struct {
		config  BreakerConfig
		records []view.Code
		written int
		why     string // empty: it does not trip
	}{
		"all of one code": {defaults, pattern(5000, 1, json), 100,
			"100 records in a row have letters of code bad_json, and the next needs one, too"},
		"all, of two codes": {defaults, pattern(5000, 1, json, missing), 999,
			"999 of the last 1000 records have letters, most of them of code bad_json (500), and the next needs one, too"},
		"a run that an applied record ends": {defaults, slices.Concat(pattern(100, 1, json), pattern(1, 2), pattern(100, 1, json)), 200, ""},
		"a run that another code ends":      {defaults, slices.Concat(pattern(100, 1, json), pattern(1, 1, missing), pattern(99, 1, json)), 200, ""},
		"five in a hundred":                 {defaults, pattern(50_000, 20, json), 2500, ""},
		"one in nineteen":                   {defaults, pattern(50_000, 19, json), 52, "52 of the last 1007 records have letters, most of them of code bad_json (52), and the next needs one, too"},
		"after a long time without": {defaults, slices.Concat(pattern(100_000, 1000, missing), pattern(5000, 2, json)), 100 + 490,
			"499 of the last 9982 records have letters, most of them of code bad_json (490), and the next needs one, too"},
		"too few records": {defaults, pattern(998, 2, json), 499, ""},
		"the zero value":  {BreakerConfig{}, pattern(5000, 1, json), 5000, ""},
		"a share of 100":  {BreakerConfig{SharePercent: 100, MinRecords: 10}, pattern(5000, 1, json), 5000, ""},
		"only in a row":   {BreakerConfig{InARow: 3}, pattern(50, 1, json), 3, "3 records in a row have letters of code bad_json, and the next needs one, too"},
		"only a share":    {BreakerConfig{SharePercent: 50, MinRecords: 10}, pattern(50, 1, json), 9, "9 of the last 10 records have letters, most of them of code bad_json (9), and the next needs one, too"},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBreaker(c.config)
			if written := ask(b, 0, c.records...); written != c.written {
				t.Errorf("%d letters were written, want %d", written, c.written)
			}
			why := ""
			if trip := b.Tripped(); trip != nil {
				why = trip.Why()
			}
			if why != c.why {
				t.Errorf("it tripped since %q, want %q", why, c.why)
			}
		})
	}
}

func TestATrippedBreakerAllowsNothingUntilItIsReset(t *testing.T) {
	b := NewBreaker(defaults)
	all := pattern(200, 1, view.CodeBadJSON)
	if n := ask(b, 0, all...); n != 100 || b.Tripped() == nil {
		t.Fatalf("%d letters, tripped %v", n, b.Tripped())
	}
	if b.Letter(150, view.CodeMissingField) {
		t.Error("a letter of another code was allowed")
	}
	if got := b.Tally(); got.Seen != 0 {
		t.Errorf("it hands on %+v", got)
	}
	b.Reset(199)
	if n := ask(b, 200, all...); n != 100 {
		t.Errorf("%d letters after it was reset, want 100: it counts anew", n)
	}
}

// Cassandra's refusals come in the order of its answers. In a row means the stream's order all the same.
func TestARunIsOfTheStreamsOrder(t *testing.T) {
	b := NewBreaker(BreakerConfig{InARow: 10})
	for _, n := range []int64{0, 2, 4, 6, 8, 10, 9, 7, 5, 3} {
		if !b.Letter(n, view.CodeRejected) {
			t.Fatalf("record %d: tripped since %s", n, b.Tripped().Why())
		}
	}
	if b.Letter(1, view.CodeRejected) {
		t.Error("eleven in a row were allowed")
	}
}

// The next owner goes on counting, also where the count is kept as text, and a run goes on over the hand-over.
func TestATallyGoesOnAtTheNextOwner(t *testing.T) {
	hand := func(b *Breaker) *Breaker {
		text, err := json.Marshal(b.Tally())
		if err != nil {
			t.Fatal(err)
		}
		var tally Tally
		if err := json.Unmarshal(text, &tally); err != nil {
			t.Fatal(err)
		}
		next := NewBreaker(defaults)
		next.Continue(tally)
		return next
	}
	b := NewBreaker(defaults)
	ask(b, 0, pattern(60, 1, view.CodeBadJSON)...)
	b = hand(hand(b))
	if n := ask(b, 0, pattern(60, 1, view.CodeBadJSON)...); n != 40 {
		t.Errorf("%d letters in a row after 60 of an earlier owner, want 40", n)
	}
	// A run of the earlier owner that ended before: the first record of the next has no letter.
	b = NewBreaker(defaults)
	ask(b, 0, pattern(60, 1, view.CodeBadJSON)...)
	b = hand(b)
	if n := ask(b, 1, pattern(60, 1, view.CodeBadJSON)...); n != 60 {
		t.Errorf("%d letters after a run that had ended, want 60", n)
	}
	// A share: 3 of 100 at each of many owners, none of which sees 1,000 records, and then more than 5.
	b = NewBreaker(defaults)
	for range 30 {
		if ask(b, 0, pattern(990, 33, view.CodeBadJSON)...); b.Tripped() != nil {
			t.Fatal(b.Tripped().Why())
		}
		b = hand(b)
	}
	written := 0
	for range 30 {
		written += ask(b, 0, pattern(990, 10, view.CodeBadJSON)...)
		if b.Tripped() != nil {
			break
		}
		b = hand(b)
	}
	if b.Tripped() == nil || written > 500 {
		t.Errorf("%d letters were written by owners of 990 records each, tripped: %v", written, b.Tripped())
	}
}

func TestBreakersThatMakeNoSenseAreRefused(t *testing.T) {
	for want, c := range map[string]BreakerConfig{
		"101 percent": {SharePercent: 101, MinRecords: 1}, "-1 percent": {SharePercent: -1},
		"0 records": {SharePercent: 5}, "-1 letters in a row": {InARow: -1},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want one that names %s", c, err, want)
		}
	}
	if err := defaults.Check(); err != nil {
		t.Error(err)
	}
}

// Whatever a stream holds, whoever owns the shard, and in whatever order the letters are asked for: no more than the
// bound are written once everything is poison, and in the stream's order the breaker decides as a plain count does.
func TestTheBreakersBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := BreakerConfig{
			SharePercent: rapid.IntRange(0, 60).Draw(t, "share"), MinRecords: rapid.IntRange(1, 40).Draw(t, "min"), InARow: rapid.IntRange(1, 30).Draw(t, "row"),
		}
		b := NewBreaker(c)
		var history []view.Code // "" for a record without a letter
		for range rapid.IntRange(0, 300).Draw(t, "before") {
			code := rapid.SampledFrom([]view.Code{"", "", "", "", "", view.CodeBadJSON, view.CodeMissingField}).Draw(t, "code")
			want := code == "" || allowed(c, history, code)
			if got := code == "" || b.Letter(int64(len(history)), code); got != want {
				t.Fatalf("record %d, %q, after %q: allowed %t, want %t", len(history), code, history, got, want)
			}
			if !want {
				return
			}
			history = append(history, code)
		}
		codes := []view.Code{view.CodeRejected}
		if rapid.Bool().Draw(t, "codes") {
			codes = append(codes, view.CodePanic)
		}
		oneCode, anyCode := c.Bound()
		bound := oneCode
		// Letters must not leave the window before their neighbours have come.
		most := max(1, windowBuckets*c.MinRecords-anyCode-1)
		if ahead := rapid.IntRange(1, min(20, most)).Draw(t, "ahead"); len(codes) > 1 || ahead > 1 {
			bound = anyCode
			if anyCode == 0 {
				return // nothing bounds it
			}
			written := 0
			for n := len(history); b.Tripped() == nil && n < len(history)+5000; n += ahead {
				for _, i := range rapid.Permutation(upTo(ahead)).Draw(t, "order") {
					if b.Letter(int64(n+i), codes[i%len(codes)]) {
						written++
					}
				}
			}
			if written > bound || b.Tripped() == nil {
				t.Fatalf("%d letters were written, the bound is %d", written, bound)
			}
			return
		}
		if written := ask(b, int64(len(history)), pattern(5000, 1, codes...)...); written > bound || b.Tripped() == nil {
			t.Fatalf("%d letters were written, the bound is %d", written, bound)
		}
	})
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// allowed is the rule as the documentation has it: the reference.
func allowed(c BreakerConfig, history []view.Code, code view.Code) bool {
	row := 1
	for i := len(history) - 1; i >= 0 && history[i] == code; i-- {
		row++
	}
	if row > c.InARow {
		return false
	}
	if c.SharePercent == 0 {
		return true
	}
	begin := max(0, (len(history)/c.MinRecords-9)*c.MinRecords)
	seen, letters := len(history)+1-begin, 1
	for _, h := range history[begin:] {
		if h != "" {
			letters++
		}
	}
	return seen < c.MinRecords || letters*100 <= c.SharePercent*seen
}
