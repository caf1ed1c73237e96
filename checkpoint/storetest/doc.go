// Package storetest holds lease stores to their contract: one suite, [Run], that every [checkpoint.Store] passes, and
// [Memory], a store that passes it and can be told to fail in the ways a network and a service fail. The same for the
// state table's plain items: [RunItems] and [Items].
//
// Simulations run on Memory; what they show holds for the real store as far as the suite binds the two together.
package storetest
