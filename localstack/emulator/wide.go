package emulator

import (
	"cmp"
	"math/bits"
)

// uint192 is an unsigned integer of 192 bits, least significant word first. Sequence numbers take 186 bits of it and hash keys
// 128; both cross the wire as decimal numbers, thousands per reply, which is why math/big does not do here.
type uint192 [3]uint64

const (
	decimalChunk = 1e19 // the largest power of ten that a word holds
	chunkDigits  = 19
)

func (a uint192) compare(b uint192) int {
	return cmp.Or(cmp.Compare(a[2], b[2]), cmp.Compare(a[1], b[1]), cmp.Compare(a[0], b[0]))
}

// decrement returns a−1; 0 wraps around.
func (a uint192) decrement() uint192 {
	var borrow uint64
	a[0], borrow = bits.Sub64(a[0], 1, 0)
	a[1], borrow = bits.Sub64(a[1], 0, borrow)
	a[2], _ = bits.Sub64(a[2], 0, borrow)
	return a
}

// plus returns a+b; an overflow wraps around.
func (a uint192) plus(b uint192) uint192 {
	var carry uint64
	a[0], carry = bits.Add64(a[0], b[0], 0)
	a[1], carry = bits.Add64(a[1], b[1], carry)
	a[2], _ = bits.Add64(a[2], b[2], carry)
	return a
}

// timesPlus returns a·factor+addend and whether it fits.
func (a uint192) timesPlus(factor, addend uint64) (uint192, bool) {
	carry := addend
	for i, word := range a {
		hi, lo := bits.Mul64(word, factor)
		var c uint64
		a[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c // hi ≤ 2^64−2, so this cannot overflow
	}
	return a, carry == 0
}

// dividedBy returns quotient and remainder; the divisor is not 0.
func (a uint192) dividedBy(divisor uint64) (uint192, uint64) {
	var rest uint64
	a[2], rest = bits.Div64(0, a[2], divisor)
	a[1], rest = bits.Div64(rest, a[1], divisor)
	a[0], rest = bits.Div64(rest, a[0], divisor)
	return a, rest
}

// appendDecimal appends a in decimal without leading zeros.
func (a uint192) appendDecimal(dst []byte) []byte {
	var digits [4 * chunkDigits]byte
	end := len(digits)
	at := end
	for a != (uint192{}) {
		var chunk uint64
		a, chunk = a.dividedBy(decimalChunk)
		at -= chunkDigits
		for i := at + chunkDigits - 1; i >= at; i-- {
			digits[i] = byte('0' + chunk%10)
			chunk /= 10
		}
	}
	for at < end && digits[at] == '0' {
		at++
	}
	if at == end {
		return append(dst, '0')
	}
	return append(dst, digits[at:]...)
}

func (a uint192) String() string { return string(a.appendDecimal(nil)) }

// parseDecimal reads what appendDecimal writes and nothing else: no sign, no leading zero, no overflow.
func parseDecimal[T string | []byte](text T) (uint192, bool) {
	var a uint192
	if len(text) == 0 || len(text) > 1 && text[0] == '0' {
		return a, false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return a, false
		}
		var fits bool
		if a, fits = a.timesPlus(10, uint64(text[i]-'0')); !fits {
			return a, false
		}
	}
	return a, true
}
