package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/config"
)

func configCommand() *cobra.Command {
	var s cli.Settings
	c := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration, and where each value comes from",
		Long: `Config prints the value of every key with its source: default, line of the file, environment variable or
flag. Secrets show only that they are set. It connects to nothing.

A configuration with mistakes is told with all of them, and the exit code is 3.`,
		Example: "  projector config --config penstock.yaml\n" +
			"  projector config --config penstock.yaml -o json | jq '.settings[] | select(.source.layer != \"default\")'",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return printConfig(c, &s) },
	}
	s.Bind(c)
	c.AddCommand(
		printsDocument("schema", "Print the JSON Schema of the configuration file, for editors", config.Schema),
		printsDocument("docs", "Print the documentation of every key, as Markdown",
			func() ([]byte, error) { return config.Documentation(), nil }))
	return c
}

// printsDocument is a command that prints what derives from the table of keys alone.
func printsDocument(name, short string, document func() ([]byte, error)) *cobra.Command {
	return &cobra.Command{
		Use:     name,
		Short:   short,
		Example: "  projector config " + name,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := document()
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	}
}

// configReport is what config prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type configReport struct {
	Version  int             `json:"version"`
	Valid    bool            `json:"valid"`
	Settings []settingReport `json:"settings,omitempty"`
	Mistakes []mistakeReport `json:"mistakes,omitempty"`
}

const configReportVersion = 1

type settingReport struct {
	Key    string        `json:"key"`
	Type   string        `json:"type"`
	Value  any           `json:"value"` // text, number, texts, or null for none
	Source *sourceReport `json:"source"`
	Reload string        `json:"reload"`
}

type mistakeReport struct {
	Key        string        `json:"key,omitempty"`
	Value      string        `json:"value,omitempty"`
	Rule       string        `json:"rule"`
	Suggestion string        `json:"suggestion,omitempty"`
	Source     *sourceReport `json:"source,omitempty"`
}

type sourceReport struct {
	Layer  string `json:"layer"`
	Name   string `json:"name,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func sourceOf(o config.Origin) *sourceReport {
	return &sourceReport{Layer: o.Layer.String(), Name: o.Name, Line: o.Line, Column: o.Column}
}

func printConfig(c *cobra.Command, s *cli.Settings) error {
	conf, _, err := s.LoadView(c)
	if err != nil {
		return printMistakes(c, s, err)
	}
	report := configReport{Version: configReportVersion, Valid: true}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "KEY\tVALUE\tSOURCE")
	for _, set := range effective(conf) {
		value, err := typedValue(set)
		if err != nil {
			return err
		}
		report.Settings = append(report.Settings, settingReport{
			Key: set.Key.Name, Type: set.Key.Type.String(), Value: value, Source: sourceOf(set.Origin), Reload: set.Key.Reload.String()})
		shown := set.Value
		if value == nil {
			shown = "(none)"
		}
		fmt.Fprintf(w, "\n%s\t%s\t%s", set.Key.Name, shown, set.Origin)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return s.Print(c, table.String(), report)
}

// printMistakes gives scripts what people read in the error, which it returns.
func printMistakes(c *cobra.Command, s *cli.Settings, err error) error {
	invalid, ok := errors.AsType[*config.Error](err)
	if !ok || s.Output != "json" {
		return err
	}
	report := configReport{Version: configReportVersion}
	for _, m := range invalid.Mistakes {
		told := mistakeReport{Key: m.Key, Value: m.Value, Rule: m.Rule, Suggestion: m.Suggestion}
		if m.Origin != (config.Origin{}) {
			told.Source = sourceOf(m.Origin)
		}
		report.Mistakes = append(report.Mistakes, told)
	}
	return errors.Join(err, s.Print(c, "", report))
}

// effective returns a setting for every key, without a value where none is given.
func effective(conf *config.Config) []config.Setting {
	given := map[string]config.Setting{}
	for _, set := range conf.Settings() {
		given[set.Key.Name] = set
	}
	var out []config.Setting
	for _, k := range config.Keys() {
		set, ok := given[k.Name]
		if !ok {
			set = config.Setting{Key: k}
		}
		out = append(out, set)
	}
	return out
}

// typedValue returns a value as JSON has it.
func typedValue(set config.Setting) (any, error) {
	switch {
	case set.Value == "":
		return nil, nil
	case set.Key.Type == config.Integer:
		n, err := strconv.Atoi(set.Value)
		if err != nil {
			return nil, fmt.Errorf("print %s: %w", set.Key.Name, err)
		}
		return n, nil
	case set.Key.Type == config.List:
		return strings.Split(set.Value, ","), nil
	}
	return set.Value, nil
}
