package deadletter

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"unicode/utf8"

	"penstock/view"
)

// Failure is why the record cannot be applied.
type Failure struct {
	Stage   view.Stage `json:"stage"`
	Class   Class      `json:"class"`
	Code    view.Code  `json:"code"`
	Message string     `json:"message"` // quoted values shortened
	// Fingerprint is the same for failures of one cause: 16 hexadecimal digits. It is made of stage, code and the cause
	// without what varies, so it is stable over releases as long as the words of the cause are.
	Fingerprint string `json:"fingerprint"`
	Stack       string `json:"stack,omitempty"` // of a panic
}

// Class says how sure it is that the record itself is at fault. What is no record's fault (an outage, an overload, a
// missing right) has no class: it is waited for, or stops the daemon, and never ends in a letter.
type Class string

// The closed set of classes.
const (
	ClassPoison    Class = "poison"    // what is wrong stands in the record, and the message names it
	ClassSuspected Class = "suspected" // it failed for a reason that nobody has classified, while others did not
)

// ClassOf returns the class of a code.
func ClassOf(code view.Code) Class {
	switch code {
	case view.CodePanic, view.CodeUnexplained:
		return ClassSuspected
	case view.CodeBadAggregate, view.CodeBadJSON, view.CodeUnknownType, view.CodeUnknownSchemaVersion, view.CodeMissingField,
		view.CodeMalformedField, view.CodeVersionOutOfRange, view.CodePlacedAtOutOfRange, view.CodeStampOutOfRange,
		view.CodeTooLarge, view.CodeRejected:
		return ClassPoison
	}
	return ClassSuspected // of a code that this release does not know
}

// Lengths in bytes, but for maxQuoted.
const (
	maxMessage = 1 << 10 // enough for a sentence; a cause that quotes a whole payload is cut
	maxCause   = 4 << 10 // of a cause that a fingerprint reads
	maxQuoted  = 32      // characters of a quoted value that a message keeps
)

// NewFailure describes a poison record. The cause stands in the letter's message with its quoted values shortened, and
// without any in its fingerprint.
func NewFailure(p *view.Poison) Failure {
	cause := "no cause given"
	if p.Err != nil {
		cause = p.Err.Error()
	}
	return Failure{
		Stage:       p.Stage,
		Class:       ClassOf(p.Code),
		Code:        p.Code,
		Message:     scrub(cause),
		Fingerprint: fingerprint(p.Stage, p.Code, cause),
	}
}

// What varies between failures of one cause. Quotes come first, since they may hold anything; a single quote opens a
// value only where a word cannot go on, so that an apostrophe does not.
var (
	doubleQuoted = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`")
	singleQuoted = regexp.MustCompile(`(^|[\s(\[{=:,])'(?:[^'\\]|\\.)*'`)
	uuids        = regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	hexadecimals = regexp.MustCompile(`(?i)\b(?:0x[0-9a-f]+|[0-9a-f]*[0-9][0-9a-f]*)\b`) // with at least one digit: "added" is a word
	digits       = regexp.MustCompile(`[0-9]+`)
	timestamps   = regexp.MustCompile(`\b[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})`)
	// What quotes do not mark as a value where a cause has one ("field: value: rule"): arrays, objects, text that was cut.
	values = regexp.MustCompile(`: (?:[\[{].*[\]}…]|"(?:[^"\\]|\\.)*\\?…|true|false|null): `)
	// What the above leave of a number with a sign, a fraction or an exponent, or of a date.
	signs  = regexp.MustCompile(`\B[-+]\?`)
	runs   = regexp.MustCompile(`\?(?:\.?\?)*…?`)
	spaces = regexp.MustCompile(`\s+`)
)

func fingerprint(stage view.Stage, code view.Code, cause string) string {
	sum := sha256.Sum256([]byte(string(stage) + "\x00" + string(code) + "\x00" + normalise(cause)))
	return hex.EncodeToString(sum[:8])
}

// normalise leaves of a cause what all failures of that cause have in common.
func normalise(cause string) string {
	s := cut(cause, maxCause)
	s = values.ReplaceAllString(s, ": ?: ")
	s = doubleQuoted.ReplaceAllString(s, "?")
	s = singleQuoted.ReplaceAllString(s, "$1?")
	s = uuids.ReplaceAllString(s, "?")
	s = timestamps.ReplaceAllString(s, "?")
	s = hexadecimals.ReplaceAllString(s, "?")
	s = digits.ReplaceAllString(s, "?")
	s = runs.ReplaceAllString(signs.ReplaceAllString(s, "?"), "?")
	return strings.ToLower(strings.TrimSpace(spaces.ReplaceAllString(s, " ")))
}

// scrub makes a cause fit for a log line: what it quotes comes from the payload and may be long or personal.
func scrub(cause string) string {
	s := strings.ToValidUTF8(cause, "\uFFFD")
	s = doubleQuoted.ReplaceAllStringFunc(s, shorten)
	s = singleQuoted.ReplaceAllStringFunc(s, shorten)
	return cut(s, maxMessage)
}

// shorten keeps the beginning of a quoted value and its quotes. What stands before the opening quote stays.
func shorten(match string) string {
	open := strings.IndexAny(match, "\"`'")
	value := []rune(match[open+1 : len(match)-1])
	if len(value) <= maxQuoted {
		return match
	}
	return match[:open+1] + string(value[:maxQuoted]) + "…" + match[len(match)-1:]
}

// cut returns the first n bytes of s at most, without half a character at the end.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
