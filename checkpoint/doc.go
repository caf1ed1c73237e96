// Package checkpoint keeps, for each shard, the one position that may be committed and the one worker that may commit
// it. It is pure: it starts nothing, calls nothing and reads no clock.
//
// # Position
//
// A [Tracker] follows every record of a shard from the moment it is read until everything before it is settled. Its
// watermark is the only position that is ever committed. A committed position never moves backwards.
//
// # Lease
//
// A lease is a row in a table whose conditional writes are the authority; clocks only decide when to try. The pair of
// owner and timeout in the row is the fencing token: every write of a held lease is conditional on the pair that this
// holder wrote last, and writes a new one. Two holders therefore never both succeed, whatever their clocks say, and a
// worker that was frozen for an hour cannot move a checkpoint.
//
// Local time does two things, both on the monotonic clock:
//
//   - it bounds trust. A holder believes in its lease until the start of its last successful write + failover − margin,
//     and from then on works as if it had lost it. It counts from the start, since the row may have changed at any
//     moment after that;
//   - it tells when somebody else's row may be taken: when it has been seen unchanged for the failover time. The first
//     sight comes after the write it shows, and the taking is conditional on that very pair, so the earliest taking
//     is later than the holder's fence by the margin. No two clocks are compared.
//
// [Sighting] is the second of these and [Lease] the first; package projector's keeper runs both against a [Store].
//
// # Row format
//
// Rows have the format of vmware-go-kcl-v2 (clientlibrary/checkpoint/dynamodb-checkpointer.go), so that a fleet of
// either can be stopped and one of the other started on the same table. Its rows carry a wall-clock timeout, which is
// respected, and states that it cannot leave by itself, which are healed by the next taking; see [Row].
package checkpoint
