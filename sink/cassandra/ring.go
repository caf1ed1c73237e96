package cassandra

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// ring says which hosts hold a token: what a NetworkTopologyStrategy makes of the tokens and racks of one datacenter's
// hosts. The replicas in a datacenter depend on nothing outside it. A ring does not change; another topology is another
// ring.
type ring struct {
	number uint64 // a later topology has a higher one
	hosts  []*host
	points []point   // by token, ascending
	sets   [][]*host // the replica sets there are, each once, by host id within
}

// point ends a range of tokens: those after the point before it, up to its own and with it. The first point's range
// goes round the end.
type point struct {
	token int64
	set   int32 // index into sets
}

// newRing places the replicas of each range of tokens. Where the replication is not known (a factor of 0), and where
// tokens are not those of Murmur3Partitioner, all hosts are one set, and any of them coordinates.
func newRing(hosts []*host, r replication) *ring {
	everybody := &ring{hosts: hosts, points: []point{{}}, sets: [][]*host{hosts}}
	var tokens []owned
	for _, h := range hosts {
		for _, text := range h.tokens {
			token, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return everybody
			}
			tokens = append(tokens, owned{token, h})
		}
	}
	if r.factor < 1 || len(tokens) == 0 {
		return everybody
	}
	slices.SortFunc(tokens, func(a, b owned) int { return cmp.Compare(a.token, b.token) })
	racks := map[string]bool{}
	for _, h := range hosts {
		racks[h.rack] = r.strategy != simpleStrategy
	}
	out := &ring{hosts: hosts}
	known := map[string]int32{} // replica sets by their members
	for i := range tokens {
		replicas := place(tokens, i, min(r.factor, len(hosts)), racks)
		var members strings.Builder
		for _, h := range replicas {
			members.WriteString(h.id)
			members.WriteByte(' ')
		}
		set, ok := known[members.String()]
		if !ok {
			set = int32(len(out.sets))
			known[members.String()] = set
			out.sets = append(out.sets, replicas)
		}
		out.points = append(out.points, point{tokens[i].token, set})
	}
	return out
}

// owned is a token and its owner.
type owned struct {
	token int64
	host  *host
}

// place walks round the ring from a token on: a host of a rack that has no replica yet gets one, and one of a rack that
// has only as long as there are more replicas than racks (org.apache.cassandra.locator.NetworkTopologyStrategy 5.0,
// DatacenterEndpoints.addEndpointAndCheckIfDone). Racks that are false are none to be told apart.
func place(tokens []owned, from, factor int, racks map[string]bool) []*host {
	var replicas []*host
	met := map[string]bool{}
	repeats := factor - len(racks)
	for k := 0; k < len(tokens) && len(replicas) < factor; k++ {
		h := tokens[(from+k)%len(tokens)].host
		switch {
		case slices.Contains(replicas, h):
			continue
		case !racks[h.rack]:
		case !met[h.rack]:
			met[h.rack] = true
		case repeats > 0:
			repeats--
		default:
			continue
		}
		replicas = append(replicas, h)
	}
	slices.SortFunc(replicas, func(a, b *host) int { return cmp.Compare(a.id, b.id) })
	return replicas
}

// set returns the index of a token's replica set.
func (r *ring) set(token int64) int32 {
	i, _ := slices.BinarySearchFunc(r.points, token, func(p point, token int64) int { return cmp.Compare(p.token, token) })
	return r.points[i%len(r.points)].set
}

// candidates appends the hosts that a write to a replica set may go to now, beginning with another at every turn: those
// of the set that are up, or where none is, at most three of the others.
func (r *ring) candidates(out []*host, set int32, turn uint32) []*host {
	for _, hosts := range [...][]*host{r.sets[set], r.hosts} {
		for i := range hosts {
			if h := hosts[(int(turn)+i)%len(hosts)]; h.up.Load() && len(out) < maxCandidates {
				out = append(out, h)
			}
		}
		if len(out) > 0 {
			break
		}
	}
	return out
}

// tokenOf is the token of a routing key: Murmur3Partitioner's, which is the first half of a MurmurHash3 of 128 bits for
// 64-bit machines (Austin Appleby, public domain), with the tail's bytes taken as signed, as Cassandra does in Java
// (org.apache.cassandra.utils.MurmurHash.hash3_x64_128), and the least value left out.
func tokenOf(key []byte) int64 {
	const c1, c2 = 0x87c37b91114253d5, 0x4cf5ad432745937f
	var h1, h2 uint64
	rest := key
	for ; len(rest) >= 16; rest = rest[16:] {
		k1, k2 := binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[8:])
		h1 ^= bits.RotateLeft64(k1*c1, 31) * c2
		h1 = (bits.RotateLeft64(h1, 27)+h2)*5 + 0x52dce729
		h2 ^= bits.RotateLeft64(k2*c2, 33) * c1
		h2 = (bits.RotateLeft64(h2, 31)+h1)*5 + 0x38495ab5
	}
	var k1, k2 uint64
	for i, b := range rest {
		signed := uint64(int64(int8(b)))
		if i < 8 {
			k1 ^= signed << (8 * i)
		} else {
			k2 ^= signed << (8 * (i - 8))
		}
	}
	h1 ^= bits.RotateLeft64(k1*c1, 31) * c2
	h2 ^= bits.RotateLeft64(k2*c2, 33) * c1
	h1 ^= uint64(len(key))
	h2 ^= uint64(len(key))
	h1 += h2
	h2 += h1
	h1, h2 = mix(h1), mix(h2)
	if token := int64(h1 + h2); token != math.MinInt64 {
		return token
	}
	return math.MaxInt64
}

// mix lets every bit of h bear upon every other.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
