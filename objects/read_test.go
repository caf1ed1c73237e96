package objects_test

import (
	"errors"
	"slices"
	"testing"

	"penstock/objects"
	"penstock/objects/objectstest"
)

func TestTheHeadOfAnObjectIsReadAlone(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "some/prefix")
	if err := store.PutOnce(t.Context(), "a", []byte("0123456789"), "text/plain"); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{1: "0", 4: "0123", 10: "0123456789", 50: "0123456789"} {
		if head, err := store.GetHead(t.Context(), "a", n); err != nil || string(head) != want {
			t.Errorf("%d bytes: %q, %v, want %q", n, head, err, want)
		}
	}
	_, err := store.GetHead(t.Context(), "b", 4)
	if _, ok := errors.AsType[*objects.NotFoundError](err); !ok {
		t.Errorf("got %v, want that it is not found", err)
	}
}

func TestFoldersAreListedOnceEach(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "some/prefix")
	for _, key := range []string{"v/dt=1/a/x", "v/dt=1/b/x", "v/dt=2/a/x", "v/dt=2x", "v/other/y", "w/dt=3/x"} {
		if err := store.PutOnce(t.Context(), key, nil, "text/plain"); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string][]string{"v/dt=": {"1", "2"}, "v/": {"dt=1", "dt=2", "other"}, "u/": nil, "v/dt=1/": {"a", "b"}} {
		if got, err := store.Folders(t.Context(), prefix); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", prefix, got, err, want)
		}
	}
}
