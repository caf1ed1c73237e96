package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/cmd/internal/cli"
	"penstock/replay"
	"penstock/sink/cassandra"
)

func redriveCommand() *cobra.Command {
	var s cli.Settings
	var filters filterFlags
	var r redrive
	c := &cobra.Command{
		Use:   "redrive [KEY]",
		Short: "Apply letters whose cause is gone, through the same projection and writer as live traffic",
		Long: `Redrive projects letters as the daemon would have done, judged against the time at which the stream accepted
them, and writes what becomes of them through the daemon's writer, which slows down when Cassandra does. Each
cell has the stamp of its event, so rows end as if the event had come in time, whatever happened to them since;
redriving twice, or by two operators at once, is harmless.

Without --run it says what it would do, and writes nothing. A time bound is required, --since or --until, unless
KEY names one letter. It refuses, with exit code 6, to write a generation of tables that holds another revision
of the view than this program writes.

A letter is redriven once the writer has acknowledged its rows; one that fails again stays open, with the new
failure. When the first 50 all fail it stops, unless --keep-going is given. Killed, or interrupted, it is run
again and goes on with what is still open: SIGINT waits for what is in hand, at most drain_timeout, and a
second one ends it at once. The exit code is 5 unless every letter chosen was redriven.`,
		Example: "  replay dlq redrive --since 48h --code unknown_schema_version\n" +
			"  replay dlq redrive --since 48h --code unknown_schema_version --rate 2000 --run\n" +
			"  replay dlq redrive KEY --run",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := filters.filter(time.Now())
			if err != nil {
				return err
			}
			if len(args) == 0 && f.Since.IsZero() && f.Until.IsZero() {
				return cli.Exit(cli.ExitUsage, errors.New("a time bound is required: --since, --until or both; or the KEY of one letter"))
			}
			if len(args) > 0 && filters.narrow(c) {
				return cli.Exit(cli.ExitUsage, errors.New("KEY names one letter: no filter goes with it"))
			}
			if err := r.check(); err != nil {
				return err
			}
			for _, state := range f.States {
				if !state.IsOpen() {
					return cli.Exit(cli.ExitUsage, fmt.Errorf("--state %q: only open letters are redriven: open or failed", state))
				}
			}
			d, err := openDesk(c, &s)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				m, err := d.find(args[0])
				if err != nil {
					return err
				}
				f = replay.Only(m)
			}
			return r.redrive(c, &s, d, f)
		},
	}
	s.Bind(c)
	filters.bind(c, "open,failed")
	c.Flags().BoolVar(&r.run, "run", false, "do it, and not only say what would be done")
	c.Flags().Float64Var(&r.rate, "rate", 500, "letters a second at most, 0.1 to 100000")
	c.Flags().IntVar(&r.readers, "readers", replay.DefaultReaders, "how many letters are read at once, 1 to 512")
	c.Flags().BoolVar(&r.keepGoing, "keep-going", false, "go on although the first 50 letters all failed again")
	c.Flags().StringVar(&r.metrics, "metrics", "", "file to write the outcomes of this run to, for Prometheus")
	return c
}

// redrive is a redrive's flags.
type redrive struct {
	run       bool
	rate      float64
	readers   int
	keepGoing bool
	metrics   string // file
}

func (r *redrive) check() error {
	switch {
	case !(r.rate >= 0.1 && r.rate <= 100_000): // neither is not a number
		return cli.Exit(cli.ExitUsage, fmt.Errorf("--rate %g: must be 0.1 to 100000 letters a second", r.rate))
	case r.readers < 1 || r.readers > 512:
		return cli.Exit(cli.ExitUsage, fmt.Errorf("--readers %d: must be 1 to 512", r.readers))
	}
	return nil
}

func (r *redrive) redrive(c *cobra.Command, s *cli.Settings, d *desk, f replay.Filter) error {
	fetch, work, release := untilSignals(c.Context(), d.conf.DrainTimeout)
	defer release()
	session, err := d.connect(fetch)
	if err != nil {
		return err
	}
	defer session.Close()
	config := replay.RedriveConfig{
		View: d.view, Box: d.box, Filter: f, Rate: r.rate, Readers: r.readers, KeepGoing: r.keepGoing,
		By: cli.UserAtHost(), Run: newRun(), Release: cli.Version(),
	}
	if !r.run {
		preview, err := replay.PreviewRedrive(fetch, config)
		if err != nil {
			return err
		}
		if preview.Selected == 0 {
			fmt.Fprintln(c.ErrOrStderr(), "no letters: there are none that are open, or none that all of the filters choose")
		} else {
			fmt.Fprintln(c.ErrOrStderr(), "nothing was written: --run does it")
		}
		report := previewReport{previewReportVersion, d.view.Name(), int(d.generation), d.view.Revision(), r.rate, preview}
		return s.Print(c, report.text(), report)
	}
	report, err := r.drive(fetch, work, c, d, session, config)
	if err != nil && report.Run == "" {
		return err // nothing was begun
	}
	if r.metrics != "" {
		err = errors.Join(err, writeMetrics(r.metrics, redriveMetrics(report)))
	}
	if report.Selected == 0 && err == nil {
		fmt.Fprintln(c.ErrOrStderr(), "no letters: there are none that are open, or none that all of the filters choose")
	}
	if printed := s.Print(c, redrivenText(report), report); printed != nil {
		return errors.Join(err, fmt.Errorf("print the report: %w", printed))
	}
	return verdict(report, err)
}

// verdict is what the exit code says of a run.
func verdict(report replay.Redriven, err error) error {
	left := report.Failed + report.Unreadable + report.Unsettled
	switch {
	case err != nil && report.Redriven == 0 && !errors.Is(err, replay.ErrFirstFailed):
		return err
	case err != nil:
		return cli.Exit(cli.ExitPartly, err)
	case report.Stopped != "":
		return cli.Exit(cli.ExitPartly, fmt.Errorf("%s: run it again for the rest", report.Stopped))
	case left > 0:
		return cli.Exit(cli.ExitPartly, fmt.Errorf("%d of %d letters were not redriven: list --state failed has them with their new failure, if they have one", left, report.Selected))
	}
	return nil
}

// drive redrives through a writer that watches the replicas as the daemon's does.
func (r *redrive) drive(fetch, work context.Context, c *cobra.Command, d *desk, session *cassandra.Session, config replay.RedriveConfig) (replay.Redriven, error) {
	limits, debt := cli.WriterLimits(d.conf)
	writer, err := cassandra.NewWriter(session, cassandra.WriterConfig{
		View: d.view, Generation: d.generation, Limits: limits, Debt: debt, Log: d.log.Named("writer"),
	})
	if err != nil {
		return replay.Redriven{}, err
	}
	defer writer.Wait()
	replicas, err := cassandra.NewReplicaWatch(writer, cassandra.ReplicaWatchConfig{Log: d.log.Named("replicas")})
	if err != nil {
		return replay.Redriven{}, err
	}
	watching, unwatch := context.WithCancel(work)
	var watched sync.WaitGroup
	watched.Go(func() { replicas.Run(watching) })
	defer watched.Wait()
	defer unwatch()
	config.Writer = writer
	failures := 0
	config.Failed = func(key string, why error) {
		switch failures++; {
		case failures <= maxToldFailures:
			d.log.Warn("letter failed again", zap.String("letter", key), zap.Error(why))
		case failures == maxToldFailures+1:
			d.log.Warn("further letters that fail again are not told one by one: their outcomes have the failures")
		}
	}
	config.Progress = func(p replay.Progress) { fmt.Fprintln(c.ErrOrStderr(), progressText(p)) }
	fmt.Fprintf(c.ErrOrStderr(), "run %s: view %s, revision %s, generation %d, at most %g letters/s\n", config.Run, d.view.Name(), d.view.Revision(), d.generation, r.rate)
	return replay.Redrive(fetch, work, config)
}

// maxToldFailures is how many letters that fail again have a line in the log.
const maxToldFailures = 20

// newRun names a run: it stands in the names of its outcomes' objects.
func newRun() string { return uuid.NewString()[:8] }

func progressText(p replay.Progress) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", p.Redriven+p.Failed+p.Unreadable)
	if p.Total > 0 {
		fmt.Fprintf(&b, " of %d", p.Total)
	}
	fmt.Fprintf(&b, " letters: %d redriven, %d failed again", p.Redriven, p.Failed)
	if p.Unreadable > 0 {
		fmt.Fprintf(&b, ", %d unreadable", p.Unreadable)
	}
	fmt.Fprintf(&b, ", %.0f/s", p.Rate)
	if p.Left > 0 {
		fmt.Fprintf(&b, ", %s left", p.Left.Round(time.Second))
	}
	return b.String()
}

func redrivenText(r replay.Redriven) string {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s: %s, %d redriven, %d failed again, %d unreadable, %d without an outcome, %.1f s, %.0f letters/s",
		r.Run, counted(r.Selected), r.Redriven, r.Failed, r.Unreadable, r.Unsettled, r.Took, r.Rate)
	for _, code := range sortedCodes(r.Codes) {
		fmt.Fprintf(&b, "\n  %s: %d", code, r.Codes[code])
	}
	return b.String()
}

// previewReport is what a dry run prints as JSON. Scripts read it: a field may be added, and what changes the meaning of
// one changes Version.
type previewReport struct {
	Version    int     `json:"version"`
	View       string  `json:"view"`
	Generation int     `json:"generation"`
	Revision   string  `json:"revision"` // of this program, and what the generation holds
	Rate       float64 `json:"rate"`     // letters a second
	replay.Preview
}

const previewReportVersion = 1

func (r previewReport) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "view %s, generation %d: holds revision %s, which this program writes\n", r.View, r.Generation, r.Revision)
	if len(r.Codes) > 0 {
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "CODE\tLETTERS\tWOULD BE APPLIED\tWOULD FAIL AGAIN")
		for _, of := range r.Codes {
			var fails []string
			for _, code := range sortedCodes(of.Fails) {
				fails = append(fails, fmt.Sprintf("%d %s", of.Fails[code], code))
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", of.Code, of.Letters, of.Applies, orDash(strings.Join(fails, ", ")))
		}
		_ = w.Flush() // to memory
	}
	fmt.Fprintf(&b, "%s, %d would be applied; at %g a second %s", counted(r.Selected), r.Applies, r.Rate,
		max(time.Second, time.Duration(r.Seconds*float64(time.Second)).Round(time.Second)))
	if r.Unreadable > 0 {
		fmt.Fprintf(&b, "; %d unreadable", r.Unreadable)
	}
	return b.String()
}

// untilSignals returns the two contexts of a run. The first SIGINT or SIGTERM ends fetch, and work so long after it; a
// second one ends the process, which a redrive outlives.
func untilSignals(parent context.Context, drain time.Duration) (fetch, work context.Context, release func()) {
	work, abort := context.WithCancel(parent)
	fetch, stop := signal.NotifyContext(work, syscall.SIGINT, syscall.SIGTERM)
	waited := make(chan struct{})
	ended := context.AfterFunc(fetch, func() {
		stop() // from now on a signal means what it means to any process
		select {
		case <-time.After(drain):
			abort()
		case <-waited:
		}
	})
	return fetch, work, func() {
		ended()
		close(waited)
		stop()
		abort()
	}
}
