package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"penstock/localstack"
	"penstock/localstack/emulator"
)

// How often the supervisor looks whether the process it belongs to still runs.
const ownerInterval = time.Second

// upFlags are the flags of `devstack up`.
type upFlags struct {
	config   localstack.Config
	envFile  string
	detach   bool
	logs     bool
	noQuotas bool
	owner    int
	// statusFD is the descriptor on which a supervisor in the background speaks to the command that made it, 0 in the foreground.
	statusFD int
}

const noQuotasUsage = "let every shard take and give more than the service's 1,000 records and 1 MiB written, 5 calls and 2 MiB read a second"

// limit gives the stack's Kinesis the service's quotas.
func limit(config *localstack.Config) {
	config.ReadQuota, config.WriteQuota = emulator.ServiceReadQuota, emulator.ServiceWriteQuota
}

func newUp() *cobra.Command {
	flags := upFlags{config: localstack.Everything()}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "start everything and print ready once it answers",
		Long: `Starts Cassandra, DynamoDB, S3 and Kinesis, creates the stream and the bucket, writes the environment to source, and prints the line
"ready" to standard output once every part answers. Progress goes to standard error.

Needs JDK 17 and, the first time, Maven, which downloads 120 MB. Each Cassandra node takes about 1 GB of memory.`,
		Example: `  # until Ctrl-C
  devstack up --env .devstack.env

  # in the background, with three nodes
  devstack up --detach --cassandra-nodes 3 --env .devstack.env

  # only Kinesis, DynamoDB and S3
  devstack up --cassandra-nodes 0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !flags.noQuotas {
				limit(&flags.config)
			}
			if err := flags.check(); err != nil {
				return usageError{err}
			}
			if flags.detach {
				return flags.startDetached(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return flags.supervise(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&flags.detach, "detach", false, "run in the background and return once it is ready")
	f.StringVar(&flags.envFile, "env", "", "write the environment to this `file` (default: env in the stack's folder)")
	f.StringVar(&flags.config.Dir, "dir", "", "`folder` for all files, absent or empty, removed at the end (default: a temporary one)")
	f.IntVar(&flags.config.CassandraNodes, "cassandra-nodes", flags.config.CassandraNodes, "`number` of Cassandra nodes: 0, 1 or 3")
	f.IntVar(&flags.config.HeapMiB, "heap", 0, "heap of each Cassandra node in `MiB` (default: 768, or 512 with three nodes)")
	f.StringVar(&flags.config.Stream, "stream", flags.config.Stream, "`name` of the stream to create, empty for none")
	f.IntVar(&flags.config.Shards, "shards", flags.config.Shards, "`number` of its shards")
	f.BoolVar(&flags.noQuotas, "no-quotas", false, noQuotasUsage)
	f.StringVar(&flags.config.Bucket, "bucket", flags.config.Bucket, "`name` of the bucket to create, empty for none")
	f.IntVar(&flags.config.Ports.Kinesis, "kinesis-port", 0, "`port` of Kinesis (0: the kernel chooses, here and below)")
	f.IntVar(&flags.config.Ports.DynamoDB, "dynamodb-port", 0, "`port` of DynamoDB")
	f.IntVar(&flags.config.Ports.S3, "s3-port", 0, "`port` of S3")
	f.IntVar(&flags.config.Ports.CQL, "cql-port", 0, "`port` of CQL, the same on all nodes")
	f.IntVar(&flags.config.Ports.CassandraStorage, "storage-port", 0, "`port` between Cassandra nodes, the same on all")
	f.IntVar(&flags.config.Ports.CassandraJMX, "jmx-port", 0, "`port` of JMX on node 1; nodes 2 and 3 use the next ones")
	f.BoolVar(&flags.logs, "logs", false, "print what Cassandra and DynamoDB log, each line with its name")
	f.IntVar(&flags.owner, "owner", 0, "end when the process with this `id` has ended")
	f.IntVar(&flags.statusFD, "status-fd", 0, "descriptor for the command that started this in the background")
	_ = f.MarkHidden("status-fd")
	return cmd
}

func (u *upFlags) check() error {
	if err := u.config.Validate(); err != nil {
		return err
	}
	if u.detach && u.logs {
		return errors.New("--logs and --detach exclude each other; in the background the logs are in the stack's folder")
	}
	return nil
}

// supervise runs the stack until ctx ends or a child dies.
func (u *upFlags) supervise(ctx context.Context, stdout, stderr io.Writer) error {
	status, err := u.openStatus()
	if err != nil {
		return err
	}
	defer status.Close()
	u.config.Progress = io.MultiWriter(stderr, status)
	if u.logs {
		u.config.Console = stderr
	}
	ctx, release, err := u.followOwner(ctx)
	if err != nil {
		return err
	}
	defer release()

	began := time.Now()
	stack, err := localstack.Start(ctx, u.config)
	if err != nil {
		// The command that waits for the line ready shows this one.
		fmt.Fprintln(status, "devstack:", err)
		return err
	}
	if err := u.serve(ctx, stack, began, stdout, stderr, status); err != nil {
		return errors.Join(err, stack.Stop())
	}
	fmt.Fprintln(stderr, "stopping")
	return stack.Stop()
}

// serve announces the started stack and returns nil when its end is asked for.
func (u *upFlags) serve(ctx context.Context, stack *localstack.Stack, began time.Time, stdout, stderr io.Writer, status io.WriteCloser) error {
	envFile := u.envFile
	if envFile == "" {
		envFile = filepath.Join(stack.Dir(), "env")
	}
	if err := stack.WriteEnv(envFile); err != nil {
		fmt.Fprintln(status, "devstack:", err)
		return err
	}
	// Sourced later, it would point at ports that are no longer ours.
	defer os.Remove(envFile)
	fmt.Fprintf(u.config.Progress, "everything answers after %.1f s; environment: %s\n", time.Since(began).Seconds(), envFile)
	if u.statusFD == 0 {
		fmt.Fprintln(stdout, ready)
	} else if _, err := fmt.Fprintln(status, ready); err != nil {
		// Whoever started this in the background has been killed meanwhile; nobody knows of the stack.
		return fmt.Errorf("say ready: %w", err)
	}
	status.Close()
	err := stack.Wait(ctx)
	if err != nil && u.statusFD != 0 {
		// In the background nobody reads standard error.
		note := filepath.Join(stack.Dir(), "logs", "supervisor.log")
		return errors.Join(err, os.WriteFile(note, []byte(err.Error()+"\n"), 0o644))
	}
	return err
}

// followOwner returns a context that ends when the owner does.
func (u *upFlags) followOwner(ctx context.Context) (context.Context, func(), error) {
	if u.owner == 0 {
		return ctx, func() {}, nil
	}
	owner, err := localstack.Identify(u.owner)
	if err != nil {
		return nil, nil, fmt.Errorf("follow the owner: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	// Ends with the context, for which the returned function waits.
	go func() {
		defer close(watched)
		defer cancel()
		look := time.NewTicker(ownerInterval)
		defer look.Stop()
		for owner.Running() {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
		}
	}()
	return ctx, func() { cancel(); <-watched }, nil
}
