// Package config is the daemon's configuration: one YAML file, overridden by the environment, overridden by flags.
//
// One table ([Keys]) names every key with its type, default, rule and meaning; reading, validation, origins and
// documentation derive from it. Every scalar is taken as the text that was written, never as what YAML would make of it
// (a password 0123 is not the number 83), and one parser per type reads that text, wherever it came from. [Load] either
// returns a configuration that is valid as a whole, with the origin of each value, or an [*Error] that names every
// mistake at once.
//
// The AWS SDK's own variables (region, credentials, AWS_ENDPOINT_URL_KINESIS and its like) are not configured here.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Config is a valid configuration. The meaning, unit and range of each field stand in [Keys].
type Config struct {
	Application  string
	View         View
	Kinesis      Kinesis
	Leases       Leases
	Cassandra    Cassandra
	Pressure     Pressure
	DeadLetters  DeadLetters
	Telemetry    Telemetry
	DrainTimeout time.Duration

	settings map[string]Setting
}

// View is which view is fed, and which generation of its tables.
type View struct {
	Name       string // of the program's own view, or of the one in File
	File       string // empty if the view is one of the program's own
	Revision   string // of the view in File when it was read; empty without one
	Generation int
}

// Kinesis is the stream that is read.
type Kinesis struct {
	Stream   string // a name or an ARN; see StreamName and ARN
	Reader   string // "polling" or "fanout"
	Consumer string // empty for the application; see ConsumerName
	Start    Start
	OnLoss   string // "stop" or "continue"
}

// How shards are read.
const (
	ReaderPolling = "polling"
	ReaderFanOut  = "fanout"
)

// What a shard does when records left the stream before they were read.
const (
	OnLossStop     = "stop"
	OnLossContinue = "continue"
)

// Leases is how daemons share the shards of the stream.
type Leases struct {
	Failover time.Duration
	Worker   string
}

// Cassandra is the cluster that is written.
type Cassandra struct {
	Hosts             []string // each host or host:port
	Keyspace          string
	Datacenter        string
	Consistency       string
	ReplicationFactor int
	Timeout           time.Duration
	Username          string // empty for none; set exactly if Password is
	Password          Secret
	PasswordFile      string // where Password was read, empty if it came from the environment
	TLS               TLS
}

// Pressure is how much may be read and be in flight, and how the writer gives way.
type Pressure struct {
	InFlight            Size
	TargetLatency       time.Duration
	MinRequestsPerHost  int // at most MaxRequestsPerHost
	MaxRequestsPerHost  int
	DebtBudget          Size
	DebtFloorPercent    int
	MaxRecordsPerSecond int // 0 for no cap
}

// DeadLetters is where records are kept that can never be applied.
type DeadLetters struct {
	Bucket         string
	Prefix         string
	KMSKey         string // empty for the bucket's default encryption
	BreakerPercent int    // 100: never by share
	BreakerRecords int
	BreakerInARow  int
}

// Telemetry is what the daemon tells about itself, and where.
type Telemetry struct {
	Listen   string
	Admin    string
	LogLevel string
}

// Start is where a stream is begun that has no checkpoint yet. The zero value is its oldest record.
type Start struct {
	// At is the time of arrival of the first record wanted; zero for the oldest there is (TRIM_HORIZON).
	At time.Time
}

func (s Start) String() string {
	if s.At.IsZero() {
		return "trim_horizon"
	}
	return s.At.Format(time.RFC3339Nano)
}

// Layer is a source of values. A later one goes before an earlier one.
type Layer uint8

// The layers.
const (
	Default Layer = iota
	File
	Environment
	Flag
)

func (l Layer) String() string { return [...]string{"default", "file", "environment", "flag"}[l] }

// Digest is equal for equal effective settings, whatever layer they come from: 16 hexadecimal digits. It is made without
// secrets.
func (c *Config) Digest() string {
	h := sha256.New()
	for _, s := range c.Settings() {
		if s.Key.Type != Hidden {
			fmt.Fprintf(h, "%s=%q\n", s.Key.Name, s.Value) // never fails
		}
	}
	fmt.Fprintf(h, "revision=%q\n", c.View.Revision)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Origin is where a value comes from. The zero value is a default.
type Origin struct {
	Layer  Layer
	Name   string // of the file, the variable or the flag
	Line   int    // of the file, from 1; 0 if unknown
	Column int    // of the line, from 1; 0 if unknown
}

// Setting is one key's effective value.
type Setting struct {
	Key    Key
	Value  string // as text; a secret shows that it is set, never what it is
	Origin Origin
}

// Origin returns where the value of a key such as "cassandra.hosts" comes from.
func (c *Config) Origin(key string) Origin { return c.settings[key].Origin }

// Settings returns the effective value of every key that has one, in the order of [Keys].
func (c *Config) Settings() []Setting {
	var out []Setting
	for _, k := range keys {
		if s, ok := c.settings[k.Name]; ok {
			out = append(out, s)
		}
	}
	return out
}
