package localstack

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestEverythingIsValid(t *testing.T) {
	if err := Everything().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesEveryWrongValue(t *testing.T) {
	if err := (Config{}).Validate(); err == nil || err.Error() != "no part is to run" {
		t.Errorf("the zero value: %v", err)
	}
	err := Config{CassandraNodes: 2, Hosts: make([]Host, 1), HeapMiB: 10, Shards: -1, Ports: Ports{CQL: 70000, S3: -1}}.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, part := range []string{"nodes: 2", "hosts: 1 for 2", "heap: 10", "shards: -1", "cql: 70000", "s3: -1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

func TestAFolderWithContentIsRefusedAndKept(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{S3: true, Dir: dir}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestConsoleLinesAreWholeAndNamed(t *testing.T) {
	var console bytes.Buffer
	w := (&lines{mu: new(sync.Mutex), to: &console}).prefixed("dynamodb")
	for _, part := range []string{"one\ntw", "o", "\n", "\nnever ended"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := "dynamodb    | one\ndynamodb    | two\ndynamodb    | \n"; console.String() != want {
		t.Errorf("%q", console.String())
	}
}

func TestTailIsTheLastLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(name, []byte(strings.Repeat("old\n", 10000)+strings.Repeat("new\n", tailLines)), 0o644); err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(strings.Repeat("new\n", tailLines)); tail(name) != want {
		t.Errorf("%q", tail(name))
	}
}
