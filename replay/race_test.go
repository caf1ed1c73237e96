//go:build race

package replay

// many is how many letters are looked through: the race detector makes each ten times as slow and has seen all there is
// to see after far fewer.
const many = 100_000
