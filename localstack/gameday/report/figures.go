package report

import (
	"math"
	"slices"
)

// The rate is steady from the first second whose rate, and the next one's, are within so much of the level that the window ends at.
const steadyWithin = 0.2

// Steady returns after how many seconds a series by second keeps to its level, which is the median of its last half. There is no answer
// for less than four seconds, nor where nothing moves.
func Steady(rates []float64) (seconds int, ok bool) {
	if len(rates) < 4 {
		return 0, false
	}
	level := Median(rates[len(rates)/2:])
	if level == 0 {
		return 0, false
	}
	near := func(rate float64) bool { return math.Abs(rate-level) <= steadyWithin*level }
	for i := range len(rates) - 1 {
		if near(rates[i]) && near(rates[i+1]) {
			return i, true
		}
	}
	return 0, false
}

// Median returns the mean of the two middle values of an even number, 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// window is the part of a series from one second to another, as far as it goes.
func window(series []float64, from, to int) []float64 {
	to = min(to, len(series))
	return series[min(from, to):to]
}
