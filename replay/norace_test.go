//go:build !race

package replay

// many is how many letters are looked through.
const many = 1_000_000
