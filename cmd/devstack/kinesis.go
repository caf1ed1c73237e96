package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"penstock/localstack"
)

func newKinesis() *cobra.Command {
	config := localstack.Config{Kinesis: true, Stream: localstack.DefaultStream, Shards: localstack.DefaultShards}
	cmd := &cobra.Command{
		Use:   "kinesis",
		Short: "run only the Kinesis emulator",
		Long:  `Runs the Kinesis emulator until Ctrl-C, with one stream. Its endpoint is the line on standard output. It needs neither Java nor Maven.`,
		Example: `  devstack kinesis --port 4566
  AWS_ENDPOINT_URL_KINESIS=http://127.0.0.1:4566 aws kinesis list-streams --cli-binary-format raw-in-base64-out`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.Validate(); err != nil {
				return usageError{err}
			}
			config.Progress = cmd.ErrOrStderr()
			stack, err := localstack.Start(cmd.Context(), config)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), stack.Kinesis().URL())
			<-cmd.Context().Done()
			return stack.Stop()
		},
	}
	cmd.Flags().IntVar(&config.Ports.Kinesis, "port", 0, "`port` on 127.0.0.1 (0: the kernel chooses)")
	cmd.Flags().StringVar(&config.Stream, "stream", config.Stream, "`name` of the stream to create, empty for none")
	cmd.Flags().IntVar(&config.Shards, "shards", config.Shards, "`number` of its shards")
	return cmd
}
