package config

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Type is the type of a key's value.
type Type uint8

// The closed set of types.
const (
	Text Type = iota
	Integer
	Duration // Go's notation, such as 1m30s
	Bytes    // a [Size]
	List     // of texts; comma-separated in the environment and in flags
	Hidden   // a [Secret]: from the environment, or from the file that the key with _file at its end names
)

func (t Type) String() string {
	return [...]string{"text", "integer", "duration", "size", "list", "secret"}[t]
}

// Reload is when a change of a key takes effect.
type Reload uint8

// The closed set of moments.
const (
	AtStart  Reload = iota // of the next process
	OnSignal               // SIGHUP, too
)

func (r Reload) String() string { return [...]string{"restart", "SIGHUP"}[r] }

// Rule is what holds for a value beyond its type. Empty parts do not apply.
type Rule struct {
	Min, Max string // inclusive, in the notation of the type
	OneOf    []string
	Pattern  string // a regular expression for the whole text, or for each entry of a list
	Words    string // what else to say after "must be", in place of the other parts
	Reason   string
}

// String returns the rule as the end of a sentence that begins with the key, such as "must be 3s to 5m".
func (r Rule) String() string {
	s := r.Words
	switch {
	case s != "":
	case len(r.OneOf) > 1:
		s = strings.Join(r.OneOf[:len(r.OneOf)-1], ", ") + " or " + r.OneOf[len(r.OneOf)-1]
	case r.Max != "":
		s = r.Min + " to " + r.Max
	case r.Min != "":
		s = "at least " + r.Min
	default:
		return ""
	}
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	return "must be " + s
}

func (r Rule) violated() error { return errors.New(r.String()) }

// Key is one row of the table of keys.
type Key struct {
	Name     string // such as "cassandra.hosts"
	Type     Type
	Default  string // in the notation of the type; empty for none
	Required bool
	Rule     Rule
	Reload   Reload
	Doc      string // one sentence or two
	// set parses a value, which has exactly one text unless the type is List, and puts it where it belongs. Its error
	// says what the value must be.
	set func(*Config, []string) error
	// get returns the parsed value that set left.
	get func(*Config) any
}

// Section is the part of the name before the dot, empty for a key that stands at the top.
func (k Key) Section() string {
	if section, _, ok := strings.Cut(k.Name, "."); ok {
		return section
	}
	return ""
}

// Variable is the environment variable that sets the key.
func (k Key) Variable() string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

const variablePrefix = "PENSTOCK_"

// one returns the key with the access to its field, which holds a single value.
func one[T any](k Key, field func(*Config) *T, parse func(string) (T, error)) Key {
	k.set = func(c *Config, texts []string) error {
		v, err := parse(texts[0])
		if err != nil {
			return err
		}
		*field(c) = v
		return nil
	}
	k.get = func(c *Config) any { return *field(c) }
	return k
}

func required(k Key) Key {
	k.Required = true
	return k
}

// onSignal marks a key that the daemon takes over while it runs.
func onSignal(k Key) Key {
	k.Reload = OnSignal
	return k
}

func text(name, deflt string, rule Rule, field func(*Config) *string, doc string) Key {
	pattern := regexp.MustCompile(rule.Pattern)
	return one(Key{Name: name, Type: Text, Default: deflt, Rule: rule, Doc: doc}, field, func(s string) (string, error) {
		if !pattern.MatchString(s) {
			return "", rule.violated()
		}
		return s, nil
	})
}

func oneOf(name, deflt string, rule Rule, field func(*Config) *string, doc string) Key {
	return one(Key{Name: name, Type: Text, Default: deflt, Rule: rule, Doc: doc}, field, func(s string) (string, error) {
		if !slices.Contains(rule.OneOf, s) {
			return "", rule.violated()
		}
		return s, nil
	})
}

func integer(name, deflt string, rule Rule, field func(*Config) *int, doc string) Key {
	return one(Key{Name: name, Type: Integer, Default: deflt, Rule: rule, Doc: doc}, field,
		within(rule, strconv.Atoi, "a whole number"))
}

func duration(name, deflt string, rule Rule, field func(*Config) *time.Duration, doc string) Key {
	return one(Key{Name: name, Type: Duration, Default: deflt, Rule: rule, Doc: doc}, field,
		within(rule, time.ParseDuration, "a duration with its unit, such as 10s"))
}

func size(name, deflt string, rule Rule, field func(*Config) *Size, doc string) Key {
	return one(Key{Name: name, Type: Bytes, Default: deflt, Rule: rule, Doc: doc}, field,
		within(rule, ParseSize, "a whole number of B, KiB, MiB or GiB, such as 64MiB"))
}

// within returns a parser that keeps a rule's bounds, which it reads in the same notation. Bounds that it cannot read
// are a fault of the table.
func within[T int | time.Duration | Size](rule Rule, parse func(string) (T, error), words string) func(string) (T, error) {
	bound := func(s string) T {
		v, err := parse(s)
		if err != nil {
			panic(fmt.Sprintf("bound %s: %v", s, err))
		}
		return v
	}
	low, high := bound(rule.Min), bound(rule.Max)
	return func(s string) (T, error) {
		v, err := parse(s)
		if err != nil {
			return 0, fmt.Errorf("must be %s, %s to %s", words, rule.Min, rule.Max)
		}
		if v < low || v > high {
			return 0, rule.violated()
		}
		return v, nil
	}
}

func secret(name string, field func(*Config) *Secret, doc string) Key {
	return one(Key{Name: name, Type: Hidden, Doc: doc}, field, func(s string) (Secret, error) { return NewSecret(s), nil })
}

func parseStart(s string) (Start, error) {
	switch strings.ToLower(s) {
	case "trim_horizon":
		return Start{}, nil
	case "latest":
		return Start{}, errors.New("must be trim_horizon or a time: after a crash before the first checkpoint, latest would skip " +
			"every record that came in between")
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return Start{}, startRule.violated()
	}
	return Start{At: at}, nil
}

// setHosts keeps hosts as they are written: what a name resolves to is asked when it is connected to.
func setHosts(c *Config, hosts []string) error {
	if len(hosts) == 0 {
		return errors.New("must name at least one host")
	}
	for _, h := range hosts {
		if !isHost(h) {
			return fmt.Errorf("%q %v", h, hostsRule)
		}
	}
	c.Cassandra.Hosts = slices.Clone(hosts)
	return nil
}

// isHost accepts host, host:port, an IP address of either family, and [IPv6]:port.
func isHost(s string) bool {
	if net.ParseIP(s) != nil {
		return true
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return hostName.MatchString(s)
	}
	return isPort(port) && port != "0" && (net.ParseIP(host) != nil || hostName.MatchString(host))
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// parseAddress accepts what a listener takes: an optional host and a port, 0 for one chosen by the kernel.
func parseAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || !isPort(port) || host != "" && net.ParseIP(host) == nil && !hostName.MatchString(host) {
		return "", addressRule.violated()
	}
	return s, nil
}
