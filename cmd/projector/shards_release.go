package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"penstock/checkpoint"
	"penstock/cmd/internal/cli"
	"penstock/projector"
)

func shardsReleaseCommand() *cobra.Command {
	var s cli.Settings
	var reason string
	var wait time.Duration
	c := &cobra.Command{
		Use:   "release SHARD [--reason TEXT]",
		Short: "Have a shard's owner drain it and give it to another daemon",
		Long: `Release asks the owner of a shard, through the state table, to take no more records of it, to settle and
commit those it has, and to give the lease back. It does so within about a second. Another daemon takes
the shard, and the owner leaves it to the others for a while; a lone daemon takes it again. The shares
stay even: the owner takes some other shard in its place.

Release waits until the shard has an owner again, at most for the time of --wait, and says who that is. The
wish ends by itself after that time. Exit code 8 says that the owner was still draining then.`,
		Example: "  projector shards release shardId-000000000002 --reason \"its daemon swaps\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			if reason != "" {
				if err := checkReason(reason); err != nil {
					return cli.Exit(cli.ExitUsage, err)
				}
			}
			if wait < minWish || wait > maxWish {
				return cli.Exit(cli.ExitUsage, fmt.Errorf("--wait %s: must be %s to %s", wait, minWish, maxWish))
			}
			conf, err := s.Load(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), shardsTimeout+wait)
			defer cancel()
			f, err := openFleet(ctx, conf)
			if err != nil {
				return err
			}
			if err := f.checkNames(names); err != nil {
				return err
			}
			r := releaser{shard: names[0], leases: f.leases, state: f.state, role: f.role, now: f.now, by: cli.UserAtHost(), reason: reason, wait: wait}
			report, err := r.release(ctx)
			if err != nil {
				return err
			}
			return s.Print(c, report.text(), report)
		},
	}
	s.Bind(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for other people")
	c.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait, 5s to 10m")
	return c
}

const (
	minWish = 5 * time.Second
	maxWish = 10 * time.Minute
	// lookEvery is the pause between two looks at the row: a lone daemon leaves it free for about a second.
	lookEvery = 250 * time.Millisecond
)

// releaser has one shard given back.
type releaser struct {
	shard  string
	leases checkpoint.Store
	state  interface {
		Put(ctx context.Context, kind, name string, values map[string]string) error
	}
	role string
	now  func() time.Time

	by, reason string
	wait       time.Duration
}

func (r releaser) release(ctx context.Context) (releaseReport, error) {
	report := releaseReport{Version: releaseReportVersion, Shard: r.shard, By: r.by, Reason: r.reason}
	row, err := r.row(ctx)
	if err != nil {
		return report, err
	}
	end, timed := leaseEnd(row)
	now := r.now()
	refused := func(format string, args ...any) (releaseReport, error) {
		return report, cli.Exit(cli.ExitRefused, fmt.Errorf(format, args...))
	}
	switch {
	case row.Finished():
		return refused("%s was read to its end: nobody holds it", r.shard)
	case row.Free():
		return refused("nobody holds %s", r.shard)
	case !timed || !now.Before(end.Add(clockTolerance)):
		return refused("the owner of %s, %q, no longer renews the lease: another daemon takes it by itself", r.shard, row.Owner)
	case !checkpoint.Stamped(row.Owner, row.Timeout):
		return refused("%s, a worker of another make, holds %s, and does not heed wishes", row.Owner, r.shard)
	}
	report.From = row.Owner
	wish := projector.Release{From: row.Owner, By: r.by, Reason: r.reason, Until: now.Add(r.wait)}
	if err := projector.WriteRelease(ctx, r.state, r.role, r.shard, wish); err != nil {
		return report, cli.UnreachableUnless(hopeless(err), err)
	}
	return r.watch(ctx, report, now)
}

// watch looks at the row until somebody has it again, or the wish is over.
func (r releaser) watch(ctx context.Context, report releaseReport, began time.Time) (releaseReport, error) {
	over := time.NewTimer(r.wait)
	defer over.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		row, err := r.row(ctx)
		if err != nil {
			return report, err
		}
		report.Released = report.Released || row.Owner != report.From
		if report.Released && row.Owner != "" {
			report.To, report.Millis = row.Owner, r.now().Sub(began).Milliseconds()
			return report, nil
		}
		if row.Finished() {
			return report, nil
		}
		select {
		case <-look.C:
			continue
		case <-over.C:
		case <-ctx.Done():
			return report, cli.UnreachableUnless(false, fmt.Errorf("wait for %s: %w", r.shard, context.Cause(ctx)))
		}
		if report.Released {
			return report, nil
		}
		return report, cli.Exit(cli.ExitDrainPartial, fmt.Errorf("%s still has %s after %s: it did not end its drain, or was given the wish too late", report.From, r.shard, r.wait))
	}
}

func (r releaser) row(ctx context.Context) (checkpoint.Row, error) {
	k := seeker{leases: r.leases}
	k.shard.ID = r.shard
	return k.row(ctx)
}

// releaseReport is what release prints as JSON. Scripts read it: a field may be added, and what changes the meaning of
// one changes Version.
type releaseReport struct {
	Version  int    `json:"version"`
	Shard    string `json:"shard"`
	From     string `json:"from"`     // who had it
	Released bool   `json:"released"` // and gave it back
	To       string `json:"to"`       // who has it now; empty for nobody yet
	Millis   int64  `json:"ms"`       // how long that took
	By       string `json:"by"`
	Reason   string `json:"reason"`
}

const releaseReportVersion = 1

func (r releaseReport) text() string {
	took := (time.Duration(r.Millis) * time.Millisecond).Round(100 * time.Millisecond)
	switch {
	case r.To == "":
		return fmt.Sprintf("%s: %s gave it back; nobody has taken it yet", r.Shard, r.From)
	case r.To == r.From:
		return fmt.Sprintf("%s: %s gave it back and has it again after %s: no other daemon took it", r.Shard, r.From, took)
	}
	return fmt.Sprintf("%s: had %s, has %s now, after %s", r.Shard, r.From, r.To, took)
}
