//go:build race

package sim

// detecting says that the race detector looks on, which takes about ten times as long.
const detecting = true
