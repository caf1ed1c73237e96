package localstack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseJavaMajor(t *testing.T) {
	for output, want := range map[string]int{
		"openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime":         17,
		"java version \"1.8.0_402\"":                                      8,
		"openjdk version \"25\" 2025-09-16":                               25,
		"Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"11.0.2\"": 11,
		"no such thing": 0,
		"":              0,
	} {
		got, ok := parseJavaMajor(output)
		if got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %t", output, got, ok)
		}
	}
}

// fakeJava makes a Java home whose java says it is this version.
func fakeJava(t *testing.T, script string) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(javaCommand(home), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return home
}

func reports(version string) string { return fmt.Sprintf("echo 'openjdk version %q' >&2\n", version) }

func TestTheFirstHomeThatReports17IsTaken(t *testing.T) {
	old, broken, right, later := fakeJava(t, reports("11.0.2")), fakeJava(t, "exit 1\n"), fakeJava(t, reports("17.0.15")), fakeJava(t, reports("17.0.1"))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(right, link); err != nil {
		t.Fatal(err)
	}
	got, err := findJava(t.Context(), []string{"/nonexistent", old, broken, link, right, later})
	if err != nil {
		t.Fatal(err)
	}
	if want, err := filepath.EvalSymlinks(right); err != nil || got != want {
		t.Errorf("%s, want %s (%v)", got, want, err)
	}
}

func TestAMissingJDKIsToldWithTheRemedy(t *testing.T) {
	_, err := findJava(t.Context(), []string{fakeJava(t, reports("25")), fakeJava(t, reports("1.8.0_402")), fakeJava(t, reports("25"))})
	if _, ok := errors.AsType[*PrerequisiteError](err); !ok {
		t.Fatalf("%T: %v", err, err)
	}
	const want = "no JDK 17 (found only 25, 8): install one (Debian: apt-get install openjdk-17-jdk-headless) or point JAVA_HOME at it"
	if err.Error() != want {
		t.Errorf("%s", err)
	}
	if _, err := findJava(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "no JDK 17: ") {
		t.Errorf("without any Java: %v", err)
	}
}

func TestJavaHomeComesFirst(t *testing.T) {
	t.Setenv("JAVA_HOME", "/chosen")
	if homes := javaCandidates(); len(homes) == 0 || homes[0] != "/chosen" {
		t.Errorf("%v", homes)
	}
}
