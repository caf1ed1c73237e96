// Package viewfile is a view from a YAML file: it says how events of any shape become rows of Cassandra tables, without a
// line of Go and without an expression language.
//
//	view: stock
//	event:
//	  envelope: plain                  # or cloudevents, debezium
//	  id: /event_id                    # JSON Pointers into the event
//	  type: /kind
//	  version: /sequence               # an integer that grows with every event of an entity
//	  time: {path: /at, as: epoch_ms}
//	  entity: [/warehouse, /sku]       # what the version orders
//	tables:
//	  stock_by_warehouse:
//	    partition: {warehouse: {type: text, path: /warehouse}}
//	    clustering: {sku: {type: text, path: /sku}}
//	    provenance: last
//	    columns:
//	      on_hand: {type: bigint, class: revisable}
//	on:
//	  stock.counted:
//	    stock_by_warehouse:
//	      set:
//	        on_hand: /on_hand
//
// The folders of examples are whole views with their events and the rows that these end in; [JSONSchema] describes every
// key.
//
// # What a file means
//
// Each type of event under on writes at most one row of each table. Where the row's key stands is said once, with the
// table, and again under key where a type has it elsewhere. A column is set from a value: a path, a const, the fields of a
// frozen type, or the sum of products over an array. A map gets entries and a set gets elements, one, or one for each
// element of an array; pointers within each begin at the element. A value that is not there, or null, is poison unless it
// is optional; then the column is left alone, and keeps what an earlier event said. A type under on may stand for several
// with commas between them, and "*" for all; so may a table. What a file does not name is poison, unless it says
// others: ignore.
//
// Nothing else is made of an event. Text is kept as it is, but for upper and lower, which change the letters of ASCII
// only, because the tables of all others change from one release of Unicode to the next. Times are cut to the
// millisecond, downwards. A decimal loses the zeros at the end of its fraction, and its exponent: 1.50 becomes 1.5 and 1e2
// becomes 100, because Cassandra takes 1.0 and 1.00 for one key, and compares bytes where two writes of a cell tie. JSON is
// read strictly: a name that stands twice, invalid UTF-8 and a second value are poison, wherever they stand in the record.
//
// # Convergence
//
// [Load] accepts only files for which any order and any repetition of events ends in the rows that each entity's events
// make in the order of their versions, every event overwriting the cells it sets and adding to maps and sets. The prover
// lists the conditions, and refuses everything else with its line, the rule and what to do. Counters, lists, frozen
// collections, nulls and deletes have no words here; a delete is a revisable boolean.
//
// What a loader cannot know is the word of the file's author:
//
//   - The version grows with every event of an entity, and no two of its events share one.
//   - The birth is the same in every event of an entity.
//   - What a type of event writes once it says with one value for each row, and for each entry of a map: it happens once,
//     or says the same again. An event comes in one schema version of its type.
//   - What is in a key beside the entity does not change over an entity's life. If it does, the rows still converge, but
//     the entity has a row for each of its values, and the older ones stay.
//
// [Test] shows where events break this word: it applies them in many orders, and in the order of their versions.
//
// # Revisions
//
// A file's revision is the version of its interpreter and the hash of its canonical text, which has no comments, one order
// and one spelling; [View.Definition] returns it. [Compare] tells whether another file asks for a new generation of
// tables or only adds columns that were never written before.
//
// # Speed
//
// The paths of a file are one tree. A record is read once, by one pass of a strict decoder, whatever its type and wherever
// in it the type stands; what no path leads to costs no memory. Equal values are computed once for all tables. What is
// text in the record is shared with it, and everything else that an event becomes is one piece of memory.
package viewfile
