package sim

import (
	"bytes"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/checkpoint"
	"penstock/projector"
	"penstock/sink/deadletter"
	"penstock/view"
	"penstock/view/viewtest"
)

// ledger is what the world knows of every record and shard, by itself. It is guarded by world.mu.
type ledger struct {
	kinds   map[string]kind // by data
	facts   map[position]*fact
	shards  map[string]*shard
	rows    map[string][]view.Cell
	want    map[string][]view.Cell
	letters map[string]string // keys by id
}

// position is where a record stands.
type position struct {
	shard    string
	sequence checkpoint.Sequence
	sub      int64
}

// kind is what is the matter with a record.
type kind uint8

const (
	sound   kind = iota
	garbled      // no JSON
	refused      // the writer refuses it
	panics       // the view panics
)

var codes = map[kind]view.Code{garbled: view.CodeBadJSON, refused: view.CodeRejected, panics: view.CodePanic}

// fact is one record and what became of it.
type fact struct {
	kind     kind
	data     []byte
	applied  bool
	parked   bool
	letter   bool // has one, whatever operators did since
	readings int
}

func (f *fact) settled() bool { return f.applied || f.parked }

// shard is what is known of a shard.
type shard struct {
	id       string
	parents  []string
	from, to *big.Int // hash keys
	start    checkpoint.Sequence
	closed   bool
	order    []entry   // what was put into it
	checked  int       // how many of these are behind its checkpoint
	newest   int       // how many were read
	began    bool      // a record of it was read
	finished bool      // at some time
	sought   time.Time // by operators, last
}

// entry is one record of the stream, which may be several of producers.
type entry struct {
	sequence checkpoint.Sequence
	members  int
}

func newLedger() *ledger {
	return &ledger{kinds: map[string]kind{}, facts: map[position]*fact{}, shards: map[string]*shard{},
		rows: map[string][]view.Cell{}, want: map[string][]view.Cell{}, letters: map[string]string{}}
}

func (l *ledger) shard(id string) *shard {
	s := l.shards[id]
	if s == nil {
		s = &shard{id: id}
		l.shards[id] = s
	}
	return s
}

func (l *ledger) shardIDs() []string { return slices.Sorted(maps.Keys(l.shards)) }

// last returns the position of the last record; "" if there is none.
func (s *shard) last() checkpoint.Sequence {
	if len(s.order) == 0 {
		return ""
	}
	return s.order[len(s.order)-1].sequence
}

// heldAgainst returns what is known of a record, which must have this data. The caller holds mu.
func (w *world) heldAgainst(at position, data []byte) *fact {
	f := w.ledger.facts[at]
	if f == nil {
		f = &fact{kind: w.ledger.kinds[string(data)], data: data}
		w.ledger.facts[at] = f
	}
	if !bytes.Equal(f.data, data) {
		w.breachLocked("record %s/%d of %s has the data of another: %.99q, not %.99q", at.sequence, at.sub, at.shard, data, f.data)
	}
	return f
}

// open returns an entry's first member without an outcome; ok is false if there is none.
func (l *ledger) open(shard string, e entry) (at position, ok bool) {
	for i := range e.members {
		at = position{shard, e.sequence, int64(i)}
		if f := l.facts[at]; f == nil || !f.settled() {
			return at, true
		}
	}
	return position{}, false
}

// changed checks a change of the lease table against what is known. It is called under the table's lock.
func (w *world) changed(caller string, c checkpoint.Change, before, after checkpoint.Row) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.ledger.shard(c.Shard)
	switch c.Op {
	case checkpoint.Seek, checkpoint.Reopen:
		w.ledger.forget(s, c.Commit)
		return
	case checkpoint.Acquire:
		w.happened["leases taken"]++
		if !before.Free() {
			w.happened["leases taken over"]++
		}
		if !before.Free() && before.Pair() != c.Seen.Pair() {
			w.breachLocked("%s took %s from %v though it had seen %v", caller, c.Shard, before.Pair(), c.Seen.Pair())
		}
		if before.Position() != c.Seen.Position() {
			w.breachLocked("%s took %s at %q and goes on from %q", caller, c.Shard, before.Checkpoint, c.Seen.Checkpoint)
		}
		w.checkParents(s, caller+" took it")
	case checkpoint.Renew, checkpoint.Release, checkpoint.Finish:
		if before.Pair() != c.Held || before.Owner != caller {
			w.breachLocked("%s wrote %s of %s with %v over %v", caller, c.Op, c.Shard, c.Held, before.Pair())
		}
	}
	if after.Position().Compare(before.Position()) < 0 {
		w.breachLocked("%s by %s moved the checkpoint of %s back from %q to %q", c.Op, caller, c.Shard, before.Checkpoint, after.Checkpoint)
	}
	if c.Op == checkpoint.Finish {
		if !s.closed {
			w.breachLocked("%s finished %s, which is open", caller, c.Shard)
		}
		s.finished = true
		w.happened["shards finished"]++
		c.Commit = checkpoint.ShardEnd
	}
	if c.Commit != "" {
		w.happened["commits"]++
	}
	for ; s.checked < len(s.order) && s.order[s.checked].sequence.Compare(c.Commit) <= 0; s.checked++ {
		if at, open := w.ledger.open(s.id, s.order[s.checked]); open {
			w.breachLocked("%s by %s committed %s of %s beyond record %s/%d, which has no outcome", c.Op, caller, c.Commit, c.Shard, at.sequence, at.sub)
		}
	}
}

// checkParents breaks the rule that a shard comes after both its parents. Once they were finished operators may open
// them again.
func (w *world) checkParents(s *shard, what string) {
	for _, id := range s.parents {
		if p := w.ledger.shards[id]; p != nil && !p.finished {
			w.breachLocked("%s, and %s, which %s follows on, is not finished", what, id, s.id)
		}
	}
}

// forget takes the outcomes of what stands behind a position away: an operator wants it settled once more.
func (l *ledger) forget(s *shard, after checkpoint.Sequence) {
	s.sought, s.checked = time.Now(), 0
	for _, e := range s.order {
		if e.sequence.Compare(after) <= 0 {
			s.checked++
			continue
		}
		for i := range e.members {
			if f := l.facts[position{s.id, e.sequence, int64(i)}]; f != nil {
				f.applied, f.parked = false, false
			}
		}
	}
}

// read notes that a record is projected.
func (w *world) read(at position, data []byte) *fact {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.ledger.shard(at.shard)
	if !s.began {
		s.began = true
		w.checkParents(s, "a record of "+s.id+" was read")
	}
	for s.newest < len(s.order) && s.order[s.newest].sequence.Compare(at.sequence) <= 0 {
		s.newest++
	}
	f := w.heldAgainst(at, data)
	f.readings++
	return f
}

// apply merges mutations into the rows.
func (w *world) apply(at position, mutations []view.Mutation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range mutations {
		if w.plant == lastWriteWins {
			w.ledger.rows[m.RowKey()] = override(w.ledger.rows[m.RowKey()], m.Cells)
			continue
		}
		w.ledger.rows[m.RowKey()] = view.Merge(w.ledger.rows[m.RowKey()], m.Cells)
	}
	w.ledger.facts[at].applied = true
}

// keep takes a letter and checks that it is the one it should be.
func (w *world) keep(l deadletter.Letter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := position{l.Source.Shard, checkpoint.Sequence(l.Source.Sequence), l.Source.SubSequence}
	f := w.heldAgainst(at, l.Payload)
	if f.kind == sound || l.Failure.Code != codes[f.kind] {
		w.breachLocked("record %s/%d of %s, of kind %d, was parked as %s", at.sequence, at.sub, at.shard, f.kind, l.Failure.Code)
	}
	if other, ok := w.ledger.letters[l.ID()]; ok && other != l.Key() {
		w.breachLocked("one record has two letters, %s and %s", other, l.Key())
	}
	w.ledger.letters[l.ID()] = l.Key()
	f.parked, f.letter = true, true
}

// expect takes the events that were put into account.
func (l *ledger) expect(data []byte) error {
	if l.kinds[string(data)] != sound {
		return nil
	}
	result, err := viewtest.Stock{}.Project(view.Record{Data: data})
	if err != nil {
		return fmt.Errorf("project an event: %w", err)
	}
	for _, m := range result.Mutations {
		l.want[m.RowKey()] = view.Merge(l.want[m.RowKey()], m.Cells)
	}
	return nil
}

// missing names some records without an outcome; "" if there are none.
func (l *ledger) missing() string {
	var out []string
	for at, f := range l.facts {
		if !f.settled() {
			out = append(out, fmt.Sprintf("%s/%s/%d of kind %d, read %d times", at.shard, at.sequence, at.sub, f.kind, f.readings))
		}
	}
	if len(out) == 0 {
		return ""
	}
	slices.Sort(out)
	return fmt.Sprintf("%d records have no outcome: %s", len(out), strings.Join(out[:min(3, len(out))], "; "))
}

// compare holds rows and letters against the events.
func (l *ledger) compare() (broken []string) {
	if d := cmp.Diff(l.want, l.rows, cmp.Comparer(func(a, b view.Value) bool { return a == b })); d != "" {
		broken = append(broken, "the rows are not the fold of the events (-want +got):\n"+d[:min(len(d), 2000)])
	}
	poison := 0
	for at, f := range l.facts {
		if f.kind == sound {
			continue
		}
		poison++
		if !f.letter {
			broken = append(broken, fmt.Sprintf("poison record %s/%d of %s has no letter", at.sequence, at.sub, at.shard))
		}
	}
	if len(l.letters) != poison {
		broken = append(broken, fmt.Sprintf("%d letters for %d poison records", len(l.letters), poison))
	}
	return broken
}

// sum counts what became of the records.
func (l *ledger) sum(happened map[string]int) {
	for at, f := range l.facts {
		happened["records"]++
		happened["records read again"] += max(0, f.readings-1)
		if f.kind != sound {
			happened["records parked"]++
		}
		if at.sub == 1 {
			happened["aggregates"]++
		}
	}
}

var _ projector.Writer = writer{}
