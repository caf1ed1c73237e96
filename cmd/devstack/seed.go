package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"penstock/localstack"
	"penstock/localstack/shop"
)

func newSeed() *cobra.Command {
	config := shop.Config{Orders: 100, DamagedShare: 0.005, DuplicateShare: 0.02, DisplacedShare: 0.05, Seed: 1}
	options := shop.Options{}
	stream := localstack.DefaultStream
	cmd := &cobra.Command{
		Use:   "seed",
		Short: "put generated order events into the stream",
		Long: `Puts the events of generated orders into a stream: interleaved, some out of order, some twice, some damaged. One seed gives
the same orders every time, so another run of the same seed repeats its order ids. It finds Kinesis as every AWS client does: by
AWS_ENDPOINT_URL_KINESIS and the like, which the environment file of devstack up sets.`,
		Example: `  . ./.devstack.env
  devstack seed --orders 1000
  devstack seed --orders 100000 --rate 2000 --seed 7`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config.Now = time.Now()
			generator, err := shop.New(config)
			if err != nil {
				return usageError{err}
			}
			client, err := localstack.KinesisClient(cmd.Context())
			if err != nil {
				return err
			}
			shown := time.Now()
			options.Progress = func(p shop.Progress) {
				if time.Since(shown) >= time.Second {
					shown = time.Now()
					fmt.Fprintf(cmd.ErrOrStderr(), "%d events acknowledged\n", p.Events)
				}
			}
			seeded, err := shop.Seed(cmd.Context(), client, stream, generator.Events(), options)
			fmt.Fprintf(cmd.OutOrStdout(), "orders=%d events=%d records=%d\n", config.Orders, seeded.Events, seeded.Records)
			return err
		},
	}
	cmd.Flags().StringVar(&stream, "stream", stream, "`name` of the stream")
	cmd.Flags().IntVar(&config.Orders, "orders", config.Orders, "`number` of orders; each has about four events")
	cmd.Flags().Uint64Var(&config.Seed, "seed", config.Seed, "`number` that picks the orders")
	cmd.Flags().Float64Var(&config.DamagedShare, "damaged", config.DamagedShare, "`share` of events that are damaged, 0 to 1")
	cmd.Flags().Float64Var(&config.DuplicateShare, "duplicates", config.DuplicateShare, "`share` of events that are sent twice, 0 to 1")
	cmd.Flags().Float64Var(&config.DisplacedShare, "displaced", config.DisplacedShare, "`share` of events that arrive out of order, 0 to 0.5")
	cmd.Flags().Float64Var(&options.Rate, "rate", 0, "most `events` a second (0: as fast as the stream takes them)")
	return cmd
}
