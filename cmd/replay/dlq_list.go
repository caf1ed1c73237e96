package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/replay"
	"penstock/sink/deadletter"
	"penstock/view"
)

func listCommand() *cobra.Command {
	s := cli.Settings{Formats: []string{"csv"}}
	var filters filterFlags
	var l lister
	c := &cobra.Command{
		Use:   "list",
		Short: "Count letters by code and cause, or list them one by one",
		Long: `List groups the letters of the configured view and generation by their code and by the fingerprint of their
cause: how many, how many of them open, when the first and the last of them arrived, and one of them as an
example. Without --state it looks at open letters only.

Letters stand in the bucket by the day on which they arrived, so --since and --until save reading. The cause
is in the letter; --by code counts by what stands in the keys alone and reads no letter, unless a filter
needs it. Reading goes on with some letters at once and keeps one day's outcomes in memory, however many
letters there are.

With --letters -o json each letter is one line. --metrics writes the counts for Prometheus, as a text file
that node_exporter collects: penstock_dead_letters_open and the time of the oldest open letter.`,
		Example: "  replay dlq list --config penstock.yaml\n" +
			"  replay dlq list --since 7d --state all --by code -o csv\n" +
			"  replay dlq list --letters --customer c-81723 -o json | jq -r .key\n" +
			"  replay dlq list --by code --metrics /var/lib/node_exporter/penstock.prom",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := filters.filter(time.Now())
			if err != nil {
				return err
			}
			if err := l.check(); err != nil {
				return err
			}
			if l.metrics != "" && filters.narrow(c) {
				return cli.Exit(cli.ExitUsage, errors.New("--metrics: counts all open letters, so no filter goes with it"))
			}
			d, err := openDesk(c, &s)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(c.Context())
			defer stop()
			c.SetContext(ctx)
			l.format, l.out, l.said = s.Output, c.OutOrStdout(), c.ErrOrStderr()
			return l.list(c, d.box, f)
		},
	}
	s.Bind(c)
	filters.bind(c, "open,failed")
	c.Flags().StringVar(&l.by, "by", "fingerprint", "what letters are grouped by: fingerprint, or code")
	c.Flags().BoolVar(&l.letters, "letters", false, "letter by letter")
	c.Flags().IntVar(&l.readers, "readers", replay.DefaultReaders, "how many letters are read at once, 1 to 512")
	c.Flags().StringVar(&l.metrics, "metrics", "", "file to write the counts to, for Prometheus; no filter goes with it")
	return c
}

// lister prints letters as they are found.
type lister struct {
	by      string
	letters bool
	readers int
	metrics string // file

	format    string
	out, said io.Writer
}

func (l *lister) check() error {
	switch {
	case l.by != "fingerprint" && l.by != "code":
		return cli.Exit(cli.ExitUsage, fmt.Errorf("--by %q: must be fingerprint or code", l.by))
	case l.readers < 1 || l.readers > 512:
		return cli.Exit(cli.ExitUsage, fmt.Errorf("--readers %d: must be 1 to 512", l.readers))
	}
	return nil
}

func (l *lister) list(c *cobra.Command, box *deadletter.Box, f replay.Filter) error {
	depth := replay.Heads
	if l.by == "code" && !l.letters {
		depth = replay.Marks
	}
	var summary replay.Summary
	var each letterWriter
	if l.letters {
		each = newLetterWriter(l.format, l.out)
	}
	for found, err := range replay.Walk(c.Context(), box, f, depth, l.readers) {
		if err != nil {
			return fmt.Errorf("list letters: %w", err)
		}
		summary.Add(found)
		if each != nil {
			if err := each.write(newLetterReport(found)); err != nil {
				return fmt.Errorf("print letters: %w", err)
			}
		}
	}
	if l.metrics != "" {
		if err := writeMetrics(l.metrics, openMetrics(&summary)); err != nil {
			return err
		}
	}
	if summary.Count == 0 {
		fmt.Fprintln(l.said, "no letters: there are none, or none that all of the filters choose")
	}
	if each != nil {
		return each.close()
	}
	return printSummary(l.format, l.out, &summary)
}

// summaryReport is what list prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type summaryReport struct {
	Version int `json:"version"`
	*replay.Summary
	Groups []replay.Group `json:"groups"`
}

const summaryReportVersion = 1

func printSummary(format string, out io.Writer, s *replay.Summary) error {
	groups := s.Groups()
	switch format {
	case "json":
		return json.NewEncoder(out).Encode(summaryReport{summaryReportVersion, s, groups})
	case "csv":
		w := csv.NewWriter(out)
		_ = w.Write([]string{"code", "fingerprint", "count", "open", "share", "first", "last", "stage", "message", "example"}) // kept for Error
		for _, g := range groups {
			_ = w.Write([]string{string(g.Code), g.Fingerprint, strconv.Itoa(g.Count), strconv.Itoa(g.Open),
				strconv.FormatFloat(g.Share, 'f', 4, 64), g.First.UTC().Format(time.RFC3339Nano), g.Last.UTC().Format(time.RFC3339Nano),
				string(g.Stage), g.Message, g.Example})
		}
		w.Flush()
		return w.Error()
	}
	if s.Count == 0 {
		return nil
	}
	lines := make([]string, len(groups))
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CODE\tCAUSE\tLETTERS\tOPEN\tSHARE\tFIRST ARRIVED\tLAST ARRIVED")
	for i, g := range groups {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%.1f %%\t%s\t%s\n", g.Code, orDash(g.Fingerprint), g.Count, g.Open, 100*g.Share, second(g.First), second(g.Last))
		if g.Message != "" {
			lines[i] = fmt.Sprintf("    %s: %s\n", g.Stage, oneLine(g.Message))
		}
		lines[i] += "    " + g.Example + "\n"
	}
	_ = w.Flush() // to memory
	rows := strings.SplitAfter(table.String(), "\n")
	var b strings.Builder
	b.WriteString(rows[0])
	for i := range groups {
		b.WriteString(rows[i+1] + lines[i])
	}
	fmt.Fprintf(&b, "\n%s, %d of them open", counted(s.Count), s.Open)
	if s.Unreadable > 0 {
		fmt.Fprintf(&b, ", %d unreadable", s.Unreadable)
	}
	_, err := fmt.Fprintln(out, b.String())
	return err
}

// letterReport is a letter as list prints it. Scripts read it: fields are added and never change their meaning.
type letterReport struct {
	Key           string           `json:"key"`
	State         deadletter.State `json:"state"`
	StateAt       time.Time        `json:"state_at,omitzero"`
	Code          view.Code        `json:"code"`
	Fingerprint   string           `json:"fingerprint"`
	Stage         view.Stage       `json:"stage"`
	Message       string           `json:"message"`
	Arrival       time.Time        `json:"arrival,omitzero"`
	Shard         string           `json:"shard"`
	Sequence      string           `json:"sequence"`
	SubSequence   int64            `json:"subsequence"`
	Event         string           `json:"event"`
	Type          string           `json:"type"`
	SchemaVersion int              `json:"schema_version,omitempty"`
	Entity        string           `json:"entity"`
	EntityVersion int64            `json:"entity_version,omitempty"`
	Attributes    []view.Attribute `json:"attributes,omitempty"`
	Bytes         int64            `json:"bytes"` // of the object
	Unreadable    string           `json:"unreadable,omitempty"`
}

func newLetterReport(f replay.Found) letterReport {
	l := f.Letter
	r := letterReport{
		Key: f.Key, State: f.Fate.State(), StateAt: f.Fate.At(), Code: f.Code, Fingerprint: l.Failure.Fingerprint, Stage: l.Failure.Stage,
		Message: l.Failure.Message, Arrival: l.Source.Arrival, Shard: l.Source.Shard, Sequence: l.Source.Sequence, SubSequence: l.Source.SubSequence,
		Event: l.Event.ID, Type: l.Event.Type, SchemaVersion: l.Event.SchemaVersion, Entity: l.Event.Entity,
		EntityVersion: l.Event.EntityVersion, Attributes: l.Event.Attributes, Bytes: f.Bytes,
	}
	if f.Unreadable != nil {
		r.Unreadable = f.Unreadable.Error()
	}
	return r
}

// letterWriter prints letters one by one, so that none is kept.
type letterWriter interface {
	write(letterReport) error
	close() error
}

func newLetterWriter(format string, out io.Writer) letterWriter {
	switch format {
	case "json":
		return &jsonLetters{json.NewEncoder(out)}
	case "csv":
		return &csvLetters{w: csv.NewWriter(out)}
	}
	return &textLetters{out: out}
}

type jsonLetters struct{ enc *json.Encoder }

func (w *jsonLetters) write(r letterReport) error { return w.enc.Encode(r) }

func (w *jsonLetters) close() error { return nil }

type csvLetters struct {
	w      *csv.Writer
	headed bool
}

func (w *csvLetters) head() {
	if !w.headed {
		w.headed = true
		_ = w.w.Write([]string{"key", "state", "state_at", "code", "fingerprint", "stage", "message", "arrival", "shard", "sequence", "subsequence",
			"event", "type", "schema_version", "entity", "entity_version", "attributes", "bytes"}) // kept for Error
	}
}

func (w *csvLetters) write(r letterReport) error {
	w.head()
	var attributes []string
	for _, a := range r.Attributes {
		attributes = append(attributes, a.Name+"="+a.Value)
	}
	return w.w.Write([]string{r.Key, string(r.State), stamp(r.StateAt), string(r.Code), r.Fingerprint, string(r.Stage), r.Message, stamp(r.Arrival), r.Shard,
		r.Sequence, strconv.FormatInt(r.SubSequence, 10), r.Event, r.Type, strconv.Itoa(r.SchemaVersion), r.Entity,
		strconv.FormatInt(r.EntityVersion, 10), strings.Join(attributes, " "), strconv.FormatInt(r.Bytes, 10)})
}

func (w *csvLetters) close() error {
	w.head()
	w.w.Flush()
	return w.w.Error()
}

// textLetters prints a line for each letter, in columns of fixed width: their true width is known at the end only.
type textLetters struct {
	out    io.Writer
	headed bool
}

func (w *textLetters) write(r letterReport) error {
	const line = "%-10s  %-23s  %-20s  %-24s  %s\n"
	if !w.headed {
		w.headed = true
		if _, err := fmt.Fprintf(w.out, line, "STATE", "CODE", "ARRIVED", "TYPE", "KEY"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w.out, line, r.State, r.Code, second(r.Arrival), orDash(oneLine(r.Type)), r.Key)
	return err
}

func (w *textLetters) close() error { return nil }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// second writes a time for people.
func second(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// stamp writes a time for programs, empty for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// oneLine makes text of a payload fit for a terminal: no line breaks, no control characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
