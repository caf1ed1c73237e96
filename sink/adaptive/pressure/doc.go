// Package pressure proves the laws of penstock/sink/adaptive on a simulated cluster, beside the laws of others. It holds tests only.
//
// The plant is three nodes of eight servers each with a queue in front, replication 3 and acknowledgement by two. A write is 0.2 ms of
// work for its coordinator and, for each replica, a lognormal time with mean 1 ms and σ 0.6. A mutation that is older than 2 s when
// its turn comes is dropped, a coordinator gives a write up after 2 s and a client after 5 s. So the cluster takes 8/(1 ms + 0.2/3 ms) = 7500
// writes/s, and 8/(1 ms + 0.2/2 ms) = 7270 with one node gone. Events happen in the order of a virtual clock, ties in the order they were
// planned, and all chance comes from the seed: a run is a function of scenario, law and seed.
//
// The plant is a queueing model and no Cassandra. It has neither a memory nor a disk that could fill, and its nodes learn after a fixed
// time who is gone. What it shows is what queues, time-outs and quorums alone do to a law.
package pressure
