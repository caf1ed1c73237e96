// Command projector keeps a view in Cassandra up to date with a Kinesis stream.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/projector"
)

// exitCode returns the code for an error of a command that was called rightly.
func exitCode(err error) int {
	if errors.Is(err, projector.ErrOtherStream) {
		return cli.ExitRefused
	}
	return cli.ExitCode(err)
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
	}
	root.AddCommand(runCommand(), setupCommand(), checkCommand(), shardsCommand(), doctorCommand(), viewCommand(), configCommand(), versionCommand())
	return cli.Execute(ctx, root, args, exitCode)
}
