package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/view/viewfile"
)

func viewTestCommand() *cobra.Command {
	var s cli.Settings
	var seed uint64
	var actual bool
	c := &cobra.Command{
		Use:   "test DIR",
		Short: "Apply the events in a folder, in many orders, and hold the rows against those expected",
		Long: `Test reads a folder:

  view.yaml     the view
  events/       the events: NAME.json is one record, NAME.ndjson has one in each line
  expect.yaml   the rows they end in, the events that are poison, and when the events arrived

It applies the events in twenty orders, with repetitions, and tells of every cell that is not as
expected. It also tells where the events themselves break what only their author can promise, such as
a write-once column that two events of one entity set to two values. To begin with, expect.yaml may say
no more than "rows: {}": --actual prints the rows that there are.

The exit code is 0 when everything is as expected, 7 when something differs, and 3 when view.yaml or
expect.yaml is refused.`,
		Example: "  projector view test .\n  projector view test shipments --seed 7\n  projector view test . --actual",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(&s); err != nil {
				return err
			}
			if actual && s.Output == "json" {
				return cli.Exit(cli.ExitUsage, errors.New("view test: --actual is YAML: give it without -o json"))
			}
			report, err := testView(args[0], seed)
			if err != nil {
				return err
			}
			if actual {
				_, err = c.OutOrStdout().Write(report.actual)
			} else {
				err = s.Print(c, report.text(), report)
			}
			if n := len(report.Differences); n > 0 {
				err = errors.Join(err, cli.Exit(cli.ExitDifferent, fmt.Errorf("view %s: %s", report.View, counted(n, "difference"))))
			}
			return err
		},
	}
	bindOutput(c, &s)
	c.Flags().Uint64Var(&seed, "seed", 1, "picks the orders and repetitions")
	c.Flags().BoolVar(&actual, "actual", false, "print the rows that the events end in, as expect.yaml has them, and nothing else")
	return c
}

// testReport is what test prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type testReport struct {
	Version     int                `json:"version"`
	View        string             `json:"view"`
	Seed        uint64             `json:"seed"`
	Events      int                `json:"events"` // poison among them
	Poison      int                `json:"poison"`
	Rows        int                `json:"rows"`
	Orders      int                `json:"orders"`
	Warnings    []warningReport    `json:"warnings"`
	Differences []differenceReport `json:"differences"`
	actual      []byte
}

const testReportVersion = 1

type differenceReport struct {
	Table string `json:"table,omitempty"` // none of these where it is about an event
	Row   string `json:"row,omitempty"`
	Cell  string `json:"cell,omitempty"`
	What  string `json:"what"`
}

// testView runs the tests in a folder. A link that leads out of it is refused.
func testView(dir string, seed uint64) (testReport, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return testReport{}, fmt.Errorf("open the folder: %w", err)
	}
	defer root.Close()
	found, err := viewfile.Test(root.FS(), seed)
	if err != nil {
		return testReport{}, refusal(err)
	}
	report := testReport{Version: testReportVersion, View: found.View, Seed: seed, Events: found.Events, Poison: found.Poison,
		Rows: found.Rows, Orders: found.Orders, Warnings: newWarningReports(found.Warnings), Differences: []differenceReport{}, actual: found.Actual}
	for _, d := range found.Differences {
		report.Differences = append(report.Differences, differenceReport(d))
	}
	return report, nil
}

func (r testReport) text() string {
	var lines []string
	for _, w := range r.Warnings {
		lines = append(lines, fmt.Sprintf("%s:%d: warning: %s", viewfile.FileView, w.Line, w.Text))
	}
	for _, d := range r.Differences {
		lines = append(lines, viewfile.Difference(d).String())
	}
	return strings.Join(append(lines, fmt.Sprintf("view %s: %s, %d of them poison, end in %s in each of %d orders (seed %d): %s",
		r.View, counted(r.Events, "event"), r.Poison, counted(r.Rows, "row"), r.Orders, r.Seed, counted(len(r.Differences), "difference"))), "\n")
}
