package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Execute runs a program with its arguments and returns its exit code. Errors go to stderr, behind the program's name. What
// was called wrongly is [ExitUsage]; of any other error code says what it means.
func Execute(ctx context.Context, root *cobra.Command, args []string, code func(error) int) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	var called bool // the arguments were right, so an error is the command's own
	root.PersistentPreRun = func(*cobra.Command, []string) { called = true }
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	fmt.Fprintln(os.Stderr, root.Name()+":", err)
	if !called {
		return ExitUsage
	}
	return code(err)
}
