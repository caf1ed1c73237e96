package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// RunItems holds a table of plain items to its contract. newStore returns an empty one.
func RunItems(t *testing.T, newStore func(*testing.T) ItemStore) {
	t.Run("what was put is found by its kind", func(t *testing.T) {
		s := newStore(t)
		put(t, s, "worker", "a", map[string]string{"beat": "1", "wants": ""})
		put(t, s, "worker", "b", map[string]string{"beat": "7"})
		put(t, s, "workers", "c", map[string]string{})
		put(t, s, "worker", "b", map[string]string{"seen": "8"})
		finds(t, s, "worker", map[string]map[string]string{"a": {"beat": "1", "wants": ""}, "b": {"seen": "8"}})
		finds(t, s, "workers", map[string]map[string]string{"c": {}})
		finds(t, s, "work", map[string]map[string]string{})
	})
	t.Run("what is there is not put again", func(t *testing.T) {
		s := newStore(t)
		for i, want := range []bool{true, false} {
			got, err := s.PutIfAbsent(t.Context(), "note", "epoch", map[string]string{"by": string(rune('a' + i))})
			if err != nil || got != want {
				t.Errorf("attempt %d: got %v, %v", i, got, err)
			}
		}
		finds(t, s, "note", map[string]map[string]string{"epoch": {"by": "a"}})
	})
	t.Run("what was deleted is gone, and may be deleted again", func(t *testing.T) {
		s := newStore(t)
		put(t, s, "worker", "a", map[string]string{"beat": "1"})
		for range 2 {
			if err := s.Delete(t.Context(), "worker", "a"); err != nil {
				t.Error(err)
			}
		}
		finds(t, s, "worker", map[string]map[string]string{})
	})
}

func put(t *testing.T, s ItemStore, kind, name string, values map[string]string) {
	t.Helper()
	if err := s.Put(t.Context(), kind, name, values); err != nil {
		t.Fatal(err)
	}
}

func finds(t *testing.T, s ItemStore, kind string, want map[string]map[string]string) {
	t.Helper()
	got, err := s.Query(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items of %q: %s", kind, diff)
	}
}
