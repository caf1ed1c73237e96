package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"penstock/cmd/internal/cli"
	"penstock/view/viewfile"
)

// fence is a fenced block of a page.
type fence struct {
	line int    // of its first line of text
	lang string // the first word behind the fence
	file string // the second: what the text is a file of
	text string
}

func fences(t *testing.T, page string) []fence {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out []fence
	open, line := false, 0
	for text := range strings.Lines(string(b)) {
		line++
		info, isFence := strings.CutPrefix(text, "```")
		switch {
		case isFence && !open:
			lang, file, _ := strings.Cut(strings.TrimSpace(info), " ")
			out = append(out, fence{line: line + 1, lang: lang, file: file})
			open = true
		case isFence:
			open = false
		case open:
			out[len(out)-1].text += text
		}
	}
	if open {
		t.Fatalf("%s: the last block has no end", page)
	}
	return out
}

// isWholeView tells whether a block is no fragment of a view's file.
func isWholeView(b fence) bool { return regexp.MustCompile(`(?m)^view: [a-z]`).MatchString(b.text) }

// TestThePageOnViewsIsTrue follows docs/views.md: blocks that name a file become that file, and of each session the
// commands projector view are run there, one after the other, and must print what the page shows.
func TestThePageOnViewsIsTrue(t *testing.T) {
	blocks := fences(t, filepath.Join("..", "..", "docs", "views.md"))
	t.Chdir(t.TempDir())
	files, commands := 0, 0
	for _, b := range blocks {
		switch {
		case b.file != "":
			files++
			if err := os.MkdirAll(filepath.Dir(b.file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(b.file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		case b.lang == "console":
			commands += runSession(t, b)
		case isWholeView(b) || strings.Contains(b.text, "$ projector view "):
			t.Errorf("line %d: the block is a whole view or a session of this command, and nobody runs it: name its file, or call it console", b.line)
		}
	}
	if files < 10 || commands < 8 {
		t.Errorf("%d files and %d commands were found, which is fewer than there are known to be", files, commands)
	}
}

// runSession runs what a block shows to be typed and returns how many commands that were.
func runSession(t *testing.T, b fence) int {
	t.Helper()
	count, code := 0, cli.ExitOK
	for part := range strings.SplitSeq("\n"+b.text, "\n$ ") {
		typed, shown, _ := strings.Cut(strings.TrimSuffix(part, "\n"), "\n")
		var got string
		switch args, isView := strings.CutPrefix(typed, "projector view "); {
		case typed == "":
			continue
		case isView:
			count++
			var stdout, stderr string
			stdout, stderr, code = runView(t, "", expand(t, args)...)
			got = stdout + saidNowhereElse(stdout, stderr)
		case typed == "echo $?":
			got = strconv.Itoa(code) + "\n"
		default:
			t.Errorf("line %d: %s: is no command that the test can run", b.line, typed)
			continue
		}
		if !shows(shown, strings.TrimSuffix(got, "\n")) {
			t.Errorf("line %d: $ %s\nprints:\n%s\nand the page shows:\n%s", b.line, typed, got, shown)
		}
	}
	return count
}

// saidNowhereElse is standard error without the doubts of scaffold, which stand in its file as well and which the page
// leaves out.
func saidNowhereElse(stdout, stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		doubt, isDoubt := strings.CutPrefix(line, "unsure: ")
		if !isDoubt || !strings.Contains(stdout, "# ? "+doubt) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// expand does what a shell does to the words of these commands.
func expand(t *testing.T, words string) []string {
	t.Helper()
	var args []string
	for word := range strings.FieldsSeq(words) {
		if !strings.Contains(word, "*") {
			args = append(args, word)
			continue
		}
		found, err := filepath.Glob(word)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %d files", word, err, len(found))
		}
		args = append(args, found...)
	}
	return args
}

// shows tells whether a page shows an output: a line of … stands for any lines, and … within a line for any text.
func shows(page, output string) bool {
	pattern := regexp.QuoteMeta(page)
	pattern = regexp.MustCompile(`(?m)^…$`).ReplaceAllString(pattern, `(?s:.*)`)
	pattern = strings.ReplaceAll(pattern, "…", `.*`)
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(output)
}

// TestThePageOnViewsNamesEveryKey holds the page against the schema, which is held against the loader by its own test.
func TestThePageOnViewsNamesEveryKey(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "views.md"))
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := json.Unmarshal(viewfile.JSONSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	collectKeys(schema, keys)
	for _, known := range []string{"partition", "not_after_arrival", "tombstones", "sum"} {
		if !keys[known] {
			t.Fatalf("the schema's key %s was not found", known)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !regexp.MustCompile(`\b` + key + `(:|` + "`" + `)`).Match(page) {
			t.Errorf("the page does not name the key %s", key)
		}
	}
}

// collectKeys adds the names of all properties in a schema.
func collectKeys(schema any, keys map[string]bool) {
	switch s := schema.(type) {
	case map[string]any:
		if properties, ok := s["properties"].(map[string]any); ok {
			for name := range properties {
				keys[name] = true
			}
		}
		for _, within := range s {
			collectKeys(within, keys)
		}
	case []any:
		for _, within := range s {
			collectKeys(within, keys)
		}
	}
}

func TestAPageThatShowsOtherOutputIsFound(t *testing.T) {
	const output = "one\ntwo 2\nthree"
	for page, want := range map[string]bool{
		"one\ntwo 2\nthree": true, "one\n…": true, "…\nthree": true, "one\ntwo …\nthree": true, "…": true, "one\n…\nthree": true,
		"one": false, "one\nthree": false, "one\ntwo 3\nthree": false, "…\ntwo": false, "o.e\n…": false, "one …\nthree": false,
	} {
		if got := shows(page, output); got != want {
			t.Errorf("%q: %t, want %t", page, got, want)
		}
	}
}

// TestTheViewInTheReadmeIsOne loads what the README shows first.
func TestTheViewInTheReadmeIsOne(t *testing.T) {
	found := 0
	for _, b := range fences(t, filepath.Join("..", "..", "README.md")) {
		if !isWholeView(b) {
			continue
		}
		found++
		if _, warnings, err := viewfile.Load(fmt.Sprintf("README.md:%d", b.line), []byte(b.text)); err != nil || len(warnings) > 0 {
			t.Errorf("%v %v", warnings, err)
		}
		if lines := strings.Count(b.text, "\n"); lines > 20 {
			t.Errorf("line %d: the README speaks of 20 lines, and the view has %d", b.line, lines)
		}
	}
	if found != 1 {
		t.Errorf("%d views in the README, want 1", found)
	}
}
