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
		Short:   "Print the program's version, the revisions of its views and the schema versions they read",
		Example: "  projector version -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			lines := []string{fmt.Sprintf("projector %s %s", version(), runtime.Version())}
			revisions, types := map[string]string{}, map[string][]string{}
			for _, name := range slices.Sorted(maps.Keys(views)) {
				revisions[name] = views[name].Revision()
				lines = append(lines, fmt.Sprintf("view %s revision %s", name, revisions[name]))
				if v, ok := views[name].(interface{ Types() []string }); ok {
					types[name] = v.Types()
					lines = append(lines, fmt.Sprintf("view %s reads %s", name, strings.Join(types[name], " ")))
				}
			}
			return s.print(c, strings.Join(lines, "\n"), map[string]any{"version": version(), "go": runtime.Version(), "views": revisions, "types": types})
		},
	}
	c.Flags().StringVarP(&s.output, "output", "o", "text", "text or json")
	return c
}
