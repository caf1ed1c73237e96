package cassandra

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/sink/adaptive"
)

// ReplicaDebt is what one replica is owed, and why it counts as absent.
type ReplicaDebt struct {
	adaptive.Debt
	Address string
	Rack    string
	Reasons []Reason // why it is absent; none if it is back
	Repair  *Repair  // what no hint was stored for; nil if nothing
}

// debts is what the gate knows of replicas that were absent at some time. The gate's lock guards it.
type debts struct {
	config   adaptive.GovernorConfig // as it was configured
	known    hintSettings
	replicas map[string]*absence // by host id
	missed   map[string]map[tokenRange]bool
	noted    map[missedSet]bool // what of these was noted for the sets of this ring
}

// absence is a replica that is absent or was.
type absence struct {
	address, rack string
	reasons       []Reason
}

// hintSettings is what the servers say of their hints; zero where nobody has said it.
type hintSettings struct {
	window time.Duration // how long they store hints for an absent node
	replay int64         // bytes a second that all of them together give back
}

// complete puts what the servers say into a configuration that leaves it open.
func (s hintSettings) complete(c adaptive.GovernorConfig) adaptive.GovernorConfig {
	c.HintWindow = cmp.Or(c.HintWindow, s.window)
	c.Replay = cmp.Or(c.Replay, s.replay)
	return c
}

// learn takes over what the servers say of their hints.
func (g *gate) learn(s hintSettings) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.governor.SetConfig(s.complete(g.debts.config)); err != nil {
		return err
	}
	g.debts.known = s
	return nil
}

func (g *gate) hintSettings() hintSettings {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.debts.known
}

// hintWindow is how long hints are stored, as far as is known.
func (g *gate) hintWindow() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.governor.Config().HintWindow
}

// owe notes the hints that an attempt leaves for its replicas. The host that coordinated it leaves none for itself: what
// it lost was lost before it was stored anywhere, and what is sent again counts there. A coordinator that refuses a
// write, because too few replicas are up or too much is on its way, has stored nothing. The caller holds the lock.
func (g *gate) owe(f flight, set int32, o adaptive.Outcome, now time.Time) {
	if f.hint == 0 || o == adaptive.Unavailable || o == adaptive.Overloaded {
		return
	}
	for _, replica := range g.ring.sets[set] {
		if replica != f.host && g.governor.Attempt(replica.id, int64(f.hint), now) {
			g.miss(replica.id, set)
		}
	}
}

// miss notes that what was written to a replica set is lost for a replica until it is repaired.
func (g *gate) miss(replica string, set int32) {
	d := &g.debts
	if d.missed == nil {
		d.missed = map[string]map[tokenRange]bool{}
	}
	if d.noted == nil {
		d.noted = map[missedSet]bool{}
	}
	ranges := d.missed[replica]
	if ranges == nil {
		ranges = map[tokenRange]bool{}
		d.missed[replica] = ranges
	} else if d.noted[missedSet{replica, set}] {
		return
	}
	d.noted[missedSet{replica, set}] = true
	for i, p := range g.ring.points {
		if p.set == set {
			ranges[tokenRange{g.ring.points[(i+len(g.ring.points)-1)%len(g.ring.points)].token, p.token}] = true
		}
	}
}

// missedSet is a replica set of this ring whose ranges are noted for a replica.
type missedSet struct {
	replica string
	set     int32
}

// sighting is how a host looks at one moment to those who want to write.
type sighting struct {
	*host
	up          bool
	quarantined bool      // and something is to be sent, or nobody would find out that it is back
	acked       time.Time // when it last coordinated a write; the zero time if that is not known
}

// look returns how the hosts of the ring look.
func (g *gate) look(r *ring, now time.Time) []sighting {
	g.mu.Lock()
	defer g.mu.Unlock()
	acked := map[*host]int64{}
	for i := range g.lanes {
		for _, a := range g.lanes[i].acked {
			acked[a.host] = max(acked[a.host], a.at)
		}
	}
	seen := make([]sighting, len(r.hosts))
	for i, h := range r.hosts {
		l := g.limiters[h]
		seen[i] = sighting{host: h, up: h.up.Load(), quarantined: g.pulsing && l != nil && l.State() == adaptive.Quarantined}
		if last := acked[h]; last > 0 {
			seen[i].acked = g.origin.Add(time.Duration(last))
		}
	}
	return seen
}

// absent notes that a replica has been absent since a time, or that it is so for other reasons.
func (g *gate) absent(h *host, reasons []Reason, since, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.debts.replicas == nil {
		g.debts.replicas = map[string]*absence{}
	}
	g.debts.replicas[h.id] = &absence{h.address, h.rack, reasons}
	g.governor.AbsentSince(h.id, since, now)
}

// back notes that a replica has been reached again since a time.
func (g *gate) back(id string, since, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.governor.BackSince(id, since, now)
	if a := g.debts.replicas[id]; a != nil {
		a.reasons = nil
	}
}

// hinted takes what the servers say of the hints for a replica: the time of the oldest, and their bytes, or -1 where they do not
// say that. They list a file only once it is closed, which happens when it is full or the replica is back; so while it is away
// their sum counts only if it is more than the writer's.
func (g *gate) hinted(id string, oldest time.Time, bytes int64, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.governor.Debts(now) {
		if d.Replica != id {
			continue
		}
		if d.Absent && !oldest.IsZero() && oldest.Before(d.Since) {
			g.governor.HintedSince(id, oldest)
		}
		if own := bytes - d.Others; bytes >= 0 && (!d.Absent || own > d.Owed) {
			g.governor.Measured(id, own, now)
		}
	}
}

// others takes what the other daemons owe, by host id.
func (g *gate) others(owed map[string]int64, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.governor.Others(owed, now)
}

// repaired forgets what a replica needed a repair for.
func (g *gate) repaired(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.governor.Repaired(id)
	delete(g.debts.missed, id)
	clear(g.debts.noted)
}

// owed returns what every replica is owed, and the rate that the writer is held to, in mutations a second.
func (g *gate) owed(now time.Time) (all []ReplicaDebt, rate float64, capped bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.governor.Debts(now) {
		one := ReplicaDebt{Debt: d}
		if a := g.debts.replicas[d.Replica]; a != nil {
			one.Address, one.Rack, one.Reasons = a.address, a.rack, a.reasons
		}
		if !d.RepairFrom.IsZero() {
			missed := g.debts.missed[d.Replica]
			one.Repair = &Repair{
				Replica: d.Replica, Address: one.Address, From: d.RepairFrom, Until: d.RepairUntil,
				Ranges: sortedRanges(missed), all: len(missed) > maxRepairRanges || len(missed) == g.ring.rangesOf(d.Replica),
			}
		}
		all = append(all, one)
	}
	rate, capped = g.governor.Cap(now)
	return all, rate, capped
}

// Debts returns what every replica is owed that is absent, is owed something or needs a repair.
func (w *Writer) Debts(now time.Time) []ReplicaDebt {
	all, _, _ := w.gate.owed(now)
	return all
}

// tokenRange is the tokens after one up to another and with it; round the end of the ring where the first is not less.
type tokenRange struct{ after, through int64 }

func (r tokenRange) String() string {
	return strconv.FormatInt(r.after, 10) + ":" + strconv.FormatInt(r.through, 10)
}

func sortedRanges(ranges map[tokenRange]bool) []tokenRange {
	return slices.SortedFunc(maps.Keys(ranges), func(a, b tokenRange) int { return cmp.Compare(a.through, b.through) })
}

// rangesOf counts the ranges that a host has a replica of.
func (r *ring) rangesOf(id string) int {
	n := 0
	for _, p := range r.points {
		if slices.ContainsFunc(r.sets[p.set], func(h *host) bool { return h.id == id }) {
			n++
		}
	}
	return n
}

// maxRepairRanges bounds the ranges that a repair is told for one by one: with more, all of the replica's are.
const maxRepairRanges = 64

// Repair is what a replica has to be repaired for: nobody stored hints of what was written from From until Until.
type Repair struct {
	Replica string // host id
	Address string
	Worker  string // that wrote it; empty for this process
	From    time.Time
	Until   time.Time
	Ranges  []tokenRange

	all     bool
	Written []string // the lines to paste, as they were published
}

// Commands are the lines that repair the replica, to be run there. nodetool repairs a range from --start-token, without it, to
// --end-token, with it, and refuses one that is not within one of the node's own (Cassandra 5.0,
// org.apache.cassandra.service.ActiveRepairService.getNeighbors), so that ranges which meet are not made one. Where
// all of the node's ranges are meant none is named.
func (r *Repair) Commands(keyspace string, tables []string) []string {
	what := keyspace + " " + strings.Join(tables, " ")
	if r.all || len(r.Ranges) == 0 {
		return []string{"nodetool repair --full " + what}
	}
	var lines []string
	for _, one := range r.Ranges {
		if one.after >= one.through { // round the end of the ring
			lines = append(lines, repairLine(tokenRange{one.after, math.MinInt64}, what), repairLine(tokenRange{math.MinInt64, one.through}, what))
			continue
		}
		lines = append(lines, repairLine(one, what))
	}
	return lines
}

func repairLine(r tokenRange, what string) string {
	return "nodetool repair --full --start-token " + strconv.FormatInt(r.after, 10) + " --end-token " + strconv.FormatInt(r.through, 10) + " " + what
}
