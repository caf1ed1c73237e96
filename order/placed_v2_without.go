//go:build without_placed_v2

package order

// placedV2 is left out of this build.
var placedV2 []schema
