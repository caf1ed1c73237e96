// Package emulator is Amazon Kinesis Data Streams on the wire, in memory: an http.Handler that the real AWS clients talk to
// (awsJson 1.1, the protocol of the AWS SDK for Go v2), for tests and for the local stack.
//
// One line puts it into a test, over loopback TCP or, inside a testing/synctest bubble, over pipes:
//
//	srv := emulator.Start(t, emulator.Config{})
//	client := kinesis.NewFromConfig(srv.AWS())
//
// Its guarantee is that a client that keeps the service's rules meets the service's answers: a record that was acknowledged is
// read again, in the order of its shard, from every position at or before it, until its retention is over, however often the shards
// are split and merged meanwhile; the open shards cover every hash key once at any moment, and a child's numbers follow its
// parents'; a sequence number is given once and never again, not even by a stream deleted and created anew under the same name. All
// time is the time package's, so a bubble's clock ages records, iterators, tokens and subscriptions. The package keeps no goroutine
// that works in the background: records past their retention go when their shard is next touched, and a subscription is the call
// that answers it.
//
// # What it models
//
//   - CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams and ListShards with their paging, filters and
//     tokens valid for 300 s; streams named by name, by ARN, or by both.
//   - PutRecord and PutRecords: MD5 of the partition key or the explicit hash key picks the shard; the limits of 500 records,
//     of 10 MiB per request and of the stream's record size (1 MiB unless it has more, up to 10 MiB); partial failures.
//   - GetShardIterator with all five types, iterators valid for five minutes and usable any number of times within them;
//     GetRecords with at most 10,000 records and 10 MiB per reply and MillisBehindLatest.
//   - SplitShard, MergeShards and UpdateShardCount with its limits. Parents close with an EndingSequenceNumber and keep their
//     records; the last answer of GetRecords has no NextShardIterator and names the ChildShards; once its retention has passed
//     since, a closed shard is listed no more. [Server.Scale] does what the service does to a stream in on-demand mode.
//   - Changes of a stream: retention (which [Server.Retain] shortens further than the API does), mode, record size, and record
//     distribution AUTO, under which the shards take turns and a record needs no partition key and has none when it is read. After
//     each the stream is UPDATING for [Config.UpdateTime], goes on to read and write, and takes no other change.
//   - Consumers with enhanced fan-out: RegisterStreamConsumer, DescribeStreamConsumer, ListStreamConsumers,
//     DeregisterStreamConsumer, and SubscribeToShard with its event stream, the initial response included. A subscription lasts
//     five minutes; within five seconds of one another is refused with ResourceInUseException, and later takes over. Events come as
//     records do, without records every five seconds, and hold up to 2 MiB; ContinuationSequenceNumber moves on also without
//     records, and every action that takes a number takes it. The last event of a shard has ChildShards in its place.
//   - The quotas of each shard: 5 GetRecords and 2 MiB a second read, five seconds of rest after a reply of 10 MiB, 2 MiB a second
//     for each consumer, 1,000 records and 1 MiB a second written; the quotas of the control plane per stream and account. [New]
//     has them unless [Config] gives others or [Config.Unlimited] is set, as [Start] does.
//   - DryRun of the actions on records and of SubscribeToShard, which checks everything but the quotas and uses none.
//   - The service's error types, in the body and in the x-amzn-errortype header; [Server.Intercept] and
//     [Server.InterceptRecords] bring them about at will, and delays, hangs, cut connections and lost answers too. [Script] says
//     in a few lines which calls meet what: by action, by count, by a seeded share. The events of a subscription pass the same
//     hook, as SubscribeToShardEvent: [End] before the first one, [Hang] for a stream that falls silent, [Cut] amid a frame, errors
//     in frames of their own.
//
// # What it does not model
//
//   - Anything durable: all is lost with the process. Two processes started within one second may give the same sequence
//     numbers; none within a process.
//   - Delays where [Config.CreateTime] and [Config.UpdateTime] leave them out: unless told otherwise a stream is ACTIVE once
//     CreateStream answers and gone once DeleteStream does. A reshard takes place at once, at the beginning of UPDATING.
//   - HTTP/2, over which the service sends its event streams: here they come over HTTP/1.1, in chunks, which the SDK takes as well.
//   - On-demand streams that scale by themselves, and what such a stream grants beyond its shards; warm throughput and other
//     settings of the account, with which a stream may have 50 consumers instead of 20.
//   - Tags (accepted, not kept), channels, encryption, resource policies, authentication (every signature is welcome).
//   - CBOR, which some other SDKs speak by default; they have a switch for JSON.
//   - The service's freedom to answer GetRecords with nothing although records wait, and to repeat a record after a retry of its
//     own. A test that needs either scripts it.
//   - What is not documented: for a position older than the retention the emulator continues with the oldest record kept; an
//     iterator of a shard whose retention is over leads to its children; a stream with AUTO does not leave on-demand mode; to scale
//     to the present number of shards makes them even.
//
// The limits are those of https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html and of the API reference. That
// a shard's last event has no ContinuationSequenceNumber is what the Kinesis Client Library expects of the service
// (https://github.com/awslabs/amazon-kinesis-client); at which hash keys a shard may be split, and what its numbers look like, was
// observed by the kinesalite project.
package emulator
