package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTLSKeysMustFitEachOther(t *testing.T) {
	file := filepath.Join(t.TempDir(), "any.pem")
	if err := os.WriteFile(file, []byte("any"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		env  []string // below PENSTOCK_CASSANDRA_
		want []string // key and rule of each mistake
	}{
		{"off", nil, nil},
		{"the system's authorities", []string{"TLS=required"}, nil},
		{"everything", []string{"TLS=required", "TLS_CA_FILE=" + file, "TLS_CERT_FILE=" + file, "TLS_KEY_FILE=" + file, "TLS_SERVER_NAME=a.example"}, nil},
		{"neither on nor off", []string{"TLS=true", "TLS_CA_FILE=" + file}, []string{"cassandra.tls: must be disabled or required"}},
		{"files without TLS", []string{"TLS_CA_FILE=" + file, "TLS_CERT_FILE=" + file, "TLS_KEY_FILE=" + file, "TLS_SERVER_NAME=a.example"}, []string{
			"cassandra.tls_ca_file: has no effect without cassandra.tls: required",
			"cassandra.tls_cert_file: has no effect without cassandra.tls: required",
			"cassandra.tls_key_file: has no effect without cassandra.tls: required",
			"cassandra.tls_server_name: has no effect without cassandra.tls: required"}},
		{"no key", []string{"TLS=required", "TLS_CERT_FILE=" + file}, []string{"cassandra.tls_cert_file: needs its key: give cassandra.tls_key_file"}},
		{"no certificate", []string{"TLS=required", "TLS_KEY_FILE=" + file}, []string{"cassandra.tls_key_file: needs its certificate: give cassandra.tls_cert_file"}},
		{"absent files", []string{"TLS=required", "TLS_CA_FILE=" + file + "x", "TLS_CERT_FILE=" + file + "y", "TLS_KEY_FILE=" + file}, []string{
			"cassandra.tls_ca_file: must be a readable file: no such file or directory",
			"cassandra.tls_cert_file: must be a readable file: no such file or directory"}},
		{"an address for a name", []string{"TLS=required", "TLS_SERVER_NAME=https://a.example"}, []string{"cassandra.tls_server_name: must be the name of a host"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := slices.Clone(requiredByEnvironment)
			for _, setting := range test.env {
				env = append(env, "PENSTOCK_CASSANDRA_"+setting)
			}
			_, err := Load(Sources{Env: env})
			var got []string
			if err != nil {
				for _, m := range mistakesOf(t, err) {
					got = append(got, m.Key+": "+m.Rule)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestThePasswordFileIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	c, err := Load(Sources{Env: append(slices.Clone(requiredByEnvironment), "PENSTOCK_CASSANDRA_USERNAME=me", "PENSTOCK_CASSANDRA_PASSWORD_FILE="+file)})
	if err != nil {
		t.Fatal(err)
	}
	write("second\n")
	if now, err := c.Cassandra.CurrentPassword(); err != nil || now.Reveal() != "second" {
		t.Errorf("got %q, %v", now.Reveal(), err)
	}
	write("")
	if _, err := c.Cassandra.CurrentPassword(); err == nil || !strings.Contains(err.Error(), "must be a file that is not empty") {
		t.Errorf("an empty file: %v", err)
	}
}
