// Package sim runs whole fleets in virtual time, through schedules of everything that can happen to them. It holds tests
// only, and they are what make prove P=sim searches with.
//
// A world is a testing/synctest bubble with several real projectors in it: shard loops, keepers, trackers, readers and
// the AWS client, on the real emulator of Kinesis over pipes. The lease table, the state table, the rows and the letters
// are in memory, and each of them lies as its original may: writes are applied and their answers lost, or arrive late, or
// twice; the state table shows what was some seconds ago; writers refuse and repeat. Processes crash, freeze and go on,
// stop, and believe in wrong clocks, while shards split and merge and operators pause and seek.
//
// A schedule is a value, drawn by rapid from a seed; the same seed is the same schedule, and within it every draw of
// the world depends on the seed, the caller and the number of the call. What does not repeat is the program's own jitter,
// which comes from the runtime's random numbers, and the order in which goroutines run that are ready at one instant. So
// a schedule that fails once fails again mostly, not always: a failure is therefore printed with how often it came again.
//
// The world knows by itself what became of every record, and checks at every moment:
//
//   - a commit passes no record that is neither in the rows nor in a letter, and no part of an aggregate;
//   - a checkpoint moves back by an operator's seek only, and then all behind it is settled once more;
//   - a lease is written by the worker in whose name it stands, and taken as it was seen: its pair and its checkpoint;
//   - no worker sends a write for a shard that another worker owns;
//   - a shard is begun after all of its parents were finished, and finished when it is closed and all of it settled;
//   - every record arrives with the data that was put at its position;
//   - in each process read = applied + parked + in flight + abandoned, none of it more than the world saw, and what is in
//     flight stays within the budget's bounds;
//   - no worker logs an error: that is for losses, and for what people must look after. A breaker that trips is the
//     exception, since schedules have enough poison for that.
//
// At the end all faults stop, all breakers are lifted, and one more record is put to the first hash key of every open shard. Within two minutes
// every record must be in the rows or in a letter, every open shard owned by a living worker with its last record
// committed, and every closed one finished. Then the fleet stops, no goroutine is left, and the rows are the fold of all
// events.
package sim
