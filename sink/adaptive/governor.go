package adaptive

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// GovernorConfig bounds a [Governor]. The zero value of a field means its default, except that of Floor.
type GovernorConfig struct {
	// Budget is what one absent replica may be owed, by all daemons that tell each other, before the rate is at its floor:
	// 1 MiB and more, 600 MiB by default, which a replica that is back takes in ten minutes.
	Budget int64
	// Floor is the part of what the surviving quorum takes below which the rate is never lowered: 0 to 1. One missing
	// replica is what three are for; a half is a good choice.
	Floor float64
	// HintWindow is how long coordinators store hints for an absent node, Cassandra's max_hint_window: 1 min to 7 days,
	// 3 h by default.
	HintWindow time.Duration
	// Replay is how much a replica that is back is given of what it is owed, in bytes a second: 1 KiB or more, 1 MiB by
	// default, which is what two surviving coordinators of three replay together with the server's defaults.
	Replay int64
}

func (c GovernorConfig) withDefaults() GovernorConfig {
	if c.Budget == 0 {
		c.Budget = 600 << 20
	}
	if c.HintWindow == 0 {
		c.HintWindow = 3 * time.Hour
	}
	if c.Replay == 0 {
		c.Replay = 1 << 20
	}
	return c
}

// Validate says which field breaks which rule, with its value. Defaults stand in for zero values.
func (c GovernorConfig) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Budget < 1<<20:
		return fmt.Errorf("budget %d: must be 1048576 bytes or more", c.Budget)
	case !(c.Floor >= 0 && c.Floor <= 1):
		return fmt.Errorf("floor %g: must be 0 to 1", c.Floor)
	case c.HintWindow < time.Minute || c.HintWindow > 7*24*time.Hour:
		return fmt.Errorf("hint window %s: must be 1m to 168h", c.HintWindow)
	case c.Replay < 1<<10:
		return fmt.Errorf("replay %d: must be 1024 bytes a second or more", c.Replay)
	}
	return nil
}

const (
	rateWindow  = 250 * time.Millisecond
	tokensAhead = 50 * time.Millisecond // how much of a second's rate may leave at once
	freely      = 0.1                   // of the budget: below it nothing is capped
	full        = 0.99                  // of the budget: the rate is at its floor, and what is under way may use the rest
	lowestRate  = 1                     // a second; a rate of 0 would never find out that it may rise
)

// Governor counts what each absent replica is owed, and caps the rate of the whole writer while that is much. The server's
// own tables show hints only once their file is closed, so that the count is made here, from what is sent: each attempt whose
// replicas hold an absent one, whether it was acknowledged or not, since a coordinator that timed out has stored its hint too.
//
//	u = clamp((0.99 - owed/Budget)/0.89, 0, 1)      cap = floor + u · (taken - floor)      floor = Floor · taken
//
// with owed of the replica that is owed most, and taken the rate that the surviving quorum took when it was last not capped. Past
// the hint window the writer goes on; what is sent from then on needs a repair, and is recorded as a span of time.
//
// It is not safe for concurrent use.
type Governor struct {
	config   GovernorConfig
	replicas map[string]*debt
	taken    float64 // acknowledged a second without a cap, smoothed
	acks     int
	opened   time.Time

	tokens float64
	filled time.Time
}

type debt struct {
	owed     float64
	others   float64 // by the other daemons
	recent   [recentSeconds]second
	absent   bool
	since    time.Time // absent, or back
	lastSent time.Time
	refused  time.Time // when the first mutation was sent that no hint was stored for; zero if none
	at       time.Time // when owed was brought up to date
}

// second is what was sent within one second.
type second struct {
	at    int64 // Unix time
	bytes float64
}

// recentSeconds is how far back it may be found out afterwards that a replica was absent, or back.
const recentSeconds = 8

// NewGovernor begins without debts. A configuration that [GovernorConfig.Validate] refuses panics.
func NewGovernor(c GovernorConfig, now time.Time) *Governor {
	if err := c.Validate(); err != nil {
		panic("adaptive: " + err.Error())
	}
	return &Governor{config: c.withDefaults(), replicas: map[string]*debt{}, opened: now, filled: now}
}

// SetConfig changes the bounds. The error is that of [GovernorConfig.Validate], and nothing changes then.
func (g *Governor) SetConfig(c GovernorConfig) error {
	if err := c.Validate(); err != nil {
		return err
	}
	g.config = c.withDefaults()
	return nil
}

// Config returns the bounds, with what stands in for zero values.
func (g *Governor) Config() GovernorConfig { return g.config }

// Absent notes that a replica is down or that the coordinators do not reach it. Said again, it changes nothing.
func (g *Governor) Absent(replica string, now time.Time) { g.AbsentSince(replica, now, now) }

// AbsentSince notes that a replica has been away since an earlier time. What was sent from then on it is owed as well, as far
// back as eight seconds.
func (g *Governor) AbsentSince(replica string, since, now time.Time) {
	d := g.of(replica, now)
	if d.absent {
		return
	}
	g.replay(d, now)
	if since.Before(d.since) {
		since = d.since // it was back then
	}
	d.absent, d.since = true, since
	d.owed += d.sentSince(since, now)
}

func (g *Governor) of(replica string, now time.Time) *debt {
	d := g.replicas[replica]
	if d == nil {
		d = &debt{at: now}
		g.replicas[replica] = d
	}
	return d
}

// Back notes that a replica is reached again. From now on it is given back what it is owed; what needs a repair is kept.
func (g *Governor) Back(replica string, now time.Time) { g.BackSince(replica, now, now) }

// BackSince notes that a replica has been reached again since an earlier time. What was sent from then on it is not owed,
// as far back as eight seconds.
func (g *Governor) BackSince(replica string, since, now time.Time) {
	d := g.replicas[replica]
	if d == nil || !d.absent {
		return
	}
	if since.Before(d.since) {
		since = d.since
	}
	d.owed = max(0, d.owed-d.sentSince(since, now))
	d.absent, d.since, d.at = false, since, since
}

// sentSince is what was sent from a time until now, and is owed, or would be if the replica was absent. Of a second that is
// counted in part it is the same part.
func (d *debt) sentSince(since, now time.Time) (bytes float64) {
	for _, s := range d.recent {
		began := time.Unix(s.at, 0)
		ended := began.Add(time.Second)
		if ended.After(now) {
			ended = now
		}
		if s.at <= now.Unix()-recentSeconds || !ended.After(since) || !ended.After(began) {
			continue
		}
		part := 1.0
		if since.After(began) {
			part = ended.Sub(since).Seconds() / ended.Sub(began).Seconds()
		}
		bytes += part * s.bytes
	}
	return bytes
}

// Repaired forgets what a replica needed a repair for.
func (g *Governor) Repaired(replica string) {
	if d := g.replicas[replica]; d != nil {
		d.refused, d.lastSent = time.Time{}, time.Time{}
	}
}

// Attempt notes that so many bytes of hints are due for mutations that were sent and that the replica should have had. It
// reports whether the replica has been absent for so long that no hint is stored any more: then what was sent needs a repair.
func (g *Governor) Attempt(replica string, bytes int64, now time.Time) (refused bool) {
	d := g.of(replica, now)
	if d.absent && now.Sub(d.since) > g.config.HintWindow {
		if d.refused.IsZero() {
			d.refused = now
		}
		d.lastSent = now
		return true // owed for good: no hint will give it back, and a slower writer helps nobody
	}
	if s := &d.recent[now.Unix()%recentSeconds]; s.at == now.Unix() {
		s.bytes += float64(bytes)
	} else {
		*s = second{now.Unix(), float64(bytes)}
	}
	if d.absent {
		d.owed += float64(bytes)
	}
	return false
}

// Others sets what the other daemons of the fleet say they owe, by replica. What is not named they owe nothing. It counts for
// the cap only while the replica is absent as this process sees it.
func (g *Governor) Others(owed map[string]int64, now time.Time) {
	for _, d := range g.replicas {
		d.others = 0
	}
	for replica, bytes := range owed {
		g.of(replica, now).others = float64(max(0, bytes))
	}
}

// HintedSince notes that the oldest hint for an absent replica is of an earlier time than its absence was noted: the
// servers count their window from there.
func (g *Governor) HintedSince(replica string, since time.Time) {
	if d := g.replicas[replica]; d != nil && d.absent && since.Before(d.since) {
		d.since = since
	}
}

// Measured puts what the servers say that a replica is owed in place of the count, where they say it.
func (g *Governor) Measured(replica string, bytes int64, now time.Time) {
	if d := g.replicas[replica]; d != nil {
		d.owed, d.at = float64(max(0, bytes)), now
	}
}

// Acked notes an acknowledged mutation.
func (g *Governor) Acked(now time.Time) {
	g.acks++
	open := now.Sub(g.opened)
	if open < rateWindow {
		return
	}
	rate := float64(g.acks) / open.Seconds()
	g.acks, g.opened = 0, now
	// What a capped writer does says nothing of what the quorum could take, unless it is more.
	if g.share(now) >= 1 || rate > g.taken {
		if g.taken == 0 {
			g.taken = rate
		}
		g.taken += 0.2 * (rate - g.taken)
	}
}

// share is u, of the replica that is owed most, by the whole fleet. Past the hint window nothing more is stored for a replica, and
// a slower writer helps nobody.
func (g *Governor) share(now time.Time) float64 {
	most := 0.0
	for _, d := range g.replicas {
		g.replay(d, now)
		if d.absent && now.Sub(d.since) <= g.config.HintWindow {
			most = max(most, d.owed+d.others)
		}
	}
	return clamp((full-most/float64(g.config.Budget))/(full-freely), 0, 1)
}

// replay takes off what a replica that is back was given since: of this process's hints the part that they are of all.
func (g *Governor) replay(d *debt, now time.Time) {
	if passed := now.Sub(d.at); passed > 0 {
		if !d.absent {
			if d.owed > 0 {
				d.owed = max(0, d.owed-passed.Seconds()*float64(g.config.Replay)*d.owed/(d.owed+d.others))
			}
			if d.owed < 1 {
				d.owed = 0 // or it would never be
			}
		}
		d.at = now
	}
}

// Cap is the rate in mutations a second, retries included, and whether there is one.
func (g *Governor) Cap(now time.Time) (rate float64, capped bool) {
	u := g.share(now)
	if u >= 1 || g.taken == 0 {
		return 0, false
	}
	floor := g.config.Floor * g.taken
	return max(lowestRate, floor+u*(g.taken-floor)), true
}

// Take asks to send one mutation: a wait of 0 says that it may leave and is counted; otherwise nothing is counted and the
// caller asks again after the wait.
func (g *Governor) Take(now time.Time) (wait time.Duration) {
	rate, capped := g.Cap(now)
	if !capped {
		g.tokens, g.filled = 1, now
		return 0
	}
	if passed := now.Sub(g.filled); passed > 0 {
		g.tokens = min(max(1, rate*tokensAhead.Seconds()), g.tokens+rate*passed.Seconds())
		g.filled = now
	}
	if g.tokens < 1 {
		return time.Duration((1-g.tokens)/rate*float64(time.Second)) + 1
	}
	g.tokens--
	return 0
}

// Debt is what one replica is owed, and what becomes of it.
type Debt struct {
	Replica string
	Owed    int64 // bytes, by this process
	Others  int64 // bytes, by the other daemons of the fleet
	Absent  bool
	Since   time.Time // absent, or back again
	// RefusedIn is how long coordinators go on storing hints for the replica if it stays away; 0 if they have
	// stopped, or if it is not absent.
	RefusedIn time.Duration
	// HealedIn is how long giving back takes from the moment the replica is back.
	HealedIn time.Duration
	// RepairFrom and RepairUntil are the first and the last time a mutation was sent that no hint was stored for; zero
	// if there is none. The replica's tokens need a repair for that span.
	RepairFrom, RepairUntil time.Time
}

// Debts tells of every replica that is absent, is owed something or needs a repair, by name. It allocates.
func (g *Governor) Debts(now time.Time) []Debt {
	var debts []Debt
	for _, replica := range slices.Sorted(maps.Keys(g.replicas)) {
		d := g.replicas[replica]
		g.replay(d, now)
		if !d.absent && d.owed == 0 && d.refused.IsZero() {
			continue
		}
		one := Debt{
			Replica: replica, Owed: int64(d.owed), Others: int64(d.others), Absent: d.absent, Since: d.since,
			HealedIn:   time.Duration((d.owed + d.others) / float64(g.config.Replay) * float64(time.Second)),
			RepairFrom: d.refused, RepairUntil: d.lastSent,
		}
		if d.absent {
			one.RefusedIn = max(0, g.config.HintWindow-now.Sub(d.since))
		}
		debts = append(debts, one)
	}
	return debts
}
