// Package localstack runs everything Penstock talks to on one machine, without containers and without an account: a real
// Apache Cassandra of one or three nodes, DynamoDBLocal (AWS's own server), an S3 and a Kinesis.
//
// Cassandra and DynamoDBLocal are processes of their own, so that a test can freeze, kill and restart them; their jars are
// resolved by Maven once and kept in the user's cache folder. S3 and Kinesis are served in this process, so that a test can
// make them stop listening and start again. Nothing is downloaded when the cache is warm.
//
// Three promises hold for a [Stack]:
//
//   - It says ready only when every part has answered through the client that applications use, and in a cluster when every
//     node reaches every other.
//   - Its ports are its own from before the start until after the end. Each is held by a bound socket that never
//     listens, so that neither a client's ephemeral port nor another stack takes it while a server is down.
//   - Nothing outlives it. Children are asked to end, then killed, and waited for. On Linux the kernel kills them as well when
//     the process that started them is itself killed; on other systems that one case leaves them running.
//
// What it does not prove: one machine has no zones and one clock; DynamoDBLocal has neither throttling nor latency; S3 and
// Kinesis are emulators of what Penstock uses, and Kinesis has the service's quotas only when asked for them, as devstack does.
package localstack
