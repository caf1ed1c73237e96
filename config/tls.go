package config

import (
	"errors"
	"fmt"
	"os"
)

// TLS is how hosts of Cassandra prove who they are, and how we do. Files are given only if Mode is [TLSRequired], the
// last two both or none; each could be read when the configuration was.
type TLS struct {
	Mode       string
	CAFile     string
	CertFile   string
	KeyFile    string
	ServerName string
}

// The values of TLS.Mode.
const (
	TLSDisabled = "disabled"
	TLSRequired = "required"
)

// CurrentPassword returns the password as it is now: that of the file, read again, if there is one.
func (c Cassandra) CurrentPassword() (Secret, error) {
	if c.PasswordFile == "" {
		return c.Password, nil
	}
	s, err := readSecret(c.PasswordFile)
	if err != nil {
		return Secret{}, fmt.Errorf("cassandra.password_file %s: %w", c.PasswordFile, err)
	}
	return s, nil
}

// tls holds the keys of TLS against each other and looks for their files. What is in the files is judged when they are
// used, since they may be replaced at any time.
func (l *loader) tls(c *Config) {
	const mode, cert, key = "cassandra.tls", "cassandra.tls_cert_file", "cassandra.tls_key_file"
	t := c.Cassandra.TLS
	refuse := func(name, value, rule string) {
		l.mistake(Mistake{Key: name, Value: value, Rule: rule, Origin: c.Origin(name)})
	}
	for _, k := range []struct {
		name, value string
		isFile      bool
	}{
		{"cassandra.tls_ca_file", t.CAFile, true}, {cert, t.CertFile, true}, {key, t.KeyFile, true},
		{"cassandra.tls_server_name", t.ServerName, false},
	} {
		switch {
		case k.value == "" || l.wrong[k.name]:
		case t.Mode == TLSDisabled && !l.wrong[mode]:
			refuse(k.name, k.value, "has no effect without "+mode+": "+TLSRequired)
		case k.isFile:
			if err := readable(k.value); err != nil {
				refuse(k.name, k.value, err.Error())
			}
		}
	}
	if l.wrong[cert] || l.wrong[key] {
		return
	}
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		refuse(cert, t.CertFile, "needs its key: give "+key)
	case t.CertFile == "" && t.KeyFile != "":
		refuse(key, t.KeyFile, "needs its certificate: give "+cert)
	}
}

func readable(path string) error {
	if _, err := os.ReadFile(path); err != nil {
		return fmt.Errorf("must be a readable file: %w", errors.Unwrap(err))
	}
	return nil
}
