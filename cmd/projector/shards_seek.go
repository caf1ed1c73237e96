package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/checkpoint"
	"penstock/cmd/internal/cli"
	"penstock/projector"
	"penstock/stream"
)

func shardsSeekCommand() *cobra.Command {
	var s cli.Settings
	var k seeker
	var to string
	c := &cobra.Command{
		Use:   "seek SHARD --to trim|TIME|SEQUENCE --reason TEXT",
		Short: "Set the position that a shard is read from, back or forward",
		Long: `Seek sets the position of one shard, also while daemons run. Its owner learns of it by its next renewal of the
lease, some seconds later at most, and commits nothing from then on; then the shard is taken anew, and
read from the new position. Reading again is harmless: the same rows come of it. The state table keeps
who did it last, when and why, from where and to where.

--to says the position:

  trim      the oldest record that the stream has
  TIME      the first record that arrived at or after it: 2026-11-21T10:00:00Z, or -2h for two hours ago
  SEQUENCE  the sequence number of the last record that is not to be read again

A seek forward leaves records unread that nobody may have settled: it says so, and needs --skip. A shard
that was read to its end is only opened again with --reopen.`,
		Example: "  projector shards seek shardId-000000000002 --to -2h --reason \"bug in release 41\" --dry-run\n" +
			"  projector shards seek shardId-000000000002 --to trim --reason \"view restored from a backup\"",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			for _, flag := range []string{"to", "reason"} {
				if !c.Flags().Changed(flag) {
					return cli.Exit(cli.ExitUsage, fmt.Errorf("--%s is required", flag))
				}
			}
			target, err := parseTarget(to, time.Now())
			if err == nil {
				err = checkReason(k.reason)
			}
			if err != nil {
				return cli.Exit(cli.ExitUsage, err)
			}
			conf, err := s.Load(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), seekTimeout)
			defer cancel()
			f, err := openFleet(ctx, conf)
			if err != nil {
				return err
			}
			if err := f.checkNames(names); err != nil {
				return err
			}
			k.shard, k.leases, k.state, k.role, k.now, k.by = f.shardOf(names[0]), f.leases, f.state, f.role, f.now, cli.UserAtHost()
			k.places = f.stream
			report, err := k.seek(ctx, target)
			if err != nil {
				return err
			}
			return s.Print(c, report.text(), report)
		},
	}
	s.Bind(c)
	c.Flags().StringVar(&to, "to", "", "the position: trim, a time, or a sequence number; required")
	c.Flags().StringVar(&k.reason, "reason", "", "why, for other people; required")
	c.Flags().BoolVar(&k.dryRun, "dry-run", false, "say what would be done, and change nothing")
	c.Flags().BoolVar(&k.skip, "skip", false, "go forward, over records that nobody may have settled")
	c.Flags().BoolVar(&k.reopen, "reopen", false, "read a shard again that was read to its end")
	return c
}

// seekTimeout bounds what a seek takes: a second of a busy shard is read to find a time in it, and a year of a quiet one.
const seekTimeout = 5 * time.Minute

// checkReason refuses what a later reader of the state table would stumble over.
func checkReason(reason string) error {
	const most = 256
	if strings.TrimSpace(reason) == "" || len(reason) > most || strings.ContainsAny(reason, "\r\n") {
		return fmt.Errorf("reason %q: must be one line of 1 to %d bytes", reason, most)
	}
	return nil
}

// target is what --to says: one of its fields, or none for the oldest record there is.
type target struct {
	at       time.Time
	sequence checkpoint.Sequence
}

func parseTarget(text string, now time.Time) (target, error) {
	if text == "trim" {
		return target{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago < 0 {
		return target{at: now.Add(ago)}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		if at.After(now) {
			return target{}, fmt.Errorf("--to %q: lies in the future", text)
		}
		return target{at: at}, nil
	}
	row := checkpoint.Row{Checkpoint: checkpoint.Sequence(text)}
	if row.Position() == "" || row.Finished() {
		return target{}, fmt.Errorf("--to %q: must be trim, a time such as 2026-11-21T10:00:00Z or -2h, or a sequence number", text)
	}
	return target{sequence: row.Checkpoint}, nil
}

// seeker sets the position of one shard.
type seeker struct {
	shard  stream.Shard
	leases checkpoint.Store
	state  seekState
	places places
	role   string
	now    func() time.Time

	by, reason           string
	dryRun, skip, reopen bool
}

type seekState interface {
	Put(ctx context.Context, kind, name string, values map[string]string) error
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}

// places finds positions in the stream.
type places interface {
	PlaceOf(ctx context.Context, shard stream.Shard, sequence checkpoint.Sequence) (stream.Place, error)
	PlaceBefore(ctx context.Context, shard stream.Shard, t time.Time) (stream.Place, error)
}

// seekTries is how often a seek is tried anew on a row that changed under it: its owner renews it every few seconds.
const seekTries = 10

// seek sets the shard's position, or says what it would do.
func (k *seeker) seek(ctx context.Context, to target) (seekReport, error) {
	place, err := k.resolve(ctx, to)
	if err != nil {
		return seekReport{}, err
	}
	for range seekTries {
		row, err := k.row(ctx)
		if err != nil {
			return seekReport{}, err
		}
		report, err := k.plan(ctx, row, place)
		if err != nil || k.dryRun {
			return report, err
		}
		done, err := k.apply(ctx, row, report)
		if err != nil || done {
			return report, err
		}
	}
	return seekReport{}, fmt.Errorf("the row of %s changed under each of %d attempts: try again", k.shard.ID, seekTries)
}

// resolve finds the place that is meant.
func (k *seeker) resolve(ctx context.Context, to target) (place stream.Place, err error) {
	switch {
	case !to.at.IsZero():
		place, err = k.places.PlaceBefore(ctx, k.shard, to.at)
	case to.sequence != "":
		place, err = k.places.PlaceOf(ctx, k.shard, to.sequence)
	default:
		place = stream.Place{After: k.shard.Start}
	}
	switch failed, ok := errors.AsType[*stream.Error](err); {
	case errors.Is(err, stream.ErrNotOfShard):
		return place, cli.Exit(cli.ExitUsage, err)
	case ok:
		return place, cli.UnreachableUnless(failed.Kind == stream.Fatal, err)
	case err != nil:
		return place, cli.UnreachableUnless(false, fmt.Errorf("look for the position in %s: %w", k.shard.ID, err))
	case place.After == "":
		return place, fmt.Errorf("the service does not say where shard %s begins", k.shard.ID)
	}
	return place, nil
}

func (k *seeker) row(ctx context.Context) (checkpoint.Row, error) {
	rows, err := k.leases.Rows(ctx)
	if err != nil {
		return checkpoint.Row{}, cli.UnreachableUnless(hopeless(err), fmt.Errorf("read the leases: %w", err))
	}
	for _, r := range rows {
		if r.Shard == k.shard.ID {
			return r, nil
		}
	}
	return checkpoint.Row{}, nil
}

// plan says what the seek would do to the row, or why it must not.
func (k *seeker) plan(ctx context.Context, row checkpoint.Row, to stream.Place) (seekReport, error) {
	r := seekReport{Version: seekReportVersion, Shard: k.shard.ID, Owner: row.Owner, From: string(row.Checkpoint), To: string(to.After),
		Beginning: to.After == k.shard.Start, DryRun: k.dryRun, By: k.by, Reason: k.reason, At: k.now().UTC().Truncate(time.Millisecond)}
	if !to.Arrival.IsZero() {
		r.ToArrival = &to.Arrival
	}
	if from := row.Position(); from != "" && !row.Finished() {
		place, err := k.places.PlaceOf(ctx, k.shard, from)
		if err != nil && !errors.Is(err, stream.ErrNotOfShard) { // a row of another stream is mended by this very seek
			return r, cli.UnreachableUnless(false, fmt.Errorf("look at the present position of %s: %w", k.shard.ID, err))
		}
		if !place.Arrival.IsZero() {
			r.FromArrival = &place.Arrival
		}
	}
	before := row.Position()
	if before == "" {
		before = k.shard.Start
	}
	switch d := to.After.Compare(before); {
	case d < 0:
		r.Direction = seekBack
	case d > 0:
		r.Direction = seekForward
	default:
		r.Direction = seekNowhere
	}
	return r, k.refuse(row, r)
}

func (k *seeker) refuse(row checkpoint.Row, r seekReport) error {
	refused := func(format string, args ...any) error { return cli.Exit(cli.ExitRefused, fmt.Errorf(format, args...)) }
	end, timed := leaseEnd(row)
	switch {
	case row.Wrong.Has(checkpoint.OwnerAttribute):
		return refused("the owner in the row of %s cannot be read: run projector doctor --repair first", row.Shard)
	case timed && !checkpoint.Stamped(row.Owner, row.Timeout) && k.now().Before(end.Add(clockTolerance)):
		return refused("%s, a worker of another make, holds %s until %s: stop that fleet first, since its next write would undo this one",
			row.Owner, row.Shard, row.Timeout)
	case k.dryRun:
		return nil // which says what is needed
	case row.Finished() && !k.reopen:
		return refused("%s was read to its end: to read it again give --reopen", row.Shard)
	case r.Direction == seekForward && !k.skip:
		return refused("%s: %s: to leave them unread give --skip", row.Shard, r.consequence())
	}
	return nil
}

// apply writes the seek: first who does it and why, since whoever takes the shard then wants to know that at once. It
// reports false if the row is no longer as it was seen.
func (k *seeker) apply(ctx context.Context, row checkpoint.Row, r seekReport) (done bool, err error) {
	last, known, err := projector.ReadSeek(ctx, k.state, k.role, k.shard.ID)
	if err != nil {
		return false, cli.UnreachableUnless(hopeless(err), err)
	}
	note := projector.Seek{By: k.by, Reason: k.reason, At: r.At, From: row.Checkpoint, To: checkpoint.Sequence(r.To)}
	if err := projector.WriteSeek(ctx, k.state, k.role, k.shard.ID, note); err != nil {
		return false, cli.UnreachableUnless(hopeless(err), err)
	}
	err = k.leases.Apply(ctx, k.change(row, note.To))
	if _, refused := errors.AsType[*checkpoint.Refused](err); refused {
		if !known {
			last = projector.Seek{} // which says that there was none: its time is the zero time
		}
		return false, projector.WriteSeek(ctx, k.state, k.role, k.shard.ID, last)
	}
	if err != nil {
		return false, cli.UnreachableUnless(hopeless(err), fmt.Errorf("whether %s was set is not known, repeating is safe: %w", k.shard.ID, err))
	}
	return true, nil
}

func (k *seeker) change(row checkpoint.Row, to checkpoint.Sequence) checkpoint.Change {
	c := checkpoint.Change{Op: checkpoint.Seek, Shard: k.shard.ID, Seen: row, Commit: to}
	switch {
	case row.Shard == "":
		c.Op = checkpoint.Create
		if len(k.shard.Parents) > 0 {
			c.Parent = k.shard.Parents[0]
		}
	case row.Finished():
		c.Op = checkpoint.Reopen
	}
	return c
}

// shardOf returns a shard that [fleetTables.checkNames] knows.
func (f *fleetTables) shardOf(name string) stream.Shard {
	for _, s := range f.shards {
		if s.ID == name {
			return s
		}
	}
	return stream.Shard{ID: name}
}

// direction is which way a seek goes.
type direction string

// The closed set of directions.
const (
	seekBack    direction = "back"
	seekForward direction = "forward"
	seekNowhere direction = "none"
)

// seekReport is what seek prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type seekReport struct {
	Version     int        `json:"version"`
	Shard       string     `json:"shard"`
	Owner       string     `json:"owner"`        // who had the lease; empty for none
	From        string     `json:"from"`         // the checkpoint before; empty for none
	FromArrival *time.Time `json:"from_arrival"` // of the record there; null if the stream does not have it
	To          string     `json:"to"`
	ToArrival   *time.Time `json:"to_arrival"`
	Beginning   bool       `json:"beginning"` // to is where the shard begins
	Direction   direction  `json:"direction"`
	DryRun      bool       `json:"dry_run"`
	By          string     `json:"by"`
	Reason      string     `json:"reason"`
	At          time.Time  `json:"at"` // by DynamoDB's clock
}

const seekReportVersion = 1

func (r seekReport) text() string {
	lines := []string{
		"from  " + orDash(r.From) + arrived(r.FromArrival),
		"to    " + r.To + arrived(r.ToArrival),
	}
	if r.Beginning {
		lines[1] += ", where the shard begins"
	}
	lines = append(lines, r.consequence())
	switch {
	case r.DryRun:
		lines = append(lines, "nothing was changed: this is what would be done")
	case r.Owner != "":
		lines = append(lines, r.Owner+" had the lease; the shard is taken anew when it notices, within seconds")
	}
	return r.Shard + "\n  " + strings.Join(lines, "\n  ")
}

// consequence says what becomes of which records.
func (r seekReport) consequence() string {
	switch r.Direction {
	case seekBack:
		from, to := "what the stream still has from the shard's beginning on", "up to the position before"
		if r.ToArrival != nil {
			from = "what arrived after " + r.ToArrival.UTC().Format(time.RFC3339Nano)
		}
		if r.FromArrival != nil {
			to = "up to " + r.FromArrival.UTC().Format(time.RFC3339Nano)
		}
		return from + " is read again, " + to
	case seekForward:
		from := "what was not settled before"
		if r.FromArrival != nil {
			from = "what arrived after " + r.FromArrival.UTC().Format(time.RFC3339Nano)
		}
		to := "the record at the new position"
		if r.ToArrival != nil {
			to = r.ToArrival.UTC().Format(time.RFC3339Nano)
		}
		return from + ", up to " + to + ", is never read"
	case seekNowhere:
	}
	return "the position is the same; what was read after it and not committed is read again"
}

func arrived(t *time.Time) string {
	if t == nil {
		return ""
	}
	return ", which arrived " + t.UTC().Format(time.RFC3339Nano)
}
