package cassandra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"penstock/localstack/stacktest"
	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/view/viewtest"
)

func TestAReplicaIsAbsentForAReasonAndBackAfterAWhile(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	type step struct {
		at   float64
		e    evidence
		want change
	}
	quiet := evidence{known: true}
	for name, steps := range map[string][]step{
		"down at once":                          {{0, evidence{down: true}, gone}, {1, evidence{down: true}, same}},
		"silent after a second":                 {{0, evidence{quarantined: true}, same}, {0.9, evidence{quarantined: true}, same}, {1, evidence{quarantined: true}, gone}},
		"a short quarantine":                    {{0, evidence{quarantined: true}, same}, {0.9, quiet, same}, {1, evidence{quarantined: true}, same}},
		"unreached":                             {{0, evidence{unreached: true, known: true}, gone}},
		"another reason":                        {{0, evidence{down: true}, gone}, {1, evidence{down: true, unreached: true, known: true}, otherReasons}},
		"back after five seconds":               {{0, evidence{down: true}, gone}, {1, quiet, same}, {5.9, quiet, same}, {6, quiet, returned}, {7, quiet, same}},
		"flapping stays absent":                 {{0, evidence{down: true}, gone}, {1, quiet, same}, {5, evidence{down: true}, same}, {6, quiet, same}, {10, quiet, same}, {11, quiet, returned}},
		"nobody answers: what was said holds":   {{0, evidence{unreached: true, known: true}, gone}, {10, evidence{}, same}, {20, evidence{}, same}, {30, quiet, same}, {35, quiet, returned}},
		"nobody answers: that alone is nothing": {{0, evidence{}, same}, {10, evidence{}, same}},
	} {
		a := attendance{}
		for i, s := range steps {
			if _, got := a.weigh("h", s.e, at(s.at)); got != s.want {
				t.Errorf("%s: step %d is change %d, want %d", name, i, got, s.want)
			}
		}
	}
}

func TestAnAbsenceIsDatedBack(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for name, c := range map[string]struct {
		e    evidence
		want time.Duration
	}{
		"to its last acknowledgement":  {evidence{down: true, acked: now.Add(-3 * time.Second)}, 3 * time.Second},
		"without one by two seconds":   {evidence{down: true}, 2 * time.Second},
		"to the last good poll":        {evidence{unreached: true, known: true, unreachedSince: now.Add(-4 * time.Second)}, 4 * time.Second},
		"to the earlier of the two":    {evidence{down: true, acked: now.Add(-time.Second), unreached: true, unreachedSince: now.Add(-2 * time.Second)}, 2 * time.Second},
		"a poll alone says no ack's":   {evidence{acked: now.Add(-time.Hour), unreached: true, known: true, unreachedSince: now.Add(-2 * time.Second)}, 2 * time.Second},
		"acked just now though it is ": {evidence{down: true, acked: now}, 0},
	} {
		a := attendance{}
		if v, _ := a.weigh("h", c.e, now); now.Sub(v.since) != c.want {
			t.Errorf("%s: %s back, want %s", name, now.Sub(v.since), c.want)
		}
	}
}

// However evidence comes and goes: a replica is back only if nothing spoke against it for five seconds, and absent only for a reason.
func TestNoEvidenceFlaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, now := attendance{}, time.Unix(1_700_000_000, 0)
		against := now.Add(-time.Hour)
		absent := false
		for range rapid.IntRange(1, 200).Draw(t, "looks") {
			now = now.Add(lookEvery)
			e := evidence{down: rapid.IntRange(0, 19).Draw(t, "down") == 0, unreached: rapid.IntRange(0, 29).Draw(t, "unreached") == 0, known: true}
			v, change := a.weigh("h", e, now)
			if e.down || e.unreached {
				against = now
			}
			if change == returned && now.Sub(against) < backAfter || change == gone && against != now || v.absent != (len(v.reasons) > 0) {
				t.Fatalf("change %d at %s after evidence against it; %+v", change, now.Sub(against), v)
			}
			if absent = v.absent; !absent && against == now {
				t.Fatal("present in spite of the evidence")
			}
		}
	})
}

func TestALinkIsBrokenWhenMostOfItComesToNothing(t *testing.T) {
	for name, c := range map[string]struct {
		before, after link
		want          bool
	}{
		"idle":                        {link{active: 2}, link{active: 2}, false},
		"all is well":                 {link{sent: 10, active: 2}, link{sent: 90, active: 2}, false},
		"a few expire under load":     {link{sent: 10, active: 2}, link{sent: 900, troubled: 5, active: 2}, false},
		"most expire":                 {link{sent: 10, troubled: 1, active: 2}, link{sent: 20, troubled: 40, active: 2}, true},
		"no connection":               {link{active: 2, successful: 3}, link{active: 0, successful: 3}, true},
		"a connection that was made":  {link{active: 0, successful: 3}, link{active: 0, successful: 4}, false},
		"connections are not told of": {link{active: -1}, link{active: -1}, false},
		"the node started again":      {link{sent: 1000, troubled: 90, active: 2}, link{active: 0}, false},
	} {
		if got := broken(c.before, c.after); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// One that is cut off complains of the others as they complain of it.
func TestMostOfTheOthersDecide(t *testing.T) {
	a, b, c := &host{id: "a"}, &host{id: "b"}, &host{id: "c"}
	links := map[*host]map[*host]bool{a: {b: false, c: true}, b: {a: false, c: true}, c: {a: true, b: true}}
	for h, want := range map[*host]bool{a: false, b: false, c: true} {
		if not, asked := unreached(h, links); (2*not > asked) != want || asked != 2 {
			t.Errorf("%s: %d of %d do not reach it", h.id, not, asked)
		}
	}
}

func TestWhatServersSayOfTheirHints(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		peers    int
		want     hintSettings
	}{
		"5.0":          {map[string]string{"max_hint_window": "3h", "hinted_handoff_throttle": "1024KiB"}, 2, hintSettings{3 * time.Hour, 512 << 10}},
		"4.0":          {map[string]string{"max_hint_window_in_ms": "10800000", "hinted_handoff_throttle_in_kb": "1024"}, 4, hintSettings{3 * time.Hour, 256 << 10}},
		"alone":        {map[string]string{"hinted_handoff_throttle": "1MiB"}, 0, hintSettings{replay: 1 << 20}},
		"unbounded":    {map[string]string{"hinted_handoff_throttle": "0KiB"}, 2, hintSettings{replay: unthrottled}},
		"switched off": {map[string]string{"hinted_handoff_enabled": "false", "max_hint_window": "3h"}, 2, hintSettings{window: time.Minute}},
		"unreadable":   {map[string]string{"max_hint_window": "soon", "hinted_handoff_throttle": "much"}, 2, hintSettings{}},
	} {
		if got := hintSettingsOf(c.settings, c.peers); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	both := []hintSettings{{3 * time.Hour, 512 << 10}, {time.Hour, 512 << 10}}
	if got := together(both, 3); got != (hintSettings{time.Hour, 1 << 20}) {
		t.Errorf("together %+v, want the shorter window and both nodes' replay", got)
	}
	if got := together(nil, 3); got != (hintSettings{}) {
		t.Errorf("of nobody %+v", got)
	}
}

// debtWorld is a watch over three hosts a, b and c, one replica set, in virtual time.
type debtWorld struct {
	*gateWorld
	a, b, c *host
	watch   *ReplicaWatch
	nodes   *toldNodes
	logs    *observer.ObservedLogs
	stop    func()
}

// toldNodes are nodes that answer what they are told to.
type toldNodes struct {
	mu    sync.Mutex
	cut   map[string]bool // ids of hosts that the others do not reach, nor they the others
	hangs map[string]bool
	hints map[string]hints
	polls map[string]int
	open  map[string]int // polls that are not answered yet
	twice bool           // two of one node were
	count int64
}

func addressOf(h *host) []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("10.0.0." + fmt.Sprint(h.id[0]-'a'+1))}
}

func (n *toldNodes) columns(context.Context, *host) (map[string][]string, error) {
	return map[string][]string{}, nil
}

func (n *toldNodes) settings(context.Context, *host) (hintSettings, error) {
	return hintSettings{time.Hour, 512 << 10}, nil
}

func (n *toldNodes) report(ctx context.Context, h *host, _ map[string][]string) (report, error) {
	n.mu.Lock()
	hangs := n.hangs[h.id]
	n.open[h.id]++
	n.twice = n.twice || n.open[h.id] > 1
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open[h.id]--
	}()
	if hangs {
		<-ctx.Done()
		return report{}, ctx.Err()
	}
	n.mu.Lock()
	n.polls[h.id]++
	defer n.mu.Unlock()
	n.count += 100
	r := report{peers: map[netip.Addr]link{}, hints: maps.Clone(n.hints)}
	for _, peer := range []string{"a", "b", "c"} {
		if peer != h.id {
			l := link{sent: n.count, active: 1}
			if n.cut[peer] || n.cut[h.id] {
				l = link{sent: 0, troubled: n.count, active: 1}
			}
			r.peers[addressOf(&host{id: peer})[0]] = l
		}
	}
	return r, nil
}

func (n *toldNodes) set(m *map[string]bool, id string, to bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	(*m)[id] = to
}

func newDebtWorld(t *testing.T, config adaptive.GovernorConfig, state StateTable, worker string) *debtWorld {
	w := &debtWorld{a: &host{id: "a", address: "a:9042"}, b: &host{id: "b", address: "b:9042"}, c: &host{id: "c", address: "c:9042"}}
	w.gateWorld = newGateWorld(t, 100, w.a, w.b, w.c)
	w.gate = newGate(adaptive.Config{Start: 100, Min: 100, Max: 100}, config, time.Now())
	w.nodes = &toldNodes{cut: map[string]bool{}, hangs: map[string]bool{}, polls: map[string]int{}, open: map[string]int{}}
	core, logs := observer.New(zapcore.InfoLevel)
	w.logs = logs
	w.watch = newReplicaWatch(w.gate, func() *ring { return w.ring }, w.nodes, ReplicaWatchConfig{Role: "projector_g1", Worker: worker, State: state, Log: zap.New(core)})
	w.watch.addresses, w.watch.space, w.watch.tables = addressOf, "orders", []string{"order_by_id_g1"}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { w.watch.Run(ctx) })
	w.stop = func() { cancel(); done.Wait() }
	return w
}

// write sends and acknowledges one request of so many bytes of hints every 100 ms.
func (w *debtWorld) write(d time.Duration, hint int) (sent int) {
	from := new(sink.Source)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		w.put(from, 1)
		w.gate.pulse(w.ring, time.Now())
		for {
			f, ok, _ := w.gate.next(w.ring, nil, time.Now())
			if !ok {
				break
			}
			f.hint = hint
			if f.host == w.c { // which may be the absent one, and then owes itself nothing
				f.hint = 0
			}
			w.gate.done(f, adaptive.Success, time.Now())
			f.settle(nil)
			sent++
		}
	}
	return sent
}

func (w *debtWorld) debt(id string) ReplicaDebt {
	all, _, _ := w.gate.owed(time.Now())
	for _, d := range all {
		if d.Replica == id {
			return d
		}
	}
	return ReplicaDebt{}
}

func (w *debtWorld) logged(message string) int { return w.logs.FilterMessageSnippet(message).Len() }

func TestAReplicaThatTheOthersDoNotReachIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDebtWorld(t, adaptive.GovernorConfig{}, nil, "")
		defer w.stop()
		w.write(10*time.Second, 100)
		if d := w.debt("c"); d.Absent || d.Owed > 0 {
			t.Fatalf("owed while all is well: %+v", d)
		}
		w.nodes.set(&w.nodes.cut, "c", true)
		w.write(10*time.Second, 100)
		d := w.debt("c")
		if !d.Absent || !slices.Equal(d.Reasons, []Reason{Unreachable}) || d.Owed < 4000 || d.Owed > 7500 { // two thirds of 100 requests, and what was sent before the cut was seen
			t.Fatalf("after ten seconds: %+v", d)
		}
		if len(w.watch.attendance.hosts) != 3 || w.debt("a").Absent || w.debt("b").Absent {
			t.Error("others are absent too")
		}
		if d.HealedIn == 0 || w.gate.hintSettings() != (hintSettings{time.Hour, 1 << 20}) {
			t.Errorf("the servers' settings are not used: %+v", w.gate.hintSettings())
		}
		w.nodes.set(&w.nodes.cut, "c", false)
		w.write(15*time.Second, 100)
		if d := w.debt("c"); d.Absent {
			t.Errorf("not back: %+v", d)
		}
		if w.logged("replica is absent") != 1 || w.logged("replica is back") != 1 {
			t.Errorf("logged %v", w.logs.All())
		}
	})
}

func TestANodeThatHangsDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDebtWorld(t, adaptive.GovernorConfig{}, hangingState{}, "me")
		w.nodes.set(&w.nodes.hangs, "a", true)
		time.Sleep(20 * time.Second)
		if w.debt("a").Absent {
			t.Error("a node that does not tell of others is absent for that")
		}
		w.c.up.Store(false)
		began := time.Now()
		for !w.debt("c").Absent {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 2*lookEvery {
			t.Errorf("an absence was seen after %s", took)
		}
		w.stop()
		if w.nodes.twice {
			t.Error("a node was asked again before it had answered")
		}
		if polls := w.nodes.polls; polls["b"] < 9 || polls["a"] != 0 {
			t.Errorf("polls %v, want b's every two seconds and none of a's to succeed", polls)
		}
	})
}

func TestConfigurationAtRunTimeKeepsWhatTheServersSay(t *testing.T) {
	w := newGateWorld(t, 3, &host{id: "a"})
	if err := w.gate.learn(hintSettings{time.Hour, 512 << 10}); err != nil {
		t.Fatal(err)
	}
	if err := w.gate.setConfig(adaptive.Config{Min: 3, Max: 3}, adaptive.GovernorConfig{Budget: 5 << 20, Floor: 0.2}, w.now); err != nil {
		t.Fatal(err)
	}
	want := adaptive.GovernorConfig{Budget: 5 << 20, Floor: 0.2, HintWindow: time.Hour, Replay: 512 << 10}
	if got := w.gate.governor.Config(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := w.gate.learn(hintSettings{2 * time.Hour, 1 << 20}); err != nil || w.gate.governor.Config().Budget != 5<<20 {
		t.Errorf("what the servers say took the budget: %v, %+v", err, w.gate.governor.Config())
	}
}

// What a coordinator refused left no hint, and no host owes itself.
func TestOnlyWhatWasSentOnIsOwed(t *testing.T) {
	for outcome, want := range map[adaptive.Outcome]int64{
		adaptive.Success: 100, adaptive.Failed: 100, adaptive.Lost: 100, adaptive.Unavailable: 0, adaptive.Overloaded: 0,
	} {
		a, b := &host{id: "a"}, &host{id: "b"}
		w := newGateWorld(t, 3, a, b)
		w.gate.follow(w.ring)
		w.gate.absent(b, []Reason{Down}, w.now, w.now)
		w.gate.absent(a, []Reason{Down}, w.now, w.now)
		b.up.Store(false)
		w.put(new(sink.Source), 1)
		f := w.mustNext()
		f.hint = 100
		w.gate.done(f, outcome, w.now)
		all, _, _ := w.gate.owed(w.now)
		if f.host != a || all[0].Owed != 0 || all[1].Owed != want {
			t.Errorf("outcome %v: owed %d to the coordinator and %d to the other, want 0 and %d", outcome, all[0].Owed, all[1].Owed, want)
		}
	}
}

func TestWhatWasSentAfterAReplicaWasBackIsNotOwed(t *testing.T) {
	a, b := &host{id: "a"}, &host{id: "b"}
	w := newGateWorld(t, 3, a, b)
	if err := w.gate.learn(hintSettings{time.Hour, 1 << 10}); err != nil {
		t.Fatal(err)
	}
	w.gate.follow(w.ring)
	w.gate.absent(b, []Reason{Down}, w.now, w.now)
	for _, at := range []time.Duration{0, 4 * time.Second} {
		w.gate.owe(flight{request: &request{}, host: a, hint: 1 << 20}, 0, adaptive.Success, w.now.Add(at))
	}
	w.gate.back("b", w.now.Add(2*time.Second), w.now.Add(5*time.Second))
	all, _, _ := w.gate.owed(w.now.Add(5 * time.Second))
	if want := int64(1<<20 - 3<<10); len(all) != 1 || all[0].Owed != want { // what three seconds gave back
		t.Errorf("%+v, want %d owed", all, want)
	}
}

// memoryState is a state table.
type memoryState struct {
	mu    sync.Mutex
	items map[string]map[string]map[string]string
	fails bool
}

func newMemoryState() *memoryState {
	return &memoryState{items: map[string]map[string]map[string]string{}}
}

func (s *memoryState) do(f func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails {
		return errors.New("out of reach")
	}
	f()
	return nil
}

func (s *memoryState) Put(_ context.Context, kind, name string, values map[string]string) error {
	return s.do(func() {
		if s.items[kind] == nil {
			s.items[kind] = map[string]map[string]string{}
		}
		s.items[kind][name] = maps.Clone(values)
	})
}

func (s *memoryState) Delete(_ context.Context, kind, name string) error {
	return s.do(func() { delete(s.items[kind], name) })
}

func (s *memoryState) Query(_ context.Context, kind string) (items map[string]map[string]string, err error) {
	err = s.do(func() { items = maps.Clone(s.items[kind]) })
	return items, err
}

// hangingState answers nothing.
type hangingState struct{}

func (hangingState) Put(ctx context.Context, _, _ string, _ map[string]string) error {
	<-ctx.Done()
	return ctx.Err()
}
func (s hangingState) Delete(ctx context.Context, kind, name string) error {
	return s.Put(ctx, kind, name, nil)
}
func (s hangingState) Query(ctx context.Context, kind string) (map[string]map[string]string, error) {
	return nil, s.Put(ctx, kind, "", nil)
}

func TestTheFleetsDebtIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newMemoryState()
		config := adaptive.GovernorConfig{Budget: 1 << 20, Floor: 0.5}
		one, two := newDebtWorld(t, config, state, "one"), newDebtWorld(t, config, state, "two")
		defer two.stop()
		for _, w := range []*debtWorld{one, two} {
			w.write(5*time.Second, 0)
			w.c.up.Store(false)
		}
		time.Sleep(time.Second)
		one.write(10*time.Second, 20<<10) // far above the budget
		two.write(time.Second, 10)        // nothing to speak of
		time.Sleep(5 * time.Second)
		d := two.debt("c")
		if d.Owed > 1000 || d.Others < 500<<10 || d.Others != one.debt("c").Owed {
			t.Fatalf("two knows of %d bytes of its own and %d of the other, which owes %d", d.Owed, d.Others, one.debt("c").Owed)
		}
		if _, _, capped := two.gate.owed(time.Now()); !capped || two.logged("the rate is capped") != 1 {
			t.Error("two is not held to the fleet's debt")
		}
		one.stop()
		time.Sleep(3 * time.Second)
		if d := two.debt("c"); d.Others != 0 {
			t.Errorf("one has left, and two still counts %d bytes of it", d.Others)
		}
		if two.logged("no longer capped") != 1 {
			t.Error("two is still held")
		}
	})
}

func TestWhatASilentDaemonOwesIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newMemoryState()
		w := newDebtWorld(t, adaptive.GovernorConfig{}, state, "me")
		defer w.stop()
		_ = state.Put(t.Context(), "projector_g1"+debtKind, "dead", map[string]string{beatAttribute: "1", replicasAttribute: `{"c":{"owed":5000,"absent":true}}`})
		_ = state.Put(t.Context(), "projector_g1"+debtKind, "odd", map[string]string{beatAttribute: "1", replicasAttribute: `[`})
		w.c.up.Store(false)
		time.Sleep(10 * time.Second)
		if d := w.debt("c"); d.Others != 5000 {
			t.Fatalf("others owe %d, want 5000", d.Others)
		}
		time.Sleep(shareGood)
		if d := w.debt("c"); d.Others != 0 {
			t.Errorf("others owe %d though they have been silent for half a minute", d.Others)
		}
		time.Sleep(buryAfter)
		if items, _ := state.Query(t.Context(), "projector_g1"+debtKind); len(items) != 1 || items["me"] == nil {
			t.Errorf("items %v, want this daemon's alone", slices.Collect(maps.Keys(items)))
		}
	})
}

func TestWithoutTheStateTableTheWatchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newMemoryState()
		state.fails = true
		w := newDebtWorld(t, adaptive.GovernorConfig{}, state, "me")
		defer w.stop()
		w.c.up.Store(false)
		time.Sleep(time.Second)
		w.write(10*time.Second, 100)
		if d := w.debt("c"); !d.Absent || d.Owed == 0 {
			t.Errorf("%+v", d)
		}
		if w.logged("the fleet's debt is not known") != 1 {
			t.Error("not said, or said again and again")
		}
	})
}

func TestPastTheHintWindowARepairIsToldUntilItIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newMemoryState()
		w := newDebtWorld(t, adaptive.GovernorConfig{HintWindow: 2 * time.Minute}, state, "me")
		defer w.stop()
		w.write(3*time.Second, 100)
		w.c.up.Store(false)
		w.write(110*time.Second, 100)
		if w.logged("hints for a replica will be refused") != 1 || w.debt("c").Repair != nil {
			t.Fatalf("within the window: %+v", w.logs.All())
		}
		w.write(30*time.Second, 100)
		if w.logged("replica needs a repair") != 1 {
			t.Fatalf("past the window: %+v", w.debt("c"))
		}
		w.c.up.Store(true)
		time.Sleep(20 * time.Second)
		told := w.logs.FilterMessageSnippet("to be repaired now").All()
		if len(told) != 1 || !strings.Contains(fmt.Sprint(told[0].ContextMap()["run_there"]), "nodetool repair --full orders order_by_id_g1") {
			t.Fatalf("told %+v", told)
		}
		repairs, err := ReadRepairs(t.Context(), state, "projector_g1")
		if err != nil || len(repairs) != 1 || repairs[0].Replica != "c" || repairs[0].Worker != "me" || repairs[0].Until.Sub(repairs[0].From) < 10*time.Second {
			t.Fatalf("published %+v, %v", repairs, err)
		}
		if n, err := ForgetRepairs(t.Context(), state, "projector_g1", "b"); n != 0 || err != nil {
			t.Errorf("forgot %d of another replica: %v", n, err)
		}
		if n, err := ForgetRepairs(t.Context(), state, "projector_g1", "c"); n != 1 || err != nil {
			t.Errorf("forgot %d: %v", n, err)
		}
		time.Sleep(5 * time.Second)
		if d := w.debt("c"); d.Repair != nil || w.logged("repair of a replica is noted") != 1 {
			t.Errorf("the repair is not noted: %+v", d)
		}
		time.Sleep(5 * time.Second)
		if repairs, _ := ReadRepairs(t.Context(), state, "projector_g1"); len(repairs) != 0 {
			t.Errorf("it came back: %+v", repairs)
		}
	})
}

func TestRepairsNameTheRangesOfWhatWasWritten(t *testing.T) {
	a := &host{id: "a", tokens: []string{"-100", "100"}}
	b := &host{id: "b", tokens: []string{"0", "200"}}
	c := &host{id: "c", tokens: []string{"50"}}
	w := newGateWorld(t, 3, a, b, c)
	w.ring = newRing([]*host{a, b, c}, replication{factor: 2, strategy: simpleStrategy})
	w.gate.follow(w.ring)
	w.gate.absent(a, []Reason{Down}, w.now, w.now)
	later := w.now.Add(4 * time.Hour)
	set := w.ring.set(150) // after 100 up to 200: b and a
	for range 2 {
		w.gate.owe(flight{request: &request{}, host: b, hint: 10}, set, adaptive.Success, later)
	}
	all, _, _ := w.gate.owed(later)
	if len(all) != 1 || all[0].Repair == nil {
		t.Fatalf("%+v", all)
	}
	var want []string
	for i, p := range w.ring.points {
		if p.set == set {
			before := w.ring.points[(i+len(w.ring.points)-1)%len(w.ring.points)].token
			if before < p.token {
				want = append(want, fmt.Sprintf("nodetool repair --full --start-token %d --end-token %d ks t", before, p.token))
			} else {
				want = append(want, fmt.Sprintf("nodetool repair --full --start-token %d --end-token %d ks t", before, int64(math.MinInt64)),
					fmt.Sprintf("nodetool repair --full --start-token %d --end-token %d ks t", int64(math.MinInt64), p.token))
			}
		}
	}
	if got := all[0].Repair.Commands("ks", []string{"t"}); !slices.Equal(got, want) || len(want) < 2 {
		t.Errorf("commands\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for set := range w.ring.sets {
		if slices.Contains(w.ring.sets[set], a) {
			w.gate.owe(flight{request: &request{}, host: b, hint: 10}, int32(set), adaptive.Success, later)
		}
	}
	all, _, _ = w.gate.owed(later)
	if got := all[0].Repair.Commands("ks", []string{"t"}); !slices.Equal(got, []string{"nodetool repair --full ks t"}) {
		t.Errorf("with all ranges written: %q", got)
	}
}

// What the servers measured: the oldest hint begins the window, and sizes count once they are whole.
func TestServersRefineTheDebt(t *testing.T) {
	a, b := &host{id: "a"}, &host{id: "b"}
	w := newGateWorld(t, 3, a, b)
	w.gate.absent(b, []Reason{Down}, w.now, w.now)
	w.gate.mu.Lock()
	w.gate.governor.Attempt("b", 1000, w.now)
	w.gate.mu.Unlock()
	debt := func() ReplicaDebt {
		all, _, _ := w.gate.owed(w.now)
		return all[0]
	}
	earlier := w.now.Add(-time.Hour)
	w.gate.hinted("b", earlier, -1, w.now)
	if d := debt(); !d.Since.Equal(earlier) || d.Owed != 1000 {
		t.Errorf("without sizes: %+v", d)
	}
	w.gate.hinted("b", earlier, 10, w.now)
	if d := debt(); d.Owed != 1000 {
		t.Errorf("closed files took the place of what is still being written: %d", d.Owed)
	}
	w.gate.hinted("b", earlier, 5000, w.now)
	if d := debt(); d.Owed != 5000 {
		t.Errorf("owed %d, want what the servers say", d.Owed)
	}
	w.gate.back("b", w.now, w.now)
	w.gate.hinted("b", earlier, 400, w.now)
	if d := debt(); d.Owed != 400 {
		t.Errorf("owed %d after it is back, want what is left on the servers", d.Owed)
	}
}

// The real server has the tables, and says of its columns what is asked for.
func TestARealServerTellsHowItReachesOthers(t *testing.T) {
	stack := stacktest.Require(t)
	session := connect(t, stack, stack.Keyspace(t))
	tables := serverTables{session}
	for _, h := range session.router.ring.Load().hosts {
		columns, err := tables.columns(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if len(columns[outboundTable]) != len(outboundColumns) || !slices.Contains(columns[hintsTable], "oldest") {
			t.Errorf("columns %v", columns)
		}
		told, err := tables.report(t.Context(), h, columns)
		if err != nil || told.hints == nil {
			t.Errorf("report %+v, %v", told, err)
		}
		settings, err := tables.settings(t.Context(), h)
		if err != nil || settings.window != 3*time.Hour || settings.replay == 0 {
			t.Errorf("settings %+v, %v", settings, err)
		}
		if len(h.addresses()) == 0 {
			t.Error("the host has no address that others could know it by")
		}
		t.Logf("%v %+v %+v %v", columns, told, settings, h.addresses())
	}
	w := newTestWriter(t, session, viewtest.Stock{})
	watch, err := NewReplicaWatch(w, ReplicaWatchConfig{Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	watch.Run(ctx)
	for h, p := range watch.polled {
		if p.failing || p.at.IsZero() {
			t.Errorf("%s did not answer", h.address)
		}
	}
	if debts := w.Debts(time.Now()); len(debts) != 0 {
		t.Errorf("debts %+v", debts)
	}
}
