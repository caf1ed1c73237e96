package cassandra

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Standing is how the view stands to its stream, as whoever reads the stream has it.
type Standing struct {
	Shards     int           `json:"shards"`          // that this process follows
	Worst      string        `json:"worst,omitempty"` // the shard that is furthest behind
	Behind     time.Duration `json:"-"`               // age of its oldest event without outcome; 0 when caught up
	Gaining    float64       `json:"gaining"`         // seconds of that made good in a second; less than 0 if it grows
	Known      bool          `json:"gaining_known"`   // Gaining was watched for long enough
	Paused     int           `json:"paused"`          // of the shards, by operators
	PausedBy   string        `json:"paused_by,omitempty"`
	PausedFor  string        `json:"paused_for,omitempty"` // the reason they gave
	Tripped    int           `json:"tripped"`              // of the shards, that are not read since too many of their events are poison
	TrippedWhy string        `json:"tripped_why,omitempty"`
	Capped     int           `json:"capped,omitzero"` // the records a second that operators allow, while that holds reading back; otherwise 0
	Throttled  bool          `json:"throttled"`       // Kinesis refused to be read just now
	Projecting float64       `json:"projecting"`      // part of the time that the busiest shard spends in the view's function
}

// What counts as how much. A limit and a latency waver by themselves, by a third or so: what is called slow differs by more.
const (
	fellTo      = 0.5 // of its highest, a limit that fell
	fellLeast   = 4   // permits
	allFellTo   = 0.4 // the same, of all hosts together
	alikeWithin = 2   // times as far as its peers' limits fell
	slowerBy    = 2.5 // times its peers' latency, or its own idle latency of before
	slowerLeast = 3 * time.Millisecond
	fewerBy     = 3               // times as low as its peers' limits
	justNow     = 5 * time.Second // for what passes: refusals, warnings
	thisMinute  = time.Minute     // for a cut of a limit that is low
	fewForHost  = 3               // requests
	inUse       = 0.8             // of the permits
	hotPart     = 0.8             // of what waits
	hotLeast    = 100             // requests, that a queue of that is worth a word
	lateAfter   = 5 * time.Second // for a view that has nothing waiting
	busyPart    = 0.5             // of the time, that the view's function takes
	costOfOne   = 14              // tokens, of a repetition
)

// Bottleneck says in one sentence, without a full stop, what the view waits for at this moment: it names the zone (the
// rack) if all hosts of one are affected, and hosts otherwise. It depends on its arguments alone.
func Bottleneck(p Pressure, s Standing) string {
	return p.cause(s) + "; " + s.String()
}

// cause names what holds the writes back, the narrowest place first.
func (p Pressure) cause(s Standing) string {
	if len(p.Hosts) == 0 {
		return "no host of Cassandra is known"
	}
	worst := p.worst()
	all := len(worst.hosts) == len(p.Hosts)
	few := fewForHost * len(p.Hosts) // single writes that look whether a host is back, and what meets all permits in use by chance
	waits := p.Waiting+p.BackOff > few
	held := s.heldBack()
	switch {
	case worst.trouble >= silent && all:
		return "Cassandra does not answer: " + p.describe(worst)
	case p.Capped && waits:
		return p.capHolds()
	case p.Waiting <= few && p.BackOff > few && p.Tokens < costOfOne:
		why := "of what fails, no more is repeated than succeeds can pay for"
		if worst.trouble != none {
			why = p.describe(worst)
		}
		return fmt.Sprintf("the budget for repetitions is empty: %s wait for it (%s)", several(p.BackOff, "failed request"), why)
	case worst.trouble >= refusing && !waits && s.Behind >= lateAfter:
		return p.describe(worst) + ", but hardly anything waits for it: " + cmp.Or(held, p.reading(s))
	case worst.trouble >= refusing:
		return p.describe(worst) + p.queued()
	case !waits && held != "" && s.Behind >= lateAfter:
		return held
	case worst.trouble == slow && all && waits:
		return "Cassandra as a whole is the bottleneck: " + p.describe(worst) + p.queued()
	case worst.trouble != none && (waits || worst.trouble != slow || s.Behind >= lateAfter):
		return p.describe(worst) + p.queued()
	case waits:
		return p.saturated(s)
	case held != "":
		return held
	case s.Behind >= lateAfter:
		return p.reading(s)
	case worst.trouble == slow:
		return p.describe(worst) + p.queued()
	case p.InFlight+p.Waiting+p.BackOff == 0:
		return "nothing is slow: nothing waits to be written"
	}
	return "nothing is slow: every write finds a permit"
}

// describe says what is wrong with the affected hosts.
func (p Pressure) describe(a affected) string {
	who, plural := p.name(a.hosts)
	verb := func(one, many string) string {
		if plural {
			return who + " " + many
		}
		return who + " " + one
	}
	switch a.trouble {
	case down:
		return verb("is down", "are down") + p.since(a.hosts)
	case disconnected:
		return verb("breaks connections", "break connections") + p.since(a.hosts)
	case silent:
		return verb("acknowledges nothing", "acknowledge nothing") + p.since(a.hosts)
	case cutOff:
		return verb("is cut off from its replicas, which others reach,", "are cut off from their replicas, which others reach,") + p.since(a.hosts)
	case refusing:
		return verb("refuses work because of its load", "refuse work because of their load") + limitsOf(a.hosts, plural)
	case warning:
		return verb("warns of back-pressure", "warn of back-pressure") + limitsOf(a.hosts, plural)
	case slow:
		return verb("is slow", "are slow") + p.slowness(a.hosts, plural)
	case none:
	}
	return who
}

// slowness says by what the hosts are seen to be slow.
func (p Pressure) slowness(hosts []HostPressure, plural bool) string {
	var out strings.Builder
	out.WriteString(limitsOf(hosts, plural))
	var others []*HostPressure
	for i := range p.Hosts {
		if o := &p.Hosts[i]; !slices.ContainsFunc(hosts, func(h HostPressure) bool { return h.ID == o.ID }) {
			others = append(others, o)
		}
	}
	mine := make([]*HostPressure, len(hosts))
	for i := range hosts {
		mine[i] = &hosts[i]
	}
	takes, theirs := typicalOf(mine, p.At), typicalOf(others, p.At)
	answers, takesMany := "it answers", "it takes"
	if plural {
		answers, takesMany = "they answer", "each takes"
	}
	word := ", "
	if out.Len() == 0 {
		word = ": "
	}
	switch {
	case theirs > 0 && float64(takes) > 1.5*float64(theirs):
		fmt.Fprintf(&out, "%s%s in %s where the others take %s", word, answers, short(takes), short(theirs))
	case out.Len() == 0 && theirs > 0:
		limits := 0
		for _, o := range others {
			limits += o.Usual
		}
		own := 0
		for _, h := range hosts {
			own += h.Usual
		}
		fmt.Fprintf(&out, ": %s %d requests at once where another takes %d", takesMany, own/len(hosts), limits/len(others))
	case theirs == 0:
		fmt.Fprintf(&out, "%s%s for a write", word, short(takes))
	}
	return out.String()
}

// limitsOf says how far the hosts' limits fell, if they did.
func limitsOf(hosts []HostPressure, plural bool) string {
	from, to := 0, 0
	for _, h := range hosts {
		from, to = from+h.Highest, to+h.Usual
	}
	if from-to < fellLeast || float64(to) > 0.7*float64(from) {
		return ""
	}
	whose := "its limit"
	switch {
	case plural:
		whose = "their limits"
	case len(hosts) > 1: // of a rack
		whose = "its limits"
	}
	return fmt.Sprintf(": %s fell from %d to %d", whose, from, to)
}

// since says since when the hosts are as they are: the earliest of them.
func (p Pressure) since(hosts []HostPressure) string {
	var began time.Time
	for _, h := range hosts {
		at := h.Since
		if at.IsZero() || !h.Down.IsZero() && h.Down.Before(at) {
			at = h.Down
		}
		if !at.IsZero() && (began.IsZero() || at.Before(began)) {
			began = at
		}
	}
	if began.IsZero() {
		return ""
	}
	return fmt.Sprintf(" since %s (%s)", began.UTC().Format("15:04:05"), long(p.At.Sub(began)))
}

// name names hosts: as all, by their racks if these are affected whole, or each, three at most.
func (p Pressure) name(hosts []HostPressure) (who string, plural bool) {
	switch {
	case len(hosts) == len(p.Hosts) && len(hosts) > 1:
		return fmt.Sprintf("all %d hosts", len(hosts)), true
	case len(hosts) == 0:
		return "nobody", false
	}
	hit, there := map[string]int{}, map[string]int{}
	for _, h := range p.Hosts {
		there[h.Rack]++
	}
	for _, h := range hosts {
		hit[h.Rack]++
	}
	whole := len(there) > 1
	for rack, n := range hit {
		whole = whole && rack != "" && n == there[rack]
	}
	var names []string
	for _, h := range hosts {
		switch {
		case !whole:
			names = append(names, h.Address)
		case there[h.Rack] == 1:
			names = append(names, h.Rack+" ("+h.Address+")")
		case !slices.Contains(names, h.Rack):
			names = append(names, h.Rack)
		}
	}
	if more := len(names) - 3; more > 0 {
		names = append(names[:3], several(more, "other"))
	}
	if len(names) == 1 {
		return names[0], false
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1], true
}

// queued says what waits behind the trouble.
func (p Pressure) queued() string {
	switch {
	case p.Waiting > 0:
		return ", and " + waiting(p.Waiting)
	case p.BackOff > 0:
		return ", and " + waiting(p.BackOff) + " to be repeated"
	}
	return ", and nothing waits for it"
}

// capHolds names the replica that is owed most.
func (p Pressure) capHolds() string {
	var most *DebtPressure
	for i := range p.Debts {
		if d := &p.Debts[i]; d.Absent && (most == nil || d.Owed > most.Owed) {
			most = d
		}
	}
	text := fmt.Sprintf("the cap on debt holds writes to %.0f requests a second", math.Round(p.Cap))
	if most == nil {
		return text
	}
	who := cmp.Or(most.Address, most.ID)
	if i := slices.IndexFunc(p.Hosts, func(h HostPressure) bool { return h.ID == most.ID }); i >= 0 {
		who, _ = p.name(p.Hosts[i : i+1])
	}
	text += fmt.Sprintf(": %s is absent since %s and is owed %s", who, most.Since.UTC().Format("15:04:05"), inBytes(most.Owed))
	switch {
	case most.RefusedIn > 0:
		text += fmt.Sprintf(", hints are refused in %s", long(time.Duration(most.RefusedIn)))
	case !most.From.IsZero():
		text += ", hints are refused, a repair is needed"
	}
	return text
}

// saturated says what waits for hosts none of which stands out: a hot shard, hot replicas, or the cluster.
func (p Pressure) saturated(s Standing) string {
	if p.Busiest.Waiting >= hotLeast && float64(p.Busiest.Waiting) >= hotPart*float64(p.Waiting) && len(p.Busiest.Hosts) < len(p.Hosts) {
		free := 0
		for _, h := range p.Hosts {
			if !slices.Contains(p.Busiest.Hosts, h.Address) {
				free += h.Limit - h.InFlight
			}
		}
		if free > 0 {
			return fmt.Sprintf("one replica set is hot: %d of the %d requests that wait are for %s, while other hosts have %s free",
				p.Busiest.Waiting, p.Waiting, strings.Join(p.Busiest.Hosts, ", "), several(free, "permit"))
		}
	}
	if first := p.longest(); first.Waiting >= hotLeast && max(p.Sources, s.Shards) > 1 && float64(first.Waiting) >= hotPart*float64(p.Waiting) {
		return fmt.Sprintf("shard %s is hot: %d of the %d requests that wait are its own", first.Name, first.Waiting, p.Waiting)
	}
	limit, used := 0, 0
	for _, h := range p.Hosts {
		limit, used = limit+h.Usual, used+h.InFlight
	}
	hosts := fmt.Sprintf("none of its %d hosts stands out", len(p.Hosts))
	if len(p.Hosts) == 1 {
		hosts = "its one host is " + p.Hosts[0].Address
	}
	if float64(used) < inUse*float64(limit) {
		return fmt.Sprintf("Cassandra keeps up: %s for a moment, %d of %d permits are in use", waiting(p.Waiting), used, limit)
	}
	return fmt.Sprintf("Cassandra as a whole is the bottleneck: it takes %s at once, and %s (%s)",
		several(limit, "request"), waiting(p.Waiting), hosts)
}

func (p Pressure) longest() SourcePressure {
	if len(p.Longest) == 0 {
		return SourcePressure{}
	}
	return p.Longest[0]
}

// reading says what keeps a view behind for which nothing waits.
func (p Pressure) reading(s Standing) string {
	switch {
	case s.Throttled:
		return "the stream is the bottleneck: Kinesis refuses to be read faster, and no write waits"
	case s.Projecting >= busyPart:
		return fmt.Sprintf("projecting is the bottleneck: the view's function takes %.0f%% of a shard's time, and no write waits", 100*s.Projecting)
	}
	return "the stream is the bottleneck: no write waits, permits are free, and reading does not bring more"
}

// heldBack says what keeps shards from being read, breakers or operators; empty if nothing does.
func (s Standing) heldBack() string {
	switch {
	case s.Tripped > 0:
		return fmt.Sprintf("the breaker of %d of %d shards has tripped (%s)", s.Tripped, s.Shards, s.TrippedWhy)
	case s.Paused > 0:
		text := fmt.Sprintf("operators hold %d of %d shards paused", s.Paused, s.Shards)
		if s.PausedBy != "" {
			text += fmt.Sprintf(" (%s: %s)", s.PausedBy, s.PausedFor)
		}
		return text
	case s.Capped > 0:
		return fmt.Sprintf("operators hold reading to %s (pressure.max_records_per_second)", several(s.Capped, "record")+" a second")
	}
	return ""
}

// String says how far behind the view is, and whether that becomes less.
func (s Standing) String() string {
	switch {
	case s.Shards == 0:
		return "this process follows no shard"
	case s.Behind < lateAfter:
		return "the view is current"
	}
	text := "the view is " + long(s.Behind) + " behind"
	switch {
	case !s.Known:
		return text
	case s.Gaining > 0.02:
		left := time.Duration(s.Behind.Seconds() / s.Gaining * float64(time.Second))
		return text + " and catching up, about " + long(left) + " left"
	case s.Gaining < -0.02:
		return text + " and falls further behind"
	}
	return text + " and stays so"
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// waiting says that so many requests wait.
func waiting(n int) string {
	if n == 1 {
		return "1 request waits"
	}
	return fmt.Sprintf("%d requests wait", n)
}

func inBytes(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.0f GiB", float64(n)/(1<<30))
	case n >= 10<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
}

// short is a latency.
func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
}

// long is a span of time as people say it.
func long(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 90*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}
