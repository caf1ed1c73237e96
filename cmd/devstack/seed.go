package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"penstock/localstack"
	"penstock/localstack/shop"
)

func newSeed() *cobra.Command {
	config := shop.Config{Orders: 100, DamagedShare: 0.005, DuplicateShare: 0.02, DisplacedShare: 0.05, PlacedV2Share: 0.1, Seed: 1}
	options := shop.Options{}
	stream := localstack.DefaultStream
	now, corrections := "", false
	cmd := &cobra.Command{
		Use:   "seed",
		Short: "put generated order events into the stream",
		Long: `Puts the events of generated orders into a stream: interleaved, some out of order, some twice, some damaged. One seed gives
the same orders every time, so another run of the same seed repeats its order ids, and with the same --now their times, too. It
finds Kinesis as every AWS client does: by AWS_ENDPOINT_URL_KINESIS and the like, which the environment file of devstack up sets.

With --corrections it sends, instead of the events of a run, a corrected one for each that was damaged, as a shop does that has
mended its producer: of the same order and version, under a new id.`,
		Example: `  . ./.devstack.env
  devstack seed --orders 1000
  devstack seed --orders 100000 --rate 2000 --seed 7
  devstack seed --now 2026-11-21T10:00:00Z && devstack seed --now 2026-11-21T10:00:00Z --corrections`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if config.Now, err = present(now, corrections); err != nil {
				return usageError{err}
			}
			generator, err := shop.New(config)
			if err != nil {
				return usageError{err}
			}
			events := generator.Events()
			if corrections {
				events = generator.Corrections()
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
			seeded, err := shop.Seed(cmd.Context(), client, stream, events, options)
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
	cmd.Flags().Float64Var(&config.PlacedV2Share, "placed-v2", config.PlacedV2Share, "`share` of orders that are placed in the second schema version, 0 to 1")
	cmd.Flags().StringVar(&now, "now", "", "the orders' present as an RFC 3339 `time` (empty: the clock's)")
	cmd.Flags().BoolVar(&corrections, "corrections", false, "send the corrected events of the damaged ones of a run; takes the flags of that run, and its --now")
	cmd.Flags().Float64Var(&options.Rate, "rate", 0, "most `events` a second (0: as fast as the stream takes them)")
	return cmd
}

// present returns the orders' present. Corrected events say the times of the damaged ones, so they need that run's.
func present(now string, corrections bool) (time.Time, error) {
	if now == "" && corrections {
		return time.Time{}, errors.New("--corrections needs --now, as it was given to the run whose damaged events are corrected")
	}
	if now == "" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, now)
	if err != nil {
		return time.Time{}, fmt.Errorf("--now is %q: must be an RFC 3339 time, such as 2026-11-21T10:00:00Z", now)
	}
	return t, nil
}
