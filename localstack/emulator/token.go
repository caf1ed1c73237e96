package emulator

import (
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"time"
)

// Tokens are opaque to clients: base64 over a kind, the time of issue, up to three numbers and a name, sealed by a checksum that
// only this server can compute. A token that was altered, or that another server gave, is recognised as such. The server keeps
// nothing about the tokens it gave, so that each may be used any number of times and in any order.
type token struct {
	kind   tokenKind
	issued int64  // ms since 1970
	epoch  uint64 // of the stream: names its incarnation
	shard  uint32
	index  uint64 // of the next record to read
	filter shardFilter
	name   string // of the last stream or consumer listed
}

type tokenKind byte

const (
	iteratorToken tokenKind = iota + 1
	shardsToken
	streamsToken
	consumersToken
)

const (
	iteratorLife = 5 * time.Minute
	listingLife  = 300 * time.Second
	tokenHead    = 1 + 8 + 8 + 4 + 8 + 1 + 8
	tokenSeal    = 8
)

// expired says whether the token is older than life at now.
func (t token) expired(now time.Time, life time.Duration) bool {
	return now.UnixMilli()-t.issued > life.Milliseconds()
}

// appendSealed appends the token as clients see it.
func (t token) appendSealed(dst []byte, seed maphash.Seed) []byte {
	raw := make([]byte, 0, tokenHead+len(t.name)+tokenSeal)
	raw = append(raw, byte(t.kind))
	raw = binary.BigEndian.AppendUint64(raw, uint64(t.issued))
	raw = binary.BigEndian.AppendUint64(raw, t.epoch)
	raw = binary.BigEndian.AppendUint32(raw, t.shard)
	raw = binary.BigEndian.AppendUint64(raw, t.index)
	raw = append(raw, byte(t.filter.kind))
	raw = binary.BigEndian.AppendUint64(raw, uint64(t.filter.ms))
	raw = append(raw, t.name...)
	raw = binary.BigEndian.AppendUint64(raw, maphash.Bytes(seed, raw))
	return base64.StdEncoding.AppendEncode(dst, raw)
}

func (t token) sealed(seed maphash.Seed) string { return string(t.appendSealed(nil, seed)) }

// openToken reads a token of a kind that appendSealed wrote with the same seed.
func openToken(text string, kind tokenKind, seed maphash.Seed) (token, bool) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) < tokenHead+tokenSeal {
		return token{}, false
	}
	body, seal := raw[:len(raw)-tokenSeal], raw[len(raw)-tokenSeal:]
	if binary.BigEndian.Uint64(seal) != maphash.Bytes(seed, body) || tokenKind(body[0]) != kind {
		return token{}, false
	}
	return token{
		kind:   kind,
		issued: int64(binary.BigEndian.Uint64(body[1:])),
		epoch:  binary.BigEndian.Uint64(body[9:]),
		shard:  binary.BigEndian.Uint32(body[17:]),
		index:  binary.BigEndian.Uint64(body[21:]),
		filter: shardFilter{kind: filterKind(body[29]), ms: int64(binary.BigEndian.Uint64(body[30:]))},
		name:   string(body[tokenHead:]),
	}, true
}
