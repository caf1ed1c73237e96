package emulator

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawWide(t *rapid.T, label string) uint192 {
	word := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, decimalChunk - 1, decimalChunk, 1<<64 - 1}))
	return uint192{word.Draw(t, label), word.Draw(t, label), word.Draw(t, label)}
}

func toBig(a uint192) *big.Int {
	n := new(big.Int)
	for _, word := range []uint64{a[2], a[1], a[0]} {
		n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(word))
	}
	return n
}

func TestWideIntegersAgreeWithMathBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawWide(t, "a"), drawWide(t, "b")
		if got, want := a.String(), toBig(a).String(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if got, ok := parseDecimal(a.String()); !ok || got != a {
			t.Fatalf("%s parsed as %v, %t", a, got, ok)
		}
		if a.compare(b) != toBig(a).Cmp(toBig(b)) {
			t.Fatalf("compare %s and %s: %d", a, b, a.compare(b))
		}
		beyond := new(big.Int).Lsh(big.NewInt(1), 192)
		if sum := new(big.Int).Add(toBig(a), toBig(b)); toBig(a.plus(b)).Cmp(sum.Mod(sum, beyond)) != 0 {
			t.Fatalf("%s + %s = %s", a, b, a.plus(b))
		}
		if less := new(big.Int).Sub(toBig(a), big.NewInt(1)); toBig(a.decrement()).Cmp(less.Mod(less, beyond)) != 0 {
			t.Fatalf("%s - 1 = %s", a, a.decrement())
		}
		divisor := rapid.Uint64Min(1).Draw(t, "divisor")
		quotient, rest := a.dividedBy(divisor)
		q, r := new(big.Int).QuoRem(toBig(a), new(big.Int).SetUint64(divisor), new(big.Int))
		if toBig(quotient).Cmp(q) != 0 || r.Uint64() != rest {
			t.Fatalf("%s / %d = %s rest %d", a, divisor, quotient, rest)
		}
	})
	for _, text := range []string{"", "-1", "+1", "01", "1x", " 1", strings.Repeat("9", 58), strings.Repeat("9", 500)} {
		if got, ok := parseDecimal(text); ok {
			t.Errorf("%q parsed as %s", text, got)
		}
	}
}

func drawSequence(t *rapid.T) sequence {
	return sequence{
		epoch:  rapid.Uint64Max(maxSecond).Draw(t, "epoch"),
		shard:  rapid.Uint32().Draw(t, "shard"),
		index:  rapid.Uint64().Draw(t, "index"),
		second: rapid.Uint64Max(maxSecond).Draw(t, "second"),
	}
}

func TestSequenceNumbersRoundTripAndRiseWithEpochAndIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSequence(t), drawSequence(t)
		if got, ok := parseSequence(a.String()); !ok || got != a {
			t.Fatalf("%+v came back as %+v, %t", a, got, ok)
		}
		b.shard = a.shard
		if rapid.Bool().Draw(t, "same epoch") {
			b.epoch = a.epoch
		}
		want := a.epoch < b.epoch || a.epoch == b.epoch && a.index < b.index
		if want && a.number().compare(b.number()) >= 0 {
			t.Fatalf("%+v is not below %+v", a, b)
		}
	})
}

func TestSequenceNumbersLookLikeTheServices(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), // where a bubble's clock starts
		time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
		time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		for _, index := range []uint64{0, 1, 1 << 40, 1<<64 - 1} {
			s := sequence{epoch: uint64(at.Unix()), shard: 9999, index: index, second: uint64(at.Unix())}
			if text := s.String(); len(text) != 56 || !strings.HasPrefix(text, "49") {
				t.Errorf("in %d, index %d: %s", at.Year(), index, text)
			}
		}
	}
}

func TestNumbersOfAnotherLayoutAreRefused(t *testing.T) {
	valid := sequence{epoch: 1_800_000_000, shard: 3, index: 7, second: 1_800_000_001}
	for name, change := range map[string]func(*uint192){
		"version":         func(n *uint192) { n[0] ^= 1 },
		"lead":            func(n *uint192) { n[2] ^= 1 << 57 },
		"constant byte":   func(n *uint192) { n[1] ^= 1 << 9 },
		"repeated shard":  func(n *uint192) { n[2] ^= 1 << 17 },
		"bits above lead": func(n *uint192) { n[2] |= 1 << 63 },
	} {
		n := valid.number()
		change(&n)
		if got, ok := parseSequence(n.String()); ok {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}
