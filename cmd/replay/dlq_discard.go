package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"penstock/cmd/internal/cli"
	"penstock/replay"
	"penstock/sink/deadletter"
	"penstock/view"
)

func discardCommand() *cobra.Command {
	var s cli.Settings
	var filters filterFlags
	var x discard
	c := &cobra.Command{
		Use:   "discard [KEY] --reason TEXT",
		Short: "Close letters that nobody needs, or that a corrected event has superseded; --undo opens them again",
		Long: `Discard closes letters by an operator's word: who, when and why are kept beside them. Nothing is deleted, and
--undo opens them again. With filters a time bound is required, and without --run it only says how many letters
it would close; a KEY is closed at once.

Bad data is not edited: its producer sends a corrected event, with the same entity and version and a new id.
With --corrected-by EVENT.json the letter is then closed as superseded, for good. That is refused, with exit
code 6, unless every row that the event writes lists it.`,
		Example: "  replay dlq discard KEY --reason \"test data of 21 November\"\n" +
			"  replay dlq discard --since 2026-11-21 --until 2026-11-22 --code unknown_type --reason \"load test\" --run\n" +
			"  replay dlq discard KEY --undo --reason \"it was needed after all\"\n" +
			"  replay dlq discard KEY --corrected-by corrected.json",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := filters.filter(time.Now())
			if err == nil {
				err = x.check(c, args, f, filters.narrow(c))
			}
			if err != nil {
				return err
			}
			d, err := openDesk(c, &s)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(c.Context())
			defer stop()
			decider := &replay.Decider{Box: d.box, By: cli.UserAtHost(), Run: newRun(), Release: cli.Version()}
			report := discardReport{Run: decider.Run, State: x.state(), Recorded: true}
			switch {
			case x.corrected != "":
				err = x.supersede(ctx, c.InOrStdin(), d, decider, args[0])
				report.Letters = 1
			case len(args) == 1:
				err = x.one(ctx, d, decider, args[0])
				report.Letters = 1
			default:
				report.Letters, report.Recorded, err = x.all(ctx, decider, f)
			}
			if err != nil {
				if report.Letters > 0 && len(args) == 0 {
					return cli.Exit(cli.ExitPartly, fmt.Errorf("about %d letters are %s, the rest are as they were: %w", report.Letters, report.State, err))
				}
				return err
			}
			switch {
			case report.Letters == 0:
				fmt.Fprintln(c.ErrOrStderr(), "no letters: there are none in such a state, or none that all of the filters choose")
			case !report.Recorded:
				fmt.Fprintln(c.ErrOrStderr(), "nothing was recorded: --run does it")
			}
			return s.Print(c, report.text(), report)
		},
	}
	s.Bind(c)
	filters.bind(c, "")
	c.Flags().StringVar(&x.reason, "reason", "", "why, for other people; required but with --corrected-by")
	c.Flags().BoolVar(&x.undo, "undo", false, "open discarded letters again")
	c.Flags().StringVar(&x.corrected, "corrected-by", "", "file with the event that stands in for the letter's, or - for standard input")
	c.Flags().BoolVar(&x.run, "run", false, "with filters: do it, and not only say how many letters it would be")
	return c
}

// discard is a discard's flags.
type discard struct {
	reason    string
	undo      bool
	corrected string // file
	run       bool
}

// maxReason is how many characters a reason may have: it is copied to every letter's outcome.
const maxReason = 500

func (x *discard) check(c *cobra.Command, args []string, f replay.Filter, narrow bool) error {
	usage := func(format string, args ...any) error { return cli.Exit(cli.ExitUsage, fmt.Errorf(format, args...)) }
	switch {
	case x.corrected != "" && (len(args) == 0 || x.undo):
		return usage("--corrected-by closes the letter of one KEY, and cannot be undone")
	case x.corrected == "" && x.reason == "":
		return usage("--reason is required")
	case utf8.RuneCountInString(x.reason) > maxReason || !printable(x.reason):
		return usage("--reason: must be a line of at most %d characters", maxReason)
	case len(args) > 0 && (narrow || c.Flags().Changed("run")):
		return usage("KEY names one letter, which is closed at once: neither a filter nor --run goes with it")
	case len(args) == 0 && f.Since.IsZero() && f.Until.IsZero():
		return usage("a time bound is required: --since, --until or both; or the KEY of one letter")
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func (x *discard) state() deadletter.State {
	switch {
	case x.corrected != "":
		return deadletter.Superseded
	case x.undo:
		return deadletter.Reopened
	}
	return deadletter.Discarded
}

func (x *discard) outcome() deadletter.Outcome {
	return deadletter.Outcome{State: x.state(), Reason: x.reason}
}

// one closes one letter, or opens it again. A letter whose state forbids that is refused.
func (x *discard) one(ctx context.Context, d *desk, decider *replay.Decider, key string) error {
	m, err := d.find(key)
	if err != nil {
		return err
	}
	if _, err := d.box.Head(ctx, m); err != nil { // nothing is recorded of a letter that is not there
		return err
	}
	return refusedUnlessStore(decider.Decide(ctx, m, x.outcome()))
}

// supersede closes one letter once the rows list a corrected event.
func (x *discard) supersede(ctx context.Context, stdin io.Reader, d *desk, decider *replay.Decider, key string) error {
	m, err := d.find(key)
	if err != nil {
		return err
	}
	text, err := readFile(x.corrected, stdin)
	if err != nil {
		return cli.Exit(cli.ExitUsage, fmt.Errorf("--corrected-by: %w", err))
	}
	l, err := d.box.Head(ctx, m)
	if err != nil {
		return err
	}
	// It was accepted already if its rows list it, so it arrived before now.
	corrected, err := d.view.Project(view.Record{Data: text, Arrival: time.Now()})
	if err != nil {
		return cli.Exit(cli.ExitRefused, fmt.Errorf("--corrected-by %s would be parked itself: %w", x.corrected, err))
	}
	session, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := replay.CheckSuperseded(ctx, d.view, d.generation, l, corrected, session); err != nil {
		return refusedUnlessStore(err)
	}
	o := x.outcome()
	o.Event = corrected.Event.ID
	return refusedUnlessStore(decider.Decide(ctx, m, o))
}

// refusedUnlessStore gives what is neither an error of storage nor one of Cassandra the code of a refusal.
func refusedUnlessStore(err error) error {
	if err == nil || exitCode(err) == cli.ExitUnreachable || isStoreError(err) {
		return err
	}
	return cli.Exit(cli.ExitRefused, err)
}

func (x *discard) all(ctx context.Context, decider *replay.Decider, f replay.Filter) (n int, recorded bool, err error) {
	if !x.run {
		n, err = decider.CountDecided(ctx, f, x.outcome(), replay.DefaultReaders)
		return n, false, err
	}
	n, err = decider.DecideAll(ctx, f, x.outcome(), replay.DefaultReaders)
	return n, true, err
}

type discardReport struct {
	Run      string           `json:"run"`
	State    deadletter.State `json:"state"`
	Letters  int              `json:"letters"`
	Recorded bool             `json:"recorded"` // false for a dry run
}

func (r discardReport) text() string {
	what := map[deadletter.State]string{deadletter.Discarded: "discarded", deadletter.Reopened: "opened again", deadletter.Superseded: "superseded"}[r.State]
	if !r.Recorded {
		return fmt.Sprintf("%s would be %s", counted(r.Letters), what)
	}
	return fmt.Sprintf("run %s: %s %s", r.Run, counted(r.Letters), what)
}

func counted(n int) string {
	if n == 1 {
		return "1 letter"
	}
	return fmt.Sprintf("%d letters", n)
}

// maxEvent bounds a file that is to be an event: Kinesis takes 10 MiB.
const maxEvent = 10 << 20

// readFile reads a file, or standard input for -.
func readFile(name string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxEvent+1))
	if err == nil && len(text) > maxEvent {
		err = errors.New("more than 10 MiB: no record is that large")
	}
	return text, err
}
