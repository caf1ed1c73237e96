package checkpoint_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/checkpoint"
)

func TestATimeoutIsCanonicalSignedAndNearTheTimeGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owner := rapid.String().Draw(t, "owner")
		end := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds"))
		text := checkpoint.Timeout(owner, end, rapid.Uint32().Draw(t, "nonce"))
		parsed, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		if again := parsed.UTC().Format(time.RFC3339Nano); again != text {
			t.Errorf("%s is formatted again as %s", text, again)
		}
		if d := parsed.Sub(end).Abs(); d >= time.Second/10 {
			t.Errorf("%s is %v off", text, d)
		}
		if len(text) != len("2026-11-23T10:00:00.123456789Z") || strings.HasSuffix(text, "0Z") {
			t.Errorf("%s has not nine digits that count", text)
		}
		if !checkpoint.Stamped(owner, text) {
			t.Errorf("%s of %q is not taken for its own", text, owner)
		}
	})
}

func TestTimeoutsOfOthersAreTold(t *testing.T) {
	own := checkpoint.Timeout("a", time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), 7)
	for _, text := range []string{"", "Z", "tomorrow", "0001-01-01T00:00:00Z", "2026-11-23T10:00:00Z", "2026-11-23T10:00:00.123Z",
		own[:len(own)-1] + "X", strings.Replace(own, "2026", "2027", 1)} {
		if checkpoint.Stamped("a", text) {
			t.Errorf("%q is taken for our own", text)
		}
	}
	if checkpoint.Stamped("b", own) {
		t.Error("a timeout of a is taken for one of b")
	}
	passed := 0
	const tries = 100_000
	for i := range tries {
		at := time.Unix(0, int64(i)*1_000_003_457).UTC() // as a writer without a nonce spells the time
		if checkpoint.Stamped("vmware", at.Format(time.RFC3339Nano)) {
			passed++
		}
	}
	if passed > tries/500 {
		t.Errorf("%d of %d foreign timeouts pass for ours", passed, tries)
	}
}
