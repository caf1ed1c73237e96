package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/view/viewfile"
)

func viewScaffoldCommand() *cobra.Command {
	var s cli.Settings
	c := &cobra.Command{
		Use:   "scaffold SAMPLES...",
		Short: "Propose a view's file from sample events",
		Long: `Scaffold reads sample events and proposes a file: where identity, type, version and time stand, a table
with keys and columns, and what each event type sets. What it cannot know it guesses, and says so on
standard error and in the file. The file is accepted by lint; whether it is what you mean only you know.

SAMPLES are files with events as they stand in the stream, one or many in each, or - for standard
input. A few events of every type are better than many of one.`,
		Example: "  projector view scaffold samples.ndjson > view.yaml\n  projector view scaffold events/*.json > view.yaml\n" +
			"  head -n 100 feed.ndjson | projector view scaffold -",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(&s); err != nil {
				return err
			}
			var samples [][]byte
			for _, file := range args {
				name, text, err := readArgument(c, file)
				if err != nil {
					return err
				}
				found, err := splitSamples(text)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				samples = append(samples, found...)
			}
			if len(samples) == 0 {
				return errors.New("view scaffold: there is no event in " + strings.Join(args, ", "))
			}
			return scaffold(c, &s, samples)
		},
	}
	bindOutput(c, &s)
	return c
}

// splitSamples returns the JSON values of a text, which may stand in one line each or take many. A text without any is the
// empty record that a change feed has after a delete, of which there is nothing to learn.
func splitSamples(text []byte) ([][]byte, error) {
	var out [][]byte
	text = bytes.TrimPrefix(text, []byte("\uFEFF")) // some editors put it in front
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		var sample json.RawMessage
		err := d.Decode(&sample)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			rest := bytes.TrimLeft(text[d.InputOffset():], " \t\r\n")
			line := 1 + bytes.Count(text[:len(text)-len(rest)], []byte{'\n'})
			return nil, fmt.Errorf("line %d: event %d is not JSON: %w", line, len(out)+1, err)
		}
		out = append(out, sample)
	}
	return out, nil
}

// scaffoldReport is what scaffold prints as JSON. Scripts read it: a field may be added, and what changes the meaning of
// one changes Version.
type scaffoldReport struct {
	Version int      `json:"version"`
	Samples int      `json:"samples"`
	File    string   `json:"file"`
	Unsure  []string `json:"unsure"`
}

const scaffoldReportVersion = 1

func scaffold(c *cobra.Command, s *cli.Settings, samples [][]byte) error {
	file, unsure, err := viewfile.Scaffold(samples)
	if err != nil {
		return err
	}
	report := scaffoldReport{Version: scaffoldReportVersion, Samples: len(samples), File: string(file), Unsure: append([]string{}, unsure...)}
	if s.Output == "json" {
		return s.Print(c, "", report)
	}
	for _, doubt := range unsure {
		fmt.Fprintln(c.ErrOrStderr(), "unsure:", doubt)
	}
	_, err = c.OutOrStdout().Write(file)
	return err
}
