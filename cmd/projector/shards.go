package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/checkpoint/leasetable"
	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/projector"
	"penstock/stream"
	"penstock/view"
)

func shardsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "shards",
		Short: "See how the shards stand, and steer who reads them, from where, and whether at all",
		Long: `Shards shows and steers the shards of the fleet that feeds one generation of the view. Everything goes
through the lease table and the state table, so it works from any machine that reaches them, whether
daemons run or not.`,
		Example: "  projector shards list\n  projector shards pause --all --for 1h --reason \"repair of rack 2\"\n  projector shards resume --all",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return cli.Exit(cli.ExitUsage, errors.New("shards: say list, pause, resume, release or seek"))
		},
	}
	c.AddCommand(shardsListCommand(), shardsPauseCommand(), shardsResumeCommand(), shardsReleaseCommand(), shardsSeekCommand())
	return c
}

func shardsPauseCommand() *cobra.Command {
	var s cli.Settings
	var all bool
	var length time.Duration
	var reason string
	c := &cobra.Command{
		Use:   "pause (SHARD... | --all) --for DURATION --reason TEXT",
		Short: "Keep shards from being read for a while",
		Long: `Pause keeps shards from being read, until it is resumed or its time is over. Within about two seconds the
owner of a paused shard takes no more records of it; it settles and commits those it has, and keeps the
lease. A pause is the shard's and not its owner's: it holds after a restart and for the next owner. One
of --all holds for shards to come, too. A pause in place of an earlier one begins anew.

What is not read waits in the stream: a pause must end well within its retention.`,
		Example: "  projector shards pause --all --for 1h --reason \"repair of rack 2\"\n" +
			"  projector shards pause shardId-000000000002 --for 30m --reason \"hot key, ticket 4711\"",
		RunE: func(c *cobra.Command, names []string) error {
			for _, flag := range []string{"for", "reason"} {
				if !c.Flags().Changed(flag) {
					return cli.Exit(cli.ExitUsage, fmt.Errorf("--%s is required: a pause has a reason and an end", flag))
				}
			}
			begin := func(now time.Time) (projector.Pause, error) {
				p, err := projector.NewPause(cli.UserAtHost(), reason, now, length)
				if err != nil {
					return p, cli.Exit(cli.ExitUsage, err)
				}
				return p, nil
			}
			if _, err := begin(time.Now()); err != nil { // before anything is connected to
				return err
			}
			return steer(c, &s, names, all, func(ctx context.Context, f *fleetTables, names []string) error {
				p, err := begin(f.now())
				if err != nil {
					return err
				}
				return f.pause(ctx, c, &s, names, p)
			})
		},
	}
	s.Bind(c)
	c.Flags().BoolVar(&all, "all", false, "every shard, those to come included")
	c.Flags().DurationVar(&length, "for", 0, "how long, 1m to 12h; required")
	c.Flags().StringVar(&reason, "reason", "", "why, for other people; required")
	return c
}

func shardsResumeCommand() *cobra.Command {
	var s cli.Settings
	var all, letters bool
	var length time.Duration
	var reason string
	c := &cobra.Command{
		Use:   "resume (SHARD... | --all) [--letters --for DURATION --reason TEXT]",
		Short: "Let paused shards be read again, or those whose breaker has tripped",
		Long: `Resume ends the pause of shards before its time is over. With --all it ends every pause, that of all
shards and those of single ones. While a pause of all shards holds, single ones cannot be resumed.

With --letters it lifts the breaker of shards instead: those that stand still because too many of their
events are poison are read again, from the first of these on, and may have as many letters as they need
until the lift ends. From then on the breaker counts anew. With --all a lift holds for every shard, those
to come included. Who lifted a breaker last, and why, shards list tells for as long as it lasts.`,
		Example: "  projector shards resume --all\n  projector shards resume shardId-000000000002\n" +
			"  projector shards resume shardId-000000000002 --letters --for 1h --reason \"release 1.4.1 is out\"",
		RunE: func(c *cobra.Command, names []string) error {
			for _, flag := range []string{"for", "reason"} {
				switch given := c.Flags().Changed(flag); {
				case letters && !given:
					return cli.Exit(cli.ExitUsage, fmt.Errorf("--%s is required with --letters: a lift has a reason and an end", flag))
				case !letters && given:
					return cli.Exit(cli.ExitUsage, fmt.Errorf("--%s goes with --letters: the end of a pause needs none", flag))
				}
			}
			begin := func(now time.Time) (projector.Lift, error) {
				l, err := projector.NewLift(cli.UserAtHost(), reason, now, length)
				if err != nil {
					return l, cli.Exit(cli.ExitUsage, err)
				}
				return l, nil
			}
			if letters {
				if _, err := begin(time.Now()); err != nil { // before anything is connected to
					return err
				}
			}
			return steer(c, &s, names, all, func(ctx context.Context, f *fleetTables, names []string) error {
				if !letters {
					return f.resume(ctx, c, &s, names)
				}
				l, err := begin(f.now())
				if err != nil {
					return err
				}
				return f.lift(ctx, c, &s, names, l)
			})
		},
	}
	s.Bind(c)
	c.Flags().BoolVar(&all, "all", false, "every pause; with --letters, every breaker")
	c.Flags().BoolVar(&letters, "letters", false, "lift the breaker: letters may be written, however many")
	c.Flags().DurationVar(&length, "for", 0, "how long the lift lasts, 1m to 12h; required with --letters")
	c.Flags().StringVar(&reason, "reason", "", "why, for other people; required with --letters")
	return c
}

// shardsTimeout bounds what one of these commands takes.
const shardsTimeout = 30 * time.Second

// steer does something to the shards that the arguments name, once it is known that they exist.
func steer(c *cobra.Command, s *cli.Settings, names []string, all bool, do func(context.Context, *fleetTables, []string) error) error {
	if all == (len(names) > 0) {
		return cli.Exit(cli.ExitUsage, fmt.Errorf("%s: name shards, or give --all", c.CommandPath()))
	}
	conf, err := s.Load(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), shardsTimeout)
	defer cancel()
	f, err := openFleet(ctx, conf)
	if err != nil {
		return err
	}
	if all {
		names = []string{projector.AllShards}
	} else if err := f.checkNames(names); err != nil {
		return err
	}
	return do(ctx, f, names)
}

// fleetTables is the stream of a fleet and the tables that it shares.
type fleetTables struct {
	conf   *config.Config
	stream *stream.Stream
	shards []stream.Shard
	leases *leasetable.Table
	state  *leasetable.State
	role   string
	now    func() time.Time // by DynamoDB's clock, once that is known
}

// openFleet lists the stream's shards and finds the tables, which the caller then uses.
func openFleet(ctx context.Context, conf *config.Config) (*fleetTables, error) {
	log := zap.NewNop()
	awsConf, err := cli.LoadAWS(ctx, log)
	if err != nil {
		return nil, err
	}
	if err := conf.CheckRegion(awsConf.Region); err != nil {
		return nil, err
	}
	client := leasetable.NewClient(awsConf)
	f := &fleetTables{conf: conf, role: projector.Role(view.Generation(conf.View.Generation)),
		now: func() time.Time { return time.Now().Add(client.Clock().Ahead) }}
	f.leases, f.state = tables(client, conf)
	f.stream = stream.New(awsConf, conf.Kinesis.StreamName(), log)
	f.shards, err = f.stream.Shards(ctx)
	if failed, ok := errors.AsType[*stream.Error](err); err != nil {
		return nil, cli.UnreachableUnless(ok && failed.Kind == stream.Fatal, err)
	}
	if _, err := f.pauses(ctx); err != nil { // also tells DynamoDB's time
		return nil, err
	}
	return f, nil
}

func (f *fleetTables) pauses(ctx context.Context) (projector.Pauses, error) {
	pauses, err := projector.ReadPauses(ctx, f.state, f.role)
	if err != nil {
		return nil, cli.UnreachableUnless(hopeless(err), err)
	}
	return pauses, nil
}

// checkNames refuses names that no shard of the stream has.
func (f *fleetTables) checkNames(names []string) error {
	known := make([]string, 0, len(f.shards))
	for _, s := range f.shards {
		known = append(known, s.ID)
	}
	slices.Sort(known)
	for _, name := range names {
		if _, found := slices.BinarySearch(known, name); !found {
			return cli.Exit(cli.ExitUsage, fmt.Errorf("stream %s has no shard %q: it has %s", f.conf.Kinesis.StreamName(), name, strings.Join(known, ", ")))
		}
	}
	return nil
}

// steered is what pause and resume print as JSON. Scripts read it: a field may be added, and what changes the meaning of
// one changes Version.
type steered struct {
	Version int          `json:"version"`
	Shards  []string     `json:"shards"` // "*" for all
	Pause   *pauseReport `json:"pause"`  // null when resumed
	Lift    *liftReport  `json:"lift"`   // null unless a breaker was lifted
}

const steeredVersion = 1

func (f *fleetTables) pause(ctx context.Context, c *cobra.Command, s *cli.Settings, names []string, p projector.Pause) error {
	if err := f.dropOver(ctx); err != nil {
		return err
	}
	var lines []string
	for i, name := range names {
		if err := projector.WritePause(ctx, f.state, f.role, name, p); err != nil {
			return cli.UnreachableUnless(hopeless(err), fmt.Errorf("%w: %d of %d are paused", err, i, len(names)))
		}
		lines = append(lines, fmt.Sprintf("%s: paused until %s", called(name), p.Until.Format(time.RFC3339)))
	}
	return s.Print(c, strings.Join(lines, "\n"), steered{Version: steeredVersion, Shards: names, Pause: newPauseReport(p)})
}

func (f *fleetTables) resume(ctx context.Context, c *cobra.Command, s *cli.Settings, names []string) error {
	pauses, err := f.pauses(ctx)
	if err != nil {
		return err
	}
	now, all := f.now(), slices.Contains(names, projector.AllShards)
	if p, paused := pauses.Of(projector.AllShards, now); paused && !all {
		return cli.Exit(cli.ExitRefused, fmt.Errorf("all shards are paused by %s until %s (%s): single ones cannot be resumed: resume --all",
			p.By, p.Until.Format(time.RFC3339), p.Reason))

	}
	if all {
		names = slices.Sorted(maps.Keys(pauses))
	}
	var lines []string
	for _, name := range names {
		if err := projector.RemovePause(ctx, f.state, f.role, name); err != nil {
			return cli.UnreachableUnless(hopeless(err), fmt.Errorf("%w: %d of %d are resumed", err, len(lines), len(names)))
		}
		said := "was not paused"
		if now.Before(pauses[name].Until) {
			said = "resumed"
		}
		lines = append(lines, fmt.Sprintf("%s: %s", called(name), said))
	}
	if len(lines) == 0 {
		lines = []string{"nothing was paused"}
	}
	return s.Print(c, strings.Join(lines, "\n"), steered{Version: steeredVersion, Shards: slices.Concat([]string{}, names)})
}

// lift lifts the breakers of shards, tripped or not: an operator may know what is coming.
func (f *fleetTables) lift(ctx context.Context, c *cobra.Command, s *cli.Settings, names []string, l projector.Lift) error {
	trips, lifts, err := f.breakers(ctx)
	if err != nil {
		return err
	}
	var lines []string
	for i, name := range names {
		if err := projector.WriteLift(ctx, f.state, f.role, name, l); err != nil {
			return cli.UnreachableUnless(hopeless(err), fmt.Errorf("%w: %d of %d are lifted", err, i, len(names)))
		}
		said := "had not tripped"
		if n := tripped(trips, lifts, name); n > 0 && name == projector.AllShards {
			said = fmt.Sprintf("%d had tripped", n)
		} else if n > 0 {
			said = "had tripped"
		}
		lines = append(lines, fmt.Sprintf("%s: the breaker is lifted until %s; %s", called(name), l.Until.Format(time.RFC3339), said))
	}
	return s.Print(c, strings.Join(lines, "\n"), steered{Version: steeredVersion, Shards: names, Lift: newLiftReport(l)})
}

// tripped counts the shards of a name that stand still.
func tripped(trips map[string]projector.Trip, lifts projector.Lifts, name string) (n int) {
	for shard, t := range trips {
		if (shard == name || name == projector.AllShards) && !lifts.Lifted(shard, t) {
			n++
		}
	}
	return n
}

func (f *fleetTables) breakers(ctx context.Context) (map[string]projector.Trip, projector.Lifts, error) {
	trips, err := projector.ReadTrips(ctx, f.state, f.role)
	if err != nil {
		return nil, nil, cli.UnreachableUnless(hopeless(err), err)
	}
	lifts, err := projector.ReadLifts(ctx, f.state, f.role)
	if err != nil {
		return nil, nil, cli.UnreachableUnless(hopeless(err), err)
	}
	return trips, lifts, nil
}

// dropOver removes the pauses that are over, which nobody else does.
func (f *fleetTables) dropOver(ctx context.Context) error {
	pauses, err := f.pauses(ctx)
	if err != nil {
		return err
	}
	for name, p := range pauses {
		if f.now().Before(p.Until) {
			continue
		}
		if err := projector.RemovePause(ctx, f.state, f.role, name); err != nil {
			return cli.UnreachableUnless(hopeless(err), err)
		}
	}
	return nil
}

// called is the name of a pause for people.
func called(name string) string {
	if name == projector.AllShards {
		return "all shards"
	}
	return name
}
