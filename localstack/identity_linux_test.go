package localstack

import "testing"

func TestParseStat(t *testing.T) {
	const rest = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"
	for _, test := range []struct {
		stat, state, ticks string
		wrong              bool
	}{
		{stat: "7 (java) S" + rest, state: "S", ticks: "4711"},
		{stat: "7 (a) Z (b)) T" + rest + "\n", state: "T", ticks: "4711"},
		{stat: "7 (java) S 1 2 3", wrong: true},
		{stat: "7 java S" + rest, wrong: true},
		{stat: "", wrong: true},
	} {
		state, ticks, err := parseStat([]byte(test.stat))
		if (err != nil) != test.wrong || state != test.state || ticks != test.ticks {
			t.Errorf("%q: state %q, ticks %q, %v", test.stat, state, ticks, err)
		}
	}
}
