package view_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"penstock/view"
)

func TestPoisonIsFoundInAChain(t *testing.T) {
	err := fmt.Errorf("shard 7: %w", &view.Poison{Stage: view.StageDecode, Code: view.CodeBadJSON, Err: io.ErrUnexpectedEOF})
	poison, ok := view.AsPoison(err)
	if !ok || poison.Code != view.CodeBadJSON || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, %t", poison, ok)
	}
	if got, want := err.Error(), "shard 7: decode: bad_json: unexpected EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, ok := view.AsPoison(io.EOF); ok {
		t.Error("another error is taken for poison")
	}
}

// Codes stand in the keys of dead letters that have been written: this list may grow and never change.
func TestCodesKeepTheirNames(t *testing.T) {
	want := []view.Code{
		"bad_aggregate", "bad_json", "unknown_type", "unknown_schema_version", "missing_field", "malformed_field", "version_out_of_range",
		"placed_at_out_of_range", "stamp_out_of_range", "too_large", "rejected_by_cassandra", "panic", "unexplained",
	}
	if got := view.Codes(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	view.Codes()[0] = "changed"
	if view.Codes()[0] != "bad_aggregate" {
		t.Error("a caller can change the codes")
	}
}
