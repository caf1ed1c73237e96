package sim

import (
	"time"

	"penstock/checkpoint"
	"penstock/projector"
)

// operate is what operators do.
func (w *world) operate(s step) {
	if s.act == resume {
		w.count(s.act.String())
		w.resumeAll()
		w.lift(projector.MinLift)
		return
	}
	w.mu.Lock()
	ids := w.ledger.shardIDs()
	w.mu.Unlock()
	name := ids[s.pick%len(ids)]
	switch s.act {
	case seek:
		w.seek(name)
	case release:
		w.release(name)
		if s.pick%2 == 0 {
			w.running.Go(func() { w.insist(name) })
		}
	default:
		if s.pick%3 == 0 {
			name = projector.AllShards
		}
		w.pause(name)
	}
}

func (w *world) role() string { return projector.Role(1) }

const operator = "ann@host"

func (w *world) pause(name string) {
	p, err := projector.NewPause(operator, "simulated", time.Now(), projector.MinPause)
	if err == nil {
		err = projector.WritePause(w.ctx, w.state.items, w.role(), name, p)
	}
	if err != nil {
		w.breach("pause: %v", err)
	}
	w.tell("pause of %s", name)
	w.count(pause.String())
	w.noteState("#pause")
}

// resume ends a pause, if there is one.
func (w *world) resume(name string) {
	if err := projector.RemovePause(w.ctx, w.state.items, w.role(), name); err != nil {
		w.breach("resume: %v", err)
	}
	w.noteState("#pause")
}

func (w *world) resumeAll() {
	w.mu.Lock()
	ids := w.ledger.shardIDs()
	w.mu.Unlock()
	for _, name := range append(ids, projector.AllShards) {
		w.resume(name)
	}
}

// lift lifts the breaker of all shards.
func (w *world) lift(length time.Duration) {
	l, err := projector.NewLift(operator, "simulated", time.Now(), length)
	if err == nil {
		err = projector.WriteLift(w.ctx, w.state.items, w.role(), projector.AllShards, l)
	}
	if err != nil {
		w.breach("lift: %v", err)
	}
	w.noteState("#lift")
}

// release asks the owner of a shard to give it back.
func (w *world) release(id string) {
	row := w.leases.Row(id)
	if row.Free() || row.Finished() {
		return
	}
	r := projector.Release{From: row.Owner, By: operator, Reason: "simulated", Until: time.Now().Add(2 * failover)}
	if err := projector.WriteRelease(w.ctx, w.state.items, w.role(), id, r); err != nil {
		w.breach("release: %v", err)
	}
	w.tell("release of %s by %s", id, row.Owner)
	w.count(release.String())
	w.noteState("#worker")
}

// noteState remembers what operators wrote, for those who read what was a while ago.
func (w *world) noteState(kind string) {
	if err := w.state.remember(w.ctx, w.role()+kind); err != nil {
		w.breach("remember the state: %v", err)
	}
}

// insist seeks again and again while a shard is on its way from one worker to another: whoever takes it then has seen it
// at another position.
func (w *world) insist(id string) {
	for range 200 {
		select {
		case <-time.After(15 * time.Millisecond):
		case <-w.over:
			return
		}
		if row := w.leases.Row(id); row.Free() && !row.Finished() {
			w.seek(id)
		}
	}
}

// seek sets a shard back: to its beginning, or to one of the records before its checkpoint.
func (w *world) seek(id string) {
	row := w.leases.Row(id)
	w.mu.Lock()
	sh := w.ledger.shards[id]
	to, behind := sh.start, sh.checked
	order := sh.order
	w.mu.Unlock()
	if row.Shard == "" {
		return
	}
	if i := w.draw("seek", behind+1); i > 0 {
		to = order[i-1].sequence
	}
	c := checkpoint.Change{Op: checkpoint.Seek, Shard: id, Seen: row, Commit: to}
	if row.Finished() {
		c.Op = checkpoint.Reopen
	}
	err := w.leases.Apply(w.ctx, c)
	w.tell("%s of %s to %s: %v", c.Op, id, to, err)
	if err == nil {
		w.count(c.Op.String())
	}
}
