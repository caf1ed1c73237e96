// Package viewtest is what tests of views and of everything that carries them need.
//
// [Stock] is a view that has nothing in common with orders: no birth, one table, provenance `last`, every column
// revisable. Suites run on it as well as on the order view, so that nothing in the engine knows orders. [StockEvents]
// makes events for it, with an oracle that shares no code with the view. [Kitchen] is a table with a column of every
// kind, and [Mutations] draws mutations of any table, made to collide. [Conform] holds a mutation against its table.
package viewtest
