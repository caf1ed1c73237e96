//go:build viewtest

package cli

import "penstock/view/viewtest"

// With the build tag viewtest the program has a second view, which the end-to-end tests use to show that nothing but
// package order knows orders.
func init() { Views[viewtest.Stock{}.Name()] = viewtest.Stock{} }
