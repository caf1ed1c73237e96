package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"penstock/localstack"
	"penstock/localstack/emulator"
)

func newKinesis() *cobra.Command {
	config := localstack.Config{Kinesis: true, Stream: localstack.DefaultStream, Shards: localstack.DefaultShards}
	noQuotas := false
	var faults []string
	cmd := &cobra.Command{
		Use:   "kinesis",
		Short: "run only the Kinesis emulator",
		Long:  `Runs the Kinesis emulator until Ctrl-C, with one stream. Its endpoint is the line on standard output. It needs neither Java nor Maven.`,
		Example: `  devstack kinesis --port 4566
  AWS_ENDPOINT_URL_KINESIS=http://127.0.0.1:4566 aws kinesis list-streams --cli-binary-format raw-in-base64-out
  devstack kinesis --fault 'GetRecords:throttle,share=0.1,seed=7' --fault '*:delay=200ms,after=10,count=5'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !noQuotas {
				limit(&config)
			}
			if err := config.Validate(); err != nil {
				return usageError{err}
			}
			script := make([]emulator.Fault, len(faults))
			for i, text := range faults {
				fault, err := emulator.ParseFault(text)
				if err != nil {
					return usageError{err}
				}
				script[i] = fault
			}
			config.Progress = cmd.ErrOrStderr()
			stack, err := localstack.Start(cmd.Context(), config)
			if err != nil {
				return err
			}
			if len(script) > 0 {
				stack.Emulator().Intercept(emulator.Script(script...))
			}
			fmt.Fprintln(cmd.OutOrStdout(), stack.Kinesis().URL())
			<-cmd.Context().Done()
			return stack.Stop()
		},
	}
	cmd.Flags().IntVar(&config.Ports.Kinesis, "port", 0, "`port` on 127.0.0.1 (0: the kernel chooses)")
	cmd.Flags().StringVar(&config.Stream, "stream", config.Stream, "`name` of the stream to create, empty for none")
	cmd.Flags().IntVar(&config.Shards, "shards", config.Shards, "`number` of its shards")
	cmd.Flags().StringArrayVar(&faults, "fault", nil, "`fault` to answer with, ACTION:EFFECT[,count=N][,share=S]…; may be repeated")
	cmd.Flags().BoolVar(&noQuotas, "no-quotas", false, noQuotasUsage)
	return cmd
}
