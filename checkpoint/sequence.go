package checkpoint

import "cmp"

// Sequence is the position of a record in a shard as Kinesis names it: a decimal number of up to 129 digits without
// leading zeros. The zero value means that there is none.
type Sequence string

// ShardEnd stands in place of a sequence number when a shard was read to its end and everything in it is settled.
const ShardEnd Sequence = "SHARD_END"

// Compare orders sequence numbers of one shard: negative if s comes before t. No position comes before every position,
// and [ShardEnd] after. It compares text, by length first, which is right because there are no leading zeros, and
// which a conditional write in DynamoDB can express as well.
func (s Sequence) Compare(t Sequence) int {
	if s == t {
		return 0
	}
	if s == ShardEnd {
		return 1
	}
	if t == ShardEnd {
		return -1
	}
	return cmp.Or(cmp.Compare(len(s), len(t)), cmp.Compare(s, t))
}
