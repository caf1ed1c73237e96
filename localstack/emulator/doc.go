// Package emulator is Amazon Kinesis Data Streams on the wire, in memory: an http.Handler that the real AWS clients talk to
// (awsJson 1.1, the protocol of the AWS SDK for Go v2), for tests and for the local stack.
//
// One line puts it into a test, over loopback TCP or, inside a testing/synctest bubble, over pipes:
//
//	srv := emulator.Start(t, emulator.Config{})
//	client := kinesis.NewFromConfig(srv.AWS())
//
// Its guarantee is that a client that keeps the service's rules meets the service's answers: a record that was acknowledged is
// read again, in the order of its shard, from every position at or before it, until its retention is over; a sequence number is
// given once and never again, not even by a stream deleted and created anew under the same name. All time is the time package's,
// so a bubble's clock ages records, iterators and tokens. The package keeps no goroutine that works in the background: records
// past their retention go when their shard is next touched.
//
// # What it models
//
//   - CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams and ListShards with their paging, tokens
//     valid for 300 s; streams named by name, by ARN, or by both.
//   - PutRecord and PutRecords: MD5 of the partition key or the explicit hash key picks the shard; the limits of 500 records,
//     of 10 MiB per request and of the stream's record size (1 MiB unless created with more, up to 10 MiB); partial failures.
//   - GetShardIterator with all five types, iterators valid for five minutes and usable any number of times within them;
//     GetRecords with at most 10,000 records and 10 MiB per reply and MillisBehindLatest.
//   - The quotas of each shard: 5 GetRecords and 2 MiB a second read, five seconds of rest after a reply of 10 MiB, 1,000 records
//     and 1 MiB a second written. [New] has them unless [Config] gives others or [Config.Unlimited] is set, as [Start] does.
//   - DryRun of the actions on records, which checks everything but the quotas and uses none; retention.
//   - The service's error types, in the body and in the x-amzn-errortype header; [Server.Intercept] and
//     [Server.InterceptRecords] bring them about at will, and delays, hangs, cut connections and lost answers too. [Script] says
//     in a few lines which calls meet what: by action, by count, by a seeded share.
//
// # What it does not model
//
//   - Anything durable: all is lost with the process. Two processes started within one second may give the same sequence
//     numbers; none within a process.
//   - Delays between states: a stream is ACTIVE once CreateStream answers and gone once DeleteStream does.
//   - Splitting and merging shards, enhanced fan-out, changes of a stream after its creation, tags (accepted, not kept), channels,
//     record distribution AUTO (refused), encryption, authentication (every signature is welcome).
//   - Quotas per stream and account (calls of ListShards and the like), and what an on-demand stream grants beyond its shards.
//   - CBOR, which some other SDKs speak by default; they have a switch for JSON.
//   - The service's freedom to answer GetRecords with nothing although records wait, and to repeat a record after a retry of its
//     own. A test that needs either scripts it.
//   - A position older than the retention: the emulator continues with the oldest record kept. What the service does is not
//     documented.
//
// The limits are those of https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html and of the API reference.
package emulator
