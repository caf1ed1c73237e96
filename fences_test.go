package penstock_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The fences keep the arrows between packages pointing toward purity, and each driver in one place. They hold for the
// direct imports of files that are not tests; a test may build what it likes around the package it tests.
//
// A pattern is an import path, with "/..." behind it for everything below as well. "./view" is a package of this module
// as the go command writes it, and std is the standard library.

const std = "std"

// onlyImports lists packages that may import nothing but what is named.
var onlyImports = []struct {
	pkg     string
	imports []string
	why     string
	fault   string // an import that must be reported
}{
	{"./view", []string{std},
		"what a view is must be computable anywhere, and mean the same everywhere", "go.uber.org/zap"},
	{"./checkpoint", []string{std},
		"the lease's state machine is proven without a clock, a store or a stream", "./stream"},
	{"./sink/adaptive", []string{std},
		"a control law is arithmetic that is given its time", "./sink"},
	{"./sink", []string{std, "./view"},
		"what a writer promises must not depend on which writer it is", "./sink/cassandra"},
	{"./order", []string{std, "./view", "github.com/go-json-experiment/json/..."},
		"projecting an order is pure: live, rebuild and redrive call the same function", "./sink"},
	{"./view/viewfile", []string{std, "./view", "go.yaml.in/yaml/v3", "github.com/go-json-experiment/json/..."},
		"a view from a file is as pure as one in Go", "go.uber.org/zap"},
}

// onlyImportedBy lists what may be imported by nobody but those named.
var onlyImportedBy = []struct {
	imported []string
	by       []string
	why      string
	fault    [2]string // a package and its import that must be reported
}{
	{[]string{"./config"}, []string{"./cmd/..."},
		"each package has a Config of its own; the commands translate", [2]string{"./projector", "./config"}},
	{[]string{"./view/viewfile"}, []string{"./cmd/..."},
		"the commands choose the view", [2]string{"./replay", "./view/viewfile"}},
	{[]string{"./order"}, []string{"./cmd/...", "./order/read", "./localstack/..."},
		"the engine knows views, not orders", [2]string{"./projector", "./order"}},
	{[]string{"./order/read"}, []string{"./cmd/...", "./localstack/..."},
		"reading is for applications; nothing of the engine waits for it", [2]string{"./projector", "./order/read"}},
	{[]string{"github.com/aws/aws-sdk-go-v2/service/kinesis/..."}, []string{"./stream", "./localstack/..."},
		"one package knows Kinesis, its errors and its quotas", [2]string{"./cmd/projector", "github.com/aws/aws-sdk-go-v2/service/kinesis/types"}},
	{[]string{"github.com/aws/aws-sdk-go-v2/service/dynamodb/...", "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/...",
		"github.com/aws/aws-sdk-go-v2/feature/dynamodb/..."}, []string{"./checkpoint/leasetable", "./localstack/..."},
		"one package knows DynamoDB; it serves others through interfaces that they declare", [2]string{"./projector", "github.com/aws/aws-sdk-go-v2/service/dynamodb"}},
	{[]string{"github.com/aws/aws-sdk-go-v2/service/s3/...", "github.com/aws/aws-sdk-go-v2/feature/s3/..."}, []string{"./objects", "./localstack/..."},
		"one package knows S3", [2]string{"./sink/deadletter", "github.com/aws/aws-sdk-go-v2/service/s3"}},
	{[]string{"github.com/apache/cassandra-gocql-driver/...", "github.com/gocql/gocql/..."}, []string{"./sink/cassandra", "./localstack/..."},
		"one package speaks CQL; a driver's policies have one owner", [2]string{"./order/read", "github.com/apache/cassandra-gocql-driver/v2"}},
}

// neverImports lists what a package must not import although others around it may.
var neverImports = []struct {
	pkg     string
	imports []string
	why     string
	fault   string
}{
	{"./localstack/shop", []string{"./order/...", "./view/...", "./sink/..."},
		"an oracle that shares code with what it judges repeats its mistakes", "./order"},
	{"./replay", []string{"./sink/cassandra/...", "./projector/...", "./stream/..."},
		"what is replayed goes through a writer that it is given, so that its laws are proven on rows in memory", "./sink/cassandra"},
}

// importing is one import as it stands in a file.
type importing struct {
	pkg      string // importing package, as "./view"
	imported string // import path; "./view" for a package of this module
	where    string // file:line
}

// violations holds imports against the fences and returns a line for each that breaks one.
func violations(imports []importing) []string {
	var out []string
	report := func(i importing, rule, why string) {
		out = append(out, fmt.Sprintf("%s: %s imports %s: %s: %s", i.where, i.pkg, i.imported, rule, why))
	}
	for _, i := range imports {
		for _, f := range onlyImports {
			if i.pkg == f.pkg && !matchesAny(f.imports, i.imported) {
				report(i, "it may import only "+strings.Join(f.imports, ", "), f.why)
			}
		}
		for _, f := range onlyImportedBy {
			if matchesAny(f.imported, i.imported) && !matchesAny(f.by, i.pkg) {
				report(i, "only "+strings.Join(f.by, ", ")+" may", f.why)
			}
		}
		for _, f := range neverImports {
			if i.pkg == f.pkg && matchesAny(f.imports, i.imported) {
				report(i, "it must not", f.why)
			}
		}
	}
	return out
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, path) })
}

func matches(pattern, path string) bool {
	if pattern == std {
		first, _, _ := strings.Cut(path, "/")
		return !strings.Contains(first, ".") // "." of this module, or a host's name
	}
	if root, below := strings.CutSuffix(pattern, "/..."); below {
		return path == root || strings.HasPrefix(path, root+"/")
	}
	return path == pattern
}

// readImports returns the imports of all files below root that are not tests, whatever system they are for. It leaves
// out what the go command leaves out: testdata, folders that begin with "." or "_", and modules of their own.
func readImports(root string) ([]importing, error) {
	module, err := modulePath(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	var out []importing
	files := token.NewFileSet()
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path == root {
				return nil
			}
			if name == "testdata" || name[0] == '.' || name[0] == '_' {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", files.Position(spec.Pos()), err)
			}
			if own, ok := strings.CutPrefix(imported, module+"/"); ok {
				imported = "./" + own
			}
			position := files.Position(spec.Pos())
			out = append(out, importing{
				pkg:      "./" + filepath.ToSlash(relative),
				imported: imported,
				where:    fmt.Sprintf("%s:%d", position.Filename, position.Line),
			})
		}
		return nil
	})
	return out, err
}

// modulePath returns the path a go.mod file names.
func modulePath(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(path), nil
		}
	}
	return "", fmt.Errorf("%s: names no module", file)
}

func TestFencesHold(t *testing.T) {
	imports, err := readImports(".")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(imports, func(i importing) bool { return i.pkg == "./sink/cassandra" && i.imported == "./view" }) {
		t.Fatal("an import that is known to be there was not found")
	}
	for _, violation := range violations(imports) {
		t.Error(violation)
	}
}

// TestFencesReportPlantedFaults shows that each fence stops something, and that the report says why.
func TestFencesReportPlantedFaults(t *testing.T) {
	plant := func(pkg, imported, why string) {
		t.Run(strings.TrimPrefix(pkg, "./")+" imports "+strings.TrimPrefix(imported, "./"), func(t *testing.T) {
			got := violations([]importing{{pkg, imported, "planted.go:1"}})
			if len(got) != 1 || !strings.HasSuffix(got[0], why) {
				t.Errorf("got %q, want one report that says %q", got, why)
			}
		})
	}
	for _, f := range onlyImports {
		plant(f.pkg, f.fault, f.why)
	}
	for _, f := range onlyImportedBy {
		plant(f.fault[0], f.fault[1], f.why)
	}
	for _, f := range neverImports {
		for _, imported := range f.imports {
			plant(f.pkg, strings.TrimSuffix(imported, "/..."), f.why)
		}
		plant(f.pkg, f.fault, f.why)
	}
}

func TestFencesLetThrough(t *testing.T) {
	for _, i := range []importing{
		{pkg: "./view", imported: "encoding/binary"},
		{pkg: "./sink", imported: "./view"},
		{pkg: "./order", imported: "github.com/go-json-experiment/json/jsontext"},
		{pkg: "./cmd/projector", imported: "./config"},
		{pkg: "./cmd/projector", imported: "./order"},
		{pkg: "./order/read", imported: "./order"},
		{pkg: "./localstack/e2e", imported: "./order"},
		{pkg: "./localstack/shop", imported: "github.com/aws/aws-sdk-go-v2/service/kinesis"},
		{pkg: "./objects", imported: "github.com/aws/aws-sdk-go-v2/service/s3/types"},
		{pkg: "./projector", imported: "github.com/aws/aws-sdk-go-v2/aws"},
		{pkg: "./orderly", imported: "./sink"}, // not below order, only alike
	} {
		if got := violations([]importing{i}); len(got) != 0 {
			t.Errorf("%s imports %s: got %q, want none", i.pkg, i.imported, got)
		}
	}
}

// TestFencesReadTheTree plants files in a tree of its own: those of every system are read, tests and what the go command
// leaves out are not.
func TestFencesReadTheTree(t *testing.T) {
	root := t.TempDir()
	for path, content := range map[string]string{
		"go.mod":                      "module example.org/tree\n\ngo 1.26\n",
		"view/view_plan9.go":          "package view\n\nimport (\n\t\"fmt\"\n\n\t_ \"example.org/tree/order\"\n)\n",
		"view/view_test.go":           "package view\n\nimport _ \"testing\"\n",
		"view/testdata/planted.go":    "package planted\n\nimport _ \"os\"\n",
		"_view/planted.go":            "package planted\n\nimport _ \"os\"\n",
		".view/planted.go":            "package planted\n\nimport _ \"os\"\n",
		"tools/go.mod":                "module example.org/tree/tools\n",
		"tools/main.go":               "package main\n\nimport _ \"os\"\n",
		"sink/cassandra/cassandra.go": "//go:build ignore\n\npackage cassandra\n\nimport _ \"io\"\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readImports(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []importing{
		{"./sink/cassandra", "io", filepath.Join(root, "sink", "cassandra", "cassandra.go") + ":5"},
		{"./view", "fmt", filepath.Join(root, "view", "view_plan9.go") + ":4"},
		{"./view", "./order", filepath.Join(root, "view", "view_plan9.go") + ":6"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(violations(got)) != 2 { // view is pure, and order is not for it
		t.Errorf("got %q, want the planted import reported by both fences", violations(got))
	}
}
