package localstack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The Java that Cassandra 5.0 supports (besides 11, whose flags differ).
const javaMajor = 17

// PrerequisiteError says that something the machine must bring along is missing: Java, Maven, or the artifacts that Maven fetches.
type PrerequisiteError struct {
	Missing string // what, with what was found instead
	Remedy  string // what to do, as a command or an imperative
	Err     error  // the cause, may be nil
}

func (e *PrerequisiteError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Missing, e.Remedy, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Missing, e.Remedy)
}

func (e *PrerequisiteError) Unwrap() error { return e.Err }

var javaVersion = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// parseJavaMajor reads the major version from what `java -version` prints: 8 for 1.8.0_402, 17 for 17.0.15, 25 for 25.
func parseJavaMajor(output string) (int, bool) {
	match := javaVersion.FindStringSubmatch(output)
	if match == nil {
		return 0, false
	}
	major, err := strconv.Atoi(match[1])
	return major, err == nil
}

// javaCandidates lists the homes where a Java may be, in the order of preference: what the user set, what the user runs, what
// the system has installed.
func javaCandidates() []string {
	var homes []string
	if home := os.Getenv("JAVA_HOME"); home != "" {
		homes = append(homes, home)
	}
	if java, err := exec.LookPath("java"); err == nil {
		// The command on the path is often a link into the home.
		if target, err := filepath.EvalSymlinks(java); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(target)))
		}
	}
	for _, pattern := range []string{"/usr/lib/jvm/*", "/Library/Java/JavaVirtualMachines/*/Contents/Home"} {
		installed, _ := filepath.Glob(pattern)
		homes = append(homes, installed...)
	}
	return homes
}

// findJava returns the first home whose java reports the wanted major version.
func findJava(ctx context.Context, homes []string) (string, error) {
	var found []string
	asked := make(map[string]bool)
	for _, home := range homes {
		real, err := filepath.EvalSymlinks(home)
		if err != nil || asked[real] {
			continue
		}
		asked[real] = true
		// It prints to standard error, and exits 0 wherever it can run at all.
		output, err := exec.CommandContext(ctx, javaCommand(real), "-version").CombinedOutput()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			continue
		}
		major, ok := parseJavaMajor(string(output))
		if !ok {
			continue
		}
		if major == javaMajor {
			return real, nil
		}
		found = append(found, strconv.Itoa(major))
	}
	missing := fmt.Sprintf("no JDK %d", javaMajor)
	if len(found) > 0 {
		slices.Sort(found)
		missing += fmt.Sprintf(" (found only %s)", strings.Join(slices.Compact(found), ", "))
	}
	return "", &PrerequisiteError{
		Missing: missing,
		Remedy:  fmt.Sprintf("install one (Debian: apt-get install openjdk-%d-jdk-headless) or point JAVA_HOME at it", javaMajor),
	}
}

func javaCommand(home string) string { return filepath.Join(home, "bin", "java") }
