package checkpoint

import "time"

// Terms are the times of a lease. All workers of a fleet have the same.
type Terms struct {
	// Failover is how long a row must be seen unchanged before another worker takes it; at least a second.
	Failover time.Duration
	// Margin is how much earlier than that the holder itself stops, for clocks that run at different rates and for
	// writes on their way when it stops; a tenth of Failover by default.
	Margin time.Duration
}

// TermsOf returns the terms for a failover time.
func TermsOf(failover time.Duration) Terms { return Terms{Failover: failover, Margin: failover / 10} }

// Trust is how long a lease is believed in, counted from the start of the last successful write.
func (t Terms) Trust() time.Duration { return t.Failover - t.Margin }

// Patience is how long a row is watched when its timeout says nothing: that of a foreign owner while the own clock's
// error is unknown, or one so far in the future that it must be wrong.
func (t Terms) Patience() time.Duration { return 3 * t.Failover }

// Clock is what is known about the local wall clock.
type Clock struct {
	Known bool
	Ahead time.Duration // how far the service's clock is ahead of the local one; negative if behind
}

// clockError bounds the error of a known offset: HTTP dates have whole seconds.
const clockError = time.Second

// Sighting is what a worker saw of a row that it does not hold. The zero value has seen nothing. It is owned by one
// goroutine. Every now is a reading of the local clock, wall and monotonic, as time.Now returns it.
type Sighting struct {
	row   Row
	known bool
	since time.Time
}

// See notes the row as it was read, where now is when the answer came. It reports whether the row changed.
func (s *Sighting) See(row Row, now time.Time) bool {
	if s.known && alive(s.row) == alive(row) {
		s.row = row
		return false
	}
	*s = Sighting{row: row, known: true, since: now}
	return true
}

// alive blanks what others than the owner write, so that only signs of the owner's life count as a change.
func alive(r Row) Row {
	r.Claim, r.Parent = "", ""
	r.Empty &^= ClaimAttribute | ParentAttribute
	r.Wrong &^= ClaimAttribute | ParentAttribute
	return r
}

// Forget notes that there is no row.
func (s *Sighting) Forget() { *s = Sighting{} }

// Row returns the row as last seen; ok is false if there was none.
func (s *Sighting) Row() (row Row, ok bool) { return s.row, s.known }

// Since returns when the row was first seen as it is.
func (s *Sighting) Since() time.Time { return s.since }

// RipeAt returns from when on the row may be taken, as far as can be said at now. It must not be called before a row
// was seen.
//
//   - A free row at once.
//   - A row of ours (see [Stamped]), and one whose timeout cannot be read, once it stayed unchanged for the failover
//     time.
//   - A foreign row once it stayed unchanged for the failover time and its timeout has passed by the service's clock;
//     if our clock's offset is unknown, or the timeout is further away than Patience, once it stayed unchanged for
//     Patience. So no clock, however wrong, keeps a shard from being taken for ever.
func (s *Sighting) RipeAt(now time.Time, t Terms, c Clock) time.Time {
	if s.row.Free() {
		return s.since
	}
	ripe := s.since.Add(t.Failover)
	if Stamped(s.row.Owner, s.row.Timeout) {
		return ripe
	}
	end, err := time.Parse(time.RFC3339Nano, s.row.Timeout)
	if err != nil {
		return ripe
	}
	patient := s.since.Add(t.Patience())
	if !c.Known {
		return patient
	}
	left := end.Add(-c.Ahead).Add(clockError).Sub(now.Round(0)) // on the wall clock: now without its monotonic reading
	over := now.Add(left)
	switch {
	case over.After(patient):
		return patient
	case over.After(ripe):
		return over
	}
	return ripe
}
