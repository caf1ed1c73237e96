package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/view"
	"penstock/view/viewfile"
)

func viewExplainCommand() *cobra.Command {
	var s cli.Settings
	var arrival, keyspace string
	c := &cobra.Command{
		Use:   "explain FILE EVENT",
		Short: "Show what one event becomes: its rows and cells with their timestamps, and as CQL",
		Long: `Explain projects one event by a view's file and shows what would be written: the rows, each cell with its
value and timestamp, and the same as CQL for reading. The writer binds values and groups rows; it does
not send this text. EVENT is a file with one record as it stands in the stream, or - for standard input.

A rule may be about the time at which the stream accepted a record. --arrival says it; without it the
event arrives now.

The exit code is 0 for an event that is applied, also where it changes nothing; 7 for one that would be
parked, with the reason on standard output; 3 when the file is refused.`,
		Example: "  projector view explain view.yaml event.json\n" +
			"  projector view explain view.yaml event.json --arrival 2026-11-21T10:00:01Z -o json | jq '.rows[].cells'\n" +
			"  tail -n 1 samples.ndjson | projector view explain view.yaml -",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(&s); err != nil {
				return err
			}
			if args[0] == standardInput && args[1] == standardInput {
				return cli.Exit(cli.ExitUsage, errors.New("view explain: one of the two may be standard input"))
			}
			at := time.Now()
			if arrival != "" {
				var err error
				if at, err = time.Parse(time.RFC3339Nano, arrival); err != nil {
					return cli.Exit(cli.ExitUsage, fmt.Errorf("arrival %q: must be an RFC 3339 time such as 2026-11-21T10:00:00Z", arrival))
				}
			}
			v, err := loadViewFile(c, args[0])
			if err != nil {
				return err
			}
			name, event, err := readArgument(c, args[1])
			if err != nil {
				return err
			}
			report, err := explain(v, view.Record{Data: event, Arrival: at}, keyspace, view.Generation(s.Generation))
			if err != nil {
				return err
			}
			err = s.Print(c, report.text(), report)
			if report.Poison != nil {
				err = errors.Join(err, cli.Exit(cli.ExitDifferent, fmt.Errorf("%s would be parked: %s", name, report.Poison.Code)))
			}
			return err
		},
	}
	bindOutput(c, &s)
	c.Flags().StringVar(&arrival, "arrival", "", "RFC 3339 time at which the stream accepted the event; default now")
	c.Flags().StringVar(&keyspace, "keyspace", "orders", "keyspace in the CQL")
	c.Flags().IntVar(&s.Generation, "generation", 1, "generation of the tables in the CQL")
	return c
}

// explainReport is what explain prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type explainReport struct {
	Version  int                     `json:"version"`
	View     string                  `json:"view"`
	Revision string                  `json:"revision"`
	Arrival  time.Time               `json:"arrival"`
	Event    eventReport             `json:"event"`
	Poison   *poisonReport           `json:"poison"` // null for an event that is applied
	Rows     []viewfile.ExplainedRow `json:"rows"`
	CQL      []string                `json:"cql"`
}

const explainReportVersion = 1

// eventReport is what the engine knows of an event, as far as it could be read.
type eventReport struct {
	Type          string           `json:"type,omitempty"` // without the schema version
	SchemaVersion int              `json:"schema_version,omitempty"`
	Entity        string           `json:"entity,omitempty"`
	EntityVersion *int64           `json:"entity_version"` // null where it was not needed or could not be read
	ID            string           `json:"id,omitempty"`
	Time          *time.Time       `json:"time"` // as the version
	Attributes    []view.Attribute `json:"attributes,omitempty"`
	TraceParent   string           `json:"traceparent,omitempty"`
}

type poisonReport struct {
	Stage   view.Stage `json:"stage"`
	Code    view.Code  `json:"code"`
	Message string     `json:"message"`
}

// explain projects a record. Poison is an explanation too; the error is of another kind.
func explain(v *viewfile.View, record view.Record, keyspace string, g view.Generation) (explainReport, error) {
	report := explainReport{Version: explainReportVersion, View: v.Name(), Revision: v.Revision(), Arrival: record.Arrival.UTC(),
		Rows: []viewfile.ExplainedRow{}, CQL: []string{}}
	explained, err := viewfile.Explain(v, record)
	if poison, ok := view.AsPoison(err); ok {
		report.Event = newEventReport(poison.Event, false)
		report.Poison = &poisonReport{poison.Stage, poison.Code, poison.Err.Error()}
		return report, nil
	}
	if err != nil {
		return report, err
	}
	report.Event = newEventReport(explained.Event, len(explained.Rows) > 0)
	report.Rows = append(report.Rows, explained.Rows...)
	report.CQL = append(report.CQL, explained.CQL(keyspace, g)...)
	return report, nil
}

func newEventReport(e view.Event, applied bool) eventReport {
	r := eventReport{Type: e.Type, SchemaVersion: e.SchemaVersion, Entity: e.Entity, ID: e.ID, Attributes: e.Attributes, TraceParent: e.TraceParent}
	if applied || e.EntityVersion != 0 {
		r.EntityVersion = &e.EntityVersion
	}
	if !e.Time.IsZero() {
		r.Time = &e.Time
	}
	return r
}

func (r explainReport) text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, fact := range r.Event.facts() {
		fmt.Fprintf(w, "%s\t%s\n", fact[0], fact[1])
	}
	switch {
	case r.Poison != nil:
		fmt.Fprintf(w, "poison\t%s: %s: %s\n", r.Poison.Stage, r.Poison.Code, r.Poison.Message)
	case len(r.Rows) == 0:
		fmt.Fprint(w, "changes\tnothing\n")
	}
	_ = w.Flush() // to memory
	for _, row := range r.Rows {
		b.WriteString("\n" + rowText(row))
	}
	if len(r.CQL) > 0 {
		b.WriteString("\n" + strings.Join(r.CQL, "\n"))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// facts are what is known of the event, each with its name.
func (r eventReport) facts() [][2]string {
	var facts [][2]string
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, [2]string{name, value})
		}
	}
	add("type", r.Type)
	if r.SchemaVersion != 0 {
		add("schema", fmt.Sprint(r.SchemaVersion))
	}
	add("entity", r.Entity)
	if r.EntityVersion != nil {
		add("version", fmt.Sprint(*r.EntityVersion))
	}
	add("id", r.ID)
	if r.Time != nil {
		add("time", r.Time.Format(time.RFC3339Nano))
	}
	for _, a := range r.Attributes {
		add(a.Name, a.Value)
	}
	add("traceparent", r.TraceParent)
	return facts
}

// widest is how many characters of a value stand in the table. The CQL has them all.
const widest = 60

func rowText(row viewfile.ExplainedRow) string {
	var b strings.Builder
	var keys []string
	for _, k := range row.Key {
		keys = append(keys, k.Column+" = "+k.Value)
	}
	fmt.Fprintf(&b, "%s (%s)\n", row.Table, strings.Join(keys, ", "))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "  COLUMN\tENTRY\tVALUE\tCLASS\tSTAMP\n")
	for _, cell := range row.Cells {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%d\n",
			cell.Column, orDash(cutText(cell.Path, widest)), orDash(cutText(cell.Value, widest)), cell.Class, cell.Stamp)
	}
	_ = w.Flush() // to memory
	return b.String()
}
