package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/replay"
	"penstock/sink/deadletter"
)

func sampleCommand() *cobra.Command {
	var s cli.Settings
	var filters filterFlags
	var asEvent bool
	var file string
	c := &cobra.Command{
		Use:   "sample [KEY] --out FILE",
		Short: "Write a letter, or with --as-event its payload, to a file",
		Long: `Sample writes one letter to a file: that of KEY, or the first that all filters choose. With --as-event it is the
payload as the stream had it, byte for byte, for the producer's owner to correct and to send again as a new
event: the same entity and version, and a new id. It may hold personal data, so the file is readable by its
owner only, and none that exists is replaced. --out - is standard output.`,
		Example: "  replay dlq sample KEY --as-event --out event.json\n  replay dlq sample --code malformed_field --as-event --out -",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if file == "" {
				return cli.Exit(cli.ExitUsage, errors.New("--out is required"))
			}
			f, err := filters.filter(time.Now())
			if err != nil {
				return err
			}
			if len(args) > 0 && filters.narrow(c) {
				return cli.Exit(cli.ExitUsage, errors.New("KEY names one letter: no filter goes with it"))
			}
			d, err := openDesk(c, &s)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(c.Context())
			defer stop()
			var m deadletter.Mark
			if len(args) > 0 {
				if m, err = d.find(args[0]); err != nil {
					return err
				}
			} else {
				for found, err := range replay.Walk(ctx, d.box, f, replay.Marks, 1) {
					if err != nil {
						return fmt.Errorf("look for a letter: %w", err)
					}
					if found.Unreadable == nil {
						m = found.Mark
						break
					}
				}
				if m.Key == "" {
					fmt.Fprintln(c.ErrOrStderr(), "no letters: there are none that are open, or none that all of the filters choose")
					return nil
				}
			}
			object, l, err := d.box.Raw(ctx, m)
			if err != nil {
				return err
			}
			if asEvent {
				object = l.Payload
			}
			if file == "-" {
				_, err := c.OutOrStdout().Write(object)
				return err
			}
			if err := writeNew(file, object); err != nil {
				return fmt.Errorf("write the letter: %w", err)
			}
			report := map[string]any{"key": m.Key, "file": file, "bytes": len(object), "code": l.Failure.Code, "message": l.Failure.Message}
			return s.Print(c, fmt.Sprintf("%s: %d bytes of %s\n%s: %s: %s", file, len(object), m.Key, l.Failure.Stage, l.Failure.Code, oneLine(l.Failure.Message)), report)
		},
	}
	s.Bind(c)
	filters.bind(c, "open,failed")
	c.Flags().BoolVar(&asEvent, "as-event", false, "the payload alone, as the stream had it")
	c.Flags().StringVar(&file, "out", "", "file to write, which must not exist, or - for standard output; required")
	return c
}

// writeNew writes a file that must not exist, for its owner alone.
func writeNew(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
