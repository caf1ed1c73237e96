package projector

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Pause keeps shards from being read for a while. It is an operator's note in the state table, under the fleet's role,
// for one shard or for [AllShards]; whoever owns the shard honours it. A paused shard keeps its lease, settles what was
// read and commits it, and reads nothing more. No pause is for ever: one that was forgotten ends by itself, well within
// the retention of any stream.
type Pause struct {
	By     string // who paused, such as "ann@host"
	Reason string // for other people
	Since  time.Time
	Until  time.Time // by the service's clock
}

// AllShards is the name of the pause that holds for every shard, those to come included.
const AllShards = "*"

// The bounds of a pause.
const (
	MinPause       = time.Minute
	MaxPause       = 12 * time.Hour // half of the least retention a stream can have
	maxPauseReason = 256            // bytes
)

// NewPause returns a pause of a length within [MinPause] and [MaxPause] that begins now, by the service's clock. The
// reason is one line of 1 to 256 bytes.
func NewPause(by, reason string, now time.Time, length time.Duration) (Pause, error) {
	if length < MinPause || length > MaxPause {
		return Pause{}, fmt.Errorf("pause for %s: must be %s to %s", length, MinPause, MaxPause)
	}
	if strings.TrimSpace(reason) == "" || len(reason) > maxPauseReason || strings.ContainsAny(reason, "\r\n") {
		return Pause{}, fmt.Errorf("reason %q: must be one line of 1 to %d bytes", reason, maxPauseReason)
	}
	now = now.UTC().Truncate(time.Second)
	return Pause{By: by, Reason: reason, Since: now, Until: now.Add(length)}, nil
}

// Pauses are the pauses of a fleet, over or not, by shard id or [AllShards].
type Pauses map[string]Pause

// Of returns the pause that holds for a shard at now: of its own and that of all shards the one that ends later.
func (p Pauses) Of(shard string, now time.Time) (pause Pause, paused bool) {
	for _, name := range []string{shard, AllShards} {
		if it := p[name]; now.Before(it.Until) && (!paused || it.Until.After(pause.Until)) {
			pause, paused = it, true
		}
	}
	return pause, paused
}

// Attributes of a pause's item. Its kind is the role and pauseKind, its name the shard's id or AllShards.
const (
	pauseKind      = "#pause"
	byAttribute    = "by"
	whyAttribute   = "reason"
	sinceAttribute = "since" // RFC 3339, as the next
	untilAttribute = "until"
)

// ReadPauses returns the pauses of a role. An item whose end is no time pauses nothing.
func ReadPauses(ctx context.Context, state interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}, role string) (Pauses, error) {
	items, err := state.Query(ctx, role+pauseKind)
	if err != nil {
		return nil, fmt.Errorf("read the pauses: %w", err)
	}
	pauses := make(Pauses, len(items))
	for name, values := range items {
		pauses[name] = pauseOf(values)
	}
	return pauses, nil
}

// WritePause pauses a shard, or [AllShards], in place of an earlier pause of it.
func WritePause(ctx context.Context, state interface {
	Put(ctx context.Context, kind, name string, values map[string]string) error
}, role, shard string, p Pause) error {
	if err := state.Put(ctx, role+pauseKind, shard, p.attributes()); err != nil {
		return fmt.Errorf("write the pause of %s: %w", shard, err)
	}
	return nil
}

func (p Pause) attributes() map[string]string {
	return map[string]string{
		byAttribute: p.By, whyAttribute: p.Reason,
		sinceAttribute: p.Since.UTC().Format(time.RFC3339), untilAttribute: p.Until.UTC().Format(time.RFC3339),
	}
}

func pauseOf(values map[string]string) Pause {
	return Pause{
		By: values[byAttribute], Reason: values[whyAttribute],
		Since: parseTime(values[sinceAttribute]), Until: parseTime(values[untilAttribute]),
	}
}

// RemovePause ends the pause of a shard, or of [AllShards], if there is one.
func RemovePause(ctx context.Context, state interface {
	Delete(ctx context.Context, kind, name string) error
}, role, shard string) error {
	if err := state.Delete(ctx, role+pauseKind, shard); err != nil {
		return fmt.Errorf("remove the pause of %s: %w", shard, err)
	}
	return nil
}

// parseTime returns the zero time for what is none.
func parseTime(s string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, s)
	return t
}
