package localstack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestEachMavenFileHasAFolderOfItsOwn(t *testing.T) {
	a := jarSet{name: "x", pom: []byte("<a/>")}
	if same := (jarSet{name: "x", pom: []byte("<a/>")}); a.folder() != same.folder() || !strings.HasPrefix(a.folder(), "x-") {
		t.Errorf("folders %s and %s", a.folder(), same.folder())
	}
	if b := (jarSet{name: "x", pom: []byte("<b/>")}); a.folder() == b.folder() {
		t.Error("another Maven file has the same folder")
	}
}

func TestMavenFilesPinTheirVersions(t *testing.T) {
	for _, set := range []jarSet{cassandraJars, dynamoDBJars} {
		pom := string(set.pom)
		if strings.Count(pom, "<version>") < 3 || strings.Contains(pom, "SNAPSHOT") || strings.Contains(pom, "[") {
			t.Errorf("%s: a version is open:\n%s", set.name, pom)
		}
	}
}

// fakeMaven puts a mvn on the PATH that logs each call, and returns the log's name. OUT is the folder it is to copy to.
func fakeMaven(t *testing.T, script string) (calls string) {
	t.Helper()
	bin := t.TempDir()
	calls = filepath.Join(bin, "calls")
	text := "#!/bin/sh\necho \"$JAVA_HOME $*\" >> '" + calls + "'\nfor a; do case $a in -DoutputDirectory=*) OUT=${a#*=} ;; esac; done\n" + script
	if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	return calls
}

func testJars(t *testing.T) jars {
	t.Helper()
	n := newNursery()
	t.Cleanup(n.close)
	return jars{
		cache: filepath.Join(t.TempDir(), "cache"), javaHome: "/some/jdk", nursery: n,
		progress: &lines{mu: new(sync.Mutex), to: io.Discard},
	}
}

func TestJarsAreResolvedOnceWhoeverAsks(t *testing.T) {
	calls := fakeMaven(t, "echo jar > \"$OUT/a.jar\"\n")
	j, set := testJars(t), jarSet{name: "x", pom: []byte("<a/>")}
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			lib, err := j.resolve(t.Context(), set)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(lib, "a.jar")); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	log, err := os.ReadFile(calls)
	if err != nil || bytes.Count(log, []byte("\n")) != 1 || !strings.HasPrefix(string(log), "/some/jdk --batch-mode") {
		t.Errorf("maven was called so: %s (%v)", log, err)
	}
}

func TestAnInterruptedDownloadIsBegunAgain(t *testing.T) {
	fakeMaven(t, "echo half > \"$OUT/a.jar\"\necho no route to host\nexit 1\n")
	j, set := testJars(t), jarSet{name: "x", pom: []byte("<a/>")}
	_, err := j.resolve(t.Context(), set)
	if missing, ok := errors.AsType[*PrerequisiteError](err); !ok || !strings.Contains(missing.Error(), "no route to host") {
		t.Fatalf("%v", err)
	}
	if !j.needMaven([]jarSet{set}) {
		t.Fatal("half a download counts as whole")
	}
	// What a killed process would have left.
	stale := filepath.Join(j.cache, set.folder()+".partial", "lib", "half.jar")
	if err := os.MkdirAll(stale, 0o755); err != nil {
		t.Fatal(err)
	}

	fakeMaven(t, "echo jar > \"$OUT/b.jar\"\n")
	lib, err := j.resolve(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(lib, "*"))
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != "b.jar" {
		t.Errorf("jars: %v, %v", files, err)
	}
}

func TestAMissingMavenIsToldWithTheRemedy(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := testJars(t).resolve(t.Context(), jarSet{name: "x"})
	const want = "no Maven: install it (Debian: apt-get install maven) or put mvn on the PATH"
	if _, ok := errors.AsType[*PrerequisiteError](err); !ok || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestAHangingMavenEndsWithTheContext(t *testing.T) {
	calls := fakeMaven(t, "sleep 1000 & wait\n")
	ctx, cancel := context.WithCancel(t.Context())
	resolved := make(chan error, 1)
	j := testJars(t)
	go func() {
		_, err := j.resolve(ctx, jarSet{name: "x"})
		resolved <- err
	}()
	eventually(t, func() bool { _, err := os.Stat(calls); return err == nil })
	cancel()
	if err := <-resolved; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
