// Package vmware behaves towards a lease table and a stream as a worker of vmware-go-kcl-v2 does
// (https://github.com/vmware/vmware-go-kcl-v2, commit f6e79f1 of March 2024, its last), so that tests have a peer of that
// make: one whose fleet is stopped and ours started on its table, and the other way round.
//
// It is a restatement of what that library asks of DynamoDB and Kinesis, with the same conditions and without those it
// lacks, and it shares no code with it. So it has the library's faults: among others a child shard begins at the
// configured initial position, only one parent is waited for, any checkpoint of nothing means that the shard is at its
// end, every write of a row replaces the whole of it, a checkpoint is written on no condition, an aggregate that cannot
// be decoded drops the batch it came in, and an attribute of another type than text is a panic.
//
// What it leaves out: lease stealing and claims, enhanced fan-out, metrics, and the library's timers where a test wants
// to say itself when the shards are synchronised ([Worker.Sync]).
package vmware
