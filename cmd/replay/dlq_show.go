package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/replay"
	"penstock/sink/deadletter"
	"penstock/view"
	"penstock/view/viewfile"
)

func showCommand() *cobra.Command {
	var s cli.Settings
	var noRows bool
	c := &cobra.Command{
		Use:   "show KEY",
		Short: "Show all of one letter: why, what became of it, its payload, its rows, and what a redrive would change",
		Long: `Show prints everything about one letter: where its record stood, why it was parked, what has become of it since,
and its payload, which may hold personal data. Then it projects the payload as a redrive would, and compares
each cell with what the row holds now: a redrive adds it, replaces an older value, finds the same, or leaves
a newer value in place.

KEY is a letter's key, or its address with s3://, as list and the daemon's log print it.`,
		Example: "  replay dlq show v1/view=orders/gen=1/dt=2026-11-21/bad_json/1763700000.shardId-000000000000.4957….0.json\n" +
			"  replay dlq show KEY -o json | jq -r .payload.base64 | base64 -d\n" +
			"  replay dlq show KEY --no-rows",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := openDesk(c, &s)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(c.Context())
			defer stop()
			m, err := d.find(args[0])
			if err != nil {
				return err
			}
			var rows replay.RowReader
			if !noRows {
				session, err := d.connect(ctx)
				if err != nil {
					return fmt.Errorf("%w (--no-rows shows the letter without its rows)", err)
				}
				defer session.Close()
				rows = session
			}
			report, err := d.show(ctx, m, rows)
			if err != nil {
				return err
			}
			return s.Print(c, report.text(), report)
		},
	}
	s.Bind(c)
	c.Flags().BoolVar(&noRows, "no-rows", false, "do not connect to Cassandra")
	return c
}

// find reads a key from the command line.
func (d *desk) find(key string) (deadletter.Mark, error) {
	m, err := d.box.Find(key)
	if err != nil {
		if code := exitCode(err); code == cli.ExitRefused {
			return m, err
		}
		return m, cli.Exit(cli.ExitUsage, err)
	}
	return m, nil
}

// showReport is what show prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type showReport struct {
	Version  int                  `json:"version"`
	Key      string               `json:"key"`
	State    deadletter.State     `json:"state"`
	Outcomes []deadletter.Outcome `json:"outcomes"` // the oldest first
	ID       string               `json:"id"`
	ParkedAt time.Time            `json:"parked_at"`
	Target   deadletter.Target    `json:"target"`
	Source   deadletter.Source    `json:"source"`
	Event    deadletter.Event     `json:"event"`
	Failure  deadletter.Failure   `json:"failure"`
	Attempts deadletter.Attempts  `json:"attempts"`
	Context  deadletter.Context   `json:"context"`
	Payload  payloadReport        `json:"payload"`
	Redrive  redriveReport        `json:"redrive"`
	object   []byte
}

const showReportVersion = 1

type payloadReport struct {
	Bytes  int             `json:"bytes"`
	JSON   json.RawMessage `json:"json,omitempty"` // if it is JSON
	Base64 []byte          `json:"base64"`
}

// redriveReport is what a redrive would do now.
type redriveReport struct {
	Revision string              `json:"revision"` // of this program's view
	Failure  *deadletter.Failure `json:"failure"`  // why it would fail again; null if it would not
	Rows     []rowReport         `json:"rows"`
}

type rowReport struct {
	Table  string       `json:"table"`
	Key    []namedValue `json:"key"`
	Exists *bool        `json:"exists"` // null if it was not read
	Now    []cellReport `json:"now"`    // all of the row, before
	Cells  []cellReport `json:"cells"`  // what the letter writes
}

type namedValue struct {
	Column string `json:"column"`
	Value  string `json:"value"` // as CQL writes it
}

type cellReport struct {
	Column string        `json:"column"`
	Entry  string        `json:"entry,omitempty"` // key of a map's entry, or element of a set
	Now    string        `json:"now,omitempty"`
	Value  string        `json:"value,omitempty"`
	Stamp  view.Stamp    `json:"stamp,omitempty"`
	Effect replay.Effect `json:"effect,omitempty"`
}

// show collects all about a letter. Without rows they are not compared.
func (d *desk) show(ctx context.Context, m deadletter.Mark, rows replay.RowReader) (showReport, error) {
	object, l, err := d.box.Raw(ctx, m)
	if err != nil {
		return showReport{}, err
	}
	history, err := d.box.History(ctx, m)
	if err != nil {
		return showReport{}, err
	}
	var fate deadletter.Fate
	for _, o := range history {
		fate = fate.With(o)
	}
	r := showReport{
		Version: showReportVersion, Key: m.Key, State: fate.State(), Outcomes: append([]deadletter.Outcome{}, history...), ID: l.ID(), ParkedAt: l.ParkedAt,
		Target: l.Target, Source: l.Source, Event: l.Event, Failure: l.Failure, Attempts: l.Attempts, Context: l.Context,
		Payload: payloadReport{Bytes: len(l.Payload), Base64: l.Payload}, Redrive: redriveReport{Revision: d.view.Revision(), Rows: []rowReport{}}, object: object,
	}
	if json.Valid(l.Payload) {
		r.Payload.JSON = l.Payload
	}
	result, failure, err := replay.Try(d.view, l)
	if err != nil {
		return showReport{}, err
	}
	r.Redrive.Failure = failure
	changes, err := replay.Changes(ctx, d.view, d.generation, result.Mutations, rows)
	if err != nil {
		return showReport{}, err
	}
	for _, change := range changes {
		r.Redrive.Rows = append(r.Redrive.Rows, newRowReport(change, d.generation, rows != nil))
	}
	return r, nil
}

func newRowReport(change replay.RowChange, g view.Generation, read bool) rowReport {
	r := rowReport{Table: change.Table.Name + g.Suffix(), Now: []cellReport{}, Cells: []cellReport{}}
	if read {
		r.Exists = &change.Exists
	}
	for i, k := range change.Table.Keys() {
		r.Key = append(r.Key, namedValue{k.Name, viewfile.Literal(k.Type, change.Key[i])})
	}
	columns := map[string]view.Column{}
	for _, c := range change.Table.AllColumns() {
		columns[c.Name] = c
	}
	for _, c := range change.Row.Cells {
		entry, value := literals(columns[c.Column], c.Path, c.Value)
		r.Now = append(r.Now, cellReport{Column: c.Column, Entry: entry, Value: value, Stamp: c.Stamp})
	}
	for _, c := range change.Cells {
		entry, value := literals(c.Column, c.Path, c.Then)
		cell := cellReport{Column: c.Column.Name, Entry: entry, Value: value, Stamp: c.Stamp, Effect: c.Effect}
		if c.Effect != replay.Adds && c.Effect != replay.Unread {
			_, cell.Now = literals(c.Column, c.Path, c.Now)
		}
		r.Cells = append(r.Cells, cell)
	}
	return r
}

// literals writes path and value of a cell as CQL does.
func literals(c view.Column, path, value view.Value) (entry, text string) {
	switch c.Type.Kind() {
	case view.KindSet:
		return viewfile.Literal(c.Type.Elem(), path), ""
	case view.KindMap:
		return viewfile.Literal(c.Type.Key(), path), viewfile.Literal(c.Type.Elem(), value)
	}
	return "", viewfile.Literal(c.Type, value)
}

// widest is how many characters of a value stand in a table. JSON has them all.
const widest = 72

func short(s string) string {
	s = oneLine(s)
	if utf8.RuneCountInString(s) > widest {
		return string([]rune(s)[:widest-1]) + "…"
	}
	return orDash(s)
}

func (r showReport) text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fact := func(name string, format string, args ...any) {
		if text := oneLine(fmt.Sprintf(format, args...)); text != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, text)
		}
	}
	fact("letter", "%s", r.Key)
	fact("id", "%s", r.ID)
	fact("state", "%s", r.State)
	fact("failure", "%s: %s: %s", r.Failure.Stage, r.Failure.Code, r.Failure.Message)
	fact("cause", "%s", r.Failure.Fingerprint)
	if r.Attempts.Count > 0 {
		fact("attempts", "%d, %s to %s", r.Attempts.Count, second(r.Attempts.First), second(r.Attempts.Last))
	}
	fact("event", "%s", r.Event.ID)
	fact("type", "%s", r.Event.Type)
	if r.Event.SchemaVersion != 0 {
		fact("schema", "%d", r.Event.SchemaVersion)
	}
	fact("entity", "%s", r.Event.Entity)
	if r.Event.EntityVersion != 0 {
		fact("version", "%d", r.Event.EntityVersion)
	}
	for _, a := range r.Event.Attributes {
		fact(a.Name, "%s", a.Value)
	}
	fact("time", "%s", stamp(r.Event.Time))
	fact("traceparent", "%s", r.Event.TraceParent)
	fact("arrived", "%s", stamp(r.Source.Arrival))
	fact("parked", "%s by %s, release %s", stamp(r.ParkedAt), orDash(r.Context.Worker), r.Context.Version)
	fact("view", "%s, revision %s, generation %d", r.Target.View, r.Target.Revision, r.Target.Generation)
	fact("stream", "%s, created %s", r.Source.Stream, r.Source.Epoch)
	fact("position", "%s %s.%d", r.Source.Shard, r.Source.Sequence, r.Source.SubSequence)
	fact("partition key", "%s", r.Source.PartitionKey)
	_ = w.Flush() // to memory

	b.WriteString("\nwhat became of it\n")
	if len(r.Outcomes) == 0 {
		b.WriteString("  nothing yet\n")
	}
	for _, o := range r.Outcomes {
		why := o.Reason
		if o.Failure != nil {
			why = fmt.Sprintf("%s: %s: %s", o.Failure.Stage, o.Failure.Code, o.Failure.Message)
		} else if o.Event != "" {
			why = "by event " + o.Event + map[bool]string{true: ": " + o.Reason}[o.Reason != ""]
		}
		fmt.Fprintf(&b, "  %s  %-10s  %s, run %s  %s\n", second(o.At), o.State, o.By, o.Run, oneLine(why))
	}

	fmt.Fprintf(&b, "\npayload, %d bytes\n%s", r.Payload.Bytes, r.Payload.text())
	if f := r.Redrive.Failure; f != nil {
		fmt.Fprintf(&b, "\na redrive by revision %s would fail again\n  %s: %s: %s\n", r.Redrive.Revision, f.Stage, f.Code, oneLine(f.Message))
		return strings.TrimSuffix(b.String(), "\n")
	}
	if len(r.Redrive.Rows) == 0 {
		fmt.Fprintf(&b, "\na redrive by revision %s changes no row\n", r.Redrive.Revision)
	}
	for _, row := range r.Redrive.Rows {
		b.WriteString("\n" + row.text())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// text is the payload as people read it: indented if it is JSON, as it is if it is text, and in hexadecimal otherwise.
func (p payloadReport) text() string {
	if p.JSON != nil {
		var b bytes.Buffer
		if json.Indent(&b, p.JSON, "  ", "  ") == nil {
			return "  " + strings.TrimSpace(b.String()) + "\n"
		}
	}
	if utf8.Valid(p.Base64) && oneLine(string(p.Base64)) == string(p.Base64) {
		return "  " + string(p.Base64) + "\n"
	}
	return hex.Dump(p.Base64)
}

func (r rowReport) text() string {
	var b strings.Builder
	var keys []string
	for _, k := range r.Key {
		keys = append(keys, k.Column+" = "+k.Value)
	}
	fmt.Fprintf(&b, "%s (%s)", r.Table, oneLine(strings.Join(keys, ", ")))
	switch {
	case r.Exists == nil:
		b.WriteString(": not read")
	case !*r.Exists:
		b.WriteString(": no such row yet")
	}
	b.WriteString("\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "  A REDRIVE\tCOLUMN\tENTRY\tVALUE\tNOW\n")
	for _, c := range r.Cells {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", c.Effect, c.Column, short(c.Entry), short(c.Value), short(c.Now))
	}
	_ = w.Flush() // to memory
	b.WriteString("  the row holds now\n")
	if len(r.Now) == 0 {
		b.WriteString("    nothing\n")
	}
	w = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range r.Now {
		fmt.Fprintf(w, "    %s\t%s\t%s\n", c.Column, short(c.Entry), short(c.Value))
	}
	_ = w.Flush() // to memory
	return b.String()
}
