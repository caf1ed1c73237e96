// Command replay puts back what was set aside: it looks through dead letters and redrives them.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/objects"
	"penstock/replay"
	"penstock/sink"
	"penstock/sink/deadletter"
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:]))
}

func execute(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:   "replay",
		Short: "Put back what was set aside",
		Long: `Replay works on what the daemon keeps beside the stream. It goes through the same projection and the same
writer as live traffic, so whatever it repeats ends in the same rows.`,
	}
	root.AddCommand(dlqCommand(), versionCommand())
	return cli.Execute(ctx, root, args, exitCode)
}

// exitCode returns the code for an error of a command that was called rightly.
func exitCode(err error) int {
	if _, ok := errors.AsType[*cli.ExitError](err); ok {
		return cli.ExitCode(err)
	}
	if _, ok := errors.AsType[*deadletter.OtherBoxError](err); ok {
		return cli.ExitRefused
	}
	if _, ok := errors.AsType[*replay.NotInRowsError](err); ok {
		return cli.ExitRefused
	}
	if _, ok := errors.AsType[*replay.FinalError](err); ok {
		return cli.ExitRefused
	}
	if e, ok := errors.AsType[*objects.Error](err); ok && e.Class != objects.Fatal {
		return cli.ExitUnreachable
	}
	if e, ok := errors.AsType[*sink.Error](err); ok && e.Disposition != sink.Fatal {
		return cli.ExitUnreachable
	}
	return cli.ExitCode(err)
}

// isStoreError tells whether an error is the object store's.
func isStoreError(err error) bool {
	_, failed := errors.AsType[*objects.Error](err)
	_, gone := errors.AsType[*objects.NotFoundError](err)
	return failed || gone
}

func versionCommand() *cobra.Command {
	var s cli.Settings
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the program's version",
		Example: "  replay version -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return s.Print(c, "replay "+cli.Version(), map[string]string{"version": cli.Version()})
		},
	}
	c.Flags().StringVarP(&s.Output, "output", "o", "text", "text or json")
	return c
}
