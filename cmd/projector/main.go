// Command projector keeps a view in Cassandra up to date with a Kinesis stream.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"penstock/config"
	"penstock/projector"
	"penstock/sink/cassandra"
)

// Exit codes. Where two apply, the smaller counts.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitConfig       = 3
	exitUnreachable  = 4
	exitPartly       = 5
	exitRefused      = 6
	exitDifferent    = 7
	exitDrainPartial = 8
)

// exitError is an error that knows the exit code it asks for.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

// exitCode returns the code for an error of a command that was called rightly.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*config.Error](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[*cassandra.RevisionError](err); ok {
		return exitRefused
	}
	if e, ok := errors.AsType[*cassandra.SchemaError](err); ok && e.Owned {
		return exitRefused
	}
	if errors.Is(err, projector.ErrOtherStream) {
		return exitRefused
	}
	if _, ok := errors.AsType[*cassandra.UnsupportedError](err); ok {
		return exitRefused
	}
	return exitFailed
}

func main() {
	os.Exit(execute(context.Background(), os.Args[1:]))
}

func execute(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:   "projector",
		Short: "Keep a view in Cassandra up to date with a Kinesis stream",
		Long: `Projector reads every shard of a Kinesis stream, projects each event into tables in Cassandra,
slows down when Cassandra slows down, and parks in S3 what can never be applied.

Delivery is at least once and writes converge: any order, any repetition and any number of
daemons end in the same rows.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	var called bool // the arguments were right, so an error is the command's own
	root.PersistentPreRun = func(*cobra.Command, []string) { called = true }
	root.AddCommand(runCommand(), setupCommand(), checkCommand(), shardsCommand(), doctorCommand(), viewCommand(), configCommand(), versionCommand())
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "projector:", err)
	if !called {
		return exitUsage
	}
	return exitCode(err)
}

// version is the module's version as the linker recorded it, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "development"
}
