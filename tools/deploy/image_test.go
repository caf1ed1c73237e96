// Package deploy checks the files that build and start Penstock in containers with the parsers of the programs that read them.
// It is in the module of tools because Penstock itself needs none of those parsers.
package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// root of the repository.
const root = "../.."

// leftOut are the programs that no image holds: devstack starts servers that are there only on a developer's machine.
var leftOut = []string{"devstack"}

func TestTheImageHoldsWhatItShould(t *testing.T) {
	for _, fault := range faultsOf(t, readDockerfile(t), programs(t)) {
		t.Error(fault)
	}
}

// Each line planted or taken away is reported, and by a sentence that tells it.
func TestFaultsOfAnImageAreReported(t *testing.T) {
	good := readDockerfile(t)
	for name, plant := range map[string]struct {
		old, new string
		says     string
	}{
		"a program is not built":      {" ./cmd/projector", " ./cmd/other", "projector is not built"},
		"a program is not copied":     {"COPY --from=build /out/projector /usr/local/bin/projector\n", "", "projector is not copied"},
		"one stage":                   {"FROM gcr.io/distroless/static-debian13:nonroot\n", "", "one stage"},
		"root":                        {"USER 65532:65532", "USER root", `user "root"`},
		"no user":                     {"USER 65532:65532\n", "", `user ""`},
		"a shell's entry point":       {`ENTRYPOINT ["/usr/local/bin/projector"]`, "ENTRYPOINT /usr/local/bin/projector", "shell form"},
		"another entry point":         {`ENTRYPOINT ["/usr/local/bin/projector"]`, `ENTRYPOINT ["/bin/true"]`, "entry point"},
		"a command in the last stage": {"EXPOSE 9464", "RUN true", "no shell to run"},
		"a label is missing":          {"org.opencontainers.image.licenses=", "org.example.licenses=", "label org.opencontainers.image.licenses"},
		"another base is named":       {`base.name="gcr.io/distroless/static-debian13:nonroot"`, `base.name="scratch"`, "image.base.name"},
		"compiled under emulation":    {"FROM --platform=$BUILDPLATFORM", "FROM", "$BUILDPLATFORM"},
		"one platform only":           {"GOARCH=$TARGETARCH", "GOARCH=amd64", "GOARCH=$TARGETARCH"},
		"paths of the builder":        {"-trimpath", "-v", "-trimpath"},
		"linked against a C library":  {"CGO_ENABLED=0", "CGO_ENABLED=1", "CGO_ENABLED=0"},
		"a test's build tag":          {"-trimpath", "-trimpath -tags viewtest", "build tags"},
		"a moving base":               {"golang:1.26.8-trixie", "golang:latest", "golang:latest"},
		"a base without a tag":        {"golang:1.26.8-trixie", "golang", "golang has no tag"},
		"a volume":                    {"EXPOSE 9464", "VOLUME /data", "volume"},
		"what the linter knows":       {"AS build", "as build", "FromAsCasing"},
	} {
		t.Run(name, func(t *testing.T) {
			planted := strings.Replace(good, plant.old, plant.new, 1)
			if planted == good {
				t.Fatalf("%q is not in the file", plant.old)
			}
			faults := faultsOf(t, planted, programs(t))
			if !slices.ContainsFunc(faults, func(fault string) bool { return strings.Contains(fault, plant.says) }) {
				t.Errorf("got %q, want a report with %q", faults, plant.says)
			}
		})
	}
	if faults := faultsOf(t, good, append(programs(t), "other")); len(faults) != 2 {
		t.Errorf("a program that came since: got %q, want it reported as neither built nor copied", faults)
	}
}

// A tracked file that the build's context lacks would mark every version as modified.
func TestTheContextHoldsWhatGitTracks(t *testing.T) {
	left := func(ignore string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "--cached", "--ignored", "--exclude-from="+ignore).Output()
		if err != nil {
			t.Skip("not a git repository: ", err)
		}
		return strings.TrimSpace(string(out))
	}
	if files := left(".dockerignore"); files != "" {
		t.Errorf(".dockerignore leaves out tracked files:\n%s", files)
	}
	planted := filepath.Join(t.TempDir(), "ignore")
	if err := os.WriteFile(planted, []byte("/go.mod\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if files := left(planted); files != "go.mod" {
		t.Errorf("got %q, want the planted file", files)
	}
}

func readDockerfile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// programs are the folders below cmd that belong into the image.
func programs(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "cmd"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && entry.Name() != "internal" && !slices.Contains(leftOut, entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	if !slices.Contains(names, "projector") {
		t.Fatalf("a program that is known to be there was not found among %q", names)
	}
	return names
}

// faultsOf returns a sentence for everything that is wrong with a Dockerfile.
func faultsOf(t *testing.T, text string, programs []string) (faults []string) {
	t.Helper()
	report := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	parsed, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range parsed.Warnings {
		report("parser: %s", warning.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		line := 0
		if len(at) > 0 {
			line = at[0].Start.Line
		}
		report("line %d: %s: %s", line, rule, message)
	}})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) < 2 {
		report("there is one stage: the compiler would be in the image")
	}
	checkBases(stages, report)
	first, last := stages[0], stages[len(stages)-1]
	if first.Platform != "$BUILDPLATFORM" {
		report("the first stage must be --platform=$BUILDPLATFORM, or it is emulated for every other platform")
	}
	checkBuild(first, programs, report)
	checkFinal(last, first.Name, programs, report)
	return faults
}

func checkBases(stages []instructions.Stage, report func(string, ...any)) {
	for _, stage := range stages {
		_, tag, tagged := strings.Cut(stage.BaseName, ":")
		switch {
		case !tagged:
			report("base %s has no tag", stage.BaseName)
		case tag == "latest":
			report("base %s is another one tomorrow", stage.BaseName)
		}
	}
}

// checkBuild looks at the stage that compiles.
func checkBuild(stage instructions.Stage, programs []string, report func(string, ...any)) {
	var line []string // of go build
	environment := map[string]string{}
	for _, command := range stage.Commands {
		switch c := command.(type) {
		case *instructions.EnvCommand:
			for _, pair := range c.Env {
				environment[pair.Key] = pair.Value
			}
		case *instructions.RunCommand:
			if text := strings.Join(c.CmdLine, " "); strings.Contains(text, "go build ") {
				line = strings.Fields(text)
			}
		}
	}
	if environment["CGO_ENABLED"] != "0" {
		report("without CGO_ENABLED=0 the programs need a C library that the image does not have")
	}
	for _, word := range []string{"GOOS=$TARGETOS", "GOARCH=$TARGETARCH", "-trimpath"} {
		if !slices.Contains(line, word) {
			report("go build must be given %s", word)
		}
	}
	if slices.ContainsFunc(line, func(word string) bool { return strings.HasPrefix(word, "-tags") }) {
		report("go build must not be given build tags: those of this tree are for tests")
	}
	for _, program := range programs {
		if !slices.Contains(line, "./cmd/"+program) {
			report("%s is not built", program)
		}
	}
}

// labels are those that registries and scanners show (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
var labels = []string{"title", "description", "licenses", "version", "revision", "base.name"}

// checkFinal looks at the stage that becomes the image.
func checkFinal(stage instructions.Stage, built string, programs []string, report func(string, ...any)) {
	const folder = "/usr/local/bin/"
	var user string
	var entry []string
	copied := map[string]bool{}
	given := map[string]string{}
	for _, command := range stage.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EntrypointCommand:
			entry = c.CmdLine
			if c.PrependShell {
				report("the entry point has the shell form, and there is no shell")
			}
		case *instructions.CmdCommand:
			if c.PrependShell {
				report("the command has the shell form, and there is no shell")
			}
		case *instructions.RunCommand:
			report("RUN in the last stage: there is no shell to run it")
		case *instructions.VolumeCommand:
			report("a volume: the programs write nothing, and must not need to")
		case *instructions.LabelCommand:
			for _, pair := range c.Labels {
				given[pair.Key] = strings.Trim(pair.Value, `"`)
			}
		case *instructions.CopyCommand:
			if c.From == built && len(c.SourcePaths) == 1 {
				copied[c.SourcePaths[0]+" "+c.DestPath] = true
			}
		}
	}
	if user != "65532:65532" {
		report("the image's user %q must be distroless's nonroot by number, 65532:65532", user)
	}
	if !slices.Equal(entry, []string{folder + "projector"}) {
		report("the entry point is %q, want the projector", entry)
	}
	for _, program := range programs {
		if !copied["/out/"+program+" "+folder+program] {
			report("%s is not copied into the image", program)
		}
	}
	for _, name := range labels {
		if name := "org.opencontainers.image." + name; given[name] == "" {
			report("label %s is missing", name)
		}
	}
	if base := "org.opencontainers.image.base.name"; given[base] != stage.BaseName {
		report("label %s says %s, and the base is %s", base, given[base], stage.BaseName)
	}
}
