package cassandra

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// StateTable is where the daemons of a fleet tell each other what they owe. Nothing that correctness depends on is kept
// there: without it each slows by its own debt alone.
type StateTable interface {
	Put(ctx context.Context, kind, name string, values map[string]string) error
	Delete(ctx context.Context, kind, name string) error
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}

// A daemon's debt is an item of the kind role + debtKind under the worker's id: another beat each time, and what each
// replica is owed, as JSON. What needs a repair is an item of its own for each replica and worker, of the kind role +
// repairKind, which stays until an operator says that the repair is done, and which outlives its worker.
const (
	debtKind   = "#debt"
	repairKind = "#projector_debt"

	beatAttribute     = "beat"
	replicasAttribute = "replicas"

	hostAttribute    = "replica"
	addressAttribute = "address"
	fromAttribute    = "from"  // RFC 3339, as the next
	untilAttribute   = "until" // by the worker's clock
	rangesAttribute  = "ranges"
	runAttribute     = "run" // lines for the shell of that node

	shareEvery = 2 * time.Second
	shareGood  = 30 * time.Second // how long what another daemon tells holds without being told again
	// buryAfter is how long the item of a silent daemon stays.
	buryAfter = 10 * time.Minute
)

// debtNote is what one replica is owed by one daemon, as it is kept.
type debtNote struct {
	Owed   int64     `json:"owed"`
	Since  time.Time `json:"since,omitzero"`
	Absent bool      `json:"absent,omitzero"`
}

// share is the exchange with the other daemons. The watch's goroutine owns it.
type share struct {
	busy    bool
	next    time.Time
	told    bool // an item of ours may stand in the table
	failing bool
	beat    uint64
	peers   map[string]*peer
	written map[string]string // what was last put of each repair that is told, by its item's name
}

// peer is another daemon. Its beat tells whether it lives: no two clocks are compared.
type peer struct {
	beat    string
	changed time.Time
	owed    map[string]debtNote
}

func newShare() share { return share{peers: map[string]*peer{}, written: map[string]string{}} }

// exchange tells the others of this daemon's debt, and asks what they told, when it is due: while it has any, and once more
// to take its word back.
func (w *ReplicaWatch) exchange(ctx context.Context, now time.Time) {
	w.sum(now)
	if w.config.State == nil || w.share.busy || now.Before(w.share.next) {
		return
	}
	all, _, _ := w.gate.owed(now)
	if len(all) == 0 && !w.share.told {
		return
	}
	s := &w.share
	s.busy, s.told, s.next = true, true, now.Add(shareEvery)
	s.beat++
	notes := map[string]debtNote{}
	repairs := map[string]map[string]string{}
	for _, d := range all {
		if d.Absent || d.Owed > 0 {
			notes[d.Replica] = debtNote{d.Owed, d.Since.UTC().Truncate(time.Second), d.Absent}
		}
		if d.Repair != nil {
			repairs[d.Replica] = d.Repair.attributes(w.space, w.tables)
		}
	}
	text, err := json.Marshal(notes)
	if err != nil {
		panic("cassandra: " + err.Error()) // numbers, times and bools
	}
	mine := map[string]string{beatAttribute: strconv.FormatUint(s.beat, 10) + "@" + now.UTC().Format(time.RFC3339Nano), replicasAttribute: string(text)}
	var buried []string
	for id, p := range s.peers {
		if now.Sub(p.changed) > buryAfter {
			buried = append(buried, id)
		}
	}
	written := maps.Clone(s.written)
	over := len(all) == 0
	w.call(ctx, func(ctx context.Context) func(time.Time) {
		var peers map[string]map[string]string
		var cleared []string
		var err error
		if over {
			err = w.config.State.Delete(ctx, w.config.Role+debtKind, w.config.Worker)
		} else {
			err = w.config.State.Put(ctx, w.config.Role+debtKind, w.config.Worker, mine)
		}
		for _, id := range buried {
			if err == nil {
				err = w.config.State.Delete(ctx, w.config.Role+debtKind, id)
			}
		}
		if err == nil && !over {
			peers, err = w.config.State.Query(ctx, w.config.Role+debtKind)
		}
		if err == nil && len(repairs)+len(written) > 0 {
			cleared, err = w.writeRepairs(ctx, repairs, written)
		}
		return func(now time.Time) {
			s.busy = false
			if err == nil && over {
				s.told = false
			}
			w.heardOfDebts(peers, err, now)
			s.written = written
			for _, replica := range cleared {
				w.gate.repaired(replica)
				w.config.Log.Info("repair of a replica is noted", zap.String("replica", replica))
			}
		}
	})
}

// writeRepairs puts what is new of the repairs, and finds out which an operator has cleared: their items are gone.
func (w *ReplicaWatch) writeRepairs(ctx context.Context, repairs map[string]map[string]string, written map[string]string) (cleared []string, err error) {
	there, err := w.config.State.Query(ctx, w.config.Role+repairKind)
	if err != nil {
		return nil, err
	}
	for _, replica := range slices.Sorted(maps.Keys(repairs)) {
		values := repairs[replica]
		name := replica + "/" + w.config.Worker
		last, put := written[name]
		if put && there[name] == nil {
			delete(written, name)
			cleared = append(cleared, replica)
			continue
		}
		text := fmt.Sprint(values)
		if last == text {
			continue
		}
		if err := w.config.State.Put(ctx, w.config.Role+repairKind, name, values); err != nil {
			return cleared, err
		}
		written[name] = text
	}
	return cleared, nil
}

// heardOfDebts takes what the other daemons told.
func (w *ReplicaWatch) heardOfDebts(items map[string]map[string]string, err error, now time.Time) {
	if failing := err != nil; failing != w.share.failing {
		w.share.failing = failing
		if failing {
			w.config.Log.Warn("the fleet's debt is not known: each daemon goes by its own", zap.Error(err))
		} else {
			w.config.Log.Info("the fleet's debt is known again")
		}
	}
	if err != nil {
		return
	}
	peers := w.share.peers
	maps.DeleteFunc(peers, func(id string, _ *peer) bool { return items[id] == nil })
	for id, values := range items {
		if id == w.config.Worker {
			continue
		}
		p := peers[id]
		if p == nil {
			p = &peer{}
			peers[id] = p
		}
		if p.beat != values[beatAttribute] || p.changed.IsZero() {
			p.beat, p.changed = values[beatAttribute], now
		}
		p.owed = nil
		_ = json.Unmarshal([]byte(values[replicasAttribute]), &p.owed) // a release to come may write what this one cannot read
	}
	w.sum(now)
}

// sum tells the gate what the others owe that have told so lately.
func (w *ReplicaWatch) sum(now time.Time) {
	owed := map[string]int64{}
	for _, p := range w.share.peers {
		if now.Sub(p.changed) < shareGood {
			for replica, note := range p.owed {
				owed[replica] += max(0, note.Owed)
			}
		}
	}
	w.gate.others(owed, now)
}

// farewell takes this daemon's word back. It need not succeed. What needs a repair stays.
func (w *ReplicaWatch) farewell(ctx context.Context) {
	if !w.share.told {
		return
	}
	// Without cancel: ctx has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pollCall)
	defer cancel()
	if err := w.config.State.Delete(ctx, w.config.Role+debtKind, w.config.Worker); err != nil {
		w.config.Log.Debug("own debt in the state table could not be removed", zap.Error(err))
	}
}

func (r *Repair) attributes(keyspace string, tables []string) map[string]string {
	ranges := make([]string, 0, len(r.Ranges))
	for _, one := range r.Ranges {
		ranges = append(ranges, one.String())
	}
	text := strings.Join(ranges, " ")
	if r.all {
		text = "all"
	}
	return map[string]string{
		hostAttribute: r.Replica, addressAttribute: r.Address, rangesAttribute: text,
		fromAttribute: r.From.UTC().Format(time.RFC3339), untilAttribute: r.Until.UTC().Format(time.RFC3339),
		runAttribute: strings.Join(r.Commands(keyspace, tables), "\n"),
	}
}

// ReadRepairs returns what replicas have to be repaired for, as every daemon of a role has told, by replica and worker.
func ReadRepairs(ctx context.Context, state interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}, role string) ([]Repair, error) {
	items, err := state.Query(ctx, role+repairKind)
	if err != nil {
		return nil, fmt.Errorf("read what replicas need a repair for: %w", err)
	}
	var all []Repair
	for _, name := range slices.Sorted(maps.Keys(items)) {
		values := items[name]
		replica, worker, _ := strings.Cut(name, "/")
		from, _ := time.Parse(time.RFC3339, values[fromAttribute])
		until, _ := time.Parse(time.RFC3339, values[untilAttribute])
		all = append(all, Repair{
			Replica: replica, Worker: worker, Address: values[addressAttribute], From: from, Until: until,
			all: values[rangesAttribute] == "all", Written: strings.Split(values[runAttribute], "\n"),
		})
	}
	return all, nil
}

// ForgetRepairs removes what a replica had to be repaired for, and says of how many daemons it did. They learn of it within
// seconds.
func ForgetRepairs(ctx context.Context, state interface {
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
	Delete(ctx context.Context, kind, name string) error
}, role, replica string) (int, error) {
	repairs, err := ReadRepairs(ctx, state, role)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range repairs {
		if r.Replica != replica {
			continue
		}
		if err := state.Delete(ctx, role+repairKind, r.Replica+"/"+r.Worker); err != nil {
			return n, fmt.Errorf("forget the repair of %s: %w", replica, err)
		}
		n++
	}
	return n, nil
}
