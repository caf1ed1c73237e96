// Devstack runs what Penstock talks to on this machine, without containers: Cassandra, DynamoDB, S3 and Kinesis. It is for
// development and tests; package localstack says what it proves and what not.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"penstock/localstack"
)

// Exit codes, the same for all of Penstock's commands.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 4 // something this machine must bring along is missing
)

// usageError marks what the user typed wrong.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// exitError carries the exit code of a process that has already said why.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// After the first signal the second ends the process at once, and with it its children.
	context.AfterFunc(ctx, stop)
	os.Exit(report(newRoot().ExecuteContext(ctx)))
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "devstack",
		Short: "Cassandra, DynamoDB, S3 and Kinesis on this machine, without containers",
		Example: `  # run everything until Ctrl-C
  devstack up --env .devstack.env

  # the same in the background, and its end
  devstack up --detach --env .devstack.env
  . ./.devstack.env
  devstack down`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return usageError{errors.New("a command is missing")}
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newUp(), newDown(), newSeed(), newKinesis())
	for _, cmd := range append(root.Commands(), root) {
		cmd.Args = usageArgs(cmd.Args)
	}
	return root
}

// usageArgs marks the errors of a check of arguments as the user's.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// report says what went wrong and returns the exit code.
func report(err error) int {
	if err == nil {
		return exitOK
	}
	if exited, ok := errors.AsType[exitError](err); ok {
		return exited.code
	}
	fmt.Fprintln(os.Stderr, "devstack:", err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintln(os.Stderr, "Try 'devstack --help'.")
		return exitUsage
	}
	if _, ok := errors.AsType[*localstack.PrerequisiteError](err); ok {
		return exitUnreachable
	}
	return exitFailed
}
