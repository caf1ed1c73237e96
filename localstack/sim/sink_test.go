package sim

import (
	"bytes"
	"context"
	"errors"
	"time"

	"penstock/checkpoint"
	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/view"
	"penstock/view/viewtest"
)

// watched is the view of stock under the world's eyes, and now and then with a bug.
type watched struct {
	viewtest.Stock
	*process
}

// Project implements [view.View]. It hides the record's position in the result, for the writer.
func (v watched) Project(r view.Record) (view.Result, error) {
	at := position{r.Position.Shard, checkpoint.Sequence(r.Position.Sequence), r.Position.SubSequence}
	f := v.world.read(at, r.Data)
	v.note(func(c *checkpoint.Counts) { c.Read++ })
	if f.kind == panics {
		panic("a bug in the view")
	}
	result, err := v.Stock.Project(r)
	if err == nil {
		v.world.mu.Lock()
		v.world.coming[&result.Mutations[0]] = at
		v.world.mu.Unlock()
	}
	return result, err
}

// writer applies mutations with Cassandra's rule, each record after some time of its own. It keeps the promises of
// package sink, and repeats what failed, as a writer does.
type writer struct{ *process }

// Submit implements [projector.Writer]. It gets one reply at a time, of one shard.
func (x writer) Submit(ctx context.Context, _ *sink.Source, writes []sink.Write) {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	for i, write := range writes {
		at := x.world.coming[&write.Mutations[0]]
		delete(x.world.coming, &write.Mutations[0])
		size := len(x.world.ledger.facts[at].data)
		for _, m := range write.Mutations {
			size += m.Size()
		}
		if i == 0 && x.inHand[at.shard] > inFlight/4 {
			x.world.breachLocked("%s read on in %s with %d bytes of records in hand, of a budget of %d", x.name, at.shard, x.inHand[at.shard], inFlight)
		}
		x.inHand[at.shard] += size
		x.world.running.Go(func() {
			err := x.write(ctx, at, write.Mutations)
			x.world.mu.Lock()
			x.inHand[at.shard] -= size
			x.world.mu.Unlock()
			if err == nil {
				x.note(func(c *checkpoint.Counts) { c.Applied++ })
			}
			if x.world.plant == answerForgotten && x.world.draw("forgotten", 100) == 0 {
				return
			}
			write.Record.Settle(err)
		})
	}
	x.checkBudget()
}

// checkBudget breaks the rule that what is in flight stays within the budget. A reply's room, a quarter of the budget, is
// reserved before anybody knows its size, and a shard holds at most half of the budget with it. What the reply takes above
// that half is the shard's own debt, which keeps it from reading on. But up to the half it may come to more than its room,
// and there is room for four replies on their way: so without debts twice the budget is in hand at most.
func (x writer) checkBudget() {
	sum, debts := 0, 0
	for _, n := range x.inHand {
		sum += min(n, inFlight/2)
		debts += max(0, n-inFlight/2)
	}
	if sum > 2*inFlight {
		x.world.breachLocked("%s has %d bytes of records in hand, of a budget of %d", x.name, sum, inFlight)
	}
	for what, n := range map[string]int{"most in hand without debts, KiB": sum, "most in hand, KiB": sum + debts} {
		x.world.happened[what] = max(x.world.happened[what], n>>10)
	}
}

func (x writer) write(ctx context.Context, at position, mutations []view.Mutation) error {
	w := x.world
	if w.plant == settledBeforeApplied {
		w.running.Go(func() {
			time.Sleep(w.upTo(x.name+"write", 10*time.Second))
			w.mu.Lock()
			dead := x.dead
			w.mu.Unlock()
			if !dead {
				w.apply(at, mutations)
			}
		})
		return nil
	}
	for {
		most := 300 * time.Millisecond
		if w.during(writerSlow, "") {
			most = 5 * time.Second
		}
		if err := x.linger(ctx, "wait", most/2); err != nil {
			return err
		}
		x.checkOwner(at)
		switch again, err := x.send(ctx, at, mutations, most/2); {
		case err != nil:
			return err
		case !again:
			return nil
		}
	}
}

// checkOwner breaks the rule that nothing is sent for a shard that another worker owns. For a while after an operator has
// set the shard's position its former owner cannot know.
func (x writer) checkOwner(at position) {
	owner := x.world.leases.Row(at.shard).Owner
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	sought := x.world.ledger.shards[at.shard].sought
	if owner != "" && owner != x.name && time.Since(sought) > failover {
		x.world.breachLocked("%s sends a write for %s, which %s owns", x.name, at.shard, owner)
	}
}

// send is one attempt. What is on its way may arrive although its sender no longer lives.
func (x writer) send(ctx context.Context, at position, mutations []view.Mutation, most time.Duration) (again bool, err error) {
	w := x.world
	refuses, forgets := w.during(writerRefuses, ""), w.during(writerForgets, "") && w.draw(x.name+"forget", 2) == 0
	if refuses && w.plant == silenceIsApplied {
		return false, nil
	}
	time.Sleep(w.upTo(x.name+"way", most))
	w.mu.Lock()
	dead, kind := x.dead, w.ledger.facts[at].kind
	w.mu.Unlock()
	if kind == refused && !refuses && w.plant != refusalIsApplied {
		if err := x.pass(ctx); err != nil {
			return false, err
		}
		return false, &view.Poison{Stage: view.StageWrite, Code: view.CodeRejected, Err: errors.New("not for this row")}
	}
	if refuses || dead && w.draw(x.name+"arrives", 2) == 0 {
		w.count("writes refused")
		return true, x.pass(ctx)
	}
	if kind != refused {
		w.apply(at, mutations)
	}
	if forgets {
		w.count("write answers lost")
		return true, x.pass(ctx)
	}
	return false, x.pass(ctx)
}

// parker keeps letters.
type parker struct{ *process }

// Park implements [projector.Parker].
func (x parker) Park(ctx context.Context, l deadletter.Letter) error {
	for {
		if err := x.linger(ctx, "letter", 200*time.Millisecond); err != nil {
			return err
		}
		if x.world.plant == lettersForgotten {
			return nil
		}
		if !x.world.during(lettersRefused, "") {
			break
		}
		x.world.count("letters refused")
	}
	if err := l.Check(); err != nil {
		return err
	}
	x.world.keep(l)
	x.note(func(c *checkpoint.Counts) { c.Parked++ })
	return x.pass(ctx)
}

// override is what a store does that goes by the order of arrival.
func override(old, cells []view.Cell) []view.Cell {
	for _, c := range cells {
		kept := old[:0:0]
		for _, o := range old {
			if o.Column != c.Column || !bytes.Equal(o.Path.Bytes(), c.Path.Bytes()) {
				kept = append(kept, o)
			}
		}
		old = view.Merge(kept, []view.Cell{c})
	}
	return old
}
