package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fleet is the daemons of one site.
type Fleet struct {
	Site   *Site
	Shards int           // of the stream
	Poll   time.Duration // between two looks at the daemons; 0 means a tenth of a second

	running []*Daemon
	gone    []Scrape // the last of each daemon that ended
}

// Start starts a daemon.
func (f *Fleet) Start(ctx context.Context, name string) (*Daemon, error) {
	d, err := f.Site.Start(ctx, name)
	if err != nil {
		return nil, err
	}
	f.running = append(f.running, d)
	return d, nil
}

// Running returns the daemons that were not killed.
func (f *Fleet) Running() []*Daemon { return f.running }

// Scrape reads the metrics of all running daemons. It is an error if one of them does not account for every record.
func (f *Fleet) Scrape(ctx context.Context) ([]Scrape, error) {
	scrapes := make([]Scrape, 0, len(f.running))
	for _, d := range f.running {
		s, err := d.Scrape(ctx)
		if err != nil {
			return nil, err
		}
		if !s.Conserved() {
			return nil, fmt.Errorf("daemon %s does not account for every record: %+v", d.Name, s)
		}
		scrapes = append(scrapes, s)
	}
	return scrapes, nil
}

// Done returns how many records have an outcome, and how many of them are parked, by scrapes and the last word of daemons
// that are gone. A record that was read again counts again.
func (f *Fleet) Done(scrapes []Scrape) (done, parked int) {
	for _, s := range append(scrapes, f.gone...) {
		done += int(s.Applied + s.Parked)
		parked += int(s.Parked)
	}
	return done, parked
}

// poll is the pause between two looks at the daemons.
const poll = 100 * time.Millisecond

// Watch scrapes until done says so.
func (f *Fleet) Watch(ctx context.Context, done func([]Scrape) bool) error {
	for {
		scrapes, err := f.Scrape(ctx)
		if err != nil {
			return err
		}
		if done(scrapes) {
			return nil
		}
		if err := pause(ctx, cmp.Or(f.Poll, poll)); err != nil {
			return err
		}
	}
}

// AwaitBalance waits until the daemons follow as many shards as each other, give or take one.
func (f *Fleet) AwaitBalance(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the daemons did not share the shards within a minute"))
	defer cancel()
	return f.Watch(ctx, func(scrapes []Scrape) bool {
		followed, even := 0, true
		for _, s := range scrapes {
			followed += len(s.Lag)
			even = even && len(s.Lag) >= f.Shards/len(scrapes)
		}
		return even && followed == f.Shards
	})
}

// Crash ends a daemon by SIGKILL and returns the shards it followed.
func (f *Fleet) Crash(ctx context.Context, victim *Daemon) (shards []string, err error) {
	last, err := victim.Scrape(ctx)
	if err != nil {
		return nil, err
	}
	if !last.Conserved() {
		return nil, fmt.Errorf("daemon %s does not account for every record: %+v", victim.Name, last)
	}
	if err := victim.Kill(); err != nil {
		return nil, err
	}
	f.gone = append(f.gone, last)
	for i, d := range f.running {
		if d == victim {
			f.running = append(f.running[:i:i], f.running[i+1:]...)
		}
	}
	for shard := range last.Lag {
		shards = append(shards, shard)
	}
	return shards, nil
}

// AwaitReader waits until one of the running daemons has started to read shard after a moment, and returns when that was.
func (f *Fleet) AwaitReader(ctx context.Context, shard string, after time.Time) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("nobody reads %s", shard))
	defer cancel()
	for {
		for _, d := range f.running {
			for _, e := range d.Entries() {
				if e.Message == "shard starts" && e.Shard == shard && e.Time.After(after) {
					return e.Time, nil
				}
			}
		}
		if err := pause(ctx, poll); err != nil {
			return time.Time{}, err
		}
	}
}

// Moves returns what the running daemons logged of the shards they took and gave up, to explain a failure.
func (f *Fleet) Moves() string {
	var moves []Entry
	for _, d := range f.running {
		for _, e := range d.Entries() {
			if e.Shard != "" {
				e.Raw = d.Name + " " + e.Raw
				moves = append(moves, e)
			}
		}
	}
	slices.SortStableFunc(moves, func(a, b Entry) int { return a.Time.Compare(b.Time) })
	var text strings.Builder
	for _, e := range moves {
		text.WriteString(e.Raw + "\n")
	}
	return text.String()
}

// Idle returns a condition for Watch: for two seconds every shard is followed, none is behind, nothing is in flight.
func (f *Fleet) Idle() func([]Scrape) bool {
	var since time.Time
	return func(scrapes []Scrape) bool {
		followed, quiet := 0, true
		for _, s := range scrapes {
			followed += len(s.Lag)
			quiet = quiet && s.Behind() == 0 && s.InFlight == 0
		}
		if followed != f.Shards || !quiet {
			since = time.Time{}
			return false
		}
		if since.IsZero() {
			since = time.Now()
		}
		return time.Since(since) > 2*time.Second
	}
}

// Stop drains all daemons.
func (f *Fleet) Stop(ctx context.Context) error {
	for len(f.running) > 0 {
		d := f.running[0]
		f.running = f.running[1:]
		if err := d.Stop(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends what is left after a failure.
func (f *Fleet) Kill() {
	for _, d := range f.running {
		_ = d.Kill() // the failure is told already
	}
	f.running = nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
