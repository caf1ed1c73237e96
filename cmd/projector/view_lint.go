package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/view/viewfile"
)

func viewLintCommand() *cobra.Command {
	var s cli.Settings
	c := &cobra.Command{
		Use:   "lint FILE",
		Short: "Tell what a view's file may not say, and what its author should know",
		Long: `Lint loads a view's file as the daemon does, and tells of every mistake where it stands, which rule it
breaks, and what to do about it. A warning is about a file that is accepted and may not be what was
meant. FILE may be - for standard input.

The exit code is 0 when the file is accepted, with warnings or without, and 3 when it is refused.`,
		Example: "  projector view lint view.yaml\n  projector view lint view.yaml -o json | jq -r '.refusals[] | \"\\(.line): \\(.rule)\"'",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(&s); err != nil {
				return err
			}
			name, text, err := readArgument(c, args[0])
			if err != nil {
				return err
			}
			report, err := lint(name, text)
			return errors.Join(err, s.Print(c, report.text(), report))
		},
	}
	bindOutput(c, &s)
	return c
}

// lintReport is what lint prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type lintReport struct {
	Version  int             `json:"version"`
	File     string          `json:"file"`
	Accepted bool            `json:"accepted"`
	View     string          `json:"view,omitempty"` // as Revision and Tables, of a file that is accepted
	Revision string          `json:"revision,omitempty"`
	Tables   []string        `json:"tables,omitempty"`
	Refusals []refusalReport `json:"refusals"`
	Warnings []warningReport `json:"warnings"`
}

const lintReportVersion = 1

type refusalReport struct {
	Line   int    `json:"line"`   // from 1
	Column int    `json:"column"` // from 1
	Where  string `json:"where"`  // such as "tables.stock.columns.on_hand"; empty for the file as a whole
	Rule   string `json:"rule"`
	Do     string `json:"do"`
}

type warningReport struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// lint loads a file. The error says that it is refused; the report has the reasons.
func lint(name string, text []byte) (lintReport, error) {
	v, warnings, err := viewfile.Load(name, text)
	report := lintReport{Version: lintReportVersion, File: name, Accepted: err == nil,
		Refusals: []refusalReport{}, Warnings: newWarningReports(warnings)}
	if mistakes, ok := errors.AsType[*viewfile.Mistakes](err); ok {
		for _, m := range mistakes.List {
			report.Refusals = append(report.Refusals, refusalReport{m.Line, m.Column, m.Where, m.Rule, m.Do})
		}
		err = cli.Exit(cli.ExitConfig, fmt.Errorf("%s is refused: %s, %s", name, counted(len(report.Refusals), "mistake"), counted(len(warnings), "warning")))
	}
	if err != nil {
		return report, err
	}
	report.View, report.Revision = v.Name(), v.Revision()
	for _, t := range v.Tables() {
		report.Tables = append(report.Tables, t.Name)
	}
	return report, nil
}

func newWarningReports(warnings []viewfile.Warning) []warningReport {
	out := []warningReport{}
	for _, w := range warnings {
		out = append(out, warningReport{w.Line, w.Text})
	}
	return out
}

// text has a line for each thing that begins as compilers begin theirs, so that editors find the place.
func (r lintReport) text() string {
	var lines []string
	for _, m := range r.Refusals {
		rule := m.Rule
		if m.Where != "" {
			rule = m.Where + ": " + rule
		}
		lines = append(lines, fmt.Sprintf("%s:%d:%d: refused: %s", r.File, m.Line, m.Column, rule), "    → "+m.Do)
	}
	for _, w := range r.Warnings {
		lines = append(lines, fmt.Sprintf("%s:%d: warning: %s", r.File, w.Line, w.Text))
	}
	if r.Accepted {
		lines = append(lines, fmt.Sprintf("%s is accepted: view %s, revision %s, %s, %s",
			r.File, r.View, r.Revision, tablesText(r.Tables), counted(len(r.Warnings), "warning")))
	}
	return strings.Join(lines, "\n")
}

func tablesText(names []string) string {
	if len(names) == 1 {
		return "table " + names[0]
	}
	return "tables " + strings.Join(names, ", ")
}
