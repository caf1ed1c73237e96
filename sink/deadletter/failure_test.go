package deadletter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"penstock/view"
)

func poison(cause string) *view.Poison {
	return &view.Poison{Stage: view.StageValidate, Code: view.CodeMalformedField, Err: errors.New(cause)}
}

// The fingerprints are written down: another one for an old cause would split its letters in two.
func TestFingerprintsAreStableOverReleases(t *testing.T) {
	for cause, want := range map[string]string{
		`currency "EURO": must be three letters`: "2db68a812587aa58",
		`version 1000001: must be 1 to 1000000`:  "9370da9484a4473c",
	} {
		if got := NewFailure(poison(cause)).Fingerprint; got != want {
			t.Errorf("%s: got %s, want %s", cause, got, want)
		}
	}
}

func TestFailuresOfOneCauseHaveOneFingerprint(t *testing.T) {
	for _, causes := range [][]string{
		{`currency "EURO": must be three letters`, `currency "": must be three letters`, `currency "a \"b\" c": must be three letters`},
		{`version 0: must be 1 to 1000000`, `version 1000001: must be 1 to 1000000`, `version -1: must be 1 to 1000000`},
		{`/data/version: 7.0: must be an integer`, `/data/version: 7e0: must be an integer`, `/data/version: -1.5e-10: must be an integer`},
		{`/data/customer_id: 1: must be text`, `/data/customer_id: {"a": {"b": [1, 2]}}: must be text`, `/data/customer_id: [null, {"a…: must be text`,
			`/data/customer_id: true: must be text`, `/data/customer_id: 12345678…: must be text`},
		{`/id: "e": must be "1.0"`, `/id: "éééé…: must be "1.0"`, `/id: "a \"b…: must be "1.0"`, `/id: "a \…: must be "1.0"`},
		{`placed_at: 1999-12-31T23:59:59.999999Z: must not be before 2000-01-01`, `placed_at: 1970-01-01T00:00:00Z: must not be before 2000-01-01`,
			`placed_at: 1970-01-01T00:00:00.5+01:00: must not be before 2000-01-01`},
		{`order 0f9a5d1e-7d0e-4c6b-9a3c-2f1f6b8d4c11: unknown`, `order FFFFFFFF-7d0e-4c6b-9a3c-2f1f6b8d4c11: unknown`},
		{`invalid character '}' after object key`, `invalid character 'x' after object key`},
		{"panic at 0xc000123456 [running 17]", "panic at 0xdeadbeef0000 [running 3]"},
		{"field is  missing\n", "Field is missing"},
		{"digest e3b0c44298fc is wrong", "digest 00ff11223344 is wrong"},
	} {
		first := NewFailure(poison(causes[0])).Fingerprint
		for _, cause := range causes[1:] {
			if got := NewFailure(poison(cause)).Fingerprint; got != first {
				t.Errorf("%q and %q have fingerprints %s and %s", causes[0], cause, first, got)
			}
		}
	}
}

func TestOtherCausesHaveOtherFingerprints(t *testing.T) {
	seen := map[string]string{}
	for _, p := range []*view.Poison{
		poison("currency is missing"),
		poison("customer_id is missing"),
		poison("/data/lines/0/sku: 1: must be text"),
		poison("/data/lines/0/name: 1: must be text"),
		poison("/data/lines/0/sku: {}: must be text [once]"),
		poison("it doesn't fit and can't be cut"),
		poison("it doesn't hold and can't be cut"), // apostrophes are no quotes
		{Stage: view.StageDecode, Code: view.CodeMalformedField, Err: errors.New("currency is missing")},
		{Stage: view.StageValidate, Code: view.CodeMissingField, Err: errors.New("currency is missing")},
		{Stage: view.StageValidate, Code: view.CodeMissingField},
	} {
		f := NewFailure(p).Fingerprint
		if other, ok := seen[f]; ok {
			t.Errorf("%v has the fingerprint of %s", p, other)
		}
		seen[f] = p.Error()
	}
}

func TestMessagesAreShortAndKeepLittleOfThePayload(t *testing.T) {
	secret := strings.Repeat("ä", 40)
	for _, quote := range []string{`"%s"`, "`%s`", "'%s'"} {
		got := NewFailure(poison("name " + fmt.Sprintf(quote, secret) + ": too long")).Message
		if strings.Contains(got, secret) || !strings.Contains(got, strings.Repeat("ä", 32)+"…") || !strings.HasSuffix(got, ": too long") {
			t.Errorf("got %q", got)
		}
	}
	if got := NewFailure(poison(`currency "EURO": must be three letters`)).Message; got != `currency "EURO": must be three letters` {
		t.Errorf("a short value was changed: %q", got)
	}
	long := NewFailure(poison("bad: " + strings.Repeat("ä", 4000) + "\xff")).Message
	if len(long) > maxMessage+len("…") || !utf8.ValidString(long) {
		t.Errorf("%d bytes, valid %t", len(long), utf8.ValidString(long))
	}
}

func TestAttemptsNameEachErrorOnce(t *testing.T) {
	var a Attempts
	start := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	for i := range 5 {
		a.Add(start.Add(time.Duration(i)*time.Second), fmt.Errorf("timed out after %d ms", i))
	}
	a.Add(start.Add(9*time.Second), errors.New("refused"))
	want := Attempts{
		Count: 6, First: start, Last: start.Add(9 * time.Second),
		Errors: []AttemptError{{"timed out after 0 ms", 5}, {"refused", 1}},
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAttemptsNameABoundedNumberOfErrors(t *testing.T) {
	var a Attempts
	for i := range 100 {
		a.Add(time.Time{}, errors.New(strings.Repeat("x", i+1)))
	}
	a.Add(time.Time{}, errors.New("x"))
	last := a.Errors[len(a.Errors)-1]
	if len(a.Errors) != maxErrors+1 || last != (AttemptError{otherErrors, 90}) || a.Errors[0].Count != 2 || a.Count != 101 {
		t.Errorf("got %+v", a)
	}
}
