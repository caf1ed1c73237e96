package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func versionCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the program's version and the revisions of its views",
		Example: "  projector version -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			lines := []string{fmt.Sprintf("projector %s %s", version(), runtime.Version())}
			revisions := map[string]string{}
			for _, name := range slices.Sorted(maps.Keys(views)) {
				revisions[name] = views[name].Revision()
				lines = append(lines, fmt.Sprintf("view %s revision %s", name, revisions[name]))
			}
			return s.print(c, strings.Join(lines, "\n"), map[string]any{"version": version(), "go": runtime.Version(), "views": revisions})
		},
	}
	c.Flags().StringVarP(&s.output, "output", "o", "text", "text or json")
	return c
}
