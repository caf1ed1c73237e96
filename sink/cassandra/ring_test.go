package cassandra

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock/localstack/stacktest"
)

func ids(hosts []*host) string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.id)
	}
	return strings.Join(out, " ")
}

func TestReplicasAreSpreadOverRacks(t *testing.T) {
	six := func() []*host {
		return []*host{
			{id: "a1", rack: "a", tokens: []string{"0"}}, {id: "a2", rack: "a", tokens: []string{"10"}},
			{id: "b1", rack: "b", tokens: []string{"20"}}, {id: "b2", rack: "b", tokens: []string{"30"}},
			{id: "c1", rack: "c", tokens: []string{"40"}}, {id: "c2", rack: "c", tokens: []string{"50"}},
		}
	}
	for name, c := range map[string]struct {
		replication replication
		want        map[int64]string // replicas by token
	}{
		"one in each of three racks": {replication{factor: 3}, map[int64]string{
			-5: "a1 b1 c1", 0: "a1 b1 c1", 1: "a2 b1 c1", 15: "a1 b1 c1", 25: "a1 b2 c1", 35: "a1 b1 c1", 45: "a1 b1 c2", 51: "a1 b1 c1"}},
		"two racks of three":        {replication{factor: 2}, map[int64]string{0: "a1 b1", 10: "a2 b1", 30: "b2 c1", 50: "a1 c2"}},
		"one rack has to have two":  {replication{factor: 4}, map[int64]string{0: "a1 a2 b1 c1", 20: "b1 b2 c1 a1", 50: "a1 a2 b1 c2"}},
		"without regard to racks":   {replication{factor: 3, strategy: simpleStrategy}, map[int64]string{0: "a1 a2 b1", 45: "a1 a2 c2"}},
		"more than there are hosts": {replication{factor: 9}, map[int64]string{7: "a1 a2 b1 b2 c1 c2"}},
		"nobody knows":              {replication{}, map[int64]string{7: "a1 a2 b1 b2 c1 c2"}},
	} {
		ring := newRing(six(), c.replication)
		for token, want := range c.want {
			fields := strings.Fields(want)
			slices.Sort(fields)
			if got := ids(ring.sets[ring.set(token)]); got != strings.Join(fields, " ") {
				t.Errorf("%s: token %d has replicas %s, want %s", name, token, got, want)
			}
		}
	}
}

func TestAnotherPartitionersTokensMakeEverybodyACandidate(t *testing.T) {
	hosts := []*host{{id: "1", tokens: []string{"0a4b"}}, {id: "2", tokens: []string{"ff"}}}
	if got := ids(newRing(hosts, replication{factor: 1}).sets[0]); got != "1 2" {
		t.Errorf("replicas %s, want all hosts", got)
	}
}

// Whatever the ring: as many replicas as asked for, of as many racks as possible, with the owner of the range among
// them.
func TestPlacementKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var hosts []*host
		racks := map[string]bool{}
		for i := range rapid.IntRange(1, 9).Draw(t, "hosts") {
			h := &host{id: fmt.Sprint(i), rack: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "rack")}
			for range rapid.IntRange(1, 4).Draw(t, "tokens") {
				h.tokens = append(h.tokens, strconv.FormatInt(rapid.Int64().Draw(t, "token"), 10))
			}
			racks[h.rack] = true
			hosts = append(hosts, h)
		}
		factor := rapid.IntRange(1, 5).Draw(t, "factor")
		ring := newRing(hosts, replication{factor: factor})
		for _, p := range ring.points {
			replicas, met := ring.sets[p.set], map[string]bool{}
			for _, h := range replicas {
				met[h.rack] = true
			}
			if len(replicas) != min(factor, len(hosts)) || len(slices.Compact(slices.Clone(replicas))) != len(replicas) {
				t.Errorf("token %d has replicas %s, want %d of %d hosts", p.token, ids(replicas), factor, len(hosts))
			}
			if len(met) != min(factor, len(racks)) {
				t.Errorf("token %d has replicas in %d racks, want %d of %d", p.token, len(met), factor, len(racks))
			}
			if !slices.ContainsFunc(replicas, func(h *host) bool { return slices.Contains(h.tokens, strconv.FormatInt(p.token, 10)) }) {
				t.Errorf("the owner of token %d is none of its replicas %s", p.token, ids(replicas))
			}
		}
		probe := rapid.Int64().Draw(t, "probe")
		i := slices.IndexFunc(ring.points, func(p point) bool { return p.token >= probe })
		if want := ring.points[max(i, 0)].set; ring.set(probe) != want {
			t.Errorf("token %d is in set %d, want %d", probe, ring.set(probe), want)
		}
	})
}

func TestCandidatesAreTheReplicasThatAreUp(t *testing.T) {
	ring := aRing()
	set := ring.set(0) // of hosts 1 and 3
	for _, c := range []struct{ up, want string }{
		{"1 2 3", "1 3"}, {"2 3", "3"}, {"1 2", "1"}, {"2", "2"}, {"", ""},
	} {
		for _, h := range ring.hosts {
			h.up.Store(strings.Contains(c.up, h.id))
		}
		got := ring.candidates(nil, set, 0)
		if ids(got) != c.want {
			t.Errorf("of %q: candidates %q, want %q", c.up, ids(got), c.want)
		}
	}
}

func TestEveryReplicaIsFirstInItsTurn(t *testing.T) {
	ring := aRing()
	for _, h := range ring.hosts {
		h.up.Store(true)
	}
	first := map[string]int{}
	for turn := range uint32(100) {
		first[ring.candidates(nil, ring.set(0), turn)[0].id]++
	}
	if first["1"] != 50 || first["3"] != 50 {
		t.Errorf("who was first: %v, want each half of the time", first)
	}
}

// Keys of all lengths and bytes have the token that the server gives them.
func TestTokensAreTheServers(t *testing.T) {
	stack := stacktest.Require(t)
	session, keyspace := stack.Session(t), stack.Keyspace(t)
	if err := session.Query(fmt.Sprintf("CREATE TABLE %s.keys (k blob PRIMARY KEY)", keyspace)).Exec(); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for length := 1; length <= 70; length++ {
		key := make([]byte, length)
		for i := range key {
			key[i] = byte(random.Uint32())
		}
		if err := session.Query(fmt.Sprintf("INSERT INTO %s.keys (k) VALUES (?)", keyspace), key).Exec(); err != nil {
			t.Fatal(err)
		}
	}
	rows := session.Query(fmt.Sprintf("SELECT k, token(k) FROM %s.keys", keyspace)).Iter()
	var key []byte
	var want int64
	n := 0
	for ; rows.Scan(&key, &want); n++ {
		if got := tokenOf(key); got != want {
			t.Errorf("%d bytes %x: token %d, the server says %d", len(key), key, got, want)
		}
	}
	if err := rows.Close(); err != nil || n != 70 {
		t.Errorf("%d keys read, error %v", n, err)
	}
}

// A session knows the ring of a keyspace from the beginning, or from its creation on.
func TestTheRingFollowsTheKeyspace(t *testing.T) {
	stack := stacktest.Require(t)
	var tokens []string
	if err := stack.Session(t).Query("SELECT tokens FROM system.local").Scan(&tokens); err != nil {
		t.Fatal(err)
	}
	knows := func(s *Session) bool { // one host has all ranges, so its own first token is the first range's
		ring := s.router.ring.Load()
		return len(ring.points) == len(tokens) && strconv.FormatInt(ring.points[0].token, 10) == tokens[0]
	}
	session := connect(t, stack, stack.Keyspace(t))
	if ring := session.router.ring.Load(); !knows(session) || len(ring.hosts) != 1 || !ring.hosts[0].up.Load() {
		t.Errorf("%d hosts and %d ranges, want one host that is up, and its tokens %v", len(ring.hosts), len(ring.points), tokens)
	}
	later := stack.KeyspaceName(t)
	session = connect(t, stack, later)
	if knows(session) {
		t.Error("the ranges of a keyspace that is not there are known")
	}
	create := fmt.Sprintf("CREATE KEYSPACE %s WITH replication = {'class': 'NetworkTopologyStrategy', '%s': 1}", later, stack.Datacenter)
	if err := session.driver.Query(create).Exec(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // the driver waits a second for more news
	defer cancel()
	for !knows(session) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the ranges of the new keyspace are not known")
		}
	}
}
