//go:build !race

package sim

const detecting = false
