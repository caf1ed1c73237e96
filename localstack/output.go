package localstack

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// How much of a dead child's log is shown.
const (
	tailLines = 25
	tailBytes = 16 << 10
)

// lines writes whole lines to a writer that several goroutines share. Writers that may be one and the same have one lock.
type lines struct {
	mu *sync.Mutex
	to io.Writer
}

// printf writes one line. An error of the writer is dropped: progress is no part of the result.
func (l *lines) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.to, format+"\n", args...)
}

// prefixed returns a writer that passes on whole lines with name before each. One goroutine at a time may write to it.
func (l *lines) prefixed(name string) io.Writer { return &prefixWriter{lines: l, name: name} }

type prefixWriter struct {
	lines   *lines
	name    string
	partial []byte // the line begun
}

func (w *prefixWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		line, rest, whole := bytes.Cut(w.partial, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		w.lines.printf("%-11s | %s", w.name, line)
		w.partial = append([]byte(nil), rest...)
	}
}

// tail returns the last lines of a file, or why it cannot be read.
func tail(name string) string {
	file, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err == nil {
		_, _ = file.Seek(max(0, size-tailBytes), io.SeekStart)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-tailLines):], "\n")
}
