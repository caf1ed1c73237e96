package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"penstock/checkpoint"
	"penstock/cmd/internal/cli"
	"penstock/projector"
	"penstock/stream"
)

func shardsListCommand() *cobra.Command {
	var s cli.Settings
	c := &cobra.Command{
		Use:   "list",
		Short: "Tell of every shard who reads it, how far, and what keeps it from being read",
		Long: `List tells of every shard of the stream, and of every row of the lease table:

  reading     its owner holds the lease
  paused      an operator keeps it from being read; see the note for who, why and until when
  tripped     its breaker keeps it from being read, since too many of its events are poison; see the note
  free        nobody holds it: a daemon takes it when one has room
  silent      its owner no longer renews the lease: a daemon takes it when one runs
  waiting     for its parent shards to be read to their end first
  finished    it was read to its end
  foreign     a worker of another make holds it
  unreadable  what stands in its row is no lease; the next owner heals it
  unlisted    the stream no longer has it, and it was not read to its end

The lag is what the owner last told, and how long ago if that is more than 10 s: it is not known what came since.`,
		Example: "  projector shards list\n  projector shards list -o json | jq -r '.shards[] | select(.state == \"paused\") | .shard'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
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
			found, err := f.find(ctx)
			if err != nil {
				return err
			}
			report := shardsReport{Version: shardsReportVersion, Application: conf.Application, Stream: conf.Kinesis.StreamName(),
				Generation: conf.View.Generation, At: found.now.UTC().Truncate(time.Millisecond), Shards: found.report()}
			return s.Print(c, report.text(), report)
		},
	}
	s.Bind(c)
	return c
}

// shardsReport is what list prints as JSON. Scripts read it: a field may be added, and what changes the meaning of one
// changes Version.
type shardsReport struct {
	Version     int           `json:"version"`
	Application string        `json:"application"`
	Stream      string        `json:"stream"`
	Generation  int           `json:"generation"`
	At          time.Time     `json:"at"` // as all times here, by DynamoDB's clock
	Shards      []shardReport `json:"shards"`
}

const shardsReportVersion = 1

type shardReport struct {
	Shard      string       `json:"shard"`
	State      shardState   `json:"state"`
	Owner      string       `json:"owner"`       // empty for none
	LeaseUntil *time.Time   `json:"lease_until"` // unless it is renewed; null without an owner
	Checkpoint string       `json:"checkpoint"`  // sequence number, SHARD_END, or empty for none
	WaitsFor   []string     `json:"waits_for"`   // parents that are not finished
	Lag        *lagReport   `json:"lag"`         // null when the owner never told
	Pause      *pauseReport `json:"pause"`       // null when not paused
	Trip       *tripReport  `json:"trip"`        // null unless its breaker has tripped
	Lift       *liftReport  `json:"lift"`        // null unless its breaker is lifted
}

// lagReport is how far the owner's last reply was behind the tip of the shard.
type lagReport struct {
	Millis int64     `json:"ms"`
	At     time.Time `json:"at"` // when that reply came
	Age    int64     `json:"age_ms"`
	Stale  bool      `json:"stale"`
}

type pauseReport struct {
	By        string    `json:"by"`
	Reason    string    `json:"reason"`
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until"`
	Confirmed bool      `json:"confirmed"` // the shard's owner has said that it honours it
}

func newPauseReport(p projector.Pause) *pauseReport {
	return &pauseReport{By: p.By, Reason: p.Reason, Since: p.Since, Until: p.Until}
}

// tripReport is why a shard's breaker has tripped.
type tripReport struct {
	Why         string    `json:"why"`
	Code        string    `json:"code"`        // of the record that would have had the next letter
	Fingerprint string    `json:"fingerprint"` // of that record, too, and what follows
	Sequence    string    `json:"sequence"`
	Arrival     time.Time `json:"arrival"`
	Worker      string    `json:"worker"`
	At          time.Time `json:"at"`
	Command     string    `json:"command"` // that lifts it
}

func newTripReport(shard string, t projector.Trip) *tripReport {
	return &tripReport{t.Why, string(t.Code), t.Fingerprint, string(t.Sequence), t.Arrival, t.Worker, t.At, projector.LiftCommand(shard)}
}

// liftReport is an operator's lift of a breaker.
type liftReport struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

func newLiftReport(l projector.Lift) *liftReport {
	return &liftReport{l.By, l.Reason, l.Since, l.Until}
}

// shardState is what becomes of a shard at present.
type shardState string

// The closed set of states.
const (
	shardReading    shardState = "reading"
	shardPaused     shardState = "paused"
	shardTripped    shardState = "tripped"
	shardFree       shardState = "free"
	shardSilent     shardState = "silent"
	shardWaiting    shardState = "waiting"
	shardFinished   shardState = "finished"
	shardForeign    shardState = "foreign"
	shardUnreadable shardState = "unreadable"
	shardUnlisted   shardState = "unlisted"
)

// found is what stands in the stream and the tables at one time.
type found struct {
	now    time.Time
	shards []stream.Shard
	rows   map[string]checkpoint.Row
	pauses projector.Pauses
	trips  map[string]projector.Trip
	lifts  projector.Lifts
	words  map[string]projector.Word
}

func (f *fleetTables) find(ctx context.Context) (found, error) {
	out := found{shards: f.shards, rows: map[string]checkpoint.Row{}}
	rows, err := f.leases.Rows(ctx)
	if err != nil {
		return out, cli.UnreachableUnless(hopeless(err), fmt.Errorf("read the leases: %w", err))
	}
	for _, r := range rows {
		out.rows[r.Shard] = r
	}
	if out.words, err = projector.ReadWords(ctx, f.state, f.role); err != nil {
		return out, cli.UnreachableUnless(hopeless(err), err)
	}
	if out.pauses, err = f.pauses(ctx); err != nil {
		return out, err
	}
	if out.trips, out.lifts, err = f.breakers(ctx); err != nil {
		return out, err
	}
	out.now = f.now()
	return out, nil
}

// report tells of every shard that is listed or has a row, sorted by id.
func (f found) report() []shardReport {
	listed := map[string]stream.Shard{}
	for _, s := range f.shards {
		listed[s.ID] = s
	}
	ids := slices.Collect(maps.Keys(listed))
	for id := range f.rows {
		if _, ok := listed[id]; !ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	reports := make([]shardReport, len(ids))
	for i, id := range ids {
		s, ok := listed[id]
		s.ID = id
		reports[i] = f.shard(s, ok, listed)
	}
	return reports
}

func (f found) shard(s stream.Shard, isListed bool, listed map[string]stream.Shard) shardReport {
	row := f.rows[s.ID]
	r := shardReport{Shard: s.ID, Owner: row.Owner, Checkpoint: string(row.Checkpoint), WaitsFor: []string{}}
	until, timed := leaseEnd(row)
	if timed {
		r.LeaseUntil = &until
	}
	for _, p := range s.Parents {
		if _, there := listed[p]; there && !f.rows[p].Finished() {
			r.WaitsFor = append(r.WaitsFor, p)
		}
	}
	word := f.words[row.Owner].Shards[s.ID]
	if row.Owner != "" && !word.Read.IsZero() {
		age := max(0, f.now.Sub(word.Read))
		r.Lag = &lagReport{Millis: word.Lag.Milliseconds(), At: word.Read, Age: age.Milliseconds(), Stale: age > staleAfter}
	}
	p, paused := f.pauses.Of(s.ID, f.now)
	if paused && !row.Finished() {
		r.Pause = newPauseReport(p)
		r.Pause.Confirmed = word.Paused && !f.words[row.Owner].At.Before(p.Since)
	}
	trip, isTripped := f.trips[s.ID]
	isTripped = isTripped && !row.Finished() && !f.lifts.Lifted(s.ID, trip)
	if isTripped {
		r.Trip = newTripReport(s.ID, trip)
	}
	if l := f.lifts.Of(s.ID); f.now.Before(l.Until) && !row.Finished() {
		r.Lift = newLiftReport(l)
	}
	switch {
	case row.Finished():
		r.State = shardFinished
	case row.Unreadable(), row.Wrong.Has(checkpoint.OwnerAttribute), row.Owner != "" && !timed:
		r.State = shardUnreadable
	case !isListed:
		r.State = shardUnlisted
	case row.Owner != "" && !f.now.Before(until.Add(clockTolerance)):
		r.State = shardSilent
	case row.Owner != "" && !checkpoint.Stamped(row.Owner, row.Timeout):
		r.State = shardForeign
	case len(r.WaitsFor) > 0:
		r.State = shardWaiting
	case paused:
		r.State = shardPaused
	case isTripped:
		r.State = shardTripped
	case row.Owner != "":
		r.State = shardReading
	default:
		r.State = shardFree
	}
	return r
}

const (
	// staleAfter is from when on what an owner told of a shard no longer says how it stands: an owner that reads asks
	// several times a second, and tells every two seconds.
	staleAfter = 10 * time.Second
	// clockTolerance is how far clocks may differ that were set by HTTP dates, which have whole seconds.
	clockTolerance = 2 * time.Second
)

// leaseEnd returns when a row's lease ends by its owner's clock.
func leaseEnd(row checkpoint.Row) (end time.Time, ok bool) {
	if row.Owner == "" {
		return time.Time{}, false
	}
	end, err := time.Parse(time.RFC3339Nano, row.Timeout)
	return end, err == nil
}

func (r shardsReport) text() string {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "SHARD\tSTATE\tOWNER\tLAG\tCHECKPOINT\tNOTE")
	for _, s := range r.Shards {
		fmt.Fprintf(w, "\n%s\t%s\t%s\t%s\t%s\t%s", s.Shard, s.State, orDash(s.Owner), s.lag(), orDash(s.Checkpoint), orDash(s.note(r.At)))
	}
	_ = w.Flush() // to memory
	return table.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (s shardReport) lag() string {
	l := s.Lag
	switch {
	case l == nil && s.Owner == "":
		return "-"
	case l == nil:
		return "unknown"
	}
	lag := (time.Duration(l.Millis) * time.Millisecond).String()
	if l.Stale {
		lag += fmt.Sprintf(" (%s ago)", (time.Duration(l.Age) * time.Millisecond).Round(time.Second))
	}
	return lag
}

// note is what the other columns do not say.
func (s shardReport) note(now time.Time) string {
	var notes []string
	switch {
	case s.State == shardWaiting:
		notes = append(notes, "for "+strings.Join(s.WaitsFor, ", "))
	case s.State == shardSilent:
		notes = append(notes, fmt.Sprintf("the lease ended %s ago", now.Sub(*s.LeaseUntil).Round(time.Second)))
	}
	if p := s.Pause; p != nil {
		note := fmt.Sprintf("paused by %s until %s: %s", p.By, p.Until.Format(time.RFC3339), p.Reason)
		if s.State == shardPaused && s.Owner != "" && !p.Confirmed {
			note = "not yet confirmed by its owner; " + note
		}
		notes = append(notes, note)
	}
	if t := s.Trip; t != nil {
		notes = append(notes, fmt.Sprintf("the breaker tripped at %s: %s: %s", t.At.Format(time.RFC3339), t.Why, t.Command))
	}
	if l := s.Lift; l != nil {
		notes = append(notes, fmt.Sprintf("the breaker is lifted by %s until %s: %s", l.By, l.Until.Format(time.RFC3339), l.Reason))
	}
	return strings.Join(notes, "; ")
}
