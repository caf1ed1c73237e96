package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/view/viewfile"
)

func viewCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "view",
		Short: "Write a view as a file: begin it, check it, see what an event becomes, test it",
		Long: `View helps to write a view as a YAML file, which says how an event becomes cells of tables. The daemon
feeds the view whose file view.file names. These commands read files and connect to nothing.

A file is accepted only if its rows come out the same in whatever order the events are applied, and
however often. docs/views.md has the format and a way through it.`,
		Example: "  projector view scaffold samples.ndjson > view.yaml\n  projector view lint view.yaml\n" +
			"  projector view explain view.yaml event.json\n  projector view test .",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return cli.Exit(cli.ExitUsage, errors.New("view: say lint, explain, test, scaffold or schema"))
		},
	}
	c.AddCommand(viewLintCommand(), viewExplainCommand(), viewTestCommand(), viewScaffoldCommand(), viewSchemaCommand())
	return c
}

func viewSchemaCommand() *cobra.Command {
	c := printsDocument("schema", "Print the JSON Schema of the file of a view, for editors",
		func() ([]byte, error) { return viewfile.JSONSchema(), nil })
	c.Example = "  projector view schema > penstock-view.schema.json"
	return c
}

// bindOutput gives a command the flag that picks text or JSON.
func bindOutput(c *cobra.Command, s *cli.Settings) {
	c.Flags().StringVarP(&s.Output, "output", "o", "text", "what is printed to standard output: text or json")
}

// checkOutput refuses what is neither.
func checkOutput(s *cli.Settings) error {
	if s.Output != "text" && s.Output != "json" {
		return cli.Exit(cli.ExitUsage, fmt.Errorf("output %q: must be text or json", s.Output))
	}
	return nil
}

// standardInput is the argument that stands for it.
const standardInput = "-"

// readArgument reads the file that an argument names. The name returned is the one for messages.
func readArgument(c *cobra.Command, file string) (name string, text []byte, err error) {
	if file != standardInput {
		text, err = os.ReadFile(file) // the error names the file
		return file, text, err
	}
	if text, err = io.ReadAll(c.InOrStdin()); err != nil {
		return "", nil, fmt.Errorf("read standard input: %w", err)
	}
	return "stdin", text, nil
}

// loadViewFile loads the view in a file for a command that can do nothing without it.
func loadViewFile(c *cobra.Command, file string) (*viewfile.View, error) {
	name, text, err := readArgument(c, file)
	if err != nil {
		return nil, err
	}
	v, _, err := viewfile.Load(name, text)
	return v, refusal(err)
}

// refusal makes the mistakes in a file of the user's an invalid configuration.
func refusal(err error) error {
	mistakes, ok := errors.AsType[*viewfile.Mistakes](err)
	if !ok {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s is refused: %s", mistakes.List[0].File, counted(len(mistakes.List), "mistake"))
	for line := range strings.Lines(mistakes.Error()) {
		b.WriteString("\n  " + strings.TrimSuffix(line, "\n"))
	}
	return cli.Exit(cli.ExitConfig, errors.New(b.String()))
}

// counted returns "1 thing" or "2 things".
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// cutText keeps the first n characters of a text that is to fit a table.
func cutText(s string, n int) string {
	i := 0
	for at := range s {
		if i == n {
			return s[:at] + "…"
		}
		i++
	}
	return s
}
