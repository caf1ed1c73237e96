package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/cmd/internal/cli"
	"penstock/config"
	"penstock/objects"
	"penstock/replay"
	"penstock/sink/cassandra"
	"penstock/sink/deadletter"
	"penstock/view"
)

func dlqCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dlq",
		Short: "Look through dead letters, and redrive or discard them",
		Long: `A dead letter is a record that could not be applied: whole, and with the reason. These commands look through
those of the configured view and generation, apply them once their cause is gone, and close what nobody
needs. A letter itself is never changed and never deleted: what becomes of it is an outcome beside it.

A letter is open until an outcome closes it:

  redriven    its rows were acknowledged; final
  superseded  a corrected event is in the rows; final
  discarded   an operator decided so, with a reason; can be undone
  inherited   closed in the generation that this one replaces

A redrive that fails again leaves the letter open, in the state failed.`,
		Example: "  replay dlq list --config penstock.yaml\n  replay dlq show KEY\n  replay dlq redrive --since 48h --code unknown_schema_version --run",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return cli.Exit(cli.ExitUsage, errors.New("dlq: say list, show, sample, redrive or discard"))
		},
	}
	c.AddCommand(listCommand(), showCommand(), sampleCommand(), redriveCommand(), discardCommand())
	return c
}

// filterFlags choose letters. All that are given must hold.
type filterFlags struct {
	since, until string
	codes        []string
	states       []string
	shard        string
	fingerprint  string
	event        string
	eventType    string
	order        string
	customer     string
	attributes   []string
}

func (f *filterFlags) bind(c *cobra.Command, states string) {
	c.Flags().StringVar(&f.since, "since", "", "arrived at or after: 2026-11-21T10:00:00Z, 2026-11-21, or 48h or 7d for so long ago")
	c.Flags().StringVar(&f.until, "until", "", "arrived before; as --since")
	c.Flags().StringSliceVar(&f.codes, "code", nil, "parked for one of these codes")
	c.Flags().StringVar(&f.shard, "shard", "", "of this shard, such as shardId-000000000002")
	c.Flags().StringVar(&f.fingerprint, "fingerprint", "", "of one cause, as list shows it")
	c.Flags().StringVar(&f.event, "event", "", "with this event id")
	c.Flags().StringVar(&f.eventType, "type", "", "of this event type, without the schema version, such as order.paid")
	c.Flags().StringVar(&f.order, "order", "", "of this order, or whatever the view calls an entity")
	c.Flags().StringVar(&f.customer, "customer", "", "of this customer: short for --attribute customer_id=VALUE")
	c.Flags().StringSliceVar(&f.attributes, "attribute", nil, "with this property of the event, NAME=VALUE")
	if states != "" {
		c.Flags().StringSliceVar(&f.states, "state", strings.Split(states, ","), "in one of these states: open, failed, redriven, superseded, discarded, inherited, or all")
	}
}

// narrow tells whether any filter was given.
func (f *filterFlags) narrow(c *cobra.Command) bool {
	return slices.ContainsFunc([]string{"since", "until", "code", "state", "shard", "fingerprint", "event", "type", "order", "customer", "attribute"}, c.Flags().Changed)
}

// filter reads the flags. The error is one of usage.
func (f *filterFlags) filter(now time.Time) (replay.Filter, error) {
	out := replay.Filter{Shard: f.shard, Fingerprint: f.fingerprint, Event: f.event, Type: f.eventType, Entity: f.order}
	var errs []error
	parse := func(flag, text string) (at time.Time) {
		var err error
		if text != "" {
			if at, err = parseTime(text, now); err != nil {
				errs = append(errs, fmt.Errorf("--%s %w", flag, err))
			}
		}
		return at
	}
	out.Since, out.Until = parse("since", f.since), parse("until", f.until)
	if !out.Since.IsZero() && !out.Until.IsZero() && !out.Since.Before(out.Until) {
		errs = append(errs, fmt.Errorf("--until %q: must be after --since %q", f.until, f.since))
	}
	for _, code := range f.codes {
		if !slices.Contains(view.Codes(), view.Code(code)) {
			errs = append(errs, fmt.Errorf("--code %q: must be one of %v", code, view.Codes()))
		}
		out.Codes = append(out.Codes, view.Code(code))
	}
	for _, state := range f.states {
		switch {
		case state == "all":
			out.States = deadletter.States()
		case !slices.Contains(deadletter.States(), deadletter.State(state)):
			errs = append(errs, fmt.Errorf("--state %q: must be one of %v, or all", state, deadletter.States()))
		default:
			out.States = append(out.States, deadletter.State(state))
		}
	}
	if f.customer != "" {
		out.Attributes = append(out.Attributes, view.Attribute{Name: "customer_id", Value: f.customer})
	}
	for _, attribute := range f.attributes {
		name, value, ok := strings.Cut(attribute, "=")
		if !ok || name == "" {
			errs = append(errs, fmt.Errorf("--attribute %q: must be NAME=VALUE", attribute))
		}
		out.Attributes = append(out.Attributes, view.Attribute{Name: name, Value: value})
	}
	if err := errors.Join(errs...); err != nil {
		return replay.Filter{}, cli.Exit(cli.ExitUsage, err)
	}
	return out, nil
}

var ago = regexp.MustCompile(`^-?([0-9]+)d$`)

// parseTime reads a time, a date, or how long ago.
func parseTime(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if days := ago.FindStringSubmatch(text); days != nil {
		if n, err := strconv.Atoi(days[1]); err == nil && n <= 36_500 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d.Abs()), nil
	}
	return time.Time{}, fmt.Errorf("%q: must be a time such as 2026-11-21T10:00:00Z, a date such as 2026-11-21, or how long ago, such as 48h or 7d", text)
}

// desk is what the commands work with.
type desk struct {
	conf       *config.Config
	view       view.View
	generation view.Generation
	box        *deadletter.Box
	bucket     *objects.Store
	log        *zap.Logger
}

// attempts bounds the requests for one object; each may take half a minute.
const attempts = 5

// openDesk connects to the letters.
func openDesk(c *cobra.Command, s *cli.Settings) (*desk, error) {
	conf, v, err := s.LoadView(c)
	if err != nil {
		return nil, err
	}
	log, _, err := cli.NewLogger(conf.Telemetry.LogLevel)
	if err != nil {
		return nil, err
	}
	awsConf, err := cli.LoadAWS(c.Context(), log)
	if err != nil {
		return nil, err
	}
	if err := conf.CheckRegion(awsConf.Region); err != nil {
		return nil, err
	}
	bucket, err := objects.New(awsConf, objects.Config{Bucket: conf.DeadLetters.Bucket, Prefix: conf.DeadLetters.Prefix, KMSKey: conf.DeadLetters.KMSKey, Attempts: attempts})
	if err != nil {
		return nil, err
	}
	g := view.Generation(conf.View.Generation)
	return &desk{conf: conf, view: v, generation: g, box: deadletter.NewBox(bucket, v.Name(), g), bucket: bucket, log: log}, nil
}

// connect opens a session with the tables of the generation, which must be of this program's revision.
func (d *desk) connect(ctx context.Context) (*cassandra.Session, error) {
	session, err := cassandra.Connect(cli.CassandraConfig(d.conf, d.log))
	if err != nil {
		return nil, err
	}
	err = session.CheckSchema(ctx, d.view, d.generation)
	if err == nil {
		err = session.CheckRevision(ctx, d.view, d.generation)
	}
	if err != nil {
		session.Close()
		return nil, err
	}
	return session, nil
}

// interruptible returns a context that the first SIGINT or SIGTERM ends.
func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
}
