package emulator

// sequence is what a sequence number says. Users may rely only on its order within a shard; the emulator gives it the shape that
// the service's numbers have been observed to have (documented by the kinesalite project): 186 bits, 56 decimal digits that begin
// with 49, from the top
//
//	2 bits   constant 2
//	36 bits  epoch: seconds since 1970 at the shard's creation
//	4 bits   low bits of the shard's index
//	64 bits  index of the record in the shard
//	8 bits   constant 0
//	36 bits  seconds since 1970 at the record's arrival
//	32 bits  the shard's index
//	4 bits   version, 2
//
// The index stands above the time, so numbers rise with the index whatever the clock does.
type sequence struct {
	epoch  uint64
	shard  uint32
	index  uint64
	second uint64
}

const (
	sequenceVersion = 2
	sequenceLead    = 2
	maxSecond       = 1<<36 - 1
)

func (q sequence) number() uint192 {
	return uint192{
		sequenceVersion | uint64(q.shard)<<4 | q.second<<36,
		q.second>>28 | q.index<<16,
		q.index>>48 | uint64(q.shard&0xf)<<16 | q.epoch<<20 | sequenceLead<<56,
	}
}

// append appends the number in decimal.
func (q sequence) append(dst []byte) []byte { return q.number().appendDecimal(dst) }

func (q sequence) String() string { return q.number().String() }

// parseSequence reads a number that append could have written.
func parseSequence(text string) (sequence, bool) {
	n, ok := parseDecimal(text)
	if !ok {
		return sequence{}, false
	}
	q := sequence{
		epoch:  n[2] >> 20 & maxSecond,
		shard:  uint32(n[0] >> 4),
		index:  n[1]>>16 | n[2]<<48,
		second: n[0]>>36 | n[1]<<28&maxSecond,
	}
	// The constants and the shard's repeated bits are checked by building the number again.
	return q, q.number() == n
}
