package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"penstock/localstack"
)

const (
	// How long the supervisor may take: its children get ten seconds before they are killed.
	downTimeout  = 30 * time.Second
	downInterval = 50 * time.Millisecond
)

func newDown() *cobra.Command {
	var envFile, dir string
	cmd := &cobra.Command{
		Use:   "down",
		Short: "end a stack and wait until it has ended",
		Long: `Ends the stack whose environment file or folder is given, and returns when its processes are gone and its folder is removed. Without
either, the stack of the sourced environment is meant (DEVSTACK_DIR). A stack that has already ended is no error; what a killed
supervisor left behind is removed.`,
		Example: `  devstack down --env .devstack.env
  devstack down --dir /tmp/penstock-devstack-123
  . ./.devstack.env && devstack down`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if envFile != "" && dir != "" {
				return usageError{errors.New("--env and --dir exclude each other")}
			}
			if envFile != "" {
				named, err := localstack.DirOfEnv(envFile)
				if err != nil {
					return err
				}
				dir = named
			}
			if dir == "" {
				dir = os.Getenv("DEVSTACK_DIR")
			}
			if dir == "" {
				return usageError{errors.New("which stack? give --env or --dir, or source its environment")}
			}
			if err := down(cmd.Context(), cmd.ErrOrStderr(), dir); err != nil {
				return err
			}
			if envFile == "" {
				return nil
			}
			// A killed supervisor could not remove it.
			if err := os.Remove(envFile); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&envFile, "env", "", "the environment `file` that up wrote")
	cmd.Flags().StringVar(&dir, "dir", "", "the stack's `folder`")
	return cmd
}

func down(ctx context.Context, stderr io.Writer, dir string) error {
	supervisor, err := localstack.Supervisor(dir)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(stderr, "no stack in %s\n", dir)
		return nil
	}
	if err != nil {
		return err
	}
	err = supervisor.Signal(syscall.SIGTERM)
	if errors.Is(err, localstack.ErrNoProcess) {
		fmt.Fprintf(stderr, "the supervisor, process %d, has ended; removing what it left in %s\n", supervisor.PID, dir)
		return localstack.RemoveRemains(dir)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	look := time.NewTicker(downInterval)
	defer look.Stop()
	for supervisor.Running() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of the supervisor, process %d: %w", supervisor.PID, ctx.Err())
		case <-look.C:
		}
	}
	fmt.Fprintf(stderr, "the stack in %s has ended\n", dir)
	return nil
}
