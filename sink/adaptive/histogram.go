package adaptive

import (
	"math/bits"
	"time"
)

// histogram counts latencies in buckets that are a sixteenth of their octave wide, from 16 µs to 137 s, so that what it
// says of a percentile is off by 1/16 of it at most, and by half of that within a bucket evenly filled. What lies outside
// counts in the first or the last bucket.
type histogram struct {
	n      int
	counts [buckets]uint32
}

const (
	subBits    = 4
	lowestBit  = 14
	highestBit = 37
	buckets    = (highestBit - lowestBit) << subBits
)

func (h *histogram) add(nanoseconds int64) {
	h.counts[bucketOf(nanoseconds)]++
	h.n++
}

func bucketOf(v int64) int {
	if v < 1<<lowestBit {
		return 0
	}
	top := bits.Len64(uint64(v)) - 1
	if top >= highestBit {
		return buckets - 1
	}
	return (top-lowestBit)<<subBits | int(v>>(top-subBits))&(1<<subBits-1)
}

// bounds are the least latency of a bucket and the width of it.
func bounds(bucket int) (least, width int64) {
	octave, part := bucket>>subBits+lowestBit, int64(bucket&(1<<subBits-1))
	width = 1 << (octave - subBits)
	return 1<<octave + part*width, width
}

// quantile is the latency below which the part q of all lies; 0 without any.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := q * float64(h.n)
	var below float64
	for i, count := range h.counts {
		if count == 0 {
			continue
		}
		if c := float64(count); below+c >= rank {
			least, width := bounds(i)
			return time.Duration(least + int64(float64(width)*(rank-below)/c))
		}
		below += float64(count)
	}
	return time.Duration(1 << highestBit)
}

func (h *histogram) reset() { *h = histogram{} }
