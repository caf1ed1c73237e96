package config

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{
		"0B": 0, "1B": 1, "1KiB": 1024, "64MiB": 64 << 20, "64 MiB": 64 << 20, "4GiB": 4 << 30, "1500MiB": 1500 << 20,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "64", "MiB", "64MB", "64M", "64mib", "1.5GiB", "-1MiB", "9999999999999GiB", "0x10B", "1_000B"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
}

func TestSizesPrintInTheirLargestWholeUnit(t *testing.T) {
	for size, want := range map[Size]string{0: "0B", 1: "1B", 1025: "1025B", 64 * MiB: "64MiB", 1536 * MiB: "1536MiB", 4 * GiB: "4GiB"} {
		if got := size.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Size(rapid.Int64Min(0).Draw(t, "size"))
		if got, err := ParseSize(s.String()); err != nil || got != s {
			t.Fatalf("%s: got %d, %v", s, got, err)
		}
	})
}
