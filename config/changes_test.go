package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func load(t *testing.T, s Sources) *Config {
	t.Helper()
	c, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func names(settings []Setting) []string {
	var out []string
	for _, s := range settings {
		out = append(out, s.Key.Name+"="+s.Value)
	}
	return out
}

func TestChangesTellsWhatIsTakenOverAndWhatWaits(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte(hunter2), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, old, new string // besides the minimal file
		safe, restart  []string
	}{
		{"nothing", "drain_timeout: 60s\n", "drain_timeout: 60s\n", nil, nil},
		{"notation", "drain_timeout: 60s\nkinesis: {start: \"2026-11-21T10:00:00Z\"}\n",
			"drain_timeout: 1m\nkinesis: {start: \"2026-11-21T11:00:00+01:00\"}\n", nil, nil},
		{"a default written down", "", "drain_timeout: 20s\ntelemetry: {log_level: info}\n", nil, nil},
		{"log level", "", "telemetry: {log_level: debug}\n", []string{"telemetry.log_level=debug"}, nil},
		{"a cap", "", "pressure: {max_records_per_second: 500}\n", []string{"pressure.max_records_per_second=500"}, nil},
		{"back to the default", "pressure: {max_requests_per_host: 8}\n", "", []string{"pressure.max_requests_per_host=1024"}, nil},
		{"both kinds, in the table's order", "",
			"drain_timeout: 1m\ntelemetry: {log_level: warn, listen: \":9000\"}\npressure: {max_requests_per_host: 8, in_flight: 32MiB}\n",
			[]string{"pressure.max_requests_per_host=8", "telemetry.log_level=warn"},
			[]string{"pressure.in_flight=32MiB", "telemetry.listen=:9000", "drain_timeout=1m"}},
		{"value gone", "leases: {worker: a}\n", "", nil, []string{"leases.worker="}},
		{"secret", "", "cassandra: {username: me, password_file: " + secretFile + "}\n", nil,
			[]string{"cassandra.username=me", "cassandra.password=[secret]", "cassandra.password_file=" + secretFile}},
	} {
		t.Run(test.name, func(t *testing.T) {
			safe, restart := Changes(load(t, Sources{File: write(t, test.old), Env: requiredByEnvironment}),
				load(t, Sources{File: write(t, test.new), Env: requiredByEnvironment}))
			if !slices.Equal(names(safe), test.safe) || !slices.Equal(names(restart), test.restart) {
				t.Errorf("safe %q, restart %q, want %q and %q", names(safe), names(restart), test.safe, test.restart)
			}
		})
	}
}

func TestChangesSeesAnotherHostList(t *testing.T) {
	old := load(t, Sources{File: write(t, minimal)})
	new := load(t, Sources{File: write(t, strings.Replace(minimal, "[cassandra-1,", "[cassandra-3,", 1))})
	if safe, restart := Changes(old, new); safe != nil || len(restart) != 1 || restart[0].Origin.Line != 6 {
		t.Errorf("safe %v, restart %v", safe, restart)
	}
}

func TestARotatedPasswordIsNoChangeButAnotherOneIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	with := func(secret string) *Config {
		if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		return load(t, Sources{File: write(t, "cassandra: {username: me, password_file: "+path+"}\n"), Env: requiredByEnvironment})
	}
	if safe, restart := Changes(with("of yesterday"), with(hunter2)); safe != nil || restart != nil {
		t.Errorf("rotated: safe %q, restart %q", names(safe), names(restart))
	}
	without := load(t, Sources{File: write(t, "cassandra: {username: me}\n"), Env: append(slices.Clone(requiredByEnvironment), "PENSTOCK_CASSANDRA_PASSWORD=other")})
	if _, restart := Changes(without, withPassword(t)); !slices.Equal(names(restart), []string{"cassandra.password=[secret]"}) {
		t.Errorf("another one: restart %q", names(restart))
	}
}

// TestEveryKeyCanBeCompared changes each key in turn, so that none escapes Changes.
func TestEveryKeyCanBeCompared(t *testing.T) {
	other := map[string]string{
		"application": "other", "view.name": "stock", "view.file": "f", "view.generation": "2", "kinesis.stream": "other", "kinesis.start": "2026-11-21T10:00:00Z", "kinesis.on_loss": "continue",
		"kinesis.reader": "fanout", "kinesis.consumer": "other",
		"leases.failover": "11s", "leases.worker": "w", "cassandra.hosts": "b", "cassandra.keyspace": "other", "cassandra.datacenter": "dc2",
		"cassandra.consistency": "ALL", "cassandra.replication_factor": "1", "cassandra.timeout": "4s", "cassandra.username": "me",
		"cassandra.password": "p", "cassandra.password_file": "f", "cassandra.tls": "required", "cassandra.tls_ca_file": "f",
		"cassandra.tls_cert_file": "f", "cassandra.tls_key_file": "f", "cassandra.tls_server_name": "name", "pressure.in_flight": "32MiB", "pressure.target_latency": "50ms", "pressure.min_requests_per_host": "2", "pressure.max_requests_per_host": "8",
		"pressure.debt_budget": "1GiB", "pressure.debt_floor_percent": "10",
		"pressure.max_records_per_second": "100",
		"dead_letters.bucket":             "other", "dead_letters.prefix": "other", "dead_letters.kms_key": "arn:aws:kms:eu-west-1:123456789012:alias/letters", "dead_letters.breaker_percent": "6", "dead_letters.breaker_records": "999", "dead_letters.breaker_in_a_row": "99", "telemetry.listen": ":1", "telemetry.admin": ":2",
		"telemetry.log_level": "warn", "drain_timeout": "1m",
	}
	old := load(t, Sources{Env: requiredByEnvironment})
	for _, k := range Keys() {
		value, ok := other[k.Name]
		if !ok {
			t.Errorf("%s: this test knows no other value", k.Name)
			continue
		}
		new := *old
		if err := k.set(&new, []string{value}); err != nil {
			t.Errorf("%s: %v", k.Name, err)
			continue
		}
		safe, restart := Changes(old, &new)
		if (k.Reload == OnSignal) != (len(safe) == 1) || len(safe)+len(restart) != 1 {
			t.Errorf("%s: safe %q, restart %q", k.Name, names(safe), names(restart))
		}
	}
}
