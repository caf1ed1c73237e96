package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
)

func versionCommand() *cobra.Command {
	var s cli.Settings
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the program's version, the revisions of its views and the schema versions they read",
		Example: "  projector version -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			lines := []string{fmt.Sprintf("projector %s %s", cli.Version(), runtime.Version())}
			revisions, types := map[string]string{}, map[string][]string{}
			for _, name := range slices.Sorted(maps.Keys(cli.Views)) {
				revisions[name] = cli.Views[name].Revision()
				lines = append(lines, fmt.Sprintf("view %s revision %s", name, revisions[name]))
				if v, ok := cli.Views[name].(interface{ Types() []string }); ok {
					types[name] = v.Types()
					lines = append(lines, fmt.Sprintf("view %s reads %s", name, strings.Join(types[name], " ")))
				}
			}
			return s.Print(c, strings.Join(lines, "\n"), map[string]any{"version": cli.Version(), "go": runtime.Version(), "views": revisions, "types": types})
		},
	}
	c.Flags().StringVarP(&s.Output, "output", "o", "text", "text or json")
	return c
}
