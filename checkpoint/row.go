package checkpoint

import "time"

// Row is one row of the lease table as it is stored. It is a comparable value.
//
// A sound row has text in the attributes it has. Writers of the format have left other rows behind, which their own
// readers cannot take over again or fail on: an owner without a timeout, a timeout that is not a time, an empty owner,
// attributes of another type. Row represents all of these, and [Lease.Acquire] heals them.
type Row struct {
	Shard      string   // shard id, the table's hash key
	Owner      string   // worker that holds the lease; "" if there is none to name
	Timeout    string   // when the lease ends by the owner's wall clock, RFC 3339 with nanoseconds; stays after a release
	Checkpoint Sequence // what the attribute says, readable or not: see Position
	Parent     string   // the shard's first parent, if it has one
	Claim      string   // worker that asks for the lease, in vmware-go-kcl-v2 with lease stealing

	Empty Attributes // attributes that are there but hold the empty text
	Wrong Attributes // attributes that are there but hold no text; their fields above are ""
}

// Attributes is a set of attributes of a row.
type Attributes uint8

// The attributes of a row besides its key.
const (
	OwnerAttribute Attributes = 1 << iota
	TimeoutAttribute
	CheckpointAttribute
	ParentAttribute
	ClaimAttribute
)

// Has reports whether all attributes of b are in a.
func (a Attributes) Has(b Attributes) bool { return a&b == b }

// Pair is the fencing token of a lease. A write of a held lease succeeds only while the row carries the pair that the
// holder wrote last.
type Pair struct {
	Owner   string
	Timeout string
}

// Pair returns the row's fencing token.
func (r Row) Pair() Pair { return Pair{Owner: r.Owner, Timeout: r.Timeout} }

// Free reports whether nobody owns the row. A row whose owner cannot be read is not free: its writer may be alive.
func (r Row) Free() bool { return r.Owner == "" && !r.Wrong.Has(OwnerAttribute) }

// Finished reports whether the shard was read to its end.
func (r Row) Finished() bool { return r.Checkpoint == ShardEnd }

// Position returns the committed position, or the zero value if there is none or what stands there is no position. The
// latter makes a shard begin anew, which repeats records and loses none; sent to Kinesis it would fail for ever.
func (r Row) Position() Sequence {
	if !r.Checkpoint.readable() {
		return ""
	}
	return r.Checkpoint
}

// readable reports whether s is what a checkpoint may be: nothing, a sequence number, or ShardEnd.
func (s Sequence) readable() bool {
	if s == "" || s == ShardEnd {
		return true
	}
	if len(s) > 129 || (s[0] == '0' && s != "0") {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// Unreadable reports whether the checkpoint attribute is there but is no position, so that no commit could ever be
// compared with it. The taking of the lease removes it.
func (r Row) Unreadable() bool {
	return r.Wrong.Has(CheckpointAttribute) || !r.Checkpoint.readable()
}

// Healed returns the row without an owner and without what no reader of the format can read: a timeout that is no time,
// a checkpoint that is no position, and attributes that are empty or of another type. The timeout of a row without owner
// means nothing; it stays where it can be read.
func (r Row) Healed() Row {
	healed := Row{Shard: r.Shard, Checkpoint: r.Position(), Parent: r.Parent, Claim: r.Claim}
	if _, err := time.Parse(time.RFC3339Nano, r.Timeout); err == nil {
		healed.Timeout = r.Timeout
	}
	return healed
}
