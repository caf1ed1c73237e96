package config

import (
	"slices"
	"time"
)

// Keys returns the table of keys, in the order they are documented in.
func Keys() []Key { return slices.Clone(keys) }

// Section is a group of keys, below one name in the file.
type Section struct {
	Name string // empty for keys that stand at the top
	Doc  string // one sentence or two
	Keys []Key
}

// Sections returns the keys by section, in the order they are documented in.
func Sections() []Section {
	out := []Section{{Doc: "These stand at the top of the file, below no section."}}
	for _, k := range keys {
		i := slices.IndexFunc(out, func(s Section) bool { return s.Name == k.Section() })
		if i < 0 {
			i = len(out)
			out = append(out, Section{Name: k.Section(), Doc: sectionDocs[k.Section()]})
		}
		out[i].Keys = append(out[i].Keys, k)
	}
	return out
}

var sectionDocs = map[string]string{
	"view":         "Which view is fed, and which generation of its tables.",
	"kinesis":      "The stream that is read. Region, credentials and endpoints are the AWS SDK's matter.",
	"leases":       "How daemons share the shards of the stream.",
	"cassandra":    "The cluster that is written.",
	"pressure":     "How much may be read and be in flight, and how the writer gives way.",
	"dead_letters": "Where records are kept that can never be applied.",
	"telemetry":    "What the daemon tells about itself, and where.",
}

// The patterns of these rules are necessary only. They are for editors; each key has a parser that knows more.
var (
	startRule = Rule{Words: "trim_horizon or a time such as 2026-11-21T10:00:00Z",
		Pattern: `^([Tt][Rr][Ii][Mm]_[Hh][Oo][Rr][Ii][Zz][Oo][Nn]|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.,]+(Z|[+-][0-9]{2}:[0-9]{2}))$`}
	hostsRule   = Rule{Words: "host or host:port", Pattern: `^[A-Za-z0-9_.:\[\]-]+$`}
	addressRule = Rule{Words: "host:port or :port", Pattern: `:[0-9]{1,5}$`}

	readableRule = Rule{Pattern: `.`, Words: "the path of a readable file"}
)

var keys = []Key{
	required(text("application", "",
		Rule{Pattern: `^[A-Za-z0-9_.-]{3,200}$`, Words: "3 to 200 letters, digits, dots, hyphens and underscores"},
		func(c *Config) *string { return &c.Application },
		"Name of the fleet. Daemons of one application share the stream's shards; lease and state tables are named after it.")),

	text("view.name", "order",
		Rule{Pattern: `^[a-z][a-z0-9_]{0,39}$`, Words: "up to 40 lower-case letters, digits and underscores"},
		func(c *Config) *string { return &c.View.Name },
		"View to feed, one of the program's own. The name of a view from a file stands in the file."),
	text("view.file", "", readableRule,
		func(c *Config) *string { return &c.View.File },
		"YAML file with the view to feed, in place of one of the program's own. A relative path begins in the folder that the "+
			"program runs in."),
	integer("view.generation", "1", Rule{Min: "1", Max: "9999"},
		func(c *Config) *int { return &c.View.Generation },
		"Generation of the view's tables to write. It must belong to the revision of the view in this release."),

	required(text("kinesis.stream", "",
		Rule{Pattern: `^([A-Za-z0-9_.-]{1,128}|arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[A-Za-z0-9_.-]{1,128})$`,
			Words: "the name of a stream, up to 128 letters, digits, dots, hyphens and underscores, " +
				"or its ARN, such as arn:aws:kinesis:eu-west-1:123456789012:stream/orders"},
		func(c *Config) *string { return &c.Kinesis.Stream },
		"Stream to read. It is never created. An ARN must be of the region that the AWS SDK is set to.")),
	oneOf("kinesis.reader", ReaderPolling, Rule{OneOf: []string{ReaderPolling, ReaderFanOut}},
		func(c *Config) *string { return &c.Kinesis.Reader },
		"How shards are read: by polling, whose quotas all readers of the stream share, or by enhanced fan-out, which has 2 MB a second "+
			"and shard to itself and costs extra."),
	text("kinesis.consumer", "",
		Rule{Pattern: `^[A-Za-z0-9_.-]{1,128}$`, Words: "up to 128 letters, digits, dots, hyphens and underscores"},
		func(c *Config) *string { return &c.Kinesis.Consumer },
		"Name that fan-out subscribes under, in place of the application's; generations after the first add -gN to it. setup registers it. "+
			"Of two fleets with one name, each takes the other's subscriptions."),
	one(Key{Name: "kinesis.start", Type: Text, Default: "trim_horizon", Rule: startRule,
		Doc: "Where to begin a stream that has no checkpoint yet: its oldest record, or the first that arrived at a time or later."},
		func(c *Config) *Start { return &c.Kinesis.Start }, parseStart),
	onSignal(oneOf("kinesis.on_loss", OnLossStop, Rule{OneOf: []string{OnLossStop, OnLossContinue}},
		func(c *Config) *string { return &c.Kinesis.OnLoss },
		"What a shard does when records left the stream before they were read: stand still until an operator has looked, or go on without them.")),

	duration("leases.failover", "10s", Rule{Min: "3s", Max: "5m"},
		func(c *Config) *time.Duration { return &c.Leases.Failover },
		"How long a daemon may be silent before another takes over its shards."),
	text("leases.worker", "",
		Rule{Pattern: `^[A-Za-z0-9_.-]{1,64}$`, Words: "up to 64 letters, digits, dots, hyphens and underscores"},
		func(c *Config) *string { return &c.Leases.Worker },
		"Beginning of this daemon's id in the lease table, in place of the host's name."),

	required(Key{Name: "cassandra.hosts", Type: List, Rule: hostsRule,
		Doc: "Hosts to connect to first, each host or host:port; the others are learnt from them.",
		set: setHosts, get: func(c *Config) any { return c.Cassandra.Hosts }}),
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
		"How long to wait for the answer to one request; setup waits at least 30s."),
	text("cassandra.username", "", Rule{Pattern: `^\S(.*\S)?$`, Words: "a name without blanks around it"},
		func(c *Config) *string { return &c.Cassandra.Username },
		"User for password authentication; none if absent."),
	secret("cassandra.password", func(c *Config) *Secret { return &c.Cassandra.Password },
		"Password of that user, from the environment only. A file is named by cassandra.password_file."),
	text("cassandra.password_file", "", Rule{Pattern: `.`, Words: "the path of a readable file"},
		func(c *Config) *string { return &c.Cassandra.PasswordFile },
		"File that holds the password; one line end after it is left out. It is read again for every new connection."),
	oneOf("cassandra.tls", "disabled", Rule{OneOf: []string{TLSDisabled, TLSRequired}},
		func(c *Config) *string { return &c.Cassandra.TLS.Mode },
		"Whether connections are encrypted and hosts must prove who they are. If required, there is no way around it."),
	text("cassandra.tls_ca_file", "", readableRule,
		func(c *Config) *string { return &c.Cassandra.TLS.CAFile },
		"PEM file with the authorities that hosts' certificates must lead to; the system's if absent. As the two files below, "+
			"it is read again for every new connection."),
	text("cassandra.tls_cert_file", "", readableRule,
		func(c *Config) *string { return &c.Cassandra.TLS.CertFile },
		"PEM file with our certificate, for hosts that ask for one, and those between it and its authority."),
	text("cassandra.tls_key_file", "", readableRule,
		func(c *Config) *string { return &c.Cassandra.TLS.KeyFile },
		"PEM file with the key of that certificate."),
	text("cassandra.tls_server_name", "",
		Rule{Pattern: `^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`, Words: "the name of a host"},
		func(c *Config) *string { return &c.Cassandra.TLS.ServerName },
		"Name that the certificate of every host must carry. If absent, it must carry the address that is connected to, or a "+
			"name in cassandra.hosts."),

	size("pressure.in_flight", "64MiB", Rule{Min: "16MiB", Max: "4GiB"},
		func(c *Config) *Size { return &c.Pressure.InFlight },
		"Bytes of records that may be in memory between reading and settling, over all shards."),
	onSignal(duration("pressure.target_latency", "100ms", Rule{Min: "5ms", Max: "1s"},
		func(c *Config) *time.Duration { return &c.Pressure.TargetLatency },
		"What the 99th percentile of a write's latency shall stay below. How many writes are under way at a Cassandra host follows from it.")),
	onSignal(integer(minRequests, "1", Rule{Min: "1", Max: "4096"},
		func(c *Config) *int { return &c.Pressure.MinRequestsPerHost },
		"Writes that may be under way at one Cassandra host at least, however slowly it answers.")),
	onSignal(integer(maxRequests, "1024", Rule{Min: "1", Max: "4096"},
		func(c *Config) *int { return &c.Pressure.MaxRequestsPerHost },
		"Writes that may be under way at one Cassandra host at most, however fast it answers.")),
	onSignal(size("pressure.debt_budget", "600MiB", Rule{Min: "1MiB", Max: "1024GiB"},
		func(c *Config) *Size { return &c.Pressure.DebtBudget },
		"Bytes of writes that an absent replica may be owed, by all daemons of the fleet together, before the writer is at its slowest.")),
	onSignal(integer("pressure.debt_floor_percent", "50", Rule{Min: "0", Max: "100"},
		func(c *Config) *int { return &c.Pressure.DebtFloorPercent },
		"Part of what the other replicas take below which the debt of an absent one never slows the writer. 100 never slows it.")),
	onSignal(integer("pressure.max_records_per_second", "0", Rule{Min: "0", Max: "10000000"},
		func(c *Config) *int { return &c.Pressure.MaxRecordsPerSecond },
		"Records that this daemon reads in a second, over all its shards, on average; 0 for as many as it can.")),

	required(text("dead_letters.bucket", "",
		Rule{Pattern: `^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`, Words: "the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens"},
		func(c *Config) *string { return &c.DeadLetters.Bucket },
		"Bucket for records that can never be applied. It is never created.")),
	text("dead_letters.prefix", "dead-letters",
		Rule{Pattern: `^[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*$`, Words: "a key prefix without slashes at its ends"},
		func(c *Config) *string { return &c.DeadLetters.Prefix },
		"What the keys of dead letters begin with."),
	integer("dead_letters.breaker_percent", "5", Rule{Min: "1", Max: "100"},
		func(c *Config) *int { return &c.DeadLetters.BreakerPercent },
		"Part of a shard's records that may have letters before its breaker stops it. 100 never does."),
	integer("dead_letters.breaker_records", "1000", Rule{Min: "100", Max: "1000000"},
		func(c *Config) *int { return &c.DeadLetters.BreakerRecords },
		"Records of a shard that must have been seen before their part with letters counts. It is counted over the last ten times as many."),
	integer("dead_letters.breaker_in_a_row", "100", Rule{Min: "10", Max: "1000000"},
		func(c *Config) *int { return &c.DeadLetters.BreakerInARow },
		"Records of a shard, one after another, that may have letters of one code before its breaker stops it."),
	text("dead_letters.kms_key", "",
		Rule{Pattern: `^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]{1,250}$`,
			Words: "the ARN of a key or alias in AWS KMS, such as arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
		func(c *Config) *string { return &c.DeadLetters.KMSKey },
		"Key that S3 encrypts dead letters with; without it the bucket's default encryption holds."),

	one(Key{Name: "telemetry.listen", Type: Text, Default: ":9464", Rule: addressRule,
		Doc: "Address of /livez, /readyz and /metrics; port 0 for one chosen by the kernel."},
		func(c *Config) *string { return &c.Telemetry.Listen }, parseAddress),
	one(Key{Name: "telemetry.admin", Type: Text, Default: "127.0.0.1:9465", Rule: addressRule,
		Doc: "Address of profiles and debugging pages, which are for operators only; port 0 for one chosen by the kernel."},
		func(c *Config) *string { return &c.Telemetry.Admin }, parseAddress),
	onSignal(oneOf("telemetry.log_level", "info", Rule{OneOf: []string{"debug", "info", "warn", "error"}},
		func(c *Config) *string { return &c.Telemetry.LogLevel },
		"Least level that is logged.")),

	duration("drain_timeout", "20s", Rule{Min: "1s", Max: "10m"},
		func(c *Config) *time.Duration { return &c.DrainTimeout },
		"How long a stopping daemon waits for what is in flight before it releases its shards."),
}
