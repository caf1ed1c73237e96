package localstack

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"penstock/localstack/emulator"
)

// What Start fills in, and what the environment names.
const (
	DefaultStream = "orders"
	DefaultShards = 4
	DefaultBucket = "penstock-dead-letters"

	datacenter = "dc1"
	region     = "eu-central-1"
	// DynamoDBLocal refuses access keys with anything but letters and digits.
	accessKey = "penstock"
	secretKey = "penstock"
)

// Heap per Cassandra node in MiB when the configuration names none: three nodes share a machine.
const (
	heapSingleNode = 768
	heapOfThree    = 512
	heapLeast      = 256
)

// Config says which parts run and where. The zero value runs nothing and is refused.
type Config struct {
	// Dir holds everything the stack writes. It must be absent or empty, and is emptied again by Stop. Without it, a folder is made in
	// the system's folder for temporary files.
	Dir string
	// CacheDir keeps the resolved jars, for all stacks of this user. Default: penstock in the user's cache folder.
	CacheDir string

	CassandraNodes int // 0, 1 or 3, on 127.0.0.1 to 127.0.0.3 unless they have hosts of their own
	// Hosts gives each Cassandra node a network of its own; empty leaves all of them on the loopback.
	Hosts    []Host
	DynamoDB bool
	// Volatile keeps DynamoDB's tables in memory and not in files, so that no write waits for a disk that it shares with
	// everything else: for benchmarks of its clients. They are gone once it stops.
	Volatile bool
	S3       bool
	Kinesis  bool

	Ports Ports
	// HeapMiB is the heap of each Cassandra node in MiB, at least 256. Default: 768 for one node, 512 for each of three.
	HeapMiB int
	// Load sizes Cassandra for a benchmark: larger memtables, and a commit log that is written to the disk every ten seconds, as is
	// Cassandra's default. A node that is killed may then lose what it acknowledged last. It wants a HeapMiB of 2048 or more.
	Load bool
	// Security has the Cassandra nodes ask who their clients are; the zero value lets everybody in, unencrypted.
	Security CassandraSecurity
	// CassandraSettings are written to the nodes' cassandra.yaml as they are, by name, for settings that it does not have otherwise.
	CassandraSettings map[string]string

	// Stream is created with Shards shards when Kinesis runs; an empty name creates none.
	Stream string
	Shards int
	// ShardLimit is how many shards all streams of Kinesis together may have; 0 for the service's own default, 500.
	ShardLimit int
	// ReadQuota bounds the reads of each shard of Kinesis; the zero value does not. [emulator.ServiceReadQuota] is the service's.
	ReadQuota emulator.ReadQuota
	// WriteQuota bounds the writes to each shard of Kinesis; the zero value does not. [emulator.ServiceWriteQuota] is the service's.
	WriteQuota emulator.WriteQuota
	// Bucket is created when S3 runs; an empty name creates none.
	Bucket string

	// Progress receives one line per step; nil discards them.
	Progress io.Writer
	// Console receives what the children print, each line with the child's name before it. Without it their output goes only to files in
	// the folder logs.
	Console io.Writer
}

// Host is the network of one Cassandra node: a namespace in which it is alone, so that its links can be cut and delayed one by one.
// Nobody else listens there, so the node's ports are the usual ones unless Ports names others.
type Host struct {
	// Clients is the node's address for CQL, Ring the one for the other nodes. They may be on different links.
	Clients, Ring netip.Addr
	// Enter is the command, such as ip netns exec NAME, that has the command behind it run in the namespace. It must become that
	// command and not start it: a node dies with the stack since the kernel knows whose child it is.
	Enter []string
}

// Ports are TCP ports on the loopback, each 0 for one that the kernel chooses. All Cassandra nodes share the CQL and the storage
// port on addresses of their own.
type Ports struct {
	Kinesis          int
	DynamoDB         int
	S3               int
	CQL              int
	CassandraStorage int
	CassandraJMX     int // of node 1; the nodes after it use the two ports above
}

// Everything is the configuration of devstack: all parts, one Cassandra node, the stream and the bucket.
func Everything() Config {
	return Config{
		CassandraNodes: 1, DynamoDB: true, S3: true, Kinesis: true,
		Stream: DefaultStream, Shards: DefaultShards, Bucket: DefaultBucket,
	}
}

func (c Config) withDefaults() Config {
	if c.CassandraNodes == 3 {
		c.HeapMiB = cmp.Or(c.HeapMiB, heapOfThree)
	}
	c.HeapMiB = cmp.Or(c.HeapMiB, heapSingleNode)
	c.Shards = cmp.Or(c.Shards, DefaultShards)
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	return c
}

func (c Config) cacheDir() (string, error) {
	if c.CacheDir != "" {
		// Class paths name it, and children run in folders of their own.
		return filepath.Abs(c.CacheDir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", &PrerequisiteError{Missing: "no cache folder", Remedy: "set HOME or XDG_CACHE_HOME", Err: err}
	}
	return filepath.Join(cache, "penstock"), nil
}

// Validate names every wrong value at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var wrong []error
	refuse := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if c.CassandraNodes == 0 && !c.DynamoDB && !c.S3 && !c.Kinesis {
		refuse("no part is to run")
	}
	if c.CassandraNodes != 0 && c.CassandraNodes != 1 && c.CassandraNodes != 3 {
		refuse("cassandra nodes: %d, must be 0, 1 or 3", c.CassandraNodes)
	}
	if len(c.Hosts) != 0 && len(c.Hosts) != c.CassandraNodes {
		refuse("hosts: %d for %d cassandra nodes", len(c.Hosts), c.CassandraNodes)
	}
	wrong = append(wrong, c.Security.validate()...)
	if c.HeapMiB < heapLeast {
		refuse("heap: %d MiB, must be at least %d", c.HeapMiB, heapLeast)
	}
	if c.Shards < 1 {
		refuse("shards: %d, must be at least 1", c.Shards)
	}
	for _, port := range []struct {
		of   string
		port int
	}{
		{"kinesis", c.Ports.Kinesis}, {"dynamodb", c.Ports.DynamoDB}, {"s3", c.Ports.S3}, {"cql", c.Ports.CQL},
		{"cassandra storage", c.Ports.CassandraStorage}, {"cassandra jmx", c.Ports.CassandraJMX},
	} {
		if port.port < 0 || port.port > 65535 {
			refuse("port of %s: %d, must be 0 to 65535", port.of, port.port)
		}
	}
	return errors.Join(wrong...)
}
