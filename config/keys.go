package config

import (
	"slices"
	"time"
)

// Keys returns the table of keys, in the order they are documented in.
func Keys() []Key { return slices.Clone(keys) }

var (
	startRule   = Rule{Words: "trim_horizon or a time such as 2026-11-21T10:00:00Z"}
	hostsRule   = Rule{Words: "host or host:port"}
	addressRule = Rule{Words: "host:port or :port"}
)

var keys = []Key{
	required(text("application", "",
		Rule{Pattern: `^[A-Za-z0-9_.-]{3,200}$`, Words: "3 to 200 letters, digits, dots, hyphens and underscores"},
		func(c *Config) *string { return &c.Application },
		"Name of the fleet. Daemons of one application share the stream's shards; lease and state tables are named after it.")),

	text("view.name", "order",
		Rule{Pattern: `^[a-z][a-z0-9_]{0,31}$`, Words: "up to 32 lower-case letters, digits and underscores"},
		func(c *Config) *string { return &c.View.Name },
		"View to feed."),
	integer("view.generation", "1", Rule{Min: "1", Max: "9999"},
		func(c *Config) *int { return &c.View.Generation },
		"Generation of the view's tables to write. It must belong to the revision of the view in this release."),

	required(text("kinesis.stream", "",
		Rule{Pattern: `^[A-Za-z0-9_.-]{1,128}$`, Words: "the name of a stream: up to 128 letters, digits, dots, hyphens and underscores"},
		func(c *Config) *string { return &c.Kinesis.Stream },
		"Stream to read. It is never created.")),
	{Name: "kinesis.start", Type: Text, Default: "trim_horizon", Rule: startRule,
		Doc: "Where to begin a stream that has no checkpoint yet: its oldest record, or the first that arrived at a time or later.",
		set: one(func(c *Config) *Start { return &c.Kinesis.Start }, parseStart)},

	duration("leases.failover", "10s", Rule{Min: "3s", Max: "5m"},
		func(c *Config) *time.Duration { return &c.Leases.Failover },
		"How long a daemon may be silent before another takes over its shards."),
	text("leases.worker", "",
		Rule{Pattern: `^[A-Za-z0-9_.-]{1,64}$`, Words: "up to 64 letters, digits, dots, hyphens and underscores"},
		func(c *Config) *string { return &c.Leases.Worker },
		"Beginning of this daemon's id in the lease table, in place of the host's name."),

	required(Key{Name: "cassandra.hosts", Type: List, Rule: hostsRule,
		Doc: "Hosts to connect to first, each host or host:port; the others are learnt from them.",
		set: setHosts}),
	text("cassandra.keyspace", "orders",
		Rule{Pattern: `^[a-z][a-z0-9_]{0,47}$`, Words: "up to 48 lower-case letters, digits and underscores"},
		func(c *Config) *string { return &c.Cassandra.Keyspace },
		"Keyspace of the view's tables."),
	required(text("cassandra.datacenter", "",
		Rule{Pattern: `^\S(.*\S)?$`, Words: "the name of a datacenter as nodetool status shows it"},
		func(c *Config) *string { return &c.Cassandra.Datacenter },
		"Datacenter whose hosts are written to.")),
	oneOf("cassandra.consistency", "LOCAL_QUORUM",
		Rule{OneOf: []string{"LOCAL_QUORUM", "QUORUM", "EACH_QUORUM", "ALL"},
			Reason: "below LOCAL_QUORUM an acknowledged write may be on no replica that a reader asks"},
		func(c *Config) *string { return &c.Cassandra.Consistency },
		"Consistency level of every write. It is never lowered while running."),
	integer("cassandra.replication_factor", "3", Rule{Min: "1", Max: "99"},
		func(c *Config) *int { return &c.Cassandra.ReplicationFactor },
		"Replicas in the datacenter when setup creates the keyspace. An existing keyspace keeps its own."),
	duration("cassandra.timeout", "3s", Rule{Min: "2.1s", Max: "1m",
		Reason: "a client that gives up before the server's own write timeout of 2 s repeats writes that are still at work"},
		func(c *Config) *time.Duration { return &c.Cassandra.Timeout },
		"How long to wait for the answer to one request."),
	text("cassandra.username", "", Rule{Pattern: `^\S(.*\S)?$`, Words: "a name without blanks around it"},
		func(c *Config) *string { return &c.Cassandra.Username },
		"User for password authentication; none if absent."),
	secret("cassandra.password", func(c *Config) *Secret { return &c.Cassandra.Password },
		"Password of that user, from the environment only. A file is named by cassandra.password_file."),
	text("cassandra.password_file", "", Rule{Pattern: `.`, Words: "the path of a readable file"},
		func(c *Config) *string { return &c.Cassandra.PasswordFile },
		"File that holds the password; one line end after it is left out."),

	size("pressure.in_flight", "64MiB", Rule{Min: "16MiB", Max: "4GiB"},
		func(c *Config) *Size { return &c.Pressure.InFlight },
		"Bytes of records that may be in memory between reading and settling, over all shards."),
	integer("pressure.max_requests_per_host", "64", Rule{Min: "1", Max: "4096"},
		func(c *Config) *int { return &c.Pressure.MaxRequestsPerHost },
		"Writes that may be under way at one Cassandra host."),

	required(text("dead_letters.bucket", "",
		Rule{Pattern: `^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`, Words: "the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens"},
		func(c *Config) *string { return &c.DeadLetters.Bucket },
		"Bucket for records that can never be applied. It is never created.")),
	text("dead_letters.prefix", "dead-letters",
		Rule{Pattern: `^[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*$`, Words: "a key prefix without slashes at its ends"},
		func(c *Config) *string { return &c.DeadLetters.Prefix },
		"What the keys of dead letters begin with."),

	{Name: "telemetry.listen", Type: Text, Default: ":9464", Rule: addressRule,
		Doc: "Address of /livez, /readyz and /metrics; port 0 for one chosen by the kernel.",
		set: one(func(c *Config) *string { return &c.Telemetry.Listen }, parseAddress)},
	{Name: "telemetry.admin", Type: Text, Default: "127.0.0.1:9465", Rule: addressRule,
		Doc: "Address of profiles and debugging pages, which are for operators only; port 0 for one chosen by the kernel.",
		set: one(func(c *Config) *string { return &c.Telemetry.Admin }, parseAddress)},
	oneOf("telemetry.log_level", "info", Rule{OneOf: []string{"debug", "info", "warn", "error"}},
		func(c *Config) *string { return &c.Telemetry.LogLevel },
		"Least level that is logged."),

	duration("drain_timeout", "20s", Rule{Min: "1s", Max: "10m"},
		func(c *Config) *time.Duration { return &c.DrainTimeout },
		"How long a stopping daemon waits for what is in flight before it releases its shards."),
}
